//! More comes than a worker can handle: what matters least goes, and who is known gets through.
//!
//! The hook is made to cost something, so that little is much, on a machine of any speed and load.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use corex_lab::{
    Corex, WorkDir, config,
    corex::{self, CorexOptions},
    sipp::SippOptions,
    topology::{Inline, Relay},
    wait,
};

const LIMIT: Duration = Duration::from_secs(180);
const CALLS: u64 = 100;
const RATE: u64 = 10;
/// How many times as much is sent as is handled.
const TIMES: u64 = 5;
/// No flood is longer.
const MOST: u64 = 3_000_000;

/// A hook that takes its time.
const SLOW: &str = "if (is_incoming()) { $var(i) = 0; while ($var(i) < 500) { $var(i) = $var(i) + 1; } } \
                    $avp(msg) = $mb;";

fn parameters(more: &str) -> String {
    format!(
        "max_while_loops=1000\nmodparam(\"corex\", \"overload\", 1)\n\
         modparam(\"corex\", \"overload_high\", 10)\nmodparam(\"corex\", \"overload_low\", 5)\n{more}"
    )
}

/// Of a corex that forwards what comes to the answering side.
fn proxy_config(more: &str) -> String {
    format!(
        "#!KAMAILIO\nlisten=udp:{}\nlisten=udp:{}\nmhomed=1\nloadmodule \"corex.so\"\n\
         modparam(\"corex\", \"network_io_intercept\", 1)\nmodparam(\"corex\", \"msg_avp\", \"$avp(msg)\")\n\
         {}\nevent_route[network:msg] {{ {SLOW} }}\n\
         request_route {{ $du = \"sip:{}\"; forward(); }}\n",
        Relay::USER_SIDE.sip(),
        Relay::CORE_SIDE.sip(),
        parameters(more),
        Relay::UAS.sip(),
    )
}

fn proxy(relay: &Relay, work: &WorkDir, engine: &str, more: &str) -> Result<Corex> {
    CorexOptions::new(&work.write("corex.cfg", proxy_config(more))?)
        .interface("user")
        .interface("core")
        .engine(engine)
        .argument("--workers")
        .argument("1")
        .start(&relay.corex, work.path(), engine)
}

fn request(n: u64, from: SocketAddr, method: &str, to_tag: &str) -> Vec<u8> {
    format!(
        "{method} sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{n}\r\n\
         Max-Forwards: 70\r\nTo: <sip:bob@example.com>{to_tag}\r\n\
         From: <sip:mallory@example.com>;tag={n}\r\nCall-ID: {n}@flood\r\nCSeq: 1 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// What came and what could be handled while something was done.
struct Meanwhile {
    sent: u64,
    handled: u64,
}

impl Meanwhile {
    /// More came than a worker handles that is never without work.
    fn check(&self) -> Result<()> {
        let Meanwhile { sent, handled } = self;
        println!("{sent} were sent while {handled} were handled");
        ensure!(*sent > TIMES * handled, "{sent} sent, {handled} handled");
        Ok(())
    }
}

/// A flood of new requests from one socket.
struct Flood<'a> {
    socket: &'a UdpSocket,
    sent: AtomicU64,
    is_over: AtomicBool,
}

impl<'a> Flood<'a> {
    fn new(socket: &'a UdpSocket) -> Self {
        Self {
            socket,
            sent: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Sends until it is told to end, as fast as it can with a moment for others between.
    fn run(&self) -> Result<()> {
        let message = request(0, self.socket.local_addr()?, "OPTIONS", "");
        while !self.is_over.load(Relaxed) && self.sent.load(Relaxed) < MOST {
            for _ in 0..100 {
                match self.socket.send(&message) {
                    Ok(_) => self.sent.fetch_add(1, Relaxed),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => 0,
                    Err(error) => return Err(error.into()),
                };
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// What the flood has sent, and all that a worker has handled, calls and flood.
    fn so_far(&self, corex: &Corex) -> Result<(u64, u64)> {
        let handled = corex.books()?.get("user.hook_in");
        Ok((self.sent.load(Relaxed), handled))
    }

    /// Does something while the worker is overloaded.
    fn during<T>(&self, corex: &Corex, what: impl FnOnce() -> Result<T>) -> Result<(T, Meanwhile)> {
        thread::scope(|scope| {
            let flood = scope.spawn(|| self.run());
            let outcome = (|| {
                wait::until("the worker is overloaded", LIMIT, || {
                    let books = corex.books()?;
                    Ok((books.get("user.overload_begun") > 0).then_some(()))
                })?;
                let (sent, handled) = self.so_far(corex)?;
                let outcome = what()?;
                let after = self.so_far(corex)?;
                let (sent, handled) = (after.0 - sent, after.1 - handled);
                Ok((outcome, Meanwhile { sent, handled }))
            })();
            self.is_over.store(true, Relaxed);
            let flooded = flood.join();
            flooded.map_err(|_| anyhow::anyhow!("the flood panicked"))??;
            outcome
        })
    }
}

/// Whoever floods has an address that nobody knows.
fn stranger(relay: &Relay) -> Result<UdpSocket> {
    relay.uac.address("eth0", "10.0.1.66/24")?;
    let socket = relay.uac.udp("10.0.1.66:5060".parse()?)?;
    socket.connect(Relay::USER_SIDE.sip())?;
    Ok(socket)
}

/// Known peers call through a flood.
fn calls_through_a_flood(engine: &str, shed_by: &str) -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let corex = proxy(&relay, &work, engine, "")?;
    let socket = stranger(&relay)?;
    let uas =
        SippOptions::uas(Relay::UAS.sip())
            .resending()
            .start(&relay.uas, work.path(), "uas")?;
    let call = |calls, name| {
        SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), calls, RATE)
            .resending()
            .start(&relay.uac, work.path(), name)?
            .finish(LIMIT)
    };
    call(1, "introduction")?.check(1)?;
    ensure!(corex.books()?.get("user.peers_learned") >= 2);
    let flood = Flood::new(&socket);
    let (report, meanwhile) = flood.during(&corex, || call(CALLS, "uac"))?;
    meanwhile.check()?;
    drop(uas);
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(
        report.successful * 100 >= CALLS * 99,
        "{engine}: {report}; {:#}",
        books.0
    );
    ensure!(books.get(shed_by) > 0, "{engine}: {:#}", books.0);
    Ok(())
}

#[test]
fn known_peers_call_through_a_flood_by_af_xdp() -> Result<()> {
    calls_through_a_flood("xdp", "kernel.dropped.overload")
}

#[test]
fn known_peers_call_through_a_flood_by_kernel_sockets() -> Result<()> {
    calls_through_a_flood("socket", "user.dropped.overload")
}

#[test]
fn a_reload_has_the_program_shed() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let socket = work.path().join("ctl");
    let ctl = format!(
        "loadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"unix:{}\")\n",
        socket.display()
    );
    let off = format!("{ctl}modparam(\"corex\", \"overload\", 0)\n");
    let corex = proxy(&relay, &work, "xdp", &off)?;
    work.write("corex.cfg", proxy_config(&ctl))?;
    let reloaded = Command::new(corex::binary()?)
        .args(["rpc", "-s"])
        .arg(&socket)
        .arg("corex.reload")
        .status()?;
    ensure!(reloaded.success());
    let stranger = stranger(&relay)?;
    Flood::new(&stranger).during(&corex, || {
        wait::until("the program sheds", LIMIT, || {
            let books = corex.books()?;
            Ok((books.get("kernel.dropped.overload") > 0).then_some(()))
        })
    })?;
    corex.stop()?.check_balance()
}

#[test]
fn some_of_what_is_shed_is_told_to_come_back_later() -> Result<()> {
    for engine in ["xdp", "socket"] {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let more = "modparam(\"corex\", \"overload_reply\", \"503\")\n\
                    modparam(\"corex\", \"retry_after\", 7)\n";
        let corex = proxy(&relay, &work, engine, more)?;
        let socket = stranger(&relay)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (reply, _) = Flood::new(&socket).during(&corex, || {
            wait::until("a 503", LIMIT, || {
                let mut buffer = [0; 2048];
                let reply = match socket.recv(&mut buffer) {
                    Ok(len) => String::from_utf8_lossy(&buffer[..len]).into_owned(),
                    Err(_) => return Ok(None),
                };
                Ok(reply.starts_with("SIP/2.0 503 ").then_some(reply))
            })
        })?;
        ensure!(reply.contains("\r\nRetry-After: 7\r\n"), "{reply}");
        ensure!(reply.contains("To: <sip:bob@example.com>;tag="), "{reply}");
        let books = corex.stop()?;
        books.check_balance()?;
        let (answered, replied) = (
            books.get("user.overload_answered"),
            books.get("user.replied"),
        );
        ensure!(answered > 0 && answered == replied, "{:#}", books.0);
        ensure!(books.get("user.dropped.overload") > 0, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn a_server_behind_an_inline_corex_is_called_through_a_flood() -> Result<()> {
    let (work, net) = (WorkDir::new()?, Inline::new()?);
    let text = config::inline(&[Inline::SERVER.sip()], &parameters(""), SLOW);
    let corex = CorexOptions::new(&work.write("corex.cfg", text)?)
        .interface("eth0")
        .start(&net.server, work.path(), "corex")?;
    let uas = SippOptions::uas(Inline::SERVER.sip()).resending().start(
        &net.server,
        work.path(),
        "uas",
    )?;
    let call = |calls, name| {
        SippOptions::uac(Inline::DEVICE.sip(), Inline::SERVER.sip(), calls, RATE)
            .resending()
            .start(&net.device, work.path(), name)?
            .finish(LIMIT)
    };
    let report = call(1, "introduction")?;
    ensure!(report.successful == 1, "{report}");
    net.device.address("eth0", "10.0.1.66/24")?;
    let socket = net.device.udp("10.0.1.66:5060".parse()?)?;
    socket.connect(Inline::SERVER.sip())?;
    let (report, meanwhile) = Flood::new(&socket).during(&corex, || call(CALLS, "uac"))?;
    meanwhile.check()?;
    drop(uas);
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(
        report.successful * 100 >= CALLS * 99,
        "{report}; {:#}",
        books.0
    );
    ensure!(books.get("kernel.dropped.overload") > 0, "{:#}", books.0);
    Ok(())
}
