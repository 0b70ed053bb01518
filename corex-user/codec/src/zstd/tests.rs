use std::io::Write as _;
use std::sync::Arc;

use crate::codec::Fault;
use crate::dictionary::DictionaryError;
use crate::testing::{MAX, MESSAGE, Store, command, decode, encode};
use crate::{Dictionary, SHIPPED};

/// A dictionary like the shipped one, but for its id.
fn other(id: u32) -> Arc<Dictionary> {
    let mut bytes = SHIPPED[0].bytes.to_vec();
    bytes[4..8].copy_from_slice(&id.to_le_bytes());
    Arc::new(Dictionary::new(bytes).unwrap())
}

#[test]
fn shipped_dictionaries_are_sound_and_have_ids_and_versions_of_their_own() {
    for (at, shipped) in SHIPPED.iter().enumerate() {
        let dictionary = Dictionary::new(shipped.bytes).unwrap();
        // RFC 8878 §5: private ids that 2 bytes hold.
        assert!(
            (32_768..65_536).contains(&dictionary.id()),
            "{dictionary:?}"
        );
        for earlier in &SHIPPED[..at] {
            assert_ne!(
                Dictionary::new(earlier.bytes).unwrap().id(),
                dictionary.id()
            );
            if earlier.name == shipped.name {
                assert!(earlier.version > shipped.version, "the newest comes first");
            }
        }
    }
    let names: Vec<_> = SHIPPED.iter().map(|shipped| shipped.name).collect();
    assert!(names.contains(&"sip"));
    assert!(Dictionary::shipped("pis").is_none());
}

#[test]
fn a_dictionary_makes_a_message_smaller_than_gzip_does() {
    let store = Store::default();
    let len = |codec: &str| {
        let mut chain = store.chain(&format!("x={codec}"));
        encode(&mut chain, MESSAGE).unwrap().len()
    };
    assert!(len("zstd(sip)") * 3 < len("gzip") * 2);
}

#[test]
fn several_dictionaries_at_once_roll_over() {
    let mut store = Store::default();
    store.dictionaries.insert("old", vec![other(40_000)]);
    store.dictionaries.insert("new", vec![other(40_001)]);
    let from_old = encode(&mut store.chain("x=zstd(old)"), MESSAGE).unwrap();
    let from_new = encode(&mut store.chain("x=zstd(new)"), MESSAGE).unwrap();
    let mut both = store.chain("x=zstd(new, old)");
    for packed in [&from_old, &from_new] {
        assert_eq!(decode(&mut both, packed).unwrap(), MESSAGE);
    }
    assert_eq!(encode(&mut both, MESSAGE).unwrap(), from_new);
    let error = decode(&mut store.chain("x=zstd(old)"), &from_new).unwrap_err();
    assert_eq!(error.fault, Fault::UnknownDictionary(40_001));
    assert_eq!(error.fault.reason().name(), "unknown_dictionary");
    let error = decode(&mut store.chain("x=zstd"), &from_old).unwrap_err();
    assert_eq!(error.fault, Fault::UnknownDictionary(40_000));
}

#[test]
fn two_dictionaries_of_one_id_are_a_mistake() {
    let mut store = Store::default();
    store.dictionaries.insert("one", vec![other(40_000)]);
    store.dictionaries.insert("two", vec![other(40_000)]);
    let spec = crate::ChainSpec::parse("x=zstd(one, two)").unwrap();
    let mistake = crate::Chain::new(&spec, &store).unwrap_err();
    assert_eq!(mistake.at, 12..15);
    assert_eq!(
        mistake.what,
        "there are two dictionaries with the id 40000 here"
    );
}

#[test]
fn frames_without_a_dictionary_are_read_too() {
    let store = Store::default();
    let packed = encode(&mut store.chain("x=zstd"), MESSAGE).unwrap();
    assert_eq!(
        decode(&mut store.chain("x=zstd(sip)"), &packed).unwrap(),
        MESSAGE
    );
}

#[test]
fn a_bomb_stops_at_the_bound() {
    let mut chain = Store::default().chain("x=zstd(level=19)");
    let mut bomb = Vec::new();
    chain
        .encode(&vec![0; 64 << 20], &mut bomb, usize::MAX)
        .unwrap();
    assert!(bomb.len() < 10_000);
    let error = decode(&mut chain, &bomb).unwrap_err();
    assert_eq!(error.fault, Fault::TooLong(MAX));
}

#[test]
fn every_truncation_is_an_error_and_so_is_what_is_no_frame() {
    let mut chain = Store::default().chain("x=zstd(sip)");
    let packed = encode(&mut chain, MESSAGE).unwrap();
    for len in 0..packed.len() {
        let error = decode(&mut chain, &packed[..len]).unwrap_err();
        assert_eq!(error.fault, Fault::Malformed, "{len} bytes");
    }
    for input in [
        MESSAGE,
        b"\x28\xb5\x2f\xfd",
        &[packed, b"x".to_vec()].concat(),
    ] {
        let error = decode(&mut chain, input).unwrap_err();
        assert_eq!(error.fault, Fault::Malformed);
    }
}

#[test]
fn what_is_no_dictionary_is_refused() {
    let error = |bytes: &[u8]| Dictionary::new(bytes.to_vec()).unwrap_err();
    assert_eq!(error(b""), DictionaryError::Format);
    assert_eq!(error(MESSAGE), DictionaryError::Format);
    assert_eq!(error(&SHIPPED[0].bytes[..40]), DictionaryError::Format);
    assert_eq!(error(&vec![0; 2 << 20]), DictionaryError::TooLong);
    let mut nameless = SHIPPED[0].bytes.to_vec();
    nameless[4..8].fill(0);
    assert_eq!(error(&nameless), DictionaryError::NoId);
}

#[test]
fn the_zstd_command_reads_what_we_write_and_we_read_what_it_writes() {
    let folder = std::env::temp_dir().join(format!("corex-codec-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("sip.dict");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(SHIPPED[0].bytes).unwrap();
    let dictionary = path.to_str().unwrap();
    let large: Vec<u8> = MESSAGE.iter().copied().cycle().take(60_000).collect();
    let store = Store::default();
    for (codec, options) in [("zstd", &[][..]), ("zstd(sip)", &["-D", dictionary][..])] {
        let mut chain = store.chain(&format!("x={codec}"));
        for input in [&b""[..], b"x", MESSAGE, &large] {
            let packed = encode(&mut chain, input).unwrap();
            let Some(unpacked) = command("zstd", &[&["-qdc"], options].concat(), &packed) else {
                eprintln!("no zstd command here: not compared with it");
                return;
            };
            assert_eq!(unpacked, input);
            for level in ["-1", "-19"] {
                let packed = command("zstd", &[&["-qc", level], options].concat(), input).unwrap();
                assert_eq!(decode(&mut chain, &packed).unwrap(), input);
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
