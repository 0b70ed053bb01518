//! The test vectors of RFC 5769, and what holds for all datagrams.

use std::net::SocketAddr;

use corex_common::answer::{KEEPALIVE_DROP, KEEPALIVE_PASS, KEEPALIVE_PONG};
use proptest::prelude::*;

use super::{Answer, answer, stun};

/// RFC 5769 §2.1: SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME, MESSAGE-INTEGRITY, FINGERPRINT.
const REQUEST: &str = "\
    000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36\
    000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";
/// §2.2, and what stands in it for 192.0.2.1:32853.
const RESPONSE_V4: &str = "\
    0101003c2112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220002000080001a147e112a643\
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
    80280004c07d4c96";
const MAPPED_V4: &str = "0001a147e112a643";
/// §2.3, and what stands in it for [2001:db8:1234:5678:11:2233:4455:6677]:32853.
const RESPONSE_V6: &str = "\
    010100482112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";
const MAPPED_V6: &str = "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn source() -> SocketAddr {
    "192.0.2.1:32853".parse().unwrap()
}

/// The answer to a datagram with STUN on.
fn answered(datagram: &[u8], source: SocketAddr) -> Result<Vec<u8>, Answer> {
    let mut buffer = b"left over".to_vec();
    match answer(datagram, source, (KEEPALIVE_PASS, true), &mut buffer) {
        Answer::Stun => Ok(buffer),
        other => Err(other),
    }
}

/// A Binding request with these attributes.
fn request(attributes: &[&[u8]]) -> Vec<u8> {
    let attributes = attributes.concat();
    let len = (attributes.len() as u16).to_be_bytes();
    let head = [0, 1, len[0], len[1], 0x21, 0x12, 0xa4, 0x42];
    [&head[..], b"transaction!", &attributes].concat()
}

fn with_fingerprint(mut message: Vec<u8>) -> Vec<u8> {
    let len = (message.len() as u16 - 20 + 8).to_be_bytes();
    message[2..4].copy_from_slice(&len);
    let value = stun::fingerprint(&message);
    message.extend([0x80, 0x28, 0, 4]);
    message.extend(value);
    message
}

#[test]
fn fingerprints_and_mapped_addresses_are_those_of_rfc_5769() {
    for message in [REQUEST, RESPONSE_V4, RESPONSE_V6] {
        let message = bytes(message);
        let (front, value) = message.split_at(message.len() - 4);
        let front = &front[..front.len() - 4];
        assert_eq!(stun::fingerprint(front), value);
    }
    let id = bytes("b7e7a701bc34d686fa87dfae");
    let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
    for (address, value) in [("192.0.2.1:32853", MAPPED_V4), (v6, MAPPED_V6)] {
        let value = bytes(value);
        assert_eq!(stun::mapped_address(address.parse().unwrap(), &id), value);
    }
}

#[test]
fn a_request_is_answered_with_the_address_that_it_came_from() {
    let id = b"transaction!";
    let plain = answered(&request(&[]), source()).unwrap();
    let expected = [
        &bytes("0101000c2112a442")[..],
        id,
        &bytes("0020000800 01a147e112a643"),
    ];
    assert_eq!(plain, expected.concat());
    let software = b"\x80\x22\x00\x03abc\0";
    let marked = answered(&with_fingerprint(request(&[software])), source()).unwrap();
    assert_eq!(marked, with_fingerprint(plain));
}

#[test]
fn the_sample_request_is_told_the_attribute_that_is_unknown() {
    let answer = answered(&bytes(REQUEST), source()).unwrap();
    let head = bytes("011100182112a442b7e7a701bc34d686fa87dfae");
    let attributes = bytes("0009000400000414 000a000200240000");
    assert_eq!(answer[..20], head);
    assert_eq!(answer[20..36], attributes);
    assert_eq!(answer[40..], stun::fingerprint(&answer[..36]));
    // Any change shows in its FINGERPRINT, but for one of its type.
    for at in (20..100).chain(102..108) {
        let mut damaged = bytes(REQUEST);
        damaged[at] ^= 1;
        assert!(answered(&damaged, source()).is_err(), "{at}");
    }
}

#[test]
fn what_asks_for_credentials_is_answered_without_and_what_stands_behind_does_not_count() {
    let username = b"\x00\x06\x00\x01a\0\0\0";
    let integrity = [&b"\x00\x08\x00\x14"[..], &[7; 20]].concat();
    let unknown = b"\x00\x24\x00\x00";
    let answer = answered(&request(&[username, &integrity, unknown]), source()).unwrap();
    assert_eq!(answer[..2], [1, 1]);
}

#[test]
fn an_error_names_eight_attributes_at_most() {
    let unknown = [0x7f, 0xff, 0, 0].repeat(300);
    let answer = answered(&request(&[&unknown]), source()).unwrap();
    assert_eq!(answer[..2], [1, 0x11]);
    assert_eq!(answer.len(), 20 + 8 + 4 + 16);
}

#[test]
fn other_stun_gets_no_answer_and_other_datagrams_are_no_stun() {
    let mut indication = request(&[]);
    indication[1] = 0x11;
    let mut allocate = request(&[]);
    allocate[1] = 3;
    let cut_off = request(&[b"\x80\x22\x00\x05abcd"]);
    let behind_fingerprint = {
        let mut message = with_fingerprint(request(&[]));
        message.extend(b"\x80\x22\x00\x00");
        message[3] += 4;
        message
    };
    for message in [indication, allocate, cut_off, behind_fingerprint] {
        assert_eq!(answered(&message, source()), Err(Answer::StunDropped));
    }
    let mut old = request(&[]);
    old[4] = 0;
    let mut long = request(&[]);
    long.push(0);
    let mut odd = request(&[b"\x80"]);
    odd[3] = 1;
    for message in [&old[..], &long, &odd, b"", b"\0", &request(&[])[..19]] {
        assert_eq!(answered(message, source()), Err(Answer::None));
    }
}

#[test]
fn keep_alives_are_line_breaks_and_nuls() {
    let mut buffer = Vec::new();
    let mut what = |datagram: &[u8], keepalive| {
        let found = answer(datagram, source(), (keepalive, false), &mut buffer);
        (found, std::mem::take(&mut buffer))
    };
    for datagram in [&b""[..], b"\0", b"\r\n", b"\0\0\0\0", b"\r\n\r\n\r\n\r\n"] {
        for keepalive in [KEEPALIVE_DROP, KEEPALIVE_PONG] {
            let dropped = (Answer::KeepaliveDropped, Vec::new());
            assert_eq!(what(datagram, keepalive), dropped, "{datagram:?}");
        }
        assert_eq!(what(datagram, KEEPALIVE_PASS).0, Answer::None);
    }
    assert_eq!(
        what(b"\r\n\r\n", KEEPALIVE_DROP).0,
        Answer::KeepaliveDropped
    );
    let pong = (Answer::Pong, b"\r\n".to_vec());
    assert_eq!(what(b"\r\n\r\n", KEEPALIVE_PONG), pong);
    for datagram in [&b" "[..], b"\r\n\r\nX", b"\0\0\0\0\0\0\0\0\0", b"OPTIONS"] {
        assert_eq!(
            what(datagram, KEEPALIVE_PONG).0,
            Answer::None,
            "{datagram:?}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_no_answer_is_much_longer_than_its_request(
        mut datagram in proptest::collection::vec(any::<u8>(), 0..200),
        is_request in any::<bool>(),
        keepalive in 0u32..4,
        stun in any::<bool>(),
    ) {
        if is_request && datagram.len() >= 20 {
            datagram.truncate(datagram.len() / 4 * 4);
            let len = ((datagram.len() - 20) as u16).to_be_bytes();
            datagram[..8].copy_from_slice(&[0, 1, len[0], len[1], 0x21, 0x12, 0xa4, 0x42]);
        }
        let mut buffer = Vec::new();
        let found = answer(&datagram, source(), (keepalive, stun), &mut buffer);
        match found {
            Answer::Pong => prop_assert_eq!(&buffer, b"\r\n"),
            Answer::Stun => {
                prop_assert!(stun && buffer.len() <= datagram.len() + 12);
                // What we answer is answered by nobody: no two hosts can be set on each other.
                let mut again = Vec::new();
                let back = answer(&buffer, source(), (keepalive, stun), &mut again);
                prop_assert_eq!(back, Answer::StunDropped);
            }
            _ => {}
        }
    }

    #[test]
    fn an_answer_gives_back_transaction_and_address(
        id in any::<[u8; 12]>(),
        address in any::<SocketAddr>(),
        has_fingerprint in any::<bool>(),
    ) {
        let mut message = request(&[]);
        message[8..20].copy_from_slice(&id);
        if has_fingerprint {
            message = with_fingerprint(message);
        }
        let answer = answered(&message, address).unwrap();
        prop_assert_eq!(&answer[8..20], &id);
        let mask = [&[0x21, 0x12, 0xa4, 0x42], &id[..]].concat();
        let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
        prop_assert_eq!(port, address.port());
        let len = if address.is_ipv4() { 4 } else { 16 };
        let octets: Vec<u8> = answer[28..28 + len].iter().zip(&mask).map(|(a, b)| a ^ b).collect();
        match address.ip() {
            std::net::IpAddr::V4(ip) => prop_assert_eq!(&octets[..], &ip.octets()),
            std::net::IpAddr::V6(ip) => prop_assert_eq!(&octets[..], &ip.octets()),
        }
        prop_assert_eq!(answer.len(), 28 + len + if has_fingerprint { 8 } else { 0 });
    }
}
