//! What the service goes by: what a configuration says of keystores and enrolment, with its secrets.

use std::path::PathBuf;
use std::sync::Arc;

use corex_codec::enrol::Enroller;
use corex_script::limiter::SharedLimiter;
use zeroize::Zeroizing;

use super::place::{ServerPlace, StorePlace};
use super::record::Records;
use super::store::SharedStore;
use crate::telemetry::key_counters::KeyCounters;

/// What a configuration says, with the secrets that it names, read.
pub struct KeyMaterial {
    /// Where keys are.
    pub place: StorePlace,
    /// The store's password, where it isn't in the place.
    pub password: Option<Zeroizing<String>>,
    /// The authorities that certificates are verified by, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The keys that entries of a store are sealed with, and their ids; the first seals.
    pub seals: Vec<(u8, Zeroizing<[u8; 32]>)>,
    /// The most sessions that this process knows.
    pub max_sessions: u32,
    /// Enrolments of one source that are looked at each second.
    pub enrol_rate: u32,
    /// Opens enrolments; `None`: there is no key for that.
    pub enroller: Option<Arc<Enroller>>,
    /// Whether a chain asks for keys of devices at all.
    pub is_used: bool,
}

impl Default for KeyMaterial {
    fn default() -> KeyMaterial {
        KeyMaterial {
            place: StorePlace::Memory,
            password: None,
            ca: None,
            seals: Vec::new(),
            max_sessions: 1,
            enrol_rate: 1,
            enroller: None,
            is_used: false,
        }
    }
}

impl KeyMaterial {
    /// Whether devices can enrol here, or with an instance that shares a keystore.
    pub fn can_have_devices(&self) -> bool {
        self.place != StorePlace::Memory || self.enroller.is_some()
    }
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyMaterial({:?}, …)", self.place)
    }
}

/// That material, at work.
#[derive(Debug)]
pub struct Policy {
    pub(super) material: Arc<KeyMaterial>,
    /// The store, where there is one beside this process's memory.
    pub(super) store: Option<Arc<SharedStore>>,
    pub(super) records: Records,
    pub(super) log: SharedLimiter,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            material: Arc::default(),
            store: None,
            records: Records::new(&[]),
            log: SharedLimiter::default(),
        }
    }
}

impl Policy {
    /// That of a configuration; `before`: the one that it follows, whose store it goes on with where
    /// that is the same.
    ///
    /// # Errors
    /// When there are no authorities for TLS.
    pub fn new(
        material: Arc<KeyMaterial>,
        before: Option<&Policy>,
        counters: &Arc<KeyCounters>,
    ) -> std::io::Result<Policy> {
        let same = |before: &&Policy| {
            let before = &before.material;
            before.place == material.place
                && before.password == material.password
                && before.ca == material.ca
        };
        let store = match (&material.place, before.filter(same)) {
            (StorePlace::Memory, _) => None,
            (_, Some(before)) if before.store.is_some() => before.store.clone(),
            (StorePlace::Server(place), _) => Some(Arc::new(store(place, &material, counters)?)),
        };
        Ok(Policy {
            store,
            records: Records::new(&material.seals),
            material,
            log: SharedLimiter::default(),
        })
    }
}

fn store(
    place: &ServerPlace,
    material: &KeyMaterial,
    counters: &Arc<KeyCounters>,
) -> std::io::Result<SharedStore> {
    let password = material.password.clone();
    SharedStore::new(
        place,
        password,
        material.ca.as_deref(),
        Arc::clone(counters),
    )
}
