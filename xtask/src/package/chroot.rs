//! The package in a Debian of its own: install, run, upgrade under traffic, purge.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use corex_lab::{
    mounts::Mounts,
    namespace::Namespace,
    process::{Process, output_of},
    wait,
};

use super::{
    debian::{self, Flavour},
    recipes::CAPABILITIES,
    traffic::{self, Counted, EDGE},
};
use crate::{
    compile,
    ui::{self, Style},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tries the package, and an upgrade to `newer`.
///
/// # Errors
/// What didn't go as it should.
pub fn test(package: &Path, newer: &Path) -> Result<()> {
    let folder = compile::workspace().join("target/package");
    let root = debian::copy(Flavour::Minimal, &folder)?;
    let machine = Machine::new(root.clone(), &folder)?;
    let tried = machine.try_all(package, newer);
    drop(machine);
    debian::remove(&root)?;
    tried?;
    ui::say(&ui::paint(
        Style::Good,
        "Installed, upgraded under traffic without loss, and purged without a trace.",
    ));
    Ok(())
}

/// The Debian, at work in a network namespace, with a caller on a cable.
struct Machine {
    root: PathBuf,
    folder: PathBuf,
    mounts: Mounts,
    caller: Namespace,
    _edge: Namespace,
}

impl Machine {
    fn new(root: PathBuf, folder: &Path) -> Result<Machine> {
        let (edge, caller) = traffic::cable()?;
        let mounts = Mounts::new(&edge, folder)?;
        let machine = Machine {
            root,
            folder: folder.to_owned(),
            mounts,
            caller,
            _edge: edge,
        };
        for name in ["proc", "dev", "sys"] {
            let (from, to) = (format!("/{name}"), machine.root.join(name));
            let to = to.display().to_string();
            machine.mounts.run(&["mount", "--rbind", &from, &to])?;
        }
        Ok(machine)
    }

    /// A command inside.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.mounts.command("chroot");
        command
            .arg(&self.root)
            .args(words)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C");
        command
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        output_of(&mut self.command(words)).with_context(|| words.join(" "))
    }

    /// Installs a package.
    fn install(&self, package: &Path) -> Result<()> {
        let name = "tmp/corex.deb";
        fs::copy(package, self.root.join(name)).context("copy the package")?;
        let done = self.run(&["dpkg", "--force-confold", "--install", &format!("/{name}")]);
        fs::remove_file(self.root.join(name)).context("remove the copy")?;
        done.map(drop)
    }

    fn try_all(&self, package: &Path, newer: &Path) -> Result<()> {
        let before = files(&self.root)?;
        ui::step("Installing");
        self.install(package)?;
        self.run(&["corex", "check", "--config", "/etc/corex/edge.cfg"])?;
        let mode = fs::metadata(self.root.join("etc/corex/edge.cfg"))?.mode() & 0o777;
        ensure!(mode == 0o640, "/etc/corex/edge.cfg has mode {mode:o}");
        self.run(&["test", "-s", "/usr/share/man/man1/corex-run.1.gz"])?;
        self.run(&["test", "-s", "/usr/share/man/man5/corex.cfg.5.gz"])?;

        let path = self.root.join("etc/corex/edge.cfg");
        let configuration = fs::read_to_string(&path)?.replace("127.0.0.1:5060", EDGE);
        fs::write(&path, configuration)?;
        let words = ["/usr/sbin/corex", "run", "--config", "/etc/corex/edge.cfg"];
        let log = self.folder.join("corex.log");
        // With what a container has, and no more.
        let capabilities = CAPABILITIES.map(|one| format!(",+{}", one.to_lowercase()));
        let bounds = format!("-all{}", capabilities.concat());
        let limited = [&["setpriv", "--bounding-set", &bounds], &words[..]].concat();
        let corex = Process::spawn("corex", self.command(&limited), &log)?;
        wait::until("corex is ready", PATIENCE, || {
            if let Some(status) = corex.status()? {
                bail!("it ended: {status}");
            }
            Ok(corex.log().contains("ready:").then_some(()))
        })
        .with_context(|| corex.log())?;

        ui::step("Upgrading under traffic");
        let Counted { sent, answered } =
            traffic::during(&self.caller, || self.upgrade(newer, &words, &corex))
                .with_context(|| corex.log())?;
        ui::say(&format!("{answered} of {sent} requests were answered."));
        ensure!(
            answered == sent,
            "requests were lost; the log:\n{}",
            corex.log()
        );
        self.run(&["sh", "-c", "pkill -TERM -x corex || kill $(pidof corex)"])?;
        wait::until("corex has stopped", PATIENCE, || {
            Ok(self.run(&["pidof", "corex"]).is_err().then_some(()))
        })?;

        ui::step("Purging");
        self.run(&["dpkg", "--purge", "corex"])?;
        let after = files(&self.root)?;
        for (path, text) in &after {
            match before.get(path) {
                None => bail!("purged, the package leaves {}", path.display()),
                Some(was) if was != text => {
                    bail!("purged, the package leaves {} changed", path.display())
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Puts the new version in its place, as postinst has systemd do.
    fn upgrade(&self, newer: &Path, words: &[&str], old: &Process) -> Result<()> {
        self.install(newer)?;
        ensure!(
            old.status()?.is_none(),
            "corex ended with its package's upgrade"
        );
        let mut words = words.to_vec();
        words.extend(["--take-over", "--background"]);
        // What goes on in the background has the log for as long as it runs.
        let log = File::create(self.folder.join("newer.log")).context("make a log")?;
        let status = self.command(&words).stderr(log).status()?;
        ensure!(
            status.success(),
            "corex run --take-over --background: {status}\n{}{}",
            fs::read_to_string(self.folder.join("newer.log"))?,
            old.log()
        );
        wait::until("the old corex has ended", PATIENCE, || {
            Ok(old.status()?.map(drop))
        })?;
        let status = old.status()?.context("it runs")?;
        ensure!(status.success(), "the old corex ended with {status}");
        let instances = self.run(&["corex", "detach"])?;
        ensure!(
            instances.contains("edge: runs") && !instances.contains(&old.pid().to_string()),
            "{instances}"
        );
        Ok(())
    }
}

/// All files of a system with what tells whether they changed; not what dpkg and apt keep of their own
/// work, nor what other mounts hold.
fn files(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    const OTHERS: [&str; 9] = [
        "proc",
        "sys",
        "dev",
        "tmp",
        "run",
        "var/cache",
        "var/log",
        "var/lib/dpkg",
        "var/lib/apt",
    ];
    /// Copies that adduser and deluser make, with the times at which they did.
    const COPIES: [&str; 4] = ["etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"];
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let name = path.to_str().unwrap_or_default();
            if OTHERS.contains(&name) || COPIES.contains(&name) {
                continue;
            }
            let kind = entry.file_type()?;
            let content = if kind.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if kind.is_file() && path.starts_with("etc") {
                fs::read(entry.path())?
            } else {
                entry.metadata()?.len().to_le_bytes().to_vec()
            };
            found.insert(path, content);
        }
    }
    Ok(found)
}
