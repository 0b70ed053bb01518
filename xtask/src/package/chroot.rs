//! The package in a Debian of its own: install, run, upgrade under traffic, purge.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use corex_lab::{
    mounts::Mounts,
    namespace::{Namespace, veth},
    process::{Process, output_of},
    wait,
};

use crate::{
    apt, compile,
    ui::{self, Style},
};

/// Debian 12.
const SUITE: &str = "bookworm";
/// Where corex listens, and where the caller is.
const EDGE: &str = "10.0.1.1:5060";
const CALLER: &str = "10.0.1.2:5061";
const CAPABILITIES: &str =
    "-all,+bpf,+perfmon,+net_admin,+net_raw,+ipc_lock,+setuid,+setgid,+net_bind_service";
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests that are on their way at once.
const BETWEEN: Duration = Duration::from_millis(2);

/// Tries the package, and an upgrade to `newer`.
///
/// # Errors
/// What didn't go as it should.
pub fn test(package: &Path, newer: &Path) -> Result<()> {
    let folder = compile::workspace().join("target/package");
    let base = debian(&folder)?;
    // Hard links would share what dpkg changes in place.
    let root = folder.join("root");
    remove(&root)?;
    output_of(
        Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .args([&base, &root]),
    )?;
    let machine = Machine::new(root.clone(), &folder)?;
    let tried = machine.try_all(package, newer);
    drop(machine);
    remove(&root)?;
    tried?;
    ui::say(&ui::paint(
        Style::Good,
        "Installed, upgraded under traffic without loss, and purged without a trace.",
    ));
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// A folder with a fresh Debian; made once, by debootstrap.
fn debian(folder: &Path) -> Result<PathBuf> {
    let base = folder.join(SUITE);
    if base.exists() {
        return Ok(base);
    }
    let mirror = apt::mirror(SUITE)?;
    ui::step("Fetching a Debian 12 (debootstrap; some minutes)");
    let half = folder.join("half");
    remove(&half)?;
    let status = Command::new("debootstrap")
        .args(["--variant=minbase", "--include=adduser", SUITE])
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
        let (edge, caller) = (Namespace::new("edge")?, Namespace::new("caller")?);
        veth((&edge, "eth0"), (&caller, "eth0"))?;
        edge.address("eth0", "10.0.1.1/24")?;
        caller.address("eth0", "10.0.1.2/24")?;
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
        // With what docs/packages.md gives a container, and no more.
        let limited = [&["setpriv", "--bounding-set", CAPABILITIES], &words[..]].concat();
        let corex = Process::spawn("corex", self.command(&limited), &log)?;
        wait::until("corex is ready", PATIENCE, || {
            if let Some(status) = corex.status()? {
                bail!("it ended: {status}");
            }
            Ok(corex.log().contains("ready:").then_some(()))
        })
        .with_context(|| corex.log())?;

        ui::step("Upgrading under traffic");
        let is_over = AtomicBool::new(false);
        let counted = thread::scope(|scope| -> Result<(u64, u64)> {
            let traffic = scope.spawn(|| exchange(&self.caller, &is_over));
            let upgraded = self.upgrade(newer, &words, &corex);
            is_over.store(true, Ordering::Relaxed);
            let counted = traffic
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            upgraded?;
            counted
        });
        let (sent, answered) = counted.with_context(|| corex.log())?;
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

/// Sends OPTIONS until `is_over`, each after the answer to the one before or a while without;
/// returns how many were sent and how many answered.
fn exchange(caller: &Namespace, is_over: &AtomicBool) -> Result<(u64, u64)> {
    let (edge, own): (SocketAddr, SocketAddr) = (EDGE.parse()?, CALLER.parse()?);
    let socket = caller.udp(own)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut sent, mut answered) = (0, 0);
    let mut buffer = [0; 2048];
    while !is_over.load(Ordering::Relaxed) {
        let request = format!(
            "OPTIONS sip:{edge} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{sent}\r\n\
             Max-Forwards: 70\r\nTo: <sip:{edge}>\r\nFrom: <sip:caller@{own}>;tag={sent}\r\n\
             Call-ID: {sent}@{own}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(request.as_bytes(), edge)?;
        sent += 1;
        let got = socket.recv(&mut buffer);
        if got.is_ok_and(|len| buffer[..len].starts_with(b"SIP/2.0 200")) {
            answered += 1;
        }
        thread::sleep(BETWEEN);
    }
    Ok((sent, answered))
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
