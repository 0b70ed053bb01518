//! Codecs: one function for each decoder, and one for the text of chains.

use std::sync::{Arc, LazyLock};

use corex_codec::{Chain, ChainSpec, Dictionary, Fault, Keys, Materials, Secret};

const MAX: usize = 65_535;
/// A bound that inputs can pass.
const SMALL: usize = 1000;

/// The shipped dictionaries, a key of 32 bytes, another one, and an ITV table.
struct Store {
    key: Arc<Keys>,
    /// Nobody seals with it: libFuzzer finds what is sealed here in memory, and puts it into inputs.
    unused: Arc<Keys>,
    table: Arc<Keys>,
}

impl Materials for Store {
    fn keys(&self, name: &str) -> Option<Arc<Keys>> {
        match name {
            "key" => Some(Arc::clone(&self.key)),
            "unused" => Some(Arc::clone(&self.unused)),
            "table" => Some(Arc::clone(&self.table)),
            _ => None,
        }
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        Dictionary::shipped(name)
    }
}

static STORE: LazyLock<Store> = LazyLock::new(|| {
    // IDs of another range than the characters, so that not every input is one of pairs.
    let pairs = (0x20u32..0x7f).flat_map(|value| [value + 0x4e0, value]);
    let table: String = pairs.filter_map(char::from_u32).collect();
    let keys = |bytes: &[u8]| {
        let keys = Keys::new(vec![Secret::new(1, bytes)]);
        Arc::new(keys.expect("one key"))
    };
    Store {
        key: keys(&[7; 32]),
        unused: keys(&[8; 32]),
        table: keys(table.as_bytes()),
    }
});

fn chain(role: &str, codec: &str) -> Chain {
    let spec = ChainSpec::parse(&format!("x({role})={codec}")).expect("a chain");
    Chain::new(&spec, &*STORE).expect("a chain")
}

/// Takes the input for what the other side sent, and for a message.
fn codec(codec: &str, input: &[u8]) {
    let [mut server, mut client] = ["server", "client"].map(|role| chain(role, codec));
    for side in [&mut server, &mut client] {
        for max in [MAX, SMALL] {
            let mut out = b"kept".to_vec();
            match side.decode(input, &mut out, max) {
                Ok(()) => assert!(out.len() <= 4 + max),
                Err(_) => assert_eq!(out, b"kept"),
            }
        }
    }
    for max in [MAX, SMALL] {
        let mut encoded = b"kept".to_vec();
        if client.encode(input, &mut encoded, max).is_err() {
            assert_eq!(encoded, b"kept");
            continue;
        }
        assert!(encoded.len() <= 4 + max);
        let mut back = Vec::new();
        // There is just the room that it takes.
        let decoded = server.decode(&encoded[4..], &mut back, input.len());
        assert_eq!((decoded, &back[..]), (Ok(()), input));
    }
}

/// One of some codecs, by the first byte.
fn one_of(codecs: &[&str], data: &[u8]) {
    if let Some((which, input)) = data.split_first() {
        let at = usize::from(*which) % codecs.len();
        codec(codecs[at], input);
    }
}

/// gzip, zlib and deflate; the first byte says which.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn deflate(data: &[u8]) {
    one_of(&["gzip", "zlib", "deflate"], data);
}

/// zstd without and with a dictionary; the first byte says which.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn zstd(data: &[u8]) {
    one_of(&["zstd(level=1)", "zstd(sip, level=1)"], data);
}

/// base64, its variant for URLs, hex, and XOR; the first byte says which.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn text(data: &[u8]) {
    one_of(&["base64", "base64(url)", "hex", "xor(key=key)"], data);
}

/// Requests and responses.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn http(data: &[u8]) {
    codec("http(post, host=h)", data);
}

/// ITV.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn itv(data: &[u8]) {
    codec("itv(key=table)", data);
}

/// Messages that nobody sealed, and sealed ones that were changed; the first byte says by which
/// cipher.
///
/// # Panics
/// When one is opened, or anything else that must hold of the results doesn't.
pub fn aead(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let cipher = ["aes-256-gcm", "chacha20-poly1305"][usize::from(which & 1)];
    let mut stranger = chain("server", &format!("aead({cipher}, key=unused)"));
    assert!(stranger.decode(data, &mut Vec::new(), MAX).is_err());
    let codec = format!("aead({cipher}, key=key)");
    self::codec(&codec, data);
    let [mut server, mut client] = ["server", "client"].map(|role| chain(role, &codec));
    let mut out = Vec::new();
    let mut opens = |message: &[u8]| {
        out.clear();
        server
            .decode(message, &mut out, MAX)
            .map_err(|error| error.fault)
    };
    let mut sealed = Vec::new();
    let text = b"OPTIONS sip:a SIP/2.0";
    client.encode(text, &mut sealed, MAX).expect("it is short");
    let mut changed = sealed.clone();
    for (byte, change) in changed.iter_mut().zip(data) {
        *byte ^= change;
    }
    if changed != sealed {
        assert!(opens(&changed).is_err());
    }
    assert_eq!(opens(&sealed), Ok(()));
    assert_eq!(opens(&sealed), Err(Fault::Replayed));
}

/// The text of a chain, and of a key's line.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn chain_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for mistake in [
        ChainSpec::parse(text).err(),
        ChainSpec::single(text).err(),
        corex_codec::SecretFile::parse(text).err(),
    ]
    .into_iter()
    .flatten()
    {
        assert!(text.get(mistake.at.clone()).is_some(), "{mistake:?}");
    }
    if let Ok(spec) = ChainSpec::parse(text) {
        let _ = Chain::new(&spec, &*STORE);
    }
}
