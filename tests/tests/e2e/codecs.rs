//! Chains of codecs that run without a script: what is on the wire, and what comes out at its end.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use corex_lab::capture::Captured;
use corex_lab::corex::CorexOptions;
use corex_lab::sipp::SippOptions;
use corex_lab::topology::{Chain, Inline, Relay};
use corex_lab::{Capture, Corex, WorkDir, wait};

const PATIENCE: Duration = Duration::from_secs(20);
const CODECS: &str =
    "zstd(sip) | aead(chacha20-poly1305, key=edge) | http(post, host=cdn.example.org)";

/// Key files that only their owner can read, and the lines that name them; the first one encodes.
fn keys(work: &WorkDir, ids: &[u8]) -> Result<String> {
    let mut lines = String::new();
    for id in ids {
        use std::os::unix::fs::PermissionsExt as _;
        let path = work.write(&format!("{id}.key"), [*id; 32])?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        lines += &format!(
            "modparam(\"codec\", \"key\", \"edge={id}:file:{}\")\n",
            path.display()
        );
    }
    Ok(lines)
}

/// Two corexes, each with a user, and a wire between them on which nobody speaks SIP.
struct Stage {
    net: Chain,
    work: WorkDir,
    a: Corex,
    b: Corex,
    caller: UdpSocket,
    called: UdpSocket,
    sent: u32,
}

/// Of the side that sends first.
fn config_a(keys: &str) -> String {
    let [user, wire, other] =
        [Chain::A_USER, Chain::A_WIRE, Chain::B_WIRE].map(|host| host.sip().to_string());
    format!(
        r#"listen=udp:{user}
listen=udp:{wire}
mhomed=1
loadmodule "corex.so"
loadmodule "codec.so"
{keys}modparam("codec", "chain", "edge(client)={CODECS}")
modparam("corex", "codec_in", "edge;peer={peer}")
modparam("corex", "codec_out", "edge;peer={peer}/32")
request_route {{ send("{other}"); }}
reply_route {{ send("{caller}"); }}
"#,
        peer = Chain::B_WIRE.v4,
        caller = Chain::UAC.sip(),
    )
}

/// Of the other side.
fn config_b(keys: &str) -> String {
    let [user, wire, other] =
        [Chain::B_USER, Chain::B_WIRE, Chain::A_WIRE].map(|host| host.sip().to_string());
    format!(
        r#"listen=udp:{user}
listen=udp:{wire}
mhomed=1
loadmodule "corex.so"
loadmodule "codec.so"
{keys}modparam("codec", "chain", "edge={CODECS}")
modparam("corex", "codec_in", "edge;socket={wire}")
modparam("corex", "codec_out", "none;peer={called_ip}")
modparam("corex", "codec_out", "edge")
request_route {{ send("{called}"); }}
reply_route {{ send("{other}"); }}
"#,
        called_ip = Chain::UAS.v4,
        called = Chain::UAS.sip(),
    )
}

impl Stage {
    fn new(engine: &str, ids: &[u8]) -> Result<Stage> {
        let (net, work) = (Chain::new()?, WorkDir::new()?);
        let keys = keys(&work, ids)?;
        let start = |name: &str, text: String, namespace| {
            let path = work.write(&format!("{name}.cfg"), text)?;
            CorexOptions::new(&path)
                .interface("user")
                .interface("wire")
                .engine(engine)
                .start(namespace, work.path(), name)
        };
        let a = start("a", config_a(&keys), &net.a)?;
        let b = start("b", config_b(&keys), &net.b)?;
        let [caller, called] = [
            net.uac.udp(Chain::UAC.sip())?,
            net.uas.udp(Chain::UAS.sip())?,
        ];
        for socket in [&caller, &called] {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        Ok(Stage {
            net,
            work,
            a,
            b,
            caller,
            called,
            sent: 0,
        })
    }

    /// A request one way and its reply the other; both arrive as they were sent.
    fn ask(&mut self) -> Result<()> {
        self.sent += 1;
        let rest = format!(
            "Via: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK{0}\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:c@d>\r\nCall-ID: {0}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            self.sent
        );
        let request = format!("OPTIONS sip:c@10.0.4.2 SIP/2.0\r\n{rest}");
        let reply = format!("SIP/2.0 200 OK\r\n{rest}");
        let mut buffer = [0; 4096];
        for (from, to, over, message) in [
            (&self.caller, &self.called, Chain::A_USER, request),
            (&self.called, &self.caller, Chain::B_USER, reply),
        ] {
            from.send_to(message.as_bytes(), over.sip())?;
            let len = to.recv(&mut buffer).with_context(|| {
                let (a, b) = (self.a.log(), self.b.log());
                format!("{message}didn't arrive\nA: {a}\nB: {b}")
            })?;
            ensure!(buffer.get(..len) == Some(message.as_bytes()), "{message}");
        }
        Ok(())
    }

    /// Has one of them read another configuration.
    fn change(&self, name: &str, text: String) -> Result<()> {
        const DONE: &str = "the configuration was read again";
        let corex = if name == "a" { &self.a } else { &self.b };
        let before = corex.log().matches(DONE).count();
        self.work.write(&format!("{name}.cfg"), text)?;
        corex.process.signal(libc::SIGHUP)?;
        wait::until("it is read", PATIENCE, || {
            Ok((corex.log().matches(DONE).count() > before).then_some(()))
        })
        .with_context(|| corex.log())
    }

    /// Stops both, and returns what the second one counted.
    fn stop(self) -> Result<[u64; 4]> {
        let (a, b) = (self.a.stop()?, self.b.stop()?);
        for (name, books) in [("A", &a), ("B", &b)] {
            books.check_balance().context(name)?;
            for counter in ["codec_in", "codec_out"] {
                let counted = books.get(&format!("user.{counter}"));
                ensure!(counted == u64::from(self.sent), "{name}: {:#}", books.0);
            }
        }
        let counters = [
            "dropped.codec",
            "codec_replayed",
            "codec_malformed",
            "hook_in",
        ];
        Ok(counters.map(|counter| b.get(&format!("user.{counter}"))))
    }
}

/// No frame can be read as SIP.
fn check_unreadable(frames: &[Captured]) -> Result<()> {
    for seen in frames {
        let text = String::from_utf8_lossy(&seen.frame.bytes);
        ensure!(
            !text.contains("SIP/2.0") && !text.contains("Call-ID"),
            "{text}"
        );
    }
    Ok(())
}

/// The payloads that went to a host, in order, each once.
fn payloads(frames: &[Captured], to: std::net::SocketAddr) -> Vec<Vec<u8>> {
    let datagrams = frames.iter().filter_map(|seen| seen.frame.udp());
    let mut all: Vec<Vec<u8>> = datagrams
        .filter(|udp| udp.destination == to)
        .map(|udp| udp.payload)
        .collect();
    all.dedup();
    all
}

fn passes_unseen(engine: &str) -> Result<()> {
    let mut stage = Stage::new(engine, &[1])?;
    let wire = Capture::start(&stage.net.internet, "b")?;
    for _ in 0..10 {
        stage.ask()?;
    }
    let frames = wire.stop()?;
    check_unreadable(&frames)?;
    let up = payloads(&frames, Chain::B_WIRE.sip());
    let down = payloads(&frames, Chain::A_WIRE.sip());
    ensure!(
        up.len() == 10 && down.len() == 10,
        "{} {}",
        up.len(),
        down.len()
    );
    ensure!(
        up.iter()
            .all(|it| it.starts_with(b"POST / HTTP/1.1\r\nHost: cdn.example.org\r\n"))
    );
    ensure!(down.iter().all(|it| it.starts_with(b"HTTP/1.1 200 OK\r\n")));
    // Somebody on the way sends the same again, a message of the other direction, and plain SIP.
    let stranger = stage.net.internet.udp("10.0.3.254:5060".parse()?)?;
    for message in [
        &up[0],
        &up[9],
        &down[0],
        &b"OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\n\r\n".to_vec(),
    ] {
        stranger.send_to(message, Chain::B_WIRE.sip())?;
    }
    wait::until("they are refused", PATIENCE, || {
        let books = stage.b.books()?;
        Ok((books.get("user.dropped.codec") == 4).then_some(()))
    })?;
    stage.ask()?;
    let [dropped, replayed, malformed, hooks] = stage.stop()?;
    ensure!((dropped, replayed, malformed, hooks) == (4, 2, 2, 0));
    Ok(())
}

#[test]
fn messages_pass_a_wire_that_shows_none_and_nothing_passes_twice() -> Result<()> {
    passes_unseen("xdp")
}

#[test]
fn they_do_so_with_kernel_sockets_alone() -> Result<()> {
    passes_unseen("socket")
}

#[test]
fn keys_roll_over_without_loss() -> Result<()> {
    let mut stage = Stage::new("xdp", &[1])?;
    let [both, other_first, new] = [&[1, 2][..], &[2, 1], &[2]].map(|ids| keys(&stage.work, ids));
    let (both, other_first, new) = (both?, other_first?, new?);
    stage.ask()?;
    for keys in [&both, &other_first, &new] {
        stage.change("b", config_b(keys))?;
        stage.ask()?;
        stage.change("a", config_a(keys))?;
        stage.ask()?;
    }
    let [dropped, ..] = stage.stop()?;
    ensure!(dropped == 0);
    Ok(())
}

#[test]
fn a_key_that_others_may_read_is_refused_and_the_old_configuration_stays() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut stage = Stage::new("socket", &[1])?;
    let both = keys(&stage.work, &[2, 1])?;
    let path = stage.work.join("2.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
    stage.work.write("b.cfg", config_b(&both))?;
    stage.b.process.signal(libc::SIGHUP)?;
    wait::until("it is refused", PATIENCE, || {
        let log = stage.b.log();
        let is_said = log.contains("others than its owner may read or write it: chmod 600");
        Ok((is_said && log.contains("the configuration stays as it was")).then_some(()))
    })
    .with_context(|| stage.b.log())?;
    stage.ask()?;
    stage.stop().map(drop)
}

/// XOR with one byte.
fn masked(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ b'k').collect()
}

/// The body of the HTTP response that a stream begins with; `None` while it isn't whole.
fn body(stream: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = stream.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(stream.get(..end)?).ok()?;
    let length = head.split("Content-Length: ").nth(1)?;
    let length: usize = length.split("\r\n").next()?.parse().ok()?;
    let body = stream.get(end..end + length)?;
    head.starts_with("HTTP/1.1 200 OK\r\n")
        .then(|| (masked(body), end + length))
}

#[test]
fn by_tcp_a_chain_that_ends_in_http_carries_one_message_after_the_other() -> Result<()> {
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let config = r#"listen=tcp:10.0.1.1:5060
loadmodule "sl.so"
loadmodule "corex.so"
loadmodule "codec.so"
modparam("codec", "chain", "tunnel=xor(text=k) | http(post, host=example.org)")
modparam("corex", "codec_in", "tunnel;socket=10.0.1.1:5060")
modparam("corex", "codec_out", "tunnel;peer=10.0.1.0/24")
request_route { sl_send_reply("200", "Seen $ci"); }
"#;
    let file = work.write("corex.cfg", config)?;
    let corex = CorexOptions::new(&file)
        .interface("user")
        .engine("socket")
        .start(&net.corex, work.path(), "corex")?;
    let to = Relay::USER_SIDE.sip();
    let mut stream = net.uac.enter(|| Ok(TcpStream::connect(to)?))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = |number: u32, head: &str| {
        let plain = format!(
            "OPTIONS sip:10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.1.2;branch=z9hG4bK{number}\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let head = head.replace("SIZE", &plain.len().to_string());
        [head.into_bytes(), masked(plain.as_bytes())].concat()
    };
    let all = [
        request(
            1,
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: SIZE\r\n\r\n",
        ),
        request(
            2,
            "PUT /a?b=c HTTP/1.0\ncontent-length:SIZE\nVia: 1.1 proxy\n\n",
        ),
        request(3, "POST / HTTP/1.1\r\nCONTENT-LENGTH: SIZE\r\n\r\n"),
    ]
    .concat();
    let (first, rest) = all.split_at(all.len() / 2);
    stream.write_all(first)?;
    stream.write_all(rest)?;
    let (mut received, mut replies, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    while replies.len() < 3 {
        while let Some((reply, len)) = body(&received) {
            received.drain(..len);
            replies.push(String::from_utf8(reply)?);
        }
        if replies.len() < 3 {
            let len = stream.read(&mut buffer).with_context(|| corex.log())?;
            ensure!(len > 0, "closed: {}", corex.log());
            received.extend_from_slice(&buffer[..len]);
        }
    }
    for (number, reply) in (1..).zip(&replies) {
        ensure!(
            reply.starts_with(&format!("SIP/2.0 200 Seen {number}\r\n")),
            "{reply}"
        );
    }
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.codec_in") == 3 && books.get("user.codec_out") == 3);
    Ok(())
}

/// A configuration for inline mode without a script.
fn inline(role: &str, keys: &str, host: corex_lab::topology::LabHost) -> String {
    format!(
        r#"loadmodule "corex.so"
loadmodule "codec.so"
{keys}modparam("codec", "chain", "edge({role})={CODECS}")
modparam("corex", "mode", "inline")
modparam("corex", "protect", "udp:{address}")
modparam("corex", "codec_in", "edge")
modparam("corex", "codec_out", "edge")
"#,
        address = host.sip(),
    )
}

#[test]
fn inline_calls_pass_without_a_script() -> Result<()> {
    const CALLS: u64 = 20;
    let (net, work) = (Inline::new()?, WorkDir::new()?);
    let keys = keys(&work, &[1])?;
    let start = |name: &str, role: &str, namespace, host| {
        let path = work.write(&format!("{name}.cfg"), inline(role, &keys, host))?;
        CorexOptions::new(&path)
            .interface("eth0")
            .start(namespace, work.path(), name)
    };
    let device = start("device", "client", &net.device, Inline::DEVICE)?;
    let server = start("server", "server", &net.server, Inline::SERVER)?;
    let wire = Capture::start(&net.internet, "d")?;
    let [from, to] = [Inline::DEVICE.sip(), Inline::SERVER.sip()];
    let uas = SippOptions::uas(to)
        .resending()
        .start(&net.server, work.path(), "uas")?;
    let report = SippOptions::uac(from, to, CALLS, 10)
        .resending()
        .start(&net.device, work.path(), "uac")?
        .finish(Duration::from_secs(120))?;
    ensure!(
        report.successful == CALLS && report.failed == 0,
        "{report}; {} {}",
        device.log(),
        server.log()
    );
    uas.stop()?;
    check_unreadable(&wire.stop()?)?;
    for corex in [device, server] {
        let books = corex.stop()?;
        books.check_balance()?;
        for counter in ["codec_in", "codec_out"] {
            let counted = books.get(&format!("user.{counter}"));
            ensure!(counted == 3 * CALLS, "{counter}: {:#}", books.0);
        }
    }
    Ok(())
}
