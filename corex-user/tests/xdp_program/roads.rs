//! Roads: what the program sends is what user space would, and what is in doubt it leaves as it was.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use aya::programs::{TestRun as _, TestRunOptions};
use corex_common::{
    counters::KernelCounters,
    road::{
        BY_CALL_ID, KINDS, MAX_CALL_ID, MAX_CALL_ID_AT, METHODS, OTHER, REPLY, RoadClass, hash_end,
        hash_group, place,
    },
};
use corex_packet::{Envelope, UdpFrame, parse, rewrite_in_place};
use corex_sip::{SipView, StartLine};
use corex_user::kernel::{
    attach::Mode,
    object::{Object, Road},
    roads::{Action, Layout, RoadSpec, Roads, SocketSpec},
    routes::{LinkNextHop, NextHopTable, Path},
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{LISTENERS, LOOPBACK, MIN_MSG_LEN, config, counted, frame, object, with_vlan_tags};

const XDP_TX: u32 = 3;
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 77];
const MTU: u32 = 1000;
const TRAFFIC_CLASS: u8 = 0xb8;

struct Bed {
    object: Object,
    roads: Roads,
    table: Arc<ArcSwap<NextHopTable>>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Where messages go that come to a listener.
fn destination(id: usize) -> SocketAddr {
    address(["192.0.2.9:5080", "[2001:db8::9]:5080"][id])
}

fn hop(fresh_for: Duration) -> LinkNextHop {
    LinkNextHop {
        ifindex: LOOPBACK,
        source_mac: OWN_MAC,
        neighbour: "192.0.2.9".parse().unwrap(),
        destination_mac: NEIGHBOUR,
        preferred_source: "10.0.0.1".parse().unwrap(),
        mtu: MTU,
        fresh_until: Instant::now() + fresh_for,
    }
}

/// The first two listeners send all on, but for replies, which are dropped.
fn all_on() -> Layout {
    let mut layout = Layout {
        traffic_class: TRAFFIC_CLASS,
        dont_fragment: true,
        ..Layout::default()
    };
    for (id, listener) in LISTENERS.iter().enumerate().take(2) {
        let from = address(listener);
        let first = layout.roads.len() as u32;
        for action in [Action::Send(destination(id)), Action::DropScript] {
            layout.roads.push(RoadSpec {
                socket: id as u32,
                from,
                action,
            });
        }
        let mut places = [place(first, 1); KINDS];
        places[REPLY] = place(first + 1, 1);
        layout.sockets.push(SocketSpec {
            socket: id as u32,
            classes: vec![((IpAddr::from([0, 0, 0, 0]), 0), both(places))],
        });
    }
    layout
}

fn both(places: [u32; KINDS]) -> RoadClass {
    RoadClass {
        short: places,
        long: places,
    }
}

fn bed(layout: Layout) -> Option<Bed> {
    let mut object = object(Road::Offload)?;
    let mut next_hops = NextHopTable::new();
    for spec in &layout.roads {
        if let Action::Send(to) = spec.action {
            next_hops.insert(Path::new(spec.from, to), hop(Duration::from_secs(3600)));
        }
    }
    let table = Arc::new(ArcSwap::from_pointee(next_hops));
    let roads = Roads::new(
        object.road_maps().unwrap(),
        object.knobs().unwrap(),
        Arc::clone(&table),
    );
    roads.install(layout).unwrap();
    let bed = Bed {
        object,
        roads,
        table,
    };
    bed.look();
    Some(bed)
}

impl Bed {
    fn look(&self) {
        self.look_at(Mode::Skb);
    }

    fn look_at(&self, mode: Mode) {
        self.roads.look(&[(LOOPBACK, "lo", mode)], || false);
    }

    /// Runs the program on a frame: what it returns, the frame behind it, and what was counted.
    fn run(&mut self, frame: &[u8]) -> (u32, Vec<u8>, KernelCounters) {
        let before = self.object.counters();
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = self.object.program().unwrap().test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        let gained = counted(&before, &self.object.counters());
        assert_eq!(gained.received(), gained.decided());
        (result.return_value, out, gained)
    }

    /// It was sent on, as this.
    fn sent(&mut self, frame: &[u8]) -> Vec<u8> {
        let (action, out, counters) = self.run(frame);
        assert_eq!((action, counters.offloaded), (XDP_TX, 1), "{counters:?}");
        out
    }

    /// It would have been steered, as it was.
    fn assert_steered(&mut self, frame: &[u8], why: &str) {
        let (_, out, counters) = self.run(frame);
        assert_eq!(counters.pass_no_xsk, 1, "{why}: {counters:?}");
        assert_eq!(out, frame, "{why}");
    }
}

fn message(line: &str) -> Vec<u8> {
    format!("{line}\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n")
        .into_bytes()
}

fn options() -> Vec<u8> {
    message("OPTIONS sip:bob@example.com SIP/2.0")
}

/// What user space makes of a datagram that it sends on in its frame.
fn in_user_space(frame: &[u8], id: usize) -> Vec<u8> {
    let datagram: UdpFrame = parse(frame).unwrap();
    let envelope = Envelope {
        src_mac: OWN_MAC,
        dst_mac: NEIGHBOUR,
        src: address(LISTENERS[id]),
        dst: destination(id),
        ttl: ttl(frame) - 1,
        identification: None,
        traffic_class: TRAFFIC_CLASS,
    };
    let mut frame = frame.to_vec();
    let range = rewrite_in_place(&mut frame, datagram.payload_range(), &envelope, None).unwrap();
    frame[range].to_vec()
}

fn ttl(frame: &[u8]) -> u8 {
    if is_v4(frame) { frame[22] } else { frame[21] }
}

fn is_v4(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0]
}

/// Sets the TTL, with the checksum.
fn with_ttl(frame: &[u8], ttl: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if is_v4(&frame) {
        frame[22] = ttl;
        write_ip_checksum(&mut frame);
    } else {
        frame[21] = ttl;
    }
    frame
}

fn write_ip_checksum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let mut sum: u32 = frame[14..34]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn udp_checksum_at(frame: &[u8]) -> usize {
    if is_v4(frame) { 40 } else { 60 }
}

/// The sum of the pseudo header, as a sender leaves it there for its hardware.
fn partial(frame: &[u8]) -> [u8; 2] {
    let (addresses, l4) = if is_v4(frame) {
        (26..34, 34)
    } else {
        (22..54, 54)
    };
    let len = u32::from(u16::from_be_bytes([frame[l4 + 4], frame[l4 + 5]]));
    let words = frame[addresses].chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let mut sum = sum + 17 + len;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_be_bytes()
}

#[test]
fn the_verifier_walks_a_third_of_its_million_instructions_at_most() {
    let Some(mut object) = object(Road::Offload) else {
        return;
    };
    crate::walks_less_than(&mut object, 1_000_000 / 3, "Offload");
}

#[test]
fn what_is_sent_on_is_what_user_space_would_send() {
    let Some(mut bed) = bed(all_on()) else { return };
    for (id, to) in LISTENERS.iter().enumerate().take(2) {
        for len in [0, 1, 2, 63, 64, 500] {
            let mut payload = options();
            payload.resize(payload.len() + len, b'x');
            let frame = frame(to, &payload);
            assert_eq!(bed.sent(&frame), in_user_space(&frame, id), "{to} {len}");
        }
    }
    let counted = bed.roads.lines();
    assert_eq!(counted[0].counters.offloaded, 6);
    assert_eq!(bed.object.socket_counters(0).offloaded, 6);
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let Some(mut bed) = bed(all_on()) else { return };
    for to in &LISTENERS[..2] {
        let right = frame(to, &options());
        let mut wrong = right.clone();
        let at = udp_checksum_at(&wrong);
        wrong[at] ^= 0x10;
        let (sent, expected) = (bed.sent(&wrong), bed.sent(&right));
        assert_ne!(sent[at..at + 2], expected[at..at + 2], "{to}");
        let verified = corex_packet::verify_udp(&sent, &parse(&sent).unwrap());
        assert_eq!(verified, corex_packet::UdpChecksum::Bad, "{to}");
    }
}

#[test]
fn what_is_in_doubt_is_steered_as_it_was() {
    let Some(mut bed) = bed(all_on()) else { return };
    for to in &LISTENERS[..2] {
        let plain = frame(to, &options());
        for ttl in [0, 1] {
            bed.assert_steered(&with_ttl(&plain, ttl), "the TTL is at its end");
        }
        let mut none = plain.clone();
        let at = udp_checksum_at(&none);
        none[at..at + 2].fill(0);
        bed.assert_steered(&none, "no checksum");
        let mut left = plain.clone();
        left[at..at + 2].copy_from_slice(&partial(&plain));
        bed.assert_steered(&left, "left to hardware");
        let mut padded = plain.clone();
        padded.push(0);
        bed.assert_steered(&padded, "padding");
        bed.assert_steered(&with_vlan_tags(&plain, 1), "a tag");
        let mut long = options();
        long.resize(MTU as usize, b'x');
        bed.assert_steered(&frame(to, &long), "more than the MTU");
    }
    let mut wrong = frame(LISTENERS[0], &options());
    wrong[24] ^= 1;
    bed.assert_steered(&wrong, "the header's checksum");
    assert!(bed.roads.lines()[0].counters.steered_doubtful > 0);
}

#[test]
fn messages_on_roads_are_counted_by_peer_also_when_other_roads_follow() {
    let Some(mut bed) = bed(all_on()) else { return };
    let requests = [
        frame(LISTENERS[0], &options()),
        frame(LISTENERS[1], &options()),
    ];
    let reply = frame(LISTENERS[0], &message("SIP/2.0 200 OK"));
    let source = |frame: &[u8]| parse(frame).unwrap().src.ip();
    let (len, reply_len) = (
        options().len() as u64,
        message("SIP/2.0 200 OK").len() as u64,
    );
    for _ in 0..3 {
        bed.sent(&requests[0]);
    }
    bed.roads.install(all_on()).unwrap();
    bed.look();
    bed.sent(&requests[1]);
    bed.run(&reply);
    // What is steered is counted where it is handled.
    bed.assert_steered(&with_ttl(&requests[0], 1), "the TTL is at its end");
    let traffic = bed.roads.traffic();
    let by_source = [
        (source(&requests[0]), (4, 3 * len + reply_len)),
        (source(&requests[1]), (1, len)),
    ];
    assert_eq!(traffic.by_source, by_source.into());
    let by_destination = [
        (destination(0).ip(), (3, 3 * len)),
        (destination(1).ip(), (1, len)),
    ];
    assert_eq!(traffic.by_destination, by_destination.into());
    assert_eq!(traffic.received, (5, 4 * len + reply_len));
    assert_eq!(traffic.sent, (4, 4 * len));
}

#[test]
fn replies_take_their_road_and_are_dropped() {
    let Some(mut bed) = bed(all_on()) else { return };
    let frame = frame(LISTENERS[0], &message("SIP/2.0 200 OK"));
    let (action, _, counters) = bed.run(&frame);
    assert_eq!((action, counters.drop_script), (1, 1), "{counters:?}");
    assert_eq!(bed.object.socket_counters(0).drop_script, 1);
    assert_eq!(bed.roads.lines()[1].counters.offloaded, 1);
}

#[test]
fn a_hop_is_used_as_long_as_it_is_known_and_its_neighbour_confirmed() {
    let Some(mut bed) = bed(all_on()) else { return };
    let frame = frame(LISTENERS[0], &options());
    let path = Path::new(address(LISTENERS[0]), destination(0));
    bed.sent(&frame);
    // Stale, but not for long: now and then one is steered.
    bed.table
        .store(Arc::new([(path, hop(Duration::ZERO))].into()));
    bed.roads.follow();
    bed.assert_steered(&frame, "a sample");
    assert_eq!(bed.roads.lines()[0].counters.steered_sample, 1);
    // Withdrawn.
    bed.table.store(Arc::default());
    bed.roads.follow();
    bed.assert_steered(&frame, "no next hop");
    assert_eq!(bed.roads.lines()[0].state, "no next hop");
    // Another neighbour, once what the last one was used for is over.
    let other = LinkNextHop {
        destination_mac: [2, 9, 9, 9, 9, 9],
        ..hop(Duration::from_secs(60))
    };
    bed.table.store(Arc::new([(path, other)].into()));
    let sent = loop {
        bed.roads.follow();
        let (action, out, _) = bed.run(&frame);
        if action == XDP_TX {
            break out;
        }
    };
    assert_eq!(sent[..6], other.destination_mac);
}

#[test]
fn roads_that_are_closed_held_or_watched_are_not_taken() {
    let Some(mut bed) = bed(all_on()) else { return };
    let frame = frame(LISTENERS[0], &options());
    bed.roads.hold(true);
    bed.look();
    bed.assert_steered(&frame, "held");
    bed.roads.hold(false);
    bed.roads.look(&[(LOOPBACK, "lo", Mode::Skb)], || true);
    bed.assert_steered(&frame, "watched");
    bed.look();
    bed.sent(&frame);
    bed.roads.close();
    bed.look();
    bed.assert_steered(&frame, "closed");
    assert_eq!(bed.roads.lines()[0].state, "closed");
    bed.roads.install(all_on()).unwrap();
    bed.look();
    bed.sent(&frame);
}

#[test]
fn a_device_that_does_not_send_for_xdp_is_not_used() {
    let Some(mut bed) = bed(all_on()) else { return };
    let frame = frame(LISTENERS[0], &options());
    // Loopback is no hardware, and the kernel says that it doesn't.
    bed.look_at(Mode::Native);
    bed.assert_steered(&frame, "no device");
    // The hop says so, too, once what it was used for is over.
    while bed.roads.lines()[0].state == "no next hop" {
        bed.look_at(Mode::Native);
    }
    bed.assert_steered(&frame, "no device");
    assert_eq!(
        bed.roads.lines()[0].state,
        "the device doesn't send for XDP"
    );
}

#[test]
fn the_source_chooses_by_network_and_by_hash() {
    let mut layout = Layout {
        dont_fragment: true,
        ..Layout::default()
    };
    let ports = [5081, 5082, 5083, 5084, 5085];
    for port in ports {
        layout.roads.push(RoadSpec {
            socket: 0,
            from: address(LISTENERS[0]),
            action: Action::Send(SocketAddr::from(([192, 0, 2, 9], port))),
        });
    }
    let network = |ip: &str, len, places| ((ip.parse().unwrap(), len), both([places; KINDS]));
    layout.sockets.push(SocketSpec {
        socket: 0,
        classes: vec![
            network("0.0.0.0", 0, place(0, 4)),
            network("10.0.0.0", 8, place(4, 1)),
            network("10.0.0.9", 32, 0),
        ],
    });
    let Some(mut bed) = bed(layout) else { return };
    let from = |source: [u8; 4]| {
        let mut buf = vec![0; 400];
        let envelope = Envelope {
            src_mac: [2, 0, 0, 0, 0, 1],
            dst_mac: OWN_MAC,
            src: SocketAddr::from((source, 5062)),
            dst: address(LISTENERS[0]),
            ttl: 64,
            identification: None,
            traffic_class: 0,
        };
        let len = corex_packet::build_udp(&mut buf, &envelope, &options()).unwrap();
        buf.truncate(len);
        buf
    };
    let mut port_of = |source| {
        let sent = bed.sent(&from(source));
        u16::from_be_bytes([sent[36], sent[37]])
    };
    assert_eq!(port_of([10, 0, 0, 8]), 5085);
    // As `{s.corehash,4}` has them: `corex check` on a configuration shows the same.
    for source in [
        [198, 51, 100, 7],
        [9, 9, 9, 9],
        [100, 64, 0, 1],
        [1, 2, 3, 4],
    ] {
        let hash = corex_common::road::source_hash(source, 3);
        assert_eq!(port_of(source), 5081 + hash as u16, "{source:?}");
    }
    bed.assert_steered(&from([10, 0, 0, 9]), "a network without roads");
}

/// The first listener, or the second, of all kinds to one of eight ports by the hash of the Call-ID.
fn by_call_id(id: usize) -> Layout {
    let mut layout = Layout {
        dont_fragment: true,
        ..Layout::default()
    };
    // No road has the number 0 that is in use, so that one too many shows.
    layout.roads.push(RoadSpec {
        socket: id as u32,
        from: address(LISTENERS[id]),
        action: Action::DropScript,
    });
    for choice in 0..8 {
        layout.roads.push(RoadSpec {
            socket: id as u32,
            from: address(LISTENERS[id]),
            action: Action::Send(SocketAddr::new(destination(id).ip(), 6000 + choice)),
        });
    }
    layout.sockets.push(SocketSpec {
        socket: id as u32,
        classes: vec![(
            (IpAddr::from([0, 0, 0, 0]), 0),
            both([place(1, 8) | BY_CALL_ID; KINDS]),
        )],
    });
    layout
}

/// The port that a message with this Call-ID goes to, as `$(ci{s.corehash,8})` has it.
fn port_by(call_id: &[u8]) -> u16 {
    let groups = call_id.chunks(4);
    let groups = groups.map(|group| {
        group
            .iter()
            .fold(0, |word, byte| word << 8 | u32::from(*byte))
    });
    6000 + (hash_end(groups.fold(0, hash_group)) & 7) as u16
}

fn port_of(frame: &[u8]) -> u16 {
    let at = udp_checksum_at(frame) - 4;
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[test]
fn the_call_id_chooses_by_its_hash_in_both_forms_and_of_any_length() {
    for (id, to) in LISTENERS.iter().enumerate().take(2) {
        let Some(mut bed) = bed(by_call_id(id)) else {
            return;
        };
        for len in 1..MAX_CALL_ID {
            let call_id = &"a84b4c76e66710@192.0.2.1-".repeat(6)[..len];
            for name in ["Call-ID: ", "Call-ID:", "i: ", "I:", "cALL-iD: "] {
                let text = format!(
                    "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9\r\n\
                     {name}{call_id}\r\nCSeq: 1 INVITE\r\n\r\n"
                );
                let sent = bed.sent(&frame(to, text.as_bytes()));
                assert_eq!(port_of(&sent), port_by(call_id.as_bytes()), "{text}");
            }
        }
    }
}

#[test]
fn a_call_id_that_is_not_plain_or_far_away_is_left_to_user_space() {
    let Some(mut bed) = bed(by_call_id(0)) else {
        return;
    };
    let mut steered = |headers: &str, why| {
        let text = format!("OPTIONS sip:bob@example.com SIP/2.0\r\n{headers}\r\n\r\n");
        bed.assert_steered(&frame(LISTENERS[0], text.as_bytes()), why);
    };
    let long = "x".repeat(MAX_CALL_ID);
    let cases: &[(&str, &str)] = &[
        ("To: <sip:x@y>\r\nContent-Length: 0", "none"),
        ("To: <sip:x@y>\r\n\r\nCall-ID: 1", "in the body"),
        (
            "To: a\n\nCall-ID: 1\r\nA: b",
            "in the body behind line feeds",
        ),
        ("Call-ID : 1\r\nA: b", "a space in front of the colon"),
        (
            "i\t: 1\r\nCall-ID: 2\r\nA: b",
            "a tab in front of the colon",
        ),
        ("Call-ID:  1\r\nA: b", "two spaces"),
        ("Call-ID:\r\n 1\r\nA: b", "folded in front"),
        ("Call-ID: 1\r\n 2\r\nA: b", "folded behind"),
        ("Call-ID: 1 2\r\nA: b", "a space in it"),
        ("Call-ID: 1\nA: bcdefgh", "a line feed alone"),
        ("Call-ID: \r\nA: bcdefgh", "empty"),
        ("Call-ID: \u{e9}\r\nA: bcdefgh", "no ASCII"),
        (&format!("Call-ID: {long}\r\nA: b"), "too long"),
    ];
    for (headers, why) in cases {
        steered(headers, why);
    }
    // Continued lines and other names that begin alike are no Call-IDs.
    for headers in [
        "To: a\r\n Call-ID: 1\r\nCall-ID: 2\r\nA: b",
        "Call-IDs: 1\r\nIdentity: 1\r\nCall\rID: 1\r\ni: 2\r\nA: b",
        "i2: 1\r\ni: 2\r\nCall-ID: 3\r\nA: b",
    ] {
        let text = format!("OPTIONS sip:bob@example.com SIP/2.0\r\n{headers}\r\n\r\n");
        let sent = bed.sent(&frame(LISTENERS[0], text.as_bytes()));
        assert_eq!(port_of(&sent), port_by(b"2"), "{headers}");
    }
}

#[test]
fn a_call_id_is_looked_for_in_a_bounded_part_of_the_headers() {
    // Dropped, not sent: that asks for no MTU.
    let mut layout = by_call_id(0);
    for road in &mut layout.roads {
        road.action = Action::DropScript;
    }
    let Some(mut bed) = bed(layout) else { return };
    let mut is_taken = |before: &str| {
        let text = format!("OPTIONS sip:b@c SIP/2.0\r\n{before}Call-ID: 1@x\r\nA: b\r\n\r\n");
        let (_, _, counters) = bed.run(&frame(LISTENERS[0], text.as_bytes()));
        assert_eq!(
            counters.drop_script + counters.pass_no_xsk,
            1,
            "{counters:?}"
        );
        counters.drop_script == 1
    };
    let line = |len: usize| format!("X: {}\r\n", "y".repeat(len));
    assert!(is_taken(&line(MAX_CALL_ID_AT - 100)));
    assert!(is_taken(&line(50).repeat(12)));
    assert!(!is_taken(&line(MAX_CALL_ID_AT + 200)));
    assert!(!is_taken(&line(1).repeat(160)));
}

#[test]
fn the_road_by_call_id_is_the_one_that_user_space_would_choose() {
    let Some(bed) = bed(by_call_id(0)) else {
        return;
    };
    let bed = RefCell::new(bed);
    let name = prop::sample::select(
        &[
            "Call-ID", "i", "I", "CALL-ID", "Call-Id", "Call-IDs", "ii", "To", "A", "Call", "",
        ][..],
    );
    let colon = prop::sample::select(&[": ", ":", ": ", ":  ", " : ", "\t:", "", ":\r\n "][..]);
    let value = prop_oneof![
        6 => "[a-zA-Z0-9@.+_-]{1,40}",
        1 => "[ -~\t]{0,160}",
        1 => "\\PC{0,8}",
        1 => "[\r\n i:]{0,6}",
    ];
    let end = prop::sample::select(&["\r\n", "\r\n", "\r\n", "\n", "\r\n ", "\r", "\r\n\r\n"][..]);
    let header = (name, colon, value, end)
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"));
    let mut runner = TestRunner::new(config(6_000));
    let taken = std::cell::Cell::new(0);
    runner
        .run(&prop::collection::vec(header, 0..8), |headers| {
            let text = format!(
                "OPTIONS sip:b@c SIP/2.0\r\n{}CSeq: 1 A\r\n\r\n",
                headers.concat()
            );
            prop_assume!(text.len() < 900);
            let frame = frame(LISTENERS[0], text.as_bytes());
            let (action, out, counters) = bed.borrow_mut().run(&frame);
            if action == XDP_TX {
                taken.set(taken.get() + 1);
                let view = SipView::parse(text.as_bytes()).unwrap();
                let call_id = view.call_id();
                prop_assert_eq!(call_id.map(port_by), Some(port_of(&out)));
            } else {
                prop_assert_eq!(counters.pass_no_xsk, 1);
            }
            Ok(())
        })
        .unwrap();
    // About 560, give or take 25.
    assert!(taken.get() > 350, "only {} took a road", taken.get());
}

#[test]
fn short_and_long_messages_have_roads_of_their_own() {
    let mut layout = all_on();
    for socket in &mut layout.sockets {
        socket.classes[0].1.long = [0; KINDS];
    }
    let Some(mut bed) = bed(layout) else { return };
    let mut payload = b"OPTIONS sip:bob@example.com SIP/2.0\r\nVia: a\r\n\r\n".to_vec();
    payload.resize(MIN_MSG_LEN as usize - 1, b' ');
    bed.sent(&frame(LISTENERS[0], &payload));
    payload.push(b' ');
    bed.assert_steered(&frame(LISTENERS[0], &payload), "long");
}

/// Start lines: plain, nearly plain, and junk.
fn start_line() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![
        4 => (0..METHODS.len()).prop_map(|at| METHODS[at].to_vec()),
        1 => "[A-Z]{1,16} ".prop_map(String::into_bytes),
        1 => "[A-Za-z0-9!%.+ \t-]{0,18} ?".prop_map(String::into_bytes),
    ];
    let uri = prop_oneof![
        4 => "sip:[a-z0-9]{1,12}@[a-z]{1,20}\\.example".prop_map(String::into_bytes),
        1 => "[ -~]{0,200}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let end = prop::sample::select(
        &[
            " SIP/2.0\r\n",
            " SIP/2.0\r\n",
            " SIP/2.0\r\n",
            " SIP/2.0\r\n",
            " SIP/2.0\r\n",
            " SIP/2.0\n",
            "  SIP/2.0\r\n",
            " sip/2.0\r\n",
            " SIP/2.1\r\n",
            " SIP/2.0 \r\n",
            " SIP/2.0",
            "\r\n",
        ][..],
    );
    let request = (method, uri, end)
        .prop_map(|(method, uri, end)| [&*method, &*uri, end.as_bytes()].concat());
    let reply = (
        prop::sample::select(&["SIP/2.0 ", "SIP/2.0 ", "SIP/2.0", "sip/2.0 ", "SIP/2.1 "][..]),
        prop::sample::select(&["200", "699", "099", "700", "20", "2000", "abc"][..]),
        prop::sample::select(
            &[
                " OK\r\n",
                " \r\n",
                "\r\n",
                " a\tb\r\n",
                " \x01\r\n",
                " OK\n",
                " ",
            ][..],
        ),
    )
        .prop_map(|(version, status, rest)| format!("{version}{status}{rest}").into_bytes());
    prop_oneof![4 => request, 1 => reply]
}

/// The kind that a message is of, by user space's parser; with a method in capital letters only.
fn kind(payload: &[u8]) -> Option<usize> {
    let view = SipView::parse(payload).ok()?;
    match view.start_line() {
        StartLine::Reply { .. } => Some(REPLY),
        StartLine::Request { method, .. } => {
            let known = METHODS
                .iter()
                .position(|known| &known[..known.len() - 1] == method);
            let is_plain = method.iter().all(u8::is_ascii_uppercase);
            known.map(|at| at + 1).or(is_plain.then_some(OTHER))
        }
    }
}

#[test]
fn only_messages_whose_kind_user_space_sees_too_take_its_road() {
    // Each kind has a destination of its own.
    let mut layout = Layout {
        dont_fragment: true,
        ..Layout::default()
    };
    let mut places = [0; KINDS];
    for (kind, at) in places.iter_mut().enumerate() {
        *at = place(kind as u32, 1);
        layout.roads.push(RoadSpec {
            socket: 0,
            from: address(LISTENERS[0]),
            action: Action::Send(SocketAddr::from(([192, 0, 2, 9], 6000 + kind as u16))),
        });
    }
    layout.sockets.push(SocketSpec {
        socket: 0,
        classes: vec![((IpAddr::from([0, 0, 0, 0]), 0), both(places))],
    });
    let Some(bed) = bed(layout) else { return };
    let bed = RefCell::new(bed);
    let mut runner = TestRunner::new(config(4_000));
    let strategy = (
        prop::sample::select(&["", "", "", "\r\n", "\0"][..]),
        start_line(),
    );
    runner
        .run(&strategy, |(before, line)| {
            let rest = b"Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\n\r\n";
            let payload = [before.as_bytes(), &line, rest].concat();
            let frame = frame(LISTENERS[0], &payload);
            let (action, out, counters) = bed.borrow_mut().run(&frame);
            if action == XDP_TX {
                let port = u16::from_be_bytes([out[36], out[37]]);
                prop_assert_eq!(Some(usize::from(port - 6000)), kind(&payload));
                prop_assert_eq!(&out[42..], &payload[..]);
            } else {
                prop_assert_eq!(counters.pass_no_xsk, 1);
                prop_assert_eq!(&out, &frame);
            }
            Ok(())
        })
        .unwrap();
    let lines = bed.borrow().roads.lines();
    let taken: u64 = lines.iter().map(|line| line.counters.offloaded).sum();
    assert!(taken > 300, "only {taken} took a road");
}
