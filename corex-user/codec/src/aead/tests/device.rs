//! Messages sealed with a device's key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::fresh_key;
use crate::codec::{CodecError, Fault};
use crate::device::{DeviceId, DeviceKey, MAX_DEVICE_SESSIONS};
use crate::enrol::UnknownNotice;
use crate::testing::{Fleet, MAX, MESSAGE, Store};
use crate::{Chain, ChainSpec};

const NOW: u64 = 1_800_000_000;
const CHAINS: [&str; 4] = [
    "aead(chacha20-poly1305, key=device)",
    "aead(aes-256-gcm, key=device)",
    "aead(chacha20-poly1305, key=device, by=address)",
    "zstd(sip) | aead(aes-256-gcm, key=device) | http(post, host=cdn.example.org)",
];

fn phone() -> SocketAddr {
    "198.51.100.7:40000".parse().unwrap()
}

fn server() -> SocketAddr {
    "192.0.2.1:5060".parse().unwrap()
}

/// A device, and a server that knows it.
struct Wire {
    client: Chain,
    server: Chain,
    own: Arc<Fleet>,
    known: Arc<Fleet>,
    id: DeviceId,
    key: [u8; 32],
}

fn chain(text: &str, fleet: &Arc<Fleet>) -> Chain {
    let mut store = Store::new();
    store.devices = Some(Arc::clone(fleet));
    store.chain(text)
}

impl Wire {
    fn new(codecs: &str) -> Wire {
        let (own, known) = (Fleet::at(NOW), Fleet::at(NOW));
        let wire = Wire {
            client: chain(&format!("x(client)={codecs}"), &own),
            server: chain(&format!("x={codecs}"), &known),
            own,
            known,
            id: DeviceId::random().unwrap(),
            key: fresh_key(),
        };
        wire.own.add(wire.made(1), server());
        wire.known.add(wire.made(1), phone());
        wire
    }

    fn made(&self, generation: u8) -> DeviceKey {
        let mut key = self.key;
        key[31] = generation;
        DeviceKey::new(self.id, generation, &key, NOW + 3600)
    }

    fn up(&mut self) -> Vec<u8> {
        encode(&mut self.client, server(), MESSAGE).unwrap()
    }

    fn sleep(&self, seconds: u64) {
        for fleet in [&self.own, &self.known] {
            fleet.now.fetch_add(seconds, Ordering::Relaxed);
        }
    }
}

fn encode(chain: &mut Chain, peer: SocketAddr, input: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    chain.encode_for(Some(peer), input, &mut out, MAX)?;
    Ok(out)
}

fn open(chain: &mut Chain, peer: SocketAddr, input: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let result = chain.decode_from(Some(peer), input, &mut out, MAX);
    result.map_err(|error| error.fault)?;
    Ok(out)
}

#[test]
fn messages_pass_in_both_directions_and_once() {
    for codecs in CHAINS {
        let mut wire = Wire::new(codecs);
        let up = wire.up();
        assert_eq!(open(&mut wire.server, phone(), &up).unwrap(), MESSAGE);
        assert_eq!(
            open(&mut wire.server, phone(), &up),
            Err(Fault::Replayed),
            "{codecs}"
        );
        let down = encode(&mut wire.server, phone(), MESSAGE).unwrap();
        assert_eq!(open(&mut wire.client, server(), &down).unwrap(), MESSAGE);
        assert_ne!(up, down);
    }
}

#[test]
fn a_message_is_longer_by_its_head_and_what_proves_it() {
    for (codecs, more) in [(CHAINS[0], 48), (CHAINS[2], 32)] {
        let mut wire = Wire::new(codecs);
        assert_eq!(wire.up().len(), MESSAGE.len() + more);
    }
}

#[test]
fn a_device_that_names_itself_may_move_and_is_answered_where_it_is() {
    let moved: SocketAddr = "203.0.113.9:1024".parse().unwrap();
    let mut wire = Wire::new(CHAINS[0]);
    let (first, second) = (wire.up(), wire.up());
    assert!(encode(&mut wire.server, moved, MESSAGE).is_err());
    assert!(open(&mut wire.server, moved, &second).is_ok());
    let down = encode(&mut wire.server, moved, MESSAGE).unwrap();
    assert_eq!(open(&mut wire.client, server(), &down).unwrap(), MESSAGE);
    // What is older than what was received says nothing of where the device is now.
    let elsewhere: SocketAddr = "203.0.113.10:1".parse().unwrap();
    assert!(open(&mut wire.server, elsewhere, &first).is_ok());
    assert!(encode(&mut wire.server, elsewhere, MESSAGE).is_err());
}

#[test]
fn without_an_id_the_address_tells_the_device() {
    let mut wire = Wire::new(CHAINS[2]);
    let up = wire.up();
    let elsewhere = "203.0.113.9:1024".parse().unwrap();
    assert_eq!(
        open(&mut wire.server, elsewhere, &up),
        Err(Fault::UnknownDevice)
    );
    assert_eq!(open(&mut wire.server, phone(), &up).unwrap(), MESSAGE);
}

#[test]
fn unknown_pending_and_expired_keys_are_told_apart() {
    for codecs in CHAINS {
        let mut wire = Wire::new(codecs);
        let up = wire.up();
        let known = std::mem::take(&mut *wire.known.keys.lock().unwrap());
        let places = std::mem::take(&mut *wire.known.places.lock().unwrap());
        let unknown = Err(Fault::UnknownDevice);
        assert_eq!(open(&mut wire.server, phone(), &up), unknown);
        let error = encode(&mut wire.server, phone(), MESSAGE).unwrap_err();
        assert_eq!(error.fault, Fault::UnknownDevice);
        wire.known.is_slow.store(true, Ordering::Relaxed);
        if !codecs.contains("address") {
            let pending = Err(Fault::KeyPending);
            assert_eq!(open(&mut wire.server, phone(), &up), pending);
            assert_eq!(open(&mut wire.server, phone(), &up), pending);
        }
        let error = encode(&mut wire.server, phone(), MESSAGE).unwrap_err();
        assert_eq!(error.fault, Fault::KeyPending);
        // The same message passes once the key is there.
        wire.known.is_slow.store(false, Ordering::Relaxed);
        *wire.known.keys.lock().unwrap() = known;
        *wire.known.places.lock().unwrap() = places;
        assert_eq!(open(&mut wire.server, phone(), &up).unwrap(), MESSAGE);
        wire.sleep(3599);
        let late = wire.up();
        assert!(open(&mut wire.server, phone(), &late).is_ok());
        let late = wire.up();
        wire.sleep(1);
        let expired = Err(Fault::KeyExpired);
        assert_eq!(open(&mut wire.server, phone(), &late), expired);
        assert_eq!(
            encode(&mut wire.client, server(), MESSAGE)
                .unwrap_err()
                .fault,
            Fault::KeyExpired
        );
    }
}

#[test]
fn two_keys_of_a_device_are_valid_at_a_time() {
    let mut wire = Wire::new(CHAINS[0]);
    let before = wire.up();
    let next = wire.own.add(wire.made(2), server());
    assert_eq!(next.generation(), 2);
    let after = wire.up();
    assert_eq!(
        open(&mut wire.server, phone(), &after),
        Err(Fault::UnknownDevice)
    );
    wire.known.add(wire.made(2), phone());
    assert!(open(&mut wire.server, phone(), &after).is_ok());
    assert!(open(&mut wire.server, phone(), &before).is_ok());
}

#[test]
fn what_was_received_is_remembered_beyond_the_key_and_by_other_workers() {
    let mut wire = Wire::new(CHAINS[0]);
    let up = wire.up();
    assert!(open(&mut wire.server, phone(), &up).is_ok());
    // The store forgets it and reads it again.
    wire.known.keys.lock().unwrap().clear();
    wire.known.places.lock().unwrap().clear();
    wire.known.add(wire.made(1), phone());
    assert_eq!(open(&mut wire.server, phone(), &up), Err(Fault::Replayed));
    let mut worker = chain(&format!("x={}", CHAINS[0]), &wire.known);
    assert_eq!(open(&mut worker, phone(), &up), Err(Fault::Replayed));
    // What it sends goes on in the same session, and no number comes twice.
    let first = encode(&mut worker, phone(), b"x").unwrap();
    let second = encode(&mut wire.server, phone(), b"x").unwrap();
    assert_eq!(first[18..28], second[18..28]);
    assert_ne!(first[28..32], second[28..32]);
}

#[test]
fn a_device_that_draws_many_sessions_makes_its_own_old_ones_stale() {
    let mut wire = Wire::new(CHAINS[0]);
    let mut all = Vec::new();
    for _ in 0..3 * MAX_DEVICE_SESSIONS {
        // Its clock was set back: the next message begins a session.
        wire.sleep(300);
        wire.known.now.store(NOW, Ordering::Relaxed);
        wire.own.now.fetch_sub(299, Ordering::Relaxed);
        all.push(wire.up());
        wire.own.now.fetch_sub(1, Ordering::Relaxed);
        all.push(wire.up());
    }
    let key = Arc::clone(&wire.known.keys.lock().unwrap()[0]);
    for message in &all {
        let _ = open(&mut wire.server, phone(), message);
        assert!(key.sessions().len() <= MAX_DEVICE_SESSIONS);
    }
    for message in &all {
        let again = open(&mut wire.server, phone(), message);
        assert!(matches!(again, Err(Fault::Replayed | Fault::Stale)));
    }
}

#[test]
fn a_chain_with_the_devices_key_needs_a_keystore_and_only_one_codec_has_it() {
    let text = format!("x={}", CHAINS[0]);
    let spec = ChainSpec::parse(&text).unwrap();
    assert!(spec.is_by_device());
    let mistake = Chain::new(&spec, &Store::new()).unwrap_err();
    assert_eq!(&text[mistake.at.clone()], "device");
    assert!(mistake.what.contains("no keystore"), "{mistake}");
    assert!(mistake.help.contains("\"keystore\""), "{mistake}");
    let twice = format!("x={} | hex | {0}", CHAINS[0]);
    let mistake = ChainSpec::parse(&twice).unwrap_err();
    assert!(mistake.what.contains("two codecs"), "{mistake}");
    let by = ChainSpec::parse("x=aead(aes-256-gcm, key=device, by=name)").unwrap_err();
    assert!(by.what.contains("`name`"), "{by}");
    let by = ChainSpec::parse("x=aead(aes-256-gcm, key=edge, by=id)").unwrap_err();
    assert!(by.what.contains("`by`"), "{by}");
}

#[test]
fn control_packets_pass_the_codecs_behind_the_devices() {
    for codecs in CHAINS {
        let mut wire = Wire::new(codecs);
        let mut sent = Vec::new();
        let packet = b"\xc3 an enrolment";
        wire.client.encode_control(packet, &mut sent, MAX).unwrap();
        let result = open(&mut wire.server, phone(), &sent);
        assert_eq!(result, Err(Fault::Enrolment), "{codecs}");
        assert_eq!(wire.server.stopped_at(&sent), packet);
        let mut answer = Vec::new();
        let packet = b"\xc4 an answer";
        wire.server
            .encode_control(packet, &mut answer, MAX)
            .unwrap();
        let result = open(&mut wire.client, server(), &answer);
        assert_eq!(result, Err(Fault::Enrolment), "{codecs}");
        assert_eq!(wire.client.stopped_at(&answer), packet);
        // A notice is about what a device sent, and a stranger can't guess it.
        let up = wire.up();
        wire.known.keys.lock().unwrap().clear();
        wire.known.places.lock().unwrap().clear();
        let result = open(&mut wire.server, phone(), &up);
        assert_eq!(result, Err(Fault::UnknownDevice));
        let notice = UnknownNotice::about(wire.server.stopped_at(&up)).unwrap();
        let bytes = notice.to_bytes();
        assert_eq!(UnknownNotice::parse(&bytes), Some(notice));
        assert!(notice.is_about(&wire.own.keys.lock().unwrap()[0]));
        wire.known.add(wire.made(1), phone());
        let mut guessed = bytes;
        guessed[8] ^= 1;
        let guessed = UnknownNotice::parse(&guessed).unwrap();
        assert!(!guessed.is_about(&wire.own.keys.lock().unwrap()[0]));
        assert!(UnknownNotice::parse(&bytes[1..]).is_none());
        // Neither is what the other side takes.
        let mut back = Vec::new();
        wire.client.encode_control(packet, &mut back, MAX).unwrap();
        let result = open(&mut wire.server, phone(), &back);
        assert_eq!(result, Err(Fault::UnknownVersion(0xc4)));
        // A message may go along with an enrolment.
        let mut sealed = Vec::new();
        let peer = Some(server());
        wire.client
            .encode_rest(peer, MESSAGE, &mut sealed, MAX)
            .unwrap();
        let mut out = Vec::new();
        let rest = wire
            .server
            .decode_rest(Some(phone()), &sealed, &mut out, MAX);
        assert_eq!((rest, &out[..]), (Ok(()), MESSAGE), "{codecs}");
        // What it stopped at may be decoded later.
        let up = wire.up();
        wire.known.is_slow.store(true, Ordering::Relaxed);
        assert!(open(&mut wire.server, phone(), &up).is_err());
        let held = wire.server.stopped_at(&up).to_vec();
        wire.known.is_slow.store(false, Ordering::Relaxed);
        let mut out = Vec::new();
        let rest = wire.server.decode_rest(Some(phone()), &held, &mut out, MAX);
        assert_eq!((rest, &out[..]), (Ok(()), MESSAGE), "{codecs}");
    }
}

#[test]
fn ids_are_read_and_written_as_rfc_9562_has_them() {
    let text = "0b5f3a52-6f0e-4c2e-9d0a-3a1c5e7b9d11";
    let id: DeviceId = text.parse().unwrap();
    assert_eq!(id.to_string(), text);
    assert_eq!(id, text.to_uppercase().parse().unwrap());
    assert_eq!(id.as_bytes()[..4], [0x0b, 0x5f, 0x3a, 0x52]);
    let random = DeviceId::random().unwrap().to_string();
    assert_eq!(&random[14..15], "4");
    assert!(matches!(&random[19..20], "8" | "9" | "a" | "b"));
    for wrong in [
        "",
        "0b5f3a526f0e4c2e9d0a3a1c5e7b9d11",
        &text[1..],
        &format!("{text}-"),
        &text.replace('b', "g"),
    ] {
        assert!(wrong.parse::<DeviceId>().is_err(), "{wrong}");
    }
    let key = DeviceKey::new(id, 1, &[9; 32], 5);
    assert_eq!(
        format!("{key:?}"),
        format!("DeviceKey({text}, 1, until 5, …)")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_changed_never_decodes(
        at in any::<prop::sample::Index>(),
        change in 1u8..,
        codecs in prop::sample::select(CHAINS[..3].to_vec()),
        cut in any::<prop::sample::Index>(),
        more in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut wire = Wire::new(codecs);
        let sealed = wire.up();
        let mut changed = sealed.clone();
        *at.get_mut(&mut changed) ^= change;
        prop_assert!(open(&mut wire.server, phone(), &changed).is_err());
        let cut = &sealed[..cut.index(sealed.len())];
        prop_assert!(open(&mut wire.server, phone(), cut).is_err());
        prop_assert!(open(&mut wire.server, phone(), &[sealed.clone(), more].concat()).is_err());
        // It came towards the server: a client refuses it.
        prop_assert!(open(&mut wire.client, server(), &sealed).is_err());
        prop_assert_eq!(open(&mut wire.server, phone(), &sealed).unwrap(), MESSAGE);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        first in prop::sample::select(vec![0xc1u8, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6]),
        rest in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        for codecs in CHAINS {
            let mut wire = Wire::new(codecs);
            let input = [vec![first], rest.clone()].concat();
            prop_assert!(open(&mut wire.server, phone(), &input).is_err());
            prop_assert!(open(&mut wire.client, server(), &input).is_err());
        }
    }
}
