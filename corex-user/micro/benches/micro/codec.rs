//! Codecs on one message; `cargo xtask bench codecs` has all chains, and what they leave of it.

use std::{hint::black_box, sync::Arc};

use corex_codec::{Chain, ChainSpec, Dictionary, Keys, Materials, Secret};
use criterion::Criterion;

use crate::INVITE;

const CHAINS: [&str; 6] = [
    "gzip",
    "zstd(sip)",
    "base64",
    "xor(text=secret)",
    "aead(aes-256-gcm, key=key)",
    "http(post, host=cdn.example.org)",
];

struct Store(Arc<Keys>);

impl Materials for Store {
    fn keys(&self, _: &str) -> Option<Arc<Keys>> {
        Some(Arc::clone(&self.0))
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        Dictionary::shipped(name)
    }
}

pub fn bench(criterion: &mut Criterion) {
    let Some(keys) = Keys::new(vec![Secret::new(1, &[7; 32])]) else {
        return;
    };
    let store = Store(Arc::new(keys));
    let side = |role: &str, chain: &str| {
        let spec = ChainSpec::parse(&format!("x({role})={chain}"));
        let made = spec.map(|spec| Chain::new(&spec, &store));
        made.expect("a chain").expect("what it needs")
    };
    let mut group = criterion.benchmark_group("codec");
    for chain in CHAINS {
        let (mut client, mut server) = (side("client", chain), side("server", chain));
        let mut wire = Vec::with_capacity(65_535);
        let mut back = Vec::with_capacity(65_535);
        group.bench_function(format!("{chain}, encode"), |bencher| {
            bencher.iter(|| {
                wire.clear();
                client.encode(black_box(INVITE), &mut wire, 65_535).is_ok()
            });
        });
        // Nothing is decoded twice where it is encrypted.
        group.bench_function(format!("{chain}, there and back"), |bencher| {
            bencher.iter(|| {
                wire.clear();
                back.clear();
                client.encode(black_box(INVITE), &mut wire, 65_535).is_ok()
                    && server.decode(&wire, &mut back, 65_535).is_ok()
            });
        });
    }
    group.finish();
}
