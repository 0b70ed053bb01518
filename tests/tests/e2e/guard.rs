//! The guard: who isn't let in gets nothing by any road, and it is remembered over a reload, an
//! upgrade and a new start.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Mounts, ObservedBooks, WorkDir, config,
    corex::{self, CorexOptions},
    topology::{Inline, Relay},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing comes where nothing shall.
const SILENCE: Duration = Duration::from_millis(300);
const ENGINES: [&str; 2] = ["socket", "xdp"];

struct Stage {
    relay: Relay,
    work: WorkDir,
    mounts: Mounts,
    options: CorexOptions,
    corex: Option<Corex>,
    caller: UdpSocket,
    sent: u32,
}

impl Stage {
    fn new(engine: &str, parameters: &str) -> Result<Self> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let mounts = Mounts::new(&relay.corex, work.path())?;
        let file = work.write("corex.cfg", Self::config(&work, parameters))?;
        let options = CorexOptions::new(&file).interface("user").engine(engine);
        let corex = options.start_in(&mounts, work.path(), "corex")?;
        let caller = relay.uac.udp(Relay::UAC.sip())?;
        Ok(Self {
            relay,
            work,
            mounts,
            options,
            corex: Some(corex),
            caller,
            sent: 0,
        })
    }

    fn config(work: &WorkDir, parameters: &str) -> String {
        format!(
            "listen=udp:10.0.1.1\nlisten=tcp:10.0.1.1\nloadmodule \"sl.so\"\n\
             loadmodule \"corex.so\"\nloadmodule \"ctl.so\"\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{}\")\n{parameters}\n\
             request_route {{ sl_send_reply(\"200\", \"OK\"); }}\n",
            work.path().join("ctl").display()
        )
    }

    fn corex(&self) -> Result<&Corex> {
        self.corex.as_ref().context("corex runs")
    }

    fn rpc(&self, words: &[&str]) -> Result<String> {
        ask(&self.work.path().join("ctl"), words)
    }

    fn request(&mut self) -> String {
        self.sent += 1;
        request(u64::from(self.sent))
    }

    /// Whether a request gets a reply within that time.
    fn is_answered(&mut self, within: Duration) -> Result<bool> {
        let request = self.request();
        let call_id = format!("Call-ID: {}\r\n", self.sent);
        self.caller
            .send_to(request.as_bytes(), Relay::USER_SIDE.sip())?;
        self.caller.set_read_timeout(Some(within))?;
        let mut buffer = [0; 4096];
        while let Ok(len) = self.caller.recv(&mut buffer) {
            if String::from_utf8_lossy(&buffer[..len]).contains(&call_id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until requests are answered, or aren't any more.
    fn until_answered(&mut self, is_wanted: bool) -> Result<()> {
        wait::until("requests are answered, or not", PATIENCE, || {
            Ok((self.is_answered(SILENCE)? == is_wanted).then_some(()))
        })
    }

    /// Whether a connection gets a reply to a request.
    fn is_answered_by_tcp(&mut self) -> Result<bool> {
        let request = self.request();
        self.relay.uac.enter(|| {
            let to: SocketAddr = Relay::USER_SIDE.sip();
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut buffer = [0; 4096];
            // Closed by corex: an error, or the end.
            let sent = stream.write_all(request.as_bytes());
            Ok(sent.is_ok() && matches!(stream.read(&mut buffer), Ok(len) if len > 0))
        })
    }

    fn stop(&mut self) -> Result<ObservedBooks> {
        self.corex.take().context("corex runs")?.stop()
    }
}

/// By remote control.
fn ask(socket: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(corex::binary()?)
        .arg("rpc")
        .arg("-s")
        .arg(socket)
        .args(words)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{words:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

fn request(number: u64) -> String {
    format!(
        "OPTIONS sip:10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK{number}\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// Sends requests one by one, each once the one before has its reply, until it is told to end: none may
/// be lost. Returns how many.
fn all_are_answered(socket: &UdpSocket, to: SocketAddr, is_over: &AtomicBool) -> Result<u64> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut buffer, mut number) = ([0; 4096], 0);
    while !is_over.load(Relaxed) {
        number += 1;
        socket.send_to(request(number).as_bytes(), to)?;
        let call_id = format!("Call-ID: {number}\r\n");
        loop {
            let len = socket
                .recv(&mut buffer)
                .with_context(|| format!("request {number} is lost"))?;
            if String::from_utf8_lossy(&buffer[..len]).contains(&call_id) {
                break;
            }
        }
    }
    Ok(number)
}

/// What the guard is switched on with: everybody but the stranger is let in, by whichever program.
const GUARDS: [&str; 3] = [
    "modparam(\"corex\", \"block\", \"10.0.1.66\")\n",
    "modparam(\"corex\", \"block\", \"10.0.1.66\")\n\
     modparam(\"corex\", \"rate\", \"listener: 1000000/s burst 1000000\")\n",
    "modparam(\"corex\", \"signatures\", \"default\")\n\
     modparam(\"corex\", \"stealth\", \"10.0.1.66\")\n",
];

/// Does `switch` with each of [`GUARDS`] and with none in turn, while a caller has all requests answered;
/// `is_answered` tells whether a stranger's is.
fn switched_under_load(
    caller: &UdpSocket,
    to: SocketAddr,
    mut switch: impl FnMut(&str) -> Result<()>,
    mut is_answered: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let is_over = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let calls = scope.spawn(|| all_are_answered(caller, to, &is_over));
        let outcome = (|| {
            for parameters in GUARDS.into_iter().chain(GUARDS) {
                for (parameters, is_wanted) in [(parameters, false), ("", true)] {
                    switch(parameters)?;
                    wait::until("the stranger is answered, or not", PATIENCE, || {
                        Ok((is_answered()? == is_wanted).then_some(()))
                    })?;
                }
            }
            anyhow::Ok(())
        })();
        is_over.store(true, Relaxed);
        let asked = calls.join().map_err(|_| anyhow::anyhow!("panicked"));
        outcome.and(asked)?
    })?;
    ensure!(asked > 0);
    Ok(())
}

#[test]
fn a_reload_switches_the_guard_on_and_off_and_nothing_is_lost() -> Result<()> {
    for engine in ENGINES {
        let mut stage = Stage::new(engine, "")?;
        let refused = stage.rpc(&["guard.block", "10.0.1.66"]).err();
        let refused = refused.context("there is no guard")?.to_string();
        ensure!(refused.contains("there is no guard"), "{refused}");
        stage.relay.uac.address("eth0", "10.0.1.66/24")?;
        let stranger = stage.relay.uac.udp("10.0.1.66:5060".parse()?)?;
        let caller = std::mem::replace(&mut stage.caller, stranger);
        let ctl = stage.work.path().join("ctl");
        let file = stage.work.path().join("corex.cfg");
        let config = |parameters: &str| Stage::config(&stage.work, parameters);
        let texts: Vec<(String, String)> = GUARDS
            .into_iter()
            .chain([""])
            .map(|parameters| (parameters.to_owned(), config(parameters)))
            .collect();
        let switch = |parameters: &str| {
            let text = texts.iter().find(|(of, _)| of == parameters);
            std::fs::write(&file, &text.context("a configuration")?.1)?;
            ask(&ctl, &["corex.reload"]).map(drop)
        };
        switched_under_load(&caller, Relay::USER_SIDE.sip(), switch, || {
            stage.is_answered(SILENCE)
        })?;
        let books = stage.stop()?;
        books.check_balance()?;
        for rule in ["guard_block", "guard_stealth"] {
            ensure!(dropped(&books, rule) > 0, "{engine} {rule}: {books:?}");
        }
        if engine == "xdp" {
            ensure!(books.get("kernel.dropped.guard_block") > 0, "{books:?}");
        }
    }
    Ok(())
}

#[test]
fn a_reload_switches_the_guard_of_inline_mode_on_and_off_and_nothing_is_lost() -> Result<()> {
    let net = Inline::new()?;
    let work = WorkDir::new()?;
    let ctl = work.path().join("ctl");
    let protected = [Inline::SERVER.sip()];
    let config = |parameters: &str| {
        let parameters = format!(
            "loadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"unix:{}\")\n{parameters}",
            ctl.display()
        );
        config::inline(&protected, &parameters, config::COPY)
    };
    let file = work.write("edge.cfg", config(""))?;
    let corex =
        CorexOptions::new(&file)
            .interface("eth0")
            .start(&net.server, work.path(), "edge")?;
    let server = net.server.udp(Inline::SERVER.sip())?;
    let device = net.device.udp(Inline::DEVICE.sip())?;
    net.device.address("eth0", "10.0.1.66/24")?;
    let stranger = net.device.udp("10.0.1.66:5060".parse()?)?;
    stranger.set_read_timeout(Some(SILENCE))?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // A server that sends back what it gets.
        let served = scope.spawn(|| -> Result<()> {
            server.set_read_timeout(Some(SILENCE))?;
            let mut buffer = [0; 65536];
            while !is_over.load(Relaxed) {
                if let Ok((len, from)) = server.recv_from(&mut buffer) {
                    server.send_to(&buffer[..len], from)?;
                }
            }
            Ok(())
        });
        let mut sent = 0;
        let switched = switched_under_load(
            &device,
            Inline::SERVER.sip(),
            |parameters| {
                std::fs::write(&file, config(parameters))?;
                ask(&ctl, &["corex.reload"]).map(drop)
            },
            || {
                sent += 1;
                stranger.send_to(request(sent).as_bytes(), Inline::SERVER.sip())?;
                let call_id = format!("Call-ID: {sent}\r\n");
                let mut buffer = [0; 4096];
                while let Ok(len) = stranger.recv(&mut buffer) {
                    if String::from_utf8_lossy(&buffer[..len]).contains(&call_id) {
                        return Ok(true);
                    }
                }
                Ok(false)
            },
        );
        is_over.store(true, Relaxed);
        let served = served.join();
        switched?;
        served.map_err(|_| anyhow::anyhow!("the server panicked"))?
    })?;
    let books = corex.stop()?;
    books.check_balance()?;
    for rule in ["guard_block", "guard_stealth"] {
        let counter = format!("kernel.dropped.{rule}");
        ensure!(books.get(&counter) > 0, "{rule}: {books:?}");
    }
    Ok(())
}

/// What the guard dropped by a rule, by whichever road.
fn dropped(books: &ObservedBooks, rule: &str) -> u64 {
    ["kernel", "user"]
        .iter()
        .map(|group| books.get(&format!("{group}.dropped.{rule}")))
        .sum()
}

#[test]
fn who_is_blocked_by_remote_control_gets_nothing_until_it_is_unblocked() -> Result<()> {
    for engine in ENGINES {
        let mut stage = Stage::new(engine, "modparam(\"corex\", \"guard\", 1)")?;
        ensure!(stage.is_answered(PATIENCE)?, "{engine}");
        ensure!(stage.is_answered_by_tcp()?, "{engine}");
        stage.rpc(&["guard.block", "10.0.1.0/24", "3600"])?;
        stage.until_answered(false)?;
        ensure!(!stage.is_answered_by_tcp()?, "{engine}: by TCP");
        let explained = stage.rpc(&["corex.guard", "explain", "10.0.1.2"])?;
        ensure!(
            explained.contains("dropped: block") && explained.contains("10.0.1.0/24 by rpc"),
            "{engine}: {explained}"
        );
        wait::until("the entry counts packets", PATIENCE, || {
            let listed = stage.rpc(&["guard.list"])?;
            Ok((!listed.contains("never")).then_some(()))
        })?;
        // Who is allowed is let in, whatever else is written.
        stage.rpc(&["guard.allow", "10.0.1.2"])?;
        stage.until_answered(true)?;
        stage.rpc(&["guard.disallow", "10.0.1.2"])?;
        stage.until_answered(false)?;
        stage.rpc(&["guard.unblock", "10.0.1.0/24"])?;
        stage.until_answered(true)?;
        ensure!(stage.is_answered_by_tcp()?, "{engine}");
        let books = stage.stop()?;
        books.check_balance()?;
        ensure!(dropped(&books, "guard_block") > 0, "{engine}: {books:?}");
        ensure!(
            books.get("streams.refused_guard") > 0,
            "{engine}: {books:?}"
        );
        if engine == "xdp" {
            ensure!(books.get("kernel.dropped.guard_block") > 0, "{books:?}");
        }
    }
    Ok(())
}

#[test]
fn entries_have_an_end_and_a_reload_changes_only_its_own() -> Result<()> {
    for engine in ENGINES {
        let block = "modparam(\"corex\", \"block\", \"10.0.1.2; udp; 5060\")";
        let mut stage = Stage::new(engine, block)?;
        ensure!(!stage.is_answered(SILENCE)?, "{engine}: from the first on");
        stage.rpc(&["guard.block", "192.0.2.0/24"])?;
        let work = &stage.work;
        let other = Stage::config(work, "modparam(\"corex\", \"block\", \"file:block.txt\")");
        work.write("block.txt", "# none of these\n198.51.100.0/24; tcp\n")?;
        work.write("corex.cfg", &other)?;
        stage.rpc(&["corex.reload"])?;
        stage.until_answered(true)?;
        let listed = stage.rpc(&["guard.list"])?;
        ensure!(
            listed.contains("192.0.2.0/24") && listed.contains("198.51.100.0/24"),
            "{engine}: {listed}"
        );
        // A file that can't be used changes nothing.
        stage
            .work
            .write("block.txt", "198.51.100.0/24\n  10.0.1.300\n")?;
        let refused = stage.rpc(&["corex.reload"]);
        let refused = refused.err().context("refused")?.to_string();
        ensure!(refused.contains("block.txt:2:3"), "{engine}: {refused}");
        ensure!(stage.rpc(&["guard.list"])? == listed, "{engine}");
        // Its end comes by itself.
        stage.rpc(&["guard.block", "10.0.1.2", "2"])?;
        stage.until_answered(false)?;
        stage.until_answered(true)?;
        stage.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn what_is_saved_is_there_at_the_next_start_and_a_bad_file_is_no_start() -> Result<()> {
    let mut stage = Stage::new("socket", "modparam(\"corex\", \"guard_file\", \"kept\")")?;
    stage.rpc(&["guard.block", "10.0.1.2", "3600"])?;
    stage.rpc(&["guard.allow", "2001:db8::/32;udp"])?;
    stage.rpc(&["guard.block", "192.0.2.1", "1"])?;
    stage.until_answered(false)?;
    ensure!(stage.rpc(&["guard.save"])?.trim() == "3");
    stage.stop()?;
    wait::until("the shortest one is over", PATIENCE, || {
        let text = std::fs::read_to_string(stage.work.path().join("kept"))?;
        let line = text.lines().find(|line| line.contains("192.0.2.1"));
        let end = line.and_then(|line| line.split("until=").nth(1));
        let end: u64 = end
            .context("an end")?
            .split(' ')
            .next()
            .unwrap_or("")
            .parse()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        Ok((now.as_secs() > end).then_some(()))
    })?;
    let restarted = stage
        .options
        .start_in(&stage.mounts, stage.work.path(), "again")?;
    stage.corex = Some(restarted);
    ensure!(!stage.is_answered(SILENCE)?);
    let listed = stage.rpc(&["guard.list"])?;
    ensure!(
        listed.contains("10.0.1.2/32") && listed.contains("2001:db8::/32"),
        "{listed}"
    );
    ensure!(!listed.contains("192.0.2.1"), "{listed}");
    stage.stop()?;
    let kept = stage.work.path().join("kept");
    std::fs::write(&kept, "block by=rpc 10.0.1.2\nblok 10.0.1.3\n")?;
    let check = Command::new(corex::binary()?)
        .args(["check", "--config"])
        .arg(stage.work.path().join("corex.cfg"))
        .output()?;
    let said = String::from_utf8_lossy(&check.stderr).into_owned()
        + &String::from_utf8_lossy(&check.stdout);
    ensure!(
        !check.status.success() && said.contains("kept:2:1"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_successor_goes_on_with_the_entries_and_so_does_who_starts_after_a_crash() -> Result<()> {
    for engine in ENGINES {
        let mut stage = Stage::new(engine, "modparam(\"corex\", \"guard\", 1)")?;
        stage.rpc(&["guard.block", "10.0.1.2", "3600"])?;
        stage.rpc(&["guard.block", "192.0.2.0/24"])?;
        stage.until_answered(false)?;
        let heir = stage.options.clone().argument("--take-over");
        let successor = heir.start_in(&stage.mounts, stage.work.path(), "heir")?;
        let predecessor = stage.corex.replace(successor).context("corex runs")?;
        predecessor.succeeded()?;
        ensure!(!stage.is_answered(SILENCE)?, "{engine}");
        let listed = stage.rpc(&["guard.list"])?;
        ensure!(listed.contains("192.0.2.0/24"), "{engine}: {listed}");
        if engine == "xdp" {
            stage.corex.take().context("corex runs")?.kill()?;
            let again = stage
                .options
                .start_in(&stage.mounts, stage.work.path(), "again")?;
            stage.corex = Some(again);
            ensure!(!stage.is_answered(SILENCE)?, "after a crash");
        }
        stage.rpc(&["guard.unblock", "10.0.1.2"])?;
        stage.until_answered(true)?;
        stage.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn bpftool_reads_and_changes_the_lists() -> Result<()> {
    let mut stage = Stage::new("xdp", "modparam(\"corex\", \"block\", \"203.0.113.0/24\")")?;
    ensure!(stage.is_answered(PATIENCE)?);
    let map = |name: &str| format!("/sys/fs/bpf/corex/corex/{name}");
    let dumped =
        stage
            .corex()?
            .beside(&["bpftool", "map", "dump", "pinned", &map("GUARD_BLOCK_V4")])?;
    for name in [
        "prefix_len",
        "proto",
        "port",
        "addr",
        "expires",
        "hits",
        "last_seen",
        "action",
    ] {
        ensure!(dumped.contains(name), "{name}: {dumped}");
    }
    let zeros = ["00"; 32].join(" ");
    let key = "40 00 00 00 00 00 00 00 0a 00 01 02";
    let path = map("GUARD_BLOCK_V4");
    let update = format!("bpftool map update pinned {path} key hex {key} value hex {zeros}");
    let words: Vec<&str> = update.split(' ').collect();
    stage.corex()?.beside(&words)?;
    stage.until_answered(false)?;
    wait::until("the list shows it", PATIENCE, || {
        let listed = stage.rpc(&["guard.list"])?;
        Ok(listed.contains("bpftool").then_some(()))
    })?;
    let delete = format!("bpftool map delete pinned {path} key hex {key}");
    let words: Vec<&str> = delete.split(' ').collect();
    stage.corex()?.beside(&words)?;
    stage.until_answered(true)?;
    wait::until("the list shows it no more", PATIENCE, || {
        let listed = stage.rpc(&["guard.list"])?;
        Ok((!listed.contains("bpftool")).then_some(()))
    })?;
    stage.stop()?.check_balance()
}

#[test]
fn a_server_behind_inline_mode_hears_nothing_of_who_is_blocked() -> Result<()> {
    let net = Inline::new()?;
    let work = WorkDir::new()?;
    let socket: PathBuf = work.path().join("ctl");
    let parameters = format!(
        "loadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"unix:{}\")\n\
         modparam(\"corex\", \"guard\", 1)\n",
        socket.display()
    );
    let protected = [Inline::SERVER.sip()];
    let file = work.write(
        "edge.cfg",
        config::inline(&protected, &parameters, config::COPY),
    )?;
    let corex =
        CorexOptions::new(&file)
            .interface("eth0")
            .start(&net.server, work.path(), "edge")?;
    let server = net.server.udp(Inline::SERVER.sip())?;
    let device = net.device.udp(Inline::DEVICE.sip())?;
    let hears = |within: Duration, payload: &[u8]| -> Result<bool> {
        server.set_read_timeout(Some(within))?;
        device.send_to(payload, Inline::SERVER.sip())?;
        Ok(server.recv(&mut [0; 65536]).is_ok())
    };
    let short = b"OPTIONS sip:10.0.2.2 SIP/2.0\r\nCall-ID: 1\r\n\r\n".to_vec();
    // In fragments, which only a worker judges.
    let long = [&short[..], &[b'x'; 3000]].concat();
    let block = |words: &[&str]| -> Result<()> {
        let done = Command::new(corex::binary()?)
            .args(["rpc", "-s"])
            .arg(&socket)
            .args(words)
            .status()?;
        ensure!(done.success(), "{words:?}");
        Ok(())
    };
    for payload in [&short, &long] {
        ensure!(hears(PATIENCE, payload)?, "{}", corex.log());
    }
    block(&["guard.block", &format!("{}", Inline::DEVICE.sip().ip())])?;
    for payload in [&short, &long] {
        wait::until("it hears nothing", PATIENCE, || {
            Ok((!hears(SILENCE, payload)?).then_some(()))
        })?;
    }
    block(&["guard.unblock", &format!("{}", Inline::DEVICE.sip().ip())])?;
    for payload in [&short, &long] {
        wait::until("it hears again", PATIENCE, || {
            Ok(hears(SILENCE, payload)?.then_some(()))
        })?;
    }
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("kernel.dropped.guard_block") > 0, "{books:?}");
    ensure!(books.get("user.dropped.guard_block") > 0, "{books:?}");
    Ok(())
}

#[test]
fn who_is_blocked_stays_so_when_another_corex_takes_over_inline_or_starts_after_a_crash()
-> Result<()> {
    let (net, work) = (Inline::new()?, WorkDir::new()?);
    let mounts = Mounts::new(&net.server, work.path())?;
    let socket = work.path().join("ctl");
    let parameters = format!(
        "loadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"unix:{}\")\n\
         modparam(\"corex\", \"guard\", 1)\n",
        socket.display()
    );
    let protected = [Inline::SERVER.sip()];
    let text = config::inline(&protected, &parameters, config::COPY);
    let options = CorexOptions::new(&work.write("edge.cfg", text)?).interface("eth0");
    let server = net.server.udp(Inline::SERVER.sip())?;
    let device = net.device.udp(Inline::DEVICE.sip())?;
    let hears = |within: Duration| -> Result<bool> {
        server.set_read_timeout(Some(within))?;
        device.send_to(request(1).as_bytes(), Inline::SERVER.sip())?;
        Ok(server.recv(&mut [0; 65536]).is_ok())
    };
    let device_ip = Inline::DEVICE.sip().ip().to_string();
    let first = options.start_in(&mounts, work.path(), "first")?;
    ensure!(hears(PATIENCE)?, "{}", first.log());
    ask(&socket, &["guard.block", &device_ip, "3600"])?;
    ask(&socket, &["guard.allow", "198.51.100.7"])?;
    wait::until("it hears nothing", PATIENCE, || {
        Ok((!hears(SILENCE)?).then_some(()))
    })?;
    let heir = options.clone().argument("--take-over");
    let second = heir.start_in(&mounts, work.path(), "second")?;
    first.succeeded()?.check_balance()?;
    let is_remembered = |when: &str| -> Result<()> {
        ensure!(!hears(SILENCE)?, "{when}");
        let listed = ask(&socket, &["guard.list"])?;
        for network in [&device_ip, "198.51.100.7"] {
            ensure!(listed.contains(network), "{when}: {listed}");
        }
        // One of them for an hour, and only that.
        ensure!(listed.contains("seconds_left: 35"), "{when}: {listed}");
        ensure!(
            listed.contains("seconds_left: for ever"),
            "{when}: {listed}"
        );
        Ok(())
    };
    is_remembered("after a take-over")?;
    second.kill()?;
    let third = options.start_in(&mounts, work.path(), "third")?;
    is_remembered("after a crash")?;
    ask(&socket, &["guard.unblock", &device_ip])?;
    wait::until("it hears again", PATIENCE, || {
        Ok(hears(SILENCE)?.then_some(()))
    })?;
    third.stop()?.check_balance()
}
