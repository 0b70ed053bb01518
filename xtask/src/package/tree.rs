//! The folder that debhelper makes the package of.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::notices::{self, Notice};
use crate::compile;

/// Files of the packaging, as they are in this folder's `debian/`.
const DEBIAN: [(&str, &str); 10] = [
    ("control", include_str!("debian/control")),
    ("rules", include_str!("debian/rules")),
    (
        "corex.lintian-overrides",
        include_str!("debian/corex.lintian-overrides"),
    ),
    ("corex.install", include_str!("debian/corex.install")),
    ("corex.docs", include_str!("debian/corex.docs")),
    ("corex.examples", include_str!("debian/corex.examples")),
    ("corex.manpages", include_str!("debian/corex.manpages")),
    ("corex.postinst", include_str!("debian/corex.postinst")),
    ("corex.prerm", include_str!("debian/corex.prerm")),
    ("corex.postrm", include_str!("debian/corex.postrm")),
];

/// Makes the folder: the binary, what it prints of itself, documents, and the packaging.
pub fn make(folder: &Path, corex: &Path, version: &str) -> Result<()> {
    let workspace = compile::workspace();
    let debian = folder.join("debian");
    for below in [
        "debian/source",
        "etc/corex",
        "etc/needrestart/conf.d",
        "completions",
        "docs",
        "examples",
        "wireshark",
        "fail2ban",
        "crowdsec",
    ] {
        let path = folder.join(below);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    binary(folder, corex)?;
    for (from, to) in [
        ("docs", "docs"),
        ("docs/wireshark", "wireshark"),
        ("docs/fail2ban", "fail2ban"),
        ("docs/crowdsec", "crowdsec"),
        ("examples", "examples"),
    ] {
        copy_files(&workspace.join(from), &folder.join(to))?;
    }
    for (from, to) in [
        ("README.md", "README.md"),
        ("docs/grafana-dashboard.json", "grafana-dashboard.json"),
        ("docs/prometheus-alerts.yml", "prometheus-alerts.yml"),
    ] {
        copy(&workspace.join(from), &folder.join(to), 0o644)?;
    }
    write(
        &folder.join("etc/corex/edge.cfg"),
        include_str!("debian/edge.cfg"),
    )?;
    write(
        &folder.join("etc/needrestart/conf.d/corex.conf"),
        include_str!("debian/needrestart.conf"),
    )?;
    for (name, text) in DEBIAN {
        write(&debian.join(name), text)?;
    }
    fs::set_permissions(debian.join("rules"), fs::Permissions::from_mode(0o755))
        .context("make debian/rules executable")?;
    write(&debian.join("source/format"), "3.0 (native)\n")?;
    write(&debian.join("changelog"), &changelog(version)?)?;
    let license = read(&workspace.join("LICENSE"))?;
    let linked = notices::of_what_is_linked(&notices::host())?;
    write(&debian.join("copyright"), &copyright(&license, &linked))?;
    let unit = read(&workspace.join("docs/systemd/corex@.service"))?;
    write(&debian.join("corex@.service"), &packaged(&unit))
}

/// Makes the folder of an archive: the binary, what it prints of itself, the unit, and a configuration to
/// begin with.
pub fn archive(folder: &Path, corex: &Path) -> Result<()> {
    let workspace = compile::workspace();
    for below in ["completions", "examples"] {
        let path = folder.join(below);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    binary(folder, corex)?;
    copy_files(&workspace.join("examples"), &folder.join("examples"))?;
    for (from, to) in [
        ("LICENSE", "LICENSE"),
        ("README.md", "README.md"),
        ("docs/systemd/corex@.service", "corex@.service"),
    ] {
        copy(&workspace.join(from), &folder.join(to), 0o644)?;
    }
    write(&folder.join("edge.cfg"), include_str!("debian/edge.cfg"))
}

/// The binary, with what it prints of itself: completions and manual pages.
fn binary(folder: &Path, corex: &Path) -> Result<()> {
    copy(corex, &folder.join("corex"), 0o755)?;
    for (name, shell) in [("corex", "bash"), ("_corex", "zsh"), ("corex.fish", "fish")] {
        let script = said(corex, &["completion", shell])?;
        write(&folder.join("completions").join(name), &script)?;
    }
    said(
        corex,
        &["manual", &folder.join("man").display().to_string()],
    )
    .map(drop)
}

/// The unit as the package has it: the binary in /usr/sbin, and a user who is there to stay, so that
/// files can be his.
fn packaged(unit: &str) -> String {
    let from_the_first_section = unit.find("[Unit]").map_or(unit, |at| &unit[at..]);
    from_the_first_section
        .lines()
        .filter(|line| *line != "DynamicUser=yes")
        .map(|line| line.replace("/usr/local/sbin/", "/usr/sbin/") + "\n")
        .collect()
}

/// The last commit's day, in RFC 5322's form, so that the same source makes the same package.
pub fn day() -> Result<String> {
    let output = Command::new("git")
        .args(["log", "-1", "--format=%cD"])
        .current_dir(compile::workspace())
        .output()
        .context("run git")?;
    let day = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(if day.is_empty() {
        "Thu, 01 Jan 1970 00:00:00 +0000".to_owned()
    } else {
        day
    })
}

/// debian/changelog.
fn changelog(version: &str) -> Result<String> {
    let day = day()?;
    Ok(format!(
        "corex ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n \
         -- The corex authors <corex@corex.invalid>  {day}\n"
    ))
}

/// debian/copyright in machine-readable form, with the licence's text and those of what is linked.
fn copyright(license: &str, linked: &[Notice]) -> String {
    let text = license
        .find("Redistribution and use")
        .map_or(license, |at| &license[at..]);
    let own = notices::indented(text);
    include_str!("debian/copyright.in").to_owned() + &own + &notices::paragraphs(linked)
}

/// What a command of corex prints.
fn said(corex: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(corex)
        .args(words)
        .output()
        .with_context(|| format!("run {}", corex.display()))?;
    if !output.status.success() {
        bail!(
            "corex {} failed: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::copy(from, to)
        .and_then(|_| fs::set_permissions(to, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// Copies a folder's files, not the folders in it.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("read {}", from.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("read {}", from.display()))?
            .path();
        if let Some(name) = path.file_name()
            && path.is_file()
        {
            copy(&path, &to.join(name), 0o644)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_unit_runs_the_packaged_binary_as_a_user_who_stays() {
        let unit = read(&compile::workspace().join("docs/systemd/corex@.service")).expect("unit");
        let packaged = packaged(&unit);
        assert!(packaged.starts_with("[Unit]\n"), "{packaged}");
        assert!(
            packaged.contains("ExecStart=/usr/sbin/corex run"),
            "{packaged}"
        );
        assert!(packaged.contains("\nUser=corex\n"), "{packaged}");
        for gone in ["/usr/local", "DynamicUser"] {
            assert!(
                unit.contains(gone) && !packaged.contains(gone),
                "{packaged}"
            );
        }
    }

    #[test]
    fn a_licence_s_empty_lines_are_dots() {
        let license = "preface\n\nRedistribution and use\n\nend\n";
        assert!(
            copyright(license, &[])
                .ends_with("License: BSD-3-Clause\n Redistribution and use\n .\n end\n")
        );
    }
}
