//! What a view shows of a packet.

use proptest::prelude::*;

use super::{datagram::*, *};

fn view(datagram: &Datagram) -> View {
    View::parse(&datagram.frame()).unwrap()
}

fn refusal(frame: &[u8]) -> ParseError {
    View::parse(frame).unwrap_err()
}

#[test]
fn ipv4_options_lie_in_front_of_the_datagram() {
    for options in [0, 4, 8, 40] {
        let datagram = Datagram {
            options: vec![1; options],
            ..Datagram::v4(b"hello")
        };
        let (view, frame) = (view(&datagram), datagram.frame());
        assert_eq!(view.header_end, 14 + 20 + options);
        assert_eq!(view.per_fragment_end, view.header_end);
        assert_eq!((view.protocol, frame[view.next_at]), (17, 17));
        assert_eq!((view.src, view.dst), (datagram.src, datagram.dst));
        let udp = view.udp(&frame).unwrap();
        assert_eq!(udp.payload(&frame), b"hello");
        assert_eq!((udp.src.port(), udp.dst.port()), (5070, 5060));
        assert!(matches!(verify_udp(&frame, &udp), UdpChecksum::Good(_)));
    }
}

#[test]
fn a_damaged_option_is_a_damaged_header() {
    let datagram = Datagram {
        options: ROUTER_ALERT.to_vec(),
        ..Datagram::v4(b"")
    };
    let view = view(&datagram);
    let mut frame = datagram.frame();
    assert!(view.header_is_intact(&frame));
    frame[36] ^= 1;
    assert!(!view.header_is_intact(&frame));
    assert!(!view.header_is_intact(&frame[..30]));
    let v6 = Datagram::v6(b"").frame();
    assert!(View::parse(&v6).unwrap().header_is_intact(&[]));
}

#[test]
fn extension_headers_are_walked_and_those_of_each_fragment_known() {
    for (extensions, per_fragment, all) in [
        (&[][..], 0, 0),
        (&[(0, 8)], 8, 8),
        (&[(60, 256)], 0, 256),
        (&[(43, 24)], 24, 24),
        (&[(0, 8), (60, 16)], 8, 24),
        (&[(60, 8), (43, 16), (60, 24)], 24, 48),
        (&[(0, 8), (60, 8), (43, 8), (60, 8)], 24, 32),
    ] {
        let datagram = Datagram {
            extensions: extensions.to_vec(),
            ..Datagram::v6(b"hello!")
        };
        let (view, frame) = (view(&datagram), datagram.frame());
        assert_eq!(view.per_fragment_end, 54 + per_fragment, "{extensions:?}");
        assert_eq!(view.header_end, 54 + all);
        let following = extensions.get(datagram.per_fragment()).map_or(17, |e| e.0);
        assert_eq!(frame[view.next_at], following, "{extensions:?}");
        assert_eq!(view.udp(&frame).unwrap().payload(&frame), b"hello!");
        assert!(view.dont_fragment);
    }
}

#[test]
fn extension_headers_that_are_not_walked_are_named() {
    for extensions in [
        &[(60, 264)][..],
        &[(0, 264)],
        &[(43, 512)],
        &[(51, 16)],
        &[(0, 8), (51, 24)],
        &[(0, 8), (60, 8), (60, 8), (60, 8), (60, 8)],
        &[(0, 8), (43, 8), (60, 8), (60, 8), (43, 8)],
    ] {
        let frame = Datagram {
            extensions: extensions.to_vec(),
            ..Datagram::v6(b"hello!")
        }
        .frame();
        assert_eq!(refusal(&frame), ParseError::ExtHeader, "{extensions:?}");
    }
}

#[test]
fn a_routing_header_with_segments_left_names_another_destination() {
    let mut frame = Datagram {
        extensions: vec![(43, 24)],
        ..Datagram::v6(b"hello!")
    }
    .frame();
    assert!(View::parse(&frame).is_ok());
    frame[57] = 1;
    assert_eq!(refusal(&frame), ParseError::ExtHeader);
}

#[test]
fn what_follows_a_fragment_header_is_the_fragments_own() {
    let datagram = Datagram {
        extensions: vec![(0, 8), (60, 8), (43, 8), (60, 40)],
        ..Datagram::v6(b"hello!")
    };
    let frame = datagram.fragment(0xdead_beef, 0, true, &[7; 48]);
    let view = View::parse(&frame).unwrap();
    let fragment = FragmentField {
        id: 0xdead_beef,
        offset: 0,
        more: true,
        header_at: 54 + 24,
    };
    assert_eq!(view.fragment, Some(fragment));
    assert_eq!((view.protocol, view.per_fragment_end), (60, 78));
    assert_eq!((view.header_end, frame[view.next_at]), (86, 44));
    assert_eq!(view.udp(&frame), Err(ParseError::Fragment));
}

#[test]
fn fragments_say_where_they_belong() {
    for (offset, more) in [(0, true), (1480, true), (65_528, false), (8, false)] {
        for datagram in Datagram::both(b"") {
            let frame = datagram.fragment(0x4321, offset, more, b"12345678");
            let view = View::parse(&frame).unwrap();
            let fragment = view.fragment.unwrap();
            assert_eq!((fragment.id, fragment.offset), (0x4321, offset));
            assert_eq!(fragment.more, more);
            assert_eq!(&frame[view.header_end..view.ip_end], b"12345678");
            let header_at = if datagram.is_ipv4() { 14 } else { 54 };
            assert_eq!(fragment.header_at, header_at);
        }
    }
}

#[test]
fn an_atomic_fragment_is_a_fragment() {
    let frame = Datagram::v6(b"").fragment(1, 0, false, b"12345678");
    let fragment = View::parse(&frame).unwrap().fragment.unwrap();
    assert_eq!((fragment.offset, fragment.more), (0, false));
    let frame = Datagram::v4(b"").fragment(1, 0, false, b"12345678");
    assert_eq!(View::parse(&frame).unwrap().fragment, None);
}

#[test]
fn dont_fragment_is_ipv4s_flag() {
    for dont_fragment in [false, true] {
        let datagram = Datagram {
            dont_fragment,
            ..Datagram::v4(b"")
        };
        assert_eq!(view(&datagram).dont_fragment, dont_fragment);
        assert_eq!(view(&datagram).fragment, None);
    }
}

#[test]
fn up_to_two_tags_are_skipped() {
    for n in 0..=3 {
        for datagram in Datagram::both(b"x") {
            let tags = vec![[0x81, 0, 0, 5]; n];
            let datagram = Datagram { tags, ..datagram };
            if n == 3 {
                assert_eq!(refusal(&datagram.frame()), ParseError::VlanDepth);
            } else {
                assert_eq!(view(&datagram).l3, 14 + 4 * n);
            }
        }
    }
    assert_eq!(refusal(&[0; 60]), ParseError::NotIp);
}

#[test]
fn a_frame_that_is_cut_off_anywhere_is_malformed() {
    for datagram in Datagram::both(b"hello!") {
        let datagram = Datagram {
            tags: vec![[0x88, 0xa8, 0, 1], [0x81, 0, 0, 5]],
            options: vec![1; 8],
            extensions: vec![(0, 8), (43, 24), (60, 16)],
            ..datagram
        };
        for frame in [datagram.frame(), datagram.fragment(1, 8, true, &[1; 16])] {
            assert!(View::parse(&frame).is_ok());
            for len in 0..frame.len() {
                assert_eq!(refusal(&frame[..len]), ParseError::Malformed, "{len}");
            }
        }
    }
}

#[test]
fn lengths_that_contradict_are_malformed() {
    let [v4, v6] = Datagram::both(b"hello!").map(|datagram| datagram.frame());
    let set = |frame: &[u8], at: usize, to: u8| {
        let mut frame = frame.to_vec();
        frame[at] = to;
        frame
    };
    for frame in [
        // Version and header length; total length below the header, beyond the frame.
        set(&v4, 14, 0x44),
        set(&v4, 14, 0x65),
        set(&v4, 14, 0x4f),
        set(&v4, 17, 19),
        set(&v4, 17, 35),
        set(&v6, 14, 0x45),
        set(&v6, 19, 15),
    ] {
        assert_eq!(refusal(&frame), ParseError::Malformed, "{frame:x?}");
    }
    let extended = Datagram {
        extensions: vec![(60, 32)],
        ..Datagram::v6(b"hello!")
    };
    let beyond = set(&extended.frame(), 19, 31);
    assert_eq!(refusal(&beyond), ParseError::Malformed);

    for (frame, udp_len) in [(&v4, 39), (&v6, 59)] {
        for len in [0, 7, 15] {
            let frame = set(frame, udp_len, len);
            let view = View::parse(&frame).unwrap();
            // Over IPv6 none is that of the packet.
            if len == 0 && view.src.is_ipv6() {
                assert_eq!(view.udp(&frame).unwrap().payload(&frame), b"hello!");
            } else {
                assert_eq!(view.udp(&frame), Err(ParseError::Malformed));
            }
        }
    }
}

#[test]
fn padding_is_neither_packet_nor_datagram() {
    for datagram in Datagram::both(b"hello!") {
        let mut frame = datagram.frame();
        let len = frame.len();
        frame.extend([0; 20]);
        let view = View::parse(&frame).unwrap();
        assert_eq!(view.ip_end, len);
        // A UDP header that claims the padding too.
        let udp_len = view.header_end + 5;
        assert_eq!(view.udp(&frame).unwrap().payload(&frame), b"hello!");
        frame[udp_len] += 1;
        assert_eq!(view.udp(&frame), Err(ParseError::Malformed));
    }
}

#[test]
fn other_protocols_are_not_udp() {
    for datagram in Datagram::both(b"") {
        let mut frame = datagram.frame();
        frame[if datagram.is_ipv4() { 23 } else { 20 }] = 6;
        let view = View::parse(&frame).unwrap();
        assert_eq!(view.protocol, 6);
        assert_eq!(view.udp(&frame), Err(ParseError::NotUdp));
    }
}

/// Bytes of a datagram, some of them changed, perhaps cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..40);
    let changes = proptest::collection::vec((0usize..140, any::<u8>()), 0..4);
    (datagrams(payload), any::<bool>(), changes, 0usize..200).prop_map(
        |(datagram, is_fragment, changes, len)| {
            let mut frame = if is_fragment {
                datagram.fragment(7, 16, true, &[1; 24])
            } else {
                datagram.frame()
            };
            for (at, to) in changes {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = to;
                }
            }
            if len < 100 {
                frame.truncate(len);
            }
            frame
        },
    )
}

fn stays_within(frame: &[u8]) {
    let Ok(view) = View::parse(frame) else { return };
    let link = 14..=22;
    assert!(link.contains(&view.l3));
    assert!(view.l3 < view.next_at && view.next_at < view.per_fragment_end);
    assert!(view.per_fragment_end <= view.header_end);
    assert!(view.header_end <= view.ip_end && view.ip_end <= frame.len());
    if let Some(fragment) = view.fragment {
        assert!(fragment.header_at < view.header_end);
        assert!(fragment.offset % 8 == 0 && fragment.offset <= 0xfff8);
    }
    if let Ok(udp) = view.udp(frame) {
        assert!(udp.payload_range().end <= view.ip_end);
    }
    view.header_is_intact(frame);
}

proptest! {
    #[test]
    fn a_view_of_any_bytes_stays_within_them(
        damaged in damaged(),
        noise in proptest::collection::vec(any::<u8>(), 0..120),
        is_ipv4 in any::<bool>(),
    ) {
        stays_within(&damaged);
        stays_within(&noise);
        let (ethertype, version) = if is_ipv4 { ([8, 0], 0x40) } else { ([0x86, 0xdd], 0x60) };
        let mut noise = noise;
        if let Some([a, b, c]) = noise.get_mut(12..15) {
            ([*a, *b], *c) = (ethertype, version | *c & 15);
        }
        stays_within(&noise);
    }

    #[test]
    fn a_view_shows_what_parsing_finds(frame in damaged()) {
        let seen = View::parse(&frame).and_then(|view| Ok((view, view.udp(&frame)?)));
        match (parse(&frame), seen) {
            (Ok(udp), Ok((view, seen))) => {
                prop_assert_eq!(seen, udp);
                prop_assert_eq!((view.l3, view.header_end), (udp.l3, udp.l4));
                let intact = verify_ipv4_header(&frame, &udp);
                prop_assert_eq!(view.header_is_intact(&frame), intact);
            }
            // The length of the IP packet isn't looked at where that of the datagram fits.
            (Ok(udp), Err(error)) => {
                let word = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
                let end = match udp.src.is_ipv4() {
                    true => udp.l3 + word(udp.l3 + 2),
                    false => udp.l3 + 40 + word(udp.l3 + 4),
                };
                prop_assert!(end > frame.len());
                prop_assert_eq!(error, ParseError::Malformed);
            }
            (Err(error), Ok(_)) => {
                prop_assert!(matches!(error, ParseError::IpOptions | ParseError::ExtHeader));
            }
            (Err(_), Err(_)) => {}
        }
    }
}
