//! Stopping, and making way, while more comes than can be handled.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use corex_lab::{
    Mounts, WorkDir,
    config::{self, Family},
    corex::CorexOptions,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(20);
/// A worker goes on for a second at most; the rest is for what a busy machine makes of it.
const STOPS_WITHIN: Duration = Duration::from_secs(4);

fn options(work: &WorkDir, engine: &str, parameters: &str, hook: &str) -> Result<CorexOptions> {
    let text = config::relay(Family::V4, parameters, hook);
    let options = CorexOptions::new(&work.write("corex.cfg", text)?)
        .argument("--workers")
        .argument("1");
    Ok(options.interface("user").interface("core").engine(engine))
}

fn message(n: usize) -> Vec<u8> {
    format!(
        "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK{n}\r\n\
         To: <sip:bob@example.com>\r\nFrom: <sip:alice@example.com>;tag={n}\r\nCall-ID: {n}@x\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Sends as fast as it can for as long as `what` takes.
fn under_a_flood<T>(relay: &Relay, what: impl FnOnce() -> Result<T>) -> Result<T> {
    let socket = relay.uac.udp("10.0.1.2:0".parse()?)?;
    socket.connect(Relay::USER_SIDE.sip())?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| flood(&socket, &is_over));
        let outcome = what();
        is_over.store(true, Ordering::Relaxed);
        outcome
    })
}

fn flood(socket: &UdpSocket, is_over: &AtomicBool) {
    let message = message(0);
    while !is_over.load(Ordering::Relaxed) {
        // Nobody may listen any more, or not yet.
        let _ = socket.send(&message);
    }
}

#[test]
fn a_flood_keeps_no_corex_from_stopping() -> Result<()> {
    for engine in ["socket", "xdp"] {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let corex =
            options(&work, engine, "", config::COPY)?.start(&relay.corex, work.path(), engine)?;
        let (books, took) = under_a_flood(&relay, || {
            thread::sleep(Duration::from_secs(2));
            let begun = Instant::now();
            let books = corex.stop()?;
            Ok((books, begun.elapsed()))
        })?;
        ensure!(took < STOPS_WITHIN, "{engine}: {took:?}");
        books.check_balance()?;
        ensure!(books.get("user.sent") > 0, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn what_can_not_be_handled_in_time_is_counted() -> Result<()> {
    const SENT: u64 = 100;
    for engine in ["socket", "xdp"] {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let script = work.write(
            "slow.pl",
            "sub slow { select(undef, undef, undef, 0.1); 1 }\n1;\n",
        )?;
        let parameters = format!(
            "loadmodule \"app_perl.so\"\nmodparam(\"app_perl\", \"filename\", \"{}\")\n",
            script.display()
        );
        let hook = format!("if (is_incoming()) perl_exec(\"slow\"); {}", config::COPY);
        let corex =
            options(&work, engine, &parameters, &hook)?.start(&relay.corex, work.path(), engine)?;
        let socket = relay.uac.udp("10.0.1.2:0".parse()?)?;
        for n in 0..SENT {
            socket.send_to(&message(n as usize), Relay::USER_SIDE.sip())?;
        }
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        let books = corex.stop()?;
        let took = begun.elapsed();
        ensure!(took < STOPS_WITHIN, "{engine}: {took:?}");
        books.check_balance()?;
        let (sent, dropped) = (books.get("user.sent"), books.get("user.dropped.stopping"));
        ensure!(sent >= 5, "{engine}: {:#}", books.0);
        ensure!(
            dropped > 0 && sent + dropped == SENT,
            "{engine}: {:#}",
            books.0
        );
    }
    Ok(())
}

#[test]
fn a_corex_under_a_flood_makes_way() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let mounts = Mounts::new(&relay.corex, work.path())?;
    let options = options(&work, "xdp", "", config::COPY)?;
    let first = options.start_in(&mounts, work.path(), "first")?;
    let second = under_a_flood(&relay, || {
        thread::sleep(Duration::from_secs(1));
        options
            .clone()
            .argument("--take-over")
            .start_in(&mounts, work.path(), "second")
    })?;
    first.succeeded()?.check_balance()?;
    // What is left of the flood may be in its way.
    let (uac, uas) = (
        relay.uac.udp("10.0.1.2:0".parse()?)?,
        relay.uas.udp(Relay::UAS.sip())?,
    );
    uas.set_read_timeout(Some(Duration::from_millis(200)))?;
    wait::until("a message goes through the second", LIMIT, || {
        let mine = message(7);
        uac.send_to(&mine, Relay::USER_SIDE.sip())?;
        let mut buffer = [0; 2048];
        while let Ok(len) = uas.recv(&mut buffer) {
            if buffer.get(..len) == Some(&mine[..]) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })?;
    second.stop()?.check_balance()
}
