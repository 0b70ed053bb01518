//! `cargo xtask test`: the unit tests, and the end-to-end tests beside each other.

use std::{
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::Args;
use corex_lab::process::output_of;

use crate::{
    compile::{self, Profile},
    privilege, setup,
    ui::{self, Style},
};

/// Run all tests.
///
/// Installs what is missing (as `setup --peers`), builds corex, then runs the unit and
/// property tests, and the end-to-end tests: real SIP peers and crafted packets in network
/// namespaces, which are removed afterwards. No interface of the machine is touched.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask test                 everything; needs root
  cargo xtask test --unit          no namespaces, no root, once set up
  cargo xtask test --e2e vlan      end-to-end tests with `vlan` in their name

With COREX_LAB_KEEP=1 the end-to-end tests leave their logs and captures in the temporary
directory, and print where.")]
pub struct TestArgs {
    /// Unit and property tests alone
    #[arg(long, conflicts_with = "e2e")]
    unit: bool,
    /// End-to-end tests alone
    #[arg(long)]
    e2e: bool,
    /// Only tests with this in their name
    filter: Option<String>,
}

/// `cargo xtask test`
pub fn run(args: &TestArgs) -> Result<ExitCode> {
    let begin = Instant::now();
    let (unit, end_to_end) = (!args.e2e, !args.unit);
    if end_to_end {
        privilege::require_root("running the end-to-end tests, which make network namespaces,")?;
    }
    ui::step("Setup");
    setup::ensure_toolchain()?;
    if unit {
        setup::ensure_tools(&setup::FOR_UNIT_TESTS)?;
    }
    if end_to_end {
        setup::ensure_tools(&setup::PEERS)?;
        for name in corex_lab::sweep()? {
            ui::say(&format!("removed {name}, left by a run that was killed"));
        }
    }
    ui::step("Build");
    let binary = if unit {
        // Together with the unit tests: they ask more of tokio, so that for corex alone, everything
        // on top of tokio would be built twice.
        let mut command = unit_tests();
        command.arg("--no-run");
        compile::build_by(command, "corex")?
    } else {
        compile::corex(Profile::Debug)?
    };

    let mut failed = Vec::new();
    if unit {
        ui::step("Unit and property tests");
        let mut command = unit_tests();
        command.env("COREX_BIN", &binary);
        command.arg("--").args(&args.filter);
        if !succeeds(&mut command)? {
            failed.push("unit tests");
        }
    }
    if end_to_end {
        ui::step("End-to-end tests");
        if !end_to_end_tests(&binary, args.filter.as_deref())? {
            failed.push("end-to-end tests");
        }
    }
    let seconds = begin.elapsed().as_secs();
    if failed.is_empty() {
        ui::say(&ui::paint(
            Style::Good,
            &format!("All tests passed, in {seconds} s."),
        ));
        return Ok(ExitCode::SUCCESS);
    }
    ui::say(&ui::paint(
        Style::Bad,
        &format!("Failed: {} (see above), in {seconds} s.", failed.join(", ")),
    ));
    Ok(ExitCode::FAILURE)
}

/// In the path of an end-to-end test that bears no other beside it.
const ALONE: &str = "alone::";

/// How many end-to-end tests run at a time. Most of their time they wait, for calls to end or for
/// what must not come, so there may be more of them than CPUs.
fn at_once() -> usize {
    thread::available_parallelism().map_or(1, usize::from) * 2
}

/// Runs the end-to-end tests: most of them beside each other, the rest one by one.
fn end_to_end_tests(binary: &Path, filter: Option<&str>) -> Result<bool> {
    let mut beside = lab_tests(binary, &[]);
    beside.arg(format!("--test-threads={}", at_once()));
    beside.args(["--skip", ALONE]).args(filter);
    let mut passed = succeeds(&mut beside)?;

    // The harness joins filters by "or", so those that are alone and match are asked for by name.
    let mut list = lab_tests(binary, &["--test", "*"]);
    list.args(["--list", "--format", "terse"]).args(filter);
    let names = output_of(&mut list)?;
    let mut alone = lab_tests(binary, &["--test", "*"]);
    alone.args(["--test-threads=1", "--exact"]);
    let mut any = false;
    for name in alone_among(&names) {
        alone.arg(name);
        any = true;
    }
    if any {
        passed &= succeeds(&mut alone)?;
    }
    Ok(passed)
}

/// A command that runs targets of the laboratory's tests; arguments for these may follow.
fn lab_tests(binary: &Path, targets: &[&str]) -> Command {
    let mut command = compile::cargo();
    command.args(["test", "--no-fail-fast", "--package", "corex-lab"]);
    command.args(targets).arg("--").env("COREX_BIN", binary);
    command
}

/// The tests in a list (`--list --format terse`) that bear no other beside them.
fn alone_among(list: &str) -> impl Iterator<Item = &str> {
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    names.filter(|name| name.contains(ALONE))
}

/// The unit and property tests of all packages.
fn unit_tests() -> Command {
    let mut command = compile::cargo();
    command.args(["test", "--no-fail-fast", "--workspace"]);
    for package in ["corex-ebpf", "corex-lab"] {
        command.args(["--exclude", package]);
    }
    command
}

fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(command.status().context("run cargo test")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_bear_no_other_beside_them_are_found_in_a_list() {
        let list = "calls::pass: test\ntop::alone::keys: test\ntop::alone::speed: benchmark\n";
        assert_eq!(alone_among(list).collect::<Vec<_>>(), ["top::alone::keys"]);
    }
}
