//! Examples that encode: what is on the wire, and what the other side gets.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Capture, Corex, Namespace, WorkDir, corex::CorexOptions, sipp::SippOptions, topology::Chain,
    topology::Relay, wait,
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::{PATIENCE, Stage, example, receive, request, with_key};

const CALLS: u64 = 50;
const LIMIT: Duration = Duration::from_secs(60);

fn gzip(message: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message)?;
    Ok(encoder.finish()?)
}

#[test]
fn perl_uncompresses_what_comes_and_compresses_what_goes() -> Result<()> {
    let stage = Stage::new("14-network-msg-perl.cfg")?;
    let plain = request("OPTIONS", "sip:u@10.0.1.1", Relay::UAC.sip(), 1);
    for sent in [gzip(&plain)?, plain] {
        stage.send(&sent)?;
        let mut text = String::new();
        GzDecoder::new(&stage.receive()?[..]).read_to_string(&mut text)?;
        ensure!(text.starts_with("SIP/2.0 200 Uncompressed\r\n"), "{text}");
    }
    stage.stop().map(drop)
}

const KEY: &[u8] = b"change me";
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn xor(bytes: &[u8]) -> Vec<u8> {
    let keys = KEY.iter().cycle();
    bytes
        .iter()
        .zip(keys)
        .map(|(byte, key)| byte ^ key)
        .collect()
}

/// What xor-base64.lua makes of a message.
fn masked(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in xor(message).chunks(3) {
        let at = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for sign in 0..4 {
            let value = (bits >> (18 - 6 * sign)) as usize & 63;
            out.push(if sign <= chunk.len() {
                ALPHABET[value]
            } else {
                b'='
            });
        }
    }
    out
}

fn unmasked(text: &[u8]) -> Result<String> {
    let mut bytes = Vec::new();
    for chunk in text.chunks(4) {
        let mut bits = 0u32;
        for sign in chunk {
            let value = ALPHABET.iter().position(|known| known == sign);
            bits = bits << 6 | value.unwrap_or(0) as u32;
        }
        let pads = chunk.iter().filter(|sign| **sign == b'=').count();
        bytes.extend(bits.to_be_bytes().get(1..4 - pads).unwrap_or_default());
    }
    Ok(String::from_utf8(xor(&bytes))?)
}

#[test]
fn lua_decodes_what_comes_and_encodes_what_goes() -> Result<()> {
    let stage = Stage::new("xor-base64.cfg")?;
    let plain = request("OPTIONS", "sip:u@10.0.1.1", Relay::UAC.sip(), 1);
    for sent in [masked(&plain), plain] {
        stage.send(&sent)?;
        let text = unmasked(&stage.receive()?)?;
        ensure!(text.starts_with("SIP/2.0 200 Decoded\r\n"), "{text}");
    }
    stage.stop().map(drop)
}

fn start(host: &Namespace, work: &WorkDir, file: &std::path::Path, name: &str) -> Result<Corex> {
    CorexOptions::new(file)
        .interface("user")
        .interface("wire")
        .start(host, work.path(), name)
}

/// The example as the devices' side has it: the same encoding, the phone instead of the server.
fn of_the_devices(work: &WorkDir, name: &str) -> Result<std::path::PathBuf> {
    let text = fs::read_to_string(with_key(name, work)?)?
        .replace("10.0.3.1", "10.0.2.1")
        .replace("10.0.4.1", "10.0.1.1")
        .replace("10.0.4.2", "10.0.1.2")
        .replace(
            "edge-encrypt.pl",
            &example("edge-encrypt.pl").to_string_lossy(),
        )
        .replace("wire=", "wire(client)=")
        .replace(
            "    forward();",
            "    else { $du = \"sip:10.0.3.1\"; }\n    forward();",
        );
    work.write("device.cfg", text)
}

/// Calls through the devices' side and the edge; nothing on the wire between can be read.
fn calls_are_hidden(name: &str) -> Result<()> {
    let (chain, work) = (Chain::new()?, WorkDir::new()?);
    let file = if name == "edge-aead.cfg" {
        with_key(name, &work)?
    } else {
        example(name)
    };
    let edge = start(&chain.b, &work, &file, "edge")?;
    let devices = start(&chain.a, &work, &of_the_devices(&work, name)?, "device")?;
    let wire = Capture::start(&chain.internet, "a")?;
    let uas = SippOptions::uas(Chain::UAS.sip()).start(&chain.uas, work.path(), "uas")?;
    SippOptions::uac(Chain::UAC.sip(), Chain::A_USER.sip(), CALLS, 50)
        .start(&chain.uac, work.path(), "uac")?
        .finish(LIMIT)?
        .check(CALLS)
        .with_context(|| format!("{}\n{}", devices.log(), edge.log()))?;
    uas.stop()?.check(CALLS)?;
    let frames = wire.stop()?;
    let (mut messages, mut readable) = (0, 0);
    for frame in &frames {
        let Some(udp) = frame.frame.udp() else {
            continue;
        };
        messages += 1;
        let is_sip = udp.payload.windows(7).any(|part| part == b"SIP/2.0");
        readable += usize::from(is_sip);
    }
    ensure!(messages >= 6 * CALLS as usize, "{messages} messages");
    ensure!(readable == 0, "{readable} of {messages} can be read");
    // A stranger who sends plain SIP gets as far as the example says.
    let stranger = chain.internet.udp("10.0.3.254:5060".parse()?)?;
    let server = chain.uas.udp(Chain::UAS.sip())?;
    let plain = request("OPTIONS", "sip:u@10.0.3.1", "10.0.3.254:5060".parse()?, 9);
    stranger.send_to(&plain, Chain::B_WIRE.sip())?;
    server.set_read_timeout(Some(Duration::from_millis(300)))?;
    let came = server.recv(&mut [0; 4096]).is_ok();
    ensure!(came == (name == "edge-gzip.cfg"), "plain SIP: {came}");
    devices.stop()?.check_balance()?;
    edge.stop()?.check_balance()
}

#[test]
fn the_edge_compresses_towards_users() -> Result<()> {
    calls_are_hidden("edge-gzip.cfg")
}

#[test]
fn the_edge_compresses_towards_users_without_a_script() -> Result<()> {
    calls_are_hidden("edge-zstd.cfg")
}

#[test]
fn homer_gets_in_the_clear_what_the_wire_hides() -> Result<()> {
    // The collector is the server's host, which has none: copies are lost, and no call.
    calls_are_hidden("homer.cfg")
}

#[test]
fn the_edge_encrypts_towards_users() -> Result<()> {
    calls_are_hidden("edge-encrypt.cfg")
}

#[test]
fn the_edge_encrypts_towards_users_without_a_script() -> Result<()> {
    calls_are_hidden("edge-aead.cfg")
}

#[test]
fn sip_goes_through_http() -> Result<()> {
    through_http("http-tunnel.cfg", "user.dropped.hook_empty")
}

#[test]
fn sip_goes_through_http_without_a_script() -> Result<()> {
    through_http("http-chain.cfg", "user.dropped.codec")
}

/// Messages through the tunnel, and one that isn't the app's, which is dropped and counted.
fn through_http(name: &str, dropped: &str) -> Result<()> {
    let (chain, work) = (Chain::new()?, WorkDir::new()?);
    let corex = start(&chain.b, &work, &example(name), "tunnel")?;
    let server = chain.uas.udp(Chain::UAS.sip())?;
    let mut app = chain
        .internet
        .enter(|| Ok(TcpStream::connect("10.0.3.1:8080")?))?;
    app.set_read_timeout(Some(PATIENCE))?;
    for number in 1..=3 {
        let plain = String::from_utf8(request(
            "OPTIONS",
            "sip:u@sip.example",
            "10.9.9.9:5060".parse()?,
            number,
        ))?
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        let body = masked(plain.as_bytes());
        let head = format!(
            "POST /api HTTP/1.1\r\nHost: sip.example\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        app.write_all(&[head.as_bytes(), &body].concat())?;
        let came = String::from_utf8(receive(&server).with_context(|| corex.log())?)?;
        ensure!(
            came.starts_with("OPTIONS sip:u@sip.example SIP/2.0\r\n"),
            "{came}"
        );
        let lines = came.lines().filter(|line| {
            ["Via", "From", "To", "Call-ID", "CSeq"]
                .iter()
                .any(|name| line.starts_with(name))
        });
        let headers: Vec<&str> = lines.collect();
        let reply = format!(
            "SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n",
            headers.join("\r\n")
        );
        server.send_to(reply.as_bytes(), Chain::B_USER.sip())?;
        let mut answer = Vec::new();
        let length = loop {
            let mut byte = [0];
            app.read_exact(&mut byte).with_context(|| corex.log())?;
            answer.extend(byte);
            if answer.ends_with(b"\r\n\r\n") {
                let text = String::from_utf8(answer.clone())?;
                ensure!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
                let length = text
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
                break length.context("a length")?;
            }
        };
        let mut body = vec![0; length];
        app.read_exact(&mut body)?;
        let reply = unmasked(&body)?;
        ensure!(
            reply.starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 10.9.9.9"),
            "{reply}"
        );
    }
    // What isn't the app's is dropped, and the connection with the next message lives.
    app.write_all(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")?;
    drop(app);
    // It is on its way still; what hasn't been read when corex is told to stop is never read.
    wait::until(
        "the message that isn't the app's is dropped",
        PATIENCE,
        || Ok((corex.books()?.get(dropped) > 0).then_some(())),
    )?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get(dropped) == 1, "{:#}", books.0);
    Ok(())
}
