//! TCP connections go on with the corex that takes over.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use corex_lab::{
    Corex, Mounts, ObservedBooks, WorkDir, corex::CorexOptions, process::output_of,
    topology::Relay, wait,
};

use crate::takeover::{HELLO, hear, say};

const LIMIT: Duration = Duration::from_secs(30);
const ENGINES: [&str; 2] = ["socket", "xdp"];

struct Lab {
    work: WorkDir,
    relay: Relay,
    mounts: Mounts,
    engine: &'static str,
}

impl Lab {
    fn new(engine: &'static str) -> Result<Self> {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let mounts = Mounts::new(&relay.corex, work.path())?;
        Ok(Self {
            work,
            relay,
            mounts,
            engine,
        })
    }

    /// Answers OPTIONS itself, and forwards everything else to the other side.
    fn options(&self, parameters: &str, next: &str) -> Result<CorexOptions> {
        let text = format!(
            "listen=udp:10.0.1.1\nlisten=tcp:10.0.1.1\nlisten=udp:10.0.2.1\nmhomed=1\n\
             loadmodule \"corex.so\"\nloadmodule \"sl.so\"\n{parameters}\n\
             request_route {{\n\
             if ($rm == \"OPTIONS\") {{ sl_send_reply(\"200\", \"OK\"); exit; }}\n\
             $du = \"{next}\"; forward();\n}}\n"
        );
        let options = CorexOptions::new(&self.work.write("corex.cfg", text)?)
            .argument("--take-over")
            .argument("--workers")
            .argument("1")
            .engine(self.engine);
        Ok(match self.engine {
            "xdp" => options.interface("user").interface("core"),
            _ => options,
        })
    }

    fn start(&self, name: &str) -> Result<Corex> {
        self.start_with(name, "")
    }

    fn start_with(&self, name: &str, parameters: &str) -> Result<Corex> {
        let options = self.options(parameters, "sip:10.0.2.2")?;
        options.start_in(&self.mounts, self.work.path(), name)
    }

    fn connect(&self) -> Result<Peer> {
        let stream = self.relay.uac.enter(|| {
            let corex = Relay::USER_SIDE.sip();
            Ok(TcpStream::connect_timeout(&corex, LIMIT)?)
        })?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Peer {
            stream,
            unread: Vec::new(),
        })
    }

    /// Says words as a successor does, and is gone.
    fn give_up_after(&self, words: &[&str]) -> Result<()> {
        let network = ["stat", "-L", "-c", "%i", "/proc/self/ns/net"];
        let network = self.mounts.run(&network)?;
        let path = format!("/run/corex/corex-{}.take-over", network.trim());
        let mut socket = UnixStream::connect(&path).with_context(|| path)?;
        socket.set_read_timeout(Some(LIMIT))?;
        for word in words {
            say(&mut socket, word)?;
            hear(&mut socket)?;
        }
        Ok(())
    }
}

/// A client with one connection.
struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Peer {
    fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// The next message; none of these has a body.
    fn read(&mut self) -> Result<String> {
        loop {
            let end = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.unread.split_off(end + 4);
                return Ok(String::from_utf8(std::mem::replace(
                    &mut self.unread,
                    rest,
                ))?);
            }
            let mut buffer = [0; 4096];
            let len = self.stream.read(&mut buffer).context("read a message")?;
            ensure!(len > 0, "corex has closed the connection");
            self.unread.extend(&buffer[..len]);
        }
    }

    /// Reads the reply to that request.
    fn answered(&mut self, number: usize) -> Result<()> {
        let reply = self.read()?;
        ensure!(
            reply.starts_with("SIP/2.0 200")
                && reply.contains(&format!("\r\nCall-ID: {number}\r\n")),
            "to {number}: {reply}"
        );
        Ok(())
    }

    fn nothing_more_comes(&mut self) -> Result<()> {
        ensure!(self.unread.is_empty(), "{:?}", self.unread);
        self.stream.set_nonblocking(true)?;
        let outcome = self.stream.read(&mut [0; 16]).map_err(|e| e.kind());
        ensure!(outcome == Err(ErrorKind::WouldBlock), "{outcome:?}");
        Ok(self.stream.set_nonblocking(false)?)
    }

    fn is_closed(&mut self) -> Result<bool> {
        self.stream.set_nonblocking(true)?;
        let outcome = self.stream.read(&mut [0; 16]).map_err(|e| e.kind());
        self.stream.set_nonblocking(false)?;
        Ok(outcome != Err(ErrorKind::WouldBlock))
    }
}

fn request(method: &str, number: usize) -> String {
    format!(
        "{method} sip:bob@example.com SIP/2.0\r\n\
         Via: SIP/2.0/TCP 10.0.1.2:5060;rport;branch=z9hG4bK{number}\r\nMax-Forwards: 10\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: {number}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn check(old: &ObservedBooks, new: &ObservedBooks, connections: u64) -> Result<()> {
    old.check_balance()?;
    let counts = [
        old.get("streams.connections_handed_over"),
        new.get("streams.connections_taken_over"),
    ];
    ensure!(
        counts == [connections; 2],
        "{counts:?}: {:#} {:#}",
        old.0,
        new.0
    );
    Ok(())
}

#[test]
fn half_a_message_and_the_reply_to_another_one_come_after_the_hand_over() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new(engine)?;
        let uas = lab.relay.uas.udp(Relay::UAS.sip())?;
        uas.set_read_timeout(Some(LIMIT))?;
        let mut last = lab.start("first")?;
        let mut peer = lab.connect()?;
        let mut silent = lab.connect()?;
        for (number, name) in ["second", "third"].into_iter().enumerate() {
            peer.write(&request("INVITE", number))?;
            let mut buffer = [0; 4096];
            let (len, corex) = uas.recv_from(&mut buffer).context("the request")?;
            let forwarded = String::from_utf8(buffer[..len].to_vec())?;
            let text = request("OPTIONS", 1000 + number);
            let (half, rest) = text.split_at(120);
            peer.write(half)?;

            let next = lab.start(name)?;
            let old = last.succeeded()?;
            check(&old, &next.books()?, 2)?;
            last = next;

            peer.write(rest)?;
            peer.answered(1000 + number)?;
            let (_, headers) = forwarded.split_once("\r\n").context("a line")?;
            let reply = format!("SIP/2.0 200 OK\r\n{headers}");
            uas.send_to(reply.as_bytes(), corex)?;
            peer.answered(number)?;
        }
        silent.write(&request("OPTIONS", 7))?;
        silent.answered(7)?;
        peer.nothing_more_comes()?;
        let books = last.stop()?;
        books.check_balance()?;
        ensure!(books.get("streams.accepted") == 0, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn three_hundred_connections_go_on() -> Result<()> {
    const CONNECTIONS: usize = 300;
    let lab = Lab::new("xdp")?;
    let first = lab.start("first")?;
    let mut peers = Vec::new();
    for number in 0..CONNECTIONS {
        let mut peer = lab.connect()?;
        let text = request("OPTIONS", number);
        peer.write(&text[..number % text.len()])?;
        peers.push(peer);
    }
    wait::until("all are accepted", LIMIT, || {
        let accepted = first.books()?.get("streams.accepted");
        Ok((accepted == CONNECTIONS as u64).then_some(()))
    })?;
    let second = lab.start("second")?;
    check(&first.succeeded()?, &second.books()?, CONNECTIONS as u64)?;
    for (number, peer) in peers.iter_mut().enumerate() {
        let text = request("OPTIONS", number);
        peer.write(&text[number % text.len()..])?;
    }
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.answered(number)?;
        peer.nothing_more_comes()?;
    }
    second.stop()?.check_balance()
}

/// Requests go back and forth on some connections while `what` happens; each is answered, once and
/// in order.
fn busy_while<T>(lab: &Lab, what: impl FnOnce(&AtomicUsize) -> Result<T>) -> Result<T> {
    const CONNECTIONS: usize = 8;
    /// Requests of one connection that wait for replies.
    const AHEAD: usize = 5;
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let peers = (0..CONNECTIONS).map(|_| lab.connect());
    let peers: Vec<Peer> = peers.collect::<Result<_>>()?;
    thread::scope(|scope| {
        let (is_over, answered) = (&is_over, &answered);
        let talk = |mut peer: Peer| -> Result<()> {
            let (mut sent, mut read) = (0, 0);
            loop {
                while sent < read + AHEAD && !is_over.load(Ordering::Relaxed) {
                    // In pieces, so that there is always something begun.
                    let text = request("OPTIONS", sent);
                    let (half, rest) = text.split_at(sent % text.len());
                    peer.write(half)?;
                    peer.write(rest)?;
                    sent += 1;
                }
                if read == sent {
                    return peer.nothing_more_comes();
                }
                peer.answered(read)?;
                read += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        };
        let talking: Vec<_> = peers
            .into_iter()
            .map(|peer| scope.spawn(move || talk(peer)))
            .collect();
        let outcome = what(answered);
        is_over.store(true, Ordering::Relaxed);
        for peer in talking {
            match peer.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("a client panicked"),
            }
        }
        outcome
    })
}

fn more(answered: &AtomicUsize) -> Result<()> {
    let before = answered.load(Ordering::Relaxed);
    wait::until("requests are answered", LIMIT, || {
        let now = answered.load(Ordering::Relaxed);
        Ok((now >= before + 500).then_some(()))
    })
}

#[test]
fn no_byte_is_lost_or_comes_twice_whatever_becomes_of_successors() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new(engine)?;
        let mut last = lab.start("first")?;
        let last = busy_while(&lab, |answered| {
            more(answered)?;
            for words in [
                &[HELLO][..],
                &[HELLO, "\"Freeze\""],
                &[HELLO, "\"Freeze\"", "\"Freeze\""],
                &[HELLO, "\"Freeze\""],
            ] {
                lab.give_up_after(words)?;
                more(answered)?;
            }
            for name in ["second", "third"] {
                // The kernel checks the programs of the successor for a while: it is killed before
                // it is ready.
                if engine == "xdp" {
                    let command = lab.mounts.command(corex_lab::corex::binary()?);
                    let killed = lab.options("", "sip:10.0.2.2")?;
                    let killed = killed.spawn(command, lab.work.path(), "killed")?;
                    let process = &killed.process;
                    process.wait_for_output("taking over from process", LIMIT)?;
                    killed.kill()?;
                    more(answered)?;
                    ensure!(last.process.status()?.is_none(), "{}", last.log());
                }
                let next = lab.start(name)?;
                check(&last.succeeded()?, &next.books()?, 8)?;
                last = next;
                more(answered)?;
            }
            Ok(last)
        })?;
        last.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn those_that_the_successor_has_no_room_for_are_closed_and_counted() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new(engine)?;
        let first = lab.start("first")?;
        let mut peers = Vec::new();
        for number in 0..6 {
            let mut peer = lab.connect()?;
            peer.write(&request("OPTIONS", number))?;
            peer.answered(number)?;
            peers.push(peer);
        }
        let few = "modparam(\"corex\", \"tcp_max_per_peer\", 4)";
        let second = lab.start_with("second", few)?;
        first.succeeded()?.check_balance()?;
        let closed = wait::until("two are closed", LIMIT, || {
            let mut closed = 0;
            for peer in &mut peers {
                closed += usize::from(peer.is_closed()?);
            }
            Ok((closed == 2).then_some(closed))
        })?;
        let books = second.books()?;
        let counts = [
            books.get("streams.closed_takeover"),
            books.get("streams.connections_taken_over"),
        ];
        ensure!(counts == [closed as u64, 4], "{:#}", books.0);
        ensure!(
            second.log().contains("of the predecessor are closed"),
            "{}",
            second.log()
        );
        for peer in &mut peers {
            if !peer.is_closed()? {
                peer.write(&request("OPTIONS", 9))?;
                peer.answered(9)?;
            }
        }
        second.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn tls_is_closed_and_counted_and_tcp_beside_it_goes_on() -> Result<()> {
    const TLS: &str = "10.0.2.2:5061";
    for engine in ENGINES {
        let lab = Lab::new(engine)?;
        let (key, certificate) = (lab.work.join("key.pem"), lab.work.join("cert.pem"));
        output_of(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=x"])
                .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .args(["-addext", "subjectAltName=IP:10.0.2.2", "-keyout"])
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        )?;
        // corex isn't root any more when streams start.
        std::fs::set_permissions(&certificate, std::fs::Permissions::from_mode(0o600))?;
        let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
        // It writes what it reads from its input, which must have no end.
        let input = lab.work.join("input").display().to_string();
        let script = format!(
            "mkfifo {input} && exec openssl s_server -quiet -accept {TLS} -key {key} \
             -cert {certificate} <>{input}"
        );
        let log = lab.work.join("server.log");
        let server = lab.relay.uas.spawn("sh", &["-c", &script], &log)?;
        lab.relay.uas.wait_for_tcp_port(5061, &server, LIMIT)?;
        let options = lab.options(
            &format!("modparam(\"corex\", \"tls_ca_list\", \"{certificate}\")"),
            &format!("sip:{TLS};transport=tls"),
        )?;
        let first = options.start_in(&lab.mounts, lab.work.path(), "first")?;
        let mut peer = lab.connect()?;
        peer.write(&request("INVITE", 1))?;
        server.wait_for_output("Call-ID: 1", LIMIT)?;
        let second = options.start_in(&lab.mounts, lab.work.path(), "second")?;
        let log = first.log();
        let books = first.succeeded()?;
        check(&books, &second.books()?, 1)?;
        ensure!(
            books.get("streams.closed_takeover") == 1,
            "{:#} {log}",
            books.0
        );
        peer.write(&request("OPTIONS", 2))?;
        peer.answered(2)?;
        // The next one makes a connection of its own.
        peer.write(&request("INVITE", 3))?;
        server.wait_for_output("Call-ID: 3", LIMIT)?;
        let books = second.stop()?;
        books.check_balance()?;
        ensure!(books.get("streams.connected") == 1, "{:#}", books.0);
    }
    Ok(())
}

/// A client reads nothing until another corex has taken over.
#[test]
fn what_waits_to_be_written_is_written_by_the_successor() -> Result<()> {
    /// At a time: what waits for a connection stays far below the bound of its queue.
    const SOME: usize = 100;
    let lab = Lab::new("socket")?;
    let first = lab.start("first")?;
    let mut peer = lab.connect()?;
    let mut sent = 0;
    let mut delivered = [u64::MAX; 4];
    // Until nothing more is written, though there is more each time.
    while delivered.iter().any(|count| *count != delivered[0]) || delivered[0] == u64::MAX {
        for number in sent..sent + SOME {
            peer.write(&request("OPTIONS", number))?;
        }
        sent += SOME;
        delivered.rotate_left(1);
        delivered[3] = wait::until("all requests are handled", LIMIT, || {
            let books = first.books()?;
            let is_queued = books.get("streams.queued") == sent as u64;
            Ok(is_queued.then(|| books.get("streams.delivered")))
        })?;
        ensure!(sent < 1_000_000, "the kernel takes it all");
    }
    let second = lab.start("second")?;
    let books = first.succeeded()?;
    books.check_balance()?;
    ensure!(books.get("streams.handed_over") > 0, "{:#}", books.0);
    for number in 0..sent {
        peer.answered(number)?;
    }
    peer.nothing_more_comes()?;
    second.stop()?.check_balance()
}
