//! Calls through proxies that forward without state: by UDP and by TCP, through several of them,
//! forked, and to the end of a connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Kamailio, WorkDir,
    corex::{Corex, CorexOptions},
    sipp::{SippOptions, scenario},
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(90);
/// INVITE, 180, 200, ACK, BYE, 200.
const MESSAGES: u64 = 6;

/// A configuration that answers REGISTER and forwards the rest.
fn proxy(listen: &[&str], next: &str) -> String {
    let listen: String = listen.iter().map(|l| format!("listen={l}\n")).collect();
    format!(
        r#"#!KAMAILIO
{listen}children=1
debug=1
loadmodule "pv.so"
loadmodule "sl.so"
request_route {{
    if (method == "REGISTER") {{
        sl_send_reply("200", "OK");
        exit;
    }}
    $du = "{next}";
    forward();
    exit;
}}
"#
    )
}

fn start(relay: &Relay, work: &WorkDir, name: &str, config: String, engine: &str) -> Result<Corex> {
    let file = work.write(&format!("{name}.cfg"), config)?;
    let mut options = CorexOptions::new(&file).engine(engine);
    if engine == "xdp" {
        options = options.interface("user").interface("core");
    }
    options.start(&relay.corex, work.path(), name)
}

#[test]
fn a_registration_and_a_call_pass_by_udp() -> Result<()> {
    const CALLS: u64 = 200;
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let corex = start(
        &relay,
        &work,
        "proxy",
        proxy(&["udp:10.0.1.1", "udp:10.0.2.1"], "sip:10.0.2.2"),
        "xdp",
    )?;
    let uas = SippOptions::uas(Relay::UAS.sip()).start(&relay.uas, work.path(), "uas")?;
    SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), CALLS, 100)
        .scenario(&scenario("register_call.xml"))
        .start(&relay.uac, work.path(), "uac")?
        .finish(LIMIT)?
        .check(CALLS)?;
    uas.stop()?.check(CALLS)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.sent") == CALLS * MESSAGES, "{:#}", books.0);
    ensure!(books.get("user.replied") == CALLS, "{:#}", books.0);
    ensure!(
        books.get("kernel.steered") == CALLS * (MESSAGES + 2) - CALLS,
        "{:#}",
        books.0
    );
    Ok(())
}

#[test]
fn a_registration_and_a_call_pass_by_tcp_and_take_one_connection_each_side() -> Result<()> {
    const CALLS: u64 = 200;
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let listen = ["udp:10.0.1.1", "tcp:10.0.1.1", "tcp:10.0.2.1"];
    let config = proxy(&listen, "sip:10.0.2.2;transport=tcp");
    let corex = start(&relay, &work, "proxy", config, "xdp")?;
    let uas = SippOptions::uas(Relay::UAS.sip())
        .tcp()
        .start(&relay.uas, work.path(), "uas")?;
    SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), CALLS, 100)
        .scenario(&scenario("register_call.xml"))
        .tcp()
        .start(&relay.uac, work.path(), "uac")?
        .finish(LIMIT)?
        .check(CALLS)?;
    uas.stop()?.check(CALLS)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(
        books.get("user.stream_in") == CALLS * (MESSAGES + 1),
        "{:#}",
        books.0
    );
    ensure!(books.get("user.sent") == CALLS * MESSAGES, "{:#}", books.0);
    ensure!(books.get("user.replied") == CALLS, "{:#}", books.0);
    ensure!(
        books.get("streams.delivered") == CALLS * (MESSAGES + 1),
        "{:#}",
        books.0
    );
    ensure!(books.get("streams.accepted") == 1, "{:#}", books.0);
    ensure!(books.get("streams.connected") == 1, "{:#}", books.0);
    Ok(())
}

#[test]
fn a_call_by_tcp_goes_on_by_udp() -> Result<()> {
    const CALLS: u64 = 50;
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let listen = ["tcp:10.0.1.1", "udp:10.0.2.1"];
    let corex = start(
        &relay,
        &work,
        "proxy",
        proxy(&listen, "sip:10.0.2.2"),
        "xdp",
    )?;
    let uas = SippOptions::uas(Relay::UAS.sip()).start(&relay.uas, work.path(), "uas")?;
    SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), CALLS, 50)
        .tcp()
        .start(&relay.uac, work.path(), "uac")?
        .finish(LIMIT)?
        .check(CALLS)?;
    uas.stop()?.check(CALLS)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.stream_in") == CALLS * 3, "{:#}", books.0);
    Ok(())
}

/// corex, the real Kamailio and corex in a row.
fn three_hops(relay: &Relay, work: &WorkDir) -> Result<(Corex, Kamailio, Corex)> {
    let first = proxy(&["udp:10.0.1.1:5060"], "sip:10.0.1.1:5062");
    let second = proxy(&["udp:10.0.1.1:5062"], "sip:10.0.2.1:5060");
    let third = proxy(&["udp:10.0.2.1:5060"], "sip:10.0.2.2");
    let first = start(relay, work, "first", first, "xdp")?;
    let second = Kamailio::start(&relay.corex, work.path(), "second", &second, 5062)?;
    let third = start(relay, work, "third", third, "socket")?;
    Ok((first, second, third))
}

#[test]
fn every_hop_adds_its_via_and_takes_it_off_again() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let (first, second, third) = three_hops(&relay, &work)?;
    let uas = relay.uas.udp(Relay::UAS.sip())?;
    let uac = relay.uac.udp("10.0.1.2:5099".parse()?)?;
    for socket in [&uas, &uac] {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let request = "OPTIONS sip:x@example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.1.2:5060;rport;branch=z9hG4bK1\r\nMax-Forwards: 10\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: one\r\nCSeq: 1 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";
    uac.send_to(request.as_bytes(), Relay::USER_SIDE.sip())?;
    let mut buffer = [0; 4096];
    let (len, from) = uas.recv_from(&mut buffer).context("the request")?;
    let text = String::from_utf8(buffer[..len].to_vec())?;
    let vias: Vec<&str> = text.lines().filter(|l| l.starts_with("Via:")).collect();
    let hosts = [
        "Via: SIP/2.0/UDP 10.0.2.1;branch=z9hG4bK",
        "Via: SIP/2.0/UDP 10.0.1.1:5062;branch=z9hG4bK",
        "Via: SIP/2.0/UDP 10.0.1.1;branch=z9hG4bK",
        "Via: SIP/2.0/UDP 10.0.1.2:5060;received=10.0.1.2;rport=5099;branch=z9hG4bK1",
    ];
    ensure!(vias.len() == 4, "{text}");
    for (via, host) in vias.iter().zip(hosts) {
        ensure!(via.starts_with(host), "{via} is not {host}");
    }
    // Two count it down; Kamailio leaves that to its script.
    ensure!(text.contains("\r\nMax-Forwards: 8\r\n"), "{text}");
    let reply = text.replacen("OPTIONS sip:x@example.com SIP/2.0", "SIP/2.0 200 OK", 1);
    uas.send_to(reply.as_bytes(), from)?;
    let (len, from) = uac.recv_from(&mut buffer).context("the reply")?;
    ensure!(from == Relay::USER_SIDE.sip());
    let text = String::from_utf8(buffer[..len].to_vec())?;
    let vias: Vec<&str> = text.lines().filter(|l| l.starts_with("Via:")).collect();
    ensure!(vias == [hosts[3]], "{text}");
    second.stop();
    for corex in [first, third] {
        corex.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn calls_pass_through_three_hops_with_kamailio_in_the_middle() -> Result<()> {
    const CALLS: u64 = 200;
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let (first, second, third) = three_hops(&relay, &work)?;
    let uas = SippOptions::uas(Relay::UAS.sip()).start(&relay.uas, work.path(), "uas")?;
    SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), CALLS, 100)
        .start(&relay.uac, work.path(), "uac")?
        .finish(LIMIT)?
        .check(CALLS)?;
    uas.stop()?.check(CALLS)?;
    second.stop();
    for corex in [first, third] {
        let books = corex.stop()?;
        books.check_balance()?;
        ensure!(books.get("user.sent") == CALLS * MESSAGES, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn a_request_forks_to_every_branch() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let config = r#"
listen=udp:10.0.1.1
listen=udp:10.0.2.1
loadmodule "corex.so"
request_route {
    $ru = "sip:a@10.0.2.2:5071";
    append_branch("sip:b@10.0.2.2:5072", "0.5");
    append_branch("sip:c@10.0.2.2:5073");
    forward();
}
"#;
    let corex = start(&relay, &work, "proxy", config.to_owned(), "xdp")?;
    let sockets = [5071, 5072, 5073].map(|port| {
        let socket = relay.uas.udp(SocketAddr::new(Relay::UAS.sip().ip(), port));
        socket.map(|socket| (port, socket))
    });
    let uac = relay.uac.udp(Relay::UAC.sip())?;
    uac.send_to(
        b"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK1\r\n\
          From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n",
        Relay::USER_SIDE.sip(),
    )?;
    let mut branches = Vec::new();
    for socket in sockets {
        let (port, socket) = socket?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut buffer = [0; 2048];
        let len = socket
            .recv(&mut buffer)
            .with_context(|| format!("at {port}"))?;
        let text = String::from_utf8(buffer[..len].to_vec())?;
        ensure!(
            text.contains(&format!("@10.0.2.2:{port} SIP/2.0")),
            "{text}"
        );
        let branch = text.split("branch=").nth(1).and_then(|b| b.lines().next());
        branches.push(branch.context("a branch")?.to_owned());
    }
    branches.dedup();
    ensure!(branches.len() == 3, "{branches:?}");
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.sent") == 1, "{:#}", books.0);
    ensure!(
        books.get("user.out_xdp") + books.get("user.out_socket") == 3,
        "{:#}",
        books.0
    );
    Ok(())
}

/// A configuration with the hook on that replies to everything.
const REPLIES: &str = r#"
listen=tcp:10.0.1.1
loadmodule "corex.so"
loadmodule "sl.so"
loadmodule "textops.so"
tcp_msg_read_timeout = 1
modparam("corex", "network_io_intercept", 1)
modparam("corex", "msg_avp", "$avp(m)")
event_route[network:msg] {
    if (is_incoming()) { $avp(m) = $mb; }
    else { $avp(m) = $mb + "out"; }
}
request_route { sl_send_reply("200", "OK"); }
"#;

fn connect(relay: &Relay) -> Result<TcpStream> {
    let stream = relay
        .uac
        .enter(|| Ok(TcpStream::connect(Relay::USER_SIDE.sip())?))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

fn options(number: u32) -> String {
    format!(
        "OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.1.2;branch=z9hG4bK{number}\r\n\
         Call-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn the_hook_runs_once_for_each_message_of_a_stream_both_ways() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let corex = start(&relay, &work, "proxy", REPLIES.to_owned(), "socket")?;
    let mut stream = connect(&relay)?;
    // Three messages and a keep-alive, cut in the worst places.
    let text = format!("{}\r\n\r\n{}{}", options(1), options(2), options(3));
    for piece in text.as_bytes().chunks(17) {
        stream.write_all(piece)?;
    }
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while answer.matches("\r\n\r\nout").count() < 3 {
        let len = stream.read(&mut buffer).context(answer.clone())?;
        ensure!(len > 0, "closed after {answer}");
        answer.push_str(std::str::from_utf8(&buffer[..len])?);
    }
    let order: Vec<_> = answer
        .match_indices("z9hG4bK")
        .map(|(at, _)| &answer[at + 7..at + 8])
        .collect();
    ensure!(order == ["1", "2", "3"], "{answer}");
    let books = corex.stop()?;
    books.check_balance()?;
    for name in [
        "user.stream_in",
        "user.hook_in",
        "user.hook_out",
        "user.replied",
    ] {
        ensure!(books.get(name) == 3, "{name}: {:#}", books.0);
    }
    ensure!(books.get("streams.pings") == 1, "{:#}", books.0);
    Ok(())
}

#[test]
fn bad_streams_cost_their_own_connection_and_nothing_else() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let corex = start(&relay, &work, "proxy", REPLIES.to_owned(), "socket")?;
    let mut bad = Vec::new();
    for text in [
        "OPTIONS sip:a SIP/2.0\r\nContent-Le",
        "\u{1}\u{2}\u{3}",
        "OPTIONS sip:a SIP/2.0\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut stream = connect(&relay)?;
        stream.write_all(text.as_bytes())?;
        bad.push(stream);
    }
    // One that goes in the middle of a message.
    connect(&relay)?.write_all(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 10\r\n\r\nabc")?;
    let mut good = connect(&relay)?;
    for number in 0..10 {
        good.write_all(options(number).as_bytes())?;
        let mut buffer = [0; 4096];
        let len = good.read(&mut buffer)?;
        ensure!(buffer[..len].starts_with(b"SIP/2.0 200"));
    }
    for stream in &mut bad {
        let end = stream.read(&mut [0; 16]);
        ensure!(
            matches!(end, Ok(0))
                || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
    wait::until("the connections are closed", LIMIT, || {
        let books = corex.books()?;
        let closed =
            ["slow", "framing", "peer"].map(|how| books.get(&format!("streams.closed_{how}")));
        Ok((closed == [1, 2, 1]).then_some(()))
    })?;
    corex.stop()?.check_balance()
}
