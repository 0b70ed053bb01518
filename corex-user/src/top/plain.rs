//! The model as lines of text, for what is no terminal.

use std::fmt::Write as _;

use super::{
    model::{Model, Row},
    units::{amount, time},
};

/// The title of the list of who is blocked.
const BLOCKED: &str = "blocked by source";

/// All that the model knows. Counts are corex's own, since it started.
pub fn text(model: &Model) -> String {
    let mut out = String::new();
    let latest = model.latest();
    // Writing to a string can't fail.
    let _ = writeln!(
        out,
        "corex {} at {}, rates over {:.1} s",
        latest.engine,
        model.address,
        model.counted_for().as_secs_f64()
    );
    let all = |list: &[super::sample::Series], row: &Row| {
        let found = list.iter().find(|series| series.name == row.name);
        found.map_or(0, |series| series.total)
    };
    for (title, rows, totals) in [
        ("packets by road", model.roads(), &latest.roads),
        ("packets by socket", model.sockets(), &latest.sockets),
        ("packets by peer", model.peers(), &latest.peers),
        ("codecs", model.codecs(), &latest.codecs),
        ("drops by reason", model.drops(), &latest.drops),
        (BLOCKED, model.offenders(), &latest.offenders),
    ] {
        if matches!(title, "codecs" | BLOCKED) && rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{title:<40} {:>10} {:>14}", "per second", "in all");
        for row in &rows {
            let total = all(totals, row);
            let _ = writeln!(out, "{:<40} {:>10} {total:>14}", row.name, amount(row.rate));
        }
    }
    let line = model.codec_line();
    if !line.is_empty() {
        let _ = writeln!(out, "\ncodecs: {line}");
    }
    let _ = writeln!(
        out,
        "\n{:<40} {:>10} {:>8} {:>8} {:>8}",
        "hooks", "per second", "p50", "p90", "p99"
    );
    for hook in model.hooks() {
        let [p50, p90, p99] = hook
            .within
            .map(|within| within.map_or("-".to_owned(), time));
        let _ = writeln!(
            out,
            "{:<40} {:>10} {p50:>8} {p90:>8} {p99:>8}",
            hook.name,
            amount(hook.rate)
        );
    }
    let _ = writeln!(
        out,
        "\n{:<40} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "workers", "load", "full", "in/s", "out/s", "drops"
    );
    for (worker, counters) in model.workers().iter().zip(&latest.workers) {
        let _ = writeln!(
            out,
            "{:<40} {:>9.0}% {:>7}% {:>8} {:>8} {:>8}",
            worker.worker,
            worker.load * 100.0,
            worker.pressure,
            amount(worker.received),
            amount(worker.sent),
            counters.dropped
        );
    }
    if !latest.guard.is_empty() {
        let _ = writeln!(
            out,
            "\n{:<40} {:>10} {:>8}",
            "guard's lists", "entries", "full"
        );
    }
    for list in &latest.guard {
        let _ = writeln!(
            out,
            "{:<40} {:>10} {:>7}%",
            list.name, list.entries, list.percent
        );
    }
    out
}
