//! Debian's package manager.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, bail};
use corex_lab::{
    cleanup::{self, Guard},
    process::{output_of, which},
};

use crate::{privilege, ui};

/// Where Debian's maintainer scripts ask whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The packages that dpkg doesn't have installed.
pub fn not_installed<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    packages
        .iter()
        .copied()
        .filter(|package| {
            let output = Command::new("dpkg-query")
                .args(["--show", "--showformat=${db:Status-Status}", package])
                .stderr(Stdio::null())
                .output();
            !output.is_ok_and(|output| output.stdout == b"installed")
        })
        .collect()
}

/// Whether a package is installed or can be.
pub fn is_available(package: &str) -> bool {
    not_installed(&[package]).is_empty() || not_in_lists(&[package]).is_empty()
}

/// Installs packages that are missing, without starting their services.
///
/// # Errors
/// No apt-get, not root, packages unknown, or no network; a sentence that says which.
pub fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let list = packages.join(" ");
    if which("apt-get").is_none() {
        bail!(
            "{purpose}: the Debian packages {list} are missing, and there is no apt-get here to \
             install them; setup knows Debian 12 only, elsewhere install their like by hand"
        );
    }
    if !privilege::is_root() {
        bail!(
            "{purpose}: packages are missing, and installing them needs root: run \
             `sudo apt-get install {list}`, then this again"
        );
    }
    refresh();
    let unknown = not_in_lists(packages);
    if !unknown.is_empty() {
        bail!(
            "{purpose}: apt knows no package {}; on Debian 12 they are in bookworm and \
             bookworm-security, see /etc/apt/sources.list.d",
            unknown.join(", ")
        );
    }
    let _policy = keep_services_down()?;
    ui::step(&format!("Installing {list}: {purpose}"));
    if !apt_get(&["install", "--yes", "--no-install-recommends"], packages)? {
        bail!(
            "{purpose}: apt-get could not install {list}; its reason is above (is this machine \
             online?)"
        );
    }
    Ok(())
}

/// Fetches the package lists, once in the life of this process: old ones name versions that the
/// mirror has replaced since, and compilers that are too old. Without root, or without a network,
/// those that are there must do.
pub fn refresh() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if !privilege::is_root() || which("apt-get").is_none() {
            return;
        }
        ui::step("Refreshing the package lists (apt-get update)");
        if !apt_get(&["update"], &[]).unwrap_or(false) {
            ui::say("They could not be fetched, for the reason above: going on with those here.");
        }
    });
}

fn apt_get(arguments: &[&str], packages: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .args(["--quiet", "-o", "Dpkg::Use-Pty=0"])
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .context("run apt-get")?;
    Ok(status.success())
}

/// The packages for which the lists name no version.
fn not_in_lists<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let output = Command::new("apt-cache")
        .arg("policy")
        .args(packages)
        .env("LC_ALL", "C")
        .stderr(Stdio::null())
        .output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    without_candidate(&text, packages)
}

/// Reads the answer of `apt-cache policy`.
fn without_candidate<'a>(policy: &str, packages: &[&'a str]) -> Vec<&'a str> {
    let mut known = Vec::new();
    let mut package = "";
    for line in policy.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|l| !l.starts_with(' ')) {
            package = name;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            known.push(package);
        }
    }
    packages
        .iter()
        .copied()
        .filter(|package| !known.contains(package))
        .collect()
}

/// Where this machine's apt has a suite of Debian from, as in bookworm-security.
///
/// # Errors
/// It has it from nowhere.
pub fn mirror(suite: &str) -> Result<String> {
    let text = output_of(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(SITE) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))?;
    let found = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (site, release, component) = (words.next()?, words.next()?, words.next()?);
        (release == suite && component == "main").then(|| site.to_owned())
    });
    found
        .with_context(|| format!("apt here has no mirror of Debian's {suite}: see sources.list(5)"))
}

/// While the guard lives, packages don't start their services at installation (invoke-rc.d:
/// exit status 101 of policy-rc.d forbids it). A policy that is there already is left alone.
fn keep_services_down() -> Result<Option<Guard>> {
    if Path::new(POLICY).exists() {
        return Ok(None);
    }
    let guard = cleanup::defer(|| {
        // Nothing to remove if it couldn't be written.
        let _ = fs::remove_file(POLICY);
    });
    fs::write(POLICY, "#!/bin/sh\nexit 101\n")
        .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("write {POLICY}"))?;
    Ok(Some(guard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_candidate_and_one_unknown_are_told_from_the_rest() {
        let policy = "tshark:\n  Installed: (none)\n  Candidate: 4.0.17\n  Version table:\n\
            gone:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(
            without_candidate(policy, &["tshark", "gone", "unheard-of"]),
            ["gone", "unheard-of"]
        );
    }
}
