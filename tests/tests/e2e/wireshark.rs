//! Wireshark's dissector in docs/wireshark, run by tshark: on what chains of a real corex put on the
//! wire, and on what nobody sane puts there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use corex_lab::capture::{Captured, Tshark, write_pcap};
use corex_lab::corex::{self, CorexOptions};
use corex_lab::frame::{Frame, Mac};
use corex_lab::raw::Seen;
use corex_lab::topology::Relay;
use corex_lab::{Capture, WorkDir};

const PATIENCE: Duration = Duration::from_secs(20);
/// Name, port, codecs as they are written, codecs as they are shown: in the order of decoding.
const CHAINS: [(&str, u16, &str, &str); 4] = [
    (
        "full",
        5071,
        "zstd(sip) | aead(chacha20-poly1305, key=edge) | http(post, host=cdn.example.org)",
        "http,aead,zstd",
    ),
    (
        "sealed",
        5072,
        "zstd(sip) | aead(aes-256-gcm, key=edge)",
        "aead,zstd",
    ),
    ("text", 5073, "gzip | base64", "base64,gzip"),
    ("small", 5074, "zstd(sip)", "zstd"),
];
/// The key's in the configurations here.
const ID: u8 = 7;

/// A configuration's lines on chains and keys; the key is `ID` repeated.
fn codecs(work: &WorkDir) -> Result<String> {
    let key = work.write("edge.key", [ID; 32])?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    let mut lines = format!(
        "loadmodule \"codec.so\"\nmodparam(\"codec\", \"key\", \"edge={ID}:file:{}\")\n",
        key.display()
    );
    for (name, _, codecs, _) in CHAINS {
        lines += &format!("modparam(\"codec\", \"chain\", \"{name}={codecs}\")\n");
    }
    Ok(lines)
}

/// What the command makes of its input.
fn piped(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new(corex::binary()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no pipe")?.write_all(input)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", output.status);
    Ok(output.stdout)
}

fn encode(config: &Path, chain: &str, direction: &str, plain: &str) -> Result<Vec<u8>> {
    let config = config.to_str().context("a path")?;
    let arguments = [
        "encode",
        "--config",
        config,
        "--chain",
        chain,
        "--direction",
        direction,
    ];
    piped(&arguments, plain.as_bytes())
}

fn options(transport: &str, number: u32) -> String {
    format!(
        "OPTIONS sip:10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 10.0.1.2;rport;branch=z9hG4bK{number}\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: call-{number}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// tshark with the dissector, for a chain of this configuration.
fn shark(pcap: &Path, config: &Path, chain: &str, ports: &str) -> Result<Tshark> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wireshark/corex.lua");
    let text = |path: PathBuf| path.into_os_string().into_string().ok().context("a path");
    Ok(Tshark::open(pcap)?
        .script(&script)
        .preference("corex.program", &text(corex::binary()?)?)
        .preference("corex.config", &text(config.to_owned())?)
        .preference("corex.chain", chain)
        .preference("corex.udp_ports", ports)
        .preference("corex.tcp_ports", ports))
}

const FIELDS: [&str; 7] = [
    "corex.chain",
    "corex.direction",
    "corex.codec",
    "corex.error",
    "sip.Method",
    "sip.Status-Code",
    "sip.Call-ID",
];

#[test]
fn what_chains_carry_by_udp_is_shown_codec_by_codec_and_as_sip() -> Result<()> {
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let mut text = codecs(&work)? + "loadmodule \"corex.so\"\nloadmodule \"sl.so\"\n";
    for (name, port, ..) in CHAINS {
        text += &format!("listen=udp:10.0.1.1:{port}\n");
        for way in ["codec_in", "codec_out"] {
            let rule = format!("{name};socket=10.0.1.1:{port}");
            text += &format!("modparam(\"corex\", \"{way}\", \"{rule}\")\n");
        }
    }
    text += "request_route { sl_send_reply(\"200\", \"OK\"); }\n";
    let config = work.write("corex.cfg", text)?;
    let server = CorexOptions::new(&config)
        .interface("user")
        .engine("socket")
        .start(&net.corex, work.path(), "corex")?;
    let wire = Capture::start(&net.uac, "eth0")?;
    let user = net.uac.udp("10.0.1.2:6000".parse()?)?;
    user.set_read_timeout(Some(PATIENCE))?;
    for (number, (name, port, ..)) in (1..).zip(CHAINS) {
        let sealed = encode(&config, name, "to-server", &options("UDP", number))?;
        user.send_to(&sealed, ("10.0.1.1", port))?;
        user.recv(&mut [0; 4096]).with_context(|| server.log())?;
    }
    let pcap = work.join("wire.pcap");
    write_pcap(&wire.stop()?, &pcap)?;
    server.stop()?;

    for (number, (name, port, _, shown)) in (1..).zip(CHAINS) {
        let shark = shark(&pcap, &config, name, &port.to_string())?;
        let rows = shark.fields("corex", &FIELDS)?;
        let call = format!("call-{number}");
        // Only some codecs make something else of each direction.
        let [up, down] = if shown.contains("aead") {
            ["to-server", "to-client"]
        } else {
            ["either"; 2]
        };
        let expected = [
            [name, up, shown, "", "OPTIONS", "", &call],
            [name, down, shown, "", "", "200", &call],
        ];
        ensure!(rows == expected, "{name}: {rows:?}");
        let lengths = shark.fields(
            "corex",
            &["corex.wire_len", "corex.plain_len", "corex.ratio"],
        )?;
        for row in lengths {
            let numbers: Vec<f64> = row.iter().filter_map(|text| text.parse().ok()).collect();
            ensure!(
                matches!(numbers[..], [wire, plain, ratio] if (100.0 * wire / plain - ratio).abs() < 0.01),
                "{row:?}"
            );
        }
    }

    let shark = shark(&pcap, &config, "full", "5071")?;
    let heads = shark.fields(
        "corex",
        &[
            "corex.http.start_line",
            "corex.aead.version",
            "corex.aead.key_id",
            "corex.aead.counter",
            "corex.zstd.dictionary",
        ],
    )?;
    let rest = ["0xc1", "7", "0", "49153"];
    let starts = ["POST / HTTP/1.1", "HTTP/1.1 200 OK"];
    ensure!(
        heads == starts.map(|start| [&[start][..], &rest].concat()),
        "{heads:?}"
    );
    let details = shark.details("sip.Method == \"OPTIONS\"")?;
    for text in [
        "corex codec chain, full, to-server: ",
        "Codec: aead, ",
        "Session began: ",
        "Session Initiation Protocol (OPTIONS)",
    ] {
        ensure!(details.contains(text), "{text}: {details}");
    }
    // What is shown twice is asked for once, and comes out the same.
    let twice = shark.argument("-2").fields("corex", &FIELDS)?;
    ensure!(
        twice.len() == 2 && twice.iter().all(|row| row[2] == "http,aead,zstd"),
        "{twice:?}"
    );
    Ok(())
}

#[test]
fn by_tcp_messages_are_put_together_and_told_apart() -> Result<()> {
    const MESSAGES: u32 = 5;
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let text = codecs(&work)?
        + "listen=tcp:10.0.1.1:5060\nloadmodule \"corex.so\"\nloadmodule \"sl.so\"\n\
           modparam(\"corex\", \"codec_in\", \"full\")\nmodparam(\"corex\", \"codec_out\", \"full\")\n\
           request_route { sl_send_reply(\"200\", \"OK\"); }\n";
    let config = work.write("corex.cfg", text)?;
    let server = CorexOptions::new(&config)
        .interface("user")
        .engine("socket")
        .start(&net.corex, work.path(), "corex")?;
    let wire = Capture::start(&net.uac, "eth0")?;
    let to = Relay::USER_SIDE.sip();
    let mut stream = net.uac.enter(|| Ok(TcpStream::connect(to)?))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut sealed = Vec::new();
    for number in 1..=MESSAGES {
        sealed.extend(encode(
            &config,
            "full",
            "to-server",
            &options("TCP", number),
        )?);
        // Keep-alives.
        sealed.extend_from_slice(b"\r\n");
    }
    // Cut within heads and bodies; each piece is a segment.
    for piece in sealed.chunks(sealed.len() / 7) {
        stream.write_all(piece)?;
    }
    let mut received = Vec::new();
    let is_whole = |bytes: &[u8]| {
        let heads = bytes
            .windows(15)
            .filter(|it| *it == b"HTTP/1.1 200 OK")
            .count();
        heads == MESSAGES as usize
    };
    while !is_whole(&received) {
        let mut buffer = [0; 4096];
        let len = stream.read(&mut buffer).with_context(|| server.log())?;
        ensure!(len > 0, "closed: {}", server.log());
        received.extend_from_slice(&buffer[..len]);
    }
    // The end of the last reply is on its way when its start is here.
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_to_end(&mut received)?;
    let pcap = work.join("wire.pcap");
    write_pcap(&wire.stop()?, &pcap)?;
    server.stop()?;

    let rows = shark(&pcap, &config, "full", "5060")?.fields("corex", &FIELDS)?;
    let column = |at: usize| -> Vec<&str> {
        let cells = rows.iter().flat_map(|row| row[at].split(','));
        cells.filter(|cell| !cell.is_empty()).collect()
    };
    let all = MESSAGES as usize;
    ensure!(column(4) == vec!["OPTIONS"; all], "{rows:?}");
    ensure!(column(5) == vec!["200"; all], "{rows:?}");
    ensure!(
        column(2) == ["http", "aead", "zstd"].repeat(2 * all),
        "{rows:?}"
    );
    ensure!(column(3).is_empty(), "{rows:?}");
    let calls: Vec<_> = (1..=MESSAGES)
        .map(|number| format!("call-{number}"))
        .collect();
    let mut found = column(6);
    found.sort_unstable();
    found.dedup();
    ensure!(found == calls, "{rows:?}");
    Ok(())
}

/// A capture with these datagrams, towards port 5071.
fn capture(work: &WorkDir, payloads: &[Vec<u8>]) -> Result<PathBuf> {
    let at = |host: u8, port| {
        (
            Mac([2, 0, 0, 0, 0, host]),
            SocketAddr::from(([10, 0, 1, host], port)),
        )
    };
    let frames = (0..).zip(payloads).map(|(number, payload)| Captured {
        time: Duration::from_millis(number),
        frame: Seen {
            bytes: Frame::udp(at(2, 6000), at(1, 5071), payload).build(),
            outgoing: false,
            checksum_pending: false,
        },
    });
    let pcap = work.join("made.pcap");
    write_pcap(&frames.collect::<Vec<_>>(), &pcap)?;
    Ok(pcap)
}

/// A packet that docs/enrolment.md shows.
fn documented(name: &str) -> Result<Vec<u8>> {
    let text = include_str!("../../../docs/enrolment.md");
    let lines = text.lines().skip_while(|line| *line != name).skip(1);
    let digits: String = lines
        .take_while(|line| line.starts_with("  "))
        .map(str::trim)
        .collect();
    let byte = |at| {
        Ok(u8::from_str_radix(
            digits.get(at..at + 2).context("digits")?,
            16,
        )?)
    };
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn devices_are_shown_and_their_messages_once_their_keys_are_known() -> Result<()> {
    const UUID: &str = "0b5f3a52-6f0e-4c2e-9d0a-3a1c5e7b9d11";
    let work = WorkDir::new()?;
    let secret = |name: &str, content: &[u8]| -> Result<String> {
        let path = work.write(name, content)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(path.to_str().context("a path")?.to_owned())
    };
    let config = work.write(
        "edge.cfg",
        "loadmodule \"codec.so\"\n\
         modparam(\"codec\", \"chain\", \"fleet=aead(chacha20-poly1305, key=device)\")\n",
    )?;
    let names = [
        "message by-id",
        "psk packet",
        "hpke-chacha20-poly1305 packet",
        "answer accepted",
        "notice packet",
        "message by-id",
        "first packet",
    ];
    let packets: Vec<_> = names.into_iter().map(documented).collect::<Result<_>>()?;
    let pcap = capture(&work, &packets)?;
    let device: String = (0xa0..0xc0).map(|byte: u8| format!("{byte:02x}")).collect();
    let devices = secret("devices", format!("{UUID}=3:{device}\n").as_bytes())?;
    let psk = secret("psk", &(0..32).collect::<Vec<u8>>())?;
    let psk = format!("7:file:{psk}");
    let columns = [
        "corex.codec",
        "corex.error",
        "sip.Method",
        "corex.aead.device",
        "corex.aead.generation",
        "corex.enrolment.method",
        "corex.enrolment.key_id",
        "corex.answer.seconds",
        "_ws.col.Info",
    ];
    for (devices, enrol_keys, program) in [
        (devices.as_str(), "", true),
        ("", psk.as_str(), true),
        ("", "", true),
        ("", "", false),
    ] {
        let mut shark = shark(&pcap, &config, "fleet", "5071")?
            .preference("corex.devices", devices)
            .preference("corex.enrol_keys", enrol_keys);
        if !program {
            shark = shark.preference("corex.program", "");
        }
        let rows = shark.fields("corex", &columns)?;
        ensure!(rows.len() == names.len(), "{rows:?}");
        let codecs: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
        let expected = [
            "aead",
            "enrolment",
            "enrolment",
            "answer",
            "notice",
            "aead",
            "enrolment,aead",
        ];
        ensure!(codecs == expected, "{codecs:?}");
        for row in [&rows[0], &rows[5], &rows[6]] {
            ensure!(row[3..5] == [UUID, "3"], "{row:?}");
        }
        for (row, seen) in [(1, ["1", "7"]), (2, ["3", "8"]), (6, ["1", "7"])] {
            ensure!(rows[row][5..7] == seen, "{:?}", rows[row]);
        }
        ensure!(rows[3][7] == "3600", "{:?}", rows[3]);
        // The first message comes before the enrolment that brings the key.
        let decoded = match (devices, enrol_keys) {
            ("", "") => [false; 3],
            ("", _) => [false, true, true],
            _ => [true; 3],
        };
        for (row, is_decoded) in [0, 5, 6].into_iter().zip(decoded) {
            let row = &rows[row];
            let error = if is_decoded || !program {
                ""
            } else {
                "unknown_device"
            };
            let method = if is_decoded { "OPTIONS" } else { "" };
            ensure!(row[1..3] == [error, method], "{row:?}");
        }
        if program {
            let infos = [1, 3, 4].map(|row: usize| rows[row][8].as_str());
            let expected = ["corex: enrolment", "corex: answer", "corex: notice"];
            ensure!(infos == expected, "{infos:?}");
        }
    }
    Ok(())
}

/// Bytes without any order, the same in every run (Marsaglia's xorshift).
fn noise(len: usize, state: &mut u32) -> Vec<u8> {
    let next = || {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        *state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn what_does_not_decode_has_its_errors_name_and_hides_nothing_else() -> Result<()> {
    let work = WorkDir::new()?;
    let config = work.write("edge.cfg", codecs(&work)?)?;
    let plain = options("UDP", 1);
    let good = encode(&config, "sealed", "to-server", &plain)?;
    let changed = |at: usize, to: u8| {
        let mut message = good.clone();
        message[at] = to;
        message
    };
    let bomb = piped(&["encode", "--chain", "zstd"], &[0; 60_000])?;
    let all_and_more = [&bomb[..], &bomb, &bomb].concat();
    let sealed = |bytes: &[u8]| {
        let key = format!("edge={ID}:file:{}", work.join("edge.key").display());
        let arguments = [
            "encode",
            "--chain-line",
            "x=aead(aes-256-gcm, key=edge)",
            "--key",
            &key,
        ];
        piped(&arguments, bytes)
    };
    let mut cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (good.clone(), "", "OPTIONS"),
        // A replay: who looks at a capture wants to see it.
        (good.clone(), "", "OPTIONS"),
        (
            changed(good.len() - 1, good[good.len() - 1] ^ 1),
            "not_authentic",
            "",
        ),
        (changed(1, ID + 1), "unknown_key", ""),
        (changed(0, 0xc7), "unknown_version", ""),
        (good[..good.len() - 5].to_vec(), "not_authentic", ""),
        (good[..20].to_vec(), "malformed", ""),
        (good[..1].to_vec(), "malformed", ""),
        (sealed(&all_and_more)?, "too_long", ""),
        (sealed(b"no zstd")?, "malformed", ""),
        (plain.clone().into_bytes(), "", "OPTIONS"),
        (b"\r\n\r\n".to_vec(), "", ""),
        (vec![0; 4], "", ""),
    ];
    let mut state = 0x5eed_c0de;
    for len in [2, 31, 32, 33, 100, 1400] {
        let mut bytes = noise(len, &mut state);
        bytes[0] = 0xc1;
        bytes[1] = ID;
        let error = if len < 32 {
            "malformed"
        } else {
            "not_authentic"
        };
        cases.push((bytes, error, ""));
    }
    cases.push((good.clone(), "", "OPTIONS"));
    let payloads: Vec<_> = cases.iter().map(|(bytes, ..)| bytes.clone()).collect();
    let pcap = capture(&work, &payloads)?;
    let shark = shark(&pcap, &config, "sealed", "5071")?;
    let rows = shark.fields("udp", &["corex.error", "sip.Method", "_ws.expert.message"])?;
    ensure!(rows.len() == cases.len(), "{rows:?}");
    for (row, (bytes, error, method)) in rows.iter().zip(&cases) {
        ensure!(row[..2] == [*error, *method], "{row:?} for {bytes:02x?}");
        ensure!(row[2].contains(error), "{row:?}");
    }
    let listed = shark.count("corex.undecoded")?;
    ensure!(
        listed == cases.iter().filter(|case| !case.1.is_empty()).count(),
        "{listed}"
    );

    // Other keys than those on the wire.
    std::fs::write(work.join("edge.key"), [ID + 1; 32])?;
    let rows = shark.fields("udp", &["corex.error", "corex.aead.key_id"])?;
    ensure!(rows[0] == ["not_authentic", "7"], "{rows:?}");
    Ok(())
}

#[test]
fn noise_of_any_kind_stops_nothing() -> Result<()> {
    let work = WorkDir::new()?;
    let config = work.write("edge.cfg", codecs(&work)?)?;
    let mut state = 0x00c0_ffee;
    let starts: [&[u8]; 6] = [
        b"",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n\xc1\x07",
        b"\x28\xb5\x2f\xfd",
        b"\x1f\x8b\x08",
    ];
    let mut payloads = Vec::new();
    for len in 0..40 {
        for start in starts {
            payloads.push([start, &noise(len * len, &mut state)].concat());
        }
    }
    let good = encode(&config, "full", "to-server", &options("UDP", 1))?;
    // Every cut of a good one.
    payloads.extend((0..good.len()).map(|len| good[..len].to_vec()));
    payloads.push(good);
    let pcap = capture(&work, &payloads)?;
    for program in [corex::binary()?, PathBuf::new()] {
        let program = program.to_str().context("a path")?;
        let rows = shark(&pcap, &config, "full", "5071")?
            .preference("corex.program", program)
            .fields("udp", &["corex.error", "sip.Method", "_ws.malformed"])?;
        ensure!(rows.len() == payloads.len());
        ensure!(rows.iter().all(|row| row[2].is_empty()), "{rows:?}");
        let (last, others) = rows.split_last().context("no rows")?;
        ensure!(others.iter().all(|row| row[1].is_empty()), "{others:?}");
        let is_decoded = last[1] == "OPTIONS";
        ensure!(is_decoded != program.is_empty(), "{last:?}");
    }
    Ok(())
}

#[test]
fn what_the_capture_has_only_a_part_of_is_said_to_be_cut() -> Result<()> {
    let work = WorkDir::new()?;
    let config = work.write("edge.cfg", codecs(&work)?)?;
    let good = encode(&config, "sealed", "to-server", &options("UDP", 1))?;
    let pcap = capture(&work, &[good])?;
    // The file says that the frame was longer than what it has.
    let mut file = std::fs::read(&pcap)?;
    let len = file.len() - 40;
    file.truncate(len);
    let kept = u32::try_from(len - 40)?;
    file[32..36].copy_from_slice(&kept.to_ne_bytes());
    std::fs::write(&pcap, file)?;
    let rows = shark(&pcap, &config, "sealed", "5071")?
        .fields("corex.cut", &["corex.aead.key_id", "_ws.expert.message"])?;
    ensure!(
        matches!(&rows[..], [row] if row[0] == "7" && row[1].contains("were captured")),
        "{rows:?}"
    );
    Ok(())
}

#[test]
fn without_corex_the_visible_heads_are_shown_and_why_no_more() -> Result<()> {
    let work = WorkDir::new()?;
    let config = work.write("edge.cfg", codecs(&work)?)?;
    let good = encode(&config, "full", "to-server", &options("UDP", 1))?;
    let messages = vec![good; 12];
    let pcap = capture(&work, &messages)?;
    let script = |name: &str, text: &str| -> Result<String> {
        let path = work.write(name, format!("#!/bin/sh\n{text}\n"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(path.to_str().context("a path")?.to_owned())
    };
    let starts = work.join("starts");
    // Says what corex says, and ends with the first message.
    let mortal = script(
        "mortal",
        &format!(
            "[ \"$1\" = --version ] && {{ echo corex 0; exit; }}\necho x >> {}\n\
             printf 'corex decode 1\\tfull\\tzstd\\n'\nread line",
            starts.display()
        ),
    )?;
    // Would never answer if it were asked.
    let stranger = script("stranger", "echo a stranger\ncat >/dev/null")?;
    let rambling = script(
        "rambling",
        "[ \"$1\" = --version ] && { echo corex 0; exit; }\n\
         printf 'corex decode 1\\tfull\\tzstd\\n'\nwhile read line; do echo what do you mean; done",
    )?;
    // Closes its end of the pipe before it answers its only message.
    let hasty = script(
        "hasty",
        "[ \"$1\" = --version ] && { echo corex 0; exit; }\n\
         printf 'corex decode 1\\tfull\\tzstd\\n'\nread line\nexec </dev/null\necho bye",
    )?;
    let missing = work.join("nowhere").to_str().context("a path")?.to_owned();
    let binary = corex::binary()?.to_str().context("a path")?.to_owned();
    for (program, config, reason) in [
        ("", config.as_path(), "the preferences name no program"),
        (&missing, &config, "is no corex"),
        (&stranger, &config, "is no corex: a stranger"),
        (&mortal, &config, "corex ended while it decoded"),
        (&rambling, &config, "corex says: what do you mean"),
        (&hasty, &config, "corex says: bye"),
        (
            &binary,
            Path::new(""),
            "the preferences name no configuration",
        ),
        (&binary, &work.join("none.cfg"), "can't be read"),
    ] {
        let rows = shark(&pcap, config, "full", "5071")?
            .preference("corex.program", program)
            .fields(
                "corex",
                &[
                    "corex.http.start_line",
                    "corex.aead.key_id",
                    "sip.Method",
                    "_ws.expert.message",
                ],
            )?;
        ensure!(rows.len() == messages.len());
        for row in &rows {
            ensure!(
                row[..3] == ["POST / HTTP/1.1", "7", ""],
                "{program}: {row:?}"
            );
        }
        ensure!(rows[0][3].contains(reason), "{program}: {:?}", rows[0]);
    }
    let started = std::fs::read_to_string(&starts)?.lines().count();
    ensure!(started == 3, "started {started} times");
    Ok(())
}
