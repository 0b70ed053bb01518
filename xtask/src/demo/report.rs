//! The table at the end of the demonstration.

use std::fmt::Write as _;

use corex_lab::ObservedBooks;

use super::{Outcome, wire::Traffic};
use crate::ui::{self, Style};

/// Width of the first column.
const LABEL: usize = 34;
/// Width of a column of numbers.
const NUMBER: usize = 14;

/// Calls, messages and their roads, in columns.
pub fn table(outcome: &Outcome) -> String {
    let mut out = String::new();
    heading(&mut out, "Calls", &[]);
    let calls = &outcome.calls;
    let fine = calls.failed == 0 && calls.retransmissions == 0;
    let style = if fine { Style::Good } else { Style::Bad };
    let text = format!(
        "  {} completed, {} failed, {} retransmissions, in {:.1} s",
        calls.successful,
        calls.failed,
        calls.retransmissions,
        outcome.took.as_secs_f64()
    );
    line(&mut out, &ui::paint(style, &text));
    line(&mut out, "");

    heading(&mut out, "Messages", &["messages", "bytes", "mean"]);
    traffic(&mut out, "plain, between caller and A", &outcome.plain);
    traffic(&mut out, "on the wire, between A and B", &outcome.wire);
    let share = (outcome.wire.bytes * 100)
        .checked_div(outcome.plain.bytes)
        .unwrap_or(0);
    let text = format!(
        "  compressed to {share} % of the bytes; on the wire {} gzip, {} readable",
        outcome.wire.gzip, outcome.wire.readable
    );
    line(&mut out, &text);
    line(&mut out, "");

    heading(&mut out, "Roads", &["corex A", "corex B"]);
    roads(&mut out, &outcome.books);
    out.trim_end().to_owned()
}

/// What isn't as the demonstration claims; nothing, normally.
pub fn complaints(outcome: &Outcome, calls: u64) -> Vec<String> {
    let mut complaints = Vec::new();
    if let Err(error) = outcome.calls.check(calls) {
        complaints.push(format!("Not every call was perfect: {error}"));
    }
    if outcome.wire.gzip < outcome.wire.messages || outcome.wire.messages == 0 {
        complaints.push("Not every message on the wire was compressed.".to_owned());
    }
    for (name, books) in ["A", "B"].iter().zip(&outcome.books) {
        if books.get("kernel.steered") == 0 {
            complaints.push(format!("No packet took the AF_XDP road in corex {name}."));
        }
        if let Err(error) = books.check_balance() {
            complaints.push(format!("The books of corex {name} don't balance: {error}"));
        }
    }
    complaints
}

pub(super) fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

pub(super) fn heading(out: &mut String, title: &str, columns: &[&str]) {
    let mut text = format!("{title:<LABEL$}");
    for column in columns {
        // A String takes everything.
        let _ = write!(text, "{column:>NUMBER$}");
    }
    line(out, &ui::paint(Style::Bold, text.trim_end()));
}

pub(super) fn row(out: &mut String, label: &str, values: impl IntoIterator<Item = String>) {
    let mut text = format!("{:<LABEL$}", format!("  {label}"));
    for value in values {
        let _ = write!(text, "{value:>NUMBER$}");
    }
    line(out, &text);
}

fn traffic(out: &mut String, label: &str, traffic: &Traffic) {
    let numbers = [traffic.messages, traffic.bytes, traffic.mean()];
    row(out, label, numbers.map(grouped));
}

/// With a comma between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn roads(out: &mut String, books: &[ObservedBooks; 2]) {
    row(out, "XDP, as attached", books.iter().map(modes));
    for (label, path) in [
        ("packets seen by XDP", "kernel.seen"),
        ("steered to AF_XDP", "kernel.steered"),
        ("came by kernel socket", "user.socket_in"),
        ("hook ran, message coming in", "user.hook_in"),
        ("hook ran, message going out", "user.hook_out"),
        ("hook replaced the message", "user.hook_replaced"),
        ("sent by AF_XDP", "user.out_xdp"),
        ("sent by kernel socket", "user.out_socket"),
    ] {
        row(out, label, books.iter().map(|b| grouped(b.get(path))));
    }
    for (what, path) in [
        ("passed to the kernel", "kernel.passed"),
        ("dropped by XDP", "kernel.dropped"),
        ("dropped in user space", "user.dropped"),
    ] {
        let reasons = reasons(books, path);
        if reasons.is_empty() {
            row(out, what, books.iter().map(|_| "0".to_owned()));
        }
        for reason in reasons {
            let count = |b: &ObservedBooks| grouped(b.get(&format!("{path}.{reason}")));
            let label = format!("{what}: {}", reason.replace('_', " "));
            row(out, &label, books.iter().map(count));
        }
    }
    row(
        out,
        "books",
        books.iter().map(|books| match books.check_balance() {
            Ok(()) => "balanced".to_owned(),
            Err(_) => "NOT BALANCED".to_owned(),
        }),
    );
}

/// The reasons that occurred at A or at B.
fn reasons(books: &[ObservedBooks; 2], path: &str) -> Vec<String> {
    let mut names: Vec<String> = books
        .iter()
        .flat_map(|books| books.group(path))
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// `native` or `skb`, or both if the interfaces differ.
fn modes(books: &ObservedBooks) -> String {
    let mut modes: Vec<&str> = books
        .0
        .get("interfaces")
        .and_then(|interfaces| interfaces.as_array())
        .into_iter()
        .flatten()
        .filter_map(|interface| interface.get("mode")?.as_str())
        .collect();
    modes.sort_unstable();
    modes.dedup();
    if modes.is_empty() {
        return "none".to_owned();
    }
    modes.join("+")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use corex_lab::SippReport;
    use serde_json::json;

    use super::*;

    fn outcome() -> Outcome {
        let books = ObservedBooks(json!({
            "interfaces": [{"name": "user", "mode": "native"}, {"name": "wire", "mode": "native"}],
            "kernel": {"seen": 66, "steered": 60, "passed": {"not_ip": 6}, "dropped": {"probe": 0}},
            "user": {"steered": 60, "socket_in": 0, "sent": 60, "out_xdp": 58, "out_socket": 2},
        }));
        Outcome {
            calls: SippReport {
                started: 10,
                successful: 10,
                ..SippReport::default()
            },
            took: Duration::from_secs(1),
            plain: Traffic {
                messages: 60,
                bytes: 30_000,
                gzip: 0,
                readable: 60,
            },
            wire: Traffic {
                messages: 60,
                bytes: 15_000,
                gzip: 60,
                readable: 0,
            },
            books: [books.clone(), books],
        }
    }

    #[test]
    fn the_table_shows_calls_compression_and_roads() {
        let table = table(&outcome());
        for text in [
            "10 completed, 0 failed",
            "compressed to 50 % of the bytes; on the wire 60 gzip, 0 readable",
            "native",
            "passed to the kernel: not ip",
            "balanced",
        ] {
            assert!(table.contains(text), "{text}:\n{table}");
        }
        assert!(!table.contains("probe"), "{table}");
    }

    #[test]
    fn digits_are_grouped_by_three() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_perfect_run_has_no_complaints() {
        assert!(complaints(&outcome(), 10).is_empty());
    }

    #[test]
    fn a_readable_message_on_the_wire_a_lost_call_and_unbalanced_books_are_complained_about() {
        let mut outcome = outcome();
        outcome.wire.gzip = 59;
        outcome.calls.successful = 9;
        outcome.books[1].0["user"]["sent"] = json!(59);
        assert_eq!(complaints(&outcome, 10).len(), 3);
    }
}
