//! What holds for every codec.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const MAX: usize = 65_535;

const MESSAGE: &[u8] = b"OPTIONS sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\n\
    Via: SIP/2.0/UDP b.example.com;branch=z9hG4bK2\r\n\
    From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n\
    Call-ID: 1@example.com\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

fn codecs() -> Codecs {
    Codecs::new(&settings::Codec::default()).unwrap()
}

fn all() -> impl Iterator<Item = CodecId> {
    (0..CODECS.len()).filter_map(CodecId::at)
}

fn encode(codec: CodecId, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codecs().encode(codec, input, &mut out, usize::MAX).unwrap();
    out
}

fn decode(codec: CodecId, input: &[u8], max: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    codecs().decode(codec, input, &mut out, max)?;
    Ok(out)
}

fn too_long(codec: CodecId, max: usize) -> CodecError {
    CodecError {
        codec,
        fault: Fault::TooLong(max),
    }
}

#[test]
fn codecs_are_found_by_their_names_in_lower_case() {
    for codec in all() {
        let name = codec.to_string();
        assert_eq!(name, name.to_ascii_lowercase());
        assert_eq!(CodecId::find(name.as_bytes()), Some(codec));
        assert_eq!(CodecId::find(name.to_ascii_uppercase().as_bytes()), None);
    }
    assert_eq!(CodecId::find(b"zip"), None);
    assert_eq!(CodecId::find(b""), None);
    assert_eq!(CodecId::at(CODECS.len()), None);
}

#[test]
fn names_are_different_and_so_are_those_of_parameters() {
    let mut names = HashSet::new();
    for codec in CODECS {
        assert!(names.insert(codec.name), "{}", codec.name);
        for parameter in codec.parameters {
            assert!(names.insert(parameter.name), "{}", parameter.name);
        }
    }
}

#[test]
fn errors_name_the_codec() {
    let codec = CodecId::find(b"gzip").unwrap();
    for (fault, text) in [
        (
            Fault::Malformed,
            "gzip: the input is not gzip data, or it is damaged or cut off",
        ),
        (Fault::TooLong(7), "gzip: the output exceeds 7 bytes"),
    ] {
        assert_eq!(CodecError { codec, fault }.to_string(), text);
    }
}

#[test]
fn parameters_reach_their_codec_and_a_wrong_one_is_an_error() {
    let mut settings = settings::Codec::default();
    settings.of_codecs.insert("gzip_level", 13);
    let error = Codecs::new(&settings).unwrap_err();
    assert_eq!(error.to_string(), "gzip: level 13 is not from 0 to 12");
    let mut packed = [Vec::new(), Vec::new()];
    for (level, out) in [0, 12].into_iter().zip(&mut packed) {
        settings.of_codecs.insert("gzip_level", level);
        let gzip = CodecId::find(b"gzip").unwrap();
        let mut codecs = Codecs::new(&settings).unwrap();
        codecs.encode(gzip, MESSAGE, out, MAX).unwrap();
    }
    assert!(packed[0].len() > MESSAGE.len() && packed[1].len() < MESSAGE.len());
}

#[test]
fn output_is_appended() {
    for codec in all() {
        let mut out = b"before".to_vec();
        codecs()
            .decode(codec, &encode(codec, b"after"), &mut out, MAX)
            .unwrap();
        assert_eq!(out, b"beforeafter");
        codecs().encode(codec, b"x", &mut out, MAX).unwrap();
        assert_eq!(decode(codec, &out[11..], MAX).unwrap(), b"x");
    }
}

#[test]
fn the_bound_is_exact_and_an_error_leaves_the_output_alone() {
    for codec in all() {
        let packed = encode(codec, MESSAGE);
        assert_eq!(decode(codec, &packed, MESSAGE.len()).unwrap(), MESSAGE);
        for max in [0, 1, MESSAGE.len() - 1] {
            let mut out = b"kept".to_vec();
            let result = codecs().decode(codec, &packed, &mut out, max);
            assert_eq!(result, Err(too_long(codec, max)));
            assert_eq!(out, b"kept");
        }
        let mut out = b"kept".to_vec();
        codecs()
            .encode(codec, MESSAGE, &mut out, packed.len())
            .unwrap();
        out.truncate(4);
        for max in [0, 1, packed.len() - 1] {
            let result = codecs().encode(codec, MESSAGE, &mut out, max);
            assert_eq!(result, Err(too_long(codec, max)));
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
    let codec = CodecId::at(0).unwrap();
    let mut codecs = Codecs(vec![Box::new(Breaks)]);
    let mut out = b"kept".to_vec();
    assert!(codecs.encode(codec, b"x", &mut out, MAX).is_err());
    assert!(codecs.decode(codec, b"x", &mut out, MAX).is_err());
    assert_eq!(out, b"kept");
}

fn inputs() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000),
        "[ -~\r\n]{0,2000}".prop_map(String::into_bytes),
        (0usize..60_000, any::<u8>()).prop_map(|(len, b)| vec![b; len]),
    ]
}

proptest! {
    #[test]
    fn anything_comes_back(input in inputs()) {
        for codec in all() {
            prop_assert_eq!(&decode(codec, &encode(codec, &input), MAX).unwrap(), &input);
        }
    }

    #[test]
    fn damaged_input_never_panics_nor_passes_the_bound(
        input in inputs(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        max in 0usize..3000,
    ) {
        for codec in all() {
            let mut packed = encode(codec, &input);
            if !packed.is_empty() {
                *at.get_mut(&mut packed) = byte;
            }
            match decode(codec, &packed, max) {
                Ok(out) => prop_assert!(out.len() <= max),
                Err(error) => {
                    let malformed = CodecError { codec, fault: Fault::Malformed };
                    prop_assert!(error == malformed || error == too_long(codec, max));
                }
            }
        }
    }

    #[test]
    fn arbitrary_input_never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        for codec in all() {
            let _ = decode(codec, &input, 1000);
        }
    }
}
