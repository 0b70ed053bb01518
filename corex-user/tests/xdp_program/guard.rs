//! The guard: the programs find in the tries what user space finds in its lists, and what is done to
//! the one is done to the other.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use aya::programs::{TestRun as _, TestRunOptions};
use corex_common::{
    answer::KEEPALIVE_PONG,
    counters::KernelCounters,
    guard::{
        ALLOW, BLOCK, Guard as Record, Listed, Network, RATES, STEALTH,
        lists::{BLOCKED, BY_BPFTOOL, BY_RPC, STEALTHY},
        rates::{ANY, MAX_BURST, MAX_PER_SECOND},
    },
    ip::PROTOCOL_UDP,
    maps::Interface,
    road::METHODS,
};
use corex_packet as packet;
use corex_packet::Envelope;
use corex_script::settings::{GuardSettings, RateRule, RateScope, guard::network};
use corex_user::{
    guard::{Guard, List, Listings, Which},
    kernel::{
        guard::{Cursor, Entries, GuardMaps, Reading, now},
        object::{Object, Parts, Road},
    },
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{GUARDED, LOOPBACK, XDP_DROP, XDP_PASS, config, object_with, run};

/// Something that a machine under load may take its time for.
const PATIENCE: Duration = Duration::from_secs(60);
pub const INVITE: &[u8] =
    b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n";

pub fn net(text: &str) -> Network {
    network(text).unwrap()
}

pub fn frame_from(source: IpAddr, to: &str, payload: &[u8]) -> Vec<u8> {
    let envelope = Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        src: SocketAddr::new(source, 5062),
        dst: to.parse().unwrap(),
        ttl: 64,
        identification: None,
        traffic_class: 0,
    };
    let mut buf = vec![0; payload.len() + 100];
    let len = packet::build_udp(&mut buf, &envelope, payload).unwrap();
    buf.truncate(len);
    buf
}

/// A guarded object, and its maps.
pub fn guarded(road: Road) -> Option<(Object, GuardMaps)> {
    let object = object_with(road, GUARDED)?;
    let maps = object.guard_maps().unwrap();
    Some((object, maps))
}

/// A guard that is on, with no rule.
pub fn on() -> Record {
    Record {
        is_on: 1,
        ..Record::default()
    }
}

/// All shapes, so that whatever is in the tries is found.
pub fn all_shapes(rules: u32) -> Record {
    Record {
        rules,
        allow_v4: 15,
        allow_v6: 15,
        block_v4: 15,
        block_v6: 15,
        ..on()
    }
}

/// Few addresses, so that networks meet; none of them the host's.
fn source() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u32..4, 0_u32..4).prop_map(|(high, low)| {
            let high = [198_u32, 199, 70, 100][high as usize];
            IpAddr::V4(Ipv4Addr::from_bits(high << 24 | 0x0033_6400 | low))
        }),
        (0_u128..4, 0_u128..4).prop_map(|(high, low)| {
            IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | high << 64 | low))
        }),
    ]
}

fn entry() -> impl Strategy<Value = (Network, u64)> {
    let proto = prop_oneof![Just(0_u8), Just(PROTOCOL_UDP), Just(6)];
    let port = prop_oneof![Just(0_u16), Just(5060), Just(5070)];
    (source(), 0_u8..=128, proto, port, 0_u64..3).prop_map(|(addr, len, proto, port, life)| {
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let network = Network::new(addr, len.min(most)).unwrap().to(proto, port);
        (network, life)
    })
}

#[test]
fn the_programs_find_in_a_trie_what_user_space_finds_in_a_list() {
    let Some((object, maps)) = guarded(Road::Proxy) else {
        return;
    };
    maps.record.write(&all_shapes(BLOCK));
    let bed = RefCell::new((object, Vec::<Network>::new()));
    let cases = (
        proptest::collection::vec(entry(), 0..30),
        proptest::collection::vec((source(), any::<bool>()), 1..20),
    );
    let mut runner = TestRunner::new(config(256));
    runner
        .run(&cases, |(entries, sources)| {
            let (object, there) = &mut *bed.borrow_mut();
            for network in there.drain(..) {
                maps.block.remove(&network).unwrap();
            }
            let list = List::default();
            let mut all = Vec::new();
            for (network, life) in entries {
                // One that has expired hides a wider one until it is taken out: not in both.
                let expires = if life == 0 { 0 } else { u64::MAX };
                let listed = Listed {
                    expires,
                    ..Listed::default()
                };
                list.put(network, listed, 0).unwrap();
                all.retain(|(other, _)| *other != network);
                all.push((network, listed));
            }
            maps.block.put(&all).unwrap();
            there.extend(all.iter().map(|(network, _)| *network));
            for (source, is_wildcard) in sources {
                let to = match (source.is_ipv4(), is_wildcard) {
                    (true, false) => "10.0.0.1:5060",
                    (true, true) => "10.7.7.7:5070",
                    (false, _) => "[fd00::1]:5060",
                };
                let port = to.parse::<SocketAddr>().unwrap().port();
                let found = list.find(source, PROTOCOL_UDP, port, now());
                let (action, counters) = run(object, &frame_from(source, to, INVITE));
                let expected = match found {
                    Some(_) => (XDP_DROP, 1),
                    None => (XDP_PASS, 0),
                };
                prop_assert_eq!(
                    (action, counters.drop_guard_block),
                    expected,
                    "{} to {}: {:?} of {:?}",
                    source,
                    to,
                    found,
                    &all
                );
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn rules_are_tried_in_order_and_a_dry_one_only_counts() {
    for road in [Road::Proxy, Road::Offload] {
        rules_are_tried_in_order(road);
    }
}

fn rules_are_tried_in_order(road: Road) {
    let Some((mut object, maps)) = guarded(road) else {
        return;
    };
    let source: IpAddr = "198.51.100.7".parse().unwrap();
    let invite = frame_from(source, "10.0.0.1:5060", INVITE);
    let options = frame_from(source, "10.0.0.1:5060", &INVITE.to_vec().repeat(2));
    let blocked = Listed::default();
    let stealthy = Listed {
        action: STEALTHY,
        ..blocked
    };
    let of = |counters: KernelCounters| {
        [
            counters.guard_allowed,
            counters.drop_guard_block,
            counters.guard_dry_block,
            counters.drop_guard_stealth,
            counters.guard_dry_stealth,
            counters.pass_no_xsk,
        ]
    };
    let record = all_shapes(ALLOW | BLOCK | STEALTH);
    maps.record.write(&record);
    assert_eq!(of(run(&mut object, &invite).1), [0, 0, 0, 0, 0, 1]);
    maps.block
        .put(&[(net("198.51.100.0/24"), blocked)])
        .unwrap();
    assert_eq!(of(run(&mut object, &invite).1), [0, 1, 0, 0, 0, 0]);
    let invites = Record {
        stealth_methods: 1 << 1,
        ..record
    };
    maps.record.write(&Record {
        dry_run: BLOCK,
        ..invites
    });
    assert_eq!(of(run(&mut object, &invite).1), [0, 0, 1, 1, 0, 0]);
    assert_eq!(of(run(&mut object, &options).1), [0, 0, 1, 1, 0, 0]);
    maps.record.write(&Record {
        dry_run: BLOCK | STEALTH,
        ..invites
    });
    assert_eq!(of(run(&mut object, &invite).1), [0, 0, 1, 0, 1, 1]);
    maps.block.put(&[(net("198.51.100.7"), stealthy)]).unwrap();
    maps.record.write(&record);
    assert_eq!(of(run(&mut object, &invite).1), [0, 0, 0, 1, 0, 0]);
    maps.allow.put(&[(net("198.51.100.7"), blocked)]).unwrap();
    assert_eq!(of(run(&mut object, &invite).1), [1, 0, 0, 0, 0, 1]);
    // An entry that has expired is none.
    let over = Listed {
        expires: 1,
        ..blocked
    };
    maps.allow.put(&[(net("198.51.100.7"), over)]).unwrap();
    assert_eq!(of(run(&mut object, &invite).1), [0, 0, 0, 1, 0, 0]);
    maps.record.write(&on());
    assert_eq!(of(run(&mut object, &invite).1), [0, 0, 0, 0, 0, 1]);
    // Off, whatever rules there are.
    maps.record.write(&Record {
        is_on: 0,
        ..all_shapes(BLOCK | STEALTH)
    });
    assert_eq!(of(run(&mut object, &invite).1), [0, 0, 0, 0, 0, 1]);
}

#[test]
fn who_gets_no_answer_gets_none_from_the_program_either() {
    let Some((mut object, maps)) = guarded(Road::Proxy) else {
        return;
    };
    let interface = Interface {
        answers: 1,
        ..Interface::default()
    };
    object.add_interface(LOOPBACK, interface).unwrap();
    let knobs = object.knobs().unwrap();
    knobs.set_keepalive(KEEPALIVE_PONG);
    knobs.set_stun(true);
    let stun = b"\0\x01\0\0\x21\x12\xa4\x42transaction!";
    let source: IpAddr = "198.51.100.7".parse().unwrap();
    let stealthy = Listed {
        action: STEALTHY,
        ..Listed::default()
    };
    maps.block
        .put(&[(net("198.51.100.0/24"), stealthy)])
        .unwrap();
    for payload in [&b"\r\n\r\n"[..], stun] {
        let frame = frame_from(source, "10.0.0.1:5060", payload);
        maps.record.write(&Record::default());
        let (_, counters) = run(&mut object, &frame);
        assert_eq!(counters.stun_answered + counters.keepalive_answered, 1);
        maps.record.write(&all_shapes(STEALTH));
        let (action, counters) = run(&mut object, &frame);
        assert_eq!((action, counters.drop_guard_stealth), (XDP_DROP, 1));
        assert_eq!(counters.received(), counters.decided());
    }
}

#[test]
fn a_method_that_gets_no_answer_is_told_by_its_first_word_alone() {
    let Some((mut object, maps)) = guarded(Road::Proxy) else {
        return;
    };
    let source: IpAddr = "2001:db8::7".parse().unwrap();
    for (at, method) in METHODS.iter().enumerate() {
        let mut message = method.to_vec();
        message.extend_from_slice(b"sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n");
        let frame = frame_from(source, "[fd00::1]:5060", &message);
        for bit in 1..16 {
            maps.record.write(&Record {
                rules: STEALTH,
                stealth_methods: 1 << bit,
                ..on()
            });
            let (_, counters) = run(&mut object, &frame);
            let expected = u64::from(bit == at + 1);
            assert_eq!(counters.drop_guard_stealth, expected, "{at} {bit}");
        }
    }
    maps.record.write(&Record {
        rules: STEALTH,
        stealth_methods: u32::MAX,
        ..on()
    });
    for (message, is_dropped) in [
        (
            &b"FOO sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n"[..],
            true,
        ),
        (
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=1\r\n\r\n",
            false,
        ),
        (
            b"\x01\x02encoded, and long enough not to be a probe of any kind",
            false,
        ),
        (b"INVITE", false),
    ] {
        let (_, counters) = run(&mut object, &frame_from(source, "[fd00::1]:5060", message));
        assert_eq!(counters.drop_guard_stealth > 0, is_dropped, "{message:?}");
    }
}

#[test]
fn inline_drops_what_is_for_the_server_and_leaves_others_frames_alone() {
    let Some((mut object, maps)) = guarded(Road::Inline) else {
        return;
    };
    maps.record.write(&all_shapes(BLOCK));
    maps.block
        .put(&[(net("198.51.100.0/24"), Listed::default())])
        .unwrap();
    let source: IpAddr = "198.51.100.7".parse().unwrap();
    for payload in [INVITE, b"short"] {
        let (action, counters) = run(&mut object, &frame_from(source, "10.0.0.1:5060", payload));
        assert_eq!((action, counters.drop_guard_block), (XDP_DROP, 1));
    }
    let mut foreign = frame_from(source, "10.0.0.1:5060", INVITE);
    foreign[..6].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
    let (action, counters) = run(&mut object, &foreign);
    assert_eq!((action, counters.drop_guard_block), (XDP_PASS, 0));
    let other = frame_from("198.51.101.7".parse().unwrap(), "10.0.0.1:5060", INVITE);
    assert_eq!(run(&mut object, &other).1.drop_guard_block, 0);
}

#[test]
fn a_program_without_the_guard_looks_at_no_list() {
    let Some(mut object) = object_with(Road::Proxy, Parts::default()) else {
        return;
    };
    let maps = object.guard_maps().unwrap();
    maps.record.write(&all_shapes(BLOCK));
    maps.block
        .put(&[(net("198.51.100.0/24"), Listed::default())])
        .unwrap();
    let frame = frame_from("198.51.100.7".parse().unwrap(), "10.0.0.1:5060", INVITE);
    assert_eq!(run(&mut object, &frame).1.drop_guard_block, 0);
}

/// Frames that the kernel runs a program on in one call.
const IN_A_ROW: u32 = 1000;
/// How often a guard is switched on.
const SWITCHES: usize = 20;

#[test]
fn every_packet_is_counted_once_while_the_guard_is_switched_on_and_off() {
    for road in [Road::Proxy, Road::Offload, Road::Inline] {
        let Some((mut object, maps)) = guarded(road) else {
            return;
        };
        let off = GuardSettings::default();
        // One that all packets stay below, so that all go by the other program.
        let rate = RateRule {
            name: "src".to_owned(),
            scope: RateScope::Listener,
            methods: ANY,
            count: MAX_PER_SECOND,
            period: Duration::from_secs(1),
            burst: MAX_BURST,
            is_to_route: false,
            is_dry: true,
        };
        let wanted = GuardSettings {
            rates: vec![rate],
            ..GuardSettings::default()
        };
        let nothing = Listings::default();
        let guard = Guard::start(&off, &nothing, Some(object.guard_maps().unwrap())).unwrap();
        let frame = frame_from("198.51.100.7".parse().unwrap(), "10.0.0.1:5060", INVITE);
        let before = object.counters();
        let is_over = AtomicBool::new(false);
        let program = &*object.program().unwrap();
        let runs = std::thread::scope(|scope| {
            let packets = scope.spawn(|| {
                let mut runs = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let options = TestRunOptions {
                        data_in: Some(&frame),
                        repeat: IN_A_ROW,
                        ..TestRunOptions::new()
                    };
                    program.test_run(options).unwrap();
                    runs += u64::from(IN_A_ROW);
                }
                runs
            });
            for _ in 0..SWITCHES {
                for (settings, rules) in [(&wanted, RATES), (&off, 0)] {
                    guard.follow(settings, &nothing);
                    until("the programs follow", || {
                        let found = maps.record.read();
                        (found.is_on != 0) == (rules != 0) && found.rules == rules
                    });
                }
            }
            is_over.store(true, Ordering::Relaxed);
            packets.join().unwrap()
        });
        let gained = super::counted(&before, &object.counters());
        assert_eq!(gained.seen, runs, "{road:?}");
        assert_eq!(gained.decided(), runs, "{road:?} {gained:?}");
        assert_eq!(gained.pass_no_xsk, runs, "{road:?} {gained:?}");
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_done_to_the_lists_is_done_to_the_tries_and_the_other_way() {
    let Some((mut object, maps)) = guarded(Road::Proxy) else {
        return;
    };
    let settings = GuardSettings {
        is_on: true,
        ..GuardSettings::default()
    };
    let listings = Listings {
        block: vec![net("203.0.113.0/24; udp; 5060")],
        ..Listings::default()
    };
    let guard = Guard::start(&settings, &listings, Some(object.guard_maps().unwrap())).unwrap();
    let mut is_dropped = |source: &str| {
        let frame = frame_from(source.parse().unwrap(), "10.0.0.1:5060", INVITE);
        run(&mut object, &frame).1.drop_guard_block > 0
    };
    // The configuration's entries are there before anything is attached.
    assert!(is_dropped("203.0.113.9") && !is_dropped("198.51.100.7"));
    let by_rpc = (BY_RPC, BLOCKED);
    guard
        .put(Which::Block, net("198.51.100.7"), None, by_rpc)
        .unwrap();
    until("it is blocked", || is_dropped("198.51.100.7"));
    until("what the program counted is known", || {
        let entries = guard.entries(Which::Block);
        let found = entries.iter().find(|(of, _)| *of == net("198.51.100.7"));
        found.is_some_and(|(_, listed)| listed.hits > 0 && listed.last_seen > 0)
    });
    assert!(guard.remove(Which::Block, net("198.51.100.7")));
    until("it is blocked no more", || !is_dropped("198.51.100.7"));
    // As bpftool does it.
    maps.block
        .put(&[(net("198.51.100.8"), Listed::default())])
        .unwrap();
    until("what others put there is known", || {
        let entries = guard.entries(Which::Block);
        let found = entries.iter().find(|(of, _)| *of == net("198.51.100.8"));
        found.is_some_and(|(_, listed)| listed.origin == BY_BPFTOOL)
    });
    until("and looked for", || is_dropped("198.51.100.8"));
    maps.block.remove(&net("198.51.100.8")).unwrap();
    until("what others took out is known", || {
        let entries = guard.entries(Which::Block);
        !entries.iter().any(|(of, _)| *of == net("198.51.100.8"))
    });
    guard
        .put(Which::Block, net("198.51.100.9"), Some(1), by_rpc)
        .unwrap();
    until("what has expired is taken out", || {
        guard.entries(Which::Block).len() == 1
    });
    until("and isn't looked for", || !is_dropped("198.51.100.9"));
    // Another configuration.
    guard.follow(&settings, &Listings::default());
    until("its entries go with it", || !is_dropped("203.0.113.9"));
}

#[test]
fn a_list_is_read_as_it_was_written_however_long_it_is() {
    let Some((_object, maps)) = guarded(Road::Proxy) else {
        return;
    };
    let entries: Vec<(Network, Listed)> = (0..5000_u32)
        .flat_map(|number| {
            let v4 = Ipv4Addr::from_bits(0xc633_0000 + number);
            let v6 = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number));
            [IpAddr::from(v4), IpAddr::from(v6)]
        })
        .map(|addr| (Network::host(addr), Listed::default()))
        .collect();
    maps.allow.put(&entries).unwrap();
    let mut expected: Vec<Network> = entries.iter().map(|(network, _)| *network).collect();
    expected.sort_unstable();
    let mut cursor = Cursor::default();
    let mut read = |one: &mut dyn FnMut(&mut Cursor) -> io::Result<Entries>| {
        let mut found = Vec::new();
        loop {
            let (some, is_more) = one(&mut cursor).unwrap();
            assert!(some.len() <= 700);
            found.extend(some.into_iter().map(|(network, _)| network));
            if !is_more {
                break;
            }
        }
        found.sort_unstable();
        found
    };
    let allow = &maps.allow;
    assert_eq!(read(&mut |cursor| allow.read(cursor, 700)), expected);
    // As kernels have it whose tries have no batches.
    let mut one_by_one = |cursor: &mut _| allow.read_by(Reading::OneByOne, cursor, 700);
    assert_eq!(read(&mut one_by_one), expected);
}
