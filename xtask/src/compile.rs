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

/// A profile of the workspace's Cargo.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// With the checks that the tests want.
    Debug,
    /// Without: optimised a little, so that the first build is over soon.
    Demo,
    /// Optimised over all crates, as it should run and is measured.
    Release,
}

impl Profile {
    /// What cargo calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "dev",
            Self::Demo => "demo",
            Self::Release => "release",
        }
    }
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
    // Without what `cargo run` says of xtask: to ring's build script another value is a reason to
    // build ring and all that is on top of it again, so that cargo and xtask would take turns.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_a_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether cargo sets an environment variable to tell a program about its own package.
fn describes_a_package(name: &str) -> bool {
    name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_")
}

/// Builds corex and returns the binary's path.
///
/// # Errors
/// The eBPF tool chain is missing, or the build failed.
pub fn corex(profile: Profile) -> Result<PathBuf> {
    build(profile, "corex-user", "corex")
}

/// Builds a binary of a package of the workspace and returns its path.
///
/// # Errors
/// As [`corex`].
pub fn build(profile: Profile, package: &str, name: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", package, "--bin", name]);
    command.args(["--profile", profile.name()]);
    build_by(command, name)
}

/// Runs a cargo command that builds the binary `name`, perhaps among others, and returns its path.
///
/// # Errors
/// As [`corex`].
pub fn build_by(mut command: Command, name: &str) -> Result<PathBuf> {
    Toolchain::find()?;
    command.arg("--message-format=json-render-diagnostics");
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

/// The binary to run: `$COREX_BIN` if that is set, else one built with this profile.
///
/// # Errors
/// As [`corex`].
pub fn corex_to_run(profile: Profile) -> Result<PathBuf> {
    if let Some(binary) = env::var_os("COREX_BIN") {
        return Ok(binary.into());
    }
    ui::step("Building corex");
    corex(profile)
}

/// Finds the binary in cargo's messages; that of its unit tests has the same name.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name && message["profile"]["test"] != true)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_of_xtask_goes_no_further_and_what_the_user_says_does() {
        let removed = |command: &Command| {
            let names = command.get_envs().filter(|(_, value)| value.is_none());
            names
                .map(|(name, _)| name.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        // `cargo test` says it of the tests, too.
        let removed = removed(&cargo());
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            assert!(removed.iter().any(|one| one == name), "{name}: {removed:?}");
        }
        assert!(!describes_a_package("CARGO_TARGET_DIR"));
    }

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"corex_user"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"corex"},"profile":{"test":true},"executable":"/t/debug/deps/corex-1"}
{"reason":"compiler-artifact","target":{"name":"corex"},"executable":"/t/debug/corex"}"#;
        assert_eq!(executable(messages, "corex"), Some("/t/debug/corex".into()));
    }
}
