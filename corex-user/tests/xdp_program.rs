//! The XDP program, run by the kernel on crafted frames (BPF_PROG_TEST_RUN), against the
//! user-space parser, which was written separately. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use aya::programs::{TestRun as _, TestRunOptions};
use corex_common::{
    counters::KernelCounters,
    ip::PROTOCOL_UDP,
    maps::{FAMILY_V4, FAMILY_V6, SocketEntry, SocketKey},
};
use corex_packet as packet;
use corex_packet::{Envelope, ParseError};
use corex_user::kernel::{
    capabilities,
    object::{Filter, Object, Road},
};
use proptest::{prelude::*, test_runner::TestRunner};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const PROBE_LEN: u32 = 32;
const MAX_FRAME_LEN: u32 = 1792;

/// The loaded program with two listen sockets, or nothing without the privileges.
fn object() -> Option<Object> {
    if !capabilities::missing().is_empty() {
        eprintln!("skipped: needs {}", capabilities::missing().join(", "));
        return None;
    }
    let mut object = Object::load(Road::Proxy).expect("the verifier accepts the program");
    configure(&mut object, false);
    for (id, address) in ["10.0.0.1:5060", "[fd00::1]:5060", "0.0.0.0:5070"]
        .iter()
        .enumerate()
    {
        let address: SocketAddr = address.parse().unwrap();
        let entry = SocketEntry {
            id: id as u32,
            steer: 1,
        };
        object.add_socket(key(address), entry).unwrap();
    }
    Some(object)
}

fn configure(object: &mut Object, log: bool) {
    let filter = Filter {
        max_frame_len: MAX_FRAME_LEN,
        log,
    };
    object.configure(filter).unwrap();
    let knobs = object.knobs().unwrap();
    knobs.set_probe_len(PROBE_LEN);
    knobs.set_min_msg_len(64);
}

fn key(address: SocketAddr) -> SocketKey {
    let mut addr = [0; 16];
    let family = match address.ip() {
        std::net::IpAddr::V4(ip) => {
            addr[..4].copy_from_slice(&ip.octets());
            FAMILY_V4
        }
        std::net::IpAddr::V6(ip) => {
            addr.copy_from_slice(&ip.octets());
            FAMILY_V6
        }
    };
    SocketKey {
        addr,
        port: address.port(),
        proto: PROTOCOL_UDP,
        family,
    }
}

/// Runs one frame; returns the action and what the counters gained.
fn run(object: &mut Object, frame: &[u8]) -> (u32, KernelCounters) {
    let before = object.counters().unwrap();
    let options = TestRunOptions {
        data_in: Some(frame),
        ..TestRunOptions::new()
    };
    let result = object.program().unwrap().test_run(options).unwrap();
    let after = object.counters().unwrap();
    let mut gained = after.values();
    for (gain, before) in gained.iter_mut().zip(before.values()) {
        *gain -= before;
    }
    (result.return_value, KernelCounters::from_values(gained))
}

fn frame(to: &str, payload: &[u8]) -> Vec<u8> {
    let dst: SocketAddr = to.parse().unwrap();
    let src = if dst.is_ipv4() {
        "10.0.0.9:5062"
    } else {
        "[fd00::9]:5062"
    };
    let envelope = Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        src: src.parse().unwrap(),
        dst,
        ttl: 64,
        traffic_class: 0,
    };
    let mut buf = vec![0; payload.len() + 100];
    let len = packet::build_udp(&mut buf, &envelope, payload).unwrap();
    buf.truncate(len);
    buf
}

fn with_vlan_tags(frame: &[u8], tags: usize) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    for tag in 0..tags {
        tagged.extend([0x81, 0, 0, tag as u8 + 1]);
    }
    tagged.extend(&frame[12..]);
    tagged
}

#[test]
fn the_verifier_walks_few_of_its_million_instructions() {
    let Some(mut object) = object() else { return };
    let verified = object.verified_instructions().expect("Linux 5.16 or later");
    println!("verified instructions: {verified} of 1000000");
    assert!(verified < 100_000, "{verified} instructions");
}

#[test]
fn a_payload_below_probe_len_is_dropped_and_one_of_probe_len_is_not() {
    let Some(mut object) = object() else { return };
    for to in ["10.0.0.1:5060", "[fd00::1]:5060", "10.7.7.7:5070"] {
        for len in [0, 1, 31] {
            let (action, counters) = run(&mut object, &frame(to, &vec![b'x'; len]));
            assert_eq!((action, counters.drop_probe), (XDP_DROP, 1), "{to} {len}");
        }
        // Steered, but no AF_XDP socket is in the map.
        let (action, counters) = run(&mut object, &frame(to, &[b'x'; 32]));
        assert_eq!((action, counters.pass_no_xsk), (XDP_PASS, 1), "{to}");
    }
}

#[test]
fn other_destinations_pass_whatever_their_length() {
    let Some(mut object) = object() else { return };
    for to in [
        "10.0.0.1:5061",
        "10.0.0.2:5060",
        "[fd00::2]:5060",
        "[fd00::1]:5070",
    ] {
        for len in [0, 32, 1000] {
            let (action, counters) = run(&mut object, &frame(to, &vec![b'x'; len]));
            assert_eq!(
                (action, counters.pass_no_socket),
                (XDP_PASS, 1),
                "{to} {len}"
            );
        }
    }
}

#[test]
fn padding_is_not_payload() {
    let Some(mut object) = object() else { return };
    let mut padded = frame("10.0.0.1:5060", b"\r\n\r\n");
    padded.resize(200, 0);
    let (action, counters) = run(&mut object, &padded);
    assert_eq!((action, counters.drop_probe), (XDP_DROP, 1));
}

#[test]
fn a_frame_too_long_for_the_packet_memory_passes() {
    let Some(mut object) = object() else { return };
    let mut longest = frame("10.0.0.1:5060", &[b'x'; 1000]);
    longest.resize(MAX_FRAME_LEN as usize, 0);
    let (_, counters) = run(&mut object, &longest);
    assert_eq!(counters.pass_no_xsk, 1);
    longest.push(0);
    let (action, counters) = run(&mut object, &longest);
    assert_eq!((action, counters.pass_too_long), (XDP_PASS, 1));
}

#[test]
fn two_vlan_tags_are_walked_and_three_pass() {
    let Some(mut object) = object() else { return };
    let plain = frame("10.0.0.1:5060", &[b'x'; 100]);
    for tags in [1, 2] {
        let (_, counters) = run(&mut object, &with_vlan_tags(&plain, tags));
        assert_eq!(counters.pass_no_xsk, 1, "{tags} tags");
    }
    let (action, counters) = run(&mut object, &with_vlan_tags(&plain, 3));
    assert_eq!((action, counters.pass_vlan_depth), (XDP_PASS, 1));
}

/// Keeps the records of the XDP program.
#[derive(Default)]
struct Records(std::sync::Mutex<Vec<String>>);

impl log::Log for Records {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn a_rare_event_is_logged_when_asked_for_and_not_otherwise() {
    let Some(mut object) = object() else { return };
    let records: &'static Records = Box::leak(Box::default());
    let mut reader = aya_log::EbpfLogger::init_with_logger(object.ebpf(), records).unwrap();
    let frame = frame("10.0.0.1:5060", &[b'x'; 100]);
    run(&mut object, &frame);
    reader.flush();
    assert_eq!(records.0.lock().unwrap().len(), 0);
    configure(&mut object, true);
    run(&mut object, &frame);
    reader.flush();
    let records = records.0.lock().unwrap();
    assert_eq!(records.len(), 1);
    assert!(records[0].contains("no AF_XDP socket"), "{records:?}");
}

/// The counter that the program must have counted, by the user-space parser's word.
fn expected(frame: &[u8]) -> &'static str {
    match packet::parse(frame) {
        Ok(datagram) => {
            let ours = [
                ("10.0.0.1:5060", false),
                ("[fd00::1]:5060", false),
                ("0.0.0.0:5070", true),
            ]
            .iter()
            .any(|(address, wildcard)| {
                let address: SocketAddr = address.parse().unwrap();
                address == datagram.dst
                    || (*wildcard
                        && datagram.dst.is_ipv4()
                        && datagram.dst.port() == address.port())
            });
            match ours {
                false => "pass_no_socket",
                true if datagram.payload_len < PROBE_LEN as usize => "drop_probe",
                true if frame.len() > MAX_FRAME_LEN as usize => "pass_too_long",
                true => "pass_no_xsk",
            }
        }
        Err(ParseError::NotIp) => "pass_not_ip",
        Err(ParseError::VlanDepth) => "pass_vlan_depth",
        Err(ParseError::IpOptions) => "pass_ip_options",
        Err(ParseError::Fragment) => "pass_fragment",
        Err(ParseError::ExtHeader) => "pass_ext_header",
        Err(ParseError::NotUdp) => "pass_not_udp",
        Err(ParseError::Malformed) => "pass_malformed",
    }
}

/// Frames near the interesting ones: valid, tagged, with IPv6 extension headers, and with
/// some bytes of the headers changed or the end cut off.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let base = (
        prop::sample::select(vec![
            "10.0.0.1:5060",
            "[fd00::1]:5060",
            "10.3.4.5:5070",
            "10.0.0.2:53",
        ]),
        0usize..200,
        0usize..4,
        prop::collection::vec(
            (prop::sample::select(vec![0u8, 60, 43, 44, 51]), 0u8..5),
            0..6,
        ),
    )
        .prop_map(|(to, len, tags, extensions)| {
            let mut plain = frame(to, &vec![b'x'; len]);
            if to.starts_with('[') {
                plain = with_extension_headers(&plain, &extensions);
            }
            with_vlan_tags(&plain, tags)
        });
    (
        base,
        prop::collection::vec((0usize..90, any::<u8>()), 0..3),
        prop::option::weighted(0.2, 14usize..120),
    )
        .prop_map(|(mut frame, changes, cut)| {
            for (at, value) in changes {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            if let Some(cut) = cut {
                frame.truncate(cut);
            }
            // The kernel wants a whole Ethernet header.
            frame.resize(frame.len().max(14), 0);
            frame
        })
}

fn with_extension_headers(frame: &[u8], extensions: &[(u8, u8)]) -> Vec<u8> {
    const IPV6_END: usize = 14 + 40;
    let mut out = frame[..IPV6_END].to_vec();
    let mut next_at = 14 + 6;
    for (kind, units) in extensions {
        out[next_at] = *kind;
        next_at = out.len();
        out.extend([17, *units]);
        out.extend(vec![0; usize::from(*units) * 8 + 6]);
    }
    out.extend(&frame[IPV6_END..]);
    let payload_len = (out.len() - IPV6_END) as u16;
    out[18..20].copy_from_slice(&payload_len.to_be_bytes());
    out
}

#[test]
fn kernel_and_user_space_judge_every_frame_alike() {
    let Some(mut object) = object() else { return };
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(5_000)
    });
    let mut seen = std::collections::BTreeMap::<&str, u32>::new();
    let object = std::cell::RefCell::new(&mut object);
    let seen_cell = std::cell::RefCell::new(&mut seen);
    runner
        .run(&frames(), |frame| {
            let (action, gained) = run(&mut object.borrow_mut(), &frame);
            let expected = expected(&frame);
            *seen_cell.borrow_mut().entry(expected).or_default() += 1;
            let counted: Vec<_> = KernelCounters::NAMES
                .iter()
                .zip(gained.values())
                .filter(|(name, value)| **name != "seen" && *value > 0)
                .map(|(name, _)| *name)
                .collect();
            prop_assert_eq!(counted, vec![expected]);
            prop_assert_eq!(gained.seen, 1);
            let drop = expected.starts_with("drop_");
            prop_assert_eq!(action, if drop { XDP_DROP } else { XDP_PASS });
            Ok(())
        })
        .unwrap();
    println!("verdicts compared: {seen:?}");
    assert!(seen.len() >= 8, "the frames were too much alike: {seen:?}");
}

#[test]
fn the_verifier_accepts_the_programs_of_inline_mode() {
    if capabilities::missing().is_empty() {
        Object::load(Road::Inline).expect("the verifier accepts the programs");
    }
}
