use data_encoding::HEXLOWER;
use proptest::prelude::*;

use crate::codec::Fault;
use crate::keys::Secret;
use crate::testing::{ITV_TABLE, MAX, Store, decode, encode};
use crate::{Chain, ChainSpec};

fn chain() -> Chain {
    Store::new().chain("x=itv(key=phone)")
}

/// A table whose IDs are of another range than its characters, as the library makes it.
fn apart() -> Vec<u8> {
    let pairs = (0x20u32..0x7f).map(|value| [value + 0x4e0, value]);
    let text: String = pairs.flatten().filter_map(char::from_u32).collect();
    text.into_bytes()
}

#[test]
fn what_the_library_wrote_is_read() {
    // The library's own encode() with this table, of a text in which 0x7e and line breaks aren't
    // in the table.
    let encoded = "3379774553265f6c3d6f696c4536792a662d7c574a543f5f48315e4d49294e4c213b5f546a2a4d6c\
                   555c205b79723b232d4b6f77693476535978272e5c5876550d0a214f5f4e4c4831604b23296f0d0a\
                   0d0a7e7f";
    let encoded = HEXLOWER.decode(encoded.as_bytes()).unwrap();
    let plain = b"REGISTER sip:example.com SIP/2.0\r\nVia: x\r\n\r\n~\x7f";
    let mut chain = chain();
    for _ in 0..2 {
        assert_eq!(decode(&mut chain, &encoded).unwrap(), plain);
    }
}

#[test]
fn a_message_is_twice_as_long_and_never_the_same() {
    let mut chain = chain();
    let plain = b"OPTIONS sip:a SIP/2.0";
    let (one, two) = (
        encode(&mut chain, plain).unwrap(),
        encode(&mut chain, plain).unwrap(),
    );
    assert_eq!(one.len(), 2 * plain.len());
    assert_ne!(one, two);
    // The first character's ID is the key's.
    assert_eq!(one[0], two[0]);
}

#[test]
fn what_would_be_taken_for_an_id_is_not_encoded() {
    let mut store = Store::new();
    store.add_key("apart", vec![Secret::new(1, &apart())]);
    let mut chain = store.chain("x=itv(key=apart)");
    let text = "plain text, é too, and \u{7ff}".as_bytes();
    let encoded = encode(&mut chain, text).unwrap();
    assert_eq!(decode(&mut chain, &encoded).unwrap(), text);
    let error = encode(&mut chain, "\u{500}".as_bytes()).unwrap_err();
    assert_eq!(error.fault, Fault::Malformed);
}

#[test]
fn half_a_pair_and_a_stranger_in_it_are_errors() {
    let mut chain = chain();
    for input in [&b"a"[..], b"a\r", b"ab~c\xff", b"a\xffb", b"a~"] {
        let error = decode(&mut chain, input).unwrap_err();
        assert_eq!(error.fault, Fault::Malformed, "{input:?}");
    }
}

#[test]
fn both_ways_are_bounded() {
    let mut chain = chain();
    let plain = vec![b'x'; 40_000];
    let error = encode(&mut chain, &plain).unwrap_err();
    assert_eq!(error.fault, Fault::TooLong(MAX));
    let mut out = Vec::new();
    chain.encode(&plain[..50], &mut out, 100).unwrap();
    let mut back = Vec::new();
    assert!(chain.decode(&out, &mut back, 49).is_err());
    assert!(back.is_empty());
    chain.decode(&out, &mut back, 50).unwrap();
}

#[test]
fn what_is_no_table_is_a_mistake() {
    for (table, why) in [
        (&b"abc"[..], "odd"),
        (b"ab", "fewer than two"),
        (b"abac", "twice"),
        (b"abcb", "twice"),
        (b"a\xffcd", "UTF-8"),
    ] {
        let mut store = Store::new();
        store.add_key("bad", vec![Secret::new(1, table)]);
        let spec = ChainSpec::parse("x=itv(key=bad)").unwrap();
        let mistake = Chain::new(&spec, &store).unwrap_err();
        assert!(mistake.what.contains(why), "{}", mistake.what);
    }
    assert!(ITV_TABLE.len().is_multiple_of(2));
}

proptest! {
    #[test]
    fn any_bytes_come_back(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..500),
            "\\PC{0,200}".prop_map(String::into_bytes),
        ],
    ) {
        let mut chain = chain();
        let encoded = encode(&mut chain, &bytes).unwrap();
        prop_assert_eq!(decode(&mut chain, &encoded).unwrap(), bytes);
    }

    #[test]
    fn with_ids_apart_bytes_come_back_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut store = Store::new();
        store.add_key("apart", vec![Secret::new(1, &apart())]);
        let mut chain = store.chain("x=itv(key=apart)");
        if let Ok(encoded) = encode(&mut chain, &bytes) {
            prop_assert_eq!(decode(&mut chain, &encoded).unwrap(), &bytes[..]);
        }
        let _ = decode(&mut chain, &bytes);
    }
}
