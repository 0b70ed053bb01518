//! What a run found, for people: at a terminal, in documents.

mod documents;
pub mod figures;
mod plots;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use self::documents::Results;
use super::results::{Kept as _, Run};
use crate::ui;

/// Make the figures in README.md, docs/performance.md and docs/guard.md, and the plots, of runs' files.
///
/// They are made of docs/performance/run.json, so that they come from one run, in the repository, and
/// of hiccups.json and guard.json beside it, if these are there; a test compares them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench --json docs/performance/run.json && cargo xtask bench report
  cargo xtask bench hiccups --json docs/performance/hiccups.json; cargo xtask bench report
  cargo xtask bench guard --json docs/performance/guard.json; cargo xtask bench report
  cargo xtask bench report --show /tmp/run.json       another one, at the terminal")]
pub struct ReportArgs {
    /// Show this run's tables instead, and write nothing
    #[arg(long, value_name = "FILE")]
    show: Option<PathBuf>,
}

/// `cargo xtask bench report`
///
/// # Errors
/// A file can't be read or written.
pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    if let Some(path) = &args.show {
        ui::say(&terminal(&Run::read(path)?));
        return Ok(ExitCode::SUCCESS);
    }
    let results = Results::kept()?;
    results.run.as_ref().with_context(|| {
        format!(
            "{} isn't there: `cargo xtask bench --json {}` makes it",
            documents::RUN,
            documents::RUN
        )
    })?;
    for path in documents::write(&results)? {
        ui::say(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// All tables.
pub fn terminal(run: &Run) -> String {
    let mut text = figures::rates(run).text();
    text += "\nMicroseconds, at half and at a tenth of the rate without loss; CPU time of a message \
             at half of it\n";
    text += &figures::latencies(run).text();
    if !run.foreign.is_empty() {
        text += "\nPackets that aren't ours, in the XDP program\n";
        text += &figures::foreign(run).text();
    }
    if !run.growth.is_empty() {
        text += "\nHow the rate of send by AF_XDP changes\n";
        text += &figures::growth(run).text();
    }
    text += "\nMedians over the turns, with the lowest and the highest; ratios are taken in each \
             turn.\nKamailio has the same configuration, and one worker on the same CPU.";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::sample;

    #[test]
    fn the_terminal_shows_all_tables() {
        let text = terminal(&sample());
        for word in ["x Kamailio", "p99.9", "RTP", "listeners"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
