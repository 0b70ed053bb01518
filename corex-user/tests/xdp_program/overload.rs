//! What the XDP programs shed while a worker is hard pressed.

use std::{net::IpAddr, time::Duration};

use corex_common::{
    guard::{ALLOW, Guard as Record, Listed, RATES, rates::ANY},
    overload::{CALM, Pressure, SHED_NEW, SHED_UNKNOWN, TO_WINDOW},
};
use corex_script::settings::{GuardSettings, RateRule, RateScope, guard::network};
use corex_sip::SipView;
use corex_user::{
    guard::rates,
    kernel::{
        object::{Parts, Road},
        overload::{OverloadMaps, now},
    },
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{XDP_DROP, agreement::Program, config, frame, guard::on, run, with_vlan_tags};

const LISTENERS: [&str; 2] = ["10.0.0.1:5060", "[fd00::1]:5060"];
/// Whom [`frame`] sends from.
const SOURCES: [&str; 2] = ["10.0.0.9", "fd00::9"];

/// A program that sheds, and what it goes by.
fn load(road: Road) -> Option<(Program, OverloadMaps)> {
    let parts = Parts {
        sheds: true,
        is_guarded: road == Road::Inline,
    };
    load_with(road, parts)
}

/// The same with these parts in it.
fn load_with(road: Road, parts: Parts) -> Option<(Program, OverloadMaps)> {
    let mut program = Program::load_with(road, parts)?;
    if road == Road::Inline {
        program.close(false);
    }
    program.object.knobs().unwrap().set_overload(true);
    let maps = program.object.overload_maps().unwrap();
    Some((program, maps))
}

fn press(maps: &OverloadMaps, level: u32, credit: u32) {
    maps.publish(0, Pressure { level, credit });
}

/// Whether it is dropped, and counted so; else it is steered.
fn is_shed(program: &mut Program, frame: &[u8]) -> bool {
    let (action, gained) = run(&mut program.object, frame);
    assert_eq!(gained.drop_overload + gained.steered, 1, "{gained:?}");
    assert_eq!(action == XDP_DROP, gained.drop_overload == 1);
    gained.drop_overload == 1
}

fn message(start: &str, to: &str) -> Vec<u8> {
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n{to}\r\n\
         Call-ID: 1@x\r\nCSeq: 1 X\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

const NEW: [(&str, &str); 5] = [
    ("INVITE sip:b@x SIP/2.0", "To: <sip:b@x>"),
    ("REGISTER sip:x SIP/2.0", "t: <sip:b@x>"),
    (
        "OPTIONS sip:x SIP/2.0",
        "TO: \"Bob\" <sip:b@x>\r\nX-Long: tag=1",
    ),
    ("SUBSCRIBE sip:x SIP/2.0", "to: <sip:b@example.com>"),
    ("FOO sip:x SIP/2.0", "To:sip:b@x"),
];

const UNDER_WAY: [(&str, &str); 7] = [
    ("INVITE sip:b@x SIP/2.0", "To: <sip:b@x>;tag=2"),
    ("BYE sip:b@x SIP/2.0", "t:<sip:b@x> ; Tag = 2"),
    ("INFO sip:b@x SIP/2.0", "To: <sip:b@x>\r\n\t;tag=2"),
    ("UPDATE sip:b@x SIP/2.0", "To : <sip:b@x>;tag=2"),
    ("ACK sip:b@x SIP/2.0", "To: <sip:b@x>"),
    ("CANCEL sip:b@x SIP/2.0", "To: <sip:b@x>"),
    ("SIP/2.0 200 OK", "To: <sip:b@x>"),
];

#[test]
fn what_is_new_goes_first_and_then_all_from_unknown_sources() {
    for road in [Road::Proxy, Road::Offload, Road::Inline] {
        let Some((mut program, maps)) = load(road) else {
            return;
        };
        for to in LISTENERS {
            for (level, new_goes, rest_goes) in [
                (CALM, false, false),
                (SHED_NEW, true, false),
                (SHED_UNKNOWN, true, true),
            ] {
                press(&maps, level, 0);
                for (messages, goes) in [(&NEW[..], new_goes), (&UNDER_WAY, rest_goes)] {
                    for (start, header) in messages {
                        let frame = frame(to, &message(start, header));
                        assert_eq!(
                            is_shed(&mut program, &frame),
                            goes,
                            "{road:?} {to} {level} {start} {header}"
                        );
                    }
                }
                // What isn't SIP as it stands, as behind a codec, is judged by its source.
                let opaque = frame(to, &[0x1f; 100]);
                assert_eq!(is_shed(&mut program, &opaque), level != CALM);
            }
        }
    }
}

#[test]
fn known_peers_are_not_shed_until_they_are_forgotten() {
    for road in [Road::Proxy, Road::Inline] {
        let Some((mut program, maps)) = load(road) else {
            return;
        };
        press(&maps, SHED_UNKNOWN, 0);
        for (to, source) in LISTENERS.into_iter().zip(SOURCES) {
            let source: IpAddr = source.parse().unwrap();
            let frame = frame(to, &message(NEW[0].0, NEW[0].1));
            let tagged = with_vlan_tags(&frame, 2);
            assert!(is_shed(&mut program, &frame));
            maps.peers().learn(source, now() + 1000);
            assert!(!is_shed(&mut program, &frame), "{road:?} {source}");
            assert!(!is_shed(&mut program, &tagged), "{road:?} {source}");
            maps.peers().learn(source, now());
            assert!(is_shed(&mut program, &frame), "{road:?} {source}");
        }
    }
}

#[test]
fn as_many_are_let_through_as_can_be_replied_to() {
    let Some((mut program, maps)) = load(Road::Proxy) else {
        return;
    };
    press(&maps, SHED_NEW, 3);
    let frame = frame(LISTENERS[0], &message(NEW[0].0, NEW[0].1));
    let shed: Vec<bool> = (0..5).map(|_| is_shed(&mut program, &frame)).collect();
    assert_eq!(shed, [false, false, false, true, true]);
}

#[test]
fn a_to_that_is_not_found_soon_is_left_to_user_space() {
    let Some((mut program, maps)) = load(Road::Proxy) else {
        return;
    };
    press(&maps, SHED_NEW, 0);
    let far = format!("X: {}\r\nTo: <sip:b@x>", "y".repeat(TO_WINDOW));
    let frame = frame(LISTENERS[0], &message(NEW[0].0, &far));
    assert!(!is_shed(&mut program, &frame));
}

#[test]
fn without_overload_nothing_is_shed() {
    let Some((mut program, maps)) = load(Road::Proxy) else {
        return;
    };
    program.object.knobs().unwrap().set_overload(false);
    press(&maps, SHED_UNKNOWN, 0);
    let frame = frame(LISTENERS[0], &message(NEW[0].0, NEW[0].1));
    assert!(!is_shed(&mut program, &frame));
}

/// Whether user space takes it for something that is under way.
fn belongs(message: &[u8]) -> bool {
    SipView::parse(message).is_ok_and(|view| match view.method() {
        None | Some(b"ACK" | b"CANCEL") => true,
        Some(_) => view.to().is_some_and(|to| to.tag().is_some()),
    })
}

/// Messages out of the pieces that decide, in any order.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "To",
        "TO",
        "t",
        "T",
        ":",
        " :",
        ": ",
        "<sip:b@x>",
        "\"tag=\"",
        ";tag=1",
        "; tag=1",
        ";Tag =1",
        ";x=1",
        "\r\n",
        "\n",
        "\r\n ",
        "\n\t",
        "Via: SIP/2.0/UDP a",
        "tag=",
        "\r\n\r\n",
        "\r\nTo: <sip:b@x>",
        "\r\nt:sip:b@x",
    ]);
    let start = prop::sample::select(vec![
        "INVITE sip:b@x SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "ACK sip:b@x SIP/2.0\r\n",
        "CANCEL sip:b@x SIP/2.0\r\n",
        "\r\nINVITE sip:b@x SIP/2.0\n",
        "NOTIFY sip:b@x SIP/2.0\n",
        "INVITE",
    ]);
    (start, prop::collection::vec(piece, 0..24)).prop_map(|(start, pieces)| {
        let mut message = start.as_bytes().to_vec();
        pieces
            .iter()
            .for_each(|piece| message.extend(piece.bytes()));
        // Longer than what is left to the hook's bound, and than probes.
        message.extend([b' '; 64]);
        message
    })
}

#[test]
fn what_is_shed_in_the_kernel_would_be_shed_in_user_space() {
    let Some((program, maps)) = load(Road::Proxy) else {
        return;
    };
    press(&maps, SHED_NEW, 0);
    let program = std::cell::RefCell::new(program);
    TestRunner::new(config(4_000))
        .run(&messages(), |message| {
            let frame = frame(LISTENERS[0], &message);
            if is_shed(&mut program.borrow_mut(), &frame) {
                prop_assert!(!belongs(&message), "{}", String::from_utf8_lossy(&message));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_the_guard_lets_in_is_asked_about_once_and_who_is_allowed_is_not_shed() {
    for road in [Road::Proxy, Road::Offload, Road::Inline] {
        let parts = Parts {
            is_guarded: true,
            sheds: true,
        };
        let Some((mut program, maps)) = load_with(road, parts) else {
            return;
        };
        let mut guard = program.object.guard_maps().unwrap();
        let rate = RateRule {
            name: "src".to_owned(),
            scope: RateScope::Source {
                prefix_v4: 32,
                prefix_v6: 64,
            },
            methods: ANY,
            count: 1,
            period: Duration::from_secs(86_400),
            burst: 6,
            is_to_route: false,
            is_dry: false,
        };
        let settings = GuardSettings {
            rates: vec![rate],
            ..GuardSettings::default()
        };
        guard.rates.write_rates(&rates::rules(&settings)).unwrap();
        let mut record = Record {
            rules: ALLOW | RATES,
            allow_v4: 15,
            ..on()
        };
        guard.record.write(&record);
        // As many as can be replied to; none of these for what a rate is over.
        press(&maps, SHED_NEW, 3);
        let frame = frame(LISTENERS[0], &message(NEW[0].0, NEW[0].1));
        let mut fates = Vec::new();
        for _ in 0..8 {
            let (_, gained) = run(&mut program.object, &frame);
            assert_eq!(gained.seen, 1, "{road:?} {gained:?}");
            let counts = [gained.steered, gained.drop_overload, gained.drop_guard_rate];
            assert_eq!(counts.iter().sum::<u64>(), 1, "{road:?} {gained:?}");
            fates.push(counts.iter().position(|count| *count == 1).unwrap_or(9));
        }
        assert_eq!(fates, [0, 0, 0, 1, 1, 1, 2, 2], "{road:?}");
        let source = network(SOURCES[0]).unwrap();
        guard.allow.put(&[(source, Listed::default())]).unwrap();
        press(&maps, SHED_UNKNOWN, 0);
        assert!(!is_shed(&mut program, &frame), "{road:?}");
        // That this one was allowed says nothing of the next one.
        record.rules = RATES;
        guard.record.write(&record);
        let other = super::frame(LISTENERS[1], &message(NEW[0].0, NEW[0].1));
        assert!(is_shed(&mut program, &other), "{road:?}");
    }
}

#[test]
fn who_is_trusted_is_known_with_a_guard_and_without() {
    for road in [Road::Proxy, Road::Offload, Road::Inline] {
        let Some((mut program, maps)) = load_with(road, Parts::ALL) else {
            return;
        };
        let guard = program.object.guard_maps().unwrap();
        let frames = LISTENERS.map(|to| frame(to, &message(NEW[0].0, NEW[0].1)));
        press(&maps, SHED_UNKNOWN, 0);
        for (frame, trusted) in frames.iter().zip(["10.0.0.0/28", "fd00::/64"]) {
            assert!(is_shed(&mut program, frame), "{road:?}");
            let trusted = network(trusted).unwrap();
            guard.trust.put(&[(trusted, Listed::default())]).unwrap();
            assert!(!is_shed(&mut program, frame), "{road:?}");
        }
    }
}

#[test]
fn without_overload_in_config_nothing_is_shed() {
    for road in [Road::Proxy, Road::Inline] {
        let Some((mut program, maps)) = load_with(road, Parts::ALL) else {
            return;
        };
        let frame = frame(LISTENERS[0], &message(NEW[0].0, NEW[0].1));
        press(&maps, SHED_UNKNOWN, 0);
        assert!(is_shed(&mut program, &frame), "{road:?}");
        program.object.knobs().unwrap().set_overload(false);
        assert!(!is_shed(&mut program, &frame), "{road:?}");
    }
}
