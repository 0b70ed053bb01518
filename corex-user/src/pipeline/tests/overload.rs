//! What goes first when the worker can't keep up.

use std::net::IpAddr;

use super::*;
use crate::{
    guard::Listings,
    kernel::overload::{OverloadMaps, now},
    pipeline::Overload,
};

const ON: &str = "modparam(\"corex\", \"overload\", 1)\n";
const FORWARDS: &str = "request_route { $du = \"sip:10.0.0.8\"; forward(); }\n\
    reply_route { send(\"10.0.0.9\"); }\n";
/// Who sends what [`inbound`] makes.
const SOURCE: &str = "10.0.0.9";

/// A pipeline whose fullest queue is so full, in percent, and what it knows.
fn pressed(parameters: &str, fill: u32) -> (Pipeline, OverloadMaps) {
    let mut pipeline = pipeline(&format!("{HEAD}{ON}{parameters}\n{FORWARDS}"));
    let maps = OverloadMaps::on_heap(7);
    pipeline.overload = Overload::new(Some(maps.clone()), 0);
    pipeline.look_at_pressure(fill);
    (pipeline, maps)
}

fn source() -> IpAddr {
    SOURCE.parse().unwrap()
}

/// What is counted for a message, and what leaves.
fn received(pipeline: &mut Pipeline, message: &[u8]) -> (WorkerCounters, Vec<Left>) {
    let mut egress = Recorder::default();
    pipeline.counters = WorkerCounters::default();
    pipeline.receive(inbound(message), &mut egress);
    assert_eq!(pipeline.counters.decided(), 1, "{:?}", pipeline.counters);
    (pipeline.counters, egress.left)
}

fn with(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(FULL_REQUEST).replace(from, to);
    text.into_bytes()
}

fn in_dialog() -> Vec<u8> {
    with("To: <sip:x@b>", "To: <sip:x@b>;tag=2")
}

#[test]
fn what_is_new_goes_from_the_high_threshold_on_and_what_is_under_way_from_the_critical() {
    for (fill, new_goes, rest_goes) in [(49, 0, 0), (50, 1, 0), (90, 1, 1)] {
        let (mut pipeline, _) = pressed("", fill);
        let (counters, left) = received(&mut pipeline, FULL_REQUEST);
        assert_eq!(
            (counters.drop_overload, left.len()),
            (new_goes, 1 - new_goes as usize)
        );
        for message in [&in_dialog(), REPLY, &with("OPTIONS sip", "ACK sip")] {
            let (counters, _) = received(&mut pipeline, message);
            assert_eq!(counters.drop_overload, rest_goes, "{fill} {message:?}");
        }
        let (counters, _) = received(&mut pipeline, &[0x1f; 100]);
        assert_eq!(counters.drop_overload, new_goes);
    }
}

#[test]
fn it_ends_at_the_low_threshold() {
    let (mut pipeline, _) = pressed("", 60);
    pipeline.look_at_pressure(26);
    assert_eq!(received(&mut pipeline, FULL_REQUEST).0.drop_overload, 1);
    pipeline.look_at_pressure(25);
    assert_eq!(received(&mut pipeline, FULL_REQUEST).0.sent, 1);
}

#[test]
fn within_a_batch_it_only_gets_worse() {
    let (mut pipeline, _) = pressed("", 60);
    pipeline.feel_pressure(0);
    assert_eq!(received(&mut pipeline, FULL_REQUEST).0.drop_overload, 1);
    pipeline.feel_pressure(95);
    assert_eq!(received(&mut pipeline, &in_dialog()).0.drop_overload, 1);
}

#[test]
fn who_is_trusted_gets_through_without_a_guard() {
    let mut pipeline = super::guard::guarded(&format!("{ON}{FORWARDS}"));
    pipeline.overload = Overload::new(Some(OverloadMaps::on_heap(7)), 0);
    pipeline.look_at_pressure(100);
    assert_eq!(received(&mut pipeline, FULL_REQUEST).0.drop_overload, 1);
    let trusting = Listings {
        trust: vec![corex_script::settings::guard::network("10.0.0.0/28").unwrap()],
        ..Listings::default()
    };
    let settings = &pipeline.context.config.settings.corex.guard;
    pipeline.context.guard.follow(settings, &trusting);
    assert!(!pipeline.context.guard.is_on());
    assert_eq!(received(&mut pipeline, FULL_REQUEST).0.sent, 1);
}

#[test]
fn on_dry_run_nothing_goes_and_what_would_have_gone_is_counted() {
    let dry = "modparam(\"corex\", \"overload_dry_run\", 1)\n\
        modparam(\"corex\", \"overload_reply\", \"503\")\n";
    let (mut pipeline, maps) = pressed(dry, 100);
    pipeline.overload.earn_of_a_second(100);
    let counted = |pipeline: &mut Pipeline| {
        let (counters, left) = received(pipeline, FULL_REQUEST);
        assert_eq!(left[0].to, "10.0.0.8:5060".parse().unwrap(), "no 503");
        (counters.overload_dry, counters.drop_overload)
    };
    assert_eq!(counted(&mut pipeline), (1, 0));
    maps.peers().learn(source(), now() + 1000);
    assert_eq!(counted(&mut pipeline), (0, 0));
}

#[test]
fn known_peers_get_through() {
    let (mut pipeline, maps) = pressed("", 100);
    maps.peers().learn(source(), now() + 1000);
    assert_eq!(received(&mut pipeline, FULL_REQUEST).0.sent, 1);
}

#[test]
fn without_the_parameter_nothing_is_shed() {
    let mut pipeline = pipeline(&format!("{HEAD}{FORWARDS}"));
    pipeline.overload = Overload::new(Some(OverloadMaps::on_heap(7)), 0);
    pipeline.look_at_pressure(100);
    assert_eq!(received(&mut pipeline, FULL_REQUEST).0.sent, 1);
}

#[test]
fn a_503_says_when_to_come_back_and_the_ack_to_it_goes_no_further() {
    let parameters = "modparam(\"corex\", \"overload_reply\", \"503\")\n\
        modparam(\"corex\", \"overload_reply_rate\", 2)\nmodparam(\"corex\", \"retry_after\", 7)";
    let (mut pipeline, _) = pressed(parameters, 60);
    pipeline.overload.earn_of_a_second(2);
    let invite = with("OPTIONS", "INVITE");
    let (counters, left) = received(&mut pipeline, &invite);
    assert_eq!((counters.replied, counters.overload_answered), (1, 1));
    let reply = String::from_utf8_lossy(&left[0].payload).into_owned();
    assert_eq!(left[0].to, "10.0.0.9:5070".parse().unwrap());
    assert!(
        reply.starts_with("SIP/2.0 503 Service Unavailable\r\n"),
        "{reply}"
    );
    assert!(reply.contains("\r\nRetry-After: 7\r\n"), "{reply}");
    let tag = reply.split("To: <sip:x@b>").nth(1).unwrap();
    let tag = tag.lines().next().unwrap();
    let ack = with("To: <sip:x@b>", &format!("To: <sip:x@b>{tag}"));
    let ack = String::from_utf8_lossy(&ack).replace("OPTIONS", "ACK");
    let (counters, left) = received(&mut pipeline, ack.as_bytes());
    assert_eq!((counters.consumed, left.len()), (1, 0));
    // Another ACK isn't ours.
    let (counters, _) = received(&mut pipeline, &with("OPTIONS", "ACK"));
    assert_eq!(counters.consumed, 0, "{counters:?}");
    // Two in a second, and not more.
    assert_eq!(received(&mut pipeline, &invite).0.replied, 1);
    let (counters, left) = received(&mut pipeline, &invite);
    assert_eq!((counters.drop_overload, left.len()), (1, 0));
}

#[test]
fn a_dialog_makes_both_sides_known() {
    for (method, status, is_known) in [
        ("INVITE", "200 OK", true),
        ("REGISTER", "200 OK", true),
        ("INVITE", "486 Busy", false),
        ("OPTIONS", "200 OK", false),
    ] {
        let (mut pipeline, maps) = pressed("alias=udp:10.0.0.1:5060", 0);
        let mut egress = Recorder::default();
        pipeline.receive(inbound(&with("OPTIONS", method)), &mut egress);
        let request = egress.left.remove(0);
        let text = String::from_utf8(request.payload).unwrap();
        let start = format!("{method} sip:10.0.0.8 SIP/2.0");
        let reply = text.replacen(&start, &format!("SIP/2.0 {status}"), 1);
        let answer = |reply: &str, pipeline: &mut Pipeline| {
            let mut egress = Recorder::default();
            let inbound = Inbound {
                source: request.to,
                ..inbound(reply.as_bytes())
            };
            pipeline.receive(inbound, &mut egress);
        };
        // What wasn't asked for makes nobody known.
        answer(&reply.replacen(";k=", ";j=", 1), &mut pipeline);
        let known = |ip| maps.peers().is_known(ip, now());
        assert!(!known(source()) && !known(request.to.ip()));
        answer(&reply, &mut pipeline);
        assert_eq!(known(source()), is_known, "{method} {status}");
        assert_eq!(known(request.to.ip()), is_known, "{method} {status}");
    }
}

#[test]
fn a_reply_from_who_is_allowed_makes_both_sides_known_without_a_route_too() {
    let hooked = format!("{HOOKED}event_route[network:msg] {{ $avp(msg) = $mb; }}\n");
    // With `drop` behind it no route is run.
    for (hook, end) in [("", "drop;"), (&hooked, "drop;"), ("", ""), (&hooked, "")] {
        for (allowed, status, is_known) in [
            (SOURCE, "200 OK", true),
            (SOURCE, "486 Busy", false),
            ("10.0.0.99", "200 OK", false),
        ] {
            let text = format!(
                "{ON}modparam(\"corex\", \"allow\", \"{allowed}\")\n{hook}\
                 request_route {{ drop; }}\nreply_route {{ send(\"10.0.0.8\"); {end} }}\n"
            );
            let mut pipeline = super::guard::guarded(&text);
            let maps = OverloadMaps::on_heap(7);
            pipeline.overload = Overload::new(Some(maps.clone()), 0);
            let reply = format!("SIP/2.0 {status}\r\nCSeq: 1 INVITE\r\nX: {:64}\r\n\r\n", "");
            let (counters, _) = received(&mut pipeline, reply.as_bytes());
            assert_eq!(counters.sent, 1, "{hook}");
            for ip in [source(), "10.0.0.8".parse().unwrap()] {
                let known = maps.peers().is_known(ip, now());
                assert_eq!(known, is_known, "{hook} {end} {allowed} {status} {ip}");
            }
        }
    }
}

#[test]
fn what_an_inline_server_answers_makes_known_who_gets_it() {
    let (mut pipeline, maps) = pressed("", 0);
    let known = |ip: &str| maps.peers().is_known(ip.parse().unwrap(), now());
    for (message, ip, is_known) in [
        (
            &b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n"[..],
            "10.0.0.21",
            true,
        ),
        (
            b"SIP/2.0 404 No\r\nCSeq: 1 INVITE\r\n\r\n",
            "10.0.0.22",
            false,
        ),
        (b"ACK sip:x SIP/2.0\r\n\r\n", "10.0.0.23", true),
        (
            b"SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n",
            "10.0.0.24",
            false,
        ),
    ] {
        pipeline.learn_of_server(message, ip.parse().unwrap());
        assert_eq!(known(ip), is_known, "{ip}");
    }
}
