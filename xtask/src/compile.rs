//! `cargo xtask build`: the corex binary.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use corex_lab::sys;
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
pub fn build_by(command: Command, name: &str) -> Result<PathBuf> {
    Toolchain::find()?;
    let messages = messages_of(command)?;
    executable(&messages, name).with_context(|| format!("cargo built {name} but didn't say where"))
}

/// Runs a cargo command that builds tests (`cargo test --no-run`), and returns the paths of their
/// programs.
///
/// # Errors
/// The build failed.
pub fn test_programs(command: Command) -> Result<Vec<PathBuf>> {
    Ok(programs_of_tests(&messages_of(command)?))
}

/// What a cargo command that builds says for other programs: an object of JSON a line.
fn messages_of(mut command: Command) -> Result<String> {
    command.arg("--message-format=json-render-diagnostics");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    if !output.status.success() {
        let place = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let place = place.as_deref().unwrap_or(workspace());
        bail!("{}", why_it_failed(place, sys::space_left(place).ok()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A full disk: with less free space, in bytes, compiler and linker fail in words of their own.
const TOO_LITTLE_SPACE: u64 = 256 << 20;

/// What to say of a build that failed at a place where `left` bytes are free.
fn why_it_failed(place: &Path, left: Option<u64>) -> String {
    match left {
        Some(left) if left < TOO_LITTLE_SPACE => format!(
            "the build failed, and the disk is full: {} MB are left at {}; free some (`cargo clean` \
             removes what was built), or set CARGO_TARGET_DIR to a directory on another disk",
            left >> 20,
            place.display()
        ),
        _ => "the build failed; the reason is above".to_owned(),
    }
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
    executables(messages)
        .filter(|message| message["target"]["name"] == name && message["profile"]["test"] != true)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

/// Finds the programs of test harnesses in cargo's messages.
fn programs_of_tests(messages: &str) -> Vec<PathBuf> {
    executables(messages)
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .collect()
}

/// Cargo's messages about what can be run.
fn executables(messages: &str) -> impl Iterator<Item = Value> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["executable"].is_string())
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
    fn a_build_that_fails_on_a_full_disk_says_so_and_what_to_do() {
        let full = why_it_failed(workspace(), Some(3 << 20));
        assert!(
            full.contains("3 MB are left") && full.contains("cargo clean"),
            "{full}"
        );
        for left in [Some(10 << 30), None] {
            assert!(why_it_failed(workspace(), left).ends_with("the reason is above"));
        }
    }

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"corex_user"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"corex"},"profile":{"test":true},"executable":"/t/debug/deps/corex-1"}
{"reason":"compiler-artifact","target":{"name":"corex"},"executable":"/t/debug/corex"}"#;
        assert_eq!(executable(messages, "corex"), Some("/t/debug/corex".into()));
        assert_eq!(
            programs_of_tests(messages),
            ["/t/debug/deps/corex-1"].map(PathBuf::from)
        );
    }
}
