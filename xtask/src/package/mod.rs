//! `cargo xtask package`: a Debian package.

mod chroot;
mod debian;
mod musl;
mod notices;
mod recipes;
mod systemd;
mod traffic;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    compile::{self, Profile},
    setup,
    ui::{self, Style},
};

/// Make a Debian package: corex_VERSION_ARCHITECTURE.deb, checked by lintian.
///
/// It brings the binary, the unit corex@.service with a user of its own, manual pages, completions for
/// bash, zsh and fish, the examples, and /etc/corex/edge.cfg, which sends nothing on until it is changed.
/// An upgrade has the instances that run go over to the new version.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask package           the package, in target/package
  cargo xtask package --test    and try it in Debians 12 of its own (debootstrap): install, run,
                                upgrade under traffic, purge; start, reload, watch and stop it by
                                systemd (systemd-nspawn); needs root and a mirror of Debian
  cargo xtask package --static  an archive instead, with a binary that needs no libc")]
pub struct PackageArgs {
    /// Try it: install, run, upgrade and purge it in folders with a fresh Debian 12, one of which boots
    /// systemd; of a static binary, run it in an empty folder
    #[arg(long)]
    test: bool,
    /// Make corex-VERSION-ARCHITECTURE-linux-musl.tar.gz: the binary, linked statically, with manual
    /// pages, completions, the unit and a configuration
    #[arg(long = "static")]
    is_static: bool,
}

/// `cargo xtask package`
pub fn run(args: &PackageArgs) -> Result<ExitCode> {
    ui::step("Setup");
    setup::ensure_toolchain()?;
    if args.is_static {
        return archive(args.test);
    }
    setup::ensure_tools(&setup::FOR_PACKAGE)?;
    if args.test {
        setup::ensure_tools(&setup::FOR_PACKAGE_TEST)?;
    }
    let corex = compile::corex_to_run(Profile::Release)?;
    ui::step("Packaging");
    let package = package(&corex, &version()?)?;
    ui::step("lintian");
    lint(&package)?;
    ui::say(&ui::paint(Style::Good, "It has nothing to say."));
    if args.test {
        let newer = self::package(&corex, &format!("{}+next", version()?))?;
        chroot::test(&package, &newer)?;
        systemd::test(&package, &newer)?;
    }
    ui::say(&package.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Makes an archive with a static binary, and tries it.
fn archive(is_tried: bool) -> Result<ExitCode> {
    let corex = musl::build()?;
    let archive = musl::archive(&corex, &version()?)?;
    if is_tried {
        setup::ensure_tools(&setup::FOR_STATIC_TEST)?;
        musl::test(&archive)?;
    }
    ui::say(&archive.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// The workspace's version.
fn version() -> Result<String> {
    // xtask's is the workspace's.
    Ok(env!("CARGO_PKG_VERSION").to_owned())
}

/// Makes the package; returns its path.
fn package(corex: &Path, version: &str) -> Result<PathBuf> {
    let folder = compile::workspace().join("target/package");
    let source = folder.join(format!("corex-{version}"));
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("remove {}", source.display()))?;
    }
    tree::make(&source, corex, version)?;
    let output = Command::new("dpkg-buildpackage")
        .args([
            "--build=binary",
            "--unsigned-changes",
            "--unsigned-buildinfo",
        ])
        .args(["--no-check-builddeps", "--no-pre-clean"])
        .current_dir(&source)
        .env("LC_ALL", "C")
        .output()
        .context("run dpkg-buildpackage")?;
    if !output.status.success() {
        bail!(
            "dpkg-buildpackage failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let made = folder.join(format!("corex_{version}_{}.deb", architecture()?));
    if !made.is_file() {
        bail!("dpkg-buildpackage made no {}", made.display());
    }
    Ok(made)
}

/// What Debian calls this machine.
fn architecture() -> Result<String> {
    let output = Command::new("dpkg")
        .arg("--print-architecture")
        .output()
        .context("run dpkg")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Has lintian read the package.
///
/// # Errors
/// What it found.
fn lint(package: &Path) -> Result<()> {
    let output = Command::new("lintian")
        .args(["--fail-on=error,warning", "--allow-root", "--no-cfg"])
        .arg(package)
        .output()
        .context("run lintian")?;
    if !output.status.success() {
        bail!(
            "lintian finds fault with {}:\n{}{}",
            package.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
