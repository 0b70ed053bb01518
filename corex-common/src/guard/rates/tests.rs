use super::*;

const SECOND: u64 = 1_000_000_000;

#[test]
fn an_interval_is_rounded_so_that_never_more_than_the_rate_comes_through() {
    assert_eq!(Rule::new(50, SECOND, 200).interval, 20_000_000);
    assert_eq!(Rule::new(3, SECOND, 1).interval, 333_333_334);
    assert_eq!(Rule::new(3, SECOND, 1).room, 0);
    assert_eq!(Rule::new(1, SECOND, 3).room, 2 * SECOND);
}

#[test]
fn no_rule_and_no_time_overflows() {
    for count in [0, 1, MAX_PER_SECOND, u64::MAX] {
        for period in [0, 1, SECOND, MAX_INTERVAL, u64::MAX] {
            for burst in [0, 1, MAX_BURST, u64::MAX] {
                let rule = Rule::new(count, period, burst);
                for now in [0, 1, 1 << 61] {
                    let mut full_at = 0;
                    assert!(charge(&mut full_at, now, &rule));
                    charge(&mut full_at, now, &rule);
                    assert!(full_at <= now + rule.room + rule.interval + SKEW);
                    let mut full_at = u64::MAX;
                    assert!(!charge(&mut full_at, now, &rule));
                    assert!(full_at <= now + rule.room + rule.interval);
                }
            }
        }
    }
}

#[test]
fn sources_are_one_whose_first_bits_are() {
    let group = Group {
        prefix_v4: 24,
        prefix_v6: 64,
    };
    let of = |addr: [u8; 16], family| SourceKey::new(addr, family, 1, &group);
    let v4 = |last| of([192, 0, 2, last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4);
    assert_eq!(v4(1), v4(254));
    assert_eq!(v4(1).addr[..5], [192, 0, 2, 0, 0]);
    let mut one = [0x20; 16];
    let mut other = one;
    other[8] = 1;
    assert_eq!(of(one, 6), of(other, 6));
    other[7] = 1;
    assert_ne!(of(one, 6), of(other, 6));
    for bits in 0..=128 {
        one = network([0xff; 16], bits);
        let number = u128::from_be_bytes(one);
        assert_eq!(number.leading_ones(), bits);
        assert_eq!(number.count_ones(), bits);
    }
    for last in 0..=255 {
        assert!(lock_of(&v4(last)) < LOCKS);
    }
}

#[test]
fn the_first_bytes_say_what_kind_a_message_is() {
    for (text, kind) in [
        ("REGISTER sip:x SIP/2.0", REGISTER),
        ("INVITE sip:x SIP/2.0", INVITE),
        ("OPTIONS sip:x SIP/2.0", OPTIONS),
        ("BYE sip:x SIP/2.0\r\n", OTHER),
        ("A sip:x SIP/2.0\r\nx", OTHER),
        ("SUBSCRIBE sip:x SIP", OTHER),
        ("SUBSCRIB sip:x SIP/", OTHER),
        ("ABCDEFGHIJKLMNO ", OTHER),
        ("ABCDEFGHIJKLMNOP ", OPAQUE),
        ("SIP/2.0 200 OK\r\nVi", REPLY),
        ("SIP/2.00 200 OK\r\nV", OPAQUE),
        ("sip/2.0 200 OK\r\nV", OPAQUE),
        ("REGISTER\tsip:x SIP/", OPAQUE),
        ("invite sip:x SIP/2.0", OPAQUE),
        ("INVITEsip:x SIP/2.0 ", OPAQUE),
        (" INVITE sip:x SIP/2", OPAQUE),
        ("\r\n\r\n\0\0\0\0\0\0\0\0\0\0\0\0", OPAQUE),
        ("@@@@@@@@@@@@@@@@", OPAQUE),
        ("[[[[[[[[[[[[[[[[", OPAQUE),
    ] {
        let head = text.as_bytes().first_chunk().unwrap();
        assert_eq!(kind_of(head), kind, "{text}");
    }
    for first in 0..=u8::MAX {
        let mut head = *b"A sip:x SIP/2.0\r";
        head[0] = first;
        let expected = if first.is_ascii_uppercase() {
            OTHER
        } else {
            OPAQUE
        };
        assert_eq!(kind_of(&head), expected, "{first}");
    }
}
