//! The keys of one device, as its chain asks for them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corex_codec::{DeviceId, DeviceKey, Devices, Found};

/// A device has at most three: the one before, the one it sends with, and the one that it brings.
#[derive(Default)]
pub(crate) struct Ring {
    /// Messages may still come that were sealed with it.
    pub previous: Option<Arc<DeviceKey>>,
    /// The server has said that it has it.
    pub current: Option<Arc<DeviceKey>>,
    /// The server hasn't said so yet.
    pub next: Option<Arc<DeviceKey>>,
}

impl Ring {
    /// What to send with.
    pub fn to_send(&self) -> Option<&Arc<DeviceKey>> {
        self.current.as_ref().or(self.next.as_ref())
    }
}

/// What a chain is given.
#[derive(Default)]
pub(crate) struct OwnKeys {
    ring: Mutex<Ring>,
    /// Seconds since 1970.
    now: AtomicU64,
}

impl OwnKeys {
    pub fn ring(&self) -> MutexGuard<'_, Ring> {
        // A thread that died while it held the lock left nothing half done.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_now(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }
}

impl Devices for OwnKeys {
    fn by_id(&self, id: &DeviceId, generation: u8) -> Found {
        let ring = self.ring();
        let all = [&ring.previous, &ring.current, &ring.next];
        let found = all
            .into_iter()
            .flatten()
            .find(|key| key.id() == *id && key.generation() == generation);
        found.map_or(Found::Unknown, |key| Found::Key(Arc::clone(key)))
    }

    fn by_peer(&self, _: SocketAddr, generation: Option<u8>) -> Found {
        let ring = self.ring();
        let all = [&ring.current, &ring.next, &ring.previous];
        let found = match generation {
            None => ring.to_send(),
            Some(generation) => {
                let mut all = all.into_iter().flatten();
                all.find(|key| key.generation() == generation)
            }
        };
        found.map_or(Found::Unknown, |key| Found::Key(Arc::clone(key)))
    }

    /// There is one server.
    fn seen(&self, _: &Arc<DeviceKey>, _: SocketAddr) {}

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}
