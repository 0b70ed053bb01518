//! Rates and signatures of the guard: the program lets through what user space would, on all CPUs
//! together no more than a bucket has, and finds the same signatures.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use aya::programs::{TestRun as _, TestRunOptions};
use corex_common::guard::{
    Guard as Record, Listed, Network, RATES, SIGNATURES,
    rates::{ANY, INVITE, OPAQUE, OTHER, Outcome, REGISTER, kind_of},
    signatures::refuses,
};
use corex_packet::{Envelope, build_udp};
use corex_script::settings::{
    GuardSettings, RateBlock, RateRule, RateScope, SignaturePattern, SignaturePlace,
    SignatureSettings,
};
use corex_user::{
    guard::{automaton, rates},
    kernel::{
        guard::GuardMaps,
        object::{Object, Road},
    },
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{GUARDED, LISTENERS, config, guard::on, object_with, run, with_vlan_tags};

/// An object whose guard goes by some rules.
pub struct Bed {
    pub object: Object,
    pub maps: GuardMaps,
}

pub fn bed(settings: &GuardSettings) -> Option<Bed> {
    let object = object_with(Road::Proxy, GUARDED)?;
    let mut maps = object.guard_maps().unwrap();
    maps.rates.write_rates(&rates::rules(settings)).unwrap();
    let automaton = automaton::compile(&settings.signatures, true).unwrap();
    maps.rates.write_automaton(&automaton).unwrap();
    maps.record.write(&Record {
        rules: RATES | SIGNATURES,
        ..on()
    });
    Some(Bed { object, maps })
}

pub fn rule(
    name: &str,
    scope: RateScope,
    methods: u32,
    count: u64,
    period: u64,
    burst: u64,
) -> RateRule {
    RateRule {
        name: name.to_owned(),
        scope,
        methods,
        count,
        period: Duration::from_secs(period),
        burst,
        is_to_route: false,
        is_dry: false,
    }
}

pub const SOURCE: RateScope = RateScope::Source {
    prefix_v4: 32,
    prefix_v6: 64,
};
pub const WIDER: RateScope = RateScope::Source {
    prefix_v4: 24,
    prefix_v6: 48,
};
/// So that a test takes no time: in one of these nothing fills up again.
pub const DAY: u64 = 86_400;

pub fn rates_only(rates: Vec<RateRule>) -> GuardSettings {
    GuardSettings {
        rates,
        ..GuardSettings::default()
    }
}

pub fn frame_from(source: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let envelope = Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        src: source,
        dst: to,
        ttl: 64,
        identification: None,
        traffic_class: 0,
    };
    let mut buf = vec![0; payload.len() + 100];
    let len = build_udp(&mut buf, &envelope, payload).unwrap();
    buf.truncate(len);
    buf
}

fn kind(message: &[u8]) -> u32 {
    message.first_chunk().map_or(OPAQUE, kind_of)
}

#[test]
fn the_program_lets_through_what_user_space_does() {
    let settings = rates_only(vec![
        rule("src", SOURCE, ANY, 1, DAY, 12),
        rule(
            "REGISTER INVITE",
            SOURCE,
            1 << REGISTER | 1 << INVITE,
            1,
            DAY,
            5,
        ),
        rule("src/24,48", WIDER, 1 << OTHER | 1 << OPAQUE, 1, DAY, 9),
        rule("listener", RateScope::Listener, ANY, 1, DAY, 60),
    ]);
    let Some(mut bed) = bed(&settings) else {
        return;
    };
    let buckets = rates::Buckets::default();
    buckets.follow(rates::rules(&settings));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let starts = [
        "REGISTER sip:x SIP/2.0\r\n",
        "INVITE sip:x SIP/2.0\r\n",
        "OPTIONS sip:x SIP/2.0\r\n",
        "BYE sip:x SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "\u{1f}\u{8b} not plain at all\r\n",
    ];
    let mut dropped = 0;
    for _ in 0..1_500 {
        let is_v4 = next(2) == 0;
        let host = next(12) as u8;
        let (source, id): (IpAddr, usize) = if is_v4 {
            (IpAddr::from([192, 0, host % 3, 1 + host]), 0)
        } else {
            let addr = [
                0x2001,
                0xdb8,
                u16::from(host % 3),
                u16::from(host),
                0,
                0,
                0,
                1,
            ];
            (IpAddr::from(addr), 1)
        };
        let text = format!(
            "{}Via: SIP/2.0/UDP 192.0.2.1\r\n\r\n",
            starts[next(starts.len() as u64) as usize]
        );
        let to: SocketAddr = LISTENERS[id].parse().unwrap();
        let mut frame = frame_from(SocketAddr::new(source, 5060), to, text.as_bytes());
        if next(4) == 0 {
            frame = with_vlan_tags(&frame, 1);
        }
        let (_, counters) = run(&mut bed.object, &frame);
        let ours = buckets.weigh(source, id as u32, kind(text.as_bytes()), 1);
        let theirs = match counters.drop_guard_rate {
            0 => Outcome::Pass,
            _ => Outcome::Drop,
        };
        assert_eq!(theirs, ours.outcome, "{source} {text}");
        dropped += counters.drop_guard_rate;
    }
    assert!(dropped > 100, "{dropped}");
    for rule in 0..4 {
        let kernel = bed.maps.rates.counters.sum(rule);
        assert_eq!(kernel, buckets.counters(rule), "{rule}");
    }
}

#[test]
fn two_cpus_let_no_more_through_than_rate_times_time_and_a_burst() {
    const RUNS: u32 = 200_000;
    let (count, burst) = (20_000, 100);
    let settings = rates_only(vec![
        rule("src", SOURCE, ANY, count, 1, burst),
        rule("listener", RateScope::Listener, ANY, count, 1, burst),
    ]);
    let Some(mut bed) = bed(&settings) else {
        return;
    };
    let to = LISTENERS[0].parse().unwrap();
    let frame = frame_from(
        "192.0.2.7:5060".parse().unwrap(),
        to,
        b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\n\r\n",
    );
    let before = bed.object.counters();
    let program = &*bed.object.program().unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for cpu in 0..2 {
            let frame = &frame;
            scope.spawn(move || {
                let mut cpus = CpuSet::new();
                cpus.set(cpu).unwrap();
                // With a single CPU both run there: then less is shown, but nothing wrong.
                let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
                let options = TestRunOptions {
                    data_in: Some(frame),
                    repeat: RUNS,
                    ..TestRunOptions::new()
                };
                program.test_run(options).unwrap();
            });
        }
    });
    let time = began.elapsed();
    let after = bed.object.counters();
    let seen = after.seen - before.seen;
    assert_eq!(seen, 2 * u64::from(RUNS));
    let passed = u128::from(seen - (after.drop_guard_rate - before.drop_guard_rate));
    let most = time.as_nanos() * u128::from(count) / 1_000_000_000 + u128::from(burst);
    println!("{passed} of {seen} passed in {time:?}, {most} at most");
    assert!(passed <= most, "{passed}, {most} at most in {time:?}");
    assert!(passed >= u128::from(burst), "{passed}");
}

/// Two messages a day from each network of a prefix, which the third one above that has blocked.
fn three_offences() -> GuardSettings {
    GuardSettings {
        rate_block: Some(RateBlock {
            offences: 3,
            within: Duration::from_secs(DAY),
            time: Duration::from_secs(DAY),
            is_dry: false,
        }),
        ..rates_only(vec![rule("src/24,48", WIDER, ANY, 1, DAY, 2)])
    }
}

#[test]
fn a_source_with_enough_offences_is_blocked_at_once_and_told_of() {
    let Some(mut bed) = bed(&three_offences()) else {
        return;
    };
    let payload = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\n\r\n";
    for (to, sources, network) in [
        (LISTENERS[0], ["192.0.2.7:1", "192.0.2.8:2"], "192.0.2.0"),
        (
            LISTENERS[1],
            ["[2001:db8::7]:1", "[2001:db8:0:9::8]:2"],
            "2001:db8::",
        ),
    ] {
        let mut sent = |n: usize| {
            let source = sources[n % 2].parse().unwrap();
            let frame = frame_from(source, to.parse().unwrap(), payload);
            let (_, counters) = run(&mut bed.object, &frame);
            (counters.drop_guard_rate, counters.drop_guard_block)
        };
        let expected = [(0, 0), (0, 0), (1, 0), (1, 0), (1, 0), (0, 1), (0, 1)];
        assert_eq!(std::array::from_fn(&mut sent), expected, "{to}");
        let blocked = bed.maps.rates.blocked();
        assert_eq!(blocked.len(), 1);
        let ip: IpAddr = network.parse().unwrap();
        let len = if ip.is_ipv4() { 24 } else { 48 };
        assert_eq!((blocked[0].network.addr, blocked[0].network.len), (ip, len));
        // Its buckets are forgotten with it.
        bed.maps.rates.settle(&blocked[0]);
        assert!(bed.maps.rates.blocked().is_empty());
        let source = sources[0].parse().unwrap();
        let frame = frame_from(source, to.parse().unwrap(), payload);
        let (_, counters) = run(&mut bed.object, &frame);
        assert_eq!(
            (counters.drop_guard_rate, counters.drop_guard_block),
            (0, 0)
        );
    }
}

#[test]
fn who_is_trusted_is_above_a_rate_as_others_and_never_blocked_for_it() {
    let Some(mut bed) = bed(&three_offences()) else {
        return;
    };
    let payload = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\n\r\n";
    for (to, sources) in [
        (LISTENERS[0], ["192.0.2.7:1", "192.0.2.8:2"]),
        (LISTENERS[1], ["[2001:db8::7]:1", "[2001:db8:0:9::8]:2"]),
    ] {
        let trusted: SocketAddr = sources[0].parse().unwrap();
        let entry = (Network::host(trusted.ip()), Listed::default());
        bed.maps.trust.put(&[entry]).unwrap();
        let mut sent = |n: usize| {
            let source = sources[n % 2].parse().unwrap();
            let frame = frame_from(source, to.parse().unwrap(), payload);
            let (_, counters) = run(&mut bed.object, &frame);
            (counters.drop_guard_rate, counters.drop_guard_block)
        };
        // The third offence is the trusted one's; the third after that, its neighbour's, has both blocked
        // by the program, but for the one that is trusted.
        let mut expected = [(1, 0); 10];
        expected[..2].fill((0, 0));
        expected[8..].copy_from_slice(&[(0, 0), (0, 1)]);
        assert_eq!(std::array::from_fn(&mut sent), expected, "{to}");
        let blocked = bed.maps.rates.blocked();
        assert_eq!(blocked.len(), 1, "{to}");
        bed.maps.rates.settle(&blocked[0]);
    }
}

pub fn signatures(drops_malformed: bool) -> GuardSettings {
    let pattern = |place, is_anchored, text: &str| SignaturePattern {
        place,
        is_anchored,
        text: text.as_bytes().to_vec(),
    };
    GuardSettings {
        signatures: SignatureSettings {
            patterns: vec![
                pattern(SignaturePlace::UserAgent, false, "aba"),
                pattern(SignaturePlace::UserAgent, true, "bb"),
                pattern(SignaturePlace::FirstLine, false, "abba"),
            ],
            drops_malformed,
            ..SignatureSettings::default()
        },
        ..GuardSettings::default()
    }
}

#[test]
fn the_program_finds_the_signatures_that_user_space_does() {
    for drops_malformed in [false, true] {
        let settings = signatures(drops_malformed);
        let Some(bed) = bed(&settings) else { return };
        let bed = std::cell::RefCell::new(bed);
        let automaton = automaton::compile(&settings.signatures, true).unwrap();
        let part = prop_oneof![
            Just("\r\n".to_owned()),
            Just("\r\nUser-Agent: ".to_owned()),
            Just("\r\nVia: ".to_owned()),
            Just("OPTIONS ".to_owned()),
            Just("SIP/2.0 ".to_owned()),
            "[ab]{1,5}",
            "[ab x]{100}",
        ];
        let parts = proptest::collection::vec(part, 1..24);
        let found = std::cell::Cell::new(0);
        let case = (parts, any::<bool>(), 0_usize..3);
        let config = config(1_000);
        let inputs = config.cases;
        let mut runner = TestRunner::new(config);
        let outcome = runner.run(&case, |(parts, is_v4, tags)| {
            // Longer than a probe, whatever is in it.
            let payload = (parts.concat() + "\r\nX: 0123456789012345678901234567890").into_bytes();
            let payload = &payload[..payload.len().min(1_200)];
            let (source, to) = if is_v4 {
                ("192.0.2.7:5060", LISTENERS[0])
            } else {
                ("[2001:db8::7]:5060", LISTENERS[1])
            };
            let frame = frame_from(source.parse().unwrap(), to.parse().unwrap(), payload);
            let frame = with_vlan_tags(&frame, tags);
            let (_, counters) = run(&mut bed.borrow_mut().object, &frame);
            let ours = refuses(&automaton, payload, kind(payload));
            prop_assert_eq!(counters.drop_guard_signature, u64::from(ours));
            found.set(found.get() + u32::from(ours));
            Ok(())
        });
        outcome.unwrap();
        assert!((20..inputs).contains(&found.get()), "{}", found.get());
    }
}

/// What the guard counted for a packet: dropped for its rate, for its signature; would have been, for each.
fn verdicts(bed: &mut Bed, payload: &[u8]) -> [u64; 4] {
    let to = LISTENERS[0].parse().unwrap();
    let frame = frame_from("192.0.2.7:5060".parse().unwrap(), to, payload);
    let (_, counters) = run(&mut bed.object, &frame);
    assert_eq!(counters.received(), counters.decided());
    [
        counters.drop_guard_rate,
        counters.drop_guard_signature,
        counters.guard_dry_rate,
        counters.guard_dry_signature,
    ]
}

#[test]
fn on_dry_run_rates_and_signatures_drop_nothing_and_count_what_they_would_have() {
    let settings = GuardSettings {
        rates: vec![rule("src", SOURCE, ANY, 1, DAY, 2)],
        ..signatures(true)
    };
    let phone = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\nUser-Agent: x\r\n\r\n";
    let scanner = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\nUser-Agent: aba\r\n\r\n";
    let junk = b"hello, hello, is there anybody who listens to what is no SIP at all?";
    for (dry_run, expected) in [
        // A scanner's, and junk, are dropped before they take anything from a bucket.
        (
            0,
            [[0, 1, 0, 0], [0, 1, 0, 0], [0; 4], [0; 4], [1, 0, 0, 0]],
        ),
        (
            SIGNATURES,
            [
                [0, 0, 0, 1],
                [0, 0, 0, 1],
                [1, 0, 0, 0],
                [1, 0, 0, 0],
                [1, 0, 0, 0],
            ],
        ),
        (
            RATES,
            [[0, 1, 0, 0], [0, 1, 0, 0], [0; 4], [0; 4], [0, 0, 1, 0]],
        ),
        (
            RATES | SIGNATURES,
            [
                [0, 0, 0, 1],
                [0, 0, 0, 1],
                [0, 0, 1, 0],
                [0, 0, 1, 0],
                [0, 0, 1, 0],
            ],
        ),
    ] {
        let Some(mut bed) = bed(&settings) else {
            return;
        };
        bed.maps.record.write(&Record {
            rules: RATES | SIGNATURES,
            dry_run,
            ..on()
        });
        let payloads = [&scanner[..], junk, phone, phone, phone];
        let seen = payloads.map(|payload| verdicts(&mut bed, payload));
        assert_eq!(seen, expected, "{dry_run:#x}");
    }
}

#[test]
fn a_rate_on_dry_run_counts_by_itself_and_blocks_nobody() {
    let phone = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\n\r\n";
    // The rule's own, that of `rate_block`, and that of all rates, which `rates::rules()` makes both.
    let one = GuardSettings {
        rates: vec![RateRule {
            is_dry: true,
            ..three_offences().rates.remove(0)
        }],
        ..three_offences()
    };
    let mut block = three_offences();
    if let Some(block) = &mut block.rate_block {
        block.is_dry = true;
    }
    let all = GuardSettings {
        dry_run: RATES,
        ..three_offences()
    };
    for (settings, dropped, blocked) in [(one, 0, 0), (block, 8, 2), (all, 8, 2)] {
        let Some(mut bed) = bed(&settings) else {
            return;
        };
        let seen: u64 = (0..10).map(|_| verdicts(&mut bed, phone)[0]).sum();
        assert_eq!(seen, dropped);
        assert!(bed.maps.rates.blocked().is_empty());
        let counts = bed.maps.rates.counters.sum(0);
        assert_eq!((counts.over, counts.blocked), (8, blocked));
    }
}
