//! Models of threads under loom, and unit tests under Miri.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{
    compile,
    ui::{self, Style},
};

/// Packages with models, each behind its feature `loom`.
const MODELLED: [&str; 2] = ["corex-lockfree", "corex-xdp"];

/// Unit tests that Miri can run: what they test makes no system calls. With what is in their names.
const INTERPRETED: [(&str, &str); 2] = [("corex-lockfree", ""), ("corex-xdp", "ring::")];

/// Runs the models. Whether all passed.
///
/// # Errors
/// Cargo can't be run.
pub fn loom() -> Result<bool> {
    ui::step("Models, in every order that the memory model allows");
    let mut passed = true;
    for package in MODELLED {
        let mut command = compile::cargo();
        command
            .args(["test", "--lib", "--package", package])
            .args(["--features", "loom", "models"])
            .env("LOOM_LOG", "off");
        passed &= succeeds(command)?;
    }
    Ok(passed)
}

/// Runs the unit tests. Whether all passed.
///
/// # Errors
/// There is no Miri.
pub fn miri() -> Result<bool> {
    let is_there = Command::new("cargo")
        .args(["+nightly", "miri", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_there {
        bail!(
            "there is no Miri; it comes with: rustup toolchain install nightly --component miri,rust-src"
        );
    }
    ui::step("Unit tests, interpreted");
    let mut passed = true;
    for (package, filter) in INTERPRETED {
        let mut command = Command::new("cargo");
        command
            .current_dir(compile::workspace())
            .args([
                "+nightly",
                "miri",
                "test",
                "--lib",
                "--package",
                package,
                filter,
            ])
            .arg("--target-dir")
            .arg(compile::workspace().join("target/miri"))
            // What an outer cargo has set is for another compiler.
            .env_remove("RUSTC")
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO");
        passed &= succeeds(command)?;
    }
    Ok(passed)
}

fn succeeds(mut command: Command) -> Result<bool> {
    let passed = command.status().context("run cargo")?.success();
    if !passed {
        ui::say(&ui::paint(Style::Bad, "It fails; the reason is above."));
    }
    Ok(passed)
}
