//! The package's unit under systemd itself: a Debian that systemd-nspawn boots, on a cable of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use corex_lab::{
    namespace::Namespace,
    process::{Process, output_of},
    wait,
};

use super::{
    debian::{self, Flavour},
    traffic::{self, Counted, EDGE},
};
use crate::{
    compile,
    ui::{self, Style},
};

const UNIT: &str = "corex@edge.service";
/// On a machine that does much else; the watchdog's ten seconds are in it.
const PATIENCE: Duration = Duration::from_secs(180);
/// The highest exposure that `systemd-analyze security` may find, in tenths: an address and a NIC are
/// what the unit is for.
const EXPOSURE: &str = "--threshold=25";

/// Tries the package's unit, and an upgrade to `newer` by it.
///
/// # Errors
/// What didn't go as it should.
pub fn test(package: &Path, newer: &Path) -> Result<()> {
    let folder = compile::workspace().join("target/package");
    let root = debian::copy(Flavour::Systemd, &folder)?;
    let machine = Machine::boot(root.clone(), &folder)?;
    let tried = machine
        .try_all(package, newer)
        .with_context(|| machine.journal());
    drop(machine);
    debian::remove(&root)?;
    tried?;
    ui::say(&ui::paint(
        Style::Good,
        "systemd starts, reloads, upgrades, watches over and stops it.",
    ));
    Ok(())
}

/// A Debian with systemd as its first process.
struct Machine {
    root: PathBuf,
    /// systemd's process id here, outside.
    leader: String,
    nspawn: Process,
    caller: Namespace,
    edge: Namespace,
}

impl Machine {
    fn boot(root: PathBuf, folder: &Path) -> Result<Machine> {
        ui::step("Booting systemd");
        let (edge, caller) = traffic::cable()?;
        let mut command = Command::new("systemd-nspawn");
        command
            .args(["--quiet", "--boot", "--console=read-only"])
            // Nobody here to register it with.
            .args(["--register=no", "--keep-unit"])
            .args(["--capability=all", "--system-call-filter=bpf"])
            .arg(format!("--directory={}", root.display()))
            .arg(format!(
                "--network-namespace-path=/run/netns/{}",
                edge.name()
            ))
            // Of this machine, whatever its control groups are.
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        let log = folder.join("systemd.log");
        let nspawn = Process::spawn("systemd-nspawn", command, &log)?;
        let children = format!("/proc/{0}/task/{0}/children", nspawn.pid());
        let leader = wait::until("systemd is there", PATIENCE, || {
            ensure!(
                nspawn.status()?.is_none(),
                "systemd-nspawn ended: {}",
                nspawn.log()
            );
            let leader = fs::read_to_string(&children)?;
            let leader = leader.trim();
            let name = fs::read_to_string(format!("/proc/{leader}/comm")).unwrap_or_default();
            Ok((name.trim() == "systemd").then(|| leader.to_owned()))
        })?;
        let machine = Machine {
            root,
            leader,
            nspawn,
            caller,
            edge,
        };
        wait::until("systemd has booted", PATIENCE, || {
            let state = machine
                .command(&["systemctl", "is-system-running"])
                .output()?;
            // What can't run in a container has failed; that is no concern here.
            let state = String::from_utf8_lossy(&state.stdout).into_owned();
            Ok(["running", "degraded"]
                .contains(&state.trim())
                .then_some(()))
        })
        .with_context(|| machine.nspawn.log())?;
        // As systemd does it on a machine of its own.
        machine.run(&["mount", "-t", "bpf", "-o", "mode=700", "bpf", "/sys/fs/bpf"])?;
        Ok(machine)
    }

    /// A command inside.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.leader, "--all", "--root", "--wd"])
            .args(words)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C")
            .env("SYSTEMD_PAGER", "");
        command
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        output_of(&mut self.command(words)).with_context(|| words.join(" "))
    }

    /// A command that fails; what it says.
    fn refused(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words).output()?;
        ensure!(
            !output.status.success(),
            "{}: it succeeded",
            words.join(" ")
        );
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What the unit has said since the machine booted.
    fn journal(&self) -> String {
        self.run(&[
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--unit",
            "corex@*",
        ])
        .unwrap_or_default()
    }

    /// A property of the unit.
    fn shown(&self, property: &str) -> Result<String> {
        let text = self.run(&["systemctl", "show", "--value", "--property", property, UNIT])?;
        Ok(text.trim().to_owned())
    }

    fn install(&self, package: &Path) -> Result<()> {
        let name = "root/corex.deb";
        fs::copy(package, self.root.join(name)).context("copy the package")?;
        self.run(&["dpkg", "--force-confold", "--install", &format!("/{name}")])
            .map(drop)
    }

    /// Changes the configuration; it must have what is replaced.
    fn configure(&self, from: &str, to: &str) -> Result<()> {
        let path = self.root.join("etc/corex/edge.cfg");
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "edge.cfg has no {from:?}");
        fs::write(&path, text.replace(from, to)).context("write edge.cfg")
    }

    /// Waits until the service runs under another process than `before`, and answers.
    fn wait_for_another(&self, before: &str) -> Result<String> {
        let main = wait::until("another process runs", PATIENCE, || {
            let (state, main) = (self.shown("ActiveState")?, self.shown("MainPID")?);
            ensure!(state != "failed", "the unit has failed");
            Ok((state == "active" && main != "0" && main != before).then_some(main))
        })?;
        self.must_answer("SIP/2.0 200 ")?;
        Ok(main)
    }

    fn must_answer(&self, start: &str) -> Result<()> {
        let answer = traffic::ask(&self.caller)?;
        match answer {
            Some(line) if line.starts_with(start) => Ok(()),
            other => bail!("an OPTIONS was answered {other:?}, not {start:?}"),
        }
    }

    fn try_all(&self, package: &Path, newer: &Path) -> Result<()> {
        ui::step("Installing");
        self.install(package)?;
        ensure!(self.shown("ActiveState")? == "inactive", "it was started");
        let verified = self
            .command(&["systemd-analyze", "verify", UNIT])
            .output()?;
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        let about_it = said.lines().find(|line| line.contains("corex"));
        ensure!(
            verified.status.success() && about_it.is_none(),
            "systemd-analyze verify: {said}"
        );
        let security = self.run(&["systemd-analyze", "security", EXPOSURE, UNIT])?;
        ui::say(security.lines().last().unwrap_or_default());
        self.read_what_else_it_brings()?;

        ui::step("Starting");
        self.configure("127.0.0.1:5060", EDGE)?;
        self.run(&["systemctl", "start", UNIT])?;
        // It is ready when systemctl returns: that is what Type=notify is for.
        self.must_answer("SIP/2.0 200 ")?;
        self.must_be_confined()?;

        self.reload()?;
        self.upgrade(newer)?;
        self.fail()?;
        self.needrestart()?;
        self.stop()
    }

    /// The process has no root, no capabilities, and AF_XDP nonetheless.
    fn must_be_confined(&self) -> Result<()> {
        let main = self.shown("MainPID")?;
        let status = self.run(&["cat", &format!("/proc/{main}/status")])?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let user = self.run(&["id", "--user", "corex"])?;
        let users = field("Uid:");
        ensure!(
            users.split_whitespace().all(|id| id == user.trim()),
            "it runs as {users}"
        );
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            let set_of_it = field(set);
            ensure!(
                set_of_it.trim_matches('0').is_empty(),
                "{set} {set_of_it}: it kept capabilities"
            );
        }
        ensure!(
            field("NoNewPrivs:") == "1" && field("Seccomp:") == "2",
            "{status}"
        );
        let journal = self.journal();
        ensure!(journal.contains("ready: "), "the journal has no \"ready\"");
        let program = self.edge.xdp_program("eth0")?;
        ensure!(program.is_some(), "no XDP program is on eth0");
        let pinned = self.run(&["ls", "/sys/fs/bpf/corex/edge"])?;
        ensure!(pinned.contains("COUNTERS"), "nothing is pinned: {pinned}");
        Ok(())
    }

    /// `systemctl reload` reads the configuration again; one with an error changes nothing.
    fn reload(&self) -> Result<()> {
        ui::step("Reloading");
        let main = self.shown("MainPID")?;
        self.configure("\"200\", \"OK\"", "\"200\", \"Reloaded\"")?;
        self.run(&["systemctl", "reload", UNIT])?;
        wait::until("the new configuration is there", PATIENCE, || {
            let answer = traffic::ask(&self.caller)?;
            Ok(answer
                .is_some_and(|line| line.ends_with("Reloaded"))
                .then_some(()))
        })?;
        self.configure("exit;", "exit")?;
        let (status, before) = (self.shown("ActiveState")?, self.journal().len());
        ensure!(status == "active", "it is {status} after a reload");
        // corex says what is wrong, in the journal; the one that runs goes on.
        let _ = self.command(&["systemctl", "reload", UNIT]).output()?;
        wait::until("the journal says what is wrong", PATIENCE, || {
            let journal = self.journal();
            let news = journal.get(before..).unwrap_or_default();
            Ok(news.contains("/etc/corex/edge.cfg:").then_some(()))
        })?;
        self.must_answer("SIP/2.0 200 Reloaded")?;
        self.configure("exit", "exit;")?;
        ensure!(self.shown("MainPID")? == main, "a reload was a restart");
        Ok(())
    }

    /// postinst has systemd reload it, which is a take-over.
    fn upgrade(&self, newer: &Path) -> Result<()> {
        ui::step("Upgrading under traffic");
        let main = self.shown("MainPID")?;
        let Counted { sent, answered } = traffic::during(&self.caller, || self.install(newer))?;
        ui::say(&format!("{answered} of {sent} requests were answered."));
        ensure!(answered == sent, "requests were lost");
        self.wait_for_another(&main)?;
        ensure!(self.shown("NRestarts")? == "0", "it was restarted");
        Ok(())
    }

    /// What ends or hangs is started again; what was configured wrongly isn't.
    fn fail(&self) -> Result<()> {
        ui::step("Killing and stopping it");
        for (signal, what) in [("KILL", "killed"), ("STOP", "hanging")] {
            let main = self.shown("MainPID")?;
            let number: u32 = self.shown("NRestarts")?.parse()?;
            self.run(&["kill", &format!("-{signal}"), &main])?;
            self.wait_for_another(&main)
                .with_context(|| format!("it was {what}"))?;
            let now: u32 = self.shown("NRestarts")?.parse()?;
            ensure!(
                now == number + 1,
                "{what}, it was restarted {} times",
                now - number
            );
        }
        let main = self.shown("MainPID")?;
        self.run(&["systemctl", "restart", UNIT])?;
        self.wait_for_another(&main)?;

        fs::write(self.root.join("etc/corex/broken.cfg"), "route_request {\n")?;
        self.run(&["chgrp", "corex", "/etc/corex/broken.cfg"])?;
        self.refused(&["systemctl", "start", "corex@broken"])?;
        ensure!(
            self.journal().contains("/etc/corex/broken.cfg:1:"),
            "the journal doesn't say what is wrong"
        );
        // It would have been by then: systemd waits for a tenth of a second.
        thread::sleep(Duration::from_secs(2));
        let restarts = self.run(&[
            "systemctl",
            "show",
            "--value",
            "--property=NRestarts",
            "corex@broken",
        ])?;
        ensure!(
            restarts.trim() == "0",
            "an error in a configuration was tried again"
        );
        // What has failed is listed until somebody says that it was seen.
        self.run(&["systemctl", "reset-failed", "corex@broken"])?;
        self.run(&["rm", "/etc/corex/broken.cfg"]).map(drop)
    }

    /// needrestart finds the service among those that use a library that was replaced, and leaves it.
    fn needrestart(&self) -> Result<()> {
        ui::step("needrestart");
        let main = self.shown("MainPID")?;
        self.run(&["sh", "-c", "f=$(readlink -f /lib/x86_64-linux-gnu/libgcc_s.so.1) && cp -p $f $f.new && mv $f.new $f"])?;
        let listed = self.run(&["needrestart", "-b", "-l"])?;
        ensure!(
            listed.contains(&format!("NEEDRESTART-SVC: {UNIT}")),
            "it doesn't see that a library was replaced: {listed}"
        );
        self.run(&["needrestart", "-q", "-l", "-r", "a"])?;
        ensure!(self.shown("MainPID")? == main, "needrestart restarted it");
        self.must_answer("SIP/2.0 200 ")
    }

    /// Manual pages and completions, as those read them whose they are.
    fn read_what_else_it_brings(&self) -> Result<()> {
        for page in ["corex.1", "corex-run.1", "corex.cfg.5"] {
            let mut command =
                self.command(&["man", "--warnings", "--encoding=utf-8", "--local-file"]);
            let section = page.rsplit_once('.').map_or("1", |(_, section)| section);
            command
                .arg(format!("/usr/share/man/man{section}/{page}.gz"))
                .env("MANROFFSEQ", "")
                .env("MANWIDTH", "80");
            let output = command.output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.success() && said.is_empty(),
                "man {page}: {said}"
            );
            ensure!(!output.stdout.is_empty(), "man {page} shows nothing");
        }
        // Each shell reads the file, and has something to offer then.
        for words in [
            &[
                "bash",
                "-c",
                ". /usr/share/bash-completion/bash_completion && _completion_loader corex; complete -p corex",
            ][..],
            &[
                "zsh",
                "-f",
                "-c",
                "autoload -U compinit && compinit -D && test \"$_comps[corex]\" = _corex && autoload +X _corex",
            ],
            &["fish", "-c", "complete -C 'corex ' | grep -q '^check'"],
        ] {
            self.run(words)?;
        }
        Ok(())
    }

    /// Stopped, it leaves the NIC as it was; removed, it is stopped first.
    fn stop(&self) -> Result<()> {
        ui::step("Stopping and removing");
        self.run(&["systemctl", "stop", UNIT])?;
        let (state, result) = (self.shown("ActiveState")?, self.shown("Result")?);
        ensure!(
            state == "inactive" && result == "success",
            "it is {state}: {result}"
        );
        ensure!(
            self.edge.xdp_program("eth0")?.is_none(),
            "its XDP program is still there"
        );
        self.run(&["systemctl", "start", UNIT])?;
        self.run(&["dpkg", "--purge", "corex"])?;
        ensure!(self.run(&["pidof", "corex"]).is_err(), "removed, it runs");
        let units = self.run(&[
            "systemctl",
            "list-units",
            "--all",
            "--plain",
            "--no-legend",
            "corex@*",
        ])?;
        ensure!(
            units.trim().is_empty(),
            "purged, the package leaves {units}"
        );
        ensure!(
            self.run(&["getent", "passwd", "corex"]).is_err(),
            "purged, the package leaves its user"
        );
        Ok(())
    }
}
