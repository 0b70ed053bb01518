//! The archive's binary where there is nothing else: no libc, no files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use corex_lab::{
    mounts::Mounts,
    process::{Process, output_of},
    wait,
};

use super::super::{debian, traffic};
use crate::{
    compile,
    ui::{self, Style},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tries an archive.
///
/// # Errors
/// What didn't go as it should.
pub fn test(archive: &Path) -> Result<()> {
    ui::step("Running it where there is nothing else");
    let folder = compile::workspace().join("target/package");
    let root = folder.join("root-static");
    debian::remove(&root)?;
    let tried = try_in(archive, &root, &folder);
    debian::remove(&root)?;
    tried?;
    ui::say(&ui::paint(
        Style::Good,
        "It runs without a libc: AF_XDP, zstd, and LuaJIT with what it throws.",
    ));
    Ok(())
}

fn try_in(archive: &Path, root: &PathBuf, folder: &Path) -> Result<()> {
    for below in ["proc", "sys", "dev", "run", "tmp"] {
        fs::create_dir_all(root.join(below)).context("make folders")?;
    }
    output_of(
        Command::new("tar")
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(archive)
            .arg("--directory")
            .arg(root),
    )?;
    fs::write(root.join("test.cfg"), include_str!("test.cfg"))?;
    fs::write(root.join("answer.lua"), include_str!("answer.lua"))?;

    let (edge, caller) = traffic::cable()?;
    let mounts = Mounts::new(&edge, folder)?;
    for name in ["proc", "dev", "sys"] {
        let to = root.join(name).display().to_string();
        mounts.run(&["mount", "--rbind", &format!("/{name}"), &to])?;
    }
    let command = |words: &[&str]| {
        let mut command = mounts.command("/usr/sbin/chroot");
        command.arg(root).arg("/corex").args(words).env_clear();
        command
    };
    for words in [
        &["--help"][..],
        &["check", "--config", "/edge.cfg"],
        &["check", "--config", "/test.cfg"],
    ] {
        output_of(&mut command(words))?;
    }
    let log = folder.join("static.log");
    // As docs/container/Containerfile: there are no names of users.
    let words = [
        "run",
        "--user",
        "65534",
        "--group",
        "65534",
        "--config",
        "/test.cfg",
    ];
    let corex = Process::spawn("corex", command(&words), &log)?;
    wait::until("corex is ready", PATIENCE, || {
        if let Some(status) = corex.status()? {
            bail!("it ended: {status}");
        }
        Ok(corex.log().contains("ready:").then_some(()))
    })
    .with_context(|| corex.log())?;
    ensure!(
        edge.xdp_program("eth0")?.is_some(),
        "no XDP program is on eth0"
    );
    let answer = traffic::ask(&caller)?.unwrap_or_default();
    ensure!(
        answer == "SIP/2.0 200 OK",
        "it answered {answer:?}\n{}",
        corex.log()
    );
    let status = corex.terminate(PATIENCE)?;
    ensure!(status.success(), "it ended with {status}\n{}", corex.log());
    Ok(())
}
