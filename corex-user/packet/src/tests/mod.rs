//! Behaviour of frame parsing, checksums and header writing.

mod datagram;
mod frames;
mod icmp;
mod limits;
mod properties;
mod reassemble;
mod rewrite;
mod view;

use std::net::SocketAddr;

use super::*;

/// The checksum as RFC 1071 §4.1 describes it: 16-bit words in network order, folded at the end.
fn naive_sum(parts: &[&[u8]]) -> u16 {
    let data = parts.concat();
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        if sum > 0xffff {
            sum = (sum & 0xffff) + 1;
        }
    }
    sum as u16
}

/// Addresses, zero-protocol, length: in the order in which the sum doesn't care.
fn naive_udp_sum(frame: &[u8], udp: &UdpFrame) -> u16 {
    let addresses = if udp.src.is_ipv4() {
        &frame[udp.l3 + 12..udp.l3 + 20]
    } else {
        &frame[udp.l3 + 8..udp.l3 + 40]
    };
    let len = (udp.payload_len as u16 + 8).to_be_bytes();
    let datagram = &frame[udp.l4..udp.l4 + 8 + udp.payload_len];
    naive_sum(&[addresses, &[0, 17], &len, datagram])
}

fn envelope(src: &str, dst: &str) -> Envelope {
    Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        src: src.parse::<SocketAddr>().unwrap(),
        dst: dst.parse::<SocketAddr>().unwrap(),
        ttl: 64,
        identification: None,
        traffic_class: 0x68,
    }
}

fn v4() -> Envelope {
    envelope("10.0.0.1:5060", "192.0.2.7:5062")
}

fn v6() -> Envelope {
    envelope("[2001:db8::1]:5060", "[2001:db8:ffff::2]:40000")
}

fn frame(envelope: &Envelope, payload: &[u8]) -> Vec<u8> {
    let mut buf = vec![0xaa; MAX_HEADERS_LEN + payload.len()];
    let len = build_udp(&mut buf, envelope, payload).unwrap();
    buf.truncate(len);
    buf
}

/// `frame` with VLAN tags of these EtherTypes.
fn tagged(frame: &[u8], ethertypes: &[u16]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for ethertype in ethertypes {
        out.extend_from_slice(&ethertype.to_be_bytes());
        out.extend_from_slice(&[0, 100]);
    }
    out.extend_from_slice(&frame[12..]);
    out
}

/// An IPv6 `frame` with extension headers (protocol, length in bytes) in front of UDP.
fn extended(frame: &[u8], headers: &[(u8, usize)]) -> Vec<u8> {
    let mut out = frame[..54].to_vec();
    let added: usize = headers.iter().map(|h| h.1).sum();
    let len = (frame.len() - 54 + added) as u16;
    out[18..20].copy_from_slice(&len.to_be_bytes());
    let mut next_at = 20;
    for &(protocol, len) in headers {
        out[next_at] = protocol;
        next_at = out.len();
        out.push(17);
        out.push((len / 8 - 1) as u8);
        out.resize(next_at + len, 0);
    }
    out.extend_from_slice(&frame[54..]);
    out
}
