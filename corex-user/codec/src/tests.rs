//! What holds for every codec.

use std::collections::HashSet;

use proptest::prelude::*;

use crate::codec::{Codec, CodecError, Fault, Reason};
use crate::link::{Materials, Mistake};
use crate::testing::{MAX, MESSAGE, Store, bare, decode, encode};
use crate::{CODECS, Chain, ChainSpec};

fn too_long(codec: &'static str, max: usize) -> CodecError {
    CodecError {
        codec,
        fault: Fault::TooLong(max),
    }
}

#[test]
fn names_are_different_and_in_lower_case() {
    let mut names = HashSet::new();
    for codec in CODECS {
        assert_eq!(codec.name, codec.name.to_ascii_lowercase());
        assert!(names.insert(codec.name), "{}", codec.name);
        assert!(codec.form.starts_with(codec.name), "{}", codec.form);
    }
    let mut reasons = HashSet::new();
    for reason in Reason::ALL {
        assert!(reasons.insert(reason.name()), "{}", reason.name());
    }
}

#[test]
fn errors_name_the_codec() {
    for (fault, text) in [
        (
            Fault::Malformed,
            "gzip: the input is not gzip data, or it is damaged or cut off",
        ),
        (Fault::TooLong(7), "gzip: the output exceeds 7 bytes"),
    ] {
        let error = CodecError {
            codec: "gzip",
            fault,
        };
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_level_reaches_its_codec_and_a_wrong_one_is_an_error() {
    for codec in ["gzip", "zlib", "deflate"] {
        let mistake = ChainSpec::parse(&format!("x={codec}(level=13)")).unwrap_err();
        assert_eq!(mistake.what, format!("level of {codec} is not 13"));
        assert_eq!(mistake.help, "write a number from 0 to 12");
        let packed = [0, 12].map(|level| {
            let mut chain = Store::default().chain(&format!("x={codec}(level={level})"));
            encode(&mut chain, MESSAGE).unwrap().len()
        });
        assert!(packed[0] > MESSAGE.len() && packed[1] < MESSAGE.len());
    }
}

#[test]
fn output_is_appended() {
    for (name, mut chain) in bare() {
        let mut out = b"before".to_vec();
        let packed = encode(&mut chain, b"after").unwrap();
        chain.decode(&packed, &mut out, MAX).unwrap();
        assert_eq!(out, b"beforeafter", "{name}");
        chain.encode(b"x", &mut out, MAX).unwrap();
        assert_eq!(decode(&mut chain, &out[11..]).unwrap(), b"x", "{name}");
    }
}

#[test]
fn the_bound_is_exact_and_an_error_leaves_the_output_alone() {
    for (name, mut chain) in bare() {
        let packed = encode(&mut chain, MESSAGE).unwrap();
        let mut out = Vec::new();
        chain.decode(&packed, &mut out, MESSAGE.len()).unwrap();
        assert_eq!(out, MESSAGE);
        for max in [0, 1, MESSAGE.len() - 1] {
            let mut out = b"kept".to_vec();
            let result = chain.decode(&packed, &mut out, max);
            assert_eq!(result, Err(too_long(name, max)));
            assert_eq!(out, b"kept");
        }
        let mut out = b"kept".to_vec();
        chain.encode(MESSAGE, &mut out, packed.len()).unwrap();
        out.truncate(4);
        for max in [0, 1, packed.len() - 1] {
            let result = chain.encode(MESSAGE, &mut out, max);
            assert_eq!(result, Err(too_long(name, max)));
            assert_eq!(out, b"kept");
        }
    }
}

/// Writes part of its output and fails.
struct Breaks;

impl Codec for Breaks {
    fn encode(&mut self, _: &[u8], out: &mut Vec<u8>, _: usize) -> Result<(), Fault> {
        out.extend_from_slice(b"half a res");
        Err(Fault::Malformed)
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        self.encode(input, out, max)
    }
}

#[test]
fn what_a_codec_wrote_before_it_failed_is_taken_back() {
    let mut chain = Chain::of(vec![("breaks", Box::new(Breaks))]);
    let mut out = b"kept".to_vec();
    assert!(chain.encode(b"x", &mut out, MAX).is_err());
    assert!(chain.decode(b"x", &mut out, MAX).is_err());
    assert_eq!(out, b"kept");
}

fn inputs() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000),
        "[ -~\r\n]{0,2000}".prop_map(String::into_bytes),
        (0usize..30_000, any::<u8>()).prop_map(|(len, b)| vec![b; len]),
    ]
}

/// Links that any others may stand before and behind. None makes its input more than 2.1 times as
/// long, but for short ones.
fn link() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "gzip",
        "gzip(level=0)",
        "deflate",
        "zlib(level=1)",
        "zstd",
        "zstd(sip)",
        "zstd(sip, level=19)",
        "base64",
        "base64(url)",
        "hex",
        "xor(text=secret)",
        "xor(hex=00ff)",
        "xor(key=mask)",
        "itv(key=phone)",
        "aead(aes-256-gcm, key=edge)",
        "aead(chacha20-poly1305, key=edge)",
        "http(post, host=cdn.example.org)",
        "http(put, host=[2001:db8::1]:8080, path=/a/b?c=d, type='text/plain; charset=x', agent='A B', \
         server=S)",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything_comes_back(input in inputs()) {
        for (_, mut chain) in bare() {
            let packed = encode(&mut chain, &input).unwrap();
            prop_assert_eq!(&decode(&mut chain, &packed).unwrap(), &input);
        }
    }

    #[test]
    fn through_any_chain_anything_comes_back_in_both_directions(
        links in proptest::collection::vec(link(), 1..6),
        input in proptest::collection::vec(any::<u8>(), 0..1500),
    ) {
        let mut pair = Store::new().pair(&links.join(" | "));
        for _ in 0..2 {
            let up = pair.up(&input);
            prop_assert_eq!(&decode(&mut pair.server, &up).unwrap(), &input);
            let down = pair.down(&input);
            prop_assert_eq!(&decode(&mut pair.client, &down).unwrap(), &input);
        }
    }

    #[test]
    fn damaged_input_never_panics_nor_passes_the_bound(
        input in inputs(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        max in 0usize..3000,
    ) {
        for (codec, mut chain) in bare() {
            let mut packed = encode(&mut chain, &input).unwrap();
            if !packed.is_empty() {
                *at.get_mut(&mut packed) = byte;
            }
            let mut out = Vec::new();
            match chain.decode(&packed, &mut out, max) {
                Ok(()) => prop_assert!(out.len() <= max),
                Err(error) => {
                    let malformed = CodecError { codec, fault: Fault::Malformed };
                    let is_named = matches!(error.fault, Fault::UnknownDictionary(_));
                    prop_assert!(error == malformed || error == too_long(codec, max) || is_named);
                }
            }
        }
    }

    #[test]
    fn arbitrary_input_never_panics(
        input in proptest::collection::vec(any::<u8>(), 0..200),
        links in proptest::collection::vec(link(), 1..4),
    ) {
        for (_, mut chain) in bare() {
            let _ = decode(&mut chain, &input);
        }
        let mut pair = Store::new().pair(&links.join("|"));
        let _ = decode(&mut pair.server, &input);
        let _ = decode(&mut pair.client, &input);
    }
}

/// Nothing has a name here.
struct Nothing;

impl Materials for Nothing {
    fn keys(&self, _: &str) -> Option<std::sync::Arc<crate::Keys>> {
        None
    }

    fn dictionaries(&self, _: &str) -> Option<Vec<std::sync::Arc<crate::Dictionary>>> {
        None
    }
}

#[test]
fn what_a_chain_names_must_be_there() {
    for (text, name, help) in [
        ("x=zstd(fleet)", "fleet", "dictionary"),
        ("x=aead(aes-256-gcm, key=edge)", "edge", "key"),
        ("x=xor(key=mask)", "mask", "key"),
        ("x=itv(key=phone)", "phone", "key"),
    ] {
        let spec = ChainSpec::parse(text).unwrap();
        let Mistake {
            at,
            what,
            help: text_of,
        } = Chain::new(&spec, &Nothing).unwrap_err();
        assert_eq!(&text[at], name);
        assert_eq!(what, format!("there is no {help} `{name}`"));
        assert!(
            text_of.contains(&format!("modparam(\"codec\", \"{help}\", \"{name}=")),
            "{text_of}"
        );
    }
}
