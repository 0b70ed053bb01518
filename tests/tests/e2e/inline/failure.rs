//! A corex that dies, hangs, is stopped or replaced while the server's packets go on.

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, KernelLosses, Mounts, ObservedBooks, WorkDir, config, corex::CorexOptions,
    topology::Inline, wait,
};

use super::pair::LIMIT;

const IN: &str = "+in";
const OUT: &str = "+out";
/// Adds these.
const HOOK: &str = r#"if (is_incoming()) $avp(msg) = $mb + "+in"; else $avp(msg) = $mb + "+out";"#;

/// A server with a corex in front of it, and a device without.
struct Bench {
    net: Inline,
    mounts: Mounts,
    config: PathBuf,
    arguments: Vec<&'static str>,
    device: UdpSocket,
    server: UdpSocket,
    work: WorkDir,
}

impl Bench {
    fn new(parameters: &str, arguments: &[&'static str]) -> Result<Self> {
        let (net, work) = (Inline::new()?, WorkDir::new()?);
        let mounts = Mounts::new(&net.server, work.path())?;
        let text = config::inline(&[Inline::SERVER.sip()], parameters, HOOK);
        let device = net.device.udp(Inline::DEVICE.sip())?;
        let server = net.server.udp(Inline::SERVER.sip())?;
        device.connect(Inline::SERVER.sip())?;
        Ok(Self {
            config: work.write("edge.cfg", text)?,
            arguments: arguments.to_vec(),
            net,
            mounts,
            device,
            server,
            work,
        })
    }

    fn options(&self) -> CorexOptions {
        let options = CorexOptions::new(&self.config).interface("eth0");
        self.arguments
            .iter()
            .fold(options, |options, argument| options.argument(argument))
    }

    fn start(&self, name: &str) -> Result<Corex> {
        self.options()
            .start_in(&self.mounts, self.work.path(), name)
    }

    /// What one message from the device becomes on its way to the server; `None`: nothing.
    fn in_becomes(&self) -> Result<Option<String>> {
        self.device.send(&message(0))?;
        arrival(&self.server)
    }

    /// The same for one from the server to the device.
    fn out_becomes(&self) -> Result<Option<String>> {
        self.server.send_to(&message(0), Inline::DEVICE.sip())?;
        arrival(&self.device)
    }

    fn check(&self, incoming: Option<&str>, outgoing: Option<&str>) -> Result<()> {
        let (seen_in, seen_out) = (self.in_becomes()?, self.out_becomes()?);
        ensure!(
            seen_in.as_deref() == incoming && seen_out.as_deref() == outgoing,
            "in: {seen_in:?}, out: {seen_out:?}"
        );
        Ok(())
    }

    fn corex(&self, words: &[&str]) -> Result<std::process::Output> {
        let mut command = self.mounts.command(corex_lab::corex::binary()?);
        Ok(command.args(words).output()?)
    }

    /// What the kernel lost on all hosts: before corex's programs saw it, or after it was injected.
    fn kernel_losses(&self) -> Result<KernelLosses> {
        KernelLosses::of(&[&self.net.device, &self.net.internet, &self.net.server])
    }

    /// What remains of corex on the server's host.
    fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        let links = self.net.server.ip("-brief link show")?;
        left.extend(
            links
                .lines()
                .filter(|line| line.contains("cx-"))
                .map(str::to_owned),
        );
        left.extend(self.net.server.xdp_program("eth0")?.map(|(name, _)| name));
        let programs = self
            .mounts
            .run(&["bpftool", "net", "show", "dev", "eth0"])?;
        left.extend(
            programs
                .lines()
                .filter(|line| line.contains("corex_"))
                .map(str::to_owned),
        );
        left.extend(
            self.mounts
                .run(&["sh", "-c", "ls /sys/fs/bpf/corex 2>/dev/null || true"])?
                .split_whitespace()
                .map(str::to_owned),
        );
        Ok(left)
    }
}

/// A message with a number.
fn message(number: u32) -> Vec<u8> {
    format!("{number:08} {}", "x".repeat(100)).into_bytes()
}

/// What was added to the next message that arrives.
fn arrival(socket: &UdpSocket) -> Result<Option<String>> {
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut buffer = [0; 2048];
    match socket.recv(&mut buffer) {
        Ok(len) => {
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            Ok(Some(text.trim_start_matches(|c| c != '+').to_owned()))
        }
        Err(_) => Ok(None),
    }
}

/// A device that goes on sending, and what the server gets of it.
struct Load {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<u32>>,
    receiver: JoinHandle<Result<Received>>,
}

#[derive(Default)]
struct Received {
    hooked: BTreeSet<u32>,
    plain: BTreeSet<u32>,
    twice: u32,
}

impl Load {
    /// About two thousand messages a second, for a minute at most.
    fn start(bench: &Bench) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (device, server) = (bench.device.try_clone()?, bench.server.try_clone()?);
        let stopped = Arc::clone(&stop);
        let sender = thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) && sent < 120_000 {
                device.send(&message(sent))?;
                sent += 1;
                thread::sleep(Duration::from_micros(400));
            }
            Ok(sent)
        });
        // What corex has in hand when the load ends may be late on a busy machine.
        server.set_read_timeout(Some(Duration::from_secs(2)))?;
        let stopped = Arc::clone(&stop);
        let receiver = thread::spawn(move || {
            let mut received = Received::default();
            let mut buffer = [0; 2048];
            loop {
                let Ok(len) = server.recv(&mut buffer) else {
                    if stopped.load(Ordering::Relaxed) {
                        return Ok(received);
                    }
                    continue;
                };
                let text = String::from_utf8_lossy(&buffer[..len]);
                let number = text[..8].parse()?;
                let is_new = if text.ends_with(IN) {
                    received.hooked.insert(number)
                } else {
                    received.plain.insert(number)
                };
                received.twice += u32::from(!is_new);
            }
        });
        Ok(Self {
            stop,
            sender,
            receiver,
        })
    }

    fn stop(self) -> Result<(u32, Received)> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().ok().context("the sender")??;
        let received = self.receiver.join().ok().context("the receiver")??;
        ensure!(received.twice == 0, "{} came twice", received.twice);
        ensure!(received.hooked.is_disjoint(&received.plain));
        Ok((sent, received))
    }
}

fn pause() {
    thread::sleep(Duration::from_millis(700));
}

/// What an instance that is gone counted, as its successor read it, and what its own programs
/// counted before its workers served.
fn unserved(books: &ObservedBooks, verdict: &str) -> u64 {
    ["predecessor.kernel", "kernel"]
        .map(|of| books.get(&format!("{of}.{verdict}.no_xsk")))
        .iter()
        .sum()
}

#[test]
fn open_a_killed_corex_lets_everything_pass_and_its_successor_takes_the_links_over() -> Result<()> {
    for &tc in corex_lab::sys::tc_choices() {
        let bench = Bench::new("", &["--tc", tc])?;
        let killed = bench.start("killed")?;
        bench.check(Some(IN), Some(OUT))?;
        let before = bench.kernel_losses()?;
        let load = Load::start(&bench)?;
        pause();
        killed.kill()?;
        pause();
        let successor = bench.start("successor")?;
        pause();
        let (sent, received) = load.stop()?;
        let kernel = bench.kernel_losses()?.since(&before);
        let arrived = (received.hooked.len() + received.plain.len()) as u32;
        let lost = sent - arrived;
        println!(
            "{tc}: {sent} sent, {} with the hook, {} without, {lost} lost in the dead one; {kernel}",
            received.hooked.len(),
            received.plain.len()
        );
        ensure!(!received.plain.is_empty() && !received.hooked.is_empty());
        bench.check(Some(IN), Some(OUT))?;
        let books = successor.stop()?;
        books.check_balance()?;
        ensure!(
            u64::from(lost) <= books.get("predecessor.in_hand") + kernel.sum(),
            "{lost} of {sent} lost, {kernel}: {:#}",
            books.0
        );
        ensure!(
            unserved(&books, "passed") == received.plain.len() as u64,
            "{:#}",
            books.0
        );
        bench.check(Some(""), Some(""))?;
        ensure!(bench.left()?.is_empty(), "{:?}", bench.left()?);
    }
    Ok(())
}

#[test]
fn closed_a_killed_corex_lets_nothing_pass_and_what_is_dropped_is_counted() -> Result<()> {
    for &tc in corex_lab::sys::tc_choices() {
        let bench = Bench::new(
            "modparam(\"corex\", \"on_failure\", \"closed\")",
            &["--tc", tc],
        )?;
        let killed = bench.start("killed")?;
        bench.check(Some(IN), Some(OUT))?;
        let before = bench.kernel_losses()?;
        let load = Load::start(&bench)?;
        pause();
        killed.kill()?;
        pause();
        let dump = |map: &str| {
            let path = format!("/sys/fs/bpf/corex/edge/{map}");
            bench
                .mounts
                .run(&["bpftool", "map", "dump", "pinned", &path])
        };
        ensure!(
            dump("COUNTERS")?.contains("drop_no_xsk"),
            "its maps are there"
        );
        let successor = bench.start("successor")?;
        pause();
        let (sent, received) = load.stop()?;
        let kernel = bench.kernel_losses()?.since(&before);
        bench.check(Some(IN), Some(OUT))?;
        let books = successor.stop()?;
        books.check_balance()?;
        ensure!(received.plain.is_empty(), "{} passed", received.plain.len());
        let dropped = unserved(&books, "dropped");
        let arrived = received.hooked.len() as u64;
        let lost = u64::from(sent) - arrived - dropped;
        let in_hand = books.get("predecessor.in_hand");
        println!(
            "{tc}: {sent} sent, {arrived} arrived, {dropped} dropped, {lost} lost of {in_hand} in \
             hand; {kernel}"
        );
        ensure!(
            dropped > 0 && lost <= in_hand + kernel.sum(),
            "{lost} of {sent} lost, {kernel}: {:#}",
            books.0
        );
    }
    Ok(())
}

#[test]
fn closed_a_stopped_corex_stays_closed_until_its_programs_are_taken_off() -> Result<()> {
    let bench = Bench::new("modparam(\"corex\", \"on_failure\", \"closed\")", &[])?;
    let corex = bench.start("first")?;
    bench.check(Some(IN), Some(OUT))?;
    let refused = bench.corex(&["detach", "edge"])?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    bench.check(Some(IN), Some(OUT))?;
    let log = corex.process.pid();
    let listed = String::from_utf8(bench.corex(&["detach"])?.stdout)?;
    ensure!(
        listed == format!("edge: runs, as process {log}\n"),
        "{listed}"
    );
    corex.stop()?.check_balance()?;
    bench.check(None, None)?;
    let listed = String::from_utf8(bench.corex(&["detach"])?.stdout)?;
    ensure!(listed.starts_with("edge: doesn't run"), "{listed}");
    let detached = bench.corex(&["detach", "edge"])?;
    ensure!(detached.status.success(), "{detached:?}");
    bench.check(Some(""), Some(""))?;
    ensure!(bench.left()?.is_empty(), "{:?}", bench.left()?);
    Ok(())
}

#[test]
fn an_upgrade_under_load_loses_nothing_that_is_not_counted() -> Result<()> {
    for policy in ["open", "closed"] {
        let bench = Bench::new(
            &format!("modparam(\"corex\", \"on_failure\", \"{policy}\")"),
            &[],
        )?;
        // Another binary, as after an upgrade.
        let new = bench.work.join("corex-new");
        corex_lab::corex::copy_binary(&new)?;
        let old = bench.start("old")?;
        let before = bench.kernel_losses()?;
        let load = Load::start(&bench)?;
        pause();
        let successor = bench
            .options()
            .binary(&new)
            .argument("--take-over")
            .start_in(&bench.mounts, bench.work.path(), "new")?;
        let old = old.succeeded()?;
        pause();
        let (sent, received) = load.stop()?;
        let kernel = bench.kernel_losses()?.since(&before);
        bench.check(Some(IN), Some(OUT))?;
        let books = successor.stop()?;
        old.check_balance()?;
        books.check_balance()?;
        let (hooked, plain) = (received.hooked.len() as u64, received.plain.len() as u64);
        let (passed, dropped) = (unserved(&books, "passed"), unserved(&books, "dropped"));
        println!(
            "{policy}: {sent} sent, {hooked} with the hook, {plain} without, {dropped} dropped; \
             {kernel}"
        );
        // The links in front of the server's hold 256 frames, less than comes while a busy machine
        // lets nobody take them.
        ensure!(
            hooked + plain + dropped + kernel.sum() == u64::from(sent),
            "{:#}",
            books.0
        );
        ensure!(
            plain == passed,
            "{plain} came without the hook: {:#}",
            books.0
        );
        match policy {
            "open" => ensure!(dropped == 0, "{:#}", books.0),
            _ => ensure!(plain == 0, "{:#}", books.0),
        }
        // One for the check after the load.
        ensure!(
            old.get("user.delivered") + books.get("user.delivered") == hooked + 1,
            "{:#}",
            books.0
        );
    }
    Ok(())
}

#[test]
fn a_start_that_fails_leaves_nothing() -> Result<()> {
    let bench = Bench::new("", &[])?;
    // The second interface has XDP of somebody else's, in the mode that is asked for.
    bench.net.server.ip("link add x0 type veth peer name x1")?;
    let occupant = CorexOptions::new(&bench.work.write(
        "other.cfg",
        "listen=udp:127.0.0.1:5070\nrequest_route { drop; }\n",
    )?)
    .interface("x0")
    .engine("xdp")
    .start_in(&bench.mounts, bench.work.path(), "other")?;
    let failed = bench.options().interface("x0").spawn(
        bench.mounts.command(corex_lab::corex::binary()?),
        bench.work.path(),
        "failed",
    )?;
    let status = failed.process.wait(LIMIT)?;
    ensure!(status.code() == Some(3), "{status}: {}", failed.log());
    ensure!(bench.left()? == ["other"], "{:?}", bench.left()?);
    bench.check(Some(""), Some(""))?;
    occupant.stop()?;
    Ok(())
}

/// Tests that run with no other beside them. A worker that neighbours keep from running for a
/// second is hung, to the watchdog; and where they keep the kernel from giving up the queue of a
/// corex that has ended, its successor finds the queue taken.
mod alone {
    use super::*;

    #[test]
    fn a_hung_corex_is_noticed_and_comes_back() -> Result<()> {
        for (policy, passes) in [("open", true), ("closed", false)] {
            let bench = Bench::new(
                &format!(
                    "modparam(\"corex\", \"on_failure\", \"{policy}\")\n\
                     modparam(\"corex\", \"watchdog\", 1000)"
                ),
                &[],
            )?;
            let corex = bench.start("corex")?;
            bench.check(Some(IN), Some(OUT))?;
            corex.process.signal(libc::SIGSTOP)?;
            thread::sleep(Duration::from_millis(1500));
            let expected = passes.then_some("");
            bench.check(expected, expected)?;
            corex.process.signal(libc::SIGCONT)?;
            wait::until("it serves again", LIMIT, || {
                Ok((bench.in_becomes()?.as_deref() == Some(IN)).then_some(()))
            })?;
            bench.check(Some(IN), Some(OUT))?;
            let books = corex.stop()?;
            books.check_balance()?;
            let verdict = if passes { "passed" } else { "dropped" };
            ensure!(
                books.get(&format!("kernel.{verdict}.hung")) > 0,
                "{:#}",
                books.0
            );
            ensure!(
                books.get(&format!("inline.egress.{verdict}.hung")) > 0,
                "{:#}",
                books.0
            );
        }
        Ok(())
    }

    #[test]
    fn a_detour_that_somebody_takes_away_ends_corex_rather_than_the_traffic() -> Result<()> {
        for (words, said) in [
            ("link delete cx-edge-0", "is gone"),
            ("link set dev cx-edge-0p down", "is down"),
        ] {
            for policy in ["open", "closed"] {
                let parameter = format!("modparam(\"corex\", \"on_failure\", \"{policy}\")");
                let bench = Bench::new(&parameter, &[])?;
                let corex = bench.start("corex")?;
                bench.check(Some(IN), Some(OUT))?;
                bench.net.server.ip(words)?;
                let status = corex.process.wait(LIMIT)?;
                ensure!(status.code() == Some(3), "{status}: {}", corex.log());
                ensure!(corex.log().contains(said), "{}", corex.log());
                if policy == "open" {
                    bench.check(Some(""), Some(""))?;
                    ensure!(bench.left()?.is_empty(), "{:?}", bench.left()?);
                } else {
                    bench.check(None, None)?;
                }
                let again = bench.start("again")?;
                bench.check(Some(IN), Some(OUT))?;
                again.stop()?.check_balance()?;
            }
        }
        Ok(())
    }
}
