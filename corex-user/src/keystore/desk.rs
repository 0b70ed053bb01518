//! What the chains of one worker ask for keys.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corex_codec::{DeviceId, DeviceKey, Devices, Found};

use super::held::Wanted;
use super::record::KeyName;
use super::service::KeyService;
use super::sessions::{Known, Session};

#[derive(Default)]
struct Last {
    /// What was asked for and isn't known.
    wanted: Option<Wanted>,
    /// Whose key was found.
    session: Option<Arc<Session>>,
}

/// One worker's.
pub struct Desk {
    service: KeyService,
    last: Mutex<Last>,
}

impl Desk {
    /// One in front of this service.
    pub fn new(service: KeyService) -> Arc<Desk> {
        Arc::new(Desk {
            service,
            last: Mutex::default(),
        })
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        // No other thread wants it.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the last answer [`Found::Pending`] was about.
    pub fn take_wanted(&self) -> Option<Wanted> {
        self.last().wanted.take()
    }

    /// Counts a message that was sealed or opened with the key that was found last.
    pub fn count(&self, bytes: usize) {
        if let Some(session) = self.last().session.take() {
            session.count(bytes);
        }
    }

    fn find(&self, name: &KeyName, wanted: Wanted) -> Found {
        match self.service.sessions().find(name) {
            Known::Here(session) => {
                let key = Arc::clone(&session.key);
                self.last().session = Some(session);
                Found::Key(key)
            }
            Known::Nothing if self.service.is_shared() => {
                self.last().wanted = Some(wanted);
                Found::Pending
            }
            Known::Absent | Known::Nothing => Found::Unknown,
        }
    }
}

impl Devices for Desk {
    fn by_id(&self, id: &DeviceId, generation: u8) -> Found {
        let name = (*id, generation);
        self.find(&name, Wanted::Key(name))
    }

    fn by_peer(&self, peer: SocketAddr, generation: Option<u8>) -> Found {
        match self.service.sessions().at(peer) {
            Known::Here((id, newest)) => {
                let name = (id, generation.unwrap_or(newest));
                self.find(&name, Wanted::Key(name))
            }
            Known::Nothing if self.service.is_shared() => {
                self.last().wanted = Some(Wanted::Peer(peer));
                Found::Pending
            }
            Known::Absent | Known::Nothing => Found::Unknown,
        }
    }

    fn seen(&self, key: &Arc<DeviceKey>, peer: SocketAddr) {
        let session = self.last().session.clone();
        let Some(session) = session.filter(|session| Arc::ptr_eq(&session.key, key)) else {
            return;
        };
        if self.service.sessions().move_to(&session, peer) {
            self.service.moved(&session, peer);
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk(…)")
    }
}
