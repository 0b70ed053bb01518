//! Odd packets: each reaches the server's socket decoded, and leaves the server's host encoded,
//! with all that it had but the payload.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Frame, Parsed, config, frame::UdpChecksum, sys};

use super::bench::{Bench, PATIENCE, addresses, gunzip, gzip, invite, nothing_comes, receive};

/// EF (RFC 3246), not ECN-capable.
const EF: u8 = 0xb8;

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
            .receive_udp(PATIENCE, |udp| udp.destination == frame.destination)
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
            .receive_udp(PATIENCE, |udp| udp.source == frame.source)
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
fn a_checksum_that_was_left_to_hardware_is_written_in_full() -> Result<()> {
    // With a hook that changes nothing as well: then the frame goes on as it came.
    for hook in ["$avp(msg) = $mb + \"+\";", "return;"] {
        let bench = Bench::new("", hook)?;
        let plain = invite(300, 3);
        for v6 in [false, true] {
            let [from, to] = addresses(v6);
            let (server, device) = (bench.server(v6)?, bench.device(v6)?);
            server.send_to(&plain, from)?;
            let seen = bench
                .wire
                .receive_udp(PATIENCE, |udp| udp.destination == from)?;
            ensure!(
                seen.udp_checksum_right && seen.ip_checksum_right,
                "{seen:?}"
            );
            // What comes over veth pairs alone has never had one.
            device.send_to(&plain, to)?;
            ensure!(receive(&server)?.starts_with(&plain));
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
        let seen = to.receive_udp(PATIENCE, |udp| udp.source == frame.source)?;
        ensure!(seen.payload == message && seen.vlans == frame.vlans);
    }
    bench.close()?;
    Ok(())
}

#[test]
fn headers_that_are_not_walked_pass_the_hook_by_only_where_it_is_open() -> Result<()> {
    for (policy, verdict) in [("open", "passed"), ("closed", "dropped")] {
        let parameter = format!("modparam(\"corex\", \"on_failure\", \"{policy}\")");
        let bench = Bench::new(&parameter, config::GZIP)?;
        let server = bench.server(true)?;
        let message = invite(300, 21);
        let mut frame = bench.to_server(true, &message);
        frame.extensions = vec![0, 60, 60, 60, 60];
        bench.wire.send(&frame.build())?;
        if verdict == "passed" {
            ensure!(receive(&server)? == message);
        } else {
            nothing_comes(&server)?;
        }
        let books = bench.close()?;
        let path = format!("kernel.{verdict}.ext_header");
        ensure!(books.get(&path) == 1, "{:#}", books.0);
    }
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
