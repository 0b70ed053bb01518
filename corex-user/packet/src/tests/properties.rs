//! Properties over generated frames.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn envelopes() -> impl Strategy<Value = Envelope> {
    let addresses = prop_oneof![
        any::<[[u8; 4]; 2]>().prop_map(|[a, b]| (IpAddr::from(a), IpAddr::from(b))),
        any::<[[u8; 16]; 2]>().prop_map(|[a, b]| (IpAddr::from(a), IpAddr::from(b))),
    ];
    (
        addresses,
        any::<[u16; 2]>(),
        any::<[[u8; 6]; 2]>(),
        any::<[u8; 2]>(),
        any::<Option<u16>>(),
    )
        .prop_map(
            |((src, dst), ports, [src_mac, dst_mac], [ttl, traffic_class], identification)| {
                Envelope {
                    src_mac,
                    dst_mac,
                    src: SocketAddr::new(src, ports[0]),
                    dst: SocketAddr::new(dst, ports[1]),
                    ttl,
                    identification,
                    traffic_class,
                }
            },
        )
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff)], 0..100),
        (0usize..3000, any::<u8>()).prop_map(|(len, b)| vec![b; len]),
    ]
}

proptest! {
    #[test]
    fn the_sum_is_that_of_rfc_1071(data in payloads()) {
        let naive = naive_sum(&[&data]);
        prop_assert_eq!(Sum::of(&data).checksum(), (!naive).to_be_bytes());
    }

    #[test]
    fn sums_of_parts_add_up_at_even_offsets(data in payloads(), at in any::<prop::sample::Index>()) {
        let at = at.index(data.len() + 1) & !1;
        prop_assert_eq!(Sum::of(&data[..at]).plus(Sum::of(&data[at..])), Sum::of(&data));
    }

    #[test]
    fn what_is_built_parses_back(envelope in envelopes(), payload in payloads()) {
        let frame = frame(&envelope, &payload);
        prop_assert_eq!(frame.len(), envelope.headers_len() + payload.len());
        prop_assert_eq!(&frame[..6], envelope.dst_mac);
        prop_assert_eq!(&frame[6..12], envelope.src_mac);
        let udp = parse(&frame).unwrap();
        prop_assert_eq!((udp.src, udp.dst), (envelope.src, envelope.dst));
        prop_assert_eq!((udp.ttl, udp.traffic_class), (envelope.ttl, envelope.traffic_class));
        prop_assert_eq!(udp.payload(&frame), &payload[..]);
        prop_assert!(verify_ipv4_header(&frame, &udp));
        prop_assert_eq!(naive_udp_sum(&frame, &udp), 0xffff);
        prop_assert!(frame[udp.l4 + 6..udp.l4 + 8] != [0, 0]);
        // A full checksum may happen to equal the partial one; both are taken.
        prop_assert!(matches!(
            verify_udp(&frame, &udp),
            UdpChecksum::Good(_) | UdpChecksum::Partial
        ));
    }

    #[test]
    fn rewriting_gives_what_building_gives(
        incoming in envelopes(),
        next in envelopes(),
        payload in payloads(),
        tags in 0usize..3,
    ) {
        let mut chunk = vec![0x55; 64];
        chunk.extend(tagged(&frame(&incoming, &payload), &[0x8100, 0x8100][..tags]));
        let udp = parse(&chunk[64..]).unwrap();
        let sum = match verify_udp(&chunk[64..], &udp) {
            UdpChecksum::Good(sum) => Some(sum),
            _ => None,
        };
        let range = udp.payload_range();
        let range = range.start + 64..range.end + 64;
        let written = rewrite_in_place(&mut chunk, range, &next, sum).unwrap();
        prop_assert_eq!(&chunk[written.clone()], &frame(&next, &payload)[..]);
        prop_assert!(chunk[..written.start.min(64)].iter().all(|&b| b == 0x55));
    }

    #[test]
    fn one_flipped_bit_of_a_datagram_is_bad(
        envelope in envelopes(),
        payload in proptest::collection::vec(any::<u8>(), 1..100),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut frame = frame(&envelope, &payload);
        let udp = parse(&frame).unwrap();
        frame[udp.payload_range()][at.index(payload.len())] ^= 1 << bit;
        prop_assert!(matches!(
            verify_udp(&frame, &udp),
            UdpChecksum::Bad | UdpChecksum::Partial
        ));
    }

    #[test]
    fn arbitrary_frames_never_panic_and_stay_within(
        envelope in envelopes(),
        payload in payloads(),
        tags in 0usize..3,
        changes in proptest::collection::vec((0usize..100, any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        let mut frame = tagged(&frame(&envelope, &payload), &[0x8100, 0x8100][..tags]);
        for (at, byte) in changes {
            if let Some(b) = frame.get_mut(at) {
                *b = byte;
            }
        }
        frame.truncate(len.index(frame.len() + 1));
        if let Ok(udp) = parse(&frame) {
            prop_assert!(udp.payload_range().end <= frame.len());
            prop_assert_eq!(udp.payload(&frame).len(), udp.payload_len);
            let _ = (verify_udp(&frame, &udp), verify_ipv4_header(&frame, &udp));
        }
    }

    #[test]
    fn any_offsets_never_panic(
        frame in proptest::collection::vec(any::<u8>(), 0..120),
        offsets in any::<[u16; 3]>(),
        small in any::<[u8; 3]>(),
        ipv6 in any::<bool>(),
    ) {
        for [l3, l4, len] in [offsets.map(usize::from), small.map(usize::from)] {
            if let Some(udp) = UdpFrame::at(&frame, l3, l4, len, ipv6) {
                let _ = (verify_udp(&frame, &udp), verify_ipv4_header(&frame, &udp));
            }
        }
        let mut frame = frame;
        let range = usize::from(small[0])..usize::from(small[1]);
        let _ = rewrite_in_place(&mut frame, range, &v4(), None);
    }
}
