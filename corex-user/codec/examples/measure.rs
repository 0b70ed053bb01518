//! Part of `cargo xtask bench codecs`: what one chain does to messages, and how long it takes.
//!
//! `measure list` prints the chains; `measure CHAIN FILE PASSES encode|both` encodes all messages of a
//! file so many times, and with `both` decodes them, and prints for one message: percent that are
//! left, nanoseconds of encoding, nanoseconds of decoding.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corex_codec::{Chain, ChainSpec, Dictionary, Keys, Materials, Secret};

const CHAINS: &[&str] = &[
    "gzip",
    "deflate",
    "zlib",
    "zstd",
    "zstd(sip, level=1)",
    "zstd(sip)",
    "zstd(sip, level=19)",
    "base64",
    "hex",
    "xor(text=secret)",
    "aead(aes-256-gcm, key=key)",
    "aead(chacha20-poly1305, key=key)",
    "http(post, host=cdn.example.org)",
    "itv(key=table)",
    "zstd(sip) | aead(aes-256-gcm, key=key)",
    "zstd(sip) | aead(chacha20-poly1305, key=key) | http(post, host=cdn.example.org)",
];

struct Store {
    key: Arc<Keys>,
    table: Arc<Keys>,
}

impl Store {
    fn new() -> Option<Store> {
        let keys = |bytes: &[u8]| Keys::new(vec![Secret::new(1, bytes)]).map(Arc::new);
        let table: Vec<u8> = (b' '..=b'~').flat_map(|value| [value, value]).collect();
        Some(Store {
            key: keys(&[7; 32])?,
            table: keys(&table)?,
        })
    }
}

impl Materials for Store {
    fn keys(&self, name: &str) -> Option<Arc<Keys>> {
        match name {
            "key" => Some(Arc::clone(&self.key)),
            _ => Some(Arc::clone(&self.table)),
        }
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        Dictionary::shipped(name)
    }
}

/// Messages, separated by a line of four dashes.
fn messages(file: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let text = std::fs::read_to_string(file)?;
    let each = text.split("----\n");
    Ok(each
        .map(|message| message.replace('\n', "\r\n").into_bytes())
        .collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (chain, file, passes, decodes) = match words[..] {
        ["list"] => {
            CHAINS.iter().for_each(|chain| println!("{chain}"));
            return Ok(());
        }
        [chain, file, passes, way] => (chain, file, passes.parse::<u32>()?, way == "both"),
        _ => return Err("measure list, or measure CHAIN FILE PASSES encode|both".into()),
    };
    let messages = messages(file)?;
    let store = Store::new().ok_or("keys")?;
    let side = |role: &str| Chain::new(&ChainSpec::parse(&format!("x({role})={chain}"))?, &store);
    let (mut client, mut server) = (side("client")?, side("server")?);
    let mut wire: Vec<Vec<u8>> = vec![Vec::with_capacity(65_535); messages.len()];
    let mut back = Vec::with_capacity(65_535);
    let (mut encoding, mut decoding) = (Duration::ZERO, Duration::ZERO);
    let (mut before, mut after) = (0, 0);
    // A pass at a time, since nothing is decoded twice.
    for _ in 0..passes {
        let began = Instant::now();
        for (message, out) in messages.iter().zip(&mut wire) {
            out.clear();
            client.encode(message, out, 65_535)?;
        }
        encoding += began.elapsed();
        before += messages.iter().map(Vec::len).sum::<usize>();
        after += wire.iter().map(Vec::len).sum::<usize>();
        if !decodes {
            continue;
        }
        let began = Instant::now();
        for (message, out) in messages.iter().zip(&wire) {
            back.clear();
            server.decode(out, &mut back, 65_535)?;
            if back != *message {
                return Err("it isn't the same".into());
            }
        }
        decoding += began.elapsed();
    }
    let count = f64::from(passes) * messages.len() as f64;
    println!(
        "{:.1} {:.0} {:.0}",
        100.0 * after as f64 / before as f64,
        encoding.as_nanos() as f64 / count,
        decoding.as_nanos() as f64 / count
    );
    Ok(())
}
