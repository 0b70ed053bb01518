//! Keys of devices for captures: from a file, and from enrolments on the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use corex_codec::{DeviceId, DeviceKey, Devices, Found, Secret};

/// The most keys that are kept; beyond that the oldest go.
pub const MAX_KEYS: usize = 10_000;

/// Whom messages of captures are from: chains want an address where they tell devices by it.
pub(super) const SOMEBODY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The keys that are known.
#[derive(Default)]
pub(super) struct Captured {
    keys: Mutex<Vec<Arc<DeviceKey>>>,
    /// Which of them is tried where the message doesn't say.
    candidate: AtomicUsize,
}

impl Captured {
    /// Adds those of a file: lines `UUID=[GENERATION:]KEY`, the key in hexadecimal digits or in
    /// base64; without a generation it is 1. What follows a `#` at a line's start is a remark.
    pub fn read(&self, text: &[u8]) -> anyhow::Result<()> {
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let key = read_line(line).with_context(|| format!("line {number}"))?;
            self.add(key);
        }
        if self.keys().is_empty() {
            bail!("it has no lines UUID=[GENERATION:]KEY");
        }
        Ok(())
    }

    /// Adds one, instead of that of the same device and generation.
    pub fn add(&self, key: DeviceKey) {
        let mut keys = self.keys();
        keys.retain(|known| (known.id(), known.generation()) != (key.id(), key.generation()));
        if keys.len() >= MAX_KEYS {
            keys.remove(0);
        }
        keys.push(Arc::new(key));
    }

    /// So many are known.
    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Has this one tried where the message doesn't say.
    pub fn try_number(&self, number: usize) {
        self.candidate.store(number, Ordering::Relaxed);
    }

    fn keys(&self) -> MutexGuard<'_, Vec<Arc<DeviceKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_line(line: &[u8]) -> anyhow::Result<DeviceKey> {
    let at = line.iter().position(|byte| *byte == b'=');
    let (id, rest) = line.split_at(at.context("expected UUID=[GENERATION:]KEY")?);
    let id: DeviceId = str::from_utf8(id.trim_ascii())?.parse()?;
    let rest = rest.strip_prefix(b"=").unwrap_or_default();
    let (generation, key) = match rest.iter().position(|byte| *byte == b':') {
        Some(at) => {
            let (generation, key) = rest.split_at(at);
            let generation = str::from_utf8(generation.trim_ascii())?.parse();
            let generation = generation.context("a generation is a number from 0 to 255")?;
            (generation, key.strip_prefix(b":").unwrap_or_default())
        }
        None => (1, rest),
    };
    let key = Secret::new(generation, key.trim_ascii()).of_32_bytes();
    let key = key.context("a key is 32 bytes in hexadecimal digits or in base64")?;
    Ok(DeviceKey::new(id, generation, &key, u64::MAX))
}

impl Devices for Captured {
    fn by_id(&self, id: &DeviceId, generation: u8) -> Found {
        let keys = self.keys();
        let mut known = keys.iter();
        match known.find(|key| key.id() == *id && key.generation() == generation) {
            Some(key) => Found::Key(Arc::clone(key)),
            None => Found::Unknown,
        }
    }

    fn by_peer(&self, _: SocketAddr, generation: Option<u8>) -> Found {
        let keys = self.keys();
        let mut fitting = keys
            .iter()
            .filter(|key| generation.is_none_or(|generation| key.generation() == generation));
        match fitting.nth(self.candidate.load(Ordering::Relaxed)) {
            Some(key) => Found::Key(Arc::clone(key)),
            None => Found::Unknown,
        }
    }

    fn seen(&self, _: &Arc<DeviceKey>, _: SocketAddr) {}

    fn judges_age(&self) -> bool {
        false
    }
}
