//! The XDP programs, run by the kernel on crafted frames (BPF_PROG_TEST_RUN): what they decide,
//! and that user space sees the same in a frame. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod answer;
mod cost;
mod frames;
mod guard;
mod guard_costs;
mod guard_explain;
mod guard_rates;
mod guard_size;
mod mapping;
mod overload;
mod reverse;
mod roads;
mod verifier;

use std::net::{IpAddr, SocketAddr};

use aya::programs::{TestRun as _, TestRunOptions};
use corex_common::{
    counters::KernelCounters,
    host::{BROADCAST, HostAddress, HostMac, LOCAL},
    maps::SocketEntry,
};
use corex_packet as packet;
use corex_packet::Envelope;
use corex_user::kernel::{
    capabilities,
    host::HostTables,
    object::{Filter, Object, Parts, Road},
};
use proptest::test_runner::Config as ProptestConfig;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const PROBE_LEN: u32 = 32;
const MIN_MSG_LEN: u32 = 64;
const MAX_FRAME_LEN: u32 = 1792;
const LISTENERS: [&str; 4] = [
    "10.0.0.1:5060",
    "[fd00::1]:5060",
    "0.0.0.0:5070",
    "[::]:5080",
];
/// BPF_PROG_TEST_RUN shows the frame as one of lo, the first interface of each network namespace.
const LOOPBACK: u32 = 1;
/// MACs that the host answers to: of the interface, and of one on it.
const OWN_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 2], [0, 0, 0x5e, 0, 1, 7]];
/// The host's addresses.
const LOCALS: [&str; 5] = ["10.0.0.1", "10.7.7.7", "10.3.4.5", "fd00::1", "fe80::1"];
/// The broadcast address of a subnet of the host.
const SUBNET_BROADCAST: &str = "10.0.0.255";
/// A link-local address of another interface.
const ELSEWHERE: &str = "fe80::2";

/// Programs with the guard in them.
const GUARDED: Parts = Parts {
    is_guarded: true,
    sheds: false,
};

/// How a property is tried: with so many inputs, or with as many times more as COREX_XDP_TIMES says, which
/// `cargo xtask fuzz xdp` sets. It adds up what is printed here.
fn config(inputs: u32) -> ProptestConfig {
    let times = std::env::var("COREX_XDP_TIMES").ok();
    let times = times.and_then(|times| times.parse().ok()).unwrap_or(1);
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(inputs.saturating_mul(times))
    };
    println!("inputs: {}", config.cases);
    ProptestConfig {
        max_global_rejects: config.max_global_rejects.saturating_mul(times),
        ..config
    }
}

/// The loaded programs with the listen sockets, or nothing without the privileges.
fn object(road: Road) -> Option<Object> {
    object_with(road, Parts::default())
}

/// The same, with these parts in them.
fn object_with(road: Road, parts: Parts) -> Option<Object> {
    if !capabilities::missing().is_empty() {
        eprintln!("skipped: needs {}", capabilities::missing().join(", "));
        return None;
    }
    let mut object = Object::load_with(road, parts).expect("the verifier accepts the programs");
    configure(&mut object, false);
    object.host_maps().unwrap().write(&host()).unwrap();
    for (id, address) in LISTENERS.iter().enumerate() {
        let address: SocketAddr = address.parse().unwrap();
        let entry = SocketEntry {
            id: id as u32,
            steer: 1,
        };
        object.add_socket(address, entry).unwrap();
    }
    Some(object)
}

/// The host as the programs are told of it.
fn host() -> HostTables {
    let mac = |mac| {
        let key = HostMac {
            ifindex: LOOPBACK,
            mac,
            unused: [0; 2],
        };
        (key, LOOPBACK)
    };
    let address = |text: &str, ifindex, value| {
        let (addr, family) = match text.parse().unwrap() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                ([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4)
            }
            IpAddr::V6(ip) => (ip.octets(), 6),
        };
        (HostAddress::at(addr, family, ifindex), value)
    };
    let locals = LOCALS.map(|text| address(text, LOOPBACK, LOCAL));
    let others = [
        address(SUBNET_BROADCAST, 0, BROADCAST),
        address(ELSEWHERE, LOOPBACK + 1, LOCAL),
    ];
    HostTables {
        macs: OWN_MACS.map(mac).into(),
        addresses: locals.into_iter().chain(others).collect(),
        ..HostTables::default()
    }
}

fn configure(object: &mut Object, log: bool) {
    let filter = Filter {
        max_frame_len: MAX_FRAME_LEN,
        log,
        traffic_class: 0,
    };
    object.configure(filter).unwrap();
    let knobs = object.knobs().unwrap();
    knobs.set_probe_len(PROBE_LEN);
    knobs.set_min_msg_len(MIN_MSG_LEN);
}

/// Runs one frame; returns the action and what the counters gained.
fn run(object: &mut Object, frame: &[u8]) -> (u32, KernelCounters) {
    let before = object.counters();
    let options = TestRunOptions {
        data_in: Some(frame),
        ..TestRunOptions::new()
    };
    let result = object.program().unwrap().test_run(options).unwrap();
    let after = object.counters();
    (result.return_value, counted(&before, &after))
}

/// What was counted from one reading to the next.
fn counted(before: &KernelCounters, after: &KernelCounters) -> KernelCounters {
    let mut gained = after.values();
    for (gain, before) in gained.iter_mut().zip(before.values()) {
        *gain -= before;
    }
    KernelCounters::from_values(gained)
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
        identification: None,
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

/// Fails where the verifier walked more instructions of the XDP program; before Linux 5.16 it doesn't
/// tell, and that it took the program must do.
fn walks_less_than(object: &mut Object, bound: u32, name: &str) {
    match object.verified_instructions() {
        Some(verified) => {
            println!("{name}: verified instructions: {verified} of 1000000");
            assert!(verified < bound, "{name}: {verified} instructions");
        }
        None => println!("{name}: the kernel doesn't tell how many instructions it verified"),
    }
}

#[test]
fn the_verifier_walks_few_of_its_million_instructions() {
    for road in [Road::Proxy, Road::Inline] {
        let Some(mut object) = object(road) else {
            return;
        };
        walks_less_than(&mut object, 1_000_000 / 8, &format!("{road:?}"));
    }
}

#[test]
fn the_verifier_walks_less_than_a_third_of_them_with_all_parts() {
    for road in [Road::Proxy, Road::Offload, Road::Inline] {
        for (is_guarded, sheds) in [(true, false), (false, true), (true, true)] {
            let parts = Parts { is_guarded, sheds };
            let Some(mut object) = object_with(road, parts) else {
                return;
            };
            let name = format!("{road:?} with {parts:?}");
            walks_less_than(&mut object, 1_000_000 / 3, &name);
        }
    }
}

#[test]
fn a_payload_below_probe_len_is_dropped_and_one_of_probe_len_is_not() {
    let Some(mut object) = object(Road::Proxy) else {
        return;
    };
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
    let Some(mut object) = object(Road::Proxy) else {
        return;
    };
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
    let Some(mut object) = object(Road::Proxy) else {
        return;
    };
    let mut padded = frame("10.0.0.1:5060", b"\r\n\r\n");
    padded.resize(200, 0);
    let (action, counters) = run(&mut object, &padded);
    assert_eq!((action, counters.drop_probe), (XDP_DROP, 1));
}

#[test]
fn a_frame_too_long_for_the_packet_memory_passes() {
    let Some(mut object) = object(Road::Proxy) else {
        return;
    };
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
    let Some(mut object) = object(Road::Proxy) else {
        return;
    };
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
    let Some(mut object) = object(Road::Proxy) else {
        return;
    };
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

#[test]
fn the_verifier_accepts_the_programs_of_inline_mode() {
    if capabilities::missing().is_empty() {
        Object::load(Road::Inline).expect("the verifier accepts the programs");
    }
}
