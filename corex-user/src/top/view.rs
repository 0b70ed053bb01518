//! The model as a screen of characters.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    style::{Color, Modifier, Style},
    symbols::{bar, border},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, RenderDirection, Sparkline},
};

use super::{
    model::{Action, HookRow, Link, Model, Row, WorkerRow},
    sample::Fill,
    split::{self, Part},
    units::{amount, span, time},
};

/// The smallest screen that all fits on.
pub const LEAST: (u16, u16) = (80, 24);

/// What the terminal can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Whether it shows colours.
    pub has_colour: bool,
    /// Whether it shows characters beyond ASCII.
    pub has_unicode: bool,
}

/// Bars of ASCII characters.
const ASCII_BARS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "*",
    three_quarters: "*",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

impl Look {
    fn colour(self, colour: Color) -> Style {
        if self.has_colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    fn bars(self) -> bar::Set<'static> {
        if self.has_unicode {
            bar::NINE_LEVELS
        } else {
            ASCII_BARS
        }
    }

    fn dash(self) -> &'static str {
        if self.has_unicode { "─" } else { "-" }
    }
}

/// Draws everything. `now` is the time since 1970.
pub fn draw(frame: &mut Frame<'_>, model: &Model, look: Look, now: Duration) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "{}x{} at least; this is {}x{}. q: quit",
            LEAST.0, LEAST.1, area.width, area.height
        );
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [head, body, foot] = split::rows(area, [Part::Fixed(1), Part::Rest, Part::Fixed(1)]);
    frame.render_widget(Paragraph::new(headline(model, look, now)), head);
    frame.render_widget(Paragraph::new(keys(model)), foot);
    let [left, _, right] = split::columns(body, [Part::Rest, Part::Fixed(1), Part::Rest]);
    let roads = model.roads();
    let sockets = model.sockets();
    let peers = model.peers();
    let rest = left.height.saturating_sub(roads.len() as u16 + 1);
    // Each has half of the rest, and more where the other needs less.
    let of_peers = (peers.len() as u16 + 1).min(rest.div_ceil(2));
    let of_sockets = (sockets.len() as u16 + 1).min(rest - of_peers);
    let [upper, middle, lower] = split::rows(
        left,
        [
            Part::Fixed(roads.len() as u16 + 1),
            Part::Fixed(of_sockets),
            Part::Rest,
        ],
    );
    rows(frame, upper, "packets by road", &roads, look);
    rows(frame, middle, "packets by socket", &sockets, look);
    rows(frame, lower, "packets by peer", &peers, look);
    let hooks = model.hooks();
    let workers = model.workers();
    // Workers come last and take what is left; hooks and drops get what they need, within bounds.
    let height = right.height;
    let of_hooks = (hooks.len().max(1) as u16 + 1).min(height / 3);
    let of_workers = (workers.len() as u16 + 1).min(height / 3);
    let codecs = model.codecs();
    let of_codecs = match codecs.len() as u16 {
        0 => 0,
        lines => (lines + 1).min(height / 4),
    };
    let of_guard = match model.latest().guard.len() as u16 {
        0 => 0,
        lines => (lines + 1).min(height / 5),
    };
    let offenders = model.offenders();
    let of_offenders = match offenders.len() as u16 {
        0 => 0,
        lines => (lines + 1).min(height / 6),
    };
    let [first, second, third, blocked, fourth, last] = split::rows(
        right,
        [
            Part::Fixed(of_hooks),
            Part::Fixed(of_codecs),
            Part::Rest,
            Part::Fixed(of_offenders),
            Part::Fixed(of_guard),
            Part::Fixed(of_workers),
        ],
    );
    draw_hooks(frame, first, &hooks, look);
    if of_codecs > 0 {
        let title = match model.codec_line() {
            line if line.is_empty() => "codecs".to_owned(),
            line => format!("codecs: {line}"),
        };
        rows(frame, second, &title, &codecs, look);
    }
    rows(frame, third, "drops by reason", &model.drops(), look);
    if of_offenders > 0 {
        rows(frame, blocked, "blocked by source", &offenders, look);
    }
    if of_guard > 0 {
        draw_fills(frame, fourth, &model.latest().guard, look);
    }
    draw_workers(frame, last, &workers, look);
}

fn headline(model: &Model, look: Look, now: Duration) -> Line<'static> {
    let latest = model.latest();
    let started = Duration::from_secs(u64::try_from(latest.started).unwrap_or(0));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let state = match &model.link {
        Link::Down(reason) => Span::styled(
            format!("  NOT ANSWERING, asking again: {reason}"),
            look.colour(Color::Red).add_modifier(Modifier::REVERSED),
        ),
        Link::Up if model.is_paused => Span::styled(
            "  PAUSED",
            look.colour(Color::Yellow).add_modifier(Modifier::REVERSED),
        ),
        Link::Up => Span::raw(""),
    };
    let restarts = match model.restarts {
        0 => String::new(),
        1 => ", restarted".to_owned(),
        times => format!(", restarted {times} times"),
    };
    Line::from(vec![
        Span::styled("corex", bold),
        Span::raw(format!(
            " {}, up {}{restarts}, {}",
            latest.engine,
            span(now.saturating_sub(started)),
            model.address
        )),
        state,
    ])
}

fn keys(model: &Model) -> Line<'static> {
    let mut spans = Vec::new();
    for (key, name, _) in Action::KEYS {
        let cap = Style::new().add_modifier(Modifier::REVERSED);
        spans.push(Span::styled(format!(" {key} "), cap));
        spans.push(Span::raw(format!(" {name}  ")));
    }
    spans.push(Span::raw(format!(
        "sorted by {}; counts of {}",
        model.order.name(),
        span(model.counted_for())
    )));
    Line::from(spans)
}

/// A list's title line with the names of its columns, and the room below it.
fn titled(frame: &mut Frame<'_>, area: Rect, title: &str, columns: &str, look: Look) -> Rect {
    let dash = border::Set {
        horizontal_top: look.dash(),
        ..border::PLAIN
    };
    let block = Block::new()
        .borders(Borders::TOP)
        .border_set(dash)
        .border_style(look.colour(Color::DarkGray))
        .title(Line::styled(
            format!("{title} "),
            look.colour(Color::Cyan).add_modifier(Modifier::BOLD),
        ))
        .title(Line::raw(format!(" {columns}")).alignment(Alignment::Right));
    let room = block.inner(area);
    frame.render_widget(block, area);
    room
}

/// The columns behind a name: rate and count.
const NUMBERS: usize = 15;
/// Columns of a curve at least.
const CURVE: u16 = 6;

/// A list of names, curves, rates and counts; the last line says how many didn't fit.
fn rows(frame: &mut Frame<'_>, area: Rect, title: &str, rows: &[Row], look: Look) {
    let room = titled(frame, area, title, "rate/s   count", look);
    let names = rows.iter().map(|row| row.name.chars().count()).max();
    let most = room.width.saturating_sub(NUMBERS as u16 + CURVE + 1);
    let names = (names.unwrap_or(0) as u16).min(most);
    each(frame, room, rows, |frame, line, row| {
        let [name, curve, numbers] = split::columns(
            line,
            [
                Part::Fixed(names + 1),
                Part::Rest,
                Part::Fixed(NUMBERS as u16),
            ],
        );
        frame.render_widget(Paragraph::new(cut(&row.name, names, look)), name);
        draw_curve(frame, curve, &row.curve, None, look);
        let text = format!("{:>7} {:>7}", amount(row.rate), amount(row.count as f64));
        frame.render_widget(Paragraph::new(text), numbers);
    });
}

/// Calls `draw` for as many rows as there are lines; the last line says how many are left out.
fn each<R>(
    frame: &mut Frame<'_>,
    room: Rect,
    rows: &[R],
    mut draw: impl FnMut(&mut Frame<'_>, Rect, &R),
) {
    let lines = usize::from(room.height);
    let shown = if rows.len() > lines {
        lines.saturating_sub(1)
    } else {
        rows.len()
    };
    for (row, line) in rows.iter().take(shown).zip(room.rows()) {
        draw(frame, line, row);
    }
    let left_out = rows.len() - shown;
    if let (1.., Some(line)) = (left_out, room.rows().nth(shown)) {
        frame.render_widget(Paragraph::new(format!("and {left_out} more")), line);
    }
}

/// A name in so many columns.
fn cut(name: &str, columns: u16, look: Look) -> String {
    let columns = usize::from(columns);
    if name.chars().count() <= columns {
        return name.to_owned();
    }
    let end = if look.has_unicode { "…" } else { "~" };
    let head: String = name.chars().take(columns.saturating_sub(1)).collect();
    head + end
}

/// The newest values, the last at the right edge. Full height is `most`, else the largest shown.
fn draw_curve(frame: &mut Frame<'_>, area: Rect, values: &[u64], most: Option<u64>, look: Look) {
    let width = usize::from(area.width.saturating_sub(1));
    let newest_first = values.iter().rev().take(width).copied();
    let mut curve = Sparkline::default()
        .data(newest_first.collect::<Vec<u64>>())
        .direction(RenderDirection::RightToLeft)
        .bar_set(look.bars())
        .style(look.colour(Color::Green));
    if let Some(most) = most {
        curve = curve.max(most);
    }
    frame.render_widget(curve, area);
}

fn draw_hooks(frame: &mut Frame<'_>, area: Rect, hooks: &[HookRow], look: Look) {
    let columns = "rate/s    p50    p90    p99";
    let room = titled(frame, area, "hooks", columns, look);
    if hooks.is_empty() {
        frame.render_widget(Paragraph::new("none ran"), room);
    }
    each(frame, room, hooks, |frame, line, hook| {
        let numbers = hook
            .within
            .map(|within| within.map_or("-".to_owned(), time));
        let [p50, p90, p99] = numbers;
        let rate = amount(hook.rate);
        let text = format!("{rate:>6} {p50:>6} {p90:>6} {p99:>6}");
        let [name, numbers] = split::columns(line, [Part::Rest, Part::Fixed(27)]);
        let fitting = cut(&hook.name, name.width, look);
        frame.render_widget(Paragraph::new(fitting), name);
        frame.render_widget(Paragraph::new(text), numbers);
    });
}

fn draw_fills(frame: &mut Frame<'_>, area: Rect, lists: &[Fill], look: Look) {
    let room = titled(frame, area, "guard's lists", "entries  full", look);
    each(frame, room, lists, |frame, line, list| {
        let [name, numbers] = split::columns(line, [Part::Rest, Part::Fixed(15)]);
        frame.render_widget(Paragraph::new(cut(&list.name, name.width, look)), name);
        let text = format!(
            "{:>9} {:>4}%",
            amount(list.entries as f64),
            list.percent.min(9_999)
        );
        frame.render_widget(Paragraph::new(text), numbers);
    });
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, workers: &[WorkerRow], look: Look) {
    let columns = "load full   in/s  out/s  drops";
    let room = titled(frame, area, "workers", columns, look);
    each(frame, room, workers, |frame, line, worker| {
        let [name, curve, numbers] =
            split::columns(line, [Part::Fixed(4), Part::Rest, Part::Fixed(31)]);
        frame.render_widget(Paragraph::new(worker.worker.to_string()), name);
        draw_curve(frame, curve, &worker.curve, Some(1_000), look);
        let text = format!(
            "{:>4.0}% {:>3}% {:>6} {:>6} {:>6}",
            worker.load * 100.0,
            worker.pressure.min(999),
            amount(worker.received),
            amount(worker.sent),
            amount(worker.dropped as f64)
        );
        frame.render_widget(Paragraph::new(text), numbers);
    });
}
