//! Datagrams that are longer than a frame, before the hook or behind it.

use anyhow::{Result, ensure};
use corex_lab::{config, topology::Inline, wait};

use super::bench::{Bench, PATIENCE, addresses, gunzip, gzip, invite, nothing_comes, receive};

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
    wait::until("the incomplete ones are given up", PATIENCE, || {
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
            .receive_udp(PATIENCE, |udp| udp.destination == to)?;
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
fn fragments_that_hide_headers_pass_the_hook_by_only_where_it_is_open() -> Result<()> {
    for (policy, is_open) in [("open", true), ("closed", false)] {
        let parameter = format!("modparam(\"corex\", \"on_failure\", \"{policy}\")");
        let bench = Bench::new(&parameter, config::GZIP)?;
        let server = bench.server(true)?;
        let message = invite(2000, 22);
        // Five headers of options are the datagram's, behind the fragment header: more than are
        // walked.
        let mut datagram = bench.to_server(true, &message);
        datagram.extensions = vec![60; 5];
        let whole = datagram.build();
        let (link, packet) = whole.split_at(14);
        let (header, content) = packet.split_at(40);
        for (number, part) in content.chunks(1232).enumerate() {
            let offset = (number * 1232) as u16;
            let is_last = usize::from(offset) + part.len() == content.len();
            let mut frame = [link, header].concat();
            frame[18..20].copy_from_slice(&((8 + part.len()) as u16).to_be_bytes());
            frame[20] = 44;
            frame.extend([60, 0]);
            frame.extend((offset | u16::from(!is_last)).to_be_bytes());
            frame.extend([0, 0, 0, 99]);
            frame.extend(part);
            bench.wire.send(&frame)?;
        }
        if is_open {
            ensure!(receive(&server)? == message);
        } else {
            nothing_comes(&server)?;
        }
        let books = bench.close()?;
        let path = if is_open {
            "user.handed_back"
        } else {
            "user.dropped.ext_header"
        };
        ensure!(books.get(path) > 0, "{:#}", books.0);
    }
    Ok(())
}
