//! What becomes of fragments.

use std::time::Duration;

use proptest::prelude::*;

use super::{datagram::*, *};

pub const LIMITS: Limits = Limits {
    max_bytes: 1 << 20,
    max_datagrams: 64,
    max_of_source: 16,
    max_pieces: 64,
    lifetime: Duration::from_secs(5),
};

/// A reassembler whose books are looked at with each fragment.
pub struct Desk {
    pub reassembler: Reassembler,
    pub lost: Lost,
    pushed: usize,
    pub given: usize,
}

impl Desk {
    pub fn new(limits: Limits) -> Self {
        Self {
            reassembler: Reassembler::new(limits),
            lost: Lost::default(),
            pushed: 0,
            given: 0,
        }
    }

    pub fn push_at(&mut self, frame: &[u8], now: Duration) -> Option<Whole> {
        let view = View::parse(frame).unwrap();
        let whole = self.reassembler.push(frame, &view, now, &mut self.lost);
        self.pushed += 1;
        self.given += whole.as_ref().map_or(0, |whole| whole.pieces.len());
        self.balance();
        whole
    }

    pub fn push(&mut self, frame: &[u8]) -> Option<Whole> {
        self.push_at(frame, Duration::ZERO)
    }

    pub fn expire(&mut self, now: Duration) {
        self.reassembler.expire(now, &mut self.lost);
        self.balance();
    }

    /// Each fragment is in a datagram that came out, or lost, or kept.
    fn balance(&self) {
        let Lost {
            overlap,
            duplicate,
            malformed,
            full,
            timeout,
        } = self.lost;
        let lost = (overlap + duplicate + malformed + full + timeout) as usize;
        let held = self.reassembler.held();
        assert_eq!(self.pushed, self.given + lost + held, "{:?}", self.lost);
    }
}

pub fn patterned(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// All orders of the first `n` numbers.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for shorter in orders(n - 1) {
        for at in 0..n {
            let mut order = shorter.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all
}

#[test]
fn five_fragments_in_any_order_give_the_frame_that_a_sender_would_have_made_of_all() {
    for datagram in Datagram::both(&patterned(6_000)) {
        let datagram = Datagram {
            tags: vec![[0x81, 0, 0, 9]],
            options: [&ROUTER_ALERT[..], &RECORD_ROUTE].concat(),
            extensions: vec![(0, 8), (60, 8), (43, 24), (60, 16)],
            ..datagram
        };
        let fragments = datagram.fragments(datagram.id.into(), 1_400);
        assert_eq!(fragments.len(), 5);
        let sent_whole = datagram.frame();
        for order in orders(5) {
            let mut desk = Desk::new(LIMITS);
            let (last, others) = order.split_last().unwrap();
            for n in others {
                assert_eq!(desk.push(&fragments[*n]), None);
            }
            let whole = desk.push(&fragments[*last]).unwrap();
            assert!(whole.frame == sent_whole, "{order:?}");
            let came: Vec<_> = order.iter().map(|n| fragments[*n].clone()).collect();
            assert!(whole.pieces == came);
            assert_eq!(desk.lost, Lost::default());
        }
    }
}

#[test]
fn the_largest_datagram_is_put_together_and_a_larger_one_never_begun() {
    let limits = Limits {
        max_of_source: 64,
        ..LIMITS
    };
    for (datagram, most) in [
        (Datagram::v4(&[]), 65_507),
        (Datagram::v6(&[]), 65_527),
        (
            Datagram {
                options: ROUTER_ALERT.to_vec(),
                ..Datagram::v4(&[])
            },
            65_503,
        ),
        (
            Datagram {
                extensions: vec![(0, 8), (43, 24), (60, 8)],
                ..Datagram::v6(&[])
            },
            65_487,
        ),
    ] {
        let datagram = Datagram {
            payload: patterned(most),
            ..datagram
        };
        let mut desk = Desk::new(limits);
        let fragments = datagram.fragments(datagram.id.into(), 1_448);
        let wholes: Vec<_> = fragments.iter().filter_map(|f| desk.push(f)).collect();
        assert_eq!(wholes.len(), 1);
        assert!(wholes[0].frame == datagram.frame());

        // The same, one byte longer at the end.
        let data = datagram.fragmentable().1;
        let (offset, tail) = (data.len() / 8 * 8, [1; 9]);
        let longer = datagram.fragment(1, offset, false, &tail[..data.len() % 8 + 1]);
        assert_eq!(desk.push(&longer), None);
        assert_eq!((desk.lost.malformed, desk.reassembler.held()), (1, 0));
    }
}

#[test]
fn a_datagram_whose_first_headers_leave_too_little_room_is_malformed() {
    // Only the first fragment has all the options.
    let datagram = Datagram {
        options: RECORD_ROUTE.to_vec(),
        ..Datagram::v4(&[])
    };
    let mut desk = Desk::new(LIMITS);
    for offset in (0..65_512).step_by(8_000) {
        let len = (65_512 - offset).min(8_000);
        let frame = datagram.fragment(1, offset, offset + len < 65_512, &patterned(len));
        assert_eq!(desk.push(&frame), None);
    }
    assert_eq!((desk.lost.malformed, desk.reassembler.held()), (9, 0));
}

#[test]
fn copies_are_ignored_and_counted() {
    for datagram in Datagram::both(&patterned(40)) {
        let fragments = datagram.fragments(datagram.id.into(), 16);
        let mut desk = Desk::new(LIMITS);
        for (n, fragment) in fragments.iter().enumerate() {
            let whole = desk.push(fragment);
            if n + 1 == fragments.len() {
                let whole = whole.unwrap();
                assert_eq!((whole.frame, whole.pieces), (datagram.frame(), fragments));
                break;
            }
            assert_eq!((whole, desk.push(fragment)), (None, None));
        }
        assert_eq!((desk.lost.duplicate, desk.given), (2, 3));
    }
}

#[test]
fn any_overlap_drops_the_datagram_and_what_comes_later_of_it() {
    let other = [9; 64];
    for datagram in Datagram::both(&patterned(88)) {
        let data = datagram.udp();
        for (offset, len, more, bytes) in [
            // Into the first, over the hole, into the second, over both, within one.
            (8, 16, true, &data),
            (8, 32, true, &data),
            (24, 24, true, &data),
            (0, 64, true, &data),
            (8, 8, true, &data),
            (48, 8, true, &data),
            // The same range with other bytes, and with another end.
            (0, 16, true, &other.to_vec()),
            (32, 32, false, &data),
            // A last one that ends within what is there.
            (40, 4, false, &data),
            (0, 40, true, &data),
        ] {
            let cut = |offset: usize, len: usize, more, bytes: &[u8]| {
                let from = if bytes.len() < data.len() { 0 } else { offset };
                datagram.fragment(5, offset, more, &bytes[from..from + len])
            };
            let mut desk = Desk::new(LIMITS);
            assert_eq!(desk.push(&cut(0, 16, true, &data)), None);
            assert_eq!(desk.push(&cut(32, 32, true, &data)), None);
            assert_eq!(desk.push(&cut(offset, len, more, bytes)), None);
            assert_eq!(desk.lost.overlap, 3, "{offset} {len} {more}");
            assert_eq!(desk.reassembler.held(), 0);
            for fragment in datagram.fragments(5, 16) {
                assert_eq!(desk.push(&fragment), None);
            }
            assert_eq!(desk.lost.overlap, 9);
        }
    }
}

#[test]
fn ends_that_contradict_drop_the_datagram_and_what_comes_later_of_it() {
    for datagram in Datagram::both(&[]) {
        let cut = |(offset, more): (usize, bool)| datagram.fragment(5, offset, more, &[1; 8]);
        for pieces in [
            // Beyond the end; an end before what is there; two ends.
            [(0, true), (32, false), (40, true)],
            [(0, true), (32, true), (16, false)],
            [(0, true), (32, false), (16, false)],
            [(0, true), (32, false), (48, false)],
        ] {
            let mut desk = Desk::new(LIMITS);
            for piece in pieces {
                assert_eq!(desk.push(&cut(piece)), None);
            }
            assert_eq!(desk.lost.malformed, 3, "{pieces:?}");
            for piece in [(8, true), (0, true)] {
                assert_eq!(desk.push(&cut(piece)), None);
            }
            assert_eq!((desk.lost.malformed, desk.reassembler.held()), (5, 0));
        }
    }
}

#[test]
fn an_atomic_fragment_is_a_datagram_on_its_own() {
    let datagram = Datagram {
        extensions: vec![(0, 8), (60, 8)],
        ..Datagram::v6(&patterned(100))
    };
    let mut desk = Desk::new(LIMITS);
    let fragments = datagram.fragments(5, 56);
    let atomic = &datagram.fragments(5, 800)[0];
    desk.push(&fragments[0]);
    let whole = desk.push(atomic).unwrap();
    assert_eq!(whole.frame, datagram.frame());
    assert_eq!(whole.pieces, std::slice::from_ref(atomic));
    desk.push(&fragments[1]);
    assert!(desk.push(&fragments[2]).is_some());

    // Nor is it part of one that is condemned.
    desk.push(&datagram.fragment(5, 0, true, &[1; 16]));
    desk.push(&datagram.fragment(5, 8, true, &[1; 16]));
    assert_eq!(desk.lost.overlap, 2);
    assert!(desk.push(atomic).is_some());
    let empty = datagram.fragment(5, 0, false, &[]);
    assert_eq!((desk.push(&empty), desk.lost.malformed), (None, 1));
}

#[test]
fn fragments_that_belong_nowhere_do_not_disturb_the_others() {
    for datagram in Datagram::both(&patterned(40)) {
        let fragments = datagram.fragments(datagram.id.into(), 32);
        let id = datagram.id.into();
        let mut desk = Desk::new(LIMITS);
        desk.push(&fragments[0]);
        for odd in [
            datagram.fragment(id, 32, true, &[1; 12]),
            datagram.fragment(id, 32, true, &[]),
            datagram.fragment(id, 32, false, &[]),
            datagram.fragment(id, 65_528, false, &[1; 8]),
            datagram.fragment(id, 65_528, true, &[1; 64]),
            datagram.frame(),
        ] {
            assert_eq!(desk.push(&odd), None);
        }
        assert_eq!(desk.lost.malformed, 6);
        let whole = desk.push(&fragments[1]).unwrap();
        assert_eq!(whole.frame, datagram.frame());
    }
}

#[test]
fn a_wrong_header_checksum_is_malformed() {
    let datagram = Datagram::v4(&patterned(40));
    let fragments = datagram.fragments(datagram.id.into(), 32);
    let mut desk = Desk::new(LIMITS);
    let mut damaged = fragments[0].clone();
    damaged[22] -= 1;
    assert_eq!(desk.push(&damaged), None);
    assert_eq!(desk.push(&fragments[1]), None);
    assert_eq!(desk.lost.malformed, 1);
    assert!(desk.push(&fragments[0]).is_some());
}

#[test]
fn the_frames_padding_is_no_data() {
    for datagram in Datagram::both(&patterned(20)) {
        let mut desk = Desk::new(LIMITS);
        let mut fragments = datagram.fragments(datagram.id.into(), 16);
        for fragment in &mut fragments {
            fragment.resize(fragment.len().max(80), 0xee);
        }
        assert_eq!(desk.push(&fragments[1]), None);
        assert_eq!(desk.push(&fragments[0]).unwrap().frame, datagram.frame());
    }
}

#[test]
fn congestion_that_one_fragment_met_is_the_datagrams() {
    const NOT: u8 = 0;
    const CE: u8 = 3;
    for set in 1u8..16 {
        let codepoints: Vec<u8> = (0..4).filter(|ecn| set & 1 << ecn != 0).collect();
        for datagram in Datagram::both(&patterned(8 * codepoints.len() - 8)) {
            let with = |ecn: u8| Datagram {
                traffic_class: 0x68 | ecn,
                ..datagram.clone()
            };
            let mut desk = Desk::new(LIMITS);
            let count = codepoints.len();
            let whole = if count == 1 {
                let datagram = Datagram {
                    payload: patterned(8),
                    ..with(codepoints[0])
                };
                let pieces = datagram.fragments(1, 8);
                assert_eq!(desk.push(&pieces[0]), None);
                desk.push(&pieces[1])
            } else {
                let data = datagram.udp();
                let pushed = codepoints.iter().enumerate().map(|(n, ecn)| {
                    let part = &data[8 * n..8 * n + 8];
                    desk.push(&with(*ecn).fragment(1, 8 * n, n + 1 < count, part))
                });
                pushed.last().unwrap()
            };
            let seen = whole.map(|whole| {
                let udp = View::parse(&whole.frame).unwrap().udp(&whole.frame);
                udp.unwrap().traffic_class
            });
            let is_contradiction = count > 1 && codepoints.contains(&NOT);
            match seen {
                None => {
                    assert!(is_contradiction, "{codepoints:?}");
                    assert_eq!(desk.lost.malformed, count as u64);
                }
                Some(seen) => {
                    assert!(!is_contradiction, "{codepoints:?}");
                    assert_eq!(seen & !3, 0x68);
                    assert!(codepoints.contains(&(seen & 3)), "{codepoints:?} {seen}");
                    assert_eq!(seen & 3 == CE, codepoints.contains(&CE));
                }
            }
        }
    }
}

#[test]
fn headers_are_those_of_the_first_fragment() {
    for datagram in Datagram::both(&patterned(40)) {
        let first = Datagram {
            ttl: 9,
            flow_label: 5,
            traffic_class: 0xb8,
            dont_fragment: true,
            ..datagram.clone()
        };
        let id = datagram.id.into();
        let mut desk = Desk::new(LIMITS);
        desk.push(&datagram.fragments(id, 32)[1]);
        let whole = desk.push(&first.fragments(id, 32)[0]).unwrap();
        assert_eq!(whole.frame, first.frame());
    }
}

#[test]
fn what_differs_in_its_key_is_not_mixed() {
    for datagram in Datagram::both(&patterned(40)) {
        let src = if datagram.is_ipv4() {
            "192.0.2.10"
        } else {
            "2001:db8::a"
        };
        let others = [
            Datagram {
                src: src.parse().unwrap(),
                ..datagram.clone()
            },
            Datagram {
                dst: src.parse().unwrap(),
                ..datagram.clone()
            },
            Datagram {
                tags: vec![[0x81, 0, 0, 9]],
                ..datagram.clone()
            },
        ];
        let id = datagram.id.into();
        let mut last = vec![datagram.fragments(7, 32)[1].clone()];
        last.extend(
            others
                .iter()
                .map(|other| other.fragments(id, 32)[1].clone()),
        );
        if datagram.is_ipv4() {
            let mut icmp = datagram.fragments(id, 32)[1].clone();
            // The protocol, and what that takes off the checksum of the header.
            icmp[23] = 1;
            icmp[25] = icmp[25].checked_add(16).unwrap();
            last.push(icmp);
        }
        let mut desk = Desk::new(LIMITS);
        desk.push(&datagram.fragments(id, 32)[0]);
        for fragment in last {
            assert_eq!(desk.push(&fragment), None);
        }
        assert_eq!(desk.lost, Lost::default());
        let whole = desk.push(&datagram.fragments(id, 32)[1]);
        assert_eq!(whole.unwrap().frame, datagram.frame());
    }
}

/// How to cut a datagram, and in which order the pieces come, some of them twice.
fn deliveries() -> impl Strategy<Value = (Datagram, usize, Vec<usize>)> {
    let payload = prop_oneof![
        12 => (1usize..400).prop_map(patterned),
        4 => (1_000usize..9_000).prop_map(patterned),
        1 => (60_000usize..65_100).prop_map(patterned),
    ];
    (datagrams(payload), 1usize..180).prop_flat_map(|(datagram, eighths)| {
        let len = datagram.fragmentable().1.len();
        // At least two fragments, at most 64: a header without payload has one only.
        let room = (eighths * 8).min((len - 1) / 8 * 8).max(8);
        let room = room.max(len.div_ceil(64).next_multiple_of(8));
        let count = len.div_ceil(room);
        let twice = proptest::collection::vec(0..count, 0..4);
        let order = twice.prop_flat_map(move |twice| {
            let all: Vec<usize> = (0..count).chain(twice).collect();
            Just(all).prop_shuffle()
        });
        (Just(datagram), Just(room), order)
    })
}

proptest! {
    #[test]
    fn any_order_of_any_fragments_gives_the_datagram((datagram, room, order) in deliveries()) {
        let fragments = datagram.fragments(datagram.id.into(), room);
        let mut desk = Desk::new(LIMITS);
        let mut came = Vec::new();
        let mut whole = None;
        for n in order {
            // What comes behind the last would begin anew.
            if whole.is_some() {
                break;
            }
            if !came.contains(&n) {
                came.push(n);
            }
            whole = desk.push(&fragments[n]);
        }
        let whole = whole.unwrap();
        prop_assert!(whole.frame == datagram.frame());
        let came: Vec<_> = came.into_iter().map(|n| fragments[n].clone()).collect();
        prop_assert!(whole.pieces == came);
        let duplicate = desk.lost.duplicate;
        prop_assert_eq!(desk.lost, Lost { duplicate, ..Lost::default() });
    }
}
