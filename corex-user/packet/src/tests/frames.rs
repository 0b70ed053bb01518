//! Crafted frames.

use super::*;

#[test]
fn a_built_ipv4_frame_has_the_headers_of_its_envelope() {
    let frame = frame(&v4(), b"hello");
    let expected = [
        &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00][..],
        // DSCP 26, length 33, identification 0, DF, TTL 64, UDP.
        &[0x45, 0x68, 0, 33, 0, 0, 0x40, 0, 64, 17],
        &frame[24..26],
        &[10, 0, 0, 1, 192, 0, 2, 7],
        &[0x13, 0xc4, 0x13, 0xc6, 0, 13],
        &frame[40..42],
        b"hello",
    ]
    .concat();
    assert_eq!(frame, expected);
    assert_eq!(naive_sum(&[&frame[14..34]]), 0xffff);
    let udp = parse(&frame).unwrap();
    assert_eq!(naive_udp_sum(&frame, &udp), 0xffff);
}

#[test]
fn what_may_be_fragmented_has_an_identification_and_no_df() {
    let envelope = Envelope {
        identification: Some(0x1234),
        ..v4()
    };
    let built = frame(&envelope, b"hello");
    assert_eq!(built[18..22], [0x12, 0x34, 0, 0]);
    assert_eq!(naive_sum(&[&built[14..34]]), 0xffff);

    let mut buf = frame(&v4(), b"hello");
    let payload = parse(&buf).unwrap().payload_range();
    let range = rewrite_in_place(&mut buf, payload, &envelope, None).unwrap();
    assert_eq!(buf[range], built, "in place too");

    let v6 = Envelope {
        identification: Some(0x1234),
        ..super::v6()
    };
    assert_eq!(frame(&v6, b"hello"), frame(&super::v6(), b"hello"));
}

#[test]
fn a_built_ipv6_frame_has_the_headers_of_its_envelope() {
    let frame = frame(&v6(), b"hello!");
    assert_eq!(&frame[12..14], [0x86, 0xdd]);
    assert_eq!(&frame[14..22], [0x66, 0x80, 0, 0, 0, 14, 17, 64]);
    let udp = parse(&frame).unwrap();
    assert_eq!((udp.src, udp.dst), (v6().src, v6().dst));
    assert_eq!((udp.ttl, udp.traffic_class, udp.dscp()), (64, 0x68, 26));
    assert_eq!(udp.payload(&frame), b"hello!");
    assert_eq!(naive_udp_sum(&frame, &udp), 0xffff);
}

#[test]
fn up_to_two_vlan_tags_are_skipped_and_a_third_is_refused() {
    let plain = frame(&v4(), b"x");
    for tags in [&[0x8100][..], &[0x88a8, 0x8100], &[0x8100, 0x8100]] {
        let frame = tagged(&plain, tags);
        let udp = parse(&frame).unwrap();
        assert_eq!(udp.l3, 14 + 4 * tags.len());
        assert_eq!(udp.payload(&frame), b"x");
    }
    let three = tagged(&plain, &[0x88a8, 0x8100, 0x8100]);
    assert_eq!(parse(&three), Err(ParseError::VlanDepth));
}

#[test]
fn padding_behind_the_datagram_is_not_payload() {
    for envelope in [v4(), v6()] {
        let mut frame = frame(&envelope, b"ab");
        frame.resize(80, 0);
        assert_eq!(parse(&frame).unwrap().payload(&frame), b"ab");
    }
}

#[test]
fn up_to_four_ipv6_option_headers_are_walked() {
    let plain = frame(&v6(), b"ab");
    for headers in [
        &[(0, 8)][..],
        &[(60, 256)],
        &[(0, 8), (60, 16), (60, 8), (60, 24)],
    ] {
        let frame = extended(&plain, headers);
        let udp = parse(&frame).unwrap();
        assert_eq!(udp.payload(&frame), b"ab");
        assert!(matches!(verify_udp(&frame, &udp), UdpChecksum::Good(_)));
    }
    for headers in [
        &[(60, 264)][..],
        &[(0, 8), (60, 8), (60, 8), (60, 8), (60, 8)],
    ] {
        assert_eq!(
            parse(&extended(&plain, headers)),
            Err(ParseError::ExtHeader)
        );
    }
    assert_eq!(
        parse(&extended(&plain, &[(43, 8)])),
        Err(ParseError::ExtHeader)
    );
    assert_eq!(
        parse(&extended(&plain, &[(51, 8)])),
        Err(ParseError::ExtHeader)
    );
    assert_eq!(
        parse(&extended(&plain, &[(44, 8)])),
        Err(ParseError::Fragment)
    );
    assert_eq!(
        parse(&extended(&plain, &[(50, 8)])),
        Err(ParseError::NotUdp)
    );
}

/// `frame` with one byte changed.
fn with(frame: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at] = byte;
    frame
}

#[test]
fn what_is_the_kernels_to_handle_says_why() {
    let v4 = frame(&v4(), b"abcd");
    let v6 = frame(&v6(), b"abcd");
    for (bytes, error) in [
        (with(&v4, 12, 0x09), ParseError::NotIp),
        (with(&v4, 14, 0x46), ParseError::IpOptions),
        (with(&v4, 20, 0x20), ParseError::Fragment),
        (with(&v4, 20, 0x1f), ParseError::Fragment),
        (with(&v4, 21, 0x01), ParseError::Fragment),
        (with(&v4, 23, 6), ParseError::NotUdp),
        (with(&v6, 20, 6), ParseError::NotUdp),
    ] {
        assert_eq!(parse(&bytes), Err(error));
    }
    assert!(parse(&with(&v4, 20, 0)).is_ok(), "DF is not required");
}

/// As Linux takes them: see ip6_rcv_core() and udp6_lib_rcv().
#[test]
fn over_ipv6_a_udp_length_of_zero_and_an_ip_length_of_zero_before_options_mean_the_rest() {
    let v6 = frame(&v6(), b"abcd");
    let mut padded = with(&v6, 59, 0);
    padded.extend([0; 9]);
    let rest_of_packet = parse(&padded).unwrap();
    assert_eq!(rest_of_packet.payload(&padded), b"abcd");
    // Hop-by-hop options: PadN.
    let mut options = v6.clone();
    options.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
    options[20] = 0;
    options[18..20].fill(0);
    let by_udp = parse(&options).unwrap();
    assert_eq!(by_udp.payload(&options), b"abcd");
    let both = with(&options, 67, 0);
    assert_eq!(parse(&both).unwrap().payload(&both), b"abcd");
    assert_eq!(View::parse(&both).unwrap().udp(&both), parse(&both));
    // Without the options there is nothing behind the header.
    assert_eq!(parse(&with(&v6, 19, 0)), Err(ParseError::Malformed));
}

#[test]
fn lengths_that_lie_are_malformed() {
    let v4 = frame(&v4(), b"abcd");
    let v6 = frame(&v6(), b"abcd");
    for bytes in [
        with(&v4, 14, 0x44),
        with(&v4, 14, 0x65),
        with(&v6, 14, 0x45),
        // IP length below its headers, below the UDP length, beyond the frame.
        with(&v4, 17, 19),
        with(&v4, 17, 27),
        with(&v4, 17, 31),
        with(&v4, 39, 13),
        with(&v6, 19, 11),
        with(&v6, 59, 13),
        // UDP length below its header.
        with(&v4, 39, 7),
        with(&v4, 39, 0),
        with(&v6, 59, 7),
        v4[..v4.len() - 1].to_vec(),
        v6[..v6.len() - 1].to_vec(),
    ] {
        assert_eq!(parse(&bytes), Err(ParseError::Malformed), "{bytes:?}");
    }
    let longer = with(&with(&v4, 17, 33), 39, 13);
    assert_eq!(parse(&longer), Err(ParseError::Malformed));
}

#[test]
fn an_extension_header_longer_than_the_packet_is_malformed() {
    let frame = extended(&frame(&v6(), b"ab"), &[(60, 16)]);
    assert_eq!(parse(&with(&frame, 55, 9)), Err(ParseError::Malformed));
}

#[test]
fn offsets_of_the_metadata_record_give_the_same_as_parsing() {
    for envelope in [v4(), v6()] {
        let frame = tagged(&frame(&envelope, b"abc"), &[0x8100]);
        let udp = parse(&frame).unwrap();
        let at = |l4, len| UdpFrame::at(&frame, udp.l3, l4, len, envelope.src.is_ipv6());
        assert_eq!(at(udp.l4, 3), Some(udp));
        assert_eq!(at(udp.l4, 4), None);
        assert_eq!(at(usize::MAX, 3), None);
    }
}

#[test]
fn a_full_checksum_is_good_and_a_flipped_bit_is_bad() {
    for envelope in [v4(), v6()] {
        let mut frame = frame(&envelope, b"OPTIONS sip:a SIP/2.0\r\n");
        let udp = parse(&frame).unwrap();
        let good = verify_udp(&frame, &udp);
        assert_eq!(good, UdpChecksum::Good(Sum::of(udp.payload(&frame))));
        frame[udp.l4 + 11] ^= 4;
        assert_eq!(verify_udp(&frame, &udp), UdpChecksum::Bad);
    }
}

#[test]
fn a_zero_checksum_is_legal_over_ipv4_only() {
    for (envelope, expected) in [(v4(), UdpChecksum::Zero), (v6(), UdpChecksum::Bad)] {
        let mut frame = frame(&envelope, b"abc");
        let udp = parse(&frame).unwrap();
        frame[udp.l4 + 6..udp.l4 + 8].fill(0);
        assert_eq!(verify_udp(&frame, &udp), expected);
    }
}

#[test]
fn a_checksum_left_to_hardware_is_partial() {
    for envelope in [v4(), v6()] {
        let mut frame = frame(&envelope, b"abc");
        let udp = parse(&frame).unwrap();
        // What Linux leaves in the field: the pseudo-header's sum, not complemented.
        let addresses = if envelope.src.is_ipv4() {
            26..34
        } else {
            22..54
        };
        let pseudo = naive_sum(&[&frame[addresses], &[0, 17, 0, 11]]);
        frame[udp.l4 + 6..udp.l4 + 8].copy_from_slice(&pseudo.to_be_bytes());
        assert_eq!(verify_udp(&frame, &udp), UdpChecksum::Partial);
    }
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_sent_as_ones() {
    // The payload's one word makes the sum complete, so the complement is zero.
    let mut frame = frame(&v4(), &[0, 0]);
    let missing = u16::from_be_bytes([frame[40], frame[41]]).to_be_bytes();
    build_udp(&mut frame, &v4(), &missing).unwrap();
    assert_eq!(&frame[40..42], [0xff, 0xff]);
    let udp = parse(&frame).unwrap();
    assert!(matches!(verify_udp(&frame, &udp), UdpChecksum::Good(_)));
}

#[test]
fn a_damaged_ipv4_header_is_noticed() {
    let mut frame = frame(&v4(), b"abc");
    let udp = parse(&frame).unwrap();
    assert!(verify_ipv4_header(&frame, &udp));
    frame[22] -= 1;
    assert!(!verify_ipv4_header(&frame, &udp));
}

#[test]
fn a_shorter_frame_than_was_parsed_verifies_as_bad() {
    let frame = frame(&v4(), b"abc");
    let udp = parse(&frame).unwrap();
    assert_eq!(verify_udp(&frame[..43], &udp), UdpChecksum::Bad);
    assert!(!verify_ipv4_header(&frame[..30], &udp));
    assert_eq!(udp.payload(&frame[..43]), b"");
}

#[test]
fn forwarding_in_place_strips_vlan_tags_and_keeps_the_payload_where_it_is() {
    let mut buf = tagged(&frame(&v4(), b"payload"), &[0x88a8, 0x8100]);
    let udp = parse(&buf).unwrap();
    let UdpChecksum::Good(sum) = verify_udp(&buf, &udp) else {
        panic!("checksum");
    };
    let next = envelope("192.0.2.7:5060", "198.51.100.3:5080");
    let range = rewrite_in_place(&mut buf, udp.payload_range(), &next, Some(sum)).unwrap();
    assert_eq!(range, 8..8 + 42 + 7);
    assert_eq!(buf[range], frame(&next, b"payload"));
}

#[test]
fn forwarding_in_place_drops_ipv6_extension_headers_and_may_change_the_family() {
    let incoming = extended(&frame(&v6(), b"payload"), &[(0, 8), (60, 32)]);
    for next in [v6(), v4()] {
        let mut buf = incoming.clone();
        let udp = parse(&buf).unwrap();
        let range = rewrite_in_place(&mut buf, udp.payload_range(), &next, None).unwrap();
        assert_eq!(range.start, 40 + 62 - next.headers_len());
        assert_eq!(buf[range], frame(&next, b"payload"));
    }
}

#[test]
fn ipv4_to_ipv6_needs_headroom() {
    let incoming = frame(&v4(), b"payload");
    let payload = parse(&incoming).unwrap().payload_range();
    let mut buf = incoming.clone();
    assert_eq!(
        rewrite_in_place(&mut buf, payload.clone(), &v6(), None),
        Err(BuildError::Space)
    );
    assert_eq!(buf, incoming, "left as it was");

    let mut chunk = [&[0; 20][..], &incoming].concat();
    let payload = payload.start + 20..payload.end + 20;
    let range = rewrite_in_place(&mut chunk, payload, &v6(), None).unwrap();
    assert_eq!(chunk[range], frame(&v6(), b"payload"));
}

#[test]
fn what_cannot_be_built_says_why() {
    let mut buf = vec![0; 70_000];
    let mixed = Envelope {
        dst: v6().dst,
        ..v4()
    };
    assert_eq!(build_udp(&mut buf, &mixed, b""), Err(BuildError::Family));
    for (envelope, most) in [(v4(), 65_507), (v6(), 65_527)] {
        let payload = vec![7; most + 1];
        assert_eq!(
            build_udp(&mut buf, &envelope, &payload),
            Err(BuildError::TooLong(most + 1))
        );
        let len = build_udp(&mut buf, &envelope, &payload[..most]).unwrap();
        assert_eq!(parse(&buf[..len]).unwrap().payload_len, most);
    }
    let mut small = [0; 45];
    assert_eq!(
        build_udp(&mut small, &v4(), b"abcd"),
        Err(BuildError::Space)
    );
    assert_eq!(build_udp(&mut small, &v4(), b"abc"), Ok(45));
}
