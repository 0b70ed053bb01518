//! `cargo xtask deny`: what the dependencies are, and where they come from.

use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{compile, ui};

/// The release of cargo-deny that is installed when there is none.
const CARGO_DENY: &str = "0.20.2";

/// Check licences, versions and sources of all dependencies.
///
/// Runs cargo-deny by deny.toml, and builds it first where it is missing, which takes a few
/// minutes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask deny                 needs no network, once cargo-deny is there
  cargo xtask deny --advisories    known vulnerabilities as well, from RustSec's database")]
pub struct DenyArgs {
    /// Fetch RustSec's advisories, and check for them too
    #[arg(long)]
    advisories: bool,
}

/// `cargo xtask deny`
pub fn run(args: &DenyArgs) -> Result<ExitCode> {
    install()?;
    let mut command = compile::cargo();
    // What only the fuzz targets use is behind a feature.
    command.args([
        "deny",
        "--all-features",
        "check",
        "licenses",
        "bans",
        "sources",
    ]);
    if args.advisories {
        command.arg("advisories");
    }
    let status = command.status().context("run cargo deny")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds cargo-deny from crates.io into cargo's directory of programs, unless it is there.
fn install() -> Result<()> {
    let mut probe = compile::cargo();
    probe.args(["deny", "--version"]).stderr(Stdio::null());
    if probe.output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    ui::step(&format!(
        "Building cargo-deny {CARGO_DENY} (two minutes or three)"
    ));
    let mut command = compile::cargo();
    command.args(["install", "cargo-deny", "--version", CARGO_DENY, "--locked"]);
    if !command.status().context("run cargo install")?.success() {
        bail!("cargo could not install cargo-deny; its reason is above (is this machine online?)");
    }
    Ok(())
}
