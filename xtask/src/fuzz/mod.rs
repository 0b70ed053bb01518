//! `cargo xtask fuzz`: inputs that nobody thought of, and orders of threads that nobody saw.

mod build;
mod campaign;
mod models;
mod report;
mod status;
mod target;
mod xdp;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, builder::PossibleValuesParser};

use self::{
    campaign::Effort,
    report::Row,
    target::{Target, XDP},
};
use crate::{
    privilege, setup,
    ui::{self, Style},
};

/// Look for inputs that break what reads bytes from outside.
///
/// libFuzzer changes inputs at random and keeps those that reach new code. An input fails when
/// the target panics, takes more than ten seconds, or more than 2 GiB of memory; then all ends. What was
/// found interesting is kept in target/fuzz and used the next time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                          all targets, a minute each
  cargo xtask fuzz --minutes 60 --jobs 2    all targets, an hour in all, two at a time
  cargo xtask fuzz sip strict --minutes 10  two of them, five minutes each
  cargo xtask fuzz sip --input FILE         this input only, to see why it fails
  cargo xtask fuzz xdp --minutes 10         frames through the XDP programs; needs root
  cargo xtask fuzz --loom                   models of what threads share without a lock

Needs no nightly compiler, but a C++ compiler, which is installed where it is missing. The first
build takes some minutes. An input that failed belongs into corex-user/fuzz/seeds once its cause
is mended: the tests run all seeds. docs/fuzzing.md says what each target reads.

Exit codes: 0 nothing was found, 1 it could not be run, 2 the command line is wrong, 3 an input or a
model failed.")]
pub struct FuzzArgs {
    /// What is fed; without it, all that takes no root, in turn
    #[arg(value_name = "TARGET", value_parser = PossibleValuesParser::new(target::values()))]
    targets: Vec<String>,
    /// Minutes for all targets together; a minute for each, if not said
    #[arg(long, value_name = "N", value_parser = minutes)]
    minutes: Option<f64>,
    /// Stop a target after so many inputs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Targets at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Print what came of it as JSON on standard output; all else goes unsaid
    #[arg(long)]
    json: bool,
    /// Run the target on this file alone
    #[arg(
        long,
        value_name = "FILE",
        requires = "targets",
        conflicts_with_all = ["minutes", "runs", "json"]
    )]
    input: Option<PathBuf>,
    /// Leave of the corpora in target/fuzz only what the rest reaches no place without
    #[arg(long, conflicts_with_all = ["minutes", "runs", "input", "json"])]
    minimise: bool,
    /// Run the models of what threads share without a lock, in every order that the memory model allows
    #[arg(long, conflicts_with_all = ["targets", "minutes", "runs", "input", "json", "minimise"])]
    loom: bool,
    /// Run the unit tests of what has `unsafe` and no system calls under Miri; needs a nightly compiler
    /// with the component miri
    #[arg(long, conflicts_with_all = ["targets", "minutes", "runs", "input", "json", "minimise", "loom"])]
    miri: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let number = number.filter(|minutes: &f64| (0.01..=100_000.0).contains(minutes));
    number.ok_or_else(|| "it takes a number of minutes from 0.01 to 100000".to_owned())
}

/// An input failed.
const FAILED: u8 = 3;

/// `cargo xtask fuzz`
pub fn run(args: &FuzzArgs) -> Result<ExitCode> {
    if args.loom || args.miri {
        let passed = if args.loom {
            models::loom()?
        } else {
            models::miri()?
        };
        return Ok(code(passed));
    }
    ui::hush(args.json);
    let targets = targets(&args.targets)?;
    let (kernel, fuzzed): (Vec<&Target>, Vec<&Target>) = targets
        .iter()
        .copied()
        .partition(|target| target.name == XDP);
    if !kernel.is_empty() {
        privilege::require_root("running the XDP programs")?;
    }
    ui::step("Setup");
    setup::ensure_toolchain()?;
    setup::ensure_tools(&setup::FOR_FUZZ)?;
    let programs = if fuzzed.is_empty() {
        PathBuf::new()
    } else {
        ui::step("Building the fuzz targets (the first time takes some minutes)");
        build::build(&fuzzed)?
    };
    if let Some(input) = &args.input {
        let [target] = targets[..] else {
            bail!("--input takes one target");
        };
        return one_input(&programs, target, input);
    }
    if args.minimise {
        for target in fuzzed {
            let (old, new) = campaign::minimise(&programs, target)?;
            ui::say(&format!("{}: {old} inputs, {new} left", target.name));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let effort = effort(args, targets.len());
    ui::step("Fuzzing");
    let mut rows = campaign::run(&programs, &fuzzed, effort)?;
    if rows.iter().all(|row| row.survived) && !kernel.is_empty() {
        rows.push(xdp::run(effort)?);
    }
    show(&rows, args.json)
}

fn effort(args: &FuzzArgs, targets: usize) -> Effort {
    let jobs = usize::from(args.jobs).min(targets.max(1));
    let whole = args
        .minutes
        .map(|minutes| Duration::from_secs_f64(60.0 * minutes));
    let rounds = targets.div_ceil(jobs).max(1) as u32;
    Effort {
        time: whole.map_or(Duration::from_secs(60), |whole| whole / rounds),
        executions: args.runs,
        jobs,
    }
}

/// Those of these names; without any, all but the one that takes root.
fn targets(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(target::ALL.iter().filter(|it| it.name != XDP).collect());
    }
    let mut found: Vec<&'static Target> = Vec::new();
    for name in names {
        let target = target::named(name).with_context(|| format!("there is no target {name}"))?;
        if !found.iter().any(|other| other.name == target.name) {
            found.push(target);
        }
    }
    Ok(found)
}

fn show(rows: &[Row], as_json: bool) -> Result<ExitCode> {
    let survived = rows.iter().all(|row| row.survived);
    if as_json {
        ui::hush(false);
        ui::say(&report::json(rows)?);
    } else {
        report::table(rows);
    }
    Ok(code(survived))
}

fn code(passed: bool) -> ExitCode {
    match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    }
}

fn one_input(programs: &Path, target: &Target, input: &Path) -> Result<ExitCode> {
    if target.name == XDP {
        bail!("xdp makes its frames itself; what fails is printed");
    }
    ui::step(&format!("{}: {}", target.name, input.display()));
    let status = campaign::program(programs, target)
        .arg(input)
        .env("RUST_BACKTRACE", "1")
        .status()
        .context("run the fuzz target")?;
    if status.success() {
        ui::say(&ui::paint(Style::Good, "It passes."));
        return Ok(ExitCode::SUCCESS);
    }
    ui::say(&ui::paint(Style::Bad, "It fails; the reason is above."));
    Ok(ExitCode::from(FAILED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(minutes: Option<f64>, jobs: u16) -> FuzzArgs {
        FuzzArgs {
            targets: Vec::new(),
            minutes,
            runs: None,
            jobs,
            json: false,
            input: None,
            minimise: false,
            loom: false,
            miri: false,
        }
    }

    #[test]
    fn minutes_are_divided_over_the_targets_that_run_one_after_the_other() {
        let seconds = |minutes, jobs, targets| effort(&args(minutes, jobs), targets).time.as_secs();
        assert_eq!(seconds(None, 1, 30), 60);
        assert_eq!(seconds(Some(30.0), 1, 30), 60);
        assert_eq!(seconds(Some(30.0), 2, 30), 120);
        assert_eq!(seconds(Some(10.0), 2, 3), 300);
        assert_eq!(seconds(Some(10.0), 8, 1), 600);
    }

    #[test]
    fn what_takes_root_is_run_only_if_it_is_named() {
        let all = targets(&[]).unwrap();
        assert!(all.iter().all(|target| target.name != XDP));
        let named = targets(&["sip".to_owned(), XDP.to_owned(), "sip".to_owned()]).unwrap();
        assert_eq!(named.len(), 2);
        assert!(targets(&["nothing".to_owned()]).is_err());
    }

    #[test]
    fn minutes_are_a_number_of_some_size() {
        assert_eq!(minutes("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "inf", "ten", ""] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }
}
