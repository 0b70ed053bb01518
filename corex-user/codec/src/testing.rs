//! What tests of several codecs share.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::keys::Secret;
use crate::{
    Chain, ChainSpec, CodecError, DeviceId, DeviceKey, Devices, Dictionary, Found, Keys, Materials,
};

pub const MAX: usize = 65_535;

pub const MESSAGE: &[u8] = b"OPTIONS sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\n\
    Via: SIP/2.0/UDP b.example.com;branch=z9hG4bK2\r\n\
    From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n\
    Call-ID: 1@example.com\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// A table of the library's, of the characters from 32 to 125, as its dump_table() writes it.
pub const ITV_TABLE: &[u8] = b"8%F*cF\"!U.Z4m]E3$Z#=f 1&L1<jo't$xh2(O8n9wEywq-@qrN'2*oP#SG\\6_IdMRdH:CH5;VD\
&0IxM@B<->vP3RpB?pK\"gJ=ST5iTDK7+>7aQ9A4\\QU;VY/]WuO0XWY.,[[eC6_Na c^ekfsk|s%|Gg`){`JilLjl!m+n/rbt(}XuAv:?\
)^,y}zh{zb";

/// Keys and dictionaries by name.
#[derive(Default)]
pub struct Store {
    pub keys: HashMap<&'static str, Arc<Keys>>,
    pub dictionaries: HashMap<&'static str, Vec<Arc<Dictionary>>>,
    pub devices: Option<Arc<Fleet>>,
}

impl Store {
    /// With the keys `edge` (7), `phone` (an ITV table) and `mask` (any bytes).
    pub fn new() -> Store {
        let mut store = Store::default();
        store.add_key("edge", vec![Secret::new(7, &[7; 32])]);
        store.add_key("phone", vec![Secret::new(1, ITV_TABLE)]);
        store.add_key("mask", vec![Secret::new(1, b"mask\n")]);
        store
    }

    pub fn add_key(&mut self, name: &'static str, secrets: Vec<Secret>) {
        self.keys
            .insert(name, Arc::new(Keys::new(secrets).unwrap()));
    }

    pub fn chain(&self, text: &str) -> Chain {
        Chain::new(&ChainSpec::parse(text).unwrap(), self).unwrap()
    }

    /// Both sides of a wire.
    pub fn pair(&self, codecs: &str) -> Pair {
        Pair {
            server: self.chain(&format!("test(server)={codecs}")),
            client: self.chain(&format!("test(client)={codecs}")),
        }
    }
}

impl Materials for Store {
    fn keys(&self, name: &str) -> Option<Arc<Keys>> {
        self.keys.get(name).cloned()
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        let own = self.dictionaries.get(name).cloned();
        own.or_else(|| Dictionary::shipped(name))
    }

    fn devices(&self) -> Option<Arc<dyn Devices>> {
        let fleet = self.devices.clone();
        fleet.map(|fleet| fleet as Arc<dyn Devices>)
    }
}

/// A store of devices' keys, with a clock of its own.
#[derive(Default)]
pub struct Fleet {
    pub keys: Mutex<Vec<Arc<DeviceKey>>>,
    /// Where they were seen last.
    pub places: Mutex<HashMap<SocketAddr, Arc<DeviceKey>>>,
    /// Answers that it has to ask first.
    pub is_slow: AtomicBool,
    pub now: AtomicU64,
}

impl Fleet {
    pub fn at(now: u64) -> Arc<Fleet> {
        let fleet = Fleet::default();
        fleet.now.store(now, Ordering::Relaxed);
        Arc::new(fleet)
    }

    pub fn add(&self, key: DeviceKey, peer: SocketAddr) -> Arc<DeviceKey> {
        let key = Arc::new(key);
        self.keys.lock().unwrap().push(Arc::clone(&key));
        self.seen(&key, peer);
        key
    }

    fn found(&self, key: Option<Arc<DeviceKey>>) -> Found {
        match key {
            _ if self.is_slow.load(Ordering::Relaxed) => Found::Pending,
            Some(key) => Found::Key(key),
            None => Found::Unknown,
        }
    }
}

impl Devices for Fleet {
    fn by_id(&self, id: &DeviceId, generation: u8) -> Found {
        let keys = self.keys.lock().unwrap();
        let is = |key: &&Arc<DeviceKey>| key.id() == *id && key.generation() == generation;
        self.found(keys.iter().find(is).cloned())
    }

    fn by_peer(&self, peer: SocketAddr, generation: Option<u8>) -> Found {
        let known = self.places.lock().unwrap().get(&peer).cloned();
        match (known, generation) {
            (Some(key), Some(generation)) => self.by_id(&key.id(), generation),
            (known, _) => self.found(known),
        }
    }

    fn seen(&self, key: &Arc<DeviceKey>, peer: SocketAddr) {
        self.places.lock().unwrap().insert(peer, Arc::clone(key));
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}

pub struct Pair {
    pub server: Chain,
    pub client: Chain,
}

impl Pair {
    pub fn up(&mut self, input: &[u8]) -> Vec<u8> {
        encode(&mut self.client, input).unwrap()
    }

    pub fn down(&mut self, input: &[u8]) -> Vec<u8> {
        encode(&mut self.server, input).unwrap()
    }
}

pub fn encode(chain: &mut Chain, input: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    chain.encode(input, &mut out, MAX)?;
    Ok(out)
}

pub fn decode(chain: &mut Chain, input: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    chain.decode(input, &mut out, MAX)?;
    Ok(out)
}

/// Chains of one codec that does without arguments, with their names.
pub fn bare() -> impl Iterator<Item = (&'static str, Chain)> {
    crate::CODECS
        .iter()
        .filter(|codec| codec.is_bare)
        .map(|codec| {
            let chain = Store::default().chain(&format!("bare-{0}={0}", codec.name));
            (codec.name, chain)
        })
}

/// What a command makes of its input; `None` where there is no such command.
pub fn command(name: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}");
    Some(output.stdout)
}

/// What a program in Python makes of its input; `None` where there is no Python, or it lacks a
/// module.
pub fn python(modules: &str, program: &str, input: &[u8]) -> Option<Vec<u8>> {
    let probe = Command::new("python3")
        .args(["-c", &format!("import {modules}")])
        .stderr(Stdio::null())
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("no Python with {modules} here: not compared with it");
        return None;
    }
    command("python3", &["-c", program], input)
}
