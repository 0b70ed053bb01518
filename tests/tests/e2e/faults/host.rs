//! The host runs out of something: room on a disk, descriptors, memory.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::{fs::symlink, net::UnixStream, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, KernelLosses, WorkDir, cleanup,
    config::{self, Family},
    process::output_of,
    topology::Relay,
    wait,
};

use super::{
    load::LIMIT,
    stage::{ENGINES, Proxy, control, control_lines, dropped, logs},
};

/// A small disk.
struct Disk {
    path: PathBuf,
    _guard: cleanup::Guard,
}

impl Disk {
    fn new(work: &WorkDir) -> Result<Self> {
        let path = work.join("disk");
        fs::create_dir(&path)?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=1777", "tmpfs"])
            .arg(&path)
            .status()?;
        ensure!(mount.success(), "mount: {mount}");
        // Nothing is written by scripts beside what the configuration names.
        fs::create_dir(path.join("files"))?;
        fs::create_dir(path.join("kept"))?;
        let mounted = path.clone();
        let guard = cleanup::defer(move || {
            // Whatever holds it, such as a namespace that is going, has it until it ends.
            let _ = Command::new("umount").arg("-l").arg(&mounted).status();
        });
        Ok(Self {
            path,
            _guard: guard,
        })
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Leaves no room.
    fn fill(&self) -> Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.ballast())?;
        while file.write_all(&[0; 512]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
        Ok(())
    }

    /// The number of the message that was written last.
    fn last(&self) -> Option<u32> {
        let text = fs::read_to_string(self.path.join("files/last")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    fn clear(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }
}

/// Files, the guard's entries and the log are on the small disk.
fn writing(work: &WorkDir, disk: &Path) -> String {
    let disk = disk.display();
    format!(
        "listen=udp:{}\nlisten=udp:{}\nmhomed=1\nloadmodule \"corex.so\"\n{}\
         modparam(\"corex\", \"file_root\", \"{disk}/files\")\n\
         modparam(\"corex\", \"guard_file\", \"{disk}/kept/guard\")\n\
         request_route {{\n  file_write(\"last\", \"$ci $mb\");\n  send(\"{}\");\n}}\n",
        Relay::USER_SIDE.sip(),
        Relay::CORE_SIDE.sip(),
        control_lines(work),
        Relay::UAS.sip(),
    )
}

#[test]
fn proxy_a_full_disk_costs_what_was_to_be_written_and_no_message() -> Result<()> {
    for engine in ENGINES {
        let mut disk = None;
        let stage = Proxy::with(engine, |work| {
            let made = Disk::new(work)?;
            let text = writing(work, &made.path);
            // The log is written where the link leads.
            symlink(made.path.join("log"), work.join("corex.log"))?;
            disk = Some(made);
            Ok(text)
        })?;
        let disk = disk.context("the disk")?;
        let corex = stage.start("corex")?;
        let load = stage.load()?;
        load.more(200)?;
        stage.rpc(&["guard.block", "192.0.2.1"])?;
        stage.rpc(&["guard.save"])?;
        // A file that is being replaced has its room twice, and frees half of it: again and again.
        wait::until("lines of the log are lost", LIMIT, || {
            disk.fill()?;
            Ok((corex.books()?.get("log_lines_dropped") > 0).then_some(()))
        })?;
        wait::until("files aren't written", LIMIT, || {
            disk.fill()?;
            let last = disk.last();
            load.more(50)?;
            Ok((disk.last() == last).then_some(()))
        })?;
        stage.rpc(&["guard.block", "192.0.2.2"])?;
        let refused = wait::until("the guard's entries aren't saved", LIMIT, || {
            disk.fill()?;
            Ok(stage.rpc(&["guard.save"]).err())
        })?;
        ensure!(
            format!("{refused:#}").contains("No space left"),
            "{refused:#}"
        );
        let saved = fs::read_to_string(disk.path.join("kept/guard"))?;
        ensure!(saved.contains("192.0.2.1"), "{saved}");
        load.more(500)?;
        disk.clear()?;
        stage.rpc(&["guard.save"])?;
        let saved = fs::read_to_string(disk.path.join("kept/guard"))?;
        ensure!(
            saved.contains("192.0.2.1") && saved.contains("192.0.2.2"),
            "{saved}"
        );
        let number = load.newest();
        wait::until("files are written again", LIMIT, || {
            Ok((disk.last() > Some(number)).then_some(()))
        })?;
        corex.books()?;
        logs(&corex, "lines of the log couldn't be written")?;
        load.more(200)?;
        let tally = load.finish_whole()?;
        let books = corex.stop()?;
        books.check_balance()?;
        println!(
            "{engine}: {tally}; log_lines_dropped {}; {}",
            books.get("log_lines_dropped"),
            dropped(&books)
        );
    }
    Ok(())
}

/// Who sets another process's limits is of its user, or has CAP_SYS_RESOURCE (prlimit(2)).
const STAYS_ROOT: &str = "user=\"root\"\n";

/// Sets a process's limit, without that which it can't go beyond.
fn limit(pid: u32, name: &str, most: u64) -> Result<()> {
    let limit = format!("--{name}={most}:");
    output_of(Command::new("prlimit").args(["--pid", &pid.to_string(), &limit])).map(drop)
}

/// The limit of open files as it is.
fn most_descriptors(pid: u32) -> Result<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|files| files.split_whitespace().next());
    Ok(soft.context("Max open files")?.parse()?)
}

/// The lowest number that is no descriptor of a process: the next one's.
fn next_descriptor(pid: u32) -> u64 {
    // What a socket's link leads to isn't there: the link is what counts.
    let is_free = |number: &u64| fs::symlink_metadata(format!("/proc/{pid}/fd/{number}")).is_err();
    (0..).find(is_free).unwrap_or(0)
}

#[test]
fn proxy_without_descriptors_datagrams_go_on_and_new_connections_wait() -> Result<()> {
    for engine in ENGINES {
        let stage = Proxy::with(engine, |work| {
            let control = control_lines(work);
            let more = format!("{STAYS_ROOT}listen=tcp:10.0.1.1:5060\n{control}");
            Ok(config::relay(Family::V4, &more, &config::mark()))
        })?;
        let corex = stage.start("corex")?;
        let pid = corex.process.pid();
        let load = stage.load()?;
        load.more(200)?;
        stage.rpc(&["core.version"])?;
        let most = most_descriptors(pid)?;
        limit(pid, "nofile", next_descriptor(pid))?;
        let to: SocketAddr = Relay::USER_SIDE.sip();
        // The kernel takes them; corex can't yet.
        let connect = || Ok(TcpStream::connect_timeout(&to, LIMIT)?);
        let waiting: Vec<TcpStream> = stage
            .relay
            .uac
            .enter(|| (0..8).map(|_| connect()).collect())?;
        logs(&corex, "accept a connection: Too many open files")?;
        let caller = UnixStream::connect(control(&stage.work))?;
        logs(&corex, "remote control: connections can't be accepted")?;
        corex.process.signal(libc::SIGHUP)?;
        logs(&corex, "the configuration stays as it was")?;
        load.more(500)?;
        limit(pid, "nofile", most)?;
        // All that waited is served.
        drop(caller);
        stage.rpc(&["core.version"])?;
        wait::until("the connections are accepted", LIMIT, || {
            let accepted = corex.books()?.get("streams.accepted");
            Ok((accepted == waiting.len() as u64).then_some(()))
        })
        .with_context(|| corex.log())?;
        load.more(200)?;
        let tally = load.finish_whole()?;
        let books = corex.stop()?;
        books.check_balance()?;
        println!(
            "{engine}: {tally}; streams.accepted {}; {}",
            books.get("streams.accepted"),
            dropped(&books)
        );
        ensure!(tally.plain == 0, "{} without the hook", tally.plain);
    }
    Ok(())
}

/// Keeps something of every message.
fn remembering() -> String {
    format!(
        "{STAYS_ROOT}listen=udp:{}\nlisten=udp:{}\nmhomed=1\n\
         loadmodule \"corex.so\"\nloadmodule \"htable.so\"\n\
         modparam(\"htable\", \"htable\", \"all=>size=8\")\n\
         request_route {{\n  $sht(all=>$ci) = $mb;\n  send(\"{}\");\n}}\n",
        Relay::USER_SIDE.sip(),
        Relay::CORE_SIDE.sip(),
        Relay::UAS.sip(),
    )
}

/// Lets a process have no more memory than it has; `RLIMIT_DATA`: what it may write and shares with
/// nobody (getrlimit(2)), that is all that it allocates.
fn limit_memory(corex: &Corex) -> Result<()> {
    let pid = corex.process.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let data = data.and_then(|data| data.split_whitespace().next());
    let bytes = data.context("VmData")?.parse::<u64>()? << 10;
    limit(pid, "data", bytes)
}

/// Takes memory from a corex under load, which ends by this signal, and has a successor serve. What the
/// first one's log said.
fn starve(
    engine: &str,
    take: impl FnOnce(&Corex) -> Result<()>,
    signal: libc::c_int,
) -> Result<String> {
    let stage = Proxy::with(engine, |_| Ok(remembering()))?;
    let starved = stage.start("starved")?;
    let before = KernelLosses::of(&stage.hosts())?;
    let load = stage.load()?;
    load.more(200)?;
    take(&starved)?;
    // It may have some in reserve: messages go on until it needs more.
    let mut arrived = load.arrived();
    let status = wait::until("it ends", LIMIT, || {
        let count = load.arrived();
        let status = starved.process.status()?;
        if status.is_none() {
            arrived = count;
        }
        Ok(status)
    })?;
    ensure!(status.signal() == Some(signal), "{status}");
    let log = starved.log();
    let came = stage.succeeded(load, arrived, &before)?;
    println!("{engine}: {came}");
    ensure!(came.kernel.no_ports > 0, "nothing came while it was gone");
    Ok(log)
}

#[test]
fn proxy_without_memory_it_ends_at_once_and_its_successor_serves() -> Result<()> {
    for engine in ENGINES {
        let log = starve(engine, limit_memory, libc::SIGABRT)?;
        ensure!(log.contains("memory allocation of"), "{log}");
    }
    Ok(())
}

/// A control group for memory, by the second version of the interface or by the first.
struct MemoryGroup {
    path: PathBuf,
    limit: &'static str,
    _guard: cleanup::Guard,
}

impl MemoryGroup {
    fn new(name: &str) -> Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let (root, limit) = if controllers.split_whitespace().any(|name| name == "memory") {
            fs::write(root.join("cgroup.subtree_control"), "+memory")
                .context("hand the memory controller on to groups")?;
            (root.to_owned(), "memory.max")
        } else {
            (root.join("memory"), "memory.limit_in_bytes")
        };
        let path = root.join(format!("corex-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        let made = path.clone();
        let guard = cleanup::defer(move || {
            // Empty once who was in it has ended.
            let gone = || Ok(fs::remove_dir(&made).is_ok().then_some(()));
            let _ = wait::until("the control group goes", LIMIT, gone);
        });
        Ok(Self {
            path,
            limit,
            _guard: guard,
        })
    }

    /// Has a process in it, which may have so many bytes beside those that it has.
    fn take(&self, pid: u32, bytes: u64) -> Result<()> {
        fs::write(self.path.join(self.limit), bytes.to_string())?;
        fs::write(self.path.join("cgroup.procs"), pid.to_string())?;
        Ok(())
    }
}

#[test]
fn proxy_beyond_its_control_groups_memory_it_is_killed_and_its_successor_serves() -> Result<()> {
    for engine in ENGINES {
        let group = MemoryGroup::new(engine)?;
        let take = |corex: &Corex| group.take(corex.process.pid(), 1 << 20);
        starve(engine, take, libc::SIGKILL)?;
    }
    Ok(())
}
