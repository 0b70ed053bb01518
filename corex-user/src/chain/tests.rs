//! What a configuration's chains do, from its text on.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use corex_common::counters::WorkerCounters;
use corex_script::Config;
use corex_script::syntax::diag::Report;

use super::*;
use crate::module::MODULES;

const MESSAGE: &[u8] = b"OPTIONS sip:bob@example.com SIP/2.0\r\nContent-Length: 0\r\n\r\n";

fn config(text: &str) -> Config {
    let text = format!("loadmodule \"corex.so\"\nloadmodule \"codec.so\"\n{text}");
    let loaded = corex_script::load_str("test.cfg", &text, MODULES);
    loaded
        .config
        .unwrap_or_else(|| panic!("{}", loaded.report.render(false)))
}

/// What a report says of a text, with its place.
fn report(text: &str) -> String {
    let text = format!("loadmodule \"corex.so\"\nloadmodule \"codec.so\"\n{text}");
    let loaded = corex_script::load_str("test.cfg", &text, MODULES);
    assert!(loaded.config.is_none(), "{text}");
    let report: Report = loaded.report;
    report.render(false).to_string()
}

/// A file of the test's own.
fn file(name: &str, content: &[u8], mode: u32) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("corex-chains-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const PEER: &str = "192.0.2.7:5060";
const OWN: &str = "10.0.0.1:5060";

struct Side {
    native: Native,
    counters: WorkerCounters,
}

impl Side {
    fn new(text: &str) -> Side {
        Side {
            native: Native::new(&config(text).program),
            counters: WorkerCounters::default(),
        }
    }

    fn decode(&mut self, peer: &str, message: &[u8]) -> (Passed, Vec<u8>) {
        let mut out = b"old".to_vec();
        let (peer, own) = (address(peer), address(OWN));
        let passed = self
            .native
            .decode(peer, own, message, &mut out, &mut self.counters);
        (passed, out)
    }

    fn encode(&mut self, peer: &str, message: &[u8]) -> (Passed, Vec<u8>) {
        let mut out = b"old".to_vec();
        let (peer, own) = (address(peer), address(OWN));
        let passed = self
            .native
            .encode(peer, own, message, &mut out, &mut self.counters);
        (passed, out)
    }
}

fn aead(role: &str, key: &std::path::Path) -> String {
    format!(
        "modparam(\"codec\", \"key\", \"edge=7:file:{}\")
         modparam(\"codec\", \"chain\", \"edge({role})=zstd(sip) | aead(aes-256-gcm, key=edge) | \
         http(post, host=cdn.example.org)\")
         modparam(\"corex\", \"codec_in\", \"edge\")
         modparam(\"corex\", \"codec_out\", \"edge\")",
        key.display()
    )
}

#[test]
fn a_chain_runs_without_a_script_and_is_counted() {
    let key = file("native.key", &[b'k'; 32], 0o600);
    let mut phone = Side::new(&aead("client", &key));
    let mut server = Side::new(&aead("server", &key));
    let (passed, wire) = phone.encode(PEER, MESSAGE);
    assert_eq!(passed, Passed::Changed);
    assert!(wire.starts_with(b"POST / HTTP/1.1\r\nHost: cdn.example.org\r\n"));
    let (passed, plain) = server.decode(PEER, &wire);
    assert_eq!((passed, &plain[..]), (Passed::Changed, MESSAGE));
    let (passed, _) = server.decode(PEER, &wire);
    assert_eq!(passed, Passed::Dropped);
    let counted = server.counters;
    assert_eq!((counted.codec_in, counted.codec_replayed), (1, 1));
    assert_eq!(counted.codec_in_before, wire.len() as u64);
    assert_eq!(counted.codec_in_after, MESSAGE.len() as u64);
    let counted = phone.counters;
    assert_eq!(
        (counted.codec_out, counted.codec_out_after),
        (1, wire.len() as u64)
    );
    // Another worker of the same process knows what was received, and so does a reload.
    let mut reloaded = Side::new(&aead("server", &key));
    assert_eq!(reloaded.decode(PEER, &wire).0, Passed::Dropped);
    assert_eq!(reloaded.counters.codec_replayed, 1);
}

#[test]
fn the_first_line_that_fits_counts() {
    let mut side = Side::new(
        "modparam(\"codec\", \"chain\", \"phones=base64\")
         modparam(\"codec\", \"chain\", \"others=hex\")
         modparam(\"corex\", \"codec_in\", \"none;peer=192.0.2.9\")
         modparam(\"corex\", \"codec_in\", \"phones;peer=192.0.2.0/24\")
         modparam(\"corex\", \"codec_in\", \"others;socket=10.0.0.1:5060\")
         modparam(\"corex\", \"codec_out\", \"gzip;peer=192.0.2.0/24\")",
    );
    for (peer, passed, expected) in [
        ("192.0.2.9:1", Passed::Unchanged, &b"old"[..]),
        ("192.0.2.8:1", Passed::Changed, b"\xd7\x4d\x35"),
        ("192.0.3.1:1", Passed::Changed, b"\x10\x01"),
    ] {
        let (found, out) = side.decode(peer, b"1001");
        assert_eq!((found, &out[..]), (passed, expected), "{peer}");
    }
    assert_eq!(side.encode("192.0.3.1:1", MESSAGE).0, Passed::Unchanged);
    let (passed, packed) = side.encode("192.0.2.1:1", MESSAGE);
    assert!(passed == Passed::Changed && packed.starts_with(&[0x1f, 0x8b]));
}

#[test]
fn what_cannot_be_decoded_is_dropped_or_passed_and_what_cannot_be_encoded_is_dropped() {
    let text = |more: &str| {
        format!(
            "modparam(\"corex\", \"codec_in\", \"gzip\") modparam(\"corex\", \"codec_out\", \"gzip\")
             modparam(\"codec\", \"max_output\", 50) {more}"
        )
    };
    let mut drops = Side::new(&text(""));
    assert_eq!(drops.decode(PEER, MESSAGE).0, Passed::Dropped);
    assert_eq!(
        (drops.counters.codec_malformed, drops.counters.codec_passed),
        (1, 0)
    );
    let mut passes = Side::new(&text("modparam(\"codec\", \"on_error\", \"pass\")"));
    let (passed, _) = passes.decode(PEER, MESSAGE);
    assert_eq!(passed, Passed::Failed(Reason::Malformed));
    assert_eq!(
        (
            passes.counters.codec_malformed,
            passes.counters.codec_passed
        ),
        (1, 1)
    );
    for side in [&mut drops, &mut passes] {
        let noise: Vec<u8> = (0..=255).collect();
        assert_eq!(side.encode(PEER, &noise).0, Passed::Dropped);
        assert_eq!(side.counters.codec_too_long, 1);
    }
}

#[test]
fn two_keys_are_valid_at_a_time() {
    let old = file("old.key", &[b'o'; 32], 0o600);
    let new = file("new.key", &[b'n'; 32], 0o600);
    let chain = |role: &str| {
        format!(
            "modparam(\"codec\", \"chain\", \"edge({role})=aead(chacha20-poly1305, key=edge)\")
             modparam(\"corex\", \"codec_in\", \"edge\") modparam(\"corex\", \"codec_out\", \"edge\")"
        )
    };
    let key = |id: u8, path: &std::path::Path| {
        format!(
            "modparam(\"codec\", \"key\", \"edge={id}:file:{}\")\n",
            path.display()
        )
    };
    let mut phone = Side::new(&(key(1, &old) + &chain("client")));
    let mut both = Side::new(&(key(2, &new) + &key(1, &old) + &chain("server")));
    let mut after = Side::new(&(key(2, &new) + &chain("server")));
    let wire = phone.encode(PEER, MESSAGE).1;
    assert_eq!(both.decode(PEER, &wire).0, Passed::Changed);
    assert_eq!(after.decode(PEER, &wire).0, Passed::Dropped);
    assert_eq!(after.counters.codec_unknown_key, 1);
    assert_eq!(both.encode(PEER, MESSAGE).1[1], 2, "the first line encodes");
}

#[test]
fn mistakes_are_reported_at_their_place() {
    let open = file("open.key", &[b'x'; 32], 0o644);
    let short = file("short.key", b"short", 0o600);
    let no_dictionary = file("no.dict", b"hello", 0o644);
    for (text, place, what, help) in [
        (
            "modparam(\"codec\", \"chain\", \"edge=zip\")".to_owned(),
            "3:34",
            "chain: there is no codec `zip`",
            "write one of gzip, deflate",
        ),
        (
            "modparam(\"codec\", \"chain\", \"edge=zstd(fleet)\")".to_owned(),
            "3:39",
            "there is no dictionary `fleet`",
            "modparam(\"codec\", \"dictionary\"",
        ),
        (
            "modparam(\"codec\", \"chain\", \"edge=aead(aes-256-gcm, key=fleet)\")".to_owned(),
            "3:56",
            "there is no key `fleet`",
            "modparam(\"codec\", \"key\"",
        ),
        (
            "modparam(\"codec\", \"chain\", \"edge=hex\")\nmodparam(\"codec\", \"chain\", \"edge=hex\")"
                .to_owned(),
            "4:29",
            "there is a chain `edge` already",
            "another name",
        ),
        (
            format!("modparam(\"codec\", \"key\", \"k=file:{}\")", open.display()),
            "3:26",
            "others than its owner may read",
            "docs/codecs.md",
        ),
        (
            "modparam(\"codec\", \"key\", \"k=env:COREX_NO_SUCH\")".to_owned(),
            "3:26",
            "the environment's COREX_NO_SUCH: there is no such variable",
            "docs/codecs.md",
        ),
        (
            format!(
                "modparam(\"codec\", \"key\", \"k=file:{}\")\n\
                 modparam(\"codec\", \"chain\", \"edge=aead(aes-256-gcm, key=k)\")",
                short.display()
            ),
            "4:56",
            "isn't 32 bytes",
            "openssl rand -hex 32",
        ),
        (
            format!("modparam(\"codec\", \"dictionary\", \"d={}\")", no_dictionary.display()),
            "3:33",
            "it is no dictionary in zstd's format",
            "corex dictionary show",
        ),
        (
            "modparam(\"codec\", \"dictionary\", \"sip=/x\")".to_owned(),
            "3:34",
            "a dictionary of that name comes with corex",
            "NAME=/PATH",
        ),
        (
            "modparam(\"codec\", \"on_error\", \"reject\")".to_owned(),
            "3:31",
            "neither \"drop\" nor \"pass\"",
            "write \"drop\" or \"pass\"",
        ),
        (
            "modparam(\"corex\", \"codec_in\", \"gzip\")\nmodparam(\"corex\", \"codec_out\", \"edge\")"
                .to_owned(),
            "4:32",
            "there is no chain `edge`",
            "modparam(\"codec\", \"chain\", \"edge=",
        ),
        (
            "modparam(\"corex\", \"codec_in\", \"gzip;peer=x\")".to_owned(),
            "3:37",
            "`x` is no network",
            "CHAIN[;peer=NETWORK]",
        ),
    ] {
        let said = report(&text);
        for part in [&format!("test.cfg:{place}"), what, help] {
            assert!(said.contains(part), "{text}\nlacks: {part}\n{said}");
        }
    }
}

#[test]
fn a_configuration_without_keys_reads_none_and_secrets_are_not_printed() {
    let path = file("hush.key", b"hush-hush-hush-hush-hush-hush-32", 0o600);
    let config = config(&aead("server", &path));
    let chains = config.program.shared::<Chains>().unwrap();
    let printed = format!("{chains:?} {:?}", config.settings.codec);
    assert!(!printed.contains("hush-"), "{printed}");
    assert!(Arc::strong_count(&chains) >= 2);
}
