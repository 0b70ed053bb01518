//! Devices with keys of their own: what is sealed with them, and how they bring them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use corex_codec::enrol::{Answer, Enroller, Enrolment, EnrolmentKey, ServerKey, UnknownNotice};
use corex_codec::{
    Chain, ChainSpec, DeviceId, DeviceKey, Devices, Dictionary, Fault, Found, Keys, Materials,
    Secret,
};

const MAX: usize = 65_535;
/// A time at which nothing is stale.
const NOW: u64 = 0x6a00_0000;
const ID: DeviceId = DeviceId::from_bytes([7; DeviceId::LEN]);
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5060);

/// A store of one key, which is everybody's.
struct One(Arc<DeviceKey>);

impl Devices for One {
    fn by_id(&self, _: &DeviceId, _: u8) -> Found {
        Found::Key(Arc::clone(&self.0))
    }

    fn by_peer(&self, _: SocketAddr, _: Option<u8>) -> Found {
        Found::Key(Arc::clone(&self.0))
    }

    fn seen(&self, _: &Arc<DeviceKey>, _: SocketAddr) {}

    fn now(&self) -> u64 {
        NOW
    }
}

impl Materials for One {
    fn keys(&self, _: &str) -> Option<Arc<Keys>> {
        None
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        Dictionary::shipped(name)
    }

    fn devices(&self) -> Option<Arc<dyn Devices>> {
        Some(Arc::new(One(Arc::clone(&self.0))))
    }
}

fn chain(role: &str, codec: &str, key: &Arc<DeviceKey>) -> Chain {
    let spec = ChainSpec::parse(&format!("x({role})={codec}")).expect("a chain");
    Chain::new(&spec, &One(Arc::clone(key))).expect("a chain")
}

/// Messages that nobody sealed, and sealed ones that were changed; the first byte says by which
/// cipher, and what tells the device.
///
/// # Panics
/// When one is opened, or anything else that must hold of the results doesn't.
pub fn device(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let cipher = ["aes-256-gcm", "chacha20-poly1305"][usize::from(which & 1)];
    let by = ["id", "address"][usize::from(which >> 1 & 1)];
    let codec = format!("aead({cipher}, key=device, by={by})");
    // Nobody seals with the first: libFuzzer finds what is sealed here in memory, and puts it into inputs.
    let [unused, key] = [8, 7].map(|byte| Arc::new(DeviceKey::new(ID, 1, &[byte; 32], NOW + 1)));
    let mut strangers = ["server", "client"].map(|role| chain(role, &codec, &unused));
    let [mut server, mut client] = ["server", "client"].map(|role| chain(role, &codec, &key));
    let mut out = b"kept".to_vec();
    for side in &mut strangers {
        let result = side.decode_from(Some(PEER), data, &mut out, MAX);
        assert!(result.is_err());
        assert_eq!(side.stopped_at(data), data);
        assert_eq!(out, b"kept");
    }
    if let Some(notice) = UnknownNotice::about(data) {
        assert_eq!(UnknownNotice::parse(&notice.to_bytes()), Some(notice));
    }
    let mut sealed = Vec::new();
    client
        .encode_for(Some(PEER), data, &mut sealed, MAX)
        .expect("a fuzzer's inputs are short");
    let mut changed = sealed.clone();
    for (byte, change) in changed.iter_mut().zip(data) {
        *byte ^= change;
    }
    let mut opens = |message: &[u8]| {
        out.clear();
        let result = server.decode_from(Some(PEER), message, &mut out, MAX);
        result.map_err(|error| error.fault)
    };
    if changed != sealed {
        assert!(opens(&changed).is_err());
    }
    assert_eq!(opens(&sealed), Ok(()));
    assert_eq!(opens(&sealed), Err(Fault::Replayed));
}

/// 32 bytes that are shared, and a key pair; the same with others, which no enrolment is for.
struct Server {
    enroller: Enroller,
    stranger: Enroller,
    enrolment: EnrolmentKey,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let private = |last| {
        format!(
            "-----BEGIN PRIVATE KEY-----\n\
             MC4CAQAwBQYDK2VuBCIEIFBRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5{last}\n\
             -----END PRIVATE KEY-----\n"
        )
    };
    let enroller = |psk: &Secret, private: String| {
        let keys = [psk, &Secret::new(8, private.as_bytes())];
        let keys = keys.map(|secret| ServerKey::new(secret).expect("a key"));
        Enroller::new(keys.into(), 300, 60).expect("two ids")
    };
    let psk = Secret::new(7, &[7; 32]);
    Server {
        enroller: enroller(&psk, private('v')),
        stranger: enroller(&Secret::new(7, &[6; 32]), private('w')),
        enrolment: EnrolmentKey::new(&psk).expect("a key"),
    }
});

/// The time, which goes on with each input: a process remembers so many enrolments, and refuses what is as
/// old as one that it has forgotten.
fn clock() -> u64 {
    static INPUTS: AtomicU64 = AtomicU64::new(0);
    NOW + INPUTS.fetch_add(1, Ordering::Relaxed) / 1_000
}

/// Enrolments that nobody made, and those that were changed; and what a device takes for an answer.
///
/// # Panics
/// When one is opened, or anything else that must hold of the results doesn't.
pub fn enrol(data: &[u8]) {
    let Server {
        enroller,
        stranger,
        enrolment,
    } = &*SERVER;
    let now = clock();
    assert!(stranger.open(data, now).is_err());
    let key = (ID, 1, &[9; 32]);
    let made = Enrolment::new(enrolment, key, None, false, now).expect("random numbers");
    assert!(made.read_answer(data).is_err());
    let _ = UnknownNotice::parse(data);
    let mut changed = made.packet().to_vec();
    for (byte, change) in changed.iter_mut().zip(data) {
        *byte ^= change;
    }
    if changed != made.packet() {
        assert!(enroller.open(&changed, now).is_err());
    }
    let packet = [made.packet(), data].concat();
    let enrolled = enroller.open(&packet, now).expect("it is good");
    assert_eq!(enrolled.message(&packet), data);
    let answer = enrolled.answer(true).expect("there is memory");
    assert_eq!(
        made.read_answer(&answer),
        Ok(Answer::Accepted { seconds: 60 })
    );
}
