//! `cargo xtask bench micro`: single functions, by criterion.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{compile, ui};

/// Measure single functions: parsing, aliases, steps of the interpreter, codecs, checksums, tables.
///
/// Needs no network and no root. criterion compares with what the last run found, or with a
/// baseline by name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench micro                             all; a few minutes
  cargo xtask bench micro alias                       those with `alias` in their name
  cargo xtask bench micro --save-baseline before      then change something, then
  cargo xtask bench micro --baseline before")]
pub struct MicroArgs {
    /// Keep what is found under this name
    #[arg(long, value_name = "NAME", conflicts_with = "baseline")]
    save_baseline: Option<String>,
    /// Compare with what was kept under this name
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Run each once, to see that it works
    #[arg(long)]
    test: bool,
    /// Only those with this in their name
    filter: Option<String>,
}

/// `cargo xtask bench micro`
///
/// # Errors
/// They don't build, or one fails.
pub fn run(args: &MicroArgs) -> Result<ExitCode> {
    ui::step("Building and measuring");
    let mut command = compile::cargo();
    command.args(["bench", "--package", "corex-micro", "--"]);
    if let Some(name) = &args.save_baseline {
        command.args(["--save-baseline", name]);
    }
    if let Some(name) = &args.baseline {
        command.args(["--baseline", name]);
    }
    if args.test {
        command.arg("--test");
    }
    command.args(&args.filter);
    let status = command.status().context("run cargo bench")?;
    ensure!(status.success(), "the reason is above");
    Ok(ExitCode::SUCCESS)
}
