//! What corex answers itself: keep-alives, STUN and OPTIONS, to real clients, by XDP and by kernel
//! sockets; and that a hundred thousand phones cost the workers nothing.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Frame, ObservedBooks, RawSocket, WorkDir,
    config::Family,
    corex::CorexOptions,
    process::output_of,
    topology::{PORT, Relay},
};

/// How long what is to come may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);
const BINDING_REQUEST: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42transaction!";

struct Bench {
    corex: Corex,
    _other_end: Corex,
    relay: Relay,
    work: WorkDir,
}

fn config(parameters: &str) -> String {
    format!(
        "listen=udp:0.0.0.0:{PORT}\nlisten=udp:[::]:{PORT}\nloadmodule \"corex.so\"\n\
         loadmodule \"sl.so\"\n{parameters}\
         request_route {{ sl_send_reply(\"404\", \"Not here\"); }}\n"
    )
}

const ALL: &str = "modparam(\"corex\", \"keepalive\", \"pong\")\nmodparam(\"corex\", \"stun\", 1)\n\
                   modparam(\"corex\", \"options_ping\", 1)\n";

impl Bench {
    fn new(engine: &str, parameters: &str) -> Result<Self> {
        let work = WorkDir::new()?;
        let relay = Relay::new()?;
        // The other end of a veth pair is woken for what XDP transmits only if it has an XDP program
        // (veth_xdp_flush()): that of another corex, which has nothing else to do.
        let idle = work.write(
            "idle.cfg",
            config("")
                .replace("0.0.0.0:5060", "127.0.0.1:5099")
                .replace("[::]:5060", "[::1]:5099"),
        )?;
        let other_end =
            CorexOptions::new(&idle)
                .interface("eth0")
                .start(&relay.uac, work.path(), "idle")?;
        let config = work.write("corex.cfg", config(parameters))?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .engine(engine)
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Self {
            corex,
            relay,
            work,
            _other_end: other_end,
        })
    }

    fn client(&self, family: Family) -> Result<UdpSocket> {
        let socket = self
            .relay
            .uac
            .udp(SocketAddr::new(family.of(Relay::UAC), 0))?;
        socket.connect(SocketAddr::new(family.of(Relay::USER_SIDE), PORT))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }
}

/// What comes back.
fn ask(socket: &UdpSocket, request: &[u8]) -> Result<Vec<u8>> {
    socket.send(request)?;
    let mut buffer = [0; 1500];
    let len = socket.recv(&mut buffer).context("no answer")?;
    Ok(buffer[..len].to_vec())
}

/// Of both sides.
fn answered(books: &ObservedBooks, counter: &str) -> (u64, u64) {
    let of = |side| books.get(&format!("{side}.{counter}"));
    (of("kernel"), of("user"))
}

#[test]
fn a_stun_client_learns_its_address_and_keep_alives_their_answer() -> Result<()> {
    // None of these is SIP, and they aren't what the guard takes for malformed all the same.
    let all = format!("{ALL}modparam(\"corex\", \"malformed\", 1)\n");
    for engine in ["xdp", "socket"] {
        let bench = Bench::new(engine, &all)?;
        for family in [Family::V4, Family::V6] {
            let server = family.of(Relay::USER_SIDE).to_string();
            let mut client = bench.relay.uac.command("turnutils_stunclient");
            client.args(["-p", &PORT.to_string(), &server]);
            let told = output_of(&mut client)?;
            let address = family.of(Relay::UAC).to_string();
            ensure!(told.contains(&address), "{engine}: {told}");

            let socket = bench.client(family)?;
            let pong = ask(&socket, b"\r\n\r\n")?;
            ensure!(pong == b"\r\n", "{engine}: {pong:?}");
            let answer = ask(&socket, BINDING_REQUEST)?;
            ensure!(answer.starts_with(b"\x01\x01"), "{engine}: {answer:?}");
            // Of an attribute that it doesn't know a worker tells, whoever answers the rest.
            let mut demanding = BINDING_REQUEST.to_vec();
            demanding[3] = 4;
            demanding.extend(b"\x7f\xff\0\0");
            let refusal = ask(&socket, &demanding)?;
            ensure!(refusal.starts_with(b"\x01\x11"), "{engine}: {refusal:?}");
        }
        let books = bench.corex.stop()?;
        books.check_balance()?;
        let (kernel, user) = answered(&books, "stun_answered");
        let pongs = answered(&books, "keepalive_answered");
        if engine == "xdp" {
            ensure!(kernel >= 4 && user >= 2, "{kernel} {user}");
            ensure!(pongs == (2, 0), "{pongs:?}");
        } else {
            ensure!(kernel == 0 && user >= 6, "{kernel} {user}");
            ensure!(pongs == (0, 2), "{pongs:?}");
        }
    }
    Ok(())
}

#[test]
fn options_that_ask_for_the_host_are_answered_and_others_meet_the_script() -> Result<()> {
    for engine in ["xdp", "socket"] {
        let bench = Bench::new(engine, ALL)?;
        let host = Family::V4.of(Relay::USER_SIDE);
        let sipsak = |uri: String| -> Result<String> {
            let mut command = bench.relay.uac.command("sipsak");
            // It sends again what isn't answered in T1, half a second otherwise: a busy machine takes that
            // long. A reply of 404 is a failure to it.
            command.args(["--timer-t1", "10000", "-v", "-v", "-s", &uri]);
            let output = command.output()?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let ping = sipsak(format!("sip:{host}:{PORT}"))?;
        ensure!(ping.contains("SIP/2.0 200"), "{engine}: {ping}");
        let other = sipsak(format!("sip:bob@{host}:{PORT}"))?;
        ensure!(other.contains("SIP/2.0 404"), "{engine}: {other}");
        let books = bench.corex.stop()?;
        books.check_balance()?;
        ensure!(books.get("user.options_answered") == 1);
    }
    Ok(())
}

#[test]
fn what_is_answered_changes_with_a_reload() -> Result<()> {
    let bench = Bench::new("xdp", "")?;
    let socket = bench.client(Family::V4)?;
    socket.send(b"\r\n\r\n")?;
    socket.send(BINDING_REQUEST)?;
    bench.work.write("corex.cfg", config(ALL))?;
    bench.corex.process.signal(libc::SIGHUP)?;
    // Each is asked again until the new configuration is in force; all that came before are probes.
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let deadline = Instant::now() + PATIENCE;
    while ask(&socket, b"\r\n\r\n").is_err() {
        ensure!(Instant::now() < deadline, "{}", bench.corex.log());
    }
    let books = bench.corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("kernel.dropped.probe") >= 2);
    ensure!(books.get("kernel.stun_answered") == 0);
    Ok(())
}

/// Phones that keep their way through a NAT open, each from an address of its own.
#[test]
fn a_hundred_thousand_phones_that_ping_cost_the_workers_nothing() -> Result<()> {
    const PHONES: u32 = 100_000;
    const BURST: u32 = 64;
    let bench = Bench::new("xdp", ALL)?;
    let raw = RawSocket::open(&bench.relay.uac, "eth0")?;
    let macs = (bench.relay.uac.mac("eth0")?, bench.relay.corex.mac("user")?);
    let to = SocketAddr::new(Family::V4.of(Relay::USER_SIDE), PORT);
    let done = |books: &ObservedBooks| {
        let counters = ["stun_answered", "keepalive_answered", "dropped.keepalive"];
        let counts = counters.map(|counter| books.get(&format!("kernel.{counter}")));
        (counts, counts.iter().sum::<u64>())
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut phone = 0;
    let mut books = bench.corex.books()?;
    // The pair's ring loses some of a burst: then others ping.
    while done(&books).1 < u64::from(PHONES) {
        ensure!(
            Instant::now() < deadline,
            "{phone} pings: {:?}",
            done(&books)
        );
        for _ in 0..PHONES / BURST / 10 {
            for _ in 0..BURST {
                let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 0)) + phone);
                let payload: &[u8] = match phone % 4 {
                    0 => b"\0\0\0\0",
                    1 => b"\r\n\r\n",
                    _ => BINDING_REQUEST,
                };
                let from = SocketAddr::new(from.into(), 5060);
                // Refused where the pair's ring is full.
                let frame = Frame::udp((macs.0, from), (macs.1, to), payload).build();
                if raw.send(&frame).is_err() {
                    thread::yield_now();
                }
                phone += 1;
            }
        }
        books = bench.corex.books()?;
    }
    let (counts, _) = done(&books);
    ensure!(counts.iter().all(|count| *count > 10_000), "{counts:?}");
    let books = bench.corex.stop()?;
    books.check_balance()?;
    for counter in ["socket_in", "xdp_in", "steered", "bytes_in"] {
        let seen = books.get(&format!("user.{counter}"));
        ensure!(seen == 0, "a worker saw {seen} ({counter})");
    }
    println!("{phone} pings; answered, answered, dropped: {counts:?}; no worker saw any");
    Ok(())
}
