mod device;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::received::{Place, Received};
use super::{Aead, Sending, SessionSource, session_key};
use crate::codec::Role;
use crate::codec::{Codec, Fault};
use crate::keys::{Keys, Secret};
use crate::session::{Cipher, Session, SessionName, Towards};
use crate::testing::{MAX, MESSAGE, Store, command, decode, encode, python};

const CIPHERS: [(&str, Cipher); 2] = [
    ("aes-256-gcm", Cipher::Aes256Gcm),
    ("chacha20-poly1305", Cipher::ChaCha20Poly1305),
];

fn hex(digits: &str) -> Vec<u8> {
    HEXLOWER.decode(digits.as_bytes()).unwrap()
}

/// A key of its own, so that no other test has received anything under it.
fn fresh_key() -> [u8; 32] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut key = [0xa5; 32];
    key[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    key
}

/// Both sides of a wire, with one clock.
struct Wire {
    client: Aead,
    server: Aead,
    now: Arc<AtomicU64>,
}

fn side(cipher: Cipher, role: Role, keys: &Arc<Keys>) -> Aead {
    let sources = keys.all().map(|key| {
        let secret = key.of_32_bytes().unwrap();
        SessionSource {
            id: key.id,
            received: Received::of(&secret),
            secret,
        }
    });
    Aead::new(Arc::clone(keys), sources.collect(), cipher, role, 300)
}

fn keys_at(secrets: Vec<Secret>, now: &Arc<AtomicU64>) -> Arc<Keys> {
    let clock = Arc::clone(now);
    let clock = Arc::new(move || clock.load(Ordering::Relaxed));
    Arc::new(Keys::with_clock(secrets, clock).unwrap())
}

impl Wire {
    fn with(cipher: Cipher, key: &[u8]) -> Wire {
        let now = Arc::new(AtomicU64::new(1_800_000_000));
        let keys = keys_at(vec![Secret::new(7, key)], &now);
        Wire {
            client: side(cipher, Role::Client, &keys),
            server: side(cipher, Role::Server, &keys),
            now,
        }
    }

    fn new() -> Wire {
        Wire::with(Cipher::ChaCha20Poly1305, &fresh_key())
    }

    fn sleep(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn seal(side: &mut Aead, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    side.encode(input, &mut out, MAX).unwrap();
    out
}

fn open(side: &mut Aead, input: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    side.decode(input, &mut out, MAX)?;
    Ok(out)
}

#[test]
fn the_ciphers_are_those_of_rfc_8439_and_nist() {
    // RFC 8439 §2.8.2.
    let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
                 the future, sunscreen would be it.";
    let sealed = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fa\
                  fb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4\
                  fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecb\
                  d0600691";
    let key: Vec<u8> = (0x80..0xa0).collect();
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).unwrap());
    let nonce = hex("070000004041424344454647").try_into().unwrap();
    let data = Aad::from(hex("50515253c0c1c2c3c4c5c6c7"));
    let mut out = text.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), data, &mut out)
        .unwrap();
    assert_eq!(HEXLOWER.encode(&out), sealed);

    // McGrew and Viega, The Galois/Counter Mode of Operation, test case 16, as NIST has it.
    let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let nonce = hex("cafebabefacedbaddecaf888").try_into().unwrap();
    let data = Aad::from(hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"));
    let mut out = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24\
         49a6b525b16aedf5aa0de657ba637b39",
    );
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), data, &mut out)
        .unwrap();
    assert_eq!(
        HEXLOWER.encode(&out),
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10\
         56828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
    );
}

/// A message as docs/codecs.md shows it.
fn documented(cipher: Cipher, role: Role) -> Vec<u8> {
    let key: [u8; 32] = std::array::from_fn(|at| at as u8);
    let now = Arc::new(AtomicU64::new(0x6a00_0000));
    let mut side = side(cipher, role, &keys_at(vec![Secret::new(7, &key)], &now));
    let name = SessionName::new(0x6a00_0000, *b"\x01\x02\x03\x04\x05\x06");
    side.sending = Some(Sending {
        id: 7,
        name,
        key: session_key(&key, cipher, Towards::from(role), &name).unwrap(),
        counter: 9,
    });
    seal(&mut side, b"OPTIONS sip:a SIP/2.0\r\n\r\n")
}

#[test]
fn the_document_has_these_messages() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/codecs.md");
    let document = std::fs::read_to_string(path).unwrap();
    for (name, cipher) in CIPHERS {
        for (role, towards) in [(Role::Client, "server"), (Role::Server, "client")] {
            let digits = HEXLOWER.encode(&documented(cipher, role));
            let (first, second) = digits.split_at(digits.len() / 2);
            let text = format!("{name}, towards the {towards}\n  {first}\n  {second}\n");
            assert!(document.contains(&text), "{text}");
        }
    }
}

/// The format from its description alone, with Python's cryptography.
const PYTHON: &str = "\
import sys, struct
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.hashes import SHA256
text = sys.stdin.buffer.read()
cipher, towards, text = text[0], text[1], text[2:]
key = bytes(range(32))
session = struct.pack('>I', 0x6a000000) + bytes([1, 2, 3, 4, 5, 6])
head = bytes([0xc1, 7]) + session + struct.pack('>I', 9)
info = b'corex aead 1' + bytes([cipher, towards])
subkey = HKDF(SHA256(), 32, session, info).derive(key)
algorithm = {1: AESGCM, 2: ChaCha20Poly1305}[cipher](subkey)
nonce = bytes(8) + struct.pack('>I', 9)
sys.stdout.buffer.write(head + algorithm.encrypt(nonce, text, head + bytes([towards])))
";

#[test]
fn messages_are_those_that_the_description_makes_elsewhere() {
    for (_, cipher) in CIPHERS {
        for role in [Role::Client, Role::Server] {
            let towards = Towards::from(role);
            let input = [
                &[cipher as u8, towards as u8][..],
                b"OPTIONS sip:a SIP/2.0\r\n\r\n",
            ]
            .concat();
            let module = "cryptography.hazmat.primitives.ciphers.aead";
            let Some(theirs) = python(module, PYTHON, &input) else {
                return;
            };
            let ours = documented(cipher, role);
            assert_eq!(HEXLOWER.encode(&ours), HEXLOWER.encode(&theirs));
        }
    }
}

#[test]
fn openssl_derives_the_same_session_keys() {
    let key: [u8; 32] = std::array::from_fn(|at| at as u8);
    let salt = "6a000000010203040506";
    // ring gives no derived key away: RFC 5869's own steps with HMAC, by openssl.
    let hmac = |key: &str, data: &[u8]| {
        let key = format!("hexkey:{key}");
        let arguments = [
            "dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "-binary",
        ];
        command("openssl", &arguments, data)
    };
    let Some(secret) = hmac(salt, &key) else {
        eprintln!("no openssl command here: not compared with it");
        return;
    };
    let info = [&b"corex aead 1"[..], &[2, 0, 1]].concat();
    let derived = hmac(&HEXLOWER.encode(&secret), &info).unwrap();
    let derived = UnboundKey::new(&CHACHA20_POLY1305, &derived).unwrap();
    let message = documented(Cipher::ChaCha20Poly1305, Role::Client);
    let (head, sealed) = message.split_at(16);
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*b"\0\0\0\0\0\0\0\0\0\0\0\x09");
    let data = Aad::from([head, &[0]].concat());
    let opened = LessSafeKey::new(derived).open_in_place(nonce, data, &mut sealed);
    assert_eq!(opened.unwrap(), b"OPTIONS sip:a SIP/2.0\r\n\r\n");
}

#[test]
fn a_message_is_32_bytes_longer_and_two_of_one_text_have_nothing_in_common() {
    for (_, cipher) in CIPHERS {
        let mut wire = Wire::with(cipher, &fresh_key());
        let (one, two) = (
            seal(&mut wire.client, MESSAGE),
            seal(&mut wire.client, MESSAGE),
        );
        assert_eq!(one.len(), MESSAGE.len() + 32);
        assert_eq!(one[..12], two[..12]);
        assert_eq!(
            (&one[12..16], &two[12..16]),
            (&[0, 0, 0, 0][..], &[0, 0, 0, 1][..])
        );
        assert_ne!(one[16..], two[16..]);
        assert_eq!(open(&mut wire.server, &one).unwrap(), MESSAGE);
        assert_eq!(open(&mut wire.server, &two).unwrap(), MESSAGE);
    }
}

#[test]
fn what_goes_one_way_does_not_come_back_the_other() {
    let mut wire = Wire::new();
    let up = seal(&mut wire.client, MESSAGE);
    assert_eq!(open(&mut wire.client, &up), Err(Fault::NotAuthentic));
    let down = seal(&mut wire.server, MESSAGE);
    assert_eq!(open(&mut wire.server, &down), Err(Fault::NotAuthentic));
    assert_eq!(open(&mut wire.client, &down).unwrap(), MESSAGE);
}

#[test]
fn another_key_another_cipher_and_an_unknown_id_are_told_apart() {
    let mut wire = Wire::new();
    let sealed = seal(&mut wire.client, MESSAGE);
    let mut stranger = Wire::new();
    assert_eq!(
        open(&mut stranger.server, &sealed),
        Err(Fault::NotAuthentic)
    );
    let mut other = side(Cipher::Aes256Gcm, Role::Server, &wire.server.source);
    assert_eq!(open(&mut other, &sealed), Err(Fault::NotAuthentic));
    let mut renamed = sealed.clone();
    renamed[1] = 8;
    assert_eq!(open(&mut wire.server, &renamed), Err(Fault::UnknownKey(8)));
    renamed[0] = 0xc2;
    assert_eq!(
        open(&mut wire.server, &renamed),
        Err(Fault::UnknownVersion(0xc2))
    );
    assert_eq!(
        open(&mut wire.server, MESSAGE),
        Err(Fault::UnknownVersion(b'O'))
    );
    for len in 0..32 {
        let cut = open(&mut wire.server, &sealed[..len]);
        assert_eq!(cut, Err(Fault::Malformed), "{len}");
    }
}

#[test]
fn nothing_is_accepted_twice_by_any_worker_nor_by_the_next_configuration() {
    let key = fresh_key();
    let mut wire = Wire::with(Cipher::Aes256Gcm, &key);
    let sealed = seal(&mut wire.client, MESSAGE);
    assert!(open(&mut wire.server, &sealed).is_ok());
    assert_eq!(open(&mut wire.server, &sealed), Err(Fault::Replayed));
    let mut other_worker = side(Cipher::Aes256Gcm, Role::Server, &wire.server.source);
    assert_eq!(open(&mut other_worker, &sealed), Err(Fault::Replayed));
    let reloaded = keys_at(vec![Secret::new(7, &key)], &wire.now);
    let mut reloaded = side(Cipher::Aes256Gcm, Role::Server, &reloaded);
    assert_eq!(open(&mut reloaded, &sealed), Err(Fault::Replayed));
}

#[test]
fn in_captures_age_and_repetition_do_not_count_but_the_key_does() {
    let (key, now) = (fresh_key(), Arc::new(AtomicU64::new(1_800_000_000)));
    let mut wire = Wire::with(Cipher::Aes256Gcm, &key);
    let sealed = seal(&mut wire.client, MESSAGE);
    let keys = |key| {
        let clock = Arc::new(|| 2_000_000_000);
        let keys = Keys::with_clock(vec![Secret::new(7, key)], clock).unwrap();
        side(
            Cipher::Aes256Gcm,
            Role::Server,
            &Arc::new(keys.for_captures()),
        )
    };
    let mut reader = keys(&key);
    for _ in 0..2 {
        assert_eq!(open(&mut reader, &sealed).unwrap(), MESSAGE);
    }
    assert_eq!(
        open(&mut keys(&fresh_key()), &sealed),
        Err(Fault::NotAuthentic)
    );
    // What was looked at is new to a receiver with the same key in the same process.
    let live = keys_at(vec![Secret::new(7, &key)], &now);
    let mut live = side(Cipher::Aes256Gcm, Role::Server, &live);
    assert!(open(&mut live, &sealed).is_ok());
    assert_eq!(open(&mut live, &sealed), Err(Fault::Replayed));
}

#[test]
fn order_does_not_matter_within_the_window() {
    let mut wire = Wire::new();
    let mut sealed: Vec<_> = (0..1500).map(|_| seal(&mut wire.client, b"x")).collect();
    sealed.swap(0, 1023);
    for message in &sealed[..1024] {
        assert!(open(&mut wire.server, message).is_ok());
    }
    assert!(open(&mut wire.server, &sealed[1499]).is_ok());
    assert_eq!(open(&mut wire.server, &sealed[5]), Err(Fault::Replayed));
    assert!(open(&mut wire.server, &sealed[1100]).is_ok());
}

#[test]
fn sessions_end_and_what_is_older_than_clocks_may_differ_is_stale() {
    let mut wire = Wire::new();
    let first = seal(&mut wire.client, b"1");
    wire.sleep(299);
    let same = seal(&mut wire.client, b"2");
    assert_eq!(first[2..12], same[2..12]);
    wire.sleep(1);
    let next = seal(&mut wire.client, b"3");
    assert_ne!(first[2..12], next[2..12]);
    assert_eq!(next[12..16], [0; 4], "another session, another counter");
    wire.sleep(300);
    assert!(open(&mut wire.server, &same).is_ok());
    wire.sleep(1);
    assert_eq!(open(&mut wire.server, &first), Err(Fault::Stale));
    // A sender whose clock is ahead.
    wire.sleep(1000);
    let ahead = seal(&mut wire.client, b"4");
    wire.now.fetch_sub(300, Ordering::Relaxed);
    assert!(open(&mut wire.server, &ahead).is_ok());
    wire.now.fetch_sub(1, Ordering::Relaxed);
    let again = seal(&mut wire.client, b"5");
    assert_ne!(
        ahead[2..12],
        again[2..12],
        "a clock that was set back: another session"
    );
    assert!(open(&mut wire.server, &again).is_ok());
    assert_eq!(open(&mut wire.server, &ahead), Err(Fault::Stale));
}

#[test]
fn two_keys_are_valid_at_a_time_and_the_first_encodes() {
    let (old, new) = (fresh_key(), fresh_key());
    let now = Arc::new(AtomicU64::new(1_800_000_000));
    let with = |secrets: &[(u8, &[u8; 32])], role| {
        let secrets = secrets.iter().map(|(id, key)| Secret::new(*id, *key));
        side(Cipher::Aes256Gcm, role, &keys_at(secrets.collect(), &now))
    };
    let mut phone_with_old = with(&[(1, &old)], Role::Client);
    let mut phone_with_new = with(&[(2, &new)], Role::Client);
    let mut both = with(&[(2, &new), (1, &old)], Role::Server);
    assert!(open(&mut both, &seal(&mut phone_with_old, b"x")).is_ok());
    assert!(open(&mut both, &seal(&mut phone_with_new, b"x")).is_ok());
    let down = seal(&mut both, b"y");
    assert!(open(&mut phone_with_new, &down).is_ok());
    assert_eq!(open(&mut phone_with_old, &down), Err(Fault::UnknownKey(2)));
    assert!(Keys::new(vec![Secret::new(1, &old), Secret::new(1, &new)]).is_none());
}

#[test]
fn counters_that_are_used_up_begin_a_new_session() {
    let mut wire = Wire::new();
    seal(&mut wire.client, b"x");
    wire.client.sending.as_mut().unwrap().counter = u32::MAX - 1;
    let last = seal(&mut wire.client, b"x");
    let next = seal(&mut wire.client, b"x");
    assert_eq!(last[12..16], [0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(next[12..16], [0; 4]);
    assert_ne!(last[2..12], next[2..12]);
    for message in [last, next] {
        assert!(open(&mut wire.server, &message).is_ok());
    }
}

#[test]
fn forgeries_leave_no_trace() {
    let mut wire = Wire::new();
    let good = seal(&mut wire.client, MESSAGE);
    let received = Arc::clone(&wire.server.keys[0].received);
    for at in 2..16 {
        let mut forged = good.clone();
        forged[at] ^= 1;
        assert!(open(&mut wire.server, &forged).is_err());
    }
    assert_eq!(received.len(), 0);
    assert!(open(&mut wire.server, &good).is_ok());
    let mut ahead = good.clone();
    ahead[12..16].copy_from_slice(&9_000u32.to_be_bytes());
    assert_eq!(open(&mut wire.server, &ahead), Err(Fault::NotAuthentic));
    let second = seal(&mut wire.client, MESSAGE);
    assert!(
        open(&mut wire.server, &second).is_ok(),
        "the window didn't move"
    );
    assert_eq!(received.len(), 1);
}

#[test]
fn sessions_are_bounded_and_the_forgotten_ones_are_stale() {
    let received = Received::with_room(160);
    let session = || {
        let name = SessionName::new(0, [0; 6]);
        let key = session_key(&[1; 32], Cipher::Aes256Gcm, Towards::Server, &name);
        Arc::new(Session::new(key.unwrap()))
    };
    let place = |number: u64| Place {
        cipher: Cipher::Aes256Gcm,
        towards: Towards::Server,
        name: SessionName::new(1000 + number, [0, 0, 0, 0, 0, number as u8]),
    };
    for number in 0..10_000 {
        received.accept(place(number), session(), 0, 0).unwrap();
        assert!(received.len() <= 160);
    }
    for number in 0..10_000 {
        let again = received.accept(place(number), session(), 0, 0);
        assert!(matches!(again, Err(Fault::Stale | Fault::Replayed)));
    }
    // What is expired makes room first, and none that is alive goes for it.
    let received = Received::with_room(160);
    for number in 0..160 {
        received.accept(place(number), session(), 0, 0).unwrap();
    }
    received.accept(place(160), session(), 0, 1080).unwrap();
    for number in 80..=160 {
        let known = received.session(&place(number)).unwrap();
        let shard_made_room = number % 16 == 160 % 16;
        assert!(known.is_some() || !shard_made_room, "{number}");
    }
}

#[test]
fn a_key_of_another_length_is_a_mistake_that_says_how_to_make_one() {
    let mut store = Store::new();
    store.add_key("short", vec![Secret::new(3, b"too short")]);
    let spec = crate::ChainSpec::parse("x=aead(aes-256-gcm, key=short)").unwrap();
    let mistake = crate::Chain::new(&spec, &store).unwrap_err();
    assert!(mistake.what.starts_with("key 3 of `short` isn't 32 bytes"));
    assert!(mistake.help.contains("openssl rand -hex 32"));
}

#[test]
fn a_key_may_stand_there_plain_in_digits_or_in_base64() {
    let key = fresh_key();
    let mut store = Store::new();
    store.add_key("plain", vec![Secret::new(7, &key)]);
    let digits = format!("{}\n", HEXLOWER.encode(&key).to_uppercase());
    store.add_key("hex", vec![Secret::new(7, digits.as_bytes())]);
    let base64 = format!("{}\r\n", data_encoding::BASE64.encode(&key));
    store.add_key("base64", vec![Secret::new(7, base64.as_bytes())]);
    let sealed = |name: &str| {
        let chain = format!("x(client)=aead(aes-256-gcm, key={name})");
        encode(&mut store.chain(&chain), MESSAGE).unwrap()
    };
    for from in ["plain", "hex", "base64"] {
        for to in ["plain", "hex", "base64"] {
            let mut server = store.chain(&format!("x=aead(aes-256-gcm, key={to})"));
            assert_eq!(decode(&mut server, &sealed(from)).unwrap(), MESSAGE);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_changed_never_decodes(
        input in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        change in 1u8..,
        cipher in prop::sample::select(vec![Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305]),
        cut in any::<prop::sample::Index>(),
        more in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut wire = Wire::with(cipher, &fresh_key());
        let sealed = seal(&mut wire.client, &input);
        let mut changed = sealed.clone();
        *at.get_mut(&mut changed) ^= change;
        prop_assert!(open(&mut wire.server, &changed).is_err());
        prop_assert!(open(&mut wire.server, &sealed[..cut.index(sealed.len())]).is_err());
        prop_assert!(open(&mut wire.server, &[sealed.clone(), more].concat()).is_err());
        prop_assert_eq!(open(&mut wire.server, &sealed).unwrap(), input);
    }
}
