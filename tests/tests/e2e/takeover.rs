//! A corex takes the place of another one, and no message is lost.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::UdpSocket,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use corex_lab::{
    Corex, Mounts, WorkDir,
    config::{self, Family},
    corex::CorexOptions,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Between two messages: slow enough that what waits while a successor starts its workers fits into
/// rings and buffers many times over.
const PACE: Duration = Duration::from_millis(1);
/// Linux before 6.4 maps no rings of AF_XDP sockets that are bound: there the old one ends first.
fn engines() -> &'static [&'static str] {
    if corex_lab::sys::kernel() >= (6, 4) {
        &["socket", "xdp"]
    } else {
        &["socket"]
    }
}

struct Lab {
    work: WorkDir,
    relay: Relay,
    mounts: Mounts,
    options: CorexOptions,
}

impl Lab {
    fn new(engine: &str, parameters: &str) -> Result<Self> {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let mounts = Mounts::new(&relay.corex, work.path())?;
        let text = config::relay(Family::V4, parameters, config::COPY);
        let options = CorexOptions::new(&work.write("corex.cfg", text)?)
            .argument("--workers")
            .argument("1")
            .interface("user")
            .interface("core")
            .engine(engine);
        Ok(Self {
            work,
            relay,
            mounts,
            options,
        })
    }

    fn start(&self, name: &str) -> Result<Corex> {
        self.options.start_in(&self.mounts, self.work.path(), name)
    }

    fn heir(&self) -> CorexOptions {
        self.options.clone().argument("--take-over")
    }

    fn take_over(&self, name: &str) -> Result<Corex> {
        self.heir().start_in(&self.mounts, self.work.path(), name)
    }

    /// Numbered messages go through while `what` happens; all arrive, each once.
    fn none_lost_while<T>(&self, what: impl FnOnce(&AtomicUsize) -> Result<T>) -> Result<T> {
        let sender = self.relay.uac.udp("10.0.1.2:0".parse()?)?;
        let receiver = self.relay.uas.udp(Relay::UAS.sip())?;
        receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (is_over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (is_read, received) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let n = sent.load(Ordering::Relaxed);
                    sender.send_to(&message(n), Relay::USER_SIDE.sip())?;
                    sent.store(n + 1, Ordering::Relaxed);
                    thread::sleep(PACE);
                }
                anyhow::Ok(())
            });
            let counting = scope.spawn(|| count(&receiver, &is_read, &received));
            let outcome = what(&received);
            is_over.store(true, Ordering::Relaxed);
            let sending = sending.join();
            let all = || sent.load(Ordering::Relaxed);
            let arrived = wait::until("all messages arrive", LIMIT, || {
                Ok((received.load(Ordering::Relaxed) >= all()).then_some(()))
            });
            is_read.store(true, Ordering::Relaxed);
            let counts = counting.join();
            let outcome = outcome?;
            sending.map_err(|_| anyhow::anyhow!("the sender panicked"))??;
            let counts = counts.map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
            let missing: Vec<usize> = (0..all()).filter(|n| !counts.contains_key(n)).collect();
            let twice: Vec<_> = counts.iter().filter(|(_, times)| **times > 1).collect();
            ensure!(
                missing.is_empty() && twice.is_empty(),
                "of {} messages {} are missing: {missing:?}; twice: {twice:?}",
                all(),
                missing.len()
            );
            arrived.map(|()| outcome)
        })
    }

    /// The socket that successors connect to.
    fn offer(&self) -> Result<UnixStream> {
        let network = self
            .mounts
            .run(&["stat", "-L", "-c", "%i", "/proc/self/ns/net"])?;
        let path = format!("/run/corex/corex-{}.take-over", network.trim());
        let socket = UnixStream::connect(&path).with_context(|| path)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(socket)
    }
}

fn message(n: usize) -> Vec<u8> {
    format!(
        "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK{n}\r\n\
         To: <sip:bob@example.com>\r\nFrom: <sip:alice@example.com>;tag=x\r\nCall-ID: {n}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// How often each message comes, by its number.
fn count(
    socket: &UdpSocket,
    is_over: &AtomicBool,
    received: &AtomicUsize,
) -> HashMap<usize, usize> {
    let mut counts = HashMap::new();
    let mut buffer = [0; 2048];
    loop {
        let Ok(len) = socket.recv(&mut buffer) else {
            // Only when nothing has come for a while.
            if is_over.load(Ordering::Relaxed) {
                return counts;
            }
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..len]);
        let number = text
            .lines()
            .find_map(|line| line.strip_prefix("Call-ID: "))
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            *counts.entry(number).or_default() += 1;
            received.store(counts.len(), Ordering::Relaxed);
        }
    }
}

/// Waits until so many more messages have arrived.
fn more(received: &AtomicUsize, messages: usize) -> Result<()> {
    let before = received.load(Ordering::Relaxed);
    wait::until("messages go through", LIMIT, || {
        let now = received.load(Ordering::Relaxed);
        Ok((now >= before + messages).then_some(()))
    })
}

#[test]
fn three_successors_in_a_row_lose_no_message() -> Result<()> {
    for engine in engines().iter().copied() {
        let lab = Lab::new(engine, "")?;
        let mut last = lab.start("first")?;
        let last = lab.none_lost_while(|received| {
            more(received, 200)?;
            for name in ["second", "third", "fourth"] {
                let next = lab.take_over(name)?;
                let books = last.succeeded()?;
                books.check_balance()?;
                last = next;
                more(received, 200)?;
            }
            Ok(last)
        })?;
        ensure!(
            last.log().contains("taking over from process"),
            "{}",
            last.log()
        );
        let books = last.stop()?;
        books.check_balance()?;
        ensure!(books.text("engine") == engine, "{:#}", books.0);
        ensure!(books.get("user.sent") >= 200, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn a_successor_that_can_not_start_disturbs_nobody() -> Result<()> {
    for engine in engines().iter().copied() {
        let lab = Lab::new(engine, "")?;
        let first = lab.start("first")?;
        let text = config::relay(Family::V4, "", config::COPY);
        let wrong = lab.work.write("wrong.cfg", "request_route { send(; }\n")?;
        let absent = lab
            .work
            .write("absent.cfg", format!("listen=udp:10.9.9.9:5060\n{text}"))?;
        lab.none_lost_while(|received| {
            more(received, 100)?;
            for (config, code) in [(&wrong, 1), (&absent, 3)] {
                let options = CorexOptions::new(config)
                    .argument("--take-over")
                    .argument("--instance")
                    .argument("corex")
                    .interface("user")
                    .interface("core")
                    .engine(engine);
                let command = lab.mounts.command(corex_lab::corex::binary()?);
                let second = options.spawn(command, lab.work.path(), "second")?;
                let status = second.process.wait(LIMIT)?;
                ensure!(status.code() == Some(code), "{status}: {}", second.log());
                more(received, 100)?;
            }
            Ok(())
        })?;
        let log = first.log();
        ensure!(first.process.status()?.is_none(), "{log}");
        // It can still be succeeded.
        let third = lab.take_over("third")?;
        first.succeeded()?.check_balance()?;
        third.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn a_successor_that_is_killed_at_work_disturbs_nobody() -> Result<()> {
    // The kernel checks the programs of the successor for a while: it is killed before it is ready.
    let lab = Lab::new("xdp", "")?;
    let first = lab.start("first")?;
    lab.none_lost_while(|received| {
        for _ in 0..3 {
            more(received, 100)?;
            let command = lab.mounts.command(corex_lab::corex::binary()?);
            let second = lab.heir().spawn(command, lab.work.path(), "second")?;
            let limit = LIMIT;
            second
                .process
                .wait_for_output("taking over from process", limit)?;
            second.kill()?;
            more(received, 100)?;
        }
        Ok(())
    })?;
    ensure!(first.process.status()?.is_none(), "{}", first.log());
    first.stop()?.check_balance()
}

/// One that is killed while its successor makes itself ready; what is lost is what it had.
#[test]
fn a_predecessor_that_is_killed_meanwhile_is_replaced_all_the_same() -> Result<()> {
    for engine in engines().iter().copied() {
        let lab = Lab::new(engine, "")?;
        let first = lab.start("first")?;
        let command = lab.mounts.command(corex_lab::corex::binary()?);
        let second = lab.heir().spawn(command, lab.work.path(), "second")?;
        second
            .process
            .wait_for_output("taking over from process", LIMIT)?;
        first.kill()?;
        second.process.wait_for_output("ready:", LIMIT)?;
        lab.none_lost_while(|received| more(received, 100))?;
        second.stop()?.check_balance()?;
    }
    Ok(())
}

/// Says a word of the hand-over.
pub fn say(socket: &mut UnixStream, word: &str) -> Result<()> {
    let mut bytes = (word.len() as u32).to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(word.as_bytes());
    Ok(socket.write_all(&bytes)?)
}

/// Hears a word; the descriptors that come with it are thrown away.
pub fn hear(socket: &mut UnixStream) -> Result<String> {
    let mut head = [0; 8];
    socket.read_exact(&mut head)?;
    let number =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let mut text = vec![0; number(0) as usize];
    socket.read_exact(&mut text)?;
    // With each 128 descriptors goes a byte.
    let mut bytes = vec![0; (number(4) as usize).div_ceil(128)];
    socket.read_exact(&mut bytes)?;
    Ok(String::from_utf8(text)?)
}

pub const HELLO: &str = r#"{"Hello":{"version":3,"corex":"a test"}}"#;

#[test]
fn a_successor_that_is_gone_once_all_has_stopped_lets_the_old_one_go_on() -> Result<()> {
    for engine in engines().iter().copied() {
        let lab = Lab::new(engine, "")?;
        let first = lab.start("first")?;
        lab.none_lost_while(|received| {
            more(received, 100)?;
            for words in [
                &[][..],
                &["nonsense"],
                &[r#"{"Hello":{"version":99,"corex":"x"}}"#],
                &[HELLO],
                &[HELLO, "\"Freeze\""],
                &[HELLO, "\"Freeze\"", "\"Freeze\""],
            ] {
                let mut socket = lab.offer()?;
                for word in words {
                    say(&mut socket, word)?;
                    // Nonsense is answered by the end.
                    let _ = hear(&mut socket);
                }
                drop(socket);
                more(received, 100)?;
            }
            Ok(())
        })?;
        let third = lab.take_over("third")?;
        first.succeeded()?.check_balance()?;
        third.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn others_are_handed_nothing() -> Result<()> {
    let lab = Lab::new("socket", "")?;
    let first = lab.start("first")?;
    let network = lab
        .mounts
        .run(&["stat", "-L", "-c", "%i", "/proc/self/ns/net"])?;
    let path = format!("/run/corex/corex-{}.take-over", network.trim());
    let mode = lab.mounts.run(&["stat", "-c", "%a %U", &path])?;
    ensure!(mode.trim() == "600 root", "{mode}");
    let script = format!(
        "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un('{path}')) \
         or die \"refused: $!\"; print 'connected'"
    );
    let outcome = lab.mounts.run(&[
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "perl",
        "-e",
        &script,
    ]);
    match outcome {
        Err(error) if format!("{error:#}").contains("refused: Permission denied") => {}
        other => bail!("{other:?}"),
    }
    first.stop()?;
    ensure!(UnixStream::connect(&path).is_err());
    ensure!(
        !std::path::Path::new(&path).exists(),
        "the socket goes with corex"
    );
    Ok(())
}

#[test]
fn what_can_not_be_taken_over_is_ended_first_and_said() -> Result<()> {
    let lab = Lab::new("xdp", "")?;
    let first = lab.start("first")?;
    // One interface fewer.
    let text = config::relay(Family::V4, "", config::COPY);
    let second = CorexOptions::new(&lab.work.write("corex.cfg", text)?)
        .argument("--workers")
        .argument("1")
        .interface("user")
        .engine("xdp")
        .argument("--take-over")
        .start_in(&lab.mounts, lab.work.path(), "second")?;
    first.succeeded()?.check_balance()?;
    ensure!(
        second.log().contains("attached to other interfaces"),
        "{}",
        second.log()
    );
    lab.none_lost_while(|received| more(received, 50))?;
    let third = CorexOptions::new(&lab.work.join("corex.cfg"))
        .argument("--workers")
        .argument("1")
        .engine("socket")
        .argument("--take-over")
        .start_in(&lab.mounts, lab.work.path(), "third")?;
    second.succeeded()?.check_balance()?;
    ensure!(
        third.log().contains("kernel sockets can't have"),
        "{}",
        third.log()
    );
    lab.none_lost_while(|received| more(received, 50))?;
    third.stop()?.check_balance()
}

#[test]
fn what_scripts_keep_and_remote_control_go_along() -> Result<()> {
    for engine in engines().iter().copied() {
        let work = WorkDir::new()?;
        let control = work.join("ctl");
        let parameters = format!(
            "loadmodule \"htable.so\"\nloadmodule \"ctl.so\"\n\
             modparam(\"htable\", \"htable\", \"calls=>size=4;\")\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{}\")\n",
            control.display()
        );
        let lab = Lab::new(engine, &parameters)?;
        let rpc = |words: &[&str]| {
            let binary = corex_lab::corex::binary()?.display().to_string();
            let socket = format!("unix:{}", control.display());
            let command = [&binary, "rpc", "--socket", &socket];
            lab.mounts.run(&[&command, words].concat())
        };
        let mut last = lab.start("first")?;
        rpc(&["htable.seti", "calls", "alice", "1"])?;
        for (number, name) in ["second", "third"].into_iter().enumerate() {
            let next = lab.take_over(name)?;
            last.succeeded()?;
            last = next;
            let found = rpc(&["htable.get", "calls", "alice"])?;
            let wanted = number + 1;
            ensure!(found.contains(&format!("value: {wanted}")), "{found}");
            rpc(&["htable.seti", "calls", "alice", &(number + 2).to_string()])?;
        }
        last.stop()?;
        ensure!(
            !control.exists(),
            "the socket of remote control goes with the last one"
        );
    }
    Ok(())
}
