//! Odd packets: each reaches the server's socket decoded, and leaves the server's host encoded,
//! with all that it had but the payload.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Books, Corex, Frame, Parsed, RawSocket, WorkDir, config,
    corex::CorexOptions,
    frame::{Mac, UdpChecksum},
    sys,
    topology::{Host, Inline},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

const SECOND: Duration = Duration::from_secs(1);
/// EF (RFC 3246), not ECN-capable.
const EF: u8 = 0xb8;

fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

fn gunzip(encoded: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(encoded).read_to_end(&mut plain)?;
    Ok(plain)
}

/// A request of `len` bytes that doesn't compress well, and differs by `seed`.
fn invite(len: usize, seed: u64) -> Vec<u8> {
    let mut text =
        format!("INVITE sip:{seed}@10.0.2.2 SIP/2.0\r\nCall-ID: {seed}\r\n\r\n").into_bytes();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() < len {
        // xorshift64 (Marsaglia).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(state as u8);
    }
    text
}

/// A server with a corex in front of it, and the router that it is connected to.
struct Bench {
    corex: Corex,
    /// On the router's interface to the server.
    wire: RawSocket,
    /// On the server's interface, above XDP.
    stack: RawSocket,
    macs: (Mac, Mac),
    net: Inline,
    _work: WorkDir,
}

impl Bench {
    fn new(parameters: &str, hook: &str) -> Result<Self> {
        Self::in_network(Inline::new()?, parameters, hook, &[])
    }

    fn in_network(net: Inline, parameters: &str, hook: &str, arguments: &[&str]) -> Result<Self> {
        let work = WorkDir::new()?;
        // The strictest: what is injected must look as if it had come by that interface.
        net.server.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
        net.server.sysctl("net.ipv4.conf.eth0.rp_filter", "1")?;
        let protected = [Inline::SERVER.sip(), Inline::SERVER.sip6()];
        let path = work.write("edge.cfg", config::inline(&protected, parameters, hook))?;
        let mut options = CorexOptions::new(&path).interface("eth0");
        for argument in arguments {
            options = options.argument(argument);
        }
        let corex = options.start(&net.server, work.path(), "edge")?;
        Ok(Self {
            corex,
            wire: RawSocket::open(&net.internet, "s")?,
            stack: RawSocket::open(&net.server, "eth0")?,
            macs: (net.internet.mac("s")?, net.server.mac("eth0")?),
            net,
            _work: work,
        })
    }

    /// A frame from the device to the server, as it is on the last cable.
    fn to_server(&self, v6: bool, payload: &[u8]) -> Frame {
        let [from, to] = addresses(v6);
        Frame::udp((self.macs.0, from), (self.macs.1, to), payload)
    }

    /// A frame from the server to the device.
    fn to_device(&self, v6: bool, payload: &[u8]) -> Frame {
        let [to, from] = addresses(v6);
        Frame::udp((self.macs.1, from), (self.macs.0, to), payload)
    }

    fn server(&self, v6: bool) -> Result<UdpSocket> {
        self.net.server.udp(addresses(v6)[1])
    }

    fn device(&self, v6: bool) -> Result<UdpSocket> {
        self.net.device.udp(addresses(v6)[0])
    }

    fn close(self) -> Result<Books> {
        let books = self.corex.stop()?;
        books.check_balance()?;
        Ok(books)
    }
}

/// The device's and the server's.
fn addresses(v6: bool) -> [SocketAddr; 2] {
    let of = |host: Host| if v6 { host.sip6() } else { host.sip() };
    [of(Inline::DEVICE), of(Inline::SERVER)]
}

fn receive(socket: &UdpSocket) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 65_535];
    let (len, _) = socket.recv_from(&mut buffer).context("nothing arrived")?;
    buffer.truncate(len);
    Ok(buffer)
}

fn nothing_comes(socket: &UdpSocket) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    let came = socket.recv_from(&mut [0; 64]);
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    ensure!(came.is_err(), "something came");
    Ok(())
}

/// What a datagram has beside its payload.
fn envelope(parsed: &Parsed) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        parsed.ethernet,
        parsed.vlans.clone(),
        parsed.source,
        parsed.destination,
        (parsed.ttl, parsed.tos),
        (parsed.ip_checksum_right, parsed.udp_checksum_right),
    )
}

/// Named variants of a frame.
fn variants(plain: impl Fn(bool) -> Frame) -> Vec<(&'static str, Frame)> {
    let form = |name, v6, change: &dyn Fn(&mut Frame)| {
        let mut frame = plain(v6);
        (frame.ttl, frame.tos) = (17, EF);
        change(&mut frame);
        (name, frame)
    };
    vec![
        form("IPv4", false, &|_| {}),
        form("IPv4 with options", false, &|f| f.options = vec![1; 8]),
        form("IPv4 without UDP checksum", false, &|f| {
            f.udp_checksum = UdpChecksum::Zero;
        }),
        form("IPv4, padded", false, &|f| f.padding = 12),
        form("IPv4, one tag", false, &|f| f.vlans = vec![(0x8100, 42)]),
        form("IPv4, two tags", false, &|f| {
            f.vlans = vec![(0x88a8, 7), (0x8100, 42)];
        }),
        form("IPv6", true, &|_| {}),
        form("IPv6 with hop-by-hop options", true, &|f| {
            f.extensions = vec![0]
        }),
        form("IPv6 with two extension headers", true, &|f| {
            f.extensions = vec![0, 60];
        }),
        form("IPv6, one tag", true, &|f| f.vlans = vec![(0x8100, 42)]),
    ]
}

#[test]
fn every_form_of_packet_is_decoded_on_the_way_in_and_keeps_its_headers() -> Result<()> {
    let bench = Bench::new("", config::GZIP)?;
    let plain = invite(300, 1);
    let encoded = gzip(&plain)?;
    let sockets = [bench.server(false)?, bench.server(true)?];
    let variants = variants(|v6| bench.to_server(v6, &encoded));
    for (name, frame) in &variants {
        let sent = Parsed::read(&frame.build()).context("a datagram")?;
        bench.wire.send(&frame.build())?;
        let seen = bench
            .stack
            .receive_udp(SECOND, |udp| udp.destination == frame.destination)
            .context(*name)?;
        ensure!(seen.payload == plain, "{name}: {seen:?}");
        ensure!(
            envelope(&seen) == envelope(&sent),
            "{name}: {seen:?}, not {sent:?}"
        );
        if frame.vlans.is_empty() {
            let socket = &sockets[usize::from(frame.source.is_ipv6())];
            ensure!(receive(socket).context(*name)? == plain, "{name}");
        }
    }
    let books = bench.close()?;
    let all = variants.len() as u64;
    ensure!(books.get("user.delivered") == all, "{:#}", books.0);
    ensure!(books.get("user.hook_in") == all, "{:#}", books.0);
    Ok(())
}

#[test]
fn every_form_of_packet_is_encoded_on_the_way_out_and_keeps_its_headers() -> Result<()> {
    let bench = Bench::new("", config::GZIP)?;
    let plain = invite(300, 2);
    let variants = variants(|v6| bench.to_device(v6, &plain));
    for (name, frame) in &variants {
        let sent = Parsed::read(&frame.build()).context("a datagram")?;
        bench.stack.send(&frame.build())?;
        let seen = bench
            .wire
            .receive_udp(SECOND, |udp| udp.source == frame.source)
            .context(*name)?;
        ensure!(gunzip(&seen.payload)? == plain, "{name}: {seen:?}");
        ensure!(
            envelope(&seen) == envelope(&sent),
            "{name}: {seen:?}, not {sent:?}"
        );
    }
    let books = bench.close()?;
    ensure!(
        books.get("user.sent") == variants.len() as u64,
        "{:#}",
        books.0
    );
    Ok(())
}

#[test]
fn a_checksum_that_the_server_left_to_hardware_is_written_in_full() -> Result<()> {
    // With a hook that changes nothing as well: then the frame goes on as it came.
    for hook in [config::GZIP, "return;"] {
        let bench = Bench::new("", hook)?;
        let plain = invite(300, 3);
        for v6 in [false, true] {
            let [device, _] = addresses(v6);
            bench.server(v6)?.send_to(&plain, device)?;
            let seen = bench
                .wire
                .receive_udp(SECOND, |udp| udp.destination == device)?;
            ensure!(
                seen.udp_checksum_right && seen.ip_checksum_right,
                "{seen:?}"
            );
        }
        bench.close()?;
    }
    Ok(())
}

#[test]
fn what_is_damaged_is_left_to_the_stack_which_drops_it() -> Result<()> {
    let bench = Bench::new("", config::GZIP)?;
    let server = bench.server(false)?;
    let encoded = gzip(&invite(300, 4))?;
    let mut frame = bench.to_server(false, &encoded);
    frame.udp_checksum = UdpChecksum::Wrong;
    bench.wire.send(&frame.build())?;
    let mut frame = bench.to_server(false, &encoded);
    frame.wrong_ip_checksum = true;
    bench.wire.send(&frame.build())?;
    nothing_comes(&server)?;
    let counters = bench.net.server.exec("cat", &["/proc/net/snmp"])?;
    let books = bench.close()?;
    ensure!(books.get("user.handed_back") == 2, "{:#}", books.0);
    ensure!(books.get("user.hook_in") == 0, "{:#}", books.0);
    let udp: Vec<Vec<&str>> = counters
        .lines()
        .filter(|line| line.starts_with("Udp:"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let at = udp[0].iter().position(|name| *name == "InCsumErrors");
    ensure!(udp[1][at.context("a counter")?] == "1", "{counters}");
    Ok(())
}

#[test]
fn fragments_in_any_order_are_put_together_decoded_and_delivered_once() -> Result<()> {
    let bench = Bench::new("", config::GZIP)?;
    let mut seed = 100;
    for v6 in [false, true] {
        let server = bench.server(v6)?;
        for order in [
            vec![0, 1, 2, 3, 4],
            vec![4, 3, 2, 1, 0],
            vec![2, 0, 4, 1, 3],
            vec![0, 0, 1, 2, 2, 3, 1, 4],
            vec![3, 4, 3, 4, 0, 1, 2],
        ] {
            seed += 1;
            let plain = invite(6000, seed);
            let mut frame = bench.to_server(v6, &gzip(&plain)?);
            frame.id = seed as u32;
            let fragments = frame.fragments(1232);
            ensure!(fragments.len() == 5, "{}", fragments.len());
            for number in &order {
                bench.wire.send(&fragments[*number])?;
            }
            ensure!(receive(&server)? == plain, "IPv6 {v6}, {order:?}");
            nothing_comes(&server)?;
        }
    }
    let books = bench.close()?;
    ensure!(books.get("user.delivered") == 10, "{:#}", books.0);
    ensure!(books.get("user.merged") == 40, "{:#}", books.0);
    ensure!(
        books.get("user.dropped.fragment_duplicate") > 0,
        "{:#}",
        books.0
    );
    Ok(())
}

#[test]
fn overlapping_fragments_drop_the_datagram_and_incomplete_ones_end_in_time() -> Result<()> {
    let bench = Bench::new("", config::GZIP)?;
    for v6 in [false, true] {
        let server = bench.server(v6)?;
        let mut frame = bench.to_server(v6, &gzip(&invite(6000, 7))?);
        frame.id = 77;
        let good = frame.fragments(1232);
        // The same place in the datagram with other bytes: a tail that begins earlier.
        frame.payload[3000] ^= 0xff;
        let other = frame.fragments(1232);
        for bytes in [&good[0], &good[1], &good[2], &other[2], &good[3], &good[4]] {
            bench.wire.send(bytes)?;
        }
        nothing_comes(&server)?;
        frame.id = 78;
        bench.wire.send(&frame.fragments(1232)[0])?;
        nothing_comes(&server)?;
    }
    let now = bench.corex.books()?;
    ensure!(
        now.get("user.dropped.fragment_overlap") == 12,
        "{:#}",
        now.0
    );
    corex_lab::wait::until("the incomplete ones are given up", 10 * SECOND, || {
        let books = bench.corex.books()?;
        Ok((books.get("user.dropped.fragment_timeout") == 2).then_some(()))
    })?;
    let books = bench.close()?;
    ensure!(books.get("user.delivered") == 0, "{:#}", books.0);
    Ok(())
}

#[test]
fn a_large_message_of_the_server_leaves_whole_if_it_fits_and_else_in_fragments() -> Result<()> {
    let bench = Bench::new("", config::GZIP)?;
    for v6 in [false, true] {
        let (server, device) = (bench.server(v6)?, bench.device(v6)?);
        let to = addresses(v6)[0];
        let mut repetitive = invite(100, 8);
        repetitive.resize(6000, b'a');
        server.send_to(&repetitive, to)?;
        let seen = bench
            .wire
            .receive_udp(SECOND, |udp| udp.destination == to)?;
        ensure!(gunzip(&seen.payload)? == repetitive, "whole");
        ensure!(gunzip(&receive(&device)?)? == repetitive);
        let random = invite(6000, 9);
        server.send_to(&random, to)?;
        ensure!(gunzip(&receive(&device)?)? == random);
        nothing_comes(&device)?;
    }
    let books = bench.close()?;
    ensure!(books.get("user.sent") == 4, "{:#}", books.0);
    ensure!(books.get("user.merged") == 16, "{:#}", books.0);
    // One and five frames, over each family.
    ensure!(books.get("user.out_xdp") == 12, "{:#}", books.0);
    Ok(())
}

/// Makes each message longer than the MTU.
const GROW: &str = r#"$var(more) = "0123456789012345678901234567890123456789";
    $avp(msg) = $mb + $var(more) + $var(more) + $var(more) + $var(more) + $var(more);"#;

#[test]
fn what_outgrows_the_mtu_in_the_hook_is_fragmented_both_ways() -> Result<()> {
    let bench = Bench::new("", GROW)?;
    for v6 in [false, true] {
        let (server, device) = (bench.server(v6)?, bench.device(v6)?);
        let [device_address, server_address] = addresses(v6);
        let message = invite(1400, 10);
        device.send_to(&message, server_address)?;
        let arrived = receive(&server)?;
        ensure!(arrived.len() == 1600 && arrived.starts_with(&message));
        server.send_to(&message, device_address)?;
        let arrived = receive(&device)?;
        ensure!(arrived.len() == 1600 && arrived.starts_with(&message));
    }
    let books = bench.close()?;
    ensure!(books.get("user.out_xdp") == 8, "{:#}", books.0);
    Ok(())
}

#[test]
fn where_the_operator_wants_it_the_server_is_told_the_mtu_and_its_stack_heeds_it() -> Result<()> {
    let bench = Bench::new("modparam(\"corex\", \"too_big\", \"icmp\")", GROW)?;
    for v6 in [false, true] {
        let (server, device) = (bench.server(v6)?, bench.device(v6)?);
        let to = addresses(v6)[0];
        let message = invite(1400, 11);
        server.send_to(&message, to)?;
        nothing_comes(&device)?;
        let route = bench.net.server.ip(&format!("route get {}", to.ip()))?;
        ensure!(route.contains("mtu 1300"), "{route}");
        // It fragments by itself from now on.
        server.send_to(&message, to)?;
        let arrived = receive(&device)?;
        ensure!(arrived.len() == 1600 && arrived.starts_with(&message));
    }
    let books = bench.close()?;
    ensure!(books.get("user.dropped.too_big") == 2, "{:#}", books.0);
    Ok(())
}

#[test]
fn an_icmp_error_about_an_encoded_packet_reaches_the_servers_socket() -> Result<()> {
    let bench = Bench::new("", config::GZIP)?;
    for v6 in [false, true] {
        let server = bench.server(v6)?;
        let mut nobody = addresses(v6)[0];
        nobody.set_port(5999);
        server.connect(nobody)?;
        server.send(&invite(300, 12))?;
        let error = server.recv(&mut [0; 64]).expect_err("nobody answers");
        ensure!(
            error.kind() == std::io::ErrorKind::ConnectionRefused,
            "{error}"
        );
    }
    bench.close()?;
    Ok(())
}

#[test]
fn an_icmp_error_of_the_server_says_nothing_of_what_was_decoded() -> Result<()> {
    let bench = Bench::new("", config::GZIP)?;
    for v6 in [false, true] {
        // Nobody is at the server's port.
        let [_, server] = addresses(v6);
        let device = bench.device(v6)?;
        device.connect(server)?;
        // Compressible: deflate stores the rest as it is.
        let mut plain = invite(60, 17);
        plain.resize(400, b'a');
        device.send(&gzip(&plain)?)?;
        let error = device.recv(&mut [0; 64]).expect_err("nobody answers");
        ensure!(
            error.kind() == std::io::ErrorKind::ConnectionRefused,
            "{error}"
        );
    }
    let mut errors = 0;
    while let Some(seen) = bench.wire.poll()? {
        let shows = |text: &[u8]| seen.bytes.windows(text.len()).any(|part| part == text);
        ensure!(!shows(b"INVITE") && !shows(b"SIP/2.0"), "plain on the wire");
        errors += u32::from(seen.bytes.get(23) == Some(&1) || seen.bytes.get(20) == Some(&58));
    }
    ensure!(errors >= 2, "{errors}");
    let books = bench.close()?;
    ensure!(books.get("user.quotes_cut") == 2, "{:#}", books.0);
    Ok(())
}

#[test]
fn datagrams_that_the_nic_is_to_cut_pass_or_are_dropped_with_a_counter() -> Result<()> {
    for (policy, verdict) in [("open", "passed"), ("closed", "dropped")] {
        let parameter = format!("modparam(\"corex\", \"on_failure\", \"{policy}\")");
        let bench = Bench::new(&parameter, config::GZIP)?;
        let server = bench.server(false)?;
        sys::set_udp_segment(&server, 500)?;
        server.send_to(&invite(1500, 13), addresses(false)[0])?;
        thread::sleep(Duration::from_millis(200));
        let path = format!("inline.egress.{verdict}.gso");
        let now = bench.corex.books()?;
        ensure!(now.get(&path) == 1, "{policy}: {:#}", now.0);
        bench.close()?;
    }
    Ok(())
}

#[test]
fn frames_that_no_detour_holds_pass_or_are_dropped_with_a_counter() -> Result<()> {
    for (policy, verdict) in [("open", "passed"), ("closed", "dropped")] {
        let parameter = format!("modparam(\"corex\", \"on_failure\", \"{policy}\")");
        let net = Inline::new()?;
        for (host, interface) in [
            (&net.server, "eth0"),
            (&net.internet, "s"),
            (&net.internet, "d"),
            (&net.device, "eth0"),
        ] {
            host.ip(&format!("link set dev {interface} mtu 9000"))?;
        }
        let bench = Bench::in_network(net, &parameter, config::GZIP, &[])?;
        let (server, device) = (bench.server(false)?, bench.device(false)?);
        let [device_address, server_address] = addresses(false);
        // The longest that takes the detour, with 14 + 20 + 8 bytes of headers.
        let longest = invite(3_512 - 42, 18);
        server.send_to(&longest, device_address)?;
        ensure!(gunzip(&receive(&device)?)? == longest, "{policy}");
        let longer = invite(3_513 - 42, 19);
        server.send_to(&longer, device_address)?;
        device.send_to(&longer, server_address)?;
        if verdict == "passed" {
            ensure!(receive(&device)? == longer);
            ensure!(receive(&server)? == longer);
        } else {
            nothing_comes(&device)?;
            nothing_comes(&server)?;
        }
        let books = bench.close()?;
        for path in ["kernel", "inline.egress"] {
            let count = books.get(&format!("{path}.{verdict}.too_long"));
            ensure!(count == 1, "{path}: {:#}", books.0);
        }
    }
    Ok(())
}

#[test]
fn the_longest_frames_with_two_tags_take_the_detour_both_ways() -> Result<()> {
    let bench = Bench::new("", "$avp(msg) = $mb;")?;
    // As long as Linux sends with tags of its own: MTU, Ethernet header, one tag.
    let message = invite(1468, 20);
    for (from, to, frame) in [
        (&bench.wire, &bench.stack, bench.to_server(false, &message)),
        (&bench.stack, &bench.wire, bench.to_device(false, &message)),
    ] {
        let mut frame = frame;
        frame.vlans = vec![(0x8100, 7), (0x8100, 42)];
        from.send(&frame.build())?;
        let seen = to.receive_udp(SECOND, |udp| udp.source == frame.source)?;
        ensure!(seen.payload == message && seen.vlans == frame.vlans);
    }
    bench.close()?;
    Ok(())
}

#[test]
fn short_messages_and_other_ports_go_their_way_without_corex() -> Result<()> {
    let bench = Bench::new("modparam(\"corex\", \"min_msg_len\", 200)", config::GZIP)?;
    let (server, device) = (bench.server(false)?, bench.device(false)?);
    let [device_address, server_address] = addresses(false);
    let short = invite(199, 14);
    device.send_to(&short, server_address)?;
    ensure!(receive(&server)? == short);
    server.send_to(&short, device_address)?;
    ensure!(receive(&device)? == short);
    let other = SocketAddr::new(server_address.ip(), 5070);
    let neighbour = bench.net.server.udp(other)?;
    let long = invite(400, 15);
    device.send_to(&long, other)?;
    ensure!(receive(&neighbour)? == long);
    neighbour.send_to(&long, device_address)?;
    ensure!(receive(&device)? == long);
    let encoded = gzip(&long)?;
    device.send_to(&encoded, server_address)?;
    ensure!(receive(&server)? == long);
    let books = bench.close()?;
    for (path, count) in [
        ("kernel.passed.short", 1),
        ("kernel.passed.no_socket", 1),
        ("kernel.steered", 1),
        ("inline.egress.passed.short", 1),
        ("inline.egress.passed.no_socket", 1),
        ("inline.egress.detoured", 0),
        ("user.xdp_in", 1),
    ] {
        ensure!(
            books.get(path) == count,
            "{path} is not {count}: {:#}",
            books.0
        );
    }
    Ok(())
}

#[test]
fn the_hook_knows_who_sends_and_who_is_meant_both_ways() -> Result<()> {
    let hook = r#"$avp(msg) = $mb + "|" + $si + " " + $sp + " " + $Ri + " " + $Rp;"#;
    let bench = Bench::new("", hook)?;
    let (server, device) = (bench.server(false)?, bench.device(false)?);
    let [device_address, server_address] = addresses(false);
    let message = invite(60, 16);
    let with = |context: &str| [&message[..], b"|", context.as_bytes()].concat();
    device.send_to(&message, server_address)?;
    let seen = receive(&server)?;
    let text = String::from_utf8_lossy(&seen).into_owned();
    ensure!(seen == with("10.0.1.2 5060 10.0.2.2 5060"), "{text}");
    server.send_to(&message, device_address)?;
    let seen = receive(&device)?;
    let text = String::from_utf8_lossy(&seen).into_owned();
    ensure!(seen == with("10.0.2.2 5060 10.0.1.2 5060"), "{text}");
    bench.close()?;
    Ok(())
}
