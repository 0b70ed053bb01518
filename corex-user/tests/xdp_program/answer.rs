//! What the programs answer themselves: only what user space would answer, with the same bytes, to
//! where it came from; and all that is simple.

use std::{cell::RefCell, net::SocketAddr};

use aya::programs::{TestRun as _, TestRunOptions};
use corex_common::{
    answer::{KEEPALIVE_DROP, KEEPALIVE_PASS, KEEPALIVE_PONG},
    counters::KernelCounters,
    maps::Interface,
};
use corex_packet::{UdpChecksum, parse, verify_ipv4_header, verify_udp};
use corex_user::{
    answer::{Answer, answer},
    kernel::object::Road,
};
use proptest::{prelude::*, test_runner::TestCaseError, test_runner::TestRunner};

use super::{
    LOOPBACK, OWN_MACS, XDP_DROP, agreement::Program, config, counted, frame, with_vlan_tags,
};

const XDP_TX: u32 = 3;
const REQUEST: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42transaction!";
const PING: &[u8] = b"\r\n\r\n";

/// A program with its answers switched on.
struct Answering {
    program: Program,
    wanted: (u32, bool),
}

/// What became of a frame.
#[derive(Debug)]
struct Fate {
    action: u32,
    counters: KernelCounters,
    frame: Vec<u8>,
}

impl Fate {
    fn is_answered(&self) -> bool {
        self.action == XDP_TX
    }

    fn counts(&self) -> (u64, u64, u64) {
        let c = &self.counters;
        (c.stun_answered, c.keepalive_answered, c.drop_keepalive)
    }
}

impl Answering {
    fn load(road: Road) -> Option<Self> {
        let mut program = Program::load(road)?;
        program.close(false);
        Some(Self {
            program,
            wanted: (KEEPALIVE_PASS, false),
        })
    }

    fn want(&mut self, keepalive: u32, stun: bool) {
        let knobs = self.program.object.knobs().unwrap();
        knobs.set_keepalive(keepalive);
        knobs.set_stun(stun);
        self.wanted = (keepalive, stun);
    }

    fn run(&mut self, frame: &[u8]) -> Fate {
        let object = &mut self.program.object;
        let before = object.counters();
        let mut out = vec![0; frame.len() + 200];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = object.program().unwrap().test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        let counters = counted(&before, &object.counters());
        assert_eq!(counters.received(), counters.decided(), "{counters:?}");
        Fate {
            action: result.return_value,
            counters,
            frame: out,
        }
    }
}

/// A Binding request with these attributes.
fn request(attributes: &[u8]) -> Vec<u8> {
    let mut message = REQUEST.to_vec();
    message.extend(attributes);
    message[2..4].copy_from_slice(&(attributes.len() as u16).to_be_bytes());
    message
}

fn with_fingerprint(mut message: Vec<u8>) -> Vec<u8> {
    message[3] += 8;
    let crc = crc32fast::hash(&message) ^ 0x5354_554e;
    message.extend([0x80, 0x28, 0, 4]);
    message.extend(crc.to_be_bytes());
    message
}

/// The answer is what user space would say, in a datagram that any stack takes.
fn check_answer(asked: &[u8], fate: &Fate, wanted: (u32, bool)) -> Result<(), TestCaseError> {
    let request = parse(asked).unwrap();
    let mut expected = Vec::new();
    let found = answer(request.payload(asked), request.src, wanted, &mut expected);
    match found {
        Answer::Stun => prop_assert_eq!(fate.counts(), (1, 0, 0)),
        Answer::Pong => prop_assert_eq!(fate.counts(), (0, 1, 0)),
        _ => prop_assert!(false, "user space: {found:?}"),
    }
    let reply = parse(&fate.frame).unwrap();
    prop_assert_eq!(reply.payload(&fate.frame), &expected[..]);
    prop_assert_eq!((reply.src, reply.dst), (request.dst, request.src));
    prop_assert_eq!(reply.ttl, 64);
    prop_assert_eq!(&fate.frame[..6], &asked[6..12]);
    prop_assert_eq!(&fate.frame[6..12], &asked[..6]);
    prop_assert!(fate.frame.len() >= 60, "a runt");
    prop_assert!(reply.src.is_ipv6() || verify_ipv4_header(&fate.frame, &reply));
    let checksum = verify_udp(&fate.frame, &reply);
    prop_assert!(matches!(checksum, UdpChecksum::Good(_)), "{checksum:?}");
    Ok(())
}

const V4: &str = "10.0.0.1:5060";
const V6: &str = "[fd00::1]:5060";

#[test]
fn binding_requests_are_answered_with_and_without_a_fingerprint() {
    for road in [Road::Proxy, Road::Inline] {
        let Some(mut program) = Answering::load(road) else {
            return;
        };
        program.want(KEEPALIVE_PASS, true);
        if road == Road::Inline {
            assert!(!program.run(&frame(V4, REQUEST)).is_answered());
            continue;
        }
        let software = b"\x80\x22\0\x0bsome phone \0";
        for to in [V4, V6] {
            for payload in [
                request(&[]),
                request(software),
                with_fingerprint(request(&[])),
                with_fingerprint(request(software)),
            ] {
                let asked = frame(to, &payload);
                let fate = program.run(&asked);
                assert!(fate.is_answered(), "{road:?} {to}: {fate:?}");
                check_answer(&asked, &fate, program.wanted).unwrap();
            }
        }
        let fate = program.run(&frame(V4, PING));
        assert!(!fate.is_answered(), "keep-alives are off");
    }
}

#[test]
fn keep_alives_are_answered_or_dropped_as_they_are_set() {
    for road in [Road::Proxy, Road::Inline] {
        let Some(mut program) = Answering::load(road) else {
            return;
        };
        for to in [V4, V6] {
            for payload in [&b""[..], b"\0", b"\r\n", b"\0\0\0\0", b"\0\0\0\0\0", PING] {
                let asked = frame(to, payload);
                program.want(KEEPALIVE_DROP, false);
                let fate = program.run(&asked);
                assert_eq!((fate.action, fate.counts()), (XDP_DROP, (0, 0, 1)));
                program.want(KEEPALIVE_PONG, false);
                let fate = program.run(&asked);
                if payload == PING && road == Road::Inline {
                    assert_eq!(fate.counters.pass_short, 1, "the server answers");
                } else if payload == PING {
                    assert!(fate.is_answered(), "{road:?} {to}: {fate:?}");
                    check_answer(&asked, &fate, program.wanted).unwrap();
                } else {
                    assert_eq!((fate.action, fate.counts()), (XDP_DROP, (0, 0, 1)));
                }
                program.want(KEEPALIVE_PASS, false);
                let fate = program.run(&asked);
                assert_eq!(fate.counts(), (0, 0, 0));
                let as_ever = fate.counters.drop_probe + fate.counters.pass_short;
                assert_eq!(as_ever, 1, "{road:?}: {fate:?}");
            }
            program.want(KEEPALIVE_PONG, true);
            let fate = program.run(&frame(to, b"\r\n\r\n\r\n\r\n\r\n"));
            assert_eq!(fate.counts(), (0, 0, 0), "nine bytes and more are none");
        }
    }
}

#[test]
fn what_may_come_from_another_vlan_is_not_answered() {
    let Some(mut program) = Answering::load(Road::Proxy) else {
        return;
    };
    program.want(KEEPALIVE_PONG, true);
    for payload in [REQUEST, PING] {
        let asked = frame(V4, payload);
        assert!(program.run(&asked).is_answered());
        let fate = program.run(&with_vlan_tags(&asked, 1));
        assert_eq!(fate.counters.steered, 1, "a worker answers it");
        let silent = Interface {
            first_slot: 0,
            queues: 1,
            answers: 0,
        };
        program
            .program
            .object
            .add_interface(LOOPBACK, silent)
            .unwrap();
        let fate = program.run(&asked);
        assert_eq!(fate.counters.steered, 1, "tags are taken off");
        let answering = Interface {
            answers: 1,
            ..silent
        };
        program
            .program
            .object
            .add_interface(LOOPBACK, answering)
            .unwrap();
    }
}

/// What makes a request one that mustn't be answered in the kernel, or at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Flawless,
    ForeignMac,
    BroadcastMac,
    MulticastSender,
    Martian,
    OwnSource,
    BroadcastSource,
    NotLocal,
    OtherPort,
    PortZero,
    WrongIpChecksum,
    WrongUdpChecksum,
    NoChecksum,
    /// Left to hardware, as veth does: no flaw.
    PartialChecksum,
}

use Flaw::*;

impl Flaw {
    const ALL: [Self; 14] = [
        Flawless,
        ForeignMac,
        BroadcastMac,
        MulticastSender,
        Martian,
        OwnSource,
        BroadcastSource,
        NotLocal,
        OtherPort,
        PortZero,
        WrongIpChecksum,
        WrongUdpChecksum,
        NoChecksum,
        PartialChecksum,
    ];

    /// Whether the datagram is for us, and from somebody else.
    fn is_trusted(self) -> bool {
        matches!(
            self,
            Flawless
                | MulticastSender
                | PortZero
                | WrongIpChecksum
                | WrongUdpChecksum
                | NoChecksum
                | PartialChecksum
        )
    }

    /// Whether it is to be answered in the kernel.
    fn is_answered(self, is_v4: bool) -> bool {
        matches!(self, Flawless | PartialChecksum)
            || is_v4 && self == NoChecksum
            || !is_v4 && self == WrongIpChecksum
    }

    fn apply(self, frame: &mut [u8], is_v4: bool) {
        let (source, udp) = if is_v4 { (26, 34) } else { (22, 54) };
        let set_source = |frame: &mut [u8], v4: [u8; 4], v6: &str| {
            if is_v4 {
                frame[source..source + 4].copy_from_slice(&v4);
            } else {
                let ip: std::net::Ipv6Addr = v6.parse().unwrap();
                frame[source..source + 16].copy_from_slice(&ip.octets());
            }
        };
        match self {
            Flawless => {}
            ForeignMac => frame[5] ^= 1,
            BroadcastMac => frame[..6].copy_from_slice(&[0xff; 6]),
            MulticastSender => frame[6] |= 1,
            Martian => set_source(frame, [127, 0, 0, 1], "::1"),
            OwnSource => set_source(frame, [10, 0, 0, 1], "fd00::1"),
            BroadcastSource => set_source(frame, [10, 0, 0, 255], "ff02::1"),
            NotLocal => frame[udp - 1] ^= 4,
            OtherPort => frame[udp + 3] ^= 1,
            PortZero => frame[udp..udp + 2].copy_from_slice(&[0; 2]),
            WrongIpChecksum if is_v4 => frame[24] ^= 1,
            WrongIpChecksum => {}
            WrongUdpChecksum => frame[udp + 6] ^= 1,
            PartialChecksum => {
                seal(frame, is_v4);
                let addresses = if is_v4 { 26..34 } else { 22..54 };
                let len = u32::from(u16::from_be_bytes([frame[udp + 4], frame[udp + 5]]));
                let pseudo = fold(sum(&frame[addresses]) + 17 + len);
                frame[udp + 6..udp + 8].copy_from_slice(&pseudo.to_be_bytes());
            }
            NoChecksum => frame[udp + 6..udp + 8].copy_from_slice(&[0; 2]),
        }
        let is_damage = matches!(
            self,
            WrongIpChecksum | WrongUdpChecksum | NoChecksum | PartialChecksum
        );
        if !is_damage {
            seal(frame, is_v4);
        }
    }
}

/// Makes both checksums right.
fn seal(frame: &mut [u8], is_v4: bool) {
    if is_v4 {
        frame[24..26].copy_from_slice(&[0; 2]);
        let sum = !fold(sum(&frame[14..34]));
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    let (addresses, udp) = if is_v4 { (26..34, 34) } else { (22..54, 54) };
    frame[udp + 6..udp + 8].copy_from_slice(&[0; 2]);
    let end = udp + usize::from(u16::from_be_bytes([frame[udp + 4], frame[udp + 5]]));
    let pseudo = sum(&frame[addresses]) + 17 + (end - udp) as u32;
    let checksum = match !fold(pseudo + sum(&frame[udp..end])) {
        0 => u16::MAX,
        checksum => checksum,
    };
    frame[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks(2);
    pairs
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// A datagram, and whether the kernel must answer it if all else is well.
fn payloads() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let software = prop::collection::vec(any::<u8>(), 0..24).prop_map(|value| {
        let mut attribute = vec![0x80, 0x22, 0, value.len() as u8];
        attribute.extend(&value);
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        attribute
    });
    let simple = (prop::option::of(software), any::<bool>()).prop_map(|(software, marked)| {
        let message = request(&software.unwrap_or_default());
        if marked {
            with_fingerprint(message)
        } else {
            message
        }
    });
    let simple = simple.prop_map(|message| {
        let fits = message.len() <= 64;
        (message, fits)
    });
    let damaged = (simple.clone(), any::<prop::sample::Index>(), 0u8..8);
    let damaged = damaged.prop_map(|((mut message, _), at, bit)| {
        let at = at.index(message.len());
        message[at] ^= 1 << bit;
        (message, false)
    });
    let attributes = prop::collection::vec(any::<u16>(), 0..32).prop_map(|words| {
        let mut attributes: Vec<u8> = words
            .iter()
            .flat_map(|word| (word % 9).to_be_bytes())
            .collect();
        attributes.truncate(attributes.len() / 4 * 4);
        (request(&attributes), false)
    });
    let keepalive = prop::collection::vec(prop::sample::select(b"\0\r\n\rx".to_vec()), 0..12);
    prop_oneof![
        4 => simple,
        3 => damaged,
        2 => attributes,
        2 => keepalive.prop_map(|payload| (payload, false)),
        1 => Just((PING.to_vec(), false)),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(|payload| (payload, false)),
    ]
}

#[test]
fn nothing_is_answered_wrongly() {
    for road in [Road::Proxy, Road::Inline] {
        let Some(program) = Answering::load(road) else {
            return;
        };
        let program = RefCell::new(program);
        let answered = RefCell::new([0u32; 3]);
        let strategy = (
            payloads(),
            prop_oneof![3 => Just(Flawless), 2 => prop::sample::select(Flaw::ALL.to_vec())],
            any::<bool>(),
            (KEEPALIVE_PASS..=KEEPALIVE_PONG, any::<bool>()),
            0usize..60,
        );
        let result = TestRunner::new(config(6_000)).run(
            &strategy,
            |((payload, is_simple), flaw, is_v4, (keepalive, stun), padding)| {
                let mut program = program.borrow_mut();
                program.want(keepalive, stun);
                let mut asked = frame(if is_v4 { V4 } else { V6 }, &payload);
                flaw.apply(&mut asked, is_v4);
                asked.resize(asked.len() + padding, 0xee);
                let fate = program.run(&asked);
                let source = parse(&asked).unwrap().src;
                let mut buffer = Vec::new();
                let found = answer(&payload, source, program.wanted, &mut buffer);
                let mut answered = answered.borrow_mut();
                if fate.is_answered() {
                    prop_assert_eq!(road, Road::Proxy);
                    prop_assert!(flaw.is_answered(is_v4), "{flaw:?} is answered");
                    check_answer(&asked, &fate, program.wanted)?;
                    answered[usize::from(found == Answer::Stun)] += 1;
                    return Ok(());
                }
                prop_assert_eq!(
                    fate.counters.stun_answered + fate.counters.keepalive_answered,
                    0
                );
                let drops = found == Answer::KeepaliveDropped && flaw.is_trusted();
                prop_assert_eq!(fate.counters.drop_keepalive, u64::from(drops), "{:?}", flaw);
                answered[2] += u32::from(drops);
                let must = found == Answer::Pong || found == Answer::Stun && is_simple;
                let must = must && road == Road::Proxy;
                prop_assert!(!must || !flaw.is_answered(is_v4), "not answered: {fate:?}");
                // A worker gets what it must answer, however short it is.
                let wants = matches!(found, Answer::Pong | Answer::Stun) && flaw.is_trusted();
                if wants && road == Road::Proxy {
                    prop_assert_eq!(fate.counters.steered, 1);
                }
                Ok(())
            },
        );
        result.unwrap();
        let answered = answered.into_inner();
        println!("{road:?}: pongs, STUN answers, keep-alives dropped: {answered:?}");
        let kinds = if road == Road::Proxy {
            &answered[..]
        } else {
            &answered[2..]
        };
        assert!(kinds.iter().all(|times| *times > 20), "{answered:?}");
    }
}

#[test]
fn both_macs_of_the_host_answer_and_the_listener_counts() {
    let Some(mut program) = Answering::load(Road::Proxy) else {
        return;
    };
    program.want(KEEPALIVE_PONG, true);
    let to: SocketAddr = V4.parse().unwrap();
    for mac in OWN_MACS {
        let mut asked = frame(&to.to_string(), REQUEST);
        asked[..6].copy_from_slice(&mac);
        let fate = program.run(&asked);
        assert_eq!(fate.frame[6..12], mac);
    }
    program.run(&frame(V4, PING));
    program.run(&frame(V4, b"\0"));
    let socket = program.program.object.socket_counters(0);
    assert_eq!((socket.answered, socket.drop_keepalive), (3, 1));
}
