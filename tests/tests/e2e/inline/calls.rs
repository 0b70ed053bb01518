//! Real calls through an inline pair, and what passes beside them.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Capture,
    capture::Captured,
    config,
    corex::CorexOptions,
    sipp::{SippOptions, scenario},
    topology::Inline,
};

use super::pair::{LIMIT, Pair, PairBooks};

/// Messages of a call that go to the server, and as many come from it.
const EACH_WAY: u64 = 3;

/// Calls from the device to the server; none fails.
fn call(pair: &Pair, addresses: [SocketAddr; 2], calls: u64, rate: u64) -> Result<()> {
    let [from, to] = addresses;
    let ends = [
        SippOptions::uas(to),
        SippOptions::uac(from, to, calls, rate),
    ];
    call_by(ends, pair, calls, rate)
}

/// The same, by this called and calling side.
fn call_by([uas, uac]: [SippOptions; 2], pair: &Pair, calls: u64, rate: u64) -> Result<()> {
    let uas = uas
        .resending()
        .start(&pair.net.server, pair.work.path(), "uas")?;
    let report = uac
        .resending()
        .start(&pair.net.device, pair.work.path(), "uac")?
        .finish(LIMIT + 20 * Duration::from_secs(calls / rate))?;
    ensure!(
        report.successful == calls && report.failed == 0,
        "{report}; {}\n{}",
        uas.diagnosis(),
        pair.diagnosis()
    );
    uas.stop().map(drop)
}

const V4: fn() -> [SocketAddr; 2] = || [Inline::DEVICE.sip(), Inline::SERVER.sip()];
const V6: fn() -> [SocketAddr; 2] = || [Inline::DEVICE.sip6(), Inline::SERVER.sip6()];

/// No frame can be read as SIP.
fn check_unreadable(frames: &[Captured]) -> Result<()> {
    for seen in frames {
        let bytes = &seen.frame.bytes;
        ensure!(
            !bytes.windows(7).any(|window| window == b"SIP/2.0"),
            "readable on the wire: {}",
            String::from_utf8_lossy(bytes)
        );
    }
    Ok(())
}

/// The payloads between the hosts' SIP ports that went that way, in order.
fn payloads(frames: &[Captured], outgoing: bool, to: SocketAddr) -> Vec<Vec<u8>> {
    frames
        .iter()
        .filter(|seen| seen.frame.outgoing == outgoing)
        .filter_map(|seen| seen.frame.udp())
        .filter(|udp| udp.destination == to)
        .map(|udp| udp.payload)
        .collect()
}

fn check_books(books: &PairBooks, calls: u64) -> Result<()> {
    for books in [&books.device, &books.server] {
        for counter in ["delivered", "sent"] {
            let count = books.get(&format!("user.{counter}"));
            ensure!(count == EACH_WAY * calls, "{counter}: {:#}", books.0);
        }
    }
    Ok(())
}

#[test]
fn the_wire_shows_no_sip_and_the_server_gets_what_the_client_sent_byte_for_byte() -> Result<()> {
    let calls = 100;
    let pair = Pair::new("", config::GZIP)?;
    let wire = Capture::start(&pair.net.internet, "d")?;
    // What the client sends shows at the detour's beginning, and what the server gets on its NIC.
    let client = Capture::start(&pair.net.device, "cx-device-0p")?;
    let server = Capture::start(&pair.net.server, "eth0")?;
    call(&pair, V4(), calls, 50)?;
    let (wire, client, server) = (wire.stop()?, client.stop()?, server.stop()?);
    check_unreadable(&wire)?;
    let [_, to] = V4();
    let (sent, got) = (payloads(&client, true, to), payloads(&server, false, to));
    ensure!(sent.len() as u64 == EACH_WAY * calls, "{}", sent.len());
    ensure!(sent[0].starts_with(b"INVITE sip:"));
    ensure!(sent == got);
    check_books(&pair.stop()?, calls)
}

#[test]
fn calls_by_ipv6_pass() -> Result<()> {
    let pair = Pair::new("", config::GZIP)?;
    call(&pair, V6(), 50, 50)?;
    check_books(&pair.stop()?, 50)
}

#[test]
fn calls_pass_where_the_nic_has_generic_xdp_only_and_nothing_goes_in_circles() -> Result<()> {
    let skb = |options: CorexOptions| options.argument("--xdp-mode").argument("skb");
    let pair = Pair::in_network(Inline::new()?, "", config::GZIP, skb)?;
    call(&pair, V4(), 50, 50)?;
    let books = pair.stop()?;
    check_books(&books, 50)?;
    for books in [&books.device, &books.server] {
        let injected = books.get("kernel.passed.injected");
        ensure!(injected == EACH_WAY * 50, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn filters_of_others_see_what_passes_the_nic_and_stay_when_corex_goes() -> Result<()> {
    for &tc in corex_lab::sys::tc_choices() {
        let net = Inline::new()?;
        net.server.ip("link add x0 type veth peer name x1")?;
        net.server.ip("link set dev x0 up")?;
        net.server.ip("link set dev x1 up")?;
        // There before corex comes: they copy all packets to x1.
        tc_of(&net, "qdisc add dev eth0 clsact")?;
        for side in ["egress", "ingress"] {
            let what = "prio 1 u32 match u32 0 0 action mirred egress mirror dev x0 continue";
            tc_of(&net, &format!("filter add dev eth0 {side} {what}"))?;
        }
        let copies = Capture::start(&net.server, "x1")?;
        let adapt = |options: CorexOptions| options.argument("--tc").argument(tc);
        let pair = Pair::in_network(net, "", config::GZIP, adapt)?;
        call(&pair, V4(), 20, 50)?;
        let [device, server] = V4();
        // Not corex's, so it goes on to the next filter.
        let other = pair.net.server.udp(with_port(server, 7000))?;
        other.send_to(b"something else", with_port(device, 7000))?;
        let copies = copies.stop()?;
        let others = payloads(&copies, false, with_port(device, 7000));
        ensure!(others == [b"something else"], "{tc}: {others:?}");
        let (came, left) = (
            payloads(&copies, false, server),
            payloads(&copies, false, device),
        );
        // What sipp had to send again is the same to the byte.
        let plain = |payloads: &[Vec<u8>]| {
            let is = |one: &&Vec<u8>| one.windows(7).any(|window| window == b"SIP/2.0");
            payloads.iter().filter(is).collect::<BTreeSet<_>>().len() as u64
        };
        ensure!(plain(&came) == EACH_WAY * 20, "{tc}: {} came", came.len());
        // A TCX program is before all clsact filters: what it leads away they don't see.
        let seen = if tc == "tcx" { 0 } else { EACH_WAY * 20 };
        ensure!(plain(&left) == seen, "{tc}: {} left", left.len());
        let (net, books) = pair.stop_in()?;
        check_books(&books, 20)?;
        let filters = tc_of(&net, "filter show dev eth0 egress")?;
        ensure!(
            filters.contains("u32") && !filters.contains("corex"),
            "{filters}"
        );
    }
    Ok(())
}

fn tc_of(net: &Inline, words: &str) -> Result<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    net.server.exec("tc", &words)
}

#[test]
fn other_traffic_on_the_nic_is_unharmed_and_never_reaches_user_space() -> Result<()> {
    const BYTES: usize = 20_000_000;
    const DATAGRAMS: u32 = 2_000;
    let pair = Pair::new("", config::GZIP)?;
    let [_, server] = V4();
    let (of_tcp, of_udp) = (with_port(server, 5201), with_port(server, 5202));
    let listener = pair.net.server.enter(|| Ok(TcpListener::bind(of_tcp)?))?;
    let socket = pair.net.server.udp(of_udp)?;
    let sender = pair.net.device.udp(with_port(V4()[0], 5202))?;
    let connection = pair.net.device.enter(|| Ok(TcpStream::connect(of_tcp)?))?;
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let block: Vec<u8> = (0..=250).collect();
    thread::scope(|scope| -> Result<()> {
        let reader = scope.spawn(|| -> Result<(usize, u64)> {
            let (mut stream, _) = listener.accept()?;
            let (mut total, mut checksum, mut buffer) = (0, 0, vec![0; 65_536]);
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok((total, checksum)),
                    len => {
                        total += len;
                        checksum += sum(&buffer[..len]);
                    }
                }
            }
        });
        let (mut stream, whole) = (connection, block.repeat(BYTES / block.len()));
        let writer = scope.spawn(move || -> Result<u64> {
            stream.write_all(&whole)?;
            Ok(sum(&whole))
        });
        let datagrams = scope.spawn(|| -> Result<u32> {
            let mut buffer = [0; 2048];
            for number in 0..DATAGRAMS {
                sender.send_to(&number.to_be_bytes().repeat(100), of_udp)?;
                let (len, _) = socket.recv_from(&mut buffer)?;
                ensure!(buffer[..len] == number.to_be_bytes().repeat(100));
                socket.send_to(&buffer[..len], with_port(V4()[0], 5202))?;
                sender.recv_from(&mut buffer)?;
            }
            Ok(DATAGRAMS)
        });
        call(&pair, V4(), 50, 50)?;
        let sent = writer.join().ok().context("the writer")??;
        let (_, got) = reader.join().ok().context("the reader")??;
        ensure!(sent == got, "TCP carried something else");
        datagrams.join().ok().context("the datagrams")??;
        Ok(())
    })?;
    let books = pair.stop()?;
    check_books(&books, 50)?;
    let others = u64::from(DATAGRAMS);
    for books in [&books.device, &books.server] {
        // Each message once, and nothing else.
        ensure!(
            books.get("user.xdp_in") == 2 * EACH_WAY * 50,
            "{:#}",
            books.0
        );
        ensure!(
            books.get("kernel.passed.no_socket") == others,
            "{:#}",
            books.0
        );
        ensure!(
            books.get("inline.egress.passed.no_socket") == others,
            "{:#}",
            books.0
        );
        ensure!(books.get("kernel.passed.not_udp") > 0, "{:#}", books.0);
        ensure!(
            books.get("inline.egress.passed.not_udp") > 0,
            "{:#}",
            books.0
        );
    }
    Ok(())
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// A test that runs with no other beside it: it fills the machine, and where the machine is too slow
/// for it, messages come late and are sent again.
mod alone {
    use super::*;

    #[test]
    fn ten_thousand_calls_pass_and_none_fails() -> Result<()> {
        let pair = Pair::new("", config::GZIP)?;
        let wire = Capture::start(&pair.net.internet, "d")?;
        let [from, to] = V4();
        // Where the machine bears less, calls begin when others have ended: else more and more come
        // late, sipp's own sockets overflow, and what is lost there is sent again and adds to it.
        let ends = [
            SippOptions::uas(to).scenario(&scenario("uas_patient.xml")),
            SippOptions::uac(from, to, 10_000, 400)
                .argument("-l")
                .argument("250"),
        ];
        call_by(ends, &pair, 10_000, 400)?;
        check_unreadable(&wire.stop()?)?;
        pair.stop()?;
        Ok(())
    }
}
