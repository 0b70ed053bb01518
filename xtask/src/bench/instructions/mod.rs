//! `cargo xtask bench instructions`: what a message costs a worker, in instructions, and whether that
//! has grown.

mod baseline;
mod profile;
mod road;

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use self::{
    baseline::{Baseline, Row, TOLERANCE},
    profile::Functions,
    road::{Road, Series},
};
use crate::{
    compile::{self, Profile},
    privilege, setup,
    ui::{self, Style},
};

/// Count the instructions that a message costs
///
/// corex runs under valgrind's callgrind, with one worker. While it is stopped (SIGSTOP), so many
/// messages are sent to it as it is to find at a time, 1 or 64. What a longer series of such batches
/// costs the worker more than a short one, divided by the messages, is the figure: start and end
/// don't count. It is the same in every run within a few tenths of a percent, whatever else the
/// machine does. The kernel's work isn't in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench instructions                     the table, and how it differs from what is kept
  cargo xtask bench instructions --check             fail if a row has grown by more than 3 %, and
                                                     name the functions that have; with another
                                                     compiler or kind of CPU it is only shown
  cargo xtask bench instructions --functions 20 'send, socket'
                                                     what the worker spends them on
  cargo xtask bench instructions --time send         nanoseconds of CPU instead, with the kernel's part
  cargo xtask bench instructions --save              keep what is counted: src/bench/instructions.json

Needs root and valgrind.")]
pub struct InstructionsArgs {
    /// Keep the figures in the repository; rows that aren't counted stay
    #[arg(long, conflicts_with = "check")]
    save: bool,
    /// Fail if a row has grown by more than 3 % since they were kept
    #[arg(long)]
    check: bool,
    /// Measure the worker's CPU time instead, with the kernel's part; what is kept isn't compared
    #[arg(long, conflicts_with_all = ["save", "check", "functions"])]
    time: bool,
    /// Show so many functions of each row
    #[arg(long, value_name = "N", default_value_t = 0)]
    functions: usize,
    /// Only rows with this in their name
    filter: Option<String>,
}

/// Configurations that are measured.
const WORKS: [&str; 4] = ["send", "copy", "forward", "gzip"];
const ENGINES: [&str; 2] = ["socket", "xdp"];
/// Batches, and how many are counted of each.
const SERIES: [Series; 2] = [
    Series {
        batch: 1,
        times: 150,
    },
    Series {
        batch: 64,
        times: 12,
    },
];
/// Before what is counted: memory, caches and tables are in place behind these.
const WARM_UP: [Series; 2] = [
    Series {
        batch: 64,
        times: 3,
    },
    Series { batch: 1, times: 8 },
];

/// A row's name.
fn name(work: &str, engine: &str, batch: usize) -> String {
    format!("{work}, {engine}, {batch}")
}

/// `cargo xtask bench instructions`
///
/// # Errors
/// What is missing, or failed.
pub fn run(args: &InstructionsArgs) -> Result<ExitCode> {
    privilege::require_root("counting instructions, which makes network namespaces,")?;
    setup::ensure_toolchain()?;
    setup::ensure_tools(&setup::FOR_INSTRUCTIONS)?;
    let corex = compile::corex_to_run(Profile::Release)?;
    for name in corex_lab::sweep()? {
        ui::say(&format!("removed {name}, left by a run that was killed"));
    }
    ui::step("Counting instructions for each message");
    let road = Road::new(corex)?;
    let wanted = |name: &str| {
        args.filter
            .as_ref()
            .is_none_or(|f| name.contains(f.as_str()))
    };
    if args.time {
        return time(&road, wanted);
    }
    let mut rows = BTreeMap::new();
    for work in WORKS {
        for engine in ENGINES {
            let series: Vec<Series> = SERIES
                .into_iter()
                .filter(|series| wanted(&name(work, engine, series.batch)))
                .collect();
            if !series.is_empty() {
                count(&road, work, engine, &series, &mut rows)?;
            }
        }
    }
    ui::end_progress();
    anyhow::ensure!(!rows.is_empty(), "no row has that in its name");
    let counted = Baseline {
        made_with: baseline::made_with()?,
        rows,
    };
    show_functions(&counted, args.functions);
    if args.save {
        counted.keep()?;
        ui::say(&format!("kept in {}", baseline::file().display()));
        return Ok(ExitCode::SUCCESS);
    }
    compare(&counted, args.check)
}

/// Batches whose time is taken, behind `TIMED_WARM_UP`.
const TIMED: [Series; 2] = [
    Series {
        batch: 1,
        times: 500,
    },
    Series {
        batch: 64,
        times: 100,
    },
];
const TIMED_WARM_UP: Series = Series {
    batch: 64,
    times: 20,
};
/// How often each is taken: the median is shown, with the lowest and the highest.
const TURNS: usize = 3;

/// Prints what the rows cost in time.
fn time(road: &Road, wanted: impl Fn(&str) -> bool) -> Result<ExitCode> {
    ui::say(&format!("{:<22}{:>8}{:>16}", "", "ns", ""));
    for work in WORKS {
        let config = compile::workspace().join(format!("xtask/src/bench/{work}.cfg"));
        for engine in ENGINES {
            for series in TIMED {
                let name = name(work, engine, series.batch);
                if !wanted(&name) {
                    continue;
                }
                let turn = |_| road.time(&config, engine, &[TIMED_WARM_UP, series]);
                let mut times = (0..TURNS).map(turn).collect::<Result<Vec<f64>>>()?;
                times.sort_by(f64::total_cmp);
                if let [first, median, last] = times[..] {
                    let range = format!("({first:.0}–{last:.0})");
                    ui::say(&format!("{name:<22}{median:>8.0}{range:>16}"));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts the rows of one configuration and one engine.
fn count(
    road: &Road,
    work: &str,
    engine: &str,
    series: &[Series],
    rows: &mut BTreeMap<String, Row>,
) -> Result<()> {
    let config = compile::workspace().join(format!("xtask/src/bench/{work}.cfg"));
    let run = |series: &[Series]| -> Result<Functions> {
        let all = [&WARM_UP, series].concat();
        road.count(&config, engine, &all)
            .with_context(|| format!("{work} by {engine}"))
    };
    ui::progress(&format!("  {work}, {engine}"));
    let short = run(&[])?;
    for series in series {
        let name = name(work, engine, series.batch);
        ui::progress(&format!("  {name}"));
        let long = run(std::slice::from_ref(series))?;
        let row = Row::between(&short, &long, series.batch * series.times);
        rows.insert(name, row);
    }
    Ok(())
}

fn show_functions(counted: &Baseline, how_many: usize) {
    for (name, row) in counted.rows.iter().filter(|_| how_many > 0) {
        ui::say(&format!("{name}: {:.0}", row.total));
        for (function, cost) in row.top().into_iter().take(how_many) {
            ui::say(&format!("{cost:>9.1}  {function}"));
        }
    }
}

/// Prints the table; fails if it `is_check` and a row has grown. Counts of another compiler or another kind
/// of CPU are shown, and not judged.
fn compare(counted: &Baseline, is_check: bool) -> Result<ExitCode> {
    let kept = Baseline::read()?;
    let differs: Vec<String> = counted
        .made_with
        .iter()
        .filter(|(key, value)| kept.made_with.get(*key) != Some(value))
        .map(|(key, value)| {
            let before = kept.made_with.get(key).map_or("?", String::as_str);
            format!("{key}: {value}; kept: {before}")
        })
        .collect();
    if !differs.is_empty() {
        ui::say(&ui::paint(
            Style::Dim,
            &format!(
                "What is kept was counted with something else, so differences aren't judged: {}",
                differs.join(", ")
            ),
        ));
    }
    ui::say(&format!("{:<22}{:>8}{:>8}{:>8}", "", "now", "kept", "%"));
    let mut has_grown = false;
    for (name, row) in &counted.rows {
        let Some(before) = kept.rows.get(name) else {
            ui::say(&format!("{name:<22}{:>8.0}{:>8}{:>8}", row.total, "-", "-"));
            has_grown |= is_check;
            continue;
        };
        let growth = row.growth(before);
        ui::say(&format!(
            "{name:<22}{:>8.0}{:>8.0}{growth:>+8.1}",
            row.total, before.total
        ));
        if growth > TOLERANCE {
            has_grown = true;
            for (function, more) in row.grown(before) {
                ui::say(&format!("{:>30}  {function}", format!("+{more:.0}")));
            }
        }
    }
    if has_grown && is_check && differs.is_empty() {
        ui::complain(
            "A message costs more than what is kept. If that is wanted: `cargo xtask bench \
             instructions --save`, and say in the commit what it buys.",
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
