//! What leaves with another payload.

use std::time::Duration;

use proptest::prelude::*;

use super::{datagram::*, *};

const MANNER: Manner = Manner {
    src_mac: None,
    mtu: 1_500,
    identification: 0xabcd_1234,
    may_fragment: true,
};

/// What is emitted.
fn rewrite(
    datagram: &Datagram,
    payload: &[u8],
    manner: &Manner,
) -> (Result<Sent, RewriteError>, Vec<Vec<u8>>) {
    let frame = datagram.frame();
    let view = View::parse(&frame).unwrap();
    let udp = view.udp(&frame).unwrap();
    let mut frames = Vec::new();
    let mut emit = |frame: &[u8]| {
        frames.push(frame.to_vec());
        true
    };
    let mut rewriter = Rewriter::default();
    let result = rewriter.replace_payload(&frame, &view, &udp, payload, manner, &mut emit);
    if let Ok(sent) = result {
        assert_eq!(sent.frames, frames.len());
    } else {
        assert!(frames.is_empty(), "emitted in spite of an error");
    }
    (result, frames)
}

fn with_payload(datagram: &Datagram, payload: &[u8]) -> Datagram {
    Datagram {
        payload: payload.to_vec(),
        ..datagram.clone()
    }
}

/// What the fragments of a datagram are put together to.
fn fragmented(datagram: &Datagram, payload: &[u8], manner: &Manner) -> Vec<u8> {
    Datagram {
        dont_fragment: false,
        id: match datagram.id {
            0 => manner.identification as u16,
            id => id,
        },
        ..with_payload(datagram, payload)
    }
    .frame()
}

/// With everything that a packet can have.
fn adorned(datagram: Datagram) -> Datagram {
    Datagram {
        tags: vec![[0x88, 0xa8, 0, 1], [0x81, 0, 0xe0, 9]],
        options: [&ROUTER_ALERT[..], &RECORD_ROUTE].concat(),
        extensions: vec![(0, 8), (60, 8), (43, 24), (60, 16)],
        ..datagram
    }
}

#[test]
fn a_payload_that_fits_leaves_in_the_same_headers() {
    for datagram in Datagram::both(b"hello") {
        for datagram in [datagram.clone(), adorned(datagram)] {
            for dont_fragment in [false, true] {
                let datagram = Datagram {
                    dont_fragment,
                    ..datagram.clone()
                };
                for payload in [&b""[..], b"x", b"hello", &[7; 1_300]] {
                    let (result, frames) = rewrite(&datagram, payload, &MANNER);
                    assert_eq!(result, Ok(Sent { frames: 1 }));
                    assert_eq!(frames, [with_payload(&datagram, payload).frame()]);
                }
            }
        }
    }
}

#[test]
fn the_source_mac_may_be_another() {
    let mac = [6, 5, 4, 3, 2, 1];
    for mtu in [1_500, 576] {
        let manner = Manner {
            src_mac: Some(mac),
            mtu,
            ..MANNER
        };
        let datagram = Datagram::v4(b"hello");
        let (_, frames) = rewrite(&datagram, &[7; 1_000], &manner);
        assert_eq!(frames.len(), if mtu == 576 { 2 } else { 1 });
        for frame in frames {
            assert_eq!(
                (&frame[..6], &frame[6..12]),
                (&datagram.macs[0][..], &mac[..])
            );
        }
    }
}

#[test]
fn exactly_the_mtu_is_one_frame_and_one_byte_more_are_two() {
    for (datagram, headers) in [(Datagram::v4(b""), 28), (Datagram::v6(b""), 48)] {
        for (more, frames) in [(0, 1), (1, 2)] {
            let payload = vec![7; MANNER.mtu - headers + more];
            let (result, _) = rewrite(&datagram, &payload, &MANNER);
            assert_eq!(result, Ok(Sent { frames }));
        }
    }
}

#[test]
fn ipv4_options_are_in_all_fragments_or_the_first_as_each_says() {
    let datagram = Datagram {
        options: [&RECORD_ROUTE[..], &ROUTER_ALERT].concat(),
        ..Datagram::v4(b"hello")
    };
    let manner = Manner { mtu: 576, ..MANNER };
    let (_, frames) = rewrite(&datagram, &[7; 1_400], &manner);
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[0][14], 0x48);
    assert_eq!(frames[0][34..46], datagram.options);
    for later in &frames[1..] {
        assert_eq!(later[14], 0x46);
        assert_eq!(later[34..38], ROUTER_ALERT);
    }
}

#[test]
fn copied_options_are_padded_and_what_is_damaged_ends_them() {
    for (options, copied) in [
        // Security of 11 bytes, then the end.
        (
            &[0x82, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0][..],
            &[0x82, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0][..],
        ),
        // Nothing, stream identifier, nothing.
        (&[1, 0x88, 4, 9, 9, 1, 0, 0], &[0x88, 4, 9, 9]),
        // Behind the end.
        (&[0, 0x94, 4, 0, 0, 0, 0, 0], &[]),
        // Longer than the header; a length that says nothing.
        (&[0x94, 4, 0, 0, 0x94, 5, 0, 0], &[0x94, 4, 0, 0]),
        (&[0x94, 0, 0, 0], &[0x94, 0, 0, 0]),
        (&[1, 1, 1, 0x94], &[]),
    ] {
        let datagram = Datagram {
            options: options.to_vec(),
            ..Datagram::v4(b"hello")
        };
        let (_, frames) = rewrite(&datagram, &[7; 1_500], &MANNER);
        assert_eq!(frames.len(), 2, "{options:x?}");
        assert_eq!(frames[0][34..34 + options.len()], *options);
        let later = View::parse(&frames[1]).unwrap();
        assert_eq!(frames[1][34..later.header_end], *copied, "{options:x?}");
    }
}

#[test]
fn the_fragment_header_is_behind_what_each_fragment_has() {
    let datagram = adorned(Datagram::v6(b"hello"));
    let (_, frames) = rewrite(&datagram, &[7; 3_000], &MANNER);
    assert_eq!(frames.len(), 3);
    for frame in &frames {
        let view = View::parse(frame).unwrap();
        let fragment = view.fragment.unwrap();
        assert_eq!(fragment.id, MANNER.identification);
        // Hop-by-hop, destination options, routing.
        assert_eq!(fragment.header_at, 22 + 40 + 40);
        assert_eq!((frame[62 + 16], view.protocol), (44, 60));
    }
}

#[test]
fn a_zero_checksum_stays_zero_over_ipv4_only() {
    for datagram in Datagram::both(b"hello") {
        let datagram = Datagram {
            has_checksum: false,
            ..datagram
        };
        let mut frame = datagram.frame();
        let view = View::parse(&frame).unwrap();
        let at = view.header_end + 6;
        frame[at..at + 2].fill(0);
        let udp = view.udp(&frame).unwrap();
        let mut left = Vec::new();
        let mut emit = |frame: &[u8]| {
            left = frame.to_vec();
            true
        };
        Rewriter::default()
            .replace_payload(&frame, &view, &udp, b"other", &MANNER, &mut emit)
            .unwrap();
        assert_eq!(left, with_payload(&datagram, b"other").frame());
        assert_eq!(left[at..at + 2] == [0, 0], datagram.is_ipv4());
    }
}

#[test]
fn a_checksum_that_comes_out_as_zero_leaves_as_ones() {
    for datagram in Datagram::both(&[0, 0]) {
        let udp = datagram.udp();
        let missing = &udp[6..8];
        let (_, frames) = rewrite(&datagram, missing, &MANNER);
        let view = View::parse(&frames[0]).unwrap();
        let at = view.header_end + 6;
        assert_eq!(frames[0][at..at + 2], [0xff, 0xff]);
    }
}

#[test]
fn what_may_not_be_fragmented_is_too_big_and_nothing_leaves() {
    let manner = Manner {
        may_fragment: false,
        ..MANNER
    };
    let v4 = Datagram {
        dont_fragment: true,
        ..Datagram::v4(b"hello")
    };
    for datagram in [v4, Datagram::v6(b"hello")] {
        let (result, _) = rewrite(&datagram, &[7; 1_500], &manner);
        assert_eq!(result, Err(RewriteError::TooBig));
    }
    let (result, _) = rewrite(&Datagram::v4(b"hello"), &[7; 1_500], &manner);
    assert_eq!(result, Ok(Sent { frames: 2 }));
}

#[test]
fn an_mtu_without_room_for_data_is_too_small() {
    for (datagram, least) in [
        (adorned(Datagram::v4(b"")), 32 + 8),
        (adorned(Datagram::v6(b"")), 40 + 40 + 8 + 8),
    ] {
        for (mtu, error) in [(0, true), (least - 1, true), (least, false)] {
            let manner = Manner { mtu, ..MANNER };
            let (result, _) = rewrite(&datagram, &[7; 100], &manner);
            assert_eq!(
                result == Err(RewriteError::TooBig),
                error,
                "{mtu} {result:?}"
            );
            assert_eq!(result.is_err(), error);
        }
    }
}

#[test]
fn fragments_have_no_df_and_an_identification() {
    for (id, identification, expected) in [
        (0x77, 0xabcd_1234, 0x77),
        (0, 0xabcd_1234, 0x1234),
        (0, 0xabcd_0000, 1),
    ] {
        for dont_fragment in [false, true] {
            let datagram = Datagram {
                id,
                dont_fragment,
                ..Datagram::v4(b"hello")
            };
            let manner = Manner {
                identification,
                ..MANNER
            };
            let (_, frames) = rewrite(&datagram, &[7; 1_500], &manner);
            for frame in frames {
                let view = View::parse(&frame).unwrap();
                assert_eq!(view.fragment.unwrap().id, expected);
                assert!(!view.dont_fragment);
            }
            let (_, frames) = rewrite(&datagram, b"x", &manner);
            let view = View::parse(&frames[0]).unwrap();
            assert_eq!(view.dont_fragment, dont_fragment);
            assert_eq!(frames[0][18..20], id.to_be_bytes());
        }
    }
}

#[test]
fn what_no_datagram_can_hold_is_too_long() {
    let plain = |datagram: &Datagram| Datagram {
        tags: Vec::new(),
        ..datagram.clone()
    };
    for (datagram, most) in [
        (Datagram::v4(b"hello"), 65_507),
        (plain(&adorned(Datagram::v4(b"hello"))), 65_495),
        (Datagram::v6(b"hello"), 65_527),
        (plain(&adorned(Datagram::v6(b"hello"))), 65_471),
    ] {
        let payload = vec![7; most + 1];
        let (result, _) = rewrite(&datagram, &payload, &MANNER);
        assert_eq!(result, Err(RewriteError::TooLong(most + 1)));
        let (result, frames) = rewrite(&datagram, &payload[..most], &MANNER);
        assert!(result.is_ok());
        assert!(join(&frames) == fragmented(&datagram, &payload[..most], &MANNER));
    }
}

#[test]
fn a_refused_frame_ends_the_datagram_and_the_others_are_counted() {
    for datagram in Datagram::both(b"hello") {
        let frame = datagram.frame();
        let view = View::parse(&frame).unwrap();
        let udp = view.udp(&frame).unwrap();
        for (taken, len) in [(0, 100), (0, 4_000), (1, 4_000), (2, 4_000)] {
            let mut asked = 0;
            let mut emit = |_: &[u8]| {
                asked += 1;
                asked <= taken
            };
            let payload = vec![7; len];
            let result = Rewriter::default()
                .replace_payload(&frame, &view, &udp, &payload, &MANNER, &mut emit);
            assert_eq!(result, Err(RewriteError::Refused { sent: taken }));
            assert_eq!(asked, taken + 1);
        }
    }
}

#[test]
fn another_frame_than_the_viewed_one_is_noticed() {
    let frame = adorned(Datagram::v4(b"hello")).frame();
    let view = View::parse(&frame).unwrap();
    let udp = view.udp(&frame).unwrap();
    for len in [0, view.l3, view.header_end, view.header_end + 7] {
        let result = Rewriter::default().replace_payload(
            &frame[..len],
            &view,
            &udp,
            b"other",
            &MANNER,
            &mut |_| panic!("emitted"),
        );
        assert_eq!(result, Err(RewriteError::OtherFrame));
    }
}

#[test]
fn a_rewriter_keeps_nothing_of_the_datagram_before() {
    let mut rewriter = Rewriter::default();
    for payload in [&[7; 4_000][..], b"x", &[9; 2_000], b""] {
        for datagram in Datagram::both(b"hello") {
            let frame = datagram.frame();
            let view = View::parse(&frame).unwrap();
            let udp = view.udp(&frame).unwrap();
            let mut frames = Vec::new();
            let mut emit = |frame: &[u8]| {
                frames.push(frame.to_vec());
                true
            };
            rewriter
                .replace_payload(&frame, &view, &udp, payload, &MANNER, &mut emit)
                .unwrap();
            assert!(frames == rewrite(&datagram, payload, &MANNER).1);
        }
    }
}

#[test]
fn a_checksum_left_to_hardware_is_completed() {
    for datagram in Datagram::both(b"hello") {
        for datagram in [datagram.clone(), adorned(datagram)] {
            let whole = datagram.frame();
            let view = View::parse(&whole).unwrap();
            let udp = view.udp(&whole).unwrap();
            let at = udp.l4 + 6;
            let mut partial = whole.clone();
            let len = (datagram.payload.len() as u16 + 8).to_be_bytes();
            let sum = naive_sum(&[&datagram.addresses(), &[0, 17], &len]);
            partial[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            complete_checksum(&mut partial, &udp);
            assert_eq!(partial, whole);
        }
    }
}

#[test]
fn other_checksums_stay_as_they_are() {
    for datagram in Datagram::both(b"hello") {
        let mut frame = datagram.frame();
        let udp = View::parse(&frame).unwrap().udp(&frame).unwrap();
        let at = udp.l4 + 6;
        let good = [frame[at], frame[at + 1]];
        for checksum in [good, [0, 0], [good[0] ^ 1, good[1]]] {
            frame[at..at + 2].copy_from_slice(&checksum);
            let before = frame.clone();
            complete_checksum(&mut frame, &udp);
            assert_eq!(frame, before);
        }
        let mut short = frame[..udp.l4 + 9].to_vec();
        complete_checksum(&mut short, &udp);
        assert_eq!(short, frame[..udp.l4 + 9]);
    }
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..300),
        4 => (0usize..9_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => (60_000usize..65_600, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

proptest! {
    #[test]
    fn what_leaves_is_put_together_to_the_same_headers_and_the_new_payload(
        datagram in datagrams(proptest::collection::vec(any::<u8>(), 0..50)),
        payload in payloads(),
        mtu in prop_oneof![112usize..400, 576usize..3_000],
        identification in 1u32..0x1_0000,
        may_fragment in any::<bool>(),
    ) {
        let manner = Manner { src_mac: None, mtu, identification, may_fragment };
        let (result, frames) = rewrite(&datagram, &payload, &manner);
        let ip_headers = if datagram.is_ipv4() {
            20 + datagram.options.len()
        } else {
            40 + datagram.extensions.iter().map(|e| e.1).sum::<usize>()
        };
        let most = 65_535 - 8 - ip_headers + if datagram.is_ipv4() { 0 } else { 40 };
        if payload.len() > most {
            prop_assert_eq!(result, Err(RewriteError::TooLong(payload.len())));
            return Ok(());
        }
        if ip_headers + 8 + payload.len() <= mtu {
            prop_assert_eq!(frames, [with_payload(&datagram, &payload).frame()]);
            return Ok(());
        }
        if !may_fragment && (datagram.dont_fragment || !datagram.is_ipv4()) {
            prop_assert_eq!(result, Err(RewriteError::TooBig));
            return Ok(());
        }
        prop_assert!(result.is_ok());
        prop_assert!(frames.iter().all(|frame| frame.len() - datagram.l3() <= mtu));
        let expected = fragmented(&datagram, &payload, &manner);
        prop_assert!(join(&frames) == expected);

        let mut reassembler = Reassembler::new(Limits {
            max_bytes: 1 << 20,
            max_datagrams: 1,
            max_of_source: 1,
            max_pieces: 9_000,
            lifetime: Duration::from_secs(1),
        });
        let mut lost = Lost::default();
        let mut whole = None;
        for frame in frames.iter().rev() {
            prop_assert!(whole.is_none());
            let view = View::parse(frame).unwrap();
            let id = if datagram.is_ipv4() && datagram.id != 0 {
                datagram.id.into()
            } else {
                identification
            };
            prop_assert_eq!(view.fragment.unwrap().id, id);
            whole = reassembler.push(frame, &view, Duration::ZERO, &mut lost);
        }
        prop_assert!(whole.unwrap().frame == expected);
    }
}
