//! `cargo xtask test`: the unit tests, and the end-to-end tests beside each other.

mod kernels;
mod lab;

use std::{
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::Args;

use self::kernels::Kernel;
use crate::{
    compile::{self, Profile},
    privilege, setup,
    ui::{self, Style},
};

/// Run all tests.
///
/// Installs what is missing (as `setup --peers`), builds corex, then runs the unit and
/// property tests, and the end-to-end tests: real SIP peers and crafted packets in network
/// namespaces, which are removed afterwards. No interface of the machine is touched. The latter run
/// in processes beside each other, one for each module and two for each CPU, and those in modules
/// called `alone` one by one afterwards.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask test                 everything; needs root
  cargo xtask test --unit          no namespaces, no root, once set up
  cargo xtask test --e2e vlan      end-to-end tests with `vlan` in their name
  cargo xtask test --kernels       the end-to-end tests that matter, on Debian's kernels 5.10, 6.1,
                                   6.12 and 7, emulated by QEMU; see docs/kernels.md
  cargo xtask test --kernels=6.1   on one of them

With COREX_LAB_KEEP=1 the end-to-end tests leave their logs and captures in the temporary
directory, and print where.")]
pub struct TestArgs {
    /// Unit and property tests alone
    #[arg(long, conflicts_with = "e2e")]
    unit: bool,
    /// End-to-end tests alone
    #[arg(long)]
    e2e: bool,
    /// On Debian's kernels in emulated machines; no other tests
    #[arg(
        long,
        value_name = "VERSION",
        value_enum,
        num_args = 0..,
        require_equals = true,
        value_delimiter = ',',
        conflicts_with_all = ["unit", "e2e", "filter"]
    )]
    kernels: Option<Vec<Kernel>>,
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
    if let Some(kernels) = &args.kernels {
        return kernels::run(if kernels.is_empty() {
            &Kernel::ALL
        } else {
            kernels
        });
    }
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
        let failures = lab::run(&binary, args.filter.as_deref())?;
        if !failures.is_empty() {
            failed.push("end-to-end tests");
        }
        // Those that passed since may have said much.
        for failure in failures {
            ui::say(&format!("\n{failure}"));
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
