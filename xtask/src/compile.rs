//! `cargo xtask build`: the corex binary.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{toolchain::Toolchain, ui};

/// Build the corex binary.
///
/// The XDP programs are compiled from source and embedded; nothing else has to be installed
/// beside the binary. Prints where the binary is.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Optimised, as it should run; without it, a debug build
    #[arg(long)]
    release: bool,
}

/// Which optimisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build.
    Debug,
    /// Quick to run.
    Release,
}

/// `cargo xtask build`
pub fn run(args: &BuildArgs) -> Result<()> {
    let profile = if args.release {
        Profile::Release
    } else {
        Profile::Debug
    };
    let binary = corex(profile)?;
    ui::say(&binary.display().to_string());
    Ok(())
}

/// The workspace's directory.
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A cargo command in the workspace, by the cargo that runs xtask.
pub fn cargo() -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).stdin(Stdio::null());
    command
}

/// Builds corex and returns the binary's path.
///
/// # Errors
/// The eBPF tool chain is missing, or the build failed.
pub fn corex(profile: Profile) -> Result<PathBuf> {
    build(profile, ["--bin", "corex"])
}

/// Builds one target of corex-user, named as for cargo, and returns its path.
///
/// # Errors
/// As [`corex`].
pub fn build(profile: Profile, [kind, name]: [&str; 2]) -> Result<PathBuf> {
    Toolchain::find()?;
    let mut command = cargo();
    command.args(["build", "--package", "corex-user", kind, name]);
    command.arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        command.arg("--release");
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo build")?;
    if !output.status.success() {
        bail!("{name} could not be built; the reason is above");
    }
    executable(&String::from_utf8_lossy(&output.stdout), name)
        .with_context(|| format!("cargo built {name} but didn't say where"))
}

/// The binary to run: `$COREX_BIN` if that is set, else a release build.
///
/// # Errors
/// As [`corex`].
pub fn corex_to_run() -> Result<PathBuf> {
    if let Some(binary) = env::var_os("COREX_BIN") {
        return Ok(binary.into());
    }
    ui::step("Building corex");
    corex(Profile::Release)
}

/// Finds the binary in cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"corex_user"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"corex"},"executable":"/t/debug/corex"}"#;
        assert_eq!(executable(messages, "corex"), Some("/t/debug/corex".into()));
    }
}
