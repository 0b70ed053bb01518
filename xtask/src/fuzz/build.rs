//! Building the targets with libFuzzer.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::target::Target;
use crate::compile;

/// Coverage by LLVM's own pass, which also the stable compiler has. Only crates of the workspace are
/// built with it: libFuzzer looks at all counters after each input, so that those of others would cost
/// more than they tell.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Where everything of the fuzz targets is.
pub fn directory() -> PathBuf {
    compile::workspace().join("target/fuzz")
}

/// Builds these targets; returns the folder that they are in.
///
/// # Errors
/// The build failed.
pub fn build(targets: &[&Target]) -> Result<PathBuf> {
    let host = host()?;
    let directory = directory();
    let mut command = compile::cargo();
    command
        .args(["build", "--package", "corex-fuzz"])
        .args(targets.iter().flat_map(|target| ["--bin", target.name]))
        .args(["--features", "libfuzzer", "--profile", "fuzz"])
        .args(["--target", &host, "--target-dir"])
        .arg(&directory)
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper(&directory, &host)?);
    if !command.status().context("run cargo build")?.success() {
        bail!("the fuzz targets could not be built; the reason is above");
    }
    Ok(directory.join(host).join("fuzz"))
}

/// A script that adds the flags to what cargo says to rustc. Build scripts and macros run in the
/// compiler, and have no target named.
fn wrapper(directory: &Path, host: &str) -> Result<PathBuf> {
    let path = directory.join("rustc-with-coverage");
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in\n*\" --target {host} \"*) exec \"$@\" {COVERAGE} ;;\n\
         *) exec \"$@\" ;;\nesac\n"
    );
    let written = fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, text))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
    written.with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// The name of this machine's compilation target.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .context("run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV doesn't say which machine this is")
}
