//! Fresh Debians to try packages in: folders, made by debootstrap.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use corex_lab::process::output_of;

use crate::{apt, ui};

/// Debian 12.
const SUITE: &str = "bookworm";

/// What a Debian has beside the packages that all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As in a container.
    Minimal,
    /// systemd, and what reads what the package brings: manual pages, completions, needrestart.
    Systemd,
}

impl Flavour {
    fn name(self) -> &'static str {
        match self {
            Flavour::Minimal => "minimal",
            Flavour::Systemd => "systemd",
        }
    }

    fn packages(self) -> &'static str {
        match self {
            Flavour::Minimal => "adduser",
            Flavour::Systemd => {
                "adduser,systemd,systemd-sysv,dbus,procps,needrestart,man-db,bash-completion,zsh,fish"
            }
        }
    }
}

/// A folder in `folder` with a fresh Debian; made once.
///
/// # Errors
/// No mirror, or debootstrap failed.
pub fn fresh(flavour: Flavour, folder: &Path) -> Result<PathBuf> {
    let base = folder.join(format!("{SUITE}-{}", flavour.name()));
    if base.exists() {
        return Ok(base);
    }
    let mirror = apt::mirror(SUITE)?;
    ui::step(&format!(
        "Fetching a Debian 12 ({}; debootstrap; some minutes)",
        flavour.name()
    ));
    let half = folder.join("half");
    remove(&half)?;
    let status = Command::new("debootstrap")
        .arg("--variant=minbase")
        .arg(format!("--include={}", flavour.packages()))
        .arg(SUITE)
        .arg(&half)
        .arg(&mirror)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("run debootstrap")?;
    if !status.success() {
        bail!(
            "debootstrap failed; its reason is in {} (is this machine online?)",
            half.join("debootstrap/debootstrap.log").display()
        );
    }
    fs::rename(&half, &base).context("keep the fresh Debian")?;
    Ok(base)
}

/// A copy of a fresh Debian, to be changed.
///
/// # Errors
/// As [`fresh`], or the disk is full.
pub fn copy(flavour: Flavour, folder: &Path) -> Result<PathBuf> {
    let base = fresh(flavour, folder)?;
    // Hard links would share what dpkg changes in place.
    let root = folder.join(format!("root-{}", flavour.name()));
    remove(&root)?;
    output_of(
        Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .args([&base, &root]),
    )?;
    Ok(root)
}

/// Removes a folder, if it is there.
///
/// # Errors
/// What the kernel says.
pub fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
