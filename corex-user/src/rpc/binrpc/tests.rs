use proptest::prelude::*;

use super::format::record;
use super::*;
use crate::rpc::fault::Fault;
use crate::rpc::value::{Name, Reply, Value};

fn cookie() -> Cookie {
    Cookie::new(&[0x12, 0x34, 0x56, 0x78])
}

/// The records of a packet that must be whole.
fn open(packet: &[u8]) -> (Frame, Vec<Value>) {
    let Ok(Progress::Whole(frame)) = progress(packet, usize::MAX) else {
        panic!("not whole: {packet:x?}");
    };
    assert_eq!(packet.len(), frame.header + frame.payload);
    (frame, payload(&packet[frame.header..]).unwrap())
}

// The bytes below were exchanged by kamcmd and Kamailio 5.6.3.

#[test]
fn a_request_is_read_as_kamcmd_writes_it() {
    let bytes = b"\xa1\x03\x10\x12\x34\x56\x78\x91\x0ccore.printi\0\x10\x05";
    let Ok(Progress::Whole(frame)) = progress(bytes, 1000) else {
        panic!();
    };
    assert_eq!((frame.kind, frame.cookie), (Kind::Request, cookie()));
    assert_eq!(
        request(&bytes[frame.header..]),
        Ok(("core.printi".to_owned(), vec![Value::Int(5)]))
    );
    assert_eq!(
        request_bytes(cookie(), "core.printi", &[Value::Int(5)]).as_ref(),
        bytes
    );
}

#[test]
fn replies_are_written_as_kamailio_writes_them() {
    for (value, bytes) in [
        (Value::Int(5), &b"\xa1\x13\x02\x12\x34\x56\x78\x10\x05"[..]),
        (Value::Int(0), b"\xa1\x13\x01\x12\x34\x56\x78\x00"),
        (Value::Int(1000), b"\xa1\x13\x03\x12\x34\x56\x78\x20\x03\xe8"),
        (Value::Int(-5), b"\xa1\x13\x05\x12\x34\x56\x78\x40\xff\xff\xff\xfb"),
        (Value::from(""), b"\xa1\x13\x02\x12\x34\x56\x78\x11\x00"),
        (Value::from("a"), b"\xa1\x13\x03\x12\x34\x56\x78\x21a\0"),
        (
            Value::fields([("now", "Tue Nov 24 00:17:07 2026".into()), ("uptime", Value::Int(7))]),
            b"\xa1\x13\x2c\x12\x34\x56\x78\x03\x45now\0\x91\x19Tue Nov 24 00:17:07 2026\0\x75uptime\0\x10\x07\x83",
        ),
    ] {
        assert_eq!(reply(cookie(), &Reply::one(value)).as_ref(), bytes);
    }
    assert_eq!(
        fault(cookie(), &Fault::failed("command no.such not found")).as_ref(),
        b"\xa1\x33\x1f\x12\x34\x56\x78\x20\x01\xf4\x91\x1acommand no.such not found\0"
    );
    assert_eq!(
        reply(Cookie::new(&[1]), &Reply::empty()).as_ref(),
        b"\xa1\x10\x00\x01"
    );
}

#[test]
fn what_is_missing_is_told_until_a_packet_is_whole() {
    let packet = request_bytes(cookie(), "core.version", &[]);
    for length in 0..packet.len() {
        let Ok(Progress::Missing(missing)) = progress(&packet[..length], 1000) else {
            panic!("{length}");
        };
        assert!(missing > 0 && length + missing <= packet.len());
    }
    let two = [packet.clone(), packet.clone()].concat();
    assert!(matches!(progress(&two, 1000), Ok(Progress::Whole(_))));
}

#[test]
fn what_is_no_packet_is_refused_early() {
    assert_eq!(progress(b"\xb1", 1000), Err(Malformed::Corrupted));
    assert_eq!(progress(b"\xa2", 1000), Err(Malformed::Corrupted));
    assert_eq!(progress(b"\xa1\x20", 1000), Err(Malformed::Corrupted));
    assert_eq!(
        progress(b"\xa1\x0c\xff\xff\xff\xff\x01", 1 << 20),
        Err(Malformed::TooLong)
    );
}

#[test]
fn records_that_contradict_themselves_are_refused() {
    for (bytes, error) in [
        (&b""[..], Malformed::End),
        (b"\x10\x05", Malformed::Type),
        (b"\x21a", Malformed::End),
        (b"\x21ab", Malformed::Corrupted),
        (b"\x01", Malformed::Corrupted),
        (b"\x50\x01\x02\x03\x04\x05", Malformed::Corrupted),
        (b"\x91\xff", Malformed::End),
        (b"\xd1\0\0\0\0\0", Malformed::Corrupted),
        (b"\x80", Malformed::Corrupted),
        (b"\x83", Malformed::Type),
        (b"\x03\x84", Malformed::Type),
        (b"\x03\x25a\0\x83", Malformed::Type),
        (b"\x04\x25a\0", Malformed::Type),
        (b"\x13", Malformed::Corrupted),
        (b"\x0f", Malformed::Corrupted),
    ] {
        assert_eq!(request(bytes), Err(error), "{bytes:x?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![record::ARRAY; depth], vec![0x84; depth]].concat();
    assert!(payload(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(payload(&nested(MAX_DEPTH + 1)), Err(Malformed::TooDeep));
    assert_eq!(payload(&nested(1 << 20)), Err(Malformed::TooDeep));
}

#[test]
fn what_32_bits_cannot_hold_becomes_text() {
    let values = [
        Value::Int(i64::from(i32::MAX) + 1),
        Value::Int(i64::MIN),
        Value::Double(3e9),
        Value::Double(f64::NAN),
    ];
    let packet = reply(cookie(), &values.into_iter().collect());
    assert_eq!(
        open(&packet).1,
        [
            "2147483648",
            "-9223372036854775808",
            "3000000000.000000",
            "NaN"
        ]
        .map(Value::from)
    );
}

fn name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9_.]{1,20}".prop_map(Name::Owned)
}

/// Values that binrpc can carry without loss.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|number| Value::Int(number.into())),
        (-2_000_000..2_000_000).prop_map(|number: i32| Value::Double(f64::from(number) / 1000.0)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Str),
    ];
    leaf.prop_recursive(5, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec((name(), inner.clone()), 0..6).prop_map(Value::Struct),
            prop::collection::vec(inner, 0..6).prop_map(Value::Array),
        ]
    })
}

/// What is read of a value once it was written: arrays in structs have become structs.
fn carried(value: &Value, in_struct: bool) -> Value {
    match value {
        Value::Struct(fields) => Value::Struct(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), carried(value, true)))
                .collect(),
        ),
        Value::Array(elements) => {
            let elements = elements.iter().map(|value| carried(value, in_struct));
            match in_struct {
                true => Value::Struct(elements.map(|value| (Name::default(), value)).collect()),
                false => Value::Array(elements.collect()),
            }
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        method in "[a-z.]{1,300}",
        values in prop::collection::vec(value(), 0..6),
        cookie in prop::collection::vec(any::<u8>(), 1..=4),
    ) {
        let cookie = Cookie::new(&cookie);
        let expected: Vec<_> = values.iter().map(|value| carried(value, false)).collect();
        let packet = request_bytes(cookie, &method, &values);
        let (frame, _) = open(&packet);
        prop_assert_eq!((frame.kind, frame.cookie), (Kind::Request, cookie));
        prop_assert_eq!(request(&packet[frame.header..]), Ok((method, expected.clone())));
        let packet = reply(cookie, &values.into_iter().collect());
        let (frame, read) = open(&packet);
        prop_assert_eq!((frame.kind, frame.cookie, read), (Kind::Reply, cookie, expected));
    }

    #[test]
    fn arbitrary_bytes_never_disturb(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = progress(&bytes, 1000);
        let _ = request(&bytes);
    }

    #[test]
    fn damaged_packets_never_disturb(
        values in prop::collection::vec(value(), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut packet = reply(cookie(), &values.into_iter().collect());
        let at = at.index(packet.len());
        packet[at] = byte;
        if let Ok(Progress::Whole(frame)) = progress(&packet, 1 << 20) {
            let _ = payload(&packet[frame.header..frame.header + frame.payload]);
        }
    }
}
