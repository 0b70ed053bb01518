use proptest::prelude::*;

use crate::codec::{Fault, Role};
use crate::testing::{MAX, MESSAGE, Store, decode, encode};
use crate::{Chain, ChainSpec};

/// What is wrong with a text, where, and what to do.
fn mistake(text: &str) -> (String, String, String) {
    let mistake = ChainSpec::parse(text).unwrap_err();
    let at = text.get(mistake.at.clone());
    let at = at.unwrap_or_else(|| panic!("{:?} of {text}", mistake.at));
    (at.to_owned(), mistake.what, mistake.help)
}

#[test]
fn a_chain_has_a_name_a_side_and_codecs() {
    let spec = ChainSpec::parse(
        " edge ( client ) = zstd( sip , level=9 )|aead(chacha20-poly1305,key=device) | \
         http( post , host = cdn.example.org ) ",
    )
    .unwrap();
    assert_eq!(spec.name(), "edge");
    assert_eq!(spec.codecs().collect::<Vec<_>>(), ["zstd", "aead", "http"]);
    assert_eq!(format!("{spec:?}"), "edge(Client)=zstd|aead|http");
    let spec = ChainSpec::parse("a-b_1=gzip()").unwrap();
    assert_eq!(format!("{spec:?}"), "a-b_1(Server)=gzip");
}

#[test]
fn encoding_goes_from_left_to_right() {
    let mut chain = Store::default().chain("x = hex | base64");
    assert_eq!(encode(&mut chain, b"A").unwrap(), b"NDE=");
    assert_eq!(decode(&mut chain, b"NDE=").unwrap(), b"A");
    let mut long = Store::default().chain("x = hex | base64 | gzip | hex | zstd");
    let packed = encode(&mut long, MESSAGE).unwrap();
    assert_eq!(decode(&mut long, &packed).unwrap(), MESSAGE);
}

#[test]
fn an_error_names_the_codec_that_stopped() {
    let mut chain = Store::default().chain("x = gzip | hex");
    assert_eq!(decode(&mut chain, b"zz").unwrap_err().codec, "hex");
    assert_eq!(decode(&mut chain, b"00").unwrap_err().codec, "gzip");
}

#[test]
fn mistakes_have_a_place_and_a_remedy() {
    for (text, at, what) in [
        ("", "", "an empty word is no name of a chain"),
        ("=gzip", "=", "an empty word is no name of a chain"),
        ("a b=gzip", "a b", "`a b` is no name of a chain"),
        ("edge", "", "expected = before the end"),
        ("edge=", "", "there is no codec an empty word"),
        ("edge(peer)=gzip", "peer", "`peer` is no side of a wire"),
        ("edge(client=gzip", "=", "expected ), found ="),
        ("gzip=zstd", "gzip", "a codec is called `gzip` already"),
        ("edge=zip", "zip", "there is no codec `zip`"),
        ("edge=gzip || hex", "|", "there is no codec an empty word"),
        ("edge=gzip |", "", "there is no codec an empty word"),
        ("edge=gzip hex", "gzip hex", "there is no codec `gzip hex`"),
        ("edge=gzip(level=1) hex", "hex", "`hex` follows the codec"),
        ("edge=gzip(level=1", "", "expected ) before the end"),
        ("edge=gzip(level=x)", "x", "level of gzip is not x"),
        (
            "edge=gzip(speed=1)",
            "speed",
            "gzip has no argument `speed` left",
        ),
        (
            "edge=gzip(level=1, level=2)",
            "level",
            "gzip has no argument `level` left",
        ),
        ("edge=gzip(fast)", "fast", "gzip doesn't take `fast`"),
        ("edge=hex(upper)", "upper", "hex doesn't take `upper`"),
        ("edge=zstd(sip,)", ")", "an argument is empty"),
        ("edge=zstd(sip,,x)", ",", "an argument is empty"),
        ("edge=zstd(level=20)", "20", "level of zstd is not 20"),
        ("edge=base64(mime)", "mime", "base64 doesn't take `mime`"),
        ("edge=xor", "xor", "xor lacks a key"),
        (
            "edge=xor(hex=5)",
            "5",
            "`5` is no key in hexadecimal digits",
        ),
        ("edge=xor(text='x", "'x", "this quotation has no end"),
        ("edge=aead", "aead", "aead lacks a cipher"),
        (
            "edge=aead(rot13, key=a)",
            "rot13",
            "aead doesn't take `rot13`",
        ),
        ("edge=aead(aes-256-gcm)", "aead", "aead lacks a key"),
        (
            "edge=aead(aes-256-gcm, kye=a)",
            "kye",
            "aead has no argument `kye`",
        ),
        ("edge=itv", "itv", "itv lacks a key"),
    ] {
        let (place, found, help) = mistake(text);
        assert_eq!((place.as_str(), found.as_str()), (at, what), "{text}");
        assert!(help.len() > 5, "{text}: {help}");
    }
    let long = format!("edge={}", ["hex"; 17].join("|"));
    assert_eq!(mistake(&long).1, "the chain has more than 16 codecs");
}

#[test]
fn stepwise_shows_what_each_codec_made_up_to_the_one_that_failed() {
    let store = Store::new();
    let spec = ChainSpec::parse("edge(client)=gzip | xor(text=k) | base64").unwrap();
    let sealed = encode(
        &mut Chain::at(&spec, Role::Client, &store).unwrap(),
        MESSAGE,
    )
    .unwrap();
    let mut chain = Chain::at(&spec, Role::Server, &store).unwrap();
    let whole = chain.decode_stepwise(None, &sealed, MAX);
    let names: Vec<_> = whole.steps.iter().map(|step| step.codec).collect();
    assert_eq!(names, ["base64", "xor", "gzip"]);
    assert!(whole.steps[1].output.starts_with(&[0x1f, 0x8b]), "gzip's");
    assert_eq!(whole.steps[2].output, MESSAGE);
    assert_eq!(whole.error, None);

    let failed = chain.decode_stepwise(None, b"YWJj", MAX);
    let made: Vec<_> = failed.steps.iter().map(|step| &step.output[..]).collect();
    assert_eq!(made, [&b"abc"[..], &b"\x0a\x09\x08"[..]]);
    let error = failed.error.unwrap();
    assert_eq!((error.codec, error.fault), ("gzip", Fault::Malformed));
    assert!(chain.decode_stepwise(None, b"!", MAX).steps.is_empty());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_its_places_are_in_the_text(
        text in prop_oneof![
            "\\PC{0,60}",
            proptest::collection::vec(prop::sample::select(vec![
                "edge", "(", ")", "=", "|", ",", "'", " ", "gzip", "zstd", "aead", "http", "post",
                "key", "client", "é", "level", "5",
            ]), 0..16).prop_map(|words| words.concat()),
        ],
    ) {
        if let Err(mistake) = ChainSpec::parse(&text) {
            prop_assert!(text.get(mistake.at.clone()).is_some(), "{mistake:?}");
        }
    }
}
