//! What is kept of incomplete datagrams, and for how long.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    datagram::*,
    reassemble::{Desk, LIMITS, patterned},
    *,
};

/// A datagram of the `n`th sender.
fn of_sender(n: u8) -> Datagram {
    Datagram {
        src: [192, 0, 2, n].into(),
        ..Datagram::v4(&patterned(40))
    }
}

#[test]
fn the_oldest_makes_room_for_a_new_one() {
    let mut desk = Desk::new(Limits {
        max_datagrams: 3,
        ..LIMITS
    });
    for n in 0..4 {
        desk.push(&of_sender(n).fragments(1, 32)[0]);
    }
    assert_eq!((desk.lost.full, desk.reassembler.held()), (1, 3));
    for n in 1..4 {
        assert!(desk.push(&of_sender(n).fragments(1, 32)[1]).is_some());
    }
    assert_eq!(desk.push(&of_sender(0).fragments(1, 32)[1]), None);
}

#[test]
fn a_flood_from_one_source_displaces_its_own_only() {
    let mut desk = Desk::new(LIMITS);
    desk.push(&of_sender(1).fragments(1, 32)[0]);
    for id in 0..1_000 {
        desk.push(&of_sender(2).fragments(id, 32)[0]);
    }
    assert_eq!((desk.lost.full, desk.reassembler.held()), (1_000 - 16, 17));
    assert!(desk.push(&of_sender(1).fragments(1, 32)[1]).is_some());
    for id in 984..1_000 {
        assert!(desk.push(&of_sender(2).fragments(id, 32)[1]).is_some());
    }
}

#[test]
fn a_flood_of_bytes_from_one_source_displaces_its_own_only() {
    let limits = Limits {
        max_bytes: 40_000,
        ..LIMITS
    };
    let mut desk = Desk::new(limits);
    desk.push(&of_sender(1).fragments(1, 32)[0]);
    let large = Datagram {
        payload: patterned(3_000),
        ..of_sender(2)
    };
    for id in 0..100 {
        let whole = desk.push(&large.fragments(id, 1_480)[0]);
        assert_eq!(whole, None);
    }
    // A quarter of all, as of the datagrams.
    assert_eq!((desk.lost.full, desk.reassembler.held()), (94, 7));
    assert!(desk.push(&of_sender(1).fragments(1, 32)[1]).is_some());
}

#[test]
fn bytes_are_bounded_over_all_sources() {
    let limits = Limits {
        max_bytes: 10_000,
        max_of_source: 64,
        ..LIMITS
    };
    let mut desk = Desk::new(limits);
    let large = |n| Datagram {
        payload: patterned(3_000),
        ..of_sender(n)
    };
    for n in 0..50 {
        desk.push(&large(n).fragments(1, 1_480)[0]);
    }
    assert_eq!((desk.lost.full, desk.reassembler.held()), (44, 6));
    for n in 44..50 {
        let fragments = large(n).fragments(1, 1_480);
        desk.push(&fragments[1]);
        desk.push(&fragments[2]);
    }
    assert_eq!(desk.given, 15);
}

#[test]
fn one_datagram_larger_than_all_bytes_is_displaced_itself() {
    let mut desk = Desk::new(Limits {
        max_bytes: 2_000,
        max_of_source: 64,
        ..LIMITS
    });
    let datagram = Datagram::v4(&patterned(3_000));
    for fragment in datagram.fragments(1, 1_480) {
        assert_eq!(desk.push(&fragment), None);
    }
    assert_eq!((desk.lost.full, desk.reassembler.held()), (2, 1));
}

#[test]
fn a_datagram_of_too_many_pieces_is_dropped_with_what_comes_later() {
    let mut desk = Desk::new(Limits {
        max_pieces: 4,
        ..LIMITS
    });
    for fragment in Datagram::v4(&patterned(32)).fragments(1, 8) {
        assert_eq!(desk.push(&fragment), None);
    }
    assert_eq!((desk.lost.full, desk.reassembler.held()), (5, 0));
    let four = Datagram::v4(&patterned(24)).fragments(2, 8);
    assert_eq!(four.iter().filter_map(|f| desk.push(f)).count(), 1);
}

#[test]
fn what_is_not_complete_in_time_is_given_up() {
    let second = Duration::from_secs(1);
    let fragments = Datagram::v4(&patterned(40)).fragments(1, 16);
    let mut desk = Desk::new(LIMITS);
    desk.push_at(&fragments[0], 2 * second);
    // The first to arrive counts, not the last.
    desk.push_at(&fragments[1], 6 * second);
    desk.expire(7 * second - Duration::from_nanos(1));
    assert_eq!(desk.lost.timeout, 0);
    desk.expire(7 * second);
    assert_eq!((desk.lost.timeout, desk.reassembler.held()), (2, 0));
    assert_eq!(desk.push_at(&fragments[2], 7 * second), None);
    desk.expire(Duration::MAX);
    assert_eq!((desk.lost.timeout, desk.reassembler.held()), (3, 0));
}

#[test]
fn a_fragment_that_comes_too_late_begins_anew() {
    let fragments = Datagram::v4(&patterned(40)).fragments(1, 32);
    let mut desk = Desk::new(LIMITS);
    desk.push_at(&fragments[0], Duration::ZERO);
    assert_eq!(desk.push_at(&fragments[1], LIMITS.lifetime), None);
    assert_eq!((desk.lost.timeout, desk.reassembler.held()), (1, 1));
    assert!(desk.push_at(&fragments[0], LIMITS.lifetime).is_some());
}

#[test]
fn what_is_condemned_is_forgotten_in_time() {
    let datagram = Datagram::v4(&patterned(40));
    let mut desk = Desk::new(LIMITS);
    desk.push(&datagram.fragment(1, 0, true, &[1; 16]));
    desk.push(&datagram.fragment(1, 8, true, &[1; 16]));
    let almost = LIMITS.lifetime - Duration::from_nanos(1);
    for fragment in datagram.fragments(1, 32) {
        assert_eq!(desk.push_at(&fragment, almost), None);
    }
    assert_eq!(desk.lost.overlap, 4);
    let wholes = datagram.fragments(1, 32);
    let wholes = wholes
        .iter()
        .filter_map(|f| desk.push_at(f, LIMITS.lifetime));
    assert_eq!(wholes.count(), 1);
    assert_eq!(desk.lost.timeout, 0);
}

#[test]
fn what_is_condemned_takes_a_place_but_no_bytes() {
    let limits = Limits {
        max_bytes: 300,
        max_datagrams: 8,
        max_of_source: 8,
        ..LIMITS
    };
    let mut desk = Desk::new(limits);
    for id in 0..8 {
        let datagram = of_sender(1);
        desk.push(&datagram.fragment(id, 0, true, &[1; 16]));
        desk.push(&datagram.fragment(id, 8, true, &[1; 16]));
    }
    assert_eq!((desk.lost.overlap, desk.lost.full), (16, 0));
    // The ninth takes the first's place, which is open again.
    desk.push(&of_sender(2).fragments(1, 32)[0]);
    assert_eq!((desk.lost.full, desk.reassembler.held()), (0, 1));
    desk.push(&of_sender(1).fragment(7, 0, true, &[1; 16]));
    assert_eq!(desk.lost.overlap, 17);
    desk.push(&of_sender(1).fragment(0, 0, true, &[1; 16]));
    assert_eq!((desk.lost.overlap, desk.reassembler.held()), (17, 2));
}

#[derive(Clone, Debug)]
struct Noise {
    sender: u8,
    is_ipv4: bool,
    id: u32,
    offset: usize,
    len: usize,
    more: bool,
    byte: u8,
    wait: u64,
}

fn noise() -> impl Strategy<Value = Vec<Noise>> {
    let one = (
        (0u8..4, any::<bool>(), 0u32..4),
        (0usize..6, 0usize..5, any::<bool>()),
        (0u8..2, 0u64..400),
    );
    let one = one.prop_map(
        |((sender, is_ipv4, id), (offset, len, more), (byte, wait))| Noise {
            sender,
            is_ipv4,
            id,
            offset: offset * 8,
            len: len * 8,
            more,
            byte,
            wait,
        },
    );
    proptest::collection::vec(one, 1..150)
}

proptest! {
    #[test]
    fn arbitrary_fragments_balance_and_stay_within_the_limits(noise in noise()) {
        let limits = Limits {
            max_bytes: 600,
            max_datagrams: 6,
            max_of_source: 3,
            max_pieces: 4,
            lifetime: Duration::from_secs(3),
        };
        let mut desk = Desk::new(limits);
        let mut now = Duration::ZERO;
        for noise in noise {
            now += Duration::from_millis(noise.wait);
            let mut datagram = if noise.is_ipv4 {
                of_sender(noise.sender)
            } else {
                Datagram::v6(&[])
            };
            datagram.traffic_class = noise.byte;
            let data = vec![noise.byte; noise.len];
            let frame = datagram.fragment(noise.id, noise.offset, noise.more, &data);
            let whole = desk.push_at(&frame, now);
            if let Some(whole) = whole {
                prop_assert!(View::parse(&whole.frame).unwrap().fragment.is_none());
                let rest: usize = whole.pieces.iter().map(|p| {
                    let view = View::parse(p).unwrap();
                    view.ip_end - view.header_end
                }).sum();
                let view = View::parse(&whole.frame).unwrap();
                prop_assert_eq!(view.ip_end - view.per_fragment_end, rest);
            }
            let held = desk.reassembler.held();
            prop_assert!(held * (14 + 20 + 8) <= limits.max_bytes);
            prop_assert!(held <= limits.max_datagrams * limits.max_pieces);
        }
        desk.expire(Duration::MAX);
        prop_assert_eq!(desk.reassembler.held(), 0);
    }
}
