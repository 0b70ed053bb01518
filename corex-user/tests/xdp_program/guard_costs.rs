//! What each rule of the guard costs for a packet, at several sizes of what it goes by. Prints only:
//! `cargo test -p corex-user --test xdp_program what_the_guard_costs -- --ignored --nocapture`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use corex_common::{
    guard::{
        ALLOW, BLOCK, Guard as Record, Listed, Network, RATES, STEALTH,
        lists::STEALTHY,
        rates::{ANY, Group, INVITE, MAX_SOURCES, Source, SourceKey},
    },
    maps::FAMILY_V4,
};
use corex_script::settings::{GuardSettings, RateRule, RateScope};
use corex_user::kernel::{
    guard::KernelList,
    object::{Object, Parts, Road},
};

use super::{
    LISTENERS,
    cost::nanoseconds,
    guard::{self, net, on},
    guard_rates::{Bed, DAY, SOURCE, WIDER, bed, frame_from, rates_only, rule, signatures},
    object_with,
};

/// Where the packets come from and go to, by family.
const ROUTES: [(&str, &str, &str); 2] = [
    ("IPv4", "198.51.100.7", "10.0.0.1:5060"),
    ("IPv6", "2001:db8::7", "[fd00::1]:5060"),
];

/// Prints what each rule costs.
pub fn costs() {
    for road in [Road::Proxy, Road::Inline] {
        let Some(mut bare) = object_with(road, Parts::default()) else {
            return;
        };
        measure(&mut bare, road, "not in the program");
        lists(road);
    }
    rates();
}

fn measure(object: &mut Object, road: Road, what: &str) {
    for (family, source, to) in ROUTES {
        let payload = guard::INVITE.repeat(5);
        let frame = guard::frame_from(source.parse().unwrap(), to, &payload);
        let time = nanoseconds(object, &frame);
        println!("{road:?}: guard, {what}, {family}: {time} ns");
    }
}

/// Puts entries of each family into a list, scattered, as those of real lists are.
fn fill(list: &KernelList, numbers: std::ops::Range<u32>) {
    let all: Vec<u32> = numbers.collect();
    for chunk in all.chunks(4096) {
        let of = |number: &u32| {
            let bits = number.wrapping_mul(0x9e37_79b1);
            let v4 = IpAddr::V4(Ipv4Addr::from_bits(bits));
            let high = u128::from(bits) << 96 | u128::from(bits.rotate_left(9)) << 64;
            let v6 = IpAddr::V6(Ipv6Addr::from_bits(high | 1));
            [v4, v6].map(|addr| (Network::host(addr), Listed::default()))
        };
        let some: Vec<_> = chunk.iter().flat_map(of).collect();
        list.put(&some).unwrap();
    }
}

/// Of the lists and of stealth.
fn lists(road: Road) {
    let Some(mut object) = object_with(road, Parts::ALL) else {
        return;
    };
    let maps = object.guard_maps().unwrap();
    let mut measure = |what: &str| measure(&mut object, road, what);
    maps.record.write(&Record::default());
    measure("switched off");
    maps.record.write(&on());
    measure("no rule");
    maps.record.write(&Record {
        rules: STEALTH,
        stealth_methods: 1 << 3,
        ..on()
    });
    measure("a method gets no answer, not this one");
    maps.record.write(&Record {
        rules: STEALTH,
        stealth_methods: 1 << 1,
        ..on()
    });
    measure("this method gets no answer: dropped");
    let looks_at = |rules: u32| Record {
        rules,
        allow_v4: u32::from(rules & ALLOW != 0),
        allow_v6: u32::from(rules & ALLOW != 0),
        block_v4: u32::from(rules & (BLOCK | STEALTH) != 0),
        block_v6: u32::from(rules & (BLOCK | STEALTH) != 0),
        ..on()
    };
    let mut there = 0_u32;
    // One less than there is room for: the last one is the source.
    for entries in [0_u32, 1_000, 999_999] {
        let began = Instant::now();
        fill(&maps.block, there..entries);
        println!(
            "{road:?}: guard: {} entries of each family written in {} ms",
            entries - there,
            began.elapsed().as_millis()
        );
        fill(&maps.allow, there..entries);
        there = entries;
        for (name, rules) in [
            ("block", BLOCK | STEALTH),
            ("allow", ALLOW),
            ("both", ALLOW | BLOCK | STEALTH),
        ] {
            maps.record.write(&looks_at(rules));
            measure(&format!(
                "{name}: {entries} entries, none of them the source"
            ));
        }
    }
    for (name, list, rules, action) in [
        ("block: 1000000 entries, dropped", &maps.block, BLOCK, 0),
        (
            "stealth: 1000000 entries, dropped",
            &maps.block,
            STEALTH,
            STEALTHY,
        ),
        ("allow: 1000000 entries, let in", &maps.allow, ALLOW, 0),
    ] {
        for (_, source, _) in ROUTES {
            let listed = Listed {
                action,
                ..Listed::default()
            };
            list.put(&[(net(source), listed)]).unwrap();
        }
        maps.record.write(&looks_at(rules));
        measure(name);
    }
    for usage in object.memory() {
        if usage.name.starts_with("GUARD") {
            println!("{road:?}: {}: {} bytes", usage.name, usage.memory);
        }
    }
}

/// A rate that is never exceeded.
fn ample(name: &str, scope: RateScope, methods: u32) -> RateRule {
    rule(name, scope, methods, 10_000_000, 1, 1_000_000)
}

/// Gives so many other sources buckets.
fn crowd(bed: &mut Bed, sources: u32) {
    let group = Group {
        prefix_v4: 32,
        prefix_v6: 64,
    };
    for number in 0..sources {
        let [a, b, c, d] = (0x0a00_0000 + number).to_be_bytes();
        let mut addr = [0; 16];
        addr[..4].copy_from_slice(&[a, b, c, d]);
        let key = SourceKey::new(addr, FAMILY_V4, 0, &group);
        let sources = &mut bed.maps.rates.sources;
        sources.insert(key, Source::default(), 0).unwrap();
    }
}

/// Of rates and signatures.
fn rates() {
    let call = format!(
        "INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1\r\n\
         User-Agent: a phone\r\nX: {}\r\n\r\n",
        "x".repeat(600)
    );
    let scan = call.replace("a phone", "abab").into_bytes();
    let junk = vec![0xf7; call.len()];
    let call = call.into_bytes();
    let src = || ample("src", SOURCE, ANY);
    let exceeded = |is_to_route: bool, is_dry: bool| {
        rates_only(vec![RateRule {
            is_to_route,
            is_dry,
            ..rule("src", SOURCE, ANY, 1, DAY, 1)
        }])
    };
    let only_malformed = || {
        let mut settings = signatures(true);
        settings.signatures.patterns.clear();
        settings
    };
    let with_rate = GuardSettings {
        rates: vec![src()],
        ..signatures(true)
    };
    for (name, settings, payload, sources) in [
        ("nothing", GuardSettings::default(), &call, 0),
        ("one rate, of sources", rates_only(vec![src()]), &call, 0),
        (
            "one rate, 1000 sources",
            rates_only(vec![src()]),
            &call,
            1_000,
        ),
        (
            "one rate, 65536 sources",
            rates_only(vec![src()]),
            &call,
            MAX_SOURCES,
        ),
        (
            "one rate, of listeners",
            rates_only(vec![ample("listener", RateScope::Listener, ANY)]),
            &call,
            0,
        ),
        (
            "two rates, one prefix",
            rates_only(vec![src(), ample("INVITE", SOURCE, 1 << INVITE)]),
            &call,
            0,
        ),
        (
            "two prefixes and a listener",
            rates_only(vec![
                src(),
                ample("src/24", WIDER, ANY),
                ample("listener", RateScope::Listener, ANY),
            ]),
            &call,
            0,
        ),
        ("above a rate: dropped", exceeded(false, false), &call, 0),
        (
            "above a rate: to the route",
            exceeded(true, false),
            &call,
            0,
        ),
        ("above a rate on dry run", exceeded(false, true), &call, 0),
        ("signatures", signatures(false), &call, 0),
        ("signatures: dropped", signatures(false), &scan, 0),
        ("malformed", only_malformed(), &call, 0),
        ("malformed: dropped", only_malformed(), &junk, 0),
        ("signatures, malformed, one rate", with_rate, &call, 0),
    ] {
        let Some(mut bed) = bed(&settings) else {
            return;
        };
        if settings.rates.is_empty() {
            bed.maps.record.write(&Record {
                rules: bed.maps.record.read().rules & !RATES,
                ..on()
            });
        }
        crowd(&mut bed, sources);
        let to = LISTENERS[0].parse().unwrap();
        let frame = frame_from("192.0.2.7:5060".parse().unwrap(), to, payload);
        println!("{name}: {} ns", nanoseconds(&mut bed.object, &frame));
    }
}
