//! Messages that parsers stumble over through send(), forward() and inline mode, by both engines, beside
//! the real Kamailio: what each does is docs/torture.md.

mod inline;
mod notes;
mod table;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use corex_lab::torture::{MESSAGES, Torture};
use corex_lab::{Corex, Kamailio, WorkDir, corex::CorexOptions, topology::Relay, wait};

/// How long what is to come may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing more comes when nothing has come for so long.
const SETTLE: Duration = Duration::from_millis(300);
/// Each message comes from and is sent on to a port of its own, from here on.
const FIRST_PORT: u16 = 7000;
/// Where send() and forward() are tried.
const SEND: u16 = 5060;
const FORWARD: u16 = 5061;

/// For both.
const CONFIG: &str = r#"#!KAMAILIO
listen=udp:10.0.1.1:5060
listen=udp:10.0.1.1:5061
listen=tcp:10.0.1.1:5061
children=1
debug=1
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "corex.so"
request_route {
    $du = "sip:10.0.2.2:" + $sp;
    if ($Rp == 5060) {
        send_udp("10.0.2.2:$sp");
    } else {
        force_rport();
        forward();
    }
}
"#;
/// Kamailio has no send() for replies.
const REPLIES: &str = r#"reply_route { if ($Rp == 5060) send("10.0.2.2:$sp"); }
"#;

/// What a message led to.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    /// It was sent on; its bytes.
    Sent(Vec<u8>),
    /// It was answered; code and reason.
    Answered(String),
    Nothing,
}

/// The sockets of both sides.
struct Sides {
    /// What messages come from, and what answers go to that the Via leads to.
    callers: Vec<UdpSocket>,
    main: UdpSocket,
    answerers: Vec<UdpSocket>,
}

impl Sides {
    fn new(relay: &Relay) -> Result<Sides> {
        let ports = |of: &corex_lab::Namespace, host: corex_lab::topology::LabHost| {
            (FIRST_PORT..)
                .take(MESSAGES.len() + 1)
                .map(|port| of.udp(SocketAddr::new(host.sip().ip(), port)))
                .collect::<Result<Vec<_>>>()
        };
        let sides = Sides {
            callers: ports(&relay.uac, Relay::UAC)?,
            main: relay.uac.udp(Relay::UAC.sip())?,
            answerers: ports(&relay.uas, Relay::UAS)?,
        };
        for socket in sides
            .callers
            .iter()
            .chain(&sides.answerers)
            .chain([&sides.main])
        {
            socket.set_nonblocking(true)?;
        }
        Ok(sides)
    }

    /// Sends each message from its own socket.
    fn send_all(&self, port: u16) -> Result<()> {
        let to = SocketAddr::new(Relay::USER_SIDE.sip().ip(), port);
        for (message, caller) in MESSAGES.iter().zip(&self.callers) {
            caller.send_to(&message.bytes, to)?;
        }
        Ok(())
    }

    /// A good message behind all others has been sent on: so the others have been dealt with, where
    /// one process does so in order.
    fn send_marker(&self, port: u16) -> Result<()> {
        let text = "OPTIONS sip:x@example.com SIP/2.0\r\n\
            Via: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bKmark\r\nMax-Forwards: 9\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: marker\r\nCSeq: 1 OPTIONS\r\n\
            Content-Length: 0\r\n\r\n";
        let (last, answerer) = (self.callers.last(), self.answerers.last());
        let (caller, answerer) = last.zip(answerer).context("sockets")?;
        let to = SocketAddr::new(Relay::USER_SIDE.sip().ip(), port);
        caller.send_to(text.as_bytes(), to)?;
        wait::until("the marker is sent on", PATIENCE, || Ok(receive(answerer)))?;
        Ok(())
    }

    /// What came, once there are `wanted` outcomes and no more come.
    fn outcomes(&self, wanted: usize) -> Result<Vec<Outcome>> {
        let mut all = vec![Outcome::Nothing; MESSAGES.len()];
        let mut count = 0;
        let begun = Instant::now();
        let mut last = begun;
        while (count < wanted && begun.elapsed() < PATIENCE) || last.elapsed() < SETTLE {
            std::thread::sleep(Duration::from_millis(2));
            let mut came: Vec<(usize, Outcome)> = Vec::new();
            for (at, (caller, answerer)) in self.callers.iter().zip(&self.answerers).enumerate() {
                came.extend(receive(answerer).map(|it| (at, Outcome::Sent(it))));
                came.extend(receive(caller).map(|it| (at, answered(&it))));
            }
            if let Some(reply) = receive(&self.main) {
                came.push((asked(&reply)?, answered(&reply)));
            }
            for (at, outcome) in came {
                let place = all.get_mut(at).context("a message of ours")?;
                ensure!(
                    *place == Outcome::Nothing,
                    "{} has two outcomes: {outcome:?} {place:?}",
                    MESSAGES[at].name
                );
                *place = outcome;
                count += 1;
                last = Instant::now();
            }
        }
        Ok(all)
    }
}

fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let len = socket.recv(&mut buffer).ok()?;
    buffer.truncate(len);
    Some(buffer)
}

fn answered(reply: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(reply);
    let line = text.lines().next().unwrap_or_default();
    Outcome::Answered(line.trim_start_matches("SIP/2.0 ").to_owned())
}

/// Which message is answered, by its Call-ID.
fn asked(reply: &[u8]) -> Result<usize> {
    let text = String::from_utf8_lossy(reply).into_owned();
    let call = text
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("call-id:"))
        .context("an answer without Call-ID")?;
    MESSAGES
        .iter()
        .position(|it| String::from_utf8_lossy(&it.bytes).contains(call))
        .with_context(|| format!("an answer to what wasn't asked: {text}"))
}

/// What all messages led to, by one way.
type Outcomes = Vec<Outcome>;

/// By send() and forward() of the real Kamailio.
fn of_kamailio(relay: &Relay, sides: &Sides, wanted: [usize; 2]) -> Result<[Outcomes; 2]> {
    let work = WorkDir::new()?;
    let kamailio = Kamailio::start(&relay.corex, work.path(), "kamailio", CONFIG, SEND)?;
    let mut all: Vec<Outcomes> = Vec::new();
    for (port, wanted) in [SEND, FORWARD].into_iter().zip(wanted) {
        sides.send_all(port)?;
        sides.send_marker(port)?;
        all.push(sides.outcomes(wanted)?);
    }
    kamailio.stop();
    all.try_into().ok().context("two")
}

/// The same of corex, by an engine; and why nothing came of what nothing came of.
fn of_corex(relay: &Relay, sides: &Sides, engine: &str) -> Result<([Outcomes; 2], [String; 2])> {
    let work = WorkDir::new()?;
    let file = work.write("corex.cfg", [CONFIG, REPLIES].concat())?;
    let corex = CorexOptions::new(&file)
        .interface("user")
        .interface("core")
        .engine(engine)
        .start(&relay.corex, work.path(), "corex")?;
    let (mut all, mut reasons) = (Vec::<Outcomes>::new(), Vec::<String>::new());
    let mut before = Vec::new();
    for (at, port) in [SEND, FORWARD].into_iter().enumerate() {
        sides.send_all(port)?;
        let (wanted, dropped) = decided(&corex, (at + 1) * MESSAGES.len())?;
        let earlier: usize = all
            .iter()
            .flatten()
            .filter(|outcome| **outcome != Outcome::Nothing)
            .count();
        all.push(sides.outcomes(wanted - earlier)?);
        reasons.push(since(&before, &dropped));
        before = dropped;
    }
    corex.stop()?.check_balance()?;
    Ok((
        all.try_into().ok().context("two")?,
        reasons.try_into().ok().context("two")?,
    ))
}

/// Waits until so many messages have a verdict. How many were sent or answered, and what was dropped.
fn decided(corex: &Corex, count: usize) -> Result<(usize, Vec<(String, u64)>)> {
    wait::until("all messages have a verdict", PATIENCE, || {
        let books = corex.books()?;
        let passed = books.get("user.sent") + books.get("user.replied");
        let dropped = books.group("user.dropped");
        let all = passed + dropped.iter().map(|(_, count)| count).sum::<u64>();
        Ok((all >= count as u64).then_some((passed as usize, dropped)))
    })
}

/// Reasons and how often more than before.
fn since(before: &[(String, u64)], now: &[(String, u64)]) -> String {
    let earlier = |name: &str| before.iter().find(|it| it.0 == name).map_or(0, |it| it.1);
    let more = now
        .iter()
        .map(|(name, count)| (name, count - earlier(name)));
    let more = more.filter(|(_, count)| *count > 0);
    let texts: Vec<String> = more
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    texts.join(", ")
}

/// A forwarded message without what each makes up itself: its own Via, and Max-Forwards, which Kamailio
/// leaves to the script.
fn normal(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let mut own = 0;
    let is_own = |line: &Vec<u8>| {
        let lower = line.to_ascii_lowercase();
        lower.starts_with(b"via: sip/2.0/udp 10.0.1.1:5061;") || lower.starts_with(b"max-forwards")
    };
    lines
        .filter(|line| {
            let is_own = is_own(line) && own < 2;
            own += usize::from(is_own);
            !is_own
        })
        .collect()
}

/// All of it, in one network.
struct Seen {
    kamailio: [Outcomes; 2],
    corex: [Outcomes; 2],
    reasons: [String; 2],
    /// Whether it passed inline mode both ways as it was.
    inline: Vec<bool>,
}

fn seen(wanted: [usize; 2]) -> Result<Seen> {
    let relay = Relay::new()?;
    let sides = Sides::new(&relay)?;
    let kamailio = of_kamailio(&relay, &sides, wanted)?;
    let (corex, reasons) = of_corex(&relay, &sides, "xdp")?;
    let (by_socket, reasons_by_socket) = of_corex(&relay, &sides, "socket")?;
    for (message, at) in MESSAGES.iter().zip(0..) {
        let [send, forward] = [&corex[0], &corex[1]].map(|all| &all[at]);
        let [socket_send, socket_forward] = [&by_socket[0], &by_socket[1]].map(|all| &all[at]);
        ensure!(send == socket_send, "send() of {}", message.name);
        match (forward, socket_forward) {
            (Outcome::Sent(one), Outcome::Sent(other)) => {
                ensure!(
                    normal(one) == normal(other),
                    "forward() of {}",
                    message.name
                );
            }
            (one, other) => ensure!(one == other, "{}: {one:?} {other:?}", message.name),
        }
        if let Outcome::Sent(bytes) = send {
            ensure!(
                *bytes == message.bytes,
                "send() of {} changes it",
                message.name
            );
        }
        if let (Outcome::Sent(ours), Outcome::Sent(theirs)) = (forward, &kamailio[1][at]) {
            ensure!(
                normal(ours) == normal(theirs),
                "{}:\ncorex    {}\nKamailio {}",
                message.name,
                ours.escape_ascii(),
                theirs.escape_ascii()
            );
        }
    }
    ensure!(
        reasons == reasons_by_socket,
        "{reasons:?} {reasons_by_socket:?}"
    );
    Ok(Seen {
        kamailio,
        corex,
        reasons,
        inline: inline::unchanged("auto")?,
    })
}

#[test]
fn what_becomes_of_torture_is_what_the_document_says() -> Result<()> {
    table::compare(seen)
}

/// Which of the messages this is.
fn index_of(name: &str) -> Result<usize> {
    let found = MESSAGES.iter().position(|it: &Torture| it.name == name);
    found.with_context(|| format!("no message {name}"))
}

fn connect(relay: &Relay) -> Result<TcpStream> {
    let to = SocketAddr::new(Relay::USER_SIDE.sip().ip(), FORWARD);
    let stream = relay.uac.enter(|| Ok(TcpStream::connect(to)?))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

#[test]
fn what_is_broken_on_a_stream_is_answered_there_and_the_stream_goes_on() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let file = work.write("corex.cfg", CONFIG)?;
    let corex = CorexOptions::new(&file)
        .interface("user")
        .interface("core")
        .engine("xdp")
        .start(&relay.corex, work.path(), "corex")?;
    let mut stream = connect(&relay)?;
    for (name, answer) in [
        ("14767-to-bad", "SIP/2.0 400 Bad To\r\n"),
        ("zeromf", "SIP/2.0 483 Too Many Hops\r\n"),
        ("bext01", "SIP/2.0 420 Bad Extension\r\n"),
        ("badvers", "SIP/2.0 505 Version Not Supported\r\n"),
        ("via-comment", "SIP/2.0 400 Bad Via\r\n"),
    ] {
        stream.write_all(&MESSAGES[index_of(name)?].bytes)?;
        let mut came = Vec::new();
        while !came.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).with_context(|| corex.log())?;
            came.extend(byte);
        }
        ensure!(
            came.starts_with(answer.as_bytes()),
            "{}",
            came.escape_ascii()
        );
    }
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.strict_answered") == 5, "{:#}", books.0);
    ensure!(books.get("user.replied") == 5, "{:#}", books.0);
    Ok(())
}

/// What leads to two ideas of where a message ends costs the connection, and what follows goes nowhere.
#[test]
fn http_without_a_length_closes_the_connection_and_takes_what_follows_along() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let file = work.write("corex.cfg", CONFIG)?;
    let corex = CorexOptions::new(&file)
        .interface("user")
        .interface("core")
        .engine("socket")
        .start(&relay.corex, work.path(), "corex")?;
    let message = &MESSAGES[index_of("28361-two")?].bytes;
    let heads = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ];
    for head in heads {
        let mut stream = connect(&relay)?;
        stream.write_all(&[head.as_bytes(), message].concat())?;
        let end = stream.read(&mut [0; 16]);
        let is_closed = matches!(end, Ok(0))
            || end.is_err_and(|it| it.kind() == std::io::ErrorKind::ConnectionReset);
        ensure!(is_closed, "{head}");
    }
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.stream_in") == 0, "{:#}", books.0);
    ensure!(
        books.get("streams.closed_framing") == heads.len() as u64,
        "{:#}",
        books.0
    );
    Ok(())
}

/// Somebody sends back what he gets: the second time it comes from the same place with the same, and a
/// Via of ours that says so (RFC 3261 §16.3 item 4).
#[test]
fn what_goes_in_circles_is_answered_482() -> Result<()> {
    for engine in ["xdp", "socket"] {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let file = work.write("corex.cfg", CONFIG)?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .interface("core")
            .engine(engine)
            .start(&relay.corex, work.path(), "corex")?;
        let to = SocketAddr::new(Relay::USER_SIDE.sip().ip(), FORWARD);
        let caller = relay.uac.udp(Relay::UAC.sip())?;
        let mirror = relay.uas.udp(Relay::UAS.sip())?;
        mirror.set_read_timeout(Some(PATIENCE))?;
        caller.send_to(&MESSAGES[index_of("port-unambiguous")?].bytes, to)?;
        let mut buffer = [0; 4096];
        let mut turns = 0;
        let end = loop {
            let len = mirror.recv(&mut buffer).with_context(|| corex.log())?;
            let message = buffer.get(..len).unwrap_or_default();
            if message.starts_with(b"SIP/2.0 ") {
                break message.to_vec();
            }
            turns += 1;
            ensure!(turns < 5, "it goes round and round");
            mirror.send_to(message, to)?;
        };
        ensure!(
            end.starts_with(b"SIP/2.0 482 Loop Detected\r\n"),
            "{}",
            end.escape_ascii()
        );
        // Once from the caller, once from the mirror, and no more.
        ensure!(turns == 2, "{turns}");
        let books = corex.stop()?;
        books.check_balance()?;
        ensure!(books.get("user.strict_answered") == 1, "{:#}", books.0);
    }
    Ok(())
}
