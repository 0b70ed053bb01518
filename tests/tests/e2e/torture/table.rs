//! docs/torture.md: what stands there is what was seen. With COREX_UPDATE=1 it is written anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use corex_lab::torture::{MESSAGES, Torture};

use super::notes::{INTRODUCTION, note};
use super::{Outcome, Seen};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/torture.md")
}

/// Sees what there is to see, and compares it with the document.
pub(super) fn compare(seen: impl Fn([usize; 2]) -> Result<Seen>) -> Result<()> {
    let is_update = std::env::var_os("COREX_UPDATE").is_some();
    let written = std::fs::read_to_string(path()).unwrap_or_default();
    let text = document(&seen(wanted(&written))?)?;
    if is_update {
        return std::fs::write(path(), text).context("docs/torture.md");
    }
    let lines = written.lines().zip(text.lines());
    let differing: Vec<String> = lines
        .filter(|(written, seen)| written != seen)
        .map(|(written, seen)| format!("written {written}\nseen    {seen}"))
        .collect();
    ensure!(
        written == text,
        "docs/torture.md differs; COREX_UPDATE=1 writes it anew:\n{}",
        differing.join("\n")
    );
    Ok(())
}

/// How many outcomes Kamailio has by the document: as many are waited for.
fn wanted(document: &str) -> [usize; 2] {
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let mut counts = [0; 2];
    for cells in cells {
        for (count, at) in counts.iter_mut().zip([4, 6]) {
            *count += usize::from(cells.get(at).is_some_and(|cell| *cell != "nothing"));
        }
    }
    counts
}

fn document(seen: &Seen) -> Result<String> {
    let mut text = INTRODUCTION.to_owned();
    let mut source = "";
    for (at, message) in MESSAGES.iter().enumerate() {
        if message.source != source {
            source = message.source;
            let heading = match source {
                "reported" => "What was reported of proxies, and found by fuzzing",
                rfc => rfc,
            };
            write!(
                text,
                "\n## {heading}\n\n\
                 | Message | What it is | send() | Kamailio's | forward() | Kamailio's | inline | Right, and why they differ |\n\
                 |---|---|---|---|---|---|---|---|\n"
            )?;
        }
        let cells = [
            &seen.corex[0],
            &seen.kamailio[0],
            &seen.corex[1],
            &seen.kamailio[1],
        ];
        let why = difference(message, cells.map(|all| &all[at]));
        let [send, their_send, forward, their_forward] = cells.map(|all| shown(&all[at]));
        let inline = match seen.inline.get(at) {
            Some(true) => "as it came",
            _ => "changed",
        };
        writeln!(
            text,
            "| `{}` {} | {} | {send} | {their_send} | {forward} | {their_forward} | {inline} | {}{why} |",
            message.name,
            message.section,
            message.title.replace('<', "\\<"),
            note(message.name).with_context(|| format!("nothing is said of {}", message.name))?
        )?;
    }
    let [by_send, by_forward] = &seen.reasons;
    write!(
        text,
        "\n## What corex counts\n\n\
         Of what got no answer, by the names of the counters `drop_…`: send() {by_send}; forward() {by_forward}.\n"
    )?;
    Ok(text)
}

/// Why corex and Kamailio differ, if they do.
fn difference(message: &Torture, outcomes: [&Outcome; 4]) -> &'static str {
    use Outcome::{Answered, Nothing, Sent};
    let [send, their_send, forward, their_forward] = outcomes;
    let is_reply = message.bytes.starts_with(b"SIP/");
    match (forward, their_forward) {
        (Answered(_), Sent(_)) => " Kamailio passes it on: its parser looks at what it needs.",
        (Answered(_), Nothing) => " Kamailio's parser gives it up, and nobody is told.",
        (Sent(_), Nothing) => " Kamailio's parser gives it up.",
        (Nothing, Answered(_)) => " Kamailio brings back any number.",
        _ if is_reply && send != their_send => " Kamailio has no send() for replies.",
        _ if send != their_send => " Kamailio's parser gives it up.",
        _ => "",
    }
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Sent(_) => "sent".to_owned(),
        Outcome::Answered(line) => line.clone(),
        Outcome::Nothing => "nothing".to_owned(),
    }
}
