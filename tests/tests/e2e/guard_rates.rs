//! Rates and signatures of the guard, by XDP and by kernel sockets, against a real scanner and floods.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, ObservedBooks, WorkDir,
    corex::CorexOptions,
    topology::{PORT, Relay},
    wait,
};

/// How long what is to come may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    corex: Corex,
    relay: Relay,
    work: WorkDir,
}

/// Answers OPTIONS and REGISTER with 404, so that each message that arrives has an answer.
fn config(parameters: &str) -> String {
    format!(
        "listen=udp:0.0.0.0:{PORT}\nloadmodule \"corex.so\"\nloadmodule \"sl.so\"\n\
         {parameters}\n\
         request_route {{ sl_send_reply(\"404\", \"Not here\"); }}\n"
    )
}

fn parameter(name: &str, value: &str) -> String {
    format!("modparam(\"corex\", \"{name}\", \"{value}\")\n")
}

impl Bench {
    fn new(engine: &str, parameters: &str) -> Result<Self> {
        let work = WorkDir::new()?;
        let relay = Relay::new()?;
        let config = work.write("corex.cfg", config(parameters))?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .engine(engine)
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Self { corex, relay, work })
    }

    /// A caller at an address of its own, of the network between caller and corex.
    fn caller(&self, last: u8) -> Result<UdpSocket> {
        let [a, b, c, _] = Relay::UAC.v4.octets();
        let ip = Ipv4Addr::new(a, b, c, last);
        self.relay.uac.address("eth0", &format!("{ip}/24"))?;
        let socket = self.relay.uac.udp(SocketAddr::new(ip.into(), 0))?;
        socket.connect(Relay::USER_SIDE.sip())?;
        Ok(socket)
    }

    /// What has been dropped for a reason, by the program and by workers.
    fn dropped(&self, reason: &str) -> Result<u64> {
        Ok(dropped(&self.corex.books()?, reason))
    }
}

fn dropped(books: &ObservedBooks, reason: &str) -> u64 {
    let of = |side| books.get(&format!("{side}.dropped.{reason}"));
    of("kernel") + of("user")
}

fn message(socket: &UdpSocket, method: &str, number: u32) -> Result<Vec<u8>> {
    let from = socket.local_addr()?;
    let text = format!(
        "{method} sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{number}\r\n\
         From: <sip:a@example.org>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: c{number}@{from}\r\n\
         CSeq: {number} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    Ok(text.into_bytes())
}

/// The status of a reply; `None` if there is none in a short time.
fn status(socket: &UdpSocket) -> Result<Option<String>> {
    let mut buffer = [0; 1500];
    match socket.recv(&mut buffer) {
        Ok(len) => {
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            Ok(text.split(' ').nth(1).map(str::to_owned))
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends a message and waits for its answer.
fn ask(socket: &UdpSocket, method: &str, number: u32) -> Result<String> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&message(socket, method, number)?)?;
    status(socket)?.context("no answer")
}

#[test]
fn a_flood_of_one_source_ends_while_all_messages_of_another_one_are_answered() -> Result<()> {
    // An hour's rate: what the flood gets is the burst, however long the test takes.
    const BURST: u64 = 20;
    for engine in ["xdp", "socket"] {
        let rate = parameter("rate", &format!("src: {BURST}/h; listener: 100000/s"));
        let bench = Bench::new(engine, &rate)?;
        let (flood, customer) = (bench.caller(101)?, bench.caller(102)?);
        for number in 0..15 {
            for n in 0..20 {
                flood.send(&message(&flood, "OPTIONS", 20 * number + n)?)?;
            }
            let answer = ask(&customer, "REGISTER", number)?;
            ensure!(answer == "404", "{engine}: {answer}");
        }
        // All are judged once what hasn't been dropped has been answered.
        wait::until("the flood is dropped", PATIENCE, || {
            Ok((bench.dropped("guard_rate")? == 300 - BURST).then_some(()))
        })
        .with_context(|| format!("{engine}: {:?}", bench.dropped("guard_rate")))?;
        flood.set_read_timeout(Some(PATIENCE))?;
        for _ in 0..BURST {
            ensure!(status(&flood)?.as_deref() == Some("404"), "{engine}");
        }
        let books = bench.corex.stop()?;
        books.check_balance()?;
        let in_kernel = books.get("kernel.dropped.guard_rate");
        ensure!(engine != "xdp" || in_kernel == 300 - BURST, "{in_kernel}");
    }
    Ok(())
}

#[test]
fn what_is_above_a_rate_is_answered_by_the_route_for_it() -> Result<()> {
    let route = "event_route[guard:limit] {\n\
                 if (is_method(\"REGISTER\")) { return; }\n\
                 if (is_method(\"MESSAGE\")) { drop; }\n\
                 sl_send_reply(\"503\", \"Slow down\");\n}\n";
    for engine in ["xdp", "socket"] {
        let rate = parameter("rate", "src: 3/h route");
        let bench = Bench::new(engine, &format!("loadmodule \"textops.so\"\n{rate}{route}"))?;
        let caller = bench.caller(101)?;
        let mut answers = Vec::new();
        for number in 0..5 {
            answers.push(ask(&caller, "OPTIONS", number)?);
        }
        ensure!(
            answers == ["404", "404", "404", "503", "503"],
            "{engine}: {answers:?}"
        );
        // `return` has it go on as usual.
        let answer = ask(&caller, "REGISTER", 5)?;
        ensure!(answer == "404", "{engine}: {answer}");
        caller.send(&message(&caller, "MESSAGE", 6)?)?;
        let answer = ask(&caller, "OPTIONS", 7)?;
        ensure!(answer == "503", "{engine}: {answer}");
        let other = bench.caller(102)?;
        let answer = ask(&other, "OPTIONS", 8)?;
        ensure!(answer == "404", "{engine}: {answer}");
        let books = bench.corex.stop()?;
        books.check_balance()?;
        ensure!(books.get("user.dropped.script") == 1, "{engine}");
        ensure!(dropped(&books, "guard_rate") == 0, "{engine}");
    }
    Ok(())
}

#[test]
fn so_many_offences_block_a_source_for_a_while_and_who_is_allowed_never() -> Result<()> {
    for engine in ["xdp", "socket"] {
        let [a, b, c, _] = Relay::UAC.v4.octets();
        let parameters = parameter("rate", "src: 2/s burst 2")
            + &parameter("rate_block", "5 in 1h for 3s")
            + &parameter("allow", &Ipv4Addr::new(a, b, c, 103).to_string());
        let bench = Bench::new(engine, &parameters)?;
        let (offender, allowed) = (bench.caller(101)?, bench.caller(103)?);
        for number in 0..200 {
            offender.send(&message(&offender, "OPTIONS", number)?)?;
            let answer = ask(&allowed, "OPTIONS", number)?;
            ensure!(answer == "404", "{engine}: {answer}");
        }
        wait::until("the offender is blocked", PATIENCE, || {
            Ok((bench.dropped("guard_block")? > 0).then_some(()))
        })
        .with_context(|| format!("{engine}: {}", bench.corex.log()))?;
        // It is let in again when the time is over.
        offender.set_read_timeout(Some(Duration::from_millis(300)))?;
        let deadline = Instant::now() + PATIENCE;
        while status(&offender)?.is_some() {}
        let mut number = 1_000;
        loop {
            ensure!(Instant::now() < deadline, "{engine}: {}", bench.corex.log());
            number += 1;
            offender.send(&message(&offender, "OPTIONS", number)?)?;
            if status(&offender)?.is_some() {
                break;
            }
        }
        let books = bench.corex.stop()?;
        books.check_balance()?;
    }
    Ok(())
}

#[test]
fn a_scanner_finds_nobody_where_signatures_are_on_and_somebody_where_they_are_not() -> Result<()> {
    for engine in ["xdp", "socket"] {
        for is_on in [false, true] {
            let parameters = if is_on {
                parameter("signatures", "default") + "modparam(\"corex\", \"malformed\", 1)\n"
            } else {
                String::new()
            };
            let bench = Bench::new(engine, &parameters)?;
            let server = Relay::USER_SIDE.v4.to_string();
            let mut svmap = bench.relay.uac.command("svmap");
            svmap.args(["-p", &PORT.to_string(), &server]);
            svmap.env("HOME", bench.work.path());
            let output = svmap
                .output()
                .context("svmap; see cargo xtask setup --peers")?;
            let found = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            ensure!(
                found.contains(&format!("{server}:{PORT}")) != is_on,
                "{engine}: {found}"
            );
            let customer = bench.caller(102)?;
            if is_on {
                customer.send(b"junk that is no SIP at all, and longer than a probe")?;
            }
            let answer = ask(&customer, "OPTIONS", 1)?;
            ensure!(answer == "404", "{engine}: {answer}");
            let books = bench.corex.stop()?;
            books.check_balance()?;
            let dropped = dropped(&books, "guard_signature");
            ensure!((dropped >= 2) == is_on, "{engine}: {dropped}");
        }
    }
    Ok(())
}

/// How many of so many requests are answered, sent one by one until one isn't.
fn answered(socket: &UdpSocket, first: u32, most: u32) -> Result<u32> {
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    for number in first..first + most {
        socket.send(&message(socket, "OPTIONS", number)?)?;
        if socket.recv(&mut [0; 2048]).is_err() {
            return Ok(number - first);
        }
    }
    Ok(most)
}

#[test]
fn a_take_over_gives_nobody_another_burst() -> Result<()> {
    for engine in ["socket", "xdp"] {
        let bench = Bench::new(engine, &parameter("rate", "src: 1/h burst 5"))?;
        let (spent, saved) = (bench.caller(81)?, bench.caller(82)?);
        ensure!(answered(&spent, 1, 9)? == 5, "{engine}");
        ensure!(answered(&saved, 1, 2)? == 2, "{engine}");
        let successor = CorexOptions::new(&bench.work.path().join("corex.cfg"))
            .interface("user")
            .engine(engine)
            .argument("--take-over")
            .start(&bench.relay.corex, bench.work.path(), "heir")?;
        bench.corex.succeeded()?;
        ensure!(answered(&spent, 21, 1)? == 0, "{engine}");
        ensure!(answered(&saved, 21, 9)? == 3, "{engine}");
        let books = successor.stop()?;
        books.check_balance()?;
        ensure!(dropped(&books, "guard_rate") == 2, "{engine}: {books:?}");
    }
    Ok(())
}
