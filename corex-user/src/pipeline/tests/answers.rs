//! What is answered before the script, and as what it counts.

use corex_sip::Transport;

use super::{FULL_REQUEST, HEAD, Recorder, WorkerCounters, inbound, pass, pipeline};
use crate::pipeline::{Inbound, TransmitError};

const STUN: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42transaction!";
const ROUTE: &str = "request_route { drop; }";

fn set(parameters: &[(&str, &str)]) -> String {
    let lines = parameters
        .iter()
        .map(|(name, value)| format!("modparam(\"corex\", \"{name}\", {value})\n"));
    format!("{HEAD}{}{ROUTE}", lines.collect::<String>())
}

/// Passes a message; what left, and the counters.
fn answered(text: &str, message: &[u8]) -> (Vec<Vec<u8>>, WorkerCounters) {
    let mut egress = Recorder::default();
    let counters = pass(text, message, &mut egress);
    for left in &egress.left {
        assert_eq!(left.to, inbound(b"").source);
        assert_eq!((left.from, left.ttl), (inbound(b"").local, 64));
    }
    let payloads = egress.left.into_iter().map(|left| left.payload);
    (payloads.collect(), counters)
}

#[test]
fn keep_alives_are_dropped_or_answered_and_without_the_parameter_they_are_probes() {
    for (value, left, name) in [
        ("\"drop\"", vec![], "drop_keepalive"),
        ("\"pong\"", vec![b"\r\n".to_vec()], "keepalive_answered"),
        ("\"PASS\"", vec![], "drop_probe"),
    ] {
        let (payloads, counters) = answered(&set(&[("keepalive", value)]), b"\r\n\r\n");
        let counted = WorkerCounters::NAMES
            .iter()
            .position(|n| *n == name)
            .unwrap();
        assert_eq!((payloads, counters.values()[counted]), (left, 1), "{value}");
    }
    let (_, counters) = answered(&set(&[]), b"\r\n\r\n");
    assert_eq!(counters.drop_probe, 1);
    let (payloads, counters) = answered(&set(&[("keepalive", "\"pong\"")]), b"\0");
    assert_eq!((payloads.len(), counters.drop_keepalive), (0, 1));
}

#[test]
fn stun_is_answered_where_it_is_asked_for() {
    let (payloads, counters) = answered(&set(&[("stun", "1")]), STUN);
    assert_eq!(counters.stun_answered, 1);
    assert_eq!(counters.bytes_out, 32);
    // 10.0.0.9:5070, XORed.
    assert_eq!(
        payloads[0][20..],
        *b"\0\x20\0\x08\0\x01\x32\xdc\x2b\x12\xa4\x4b"
    );
    let (_, counters) = answered(&set(&[]), STUN);
    assert_eq!(counters.drop_probe, 1);
    let mut indication = STUN.to_vec();
    indication[1] = 0x11;
    let (payloads, counters) = answered(&set(&[("stun", "1")]), &indication);
    assert_eq!((payloads.len(), counters.drop_stun), (0, 1));
}

#[test]
fn an_answer_that_does_not_leave_counts_as_the_error() {
    for (error, name) in [
        (TransmitError::TooLong, "drop_send_too_long"),
        (
            TransmitError::Kernel(std::io::ErrorKind::Other),
            "drop_send_error",
        ),
    ] {
        let mut egress = Recorder {
            refuse: Some(error),
            ..Recorder::default()
        };
        let counters = pass(&set(&[("stun", "1")]), STUN, &mut egress);
        let counted = WorkerCounters::NAMES
            .iter()
            .position(|n| *n == name)
            .unwrap();
        assert_eq!(counters.values()[counted], 1, "{name}");
    }
}

#[test]
fn only_datagrams_are_keep_alives_and_stun() {
    let mut pipeline = pipeline(&set(&[("stun", "1"), ("keepalive", "\"pong\"")]));
    let mut egress = Recorder::default();
    let message = Inbound {
        transport: Transport::Tcp,
        ..inbound(STUN)
    };
    pipeline.receive(message, &mut egress);
    assert_eq!((egress.left.len(), pipeline.counters.drop_not_sip), (0, 1));
}

/// An OPTIONS to this request URI.
fn options(uri: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(FULL_REQUEST);
    text.replacen("sip:10.0.0.8", uri, 1).into_bytes()
}

#[test]
fn options_to_this_host_are_answered_before_the_script() {
    let alias = "alias=udp:here.example:5060\n";
    let text = format!("{alias}{}", set(&[("options_ping", "1")]));
    let (payloads, counters) = answered(&text, &options("sip:here.example"));
    assert_eq!((counters.replied, counters.options_answered), (1, 1));
    let reply = String::from_utf8(payloads[0].clone()).unwrap();
    assert!(reply.starts_with("SIP/2.0 200 OK\r\n"), "{reply}");
    assert!(reply.contains("\r\nTo: <sip:x@b>;tag="), "{reply}");
    assert!(reply.contains("\r\nAccept: */*\r\n"), "{reply}");
    for (uri, method) in [
        ("sip:bob@here.example", "OPTIONS"),
        ("sip:there.example", "OPTIONS"),
        ("sip:here.example", "INFO"),
    ] {
        let message = String::from_utf8(options(uri)).unwrap();
        let message = message.replace("OPTIONS", method);
        let (payloads, counters) = answered(&text, message.as_bytes());
        assert_eq!(
            (payloads.len(), counters.drop_script),
            (0, 1),
            "{method} {uri}"
        );
    }
    let off = format!("{alias}{}", set(&[]));
    let (_, counters) = answered(&off, &options("sip:here.example"));
    assert_eq!(counters.drop_script, 1);
}
