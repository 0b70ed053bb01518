use std::sync::Arc;

use data_encoding::{BASE64_MIME_PERMISSIVE, HEXLOWER};
use proptest::prelude::*;

use super::body::{BODY_LEN, NONCE_LEN};
use super::replays::Replays;
use super::*;
use crate::codec::Fault;
use crate::device::{DeviceId, DeviceKey};
use crate::keys::Secret;
use crate::testing::{command, python};

const NOW: u64 = 0x6a00_0000;
const CLOCK: u64 = 300;
const ID: &str = "0b5f3a52-6f0e-4c2e-9d0a-3a1c5e7b9d11";
/// IDs of the server's keys: shared secret, X25519, RSA.
const IDS: [u8; 3] = [7, 8, 9];

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/enrolment.md");
    std::fs::read_to_string(path).unwrap()
}

/// A vector of the document.
fn vector(name: &str) -> Vec<u8> {
    let document = document();
    let (_, after) = document.split_once(&format!("\n{name}\n")).unwrap();
    let digits = after.lines().map_while(|line| line.strip_prefix("  "));
    HEXLOWER
        .decode(digits.collect::<String>().as_bytes())
        .unwrap()
}

fn rsa_pem() -> String {
    let document = document();
    let start = document.find("-----BEGIN PRIVATE KEY-----").unwrap();
    let end = "-----END PRIVATE KEY-----\n";
    let len = document[start..].find(end).unwrap() + end.len();
    document[start..start + len].to_owned()
}

fn run(first: u8) -> [u8; 32] {
    std::array::from_fn(|at| first + at as u8)
}

fn x25519_pem() -> String {
    let der = [
        &b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20"[..],
        &run(0x20),
    ]
    .concat();
    let text = data_encoding::BASE64.encode(&der);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

fn server_keys() -> Vec<ServerKey> {
    let [psk, x25519, rsa] = IDS;
    [
        Secret::new(psk, &run(0)),
        Secret::new(x25519, x25519_pem().as_bytes()),
        Secret::new(rsa, rsa_pem().as_bytes()),
    ]
    .iter()
    .map(|secret| ServerKey::new(secret).unwrap())
    .collect()
}

/// What devices have of the three.
fn enrolment_keys() -> Vec<EnrolmentKey> {
    let server = server_keys();
    let keys = server.iter().map(|key| match key.public_pem() {
        Some(pem) => EnrolmentKey::new(&Secret::new(key.id(), pem.as_bytes())),
        None => EnrolmentKey::new(&Secret::new(key.id(), &run(0))),
    });
    keys.collect::<Result<_, _>>().unwrap()
}

/// One that remembers nothing of other tests.
fn enroller() -> Enroller {
    let replays = Arc::new(Replays::with_room(100));
    Enroller::with_replays(server_keys(), CLOCK, 3600, replays).unwrap()
}

fn id() -> DeviceId {
    ID.parse().unwrap()
}

fn enrolment(to: &EnrolmentKey, prefers_aes: bool) -> Enrolment {
    Enrolment::new(to, (id(), 3, &run(0xa0)), None, prefers_aes, NOW).unwrap()
}

/// By each method.
fn enrolments() -> Vec<Enrolment> {
    let keys = enrolment_keys();
    let aes = enrolment(&keys[1], true);
    let mut all: Vec<_> = keys.iter().map(|key| enrolment(key, false)).collect();
    all.push(aes);
    all
}

#[test]
fn enrolments_of_the_document_are_opened() {
    let before = DeviceKey::new(id(), 2, &run(0x40), u64::MAX);
    for (name, method, is_proven) in [
        ("psk", Method::Psk, false),
        ("hpke-chacha20-poly1305", Method::HpkeChaCha20Poly1305, true),
        ("hpke-aes-256-gcm", Method::HpkeAes256Gcm, true),
        ("rsa", Method::RsaOaep, false),
    ] {
        let enrolled = enroller()
            .open(&vector(&format!("{name} packet")), NOW)
            .unwrap();
        assert_eq!(enrolled.method(), method);
        assert_eq!(enrolled.key().id(), id());
        assert_eq!(enrolled.key().generation(), 3);
        assert_eq!(enrolled.key().secret(), &run(0xa0));
        assert_eq!(enrolled.key().expires(), NOW + 3600);
        assert_eq!(enrolled.is_proven_by(&before), is_proven, "{name}");
        assert_eq!(
            enrolled.answer(true).unwrap()[..],
            vector("answer accepted")
        );
        assert_eq!(enrolled.answer(false).unwrap()[..], vector("answer taken"));
        let body = vector(&format!("{name} body"));
        assert_eq!(body.len(), BODY_LEN);
    }
    let first = vector("first packet");
    let enrolled = enroller().open(&first, NOW).unwrap();
    assert_eq!(enrolled.message(&first), vector("message by-id"));
}

#[test]
fn the_documents_messages_are_those_of_the_codec() {
    use crate::testing::{Fleet, MAX, Store};
    let peer = "192.0.2.1:5060".parse().unwrap();
    let fleet = Fleet::at(NOW);
    fleet.add(DeviceKey::new(id(), 3, &run(0xa0), NOW + 60), peer);
    let mut store = Store::new();
    store.devices = Some(fleet);
    for (name, chain) in [
        ("by-id", "x=aead(chacha20-poly1305, key=device)"),
        (
            "by-address",
            "x(client)=aead(aes-256-gcm, key=device, by=address)",
        ),
    ] {
        let message = vector(&format!("message {name}"));
        let mut out = Vec::new();
        let mut chain = store.chain(chain);
        chain
            .decode_from(Some(peer), &message, &mut out, MAX)
            .unwrap();
        assert_eq!(out, b"OPTIONS sip:a SIP/2.0\r\n\r\n");
        let notice = UnknownNotice::about(&message).unwrap();
        assert_eq!(notice.to_bytes()[..], vector("notice packet"));
    }
}

/// Says why, where Python isn't there.
#[test]
fn the_documents_vectors_are_those_that_its_description_makes_elsewhere() {
    let pem = rsa_pem();
    let digits: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = BASE64_MIME_PERMISSIVE.decode(digits.as_bytes()).unwrap();
    let input = format!(
        "{}\n{}\n",
        HEXLOWER.encode(&der),
        HEXLOWER.encode(&vector("rsa packet"))
    );
    let module = "cryptography.hazmat.primitives.ciphers.aead";
    let program = include_str!("tests/description.py");
    let Some(made) = python(module, program, input.as_bytes()) else {
        return;
    };
    let made = String::from_utf8(made).unwrap();
    assert_eq!(made.lines().count(), 16);
    for line in made.lines() {
        let (name, digits) = line.rsplit_once(' ').unwrap();
        assert_eq!(HEXLOWER.encode(&vector(name)), digits, "{name}");
    }
}

#[test]
fn a_device_and_a_server_understand_each_other_by_each_method() {
    for enrolment in enrolments() {
        let server = enroller();
        let message = [enrolment.packet(), b"and more"].concat();
        assert_eq!(server.check(&message), Ok(()));
        let enrolled = server.open(&message, NOW + CLOCK).unwrap();
        assert_eq!(enrolled.message(&message), b"and more");
        assert_eq!(enrolled.key().secret(), &run(0xa0));
        let accepted = enrolled.answer(true).unwrap();
        let seconds = 3600;
        assert_eq!(
            enrolment.read_answer(&accepted),
            Ok(Answer::Accepted { seconds })
        );
        let taken = enrolled.answer(false).unwrap();
        assert_eq!(enrolment.read_answer(&taken), Ok(Answer::Taken));
        assert!(enrolment.packet().len() > ANSWER_LEN);
        assert!(vector("message by-address").len() > NOTICE_LEN);
    }
}

#[test]
fn nothing_is_opened_twice_and_nothing_that_is_old() {
    for enrolment in enrolments() {
        let server = enroller();
        let open = |now| server.open(enrolment.packet(), now).map(|_| ());
        assert_eq!(open(NOW + CLOCK + 1), Err(Fault::Stale));
        assert_eq!(open(NOW - CLOCK - 1), Err(Fault::Stale));
        assert_eq!(open(NOW), Ok(()));
        assert_eq!(open(NOW), Err(Fault::Replayed));
        assert_eq!(open(NOW + CLOCK), Err(Fault::Replayed));
    }
}

#[test]
fn a_repetition_is_another_packet_with_the_same_key() {
    let keys = enrolment_keys();
    let (one, two) = (enrolment(&keys[1], false), enrolment(&keys[1], false));
    let server = enroller();
    let first = server.open(one.packet(), NOW).unwrap();
    let second = server.open(two.packet(), NOW).unwrap();
    assert!(second.is_proven_by(first.key()), "it is the same key");
    let answer = first.answer(true).unwrap();
    assert_eq!(two.read_answer(&answer), Err(Fault::Stale));
}

#[test]
fn only_who_has_the_devices_key_takes_its_place() {
    let [to, ..] = &enrolment_keys()[..] else {
        panic!("there are three");
    };
    let current = DeviceKey::new(id(), 2, &run(0x40), u64::MAX);
    let stranger = DeviceKey::new(id(), 2, &run(0x41), u64::MAX);
    for (proven_by, is_proven) in [
        (None, false),
        (Some(&stranger), false),
        (Some(&current), true),
    ] {
        let made = Enrolment::new(to, (id(), 3, &run(0xa0)), proven_by, false, NOW).unwrap();
        let enrolled = enroller().open(made.packet(), NOW).unwrap();
        assert_eq!(enrolled.is_proven_by(&current), is_proven);
    }
}

#[test]
fn what_is_no_enrolment_is_told_apart() {
    let server = enroller();
    let packet = enrolments()[1].packet().to_vec();
    for (at, value, fault) in [
        (0, 0xc4, Fault::UnknownVersion(0xc4)),
        (1, 0, Fault::Malformed),
        (1, 5, Fault::Malformed),
        (1, 1, Fault::UnknownKey(8)),
        (2, 5, Fault::UnknownKey(5)),
        (3, 1, Fault::Malformed),
        (4, 154, Fault::Malformed),
    ] {
        let mut wrong = packet.clone();
        wrong[at] = value;
        assert_eq!(
            server.open(&wrong, NOW).unwrap_err(),
            fault,
            "{at}: {value}"
        );
    }
    assert_eq!(server.check(&[]), Err(Fault::Malformed));
    for len in 1..packet.len() {
        assert_eq!(server.check(&packet[..len]), Err(Fault::Malformed));
    }
    let mut keys = server_keys();
    keys.extend(server_keys());
    assert!(Enroller::new(keys, CLOCK, 60).is_none(), "ids are unique");
}

#[test]
fn what_is_remembered_is_bounded_and_the_forgotten_is_stale() {
    let replays = Replays::with_room(100);
    let nonce = |number: u64| -> [u8; NONCE_LEN] { u128::from(number).to_be_bytes() };
    for number in 0..1000 {
        replays.take(&nonce(number), 1000 + number, 0).unwrap();
        assert!(replays.len() <= 100);
    }
    for number in 0..1000 {
        let again = replays.take(&nonce(number), 1000 + number, 0);
        assert!(matches!(again, Err(Fault::Replayed | Fault::Stale)));
    }
    // What is refused anyway makes room first.
    let replays = Replays::with_room(100);
    for number in 0..100 {
        replays.take(&nonce(number), 1 + number, 0).unwrap();
    }
    replays.take(&nonce(100), 101, 51).unwrap();
    assert_eq!(replays.len(), 51);
}

#[test]
fn keys_are_read_as_openssl_writes_them_and_mistakes_are_named() {
    let read = |text: &str| ServerKey::new(&Secret::new(1, text.as_bytes()));
    let read_public = |text: &str| EnrolmentKey::new(&Secret::new(1, text.as_bytes()));
    assert!(format!("{:?}", read(&x25519_pem()).unwrap()).contains("X25519, …"));
    assert_eq!(
        read("too short").unwrap_err(),
        EnrolmentKeyError::NoServerKey
    );
    assert_eq!(
        read_public("too short").unwrap_err(),
        EnrolmentKeyError::NoClientKey
    );
    let public = read(&x25519_pem()).unwrap().public_pem().unwrap();
    assert_eq!(read(&public).unwrap_err(), EnrolmentKeyError::Public);
    assert_eq!(
        read_public(&x25519_pem()).unwrap_err(),
        EnrolmentKeyError::Private
    );
    let empty = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(read(empty).unwrap_err(), EnrolmentKeyError::Kind);
    let generated = Generated::x25519().unwrap();
    let public = read(&generated.private).unwrap().public_pem();
    assert_eq!(public, generated.public);
    assert_eq!(format!("{generated:?}"), "Generated(…)");
    assert!(read(&Generated::psk().unwrap().private).is_ok());
    let openssl = |arguments: &[&str], input: &str| {
        let made = command("openssl", arguments, input.as_bytes())?;
        Some(String::from_utf8(made).unwrap())
    };
    let Some(private) = openssl(&["genpkey", "-algorithm", "X25519"], "") else {
        eprintln!("no openssl command here: not compared with it");
        return;
    };
    for private in [private, rsa_pem(), generated.private.to_string()] {
        let theirs = openssl(&["pkey", "-pubout"], &private).unwrap();
        assert_eq!(read(&private).unwrap().public_pem().unwrap(), theirs);
        assert!(read_public(&theirs).is_ok());
    }
    let ed25519 = openssl(&["genpkey", "-algorithm", "ED25519"], "").unwrap();
    assert_eq!(read(&ed25519).unwrap_err(), EnrolmentKeyError::Kind);
    let short = [
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:1024",
    ];
    let short = openssl(&short, "").unwrap();
    assert_eq!(read(&short).unwrap_err(), EnrolmentKeyError::Kind);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_changed_is_never_opened(
        which in 0usize..4,
        at in any::<prop::sample::Index>(),
        change in 1u8..,
        cut in any::<prop::sample::Index>(),
    ) {
        let packet = enrolments()[which].packet().to_vec();
        let server = enroller();
        let mut changed = packet.clone();
        *at.get_mut(&mut changed) ^= change;
        prop_assert!(server.open(&changed, NOW).is_err());
        prop_assert!(server.open(&packet[..cut.index(packet.len())], NOW).is_err());
        prop_assert!(server.open(&packet, NOW).is_ok());
    }

    #[test]
    fn answers_that_were_changed_are_refused(
        at in any::<prop::sample::Index>(),
        change in 1u8..,
        noise in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let enrolment = &enrolments()[0];
        let enrolled = enroller().open(enrolment.packet(), NOW).unwrap();
        let mut answer = enrolled.answer(true).unwrap();
        *at.get_mut(&mut answer[..]) ^= change;
        prop_assert!(enrolment.read_answer(&answer).is_err());
        prop_assert!(enrolment.read_answer(&noise).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        method in 0u8..6,
        key in prop::sample::select(vec![7u8, 8, 9, 10]),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let server = enroller();
        for len in [rest.len(), 139, 155, 256] {
            let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
            let mut packet = vec![0xc3, method, key, high, low];
            packet.extend_from_slice(&rest);
            prop_assert!(server.open(&packet, NOW).is_err());
            packet.resize(5 + len, 0);
            prop_assert!(server.open(&packet, NOW).is_err());
        }
        let _ = UnknownNotice::parse(&rest);
        let _ = UnknownNotice::about(&rest);
    }
}
