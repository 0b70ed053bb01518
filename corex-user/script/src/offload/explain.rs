//! Roads, and what is in the way of others, as text for people.

use std::fmt::Write as _;

use super::{Fate, ListenerPlan, Obstacle, SourceClass, kind_name};

/// What becomes of the messages of each listener. `min_msg_len` is what tells short messages.
pub fn explain(plans: &[ListenerPlan], min_msg_len: u32) -> String {
    let mut text = String::new();
    if plans.is_empty() {
        text.push_str("no listen line\n");
    }
    for plan in plans {
        let _ = writeln!(text, "{}", plan.listener.name);
        if let Some(obstacle) = &plan.obstacle {
            write_obstacle(&mut text, 1, "all messages", obstacle);
            continue;
        }
        if let Some(hook) = &plan.hook {
            let long = format!("messages of {min_msg_len} bytes or more");
            write_obstacle(&mut text, 1, &long, hook);
            if min_msg_len == 0 {
                continue;
            }
            let _ = writeln!(text, "  shorter messages");
        }
        let depth = if plan.hook.is_some() { 2 } else { 1 };
        for class in &plan.classes {
            write_class(&mut text, depth, class, plan.classes.len() > 1);
        }
    }
    text
}

fn write_class(text: &mut String, depth: usize, class: &SourceClass, are_several: bool) {
    let mut depth = depth;
    if are_several {
        let (address, len) = class.network;
        indent(text, depth);
        let _ = match len {
            0 => writeln!(text, "from elsewhere"),
            _ => writeln!(text, "from {address}/{len}"),
        };
        depth += 1;
    }
    let mut seen: Vec<&Result<Fate, Obstacle>> = Vec::new();
    for fate in class.fates.iter() {
        if seen.contains(&fate) {
            continue;
        }
        seen.push(fate);
        let all = class.fates.iter().enumerate();
        let kinds: Vec<_> = all
            .filter(|(_, other)| *other == fate)
            .map(|(kind, _)| kind_name(kind))
            .collect();
        let kinds = kinds.join(", ");
        match fate {
            Ok(Fate::One(outcome)) => {
                indent(text, depth);
                let _ = writeln!(text, "{kinds}: in the kernel, {outcome}");
            }
            Ok(fate @ (Fate::BySource(outcomes) | Fate::ByCallId(outcomes))) => {
                let what = match fate {
                    Fate::ByCallId(_) => "Call-ID",
                    _ => "source",
                };
                indent(text, depth);
                let _ = writeln!(text, "{kinds}: in the kernel, by a hash of the {what}:");
                for (hash, outcome) in outcomes.iter().enumerate() {
                    indent(text, depth + 1);
                    let _ = writeln!(text, "{hash}: {outcome}");
                }
            }
            Err(obstacle) => write_obstacle(text, depth, &kinds, obstacle),
        }
    }
}

fn write_obstacle(text: &mut String, depth: usize, what: &str, obstacle: &Obstacle) {
    let Obstacle {
        place,
        reason,
        remedy,
    } = obstacle;
    indent(text, depth);
    let _ = write!(text, "{what}: in user space, ");
    let _ = match place.as_str() {
        "" => writeln!(text, "{reason}"),
        place => writeln!(text, "{place}: {reason}"),
    };
    indent(text, depth + 1);
    let _ = writeln!(text, "remedy: {remedy}");
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}
