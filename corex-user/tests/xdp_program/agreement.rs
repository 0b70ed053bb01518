//! The XDP programs and the two parsers of user space on the same frames; what must agree is in
//! [`super::mapping`].

use std::{cell::RefCell, collections::BTreeMap, os::fd::AsFd as _};

use aya::programs::{TestRun as _, TestRunOptions};
use corex_common::{
    counters::KernelCounters,
    inline::Inline,
    ip::ETHERNET_LEN,
    maps::{Interface, Queue},
    meta::FrameMeta,
};
use corex_packet::View;
use corex_user::kernel::object::{Object, Parts, Road};
use proptest::{prelude::*, test_runner::TestRunner};
use socket2::{Domain, Socket, Type};

use super::{
    LOOPBACK, XDP_DROP, XDP_PASS, config, counted,
    frames::{Extension, Network, PEER_V6, Packet, frames},
    mapping::{
        Verdict::{self, Counted, Steered},
        by_parsing, by_view, protected, same_in_user_space,
    },
    object_with,
};

const XDP_REDIRECT: u32 = 4;

/// A program whose queue has an AF_XDP socket.
pub struct Program {
    pub object: Object,
    /// Keeps the slot of the XSKMAP filled.
    _socket: Socket,
}

impl Program {
    pub fn load(road: Road) -> Option<Self> {
        Self::load_with(road, Parts::default())
    }

    pub fn load_with(road: Road, parts: Parts) -> Option<Self> {
        let mut object = object_with(road, parts)?;
        let socket = Socket::new(Domain::from(libc::AF_XDP), Type::RAW, None).unwrap();
        let queues = Interface {
            first_slot: 0,
            queues: 1,
            answers: 1,
        };
        object.add_interface(LOOPBACK, queues).unwrap();
        let queue = Queue {
            ifindex: LOOPBACK,
            ..Queue::default()
        };
        object.add_queue(0, queue, socket.as_fd()).unwrap();
        for address in protected() {
            object.add_address(address, 1).unwrap();
        }
        object.heartbeats().unwrap().beat(0);
        Some(Self {
            object,
            _socket: socket,
        })
    }

    pub fn close(&mut self, is_closed: bool) {
        let settings = Inline {
            watchdog_ns: u64::MAX,
            closed: is_closed.into(),
            mark: 0,
            mac: [6, 1, 2, 3, 4, 5, 0, 0],
        };
        self.object.configure_inline(settings).unwrap();
    }

    /// The verdict on a frame, with the record in front of it. The action is what the verdict
    /// says, all is counted once, and the frame is as it was.
    fn judge(&mut self, frame: &[u8]) -> Result<(Verdict, Option<FrameMeta>), TestCaseError> {
        let before = self.object.counters();
        let mut out = vec![0; frame.len() + FrameMeta::LEN];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = self.object.program().unwrap().test_run(options).unwrap();
        let gained = counted(&before, &self.object.counters());
        prop_assert_eq!(gained.seen, 1);
        let mut names = KernelCounters::NAMES
            .into_iter()
            .zip(gained.values())
            .filter(|(name, value)| !["seen", "steered_bytes"].contains(name) && *value > 0);
        let (name, times) = names.next().ok_or_else(|| fail("nothing is counted"))?;
        prop_assert_eq!((names.next(), times), (None, 1));
        let (verdict, action) = match name {
            "steered" => (
                Steered {
                    bytes: gained.steered_bytes,
                },
                XDP_REDIRECT,
            ),
            _ if name.starts_with("drop_") => (Counted(name), XDP_DROP),
            _ => (Counted(name), XDP_PASS),
        };
        prop_assert_eq!(result.return_value, action);
        out.truncate(result.data_size_out as usize);
        let record = match out.len() - frame.len() {
            0 => None,
            _ => out.first_chunk().map(FrameMeta::from_bytes),
        };
        prop_assert!(out.ends_with(frame), "the frame has changed");
        Ok((verdict, record))
    }
}

fn fail(reason: &'static str) -> TestCaseError {
    TestCaseError::fail(reason)
}

/// The programs of both roads, and how often each said what.
struct Bench {
    proxy: Program,
    inline: Program,
    seen: BTreeMap<(&'static str, &'static str), u32>,
}

impl Bench {
    fn load() -> Option<Self> {
        Some(Self {
            proxy: Program::load(Road::Proxy)?,
            inline: Program::load(Road::Inline)?,
            seen: BTreeMap::new(),
        })
    }

    fn note(&mut self, road: &'static str, verdict: Verdict) {
        let name = match verdict {
            Counted(name) => name,
            Steered { bytes: 0 } => "steered, a fragment",
            Steered { .. } => "steered",
        };
        *self.seen.entry((road, name)).or_default() += 1;
    }

    fn compare(&mut self, frame: &[u8]) -> Result<(), TestCaseError> {
        let judged = self.proxy.judge(frame)?;
        self.note("proxy", judged.0);
        prop_assert_eq!(judged, by_parsing(frame, self.proxy.object.cookie()));
        for (road, is_closed) in [("open", false), ("closed", true)] {
            self.inline.close(is_closed);
            let (verdict, record) = self.inline.judge(frame)?;
            self.note(road, verdict);
            let allowed = by_view(frame, is_closed);
            prop_assert!(
                allowed.contains(&verdict),
                "{verdict:?}, not of {allowed:?}\nview: {:?}",
                View::parse(frame)
            );
            prop_assert_eq!(record, None);
        }
        same_in_user_space(frame)
    }
}

#[test]
fn kernel_and_user_space_judge_every_frame_alike() {
    let Some(mut bench) = Bench::load() else {
        return;
    };
    let shared = RefCell::new(&mut bench);
    TestRunner::new(config(6_000))
        .run(&frames(), |frame| shared.borrow_mut().compare(&frame))
        .unwrap();
    println!("verdicts compared: {:#?}", bench.seen);
    let common = [
        "steered",
        "pass_not_ip",
        "pass_fragment",
        "pass_ext_header",
        "pass_not_udp",
        "pass_malformed",
        "pass_no_socket",
    ];
    let of_proxy = [
        "pass_vlan_depth",
        "pass_ip_options",
        "drop_probe",
        "pass_too_long",
        "pass_foreign_mac",
        "pass_martian",
        "pass_not_local",
    ];
    let of_open = [
        "pass_vlan_depth",
        "steered, a fragment",
        "pass_short",
        "pass_too_long",
        "pass_foreign_mac",
        "pass_martian",
    ];
    let of_closed = [
        "drop_vlan_depth",
        "steered, a fragment",
        "drop_ext_header",
        "drop_too_long",
        "drop_foreign_mac",
        "drop_martian",
    ];
    for (road, names) in [
        ("proxy", &of_proxy[..]),
        ("open", &of_open),
        ("closed", &of_closed),
    ] {
        for name in common.iter().chain(names) {
            let times = bench.seen.get(&(road, *name)).copied().unwrap_or_default();
            assert!(times >= 5, "{road}: {name} only {times} times");
        }
    }
}

/// One of each shape, with all headers that are walked.
fn shapes() -> Vec<Packet> {
    let v4 = |options, word| Network::V4 {
        from: [10, 0, 0, 9],
        to: ([10, 0, 0, 1], 5060),
        options,
        word,
        protocol: 17,
    };
    let v6 = |chain: &[Extension]| Network::V6 {
        from: PEER_V6,
        to: (1, 5060),
        chain: chain.to_vec(),
        protocol: 17,
    };
    let four = [(0, 0), (60, 1), (43, 2), (60, 0)].map(|(kind, units)| Extension::new(kind, units));
    let fragment = Extension {
        word: [0, 1],
        ..Extension::new(44, 0)
    };
    let networks = [
        v4(0, 0),
        v4(2, 0x4000),
        v4(10, 0x2000),
        v4(0, 0x0001),
        v6(&[]),
        v6(&four[..2]),
        v6(&four),
        v6(&[four[0], four[1], fragment]),
        v6(&[four[0], four[2], fragment, four[3]]),
        v6(&[four[0], four[1], four[2], four[3], fragment]),
        v6(&[four[0], four[1], four[2], four[3], four[3]]),
        v6(&[four[0], Extension::new(51, 4)]),
    ];
    networks
        .into_iter()
        .flat_map(|network| {
            [0, 2].map(|tags| Packet {
                tags: vec![0x8100; tags],
                ..Packet::new(network.clone(), 80)
            })
        })
        .collect()
}

#[test]
fn a_frame_that_is_cut_off_anywhere_is_judged_alike() {
    let Some(mut bench) = Bench::load() else {
        return;
    };
    for packet in shapes() {
        let frame = packet.frame();
        for len in ETHERNET_LEN..=frame.len() {
            let result = bench.compare(&frame[..len]);
            assert!(result.is_ok(), "{packet:?} {len}: {result:?}");
        }
    }
}

#[test]
fn whatever_length_ip_and_udp_claim_it_is_judged_alike() {
    let Some(mut bench) = Bench::load() else {
        return;
    };
    let untagged = shapes().into_iter().filter(|packet| packet.tags.is_empty());
    for packet in untagged {
        for error in -200..20 {
            for packet in [
                Packet {
                    ip_len_error: error,
                    ..packet.clone()
                },
                Packet {
                    udp_len_error: error,
                    padding: 10,
                    ..packet.clone()
                },
            ] {
                let result = bench.compare(&packet.frame());
                assert!(result.is_ok(), "{packet:?}: {result:?}");
            }
        }
    }
}

#[test]
fn a_routing_header_with_segments_left_carries_no_datagram_past_the_hook() {
    let Some(mut inline) = Program::load(Road::Inline) else {
        return;
    };
    for (segments_left, open, closed) in [
        (0, Steered { bytes: 80 }, Steered { bytes: 80 }),
        (1, Counted("pass_ext_header"), Counted("drop_ext_header")),
    ] {
        let routing = Extension {
            word: [4, segments_left],
            ..Extension::new(43, 2)
        };
        let network = Network::V6 {
            from: PEER_V6,
            to: (1, 5060),
            chain: vec![Extension::new(0, 0), routing],
            protocol: 17,
        };
        let frame = Packet::new(network, 80).frame();
        for (is_closed, verdict) in [(false, open), (true, closed)] {
            inline.close(is_closed);
            assert_eq!(inline.judge(&frame).unwrap(), (verdict, None));
        }
    }
}
