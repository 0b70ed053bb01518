//! What a run found, for people: at a terminal, and in docs/soak.md.

use std::fs;

use anyhow::{Context as _, Result};

use super::{
    judge::Verdict,
    results::{EngineRun, Soak},
};
use crate::{
    bench::{report::table::Table, results::Kept as _},
    compile,
    ui::{self, Style},
};

/// The run that the document shows.
pub const KEPT: &str = "docs/soak.json";
const DOCUMENT: &str = "docs/soak.md";
const BEGIN: &str = "<!-- soak: from docs/soak.json -->\n";
const END: &str = "<!-- end of soak -->\n";

/// The judgement as a table.
fn judgement(run: &EngineRun) -> Table {
    let mut table = Table::new(&["what", "before, or of", "after", "may be", ""]);
    for verdict in &run.verdicts {
        let Verdict { what, was, is, .. } = verdict;
        let is_it = if verdict.fine { "ok" } else { "NOT OK" };
        let cells = [what, was, is, &verdict.bound].map(String::clone);
        table.push(cells.into_iter().chain([is_it.to_owned()]).collect());
    }
    table
}

/// What was done, as a table.
fn doings(run: &EngineRun) -> Table {
    let mut table = Table::new(&["what", "done", "not", "while a link was down", "again"]);
    let line = |name: &str, cells: [u64; 4]| {
        let mut line = vec![name.to_owned()];
        line.extend(cells.map(|cell| cell.to_string()));
        line
    };
    for played in &run.played {
        let cells = [played.successful, played.failed, 0, played.retransmissions];
        table.push(line(&played.name, cells));
    }
    for (name, counts) in &run.asked {
        let cells = [counts.answered, counts.unexplained, counts.explained, 0];
        table.push(line(name, cells));
    }
    table.push(line("junk", [run.junk, 0, 0, 0]));
    for (name, count) in &run.done {
        table.push(line(name, [*count, 0, 0, 0]));
    }
    table
}

fn headline(run: &EngineRun) -> String {
    format!(
        "Engine {}: {:.0} minutes, {} messages, {:.0} each second",
        run.engine,
        run.seconds / 60.0,
        run.messages,
        run.messages as f64 / run.seconds.max(1.0)
    )
}

/// For a terminal; what isn't fine is repeated with what to do.
pub fn terminal(soak: &Soak) -> String {
    let mut text = String::new();
    for run in &soak.runs {
        text += &format!("\n{}\n\n", ui::paint(Style::Bold, &headline(run)));
        text += &doings(run).text();
        text.push('\n');
        text += &judgement(run).text();
        for verdict in run.verdicts.iter().filter(|verdict| !verdict.fine) {
            let line = format!("\n{}: {}", verdict.what, verdict.is);
            text += &ui::paint(Style::Bad, &line);
            text += &format!("\n  {}\n", verdict.remedy);
        }
    }
    text.trim_end().to_owned()
}

/// For a document.
fn markdown(soak: &Soak) -> String {
    let machine = &soak.machine;
    let mut text = format!(
        "`{}`, seed {}, {}, at {}, {} CPUs ({}), Linux {}, load average before: {}.\n",
        soak.command,
        soak.seed,
        machine.date,
        machine.commit,
        machine.cpus,
        machine.processor,
        machine.kernel,
        machine.load
    );
    for run in &soak.runs {
        text += &format!("\n{}:\n\n", headline(run));
        text += &doings(run).markdown();
        text.push('\n');
        text += &judgement(run).markdown();
    }
    text
}

/// The document with what belongs there.
fn put_into(document: &str, soak: Option<&Soak>) -> Result<String> {
    let (before, rest) = document
        .split_once(BEGIN)
        .context("docs/soak.md has no place for a run")?;
    let (_, after) = rest
        .split_once(END)
        .context("the place for a run in docs/soak.md has no end")?;
    let content = soak.map_or_else(
        || {
            format!(
                "No run is kept in the repository yet: `{} {KEPT}` makes one, and `cargo xtask soak report` \
                 shows it here.\n",
                Soak::COMMAND
            )
        },
        markdown,
    );
    Ok(format!("{before}{BEGIN}\n{content}\n{END}{after}"))
}

fn kept() -> Result<Option<Soak>> {
    let path = compile::workspace().join(KEPT);
    path.exists().then(|| Soak::read(&path)).transpose()
}

/// Puts the run that is kept in the repository into the document.
///
/// # Errors
/// A file can't be read or written.
pub fn write() -> Result<()> {
    let path = compile::workspace().join(DOCUMENT);
    let text = fs::read_to_string(&path).context(DOCUMENT)?;
    let text = put_into(&text, kept()?.as_ref())?;
    fs::write(&path, text).context(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bench::results::{Machine, SCHEMA},
        soak::results::Line,
    };

    fn sample() -> Soak {
        Soak {
            schema: SCHEMA,
            command: "cargo xtask soak".to_owned(),
            machine: Machine::default(),
            seed: 7,
            runs: vec![EngineRun {
                engine: "xdp".to_owned(),
                seconds: 60.0,
                messages: 6000,
                played: vec![Line {
                    name: "calls".to_owned(),
                    successful: 500,
                    retransmissions: 3,
                    ..Line::default()
                }],
                verdicts: vec![
                    Verdict::same("frames", 4096, 4096, "look"),
                    Verdict::same("threads", 12, 13, "compare"),
                ],
                ..EngineRun::default()
            }],
        }
    }

    #[test]
    fn what_is_not_fine_comes_with_what_to_do() {
        let text = terminal(&sample());
        for part in ["100 each second", "NOT OK", "threads: 13\n", "  compare"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("  look"), "{text}");
    }

    #[test]
    fn a_document_gets_the_run_and_keeps_what_is_around_it() {
        let document = format!("a\n{BEGIN}old\n{END}b\n");
        let filled = put_into(&document, Some(&sample())).unwrap();
        assert!(filled.starts_with("a\n") && filled.ends_with("b\n"));
        assert!(
            filled.contains("| threads | 12 | 13 | the same | NOT OK |"),
            "{filled}"
        );
        assert_eq!(put_into(&filled, Some(&sample())).unwrap(), filled);
        let empty = put_into(&filled, None).unwrap();
        assert!(empty.contains("No run is kept"), "{empty}");
        assert!(put_into("a\n", None).is_err());
    }

    #[test]
    fn the_document_shows_the_run_that_is_kept() {
        let text = fs::read_to_string(compile::workspace().join(DOCUMENT)).unwrap();
        let expected = put_into(&text, kept().unwrap().as_ref()).unwrap();
        assert!(
            text == expected,
            "{DOCUMENT} isn't what `cargo xtask soak report` makes: run it"
        );
    }
}
