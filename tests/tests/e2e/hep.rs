//! Copies for a collector of HEP: what the real Kamailio's sipcapture and tshark read, what the
//! real Kamailio's siptrace sends beside it, and what a collector that dies costs.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use corex_lab::capture::write_pcap;
use corex_lab::corex::CorexOptions;
use corex_lab::process::output_of;
use corex_lab::topology::{Inline, Relay};
use corex_lab::{Capture, Corex, Kamailio, Namespace, WorkDir, wait};

const PATIENCE: Duration = Duration::from_secs(30);
const COLLECTOR: u16 = 9060;
const CAPTURE_ID: u32 = 4_000_000_001;

fn parameters(collector: &str) -> String {
    format!(
        r#"modparam("siptrace", "duplicate_uri", "sip:{collector}")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", 3)
modparam("siptrace", "hep_capture_id", {CAPTURE_ID})
modparam("siptrace", "auth_key", "open sesame")
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_mode", 1)
modparam("siptrace", "trace_on", 1)
"#
    )
}

fn request(call: &str, via: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:c@10.0.2.2 SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bK{call};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {call}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// The reply of a called side that has nothing to say.
fn ok(request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let (_, headers) = text.split_once("\r\n").unwrap_or_default();
    format!("SIP/2.0 200 OK\r\n{headers}").into_bytes()
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.into_bytes()
}

fn is_hex_of_200(reply: &[u8]) -> Result<()> {
    let begin = hex(b"SIP/2.0 200 OK\r\n");
    ensure!(reply.starts_with(&begin), "{}", reply.escape_ascii());
    Ok(())
}

fn receive(socket: &UdpSocket) -> Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 4096];
    let (len, from) = socket.recv_from(&mut buffer)?;
    Ok((buffer[..len].to_vec(), from))
}

fn patient(namespace: &Namespace, address: SocketAddr) -> Result<UdpSocket> {
    let socket = namespace.udp(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// The real Kamailio as a collector, with its database.
struct Sipcapture {
    kamailio: Kamailio,
    database: String,
}

impl Sipcapture {
    /// What its module writes: homer's table of version 5.
    const COLUMNS: &str = "date, micro_ts, method, reply_reason, ruri, ruri_user, ruri_domain, \
        from_user, from_domain, from_tag, to_user, to_domain, to_tag, pid_user, contact_user, \
        auth_user, callid, callid_aleg, via_1, via_1_branch, cseq, diversion, reason, \
        content_type, auth, user_agent, source_ip, source_port, destination_ip, \
        destination_port, contact_ip, contact_port, originator_ip, originator_port, \
        correlation_id, custom_field1, custom_field2, custom_field3, proto, family, rtp_stat, \
        type, node, msg";

    fn start(namespace: &Namespace, address: SocketAddr, work: &WorkDir) -> Result<Sipcapture> {
        let database = work.join("capture.db").display().to_string();
        let columns = Sipcapture::COLUMNS;
        // With a write-ahead log who reads keeps nobody from writing: the collector doesn't try again.
        let made = format!(
            "PRAGMA journal_mode=WAL; CREATE TABLE sip_capture (id INTEGER PRIMARY KEY, {columns})"
        );
        output_of(Command::new("sqlite3").args([&database, &made]))?;
        let config = format!(
            r#"debug=2
log_stderror=yes
children=1
auto_aliases=no
disable_tcp=yes
listen=udp:{address}
loadmodule "pv.so"
loadmodule "db_sqlite.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "sqlite:///{database}")
modparam("sipcapture", "hep_capture_on", 1)
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "table_name", "sip_capture")
request_route {{ sip_capture("sip_capture"); drop; }}
onreply_route {{ sip_capture("sip_capture"); drop; }}
"#
        );
        let port = address.port();
        let kamailio = Kamailio::start(namespace, work.path(), "sipcapture", &config, port)?;
        Ok(Sipcapture { kamailio, database })
    }

    /// Columns of all rows, in the order in which messages passed.
    fn rows(&self, columns: &str) -> Result<Vec<String>> {
        let select = format!("SELECT {columns} FROM sip_capture ORDER BY micro_ts, id");
        let text = output_of(Command::new("sqlite3").args([
            "-cmd",
            ".timeout 5000",
            &self.database,
            &select,
        ]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// A caller that speaks hex, and a called side that doesn't.
fn config(listen: &str, module: &str) -> String {
    format!(
        r#"{listen}
mhomed=1
loadmodule "corex.so"
loadmodule "codec.so"
loadmodule "sl.so"
loadmodule "siptrace.so"
modparam("corex", "codec_in", "hex;peer={caller}")
modparam("corex", "codec_out", "hex;peer={caller}")
{module}
request_route {{
    if ($ci == "refused") {{ sl_send_reply("404", "Not here"); exit; }}
    forward("{called}");
}}
"#,
        caller = Relay::UAC.v4,
        called = Relay::UAS.sip(),
    )
}

fn relay(net: &Relay, work: &WorkDir, engine: &str, module: &str) -> Result<Corex> {
    let listen = format!(
        "listen=udp:{}\nlisten=udp:{}",
        Relay::USER_SIDE.sip(),
        Relay::CORE_SIDE.sip()
    );
    let path = work.write("corex.cfg", config(&listen, module))?;
    CorexOptions::new(&path)
        .interface("user")
        .interface("core")
        .engine(engine)
        .start(&net.corex, work.path(), "corex")
}

/// A request, its reply, and both as they left; then a request that corex answers itself.
fn exchange(caller: &UdpSocket, called: &UdpSocket) -> Result<()> {
    let corex = Relay::USER_SIDE.sip();
    let message = request("passed", "UDP 10.0.1.2:5060");
    caller.send_to(&hex(&message), corex)?;
    let (forwarded, from) = receive(called)?;
    called.send_to(&ok(&forwarded), from)?;
    is_hex_of_200(&receive(caller)?.0)?;
    caller.send_to(&hex(&request("refused", "UDP 10.0.1.2:5060")), corex)?;
    receive(caller)?;
    Ok(())
}

fn is_read_by_the_real_collector(engine: &str) -> Result<()> {
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let at = SocketAddr::new(Relay::UAS.v4.into(), COLLECTOR);
    let collector = Sipcapture::start(&net.uas, at, &work)?;
    net.corex
        .hosts("127.0.0.1 localhost\n10.0.2.2 homer.example\n")?;
    let corex = relay(
        &net,
        &work,
        engine,
        &parameters(&format!("homer.example:{COLLECTOR}")),
    )?;
    let caller = patient(&net.uac, Relay::UAC.sip())?;
    let called = patient(&net.uas, Relay::UAS.sip())?;
    let wire = Capture::start(&net.uas, "eth0")?;
    exchange(&caller, &called)?;
    let columns = "method, callid, correlation_id, source_ip, source_port, destination_ip, \
                   destination_port, proto, family, type, node, reply_reason";
    let rows = wait::until("six copies are there", PATIENCE, || {
        let rows = collector.rows(columns)?;
        Ok((rows.len() == 6).then_some(rows))
    })
    .with_context(|| format!("{}\n{}", corex.log(), collector.kamailio.process.log()))?;
    let node = format!("homer01:{CAPTURE_ID}");
    let row = |method: &str, call: &str, between: &str, reason: &str| {
        // sipcapture's type: a request, or a reply.
        let kind = if method == "OPTIONS" { 1 } else { 2 };
        format!("{method}|{call}|{call}|{between}|1|2|{kind}|{node}|{reason}")
    };
    let (caller_in, to_called) = ("10.0.1.2|5060|10.0.1.1|5060", "10.0.2.1|5060|10.0.2.2|5060");
    let (from_called, caller_out) = ("10.0.2.2|5060|10.0.2.1|5060", "10.0.1.1|5060|10.0.1.2|5060");
    let expected = [
        row("OPTIONS", "passed", caller_in, ""),
        row("OPTIONS", "passed", to_called, ""),
        row("200", "passed", from_called, "OK"),
        row("200", "passed", caller_out, "OK"),
        row("OPTIONS", "refused", caller_in, ""),
        row("404", "refused", caller_out, "Not here"),
    ];
    // A reply may meet one worker before the other one has copied what it sent.
    let sorted = |rows: &[String]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    ensure!(
        sorted(&rows) == sorted(&expected),
        "{rows:#?}\n{expected:#?}"
    );
    // What was on the wire as hex is plain here; a row is a line without the others.
    let messages = collector.rows("hex(msg)")?;
    let plain = hex(&request("passed", "UDP 10.0.1.2:5060"));
    let plain = String::from_utf8(plain)?.to_uppercase();
    ensure!(messages.contains(&plain), "{messages:#?}");
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("hep.exported") == 6, "{:#}", books.0);

    let frames = wire.stop()?;
    let pcap = work.join("hep.pcap");
    write_pcap(&frames, &pcap)?;
    let seen = dissected(&pcap)?;
    let first =
        format!("10.0.1.2 5060 10.0.1.1 5060 17 1 {CAPTURE_ID} open_sesame passed OPTIONS passed");
    ensure!(seen.len() == 6, "{seen:#?}");
    ensure!(seen.contains(&first), "{seen:#?}");
    Ok(())
}

/// What tshark reads in HEP packets, by the dissector of docs/wireshark.
fn dissected(pcap: &Path) -> Result<Vec<String>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wireshark/hep3.lua");
    let mut command = Command::new("tshark");
    command
        .args(["-n", "-X", &format!("lua_script:{script}"), "-r"])
        .arg(pcap)
        .args([
            "-Y",
            "hep3 && !hep3.malformed",
            "-T",
            "fields",
            "-E",
            "separator=/s",
        ]);
    for field in [
        "hep3.source",
        "hep3.source_port",
        "hep3.destination",
        "hep3.destination_port",
        "hep3.protocol",
        "hep3.type",
        "hep3.capture_id",
        "hep3.auth_key",
        "hep3.correlation_id",
        "sip.Method",
        "sip.Call-ID",
    ] {
        command.args(["-e", field]);
    }
    let text = output_of(&mut command)?;
    let text = text.replace("open sesame", "open_sesame");
    Ok(text.lines().map(str::to_owned).collect())
}

#[test]
fn the_real_collector_reads_the_plain_form_of_what_passes_encoded() -> Result<()> {
    is_read_by_the_real_collector("xdp")
}

#[test]
fn it_does_so_with_kernel_sockets_alone() -> Result<()> {
    is_read_by_the_real_collector("socket")
}

/// Types and values.
type Chunks = Vec<(u16, Vec<u8>)>;

/// The chunks of a packet, in order, the time left out.
fn chunks(packet: &[u8]) -> Result<Chunks> {
    ensure!(packet.starts_with(b"HEP3"), "{}", packet.escape_ascii());
    let number = |at: usize| -> Result<u16> {
        let bytes = packet.get(at..at + 2).context("cut off")?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    ensure!(usize::from(number(4)?) == packet.len());
    let (mut at, mut chunks) = (6, Vec::new());
    while at < packet.len() {
        let (kind, len) = (number(at + 2)?, usize::from(number(at + 4)?));
        let value = packet.get(at + 6..at + len).context("cut off")?;
        if !matches!(kind, 9 | 10) {
            chunks.push((kind, value.to_vec()));
        }
        at += len;
    }
    Ok(chunks)
}

fn value(chunks: &[(u16, Vec<u8>)], kind: u16) -> &[u8] {
    let found = chunks.iter().find(|(known, _)| *known == kind);
    found.map_or(&[], |(_, value)| value)
}

#[test]
fn chunks_are_those_of_kamailios_siptrace_but_for_what_is_documented() -> Result<()> {
    const CORRELATION: u16 = 0x11;
    const PAYLOAD: u16 = 0x0f;
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let at = SocketAddr::new(Relay::UAC.v4.into(), COLLECTOR);
    let collector = patient(&net.uac, at)?;
    let caller = patient(&net.uac, Relay::UAC.sip())?;
    // A number that fits Kamailio's integer.
    let module = parameters(&at.to_string()).replace(&CAPTURE_ID.to_string(), "2001");
    let route = r#"request_route {
    sip_trace("", "an id");
    sl_send_reply("404", "Not here");
}
"#;
    let address = Relay::USER_SIDE.sip();
    let ask = || -> Result<Vec<Chunks>> {
        caller.send_to(&request("x", "UDP 10.0.1.2:5060"), address)?;
        receive(&caller)?;
        // The request twice, as sip_trace() is called beside trace_mode, and the reply.
        (0..3).map(|_| chunks(&receive(&collector)?.0)).collect()
    };
    let ours = {
        let config = format!(
            "listen=udp:{address}\nloadmodule \"sl.so\"\nloadmodule \"siptrace.so\"\n{module}{route}"
        );
        let path = work.write("corex.cfg", config)?;
        let corex =
            CorexOptions::new(&path)
                .interface("user")
                .start(&net.corex, work.path(), "corex")?;
        let ours = ask()?;
        corex.stop()?.check_balance()?;
        ours
    };
    let theirs = {
        let config = format!(
            "debug=2\nlog_stderror=yes\nchildren=1\nauto_aliases=no\ndisable_tcp=yes\nlisten=udp:{address}\n\
             loadmodule \"pv.so\"\nloadmodule \"sl.so\"\nloadmodule \"siptrace.so\"\n{module}{route}"
        );
        let kamailio =
            Kamailio::start(&net.corex, work.path(), "kamailio", &config, address.port())?;
        let theirs = ask()?;
        kamailio.stop();
        theirs
    };
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        // Kamailio has a correlation id only where it is given one: the second is sip_trace()'s.
        let is_given = at == 1;
        let id: &[u8] = if is_given { b"an id" } else { b"x" };
        ensure!(value(ours, CORRELATION) == id, "{ours:?}");
        let is_left_out = |kind: u16| kind == PAYLOAD || (kind == CORRELATION && !is_given);
        let rest = |chunks: &[(u16, Vec<u8>)]| -> Chunks {
            let kept = chunks.iter().filter(|(kind, _)| !is_left_out(*kind));
            kept.cloned().collect()
        };
        ensure!(rest(ours) == rest(theirs), "{at}: {ours:?}\n{theirs:?}");
        if at < 2 {
            ensure!(value(ours, PAYLOAD) == value(theirs, PAYLOAD));
        }
        for all in [ours, theirs] {
            let begin: &[u8] = if at < 2 {
                b"OPTIONS"
            } else {
                b"SIP/2.0 404 Not here\r\n"
            };
            ensure!(value(all, PAYLOAD).starts_with(begin));
        }
    }
    Ok(())
}

#[test]
fn by_tcp_both_ways_have_the_connections_addresses() -> Result<()> {
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let at = SocketAddr::new(Relay::UAS.v4.into(), COLLECTOR);
    let collector = patient(&net.uas, at)?;
    let called = net
        .uas
        .enter(|| Ok(std::net::TcpListener::bind(Relay::UAS.sip())?))?;
    let address = Relay::USER_SIDE.sip();
    let config = format!(
        "listen=tcp:{address}\nloadmodule \"corex.so\"\nloadmodule \"sl.so\"\n\
         loadmodule \"siptrace.so\"\n{}request_route {{\n\
         if ($ci == \"on\") send_tcp(\"{}\"); else sl_send_reply(\"404\", \"Not here\"); }}\n",
        parameters(&at.to_string()),
        Relay::UAS.sip(),
    );
    let path = work.write("corex.cfg", config)?;
    let corex = CorexOptions::new(&path)
        .interface("user")
        .engine("socket")
        .start(&net.corex, work.path(), "corex")?;
    let mut stream = net.uac.enter(|| Ok(TcpStream::connect(address)?))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let own = stream.local_addr()?;
    let copies = |source: SocketAddr, destination: SocketAddr, begin: &[u8]| -> Result<()> {
        let all = chunks(&receive(&collector)?.0)?;
        for (ip, port, expected) in [(3, 7, source), (4, 8, destination)] {
            let IpAddr::V4(wanted) = expected.ip() else {
                continue;
            };
            ensure!(value(&all, ip) == wanted.octets(), "{expected}: {all:?}");
            let wanted = expected.port().to_be_bytes();
            ensure!(value(&all, port) == wanted, "{expected}: {all:?}");
        }
        ensure!(value(&all, 2) == [6]);
        ensure!(value(&all, 0x0f).starts_with(begin));
        Ok(())
    };
    stream.write_all(&request("x", "TCP 10.0.1.2"))?;
    ensure!(stream.read(&mut [0; 4096])? > 0);
    copies(own, address, b"OPTIONS")?;
    copies(address, own, b"SIP/2.0 404")?;
    stream.write_all(&request("on", "TCP 10.0.1.2"))?;
    let (mut next, peer) = called.accept()?;
    ensure!(next.read(&mut [0; 4096])? > 0);
    copies(own, address, b"OPTIONS")?;
    copies(peer, Relay::UAS.sip(), b"OPTIONS")?;
    corex.stop()?.check_balance()
}

#[test]
fn inline_the_plain_form_is_copied_without_a_script() -> Result<()> {
    let (net, work) = (Inline::new()?, WorkDir::new()?);
    let at = SocketAddr::new(Inline::DEVICE.v4.into(), COLLECTOR);
    let collector = patient(&net.device, at)?;
    let [device, server] = [
        patient(&net.device, Inline::DEVICE.sip())?,
        patient(&net.server, Inline::SERVER.sip())?,
    ];
    for chain in [
        "",
        "modparam(\"corex\", \"codec_in\", \"hex\")\nmodparam(\"corex\", \"codec_out\", \"hex\")\n",
    ] {
        let config = format!(
            "loadmodule \"corex.so\"\nloadmodule \"codec.so\"\nloadmodule \"siptrace.so\"\n\
             modparam(\"corex\", \"mode\", \"inline\")\n\
             modparam(\"corex\", \"protect\", \"udp:{}\")\n{}{chain}",
            Inline::SERVER.sip(),
            parameters(&at.to_string()),
        );
        let path = work.write("corex.cfg", config)?;
        let corex =
            CorexOptions::new(&path)
                .interface("eth0")
                .start(&net.server, work.path(), "corex")?;
        let plain = request("x", "UDP 10.0.1.2:5060");
        let on_the_wire = |plain: &[u8]| {
            if chain.is_empty() {
                plain.to_vec()
            } else {
                hex(plain)
            }
        };
        device.send_to(&on_the_wire(&plain), Inline::SERVER.sip())?;
        let (got, from) = receive(&server).with_context(|| corex.log())?;
        ensure!(got == plain);
        server.send_to(&ok(&got), from)?;
        ensure!(receive(&device)?.0 == on_the_wire(&ok(&plain)));
        let [device_ip, server_ip] = [Inline::DEVICE, Inline::SERVER].map(|host| host.v4.octets());
        for (source, destination, message) in [
            (device_ip, server_ip, plain.clone()),
            (server_ip, device_ip, ok(&plain)),
        ] {
            let all = chunks(&receive(&collector)?.0)?;
            ensure!(
                value(&all, 3) == source && value(&all, 4) == destination,
                "{all:?}"
            );
            ensure!(value(&all, 0x0f) == message, "{all:?}");
            ensure!(value(&all, 0x11) == b"x");
        }
        corex.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn a_collector_that_is_killed_costs_copies_and_no_message() -> Result<()> {
    const CALLS: u64 = 600;
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let at = SocketAddr::new(Relay::UAS.v4.into(), COLLECTOR);
    let collector = Sipcapture::start(&net.uas, at, &work)?;
    let corex = relay(&net, &work, "xdp", &parameters(&at.to_string()))?;
    let caller = patient(&net.uac, Relay::UAC.sip())?;
    let called = patient(&net.uas, Relay::UAS.sip())?;
    let mut collector = Some(collector);
    for call in 0..CALLS {
        let request = request(&format!("call{call}"), "UDP 10.0.1.2:5060");
        caller.send_to(&hex(&request), Relay::USER_SIDE.sip())?;
        let (forwarded, from) = receive(&called).with_context(|| corex.log())?;
        called.send_to(&ok(&forwarded), from)?;
        let (reply, _) = receive(&caller).with_context(|| corex.log())?;
        is_hex_of_200(&reply)?;
        if call == CALLS / 2 {
            collector.take().context("ended once")?.kamailio.stop();
        }
    }
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.sent") == 2 * CALLS, "{:#}", books.0);
    ensure!(books.get("hep.copied") == 4 * CALLS, "{:#}", books.0);
    // Its host has said of some that nobody took them.
    ensure!(books.get("hep.refused") > 0, "{:#}", books.0);
    Ok(())
}

#[test]
fn it_is_switched_by_remote_control_and_led_elsewhere_by_a_reload() -> Result<()> {
    const DONE: &str = "the configuration was read again";
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let [first, second] = [9060, 9061].map(|port| SocketAddr::new(Relay::UAC.v4.into(), port));
    let (first_socket, second_socket) = (patient(&net.uac, first)?, patient(&net.uac, second)?);
    let control = format!("unix:{}", work.join("ctl").display());
    let module = |collector: SocketAddr| {
        format!(
            "loadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"{control}\")\n{}",
            parameters(&collector.to_string())
        )
    };
    let corex = relay(&net, &work, "socket", &module(first))?;
    let caller = patient(&net.uac, Relay::UAC.sip())?;
    let ask = |call: &str| -> Result<()> {
        caller.send_to(
            &hex(&request(call, "UDP 10.0.1.2:5060")),
            Relay::USER_SIDE.sip(),
        )?;
        receive(&caller).map(drop)
    };
    let status = |word: &str| -> Result<String> {
        let binary = corex_lab::corex::binary()?;
        let mut rpc = Command::new(binary);
        output_of(rpc.args(["rpc", "-s", &control, "siptrace.status", word]))
    };
    // Each answered here: the request, and the reply.
    let two_copies = |collector: &UdpSocket| -> Result<()> {
        for begin in [&b"OPTIONS"[..], b"SIP/2.0 404"] {
            let all = chunks(&receive(collector)?.0)?;
            ensure!(value(&all, 0x0f).starts_with(begin), "{all:?}");
        }
        Ok(())
    };
    ensure!(status("check")?.contains("Enabled"));
    ask("refused")?;
    two_copies(&first_socket)?;
    ensure!(status("off")?.contains("Disabled"));
    ask("refused")?;
    ensure!(status("on")?.contains("Enabled"));
    work.write("corex.cfg", {
        let listen = format!(
            "listen=udp:{}\nlisten=udp:{}",
            Relay::USER_SIDE.sip(),
            Relay::CORE_SIDE.sip()
        );
        config(&listen, &module(second))
    })?;
    corex.process.signal(libc::SIGHUP)?;
    wait::until("it is read", PATIENCE, || {
        Ok(corex.log().contains(DONE).then_some(()))
    })
    .with_context(|| corex.log())?;
    ask("refused")?;
    two_copies(&second_socket)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("hep.exported") == 4, "{:#}", books.0);
    first_socket.set_nonblocking(true)?;
    ensure!(first_socket.recv(&mut [0; 1]).is_err());
    Ok(())
}
