//! A server of devices, for tests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corex_codec::enrol::{Enroller, Generated, ServerKey, UnknownNotice};
use corex_codec::{
    Chain, ChainSpec, DeviceId, DeviceKey, Devices, Dictionary, Fault, Found, Keys, Materials,
    Secret,
};

const MAX: usize = 65_535;

/// What a server keeps.
#[derive(Default)]
pub struct Store {
    pub keys: Mutex<Vec<Arc<DeviceKey>>>,
    /// Where devices are.
    places: Mutex<HashMap<SocketAddr, Arc<DeviceKey>>>,
    now: AtomicU64,
}

impl Devices for Store {
    fn by_id(&self, id: &DeviceId, generation: u8) -> Found {
        let keys = self.keys.lock().unwrap();
        let is = |key: &&Arc<DeviceKey>| key.id() == *id && key.generation() == generation;
        let found = keys.iter().find(is).cloned();
        found.map_or(Found::Unknown, Found::Key)
    }

    fn by_peer(&self, peer: SocketAddr, _: Option<u8>) -> Found {
        let there = self.places.lock().unwrap().get(&peer).cloned();
        there.map_or(Found::Unknown, Found::Key)
    }

    fn seen(&self, key: &Arc<DeviceKey>, peer: SocketAddr) {
        self.places.lock().unwrap().insert(peer, Arc::clone(key));
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}

struct Handed(Arc<Store>);

impl Materials for Handed {
    fn keys(&self, _: &str) -> Option<Arc<Keys>> {
        None
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        Dictionary::shipped(name)
    }

    fn devices(&self) -> Option<Arc<dyn Devices>> {
        Some(Arc::clone(&self.0) as Arc<dyn Devices>)
    }
}

/// Enrols, decodes, answers and gives notice, as a server must.
pub struct Server {
    pub chain: Chain,
    pub store: Arc<Store>,
    enroller: Enroller,
    /// It loses all that it is sent.
    pub is_deaf: bool,
    /// What it decoded.
    pub messages: Vec<Vec<u8>>,
    /// What it has to send back.
    pub answers: Vec<Vec<u8>>,
}

impl Server {
    /// One with this chain, and its public key of X25519, whose ID is 5.
    pub fn new(codecs: &str) -> (Server, String) {
        let generated = Generated::x25519().unwrap();
        let key = ServerKey::new(&Secret::new(5, generated.private.as_bytes())).unwrap();
        let store = Arc::new(Store::default());
        let spec = ChainSpec::parse(&format!("edge={codecs}")).unwrap();
        let server = Server {
            chain: Chain::new(&spec, &Handed(Arc::clone(&store))).unwrap(),
            store,
            enroller: Enroller::new(vec![key], 300, 600).unwrap(),
            is_deaf: false,
            messages: Vec::new(),
            answers: Vec::new(),
        };
        (server, generated.public.unwrap())
    }

    /// Takes a packet of the device at this address.
    pub fn take(&mut self, peer: SocketAddr, packet: &[u8], now: Duration) {
        if self.is_deaf {
            return;
        }
        self.store.now.store(now.as_secs(), Ordering::Relaxed);
        let mut out = Vec::new();
        let decoded = self
            .chain
            .decode_from(Some(peer), packet, &mut out, MAX)
            .map_err(|error| error.fault);
        let stopped = self.chain.stopped_at(packet).to_vec();
        match decoded {
            Ok(()) => self.messages.push(out),
            Err(Fault::Enrolment) => self.enrol(peer, &stopped, now),
            Err(Fault::UnknownDevice | Fault::KeyExpired) => {
                let notice = UnknownNotice::about(&stopped).unwrap();
                self.answer(&notice.to_bytes());
            }
            Err(fault) => panic!("{fault:?}"),
        }
    }

    fn enrol(&mut self, peer: SocketAddr, packet: &[u8], now: Duration) {
        let enrolled = self.enroller.open(packet, now.as_secs()).unwrap();
        let mut keys = self.store.keys.lock().unwrap();
        let id = enrolled.key().id();
        let valid = |key: &&Arc<DeviceKey>| key.id() == id && !key.is_expired(now.as_secs());
        let mut known = keys.iter().filter(valid).peekable();
        let is_kept = known.peek().is_none() || known.any(|key| enrolled.is_proven_by(key));
        let answer = enrolled.answer(is_kept).unwrap();
        let message = enrolled.message(packet).to_vec();
        if is_kept {
            let key = Arc::new(enrolled.into_key());
            self.store.seen(&key, peer);
            keys.push(key);
        }
        drop(keys);
        self.answer(&answer);
        if is_kept && !message.is_empty() {
            let mut out = Vec::new();
            self.chain
                .decode_rest(Some(peer), &message, &mut out, MAX)
                .unwrap();
            self.messages.push(out);
        }
    }

    fn answer(&mut self, control: &[u8]) {
        let mut out = Vec::new();
        self.chain.encode_control(control, &mut out, MAX).unwrap();
        self.answers.push(out);
    }
}
