//! The sessions that this process knows, for all workers: keys by device and generation, and which
//! device has which address. In front of a store that instances share it is a cache, and with none all
//! there is.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corex_codec::{DeviceId, DeviceKey};

use super::record::{KeyName, StoredKey};
use super::unix_time;
use crate::telemetry::key_counters::KeyCounters;

/// So that workers rarely wait for one another.
const SHARDS: usize = 16;
/// How long it is remembered that a store has no entry.
const ABSENT: Duration = Duration::from_secs(2);
/// The most that is remembered of that for each shard.
const MAX_ABSENT: usize = 1024;
/// About the bytes that a session takes: its entry, its key, and what was received under it.
pub const SESSION_BYTES: usize = 4096;

/// A device with a key.
#[derive(Debug)]
pub struct Session {
    /// The key.
    pub key: Arc<DeviceKey>,
    /// When the device enrolled with it, in seconds since 1970.
    pub since: u64,
    /// Where it is.
    peer: Mutex<Option<SocketAddr>>,
    /// When it was last heard of, in seconds since 1970.
    heard: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Session {
    fn new(stored: StoredKey) -> Arc<Session> {
        Arc::new(Session {
            key: stored.key,
            since: stored.since,
            peer: Mutex::default(),
            heard: AtomicU64::new(unix_time()),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// Which key it is.
    pub fn name(&self) -> KeyName {
        (self.key.id(), self.key.generation())
    }

    /// Where the device is.
    pub fn peer(&self) -> Option<SocketAddr> {
        *lock(&self.peer)
    }

    /// Counts a message, and its bytes on the wire.
    pub fn count(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn line(&self) -> SessionLine {
        SessionLine {
            device: self.key.id(),
            generation: self.key.generation(),
            peer: self.peer(),
            since: self.since,
            expires: self.key.expires(),
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// What people are shown of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionLine {
    /// The device.
    pub device: DeviceId,
    /// Which of its keys.
    pub generation: u8,
    /// Where it is.
    pub peer: Option<SocketAddr>,
    /// When it enrolled, in seconds since 1970.
    pub since: u64,
    /// When that ends.
    pub expires: u64,
    /// Messages from and to it.
    pub messages: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

/// What is known of something.
#[derive(Clone, Debug)]
pub enum Known<T> {
    /// It is this.
    Here(T),
    /// That there is none.
    Absent,
    /// Nothing.
    Nothing,
}

#[derive(Debug)]
struct Shard<K, V> {
    here: HashMap<K, V>,
    absent: HashMap<K, Instant>,
}

impl<K: Hash + Eq + Copy, V> Default for Shard<K, V> {
    fn default() -> Self {
        Shard {
            here: HashMap::new(),
            absent: HashMap::new(),
        }
    }
}

impl<K: Hash + Eq + Copy, V: Clone> Shard<K, V> {
    fn get(&mut self, key: &K, now: Instant) -> Known<V> {
        if let Some(value) = self.here.get(key) {
            return Known::Here(value.clone());
        }
        match self.absent.get(key) {
            Some(until) if now < *until => Known::Absent,
            Some(_) => {
                self.absent.remove(key);
                Known::Nothing
            }
            None => Known::Nothing,
        }
    }

    fn set_absent(&mut self, key: K, now: Instant) {
        if self.absent.len() >= MAX_ABSENT {
            self.absent.retain(|_, until| now < *until);
        }
        if self.absent.len() >= MAX_ABSENT {
            self.absent.clear();
        }
        self.absent.insert(key, now + ABSENT);
    }
}

type Shards<K, V> = [Mutex<Shard<K, V>>; SHARDS];

/// All of them.
#[derive(Debug)]
pub struct Sessions {
    keys: Shards<KeyName, Arc<Session>>,
    /// The newest key of the device at an address.
    peers: Shards<SocketAddr, KeyName>,
    hasher: RandomState,
    max: AtomicU64,
    counters: Arc<KeyCounters>,
}

impl Sessions {
    /// None so far, and no more than `max`.
    pub fn new(max: u32, counters: Arc<KeyCounters>) -> Sessions {
        Sessions {
            keys: std::array::from_fn(|_| Mutex::default()),
            peers: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            max: AtomicU64::new(max.into()),
            counters,
        }
    }

    /// Has no more than this from now on.
    pub fn set_max(&self, max: u32) {
        self.max.store(max.into(), Ordering::Relaxed);
    }

    fn shard<'s, K: Hash, V>(
        &self,
        shards: &'s Shards<K, V>,
        key: &K,
    ) -> MutexGuard<'s, Shard<K, V>> {
        // The index is below their number.
        lock(&shards[self.hasher.hash_one(key) as usize % SHARDS])
    }

    /// The session of this key.
    pub fn find(&self, name: &KeyName) -> Known<Arc<Session>> {
        self.shard(&self.keys, name).get(name, Instant::now())
    }

    /// The newest key of the device at this address.
    pub fn at(&self, peer: SocketAddr) -> Known<KeyName> {
        self.shard(&self.peers, &peer).get(&peer, Instant::now())
    }

    /// Remembers for a moment that there is no such key.
    pub fn set_absent(&self, name: KeyName) {
        self.shard(&self.keys, &name)
            .set_absent(name, Instant::now());
    }

    /// Remembers for a moment that no device is known at this address.
    pub fn set_nobody_at(&self, peer: SocketAddr) {
        self.shard(&self.peers, &peer)
            .set_absent(peer, Instant::now());
    }

    /// Takes a key in. One of this name that is the same stays, with what it has counted.
    pub fn insert(&self, stored: StoredKey) -> Arc<Session> {
        let name = (stored.key.id(), stored.key.generation());
        let most = self.max.load(Ordering::Relaxed).div_ceil(SHARDS as u64) as usize;
        let mut forgotten = Vec::new();
        let mut shard = self.shard(&self.keys, &name);
        shard.absent.remove(&name);
        if let Some(known) = shard.here.get(&name)
            && known.key.secret() == stored.key.secret()
            && known.key.expires() == stored.key.expires()
        {
            return Arc::clone(known);
        }
        if shard.here.len() >= most && !shard.here.contains_key(&name) {
            let now = unix_time();
            forgotten.extend(shard.here.extract_if(|_, it| it.key.is_expired(now)));
            while shard.here.len() >= most {
                // The one that was silent for longest.
                let silent = shard
                    .here
                    .iter()
                    .min_by_key(|(_, it)| it.heard.load(Ordering::Relaxed));
                let Some(silent) = silent.map(|(name, _)| *name) else {
                    break;
                };
                forgotten.extend(shard.here.remove(&silent).map(|it| (silent, it)));
            }
        }
        let session = Session::new(stored);
        let before = shard.here.insert(name, Arc::clone(&session));
        // What the same device did before stays known.
        if let Some(before) = before {
            *lock(&session.peer) = before.peer();
        }
        drop(shard);
        self.forget(forgotten);
        session
    }

    /// The addresses of sessions that went.
    fn forget(&self, sessions: Vec<(KeyName, Arc<Session>)>) {
        self.counters.add_many(|c| &c.forgotten, sessions.len());
        for (name, session) in sessions {
            let Some(peer) = session.peer() else { continue };
            let mut shard = self.shard(&self.peers, &peer);
            if shard.here.get(&peer) == Some(&name) {
                shard.here.remove(&peer);
            }
        }
    }

    /// Notes that a device is at this address now, where an authentic message of its came from.
    /// Returns whether that is news.
    pub fn move_to(&self, session: &Session, peer: SocketAddr) -> bool {
        session.heard.store(unix_time(), Ordering::Relaxed);
        let mut place = lock(&session.peer);
        if *place == Some(peer) {
            return false;
        }
        let before = place.replace(peer);
        drop(place);
        let name = session.name();
        if let Some(before) = before {
            self.counters.add(|c| &c.moved);
            let mut shard = self.shard(&self.peers, &before);
            if shard.here.get(&before).is_some_and(|(id, _)| *id == name.0) {
                shard.here.remove(&before);
            }
        }
        let mut shard = self.shard(&self.peers, &peer);
        shard.absent.remove(&peer);
        let other = shard.here.insert(peer, name);
        drop(shard);
        // Its next message says that it is there still.
        if let Some(other) = other.filter(|(id, _)| *id != name.0)
            && let Known::Here(other) = self.find(&other)
        {
            let mut place = lock(&other.peer);
            if *place == Some(peer) {
                *place = None;
            }
        }
        true
    }

    /// Takes from a store which device is at an address, unless that is known better.
    pub fn learn(&self, session: &Session, peer: SocketAddr) {
        let mut place = lock(&session.peer);
        if place.is_some() {
            return;
        }
        *place = Some(peer);
        drop(place);
        let mut shard = self.shard(&self.peers, &peer);
        shard.absent.remove(&peer);
        shard.here.entry(peer).or_insert(session.name());
    }

    /// The keys of a device that are known.
    pub fn of_device(&self, id: &DeviceId) -> Vec<Arc<Session>> {
        let all = (0..=u8::MAX).filter_map(|generation| {
            let name = (*id, generation);
            let shard = self.shard(&self.keys, &name);
            shard.here.get(&name).cloned()
        });
        all.collect()
    }

    /// Forgets all keys of a device but those of these generations.
    pub fn keep_only(&self, id: &DeviceId, kept: &[u8]) {
        let all = self.of_device(id).into_iter().map(|session| session.name());
        let gone = all.filter(|(_, generation)| !kept.contains(generation));
        let gone = gone.filter_map(|name| {
            let removed = self.shard(&self.keys, &name).here.remove(&name);
            removed.map(|session| (name, session))
        });
        let gone: Vec<_> = gone.collect();
        self.forget(gone);
    }

    /// Forgets a device. Returns its sessions.
    pub fn remove(&self, id: &DeviceId) -> Vec<Arc<Session>> {
        let mut gone = Vec::new();
        for generation in 0..=u8::MAX {
            let name = (*id, generation);
            let removed = self.shard(&self.keys, &name).here.remove(&name);
            gone.extend(removed.map(|session| (name, session)));
        }
        let sessions = gone.iter().map(|(_, it)| Arc::clone(it)).collect();
        self.forget(gone);
        sessions
    }

    /// Forgets those whose time is over.
    pub fn sweep(&self) {
        let now = unix_time();
        for shard in &self.keys {
            let mut shard = lock(shard);
            let gone: Vec<_> = shard
                .here
                .extract_if(|_, session| session.key.is_expired(now))
                .collect();
            drop(shard);
            self.forget(gone);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.iter().map(|shard| lock(shard).here.len()).sum()
    }

    /// All of them, those with most messages first, and no more than `most`.
    pub fn lines(&self, most: usize) -> Vec<SessionLine> {
        let mut lines: Vec<SessionLine> = Vec::new();
        for shard in &self.keys {
            lines.extend(lock(shard).here.values().map(|session| session.line()));
        }
        lines.sort_by(|a, b| (b.messages, a.device).cmp(&(a.messages, b.device)));
        lines.truncate(most);
        lines
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(max: u32) -> Sessions {
        Sessions::new(max, Arc::default())
    }

    fn stored(device: u32, generation: u8) -> StoredKey {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&device.to_be_bytes());
        let id = DeviceId::from_bytes(id);
        StoredKey {
            since: 1,
            key: Arc::new(DeviceKey::new(id, generation, &[9; 32], u64::MAX)),
        }
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_device_is_where_its_last_message_came_from() {
        let all = sessions(100);
        let session = all.insert(stored(1, 1));
        assert!(all.move_to(&session, peer(1)));
        assert!(!all.move_to(&session, peer(1)));
        assert!(matches!(all.at(peer(1)), Known::Here(name) if name == session.name()));
        assert!(all.move_to(&session, peer(2)));
        assert!(matches!(all.at(peer(1)), Known::Nothing));
        assert!(matches!(all.at(peer(2)), Known::Here(name) if name == session.name()));
        // What a store says is older than what was seen.
        all.learn(&session, peer(3));
        assert_eq!(session.peer(), Some(peer(2)));
    }

    #[test]
    fn who_sends_from_another_device_s_address_has_it_until_that_sends_again() {
        let all = sessions(100);
        let (victim, other) = (all.insert(stored(1, 1)), all.insert(stored(2, 1)));
        all.move_to(&victim, peer(1));
        all.move_to(&other, peer(1));
        assert!(matches!(all.at(peer(1)), Known::Here(name) if name == other.name()));
        assert!(all.move_to(&victim, peer(1)));
        assert!(matches!(all.at(peer(1)), Known::Here(name) if name == victim.name()));
    }

    #[test]
    fn a_new_key_of_a_device_takes_its_address_over() {
        let all = sessions(100);
        let old = all.insert(stored(1, 1));
        all.move_to(&old, peer(1));
        let new = all.insert(stored(1, 2));
        all.move_to(&new, peer(1));
        assert!(matches!(all.at(peer(1)), Known::Here((_, 2))));
        assert!(matches!(all.find(&old.name()), Known::Here(_)));
    }

    #[test]
    fn what_is_not_there_is_known_for_a_moment_and_until_it_comes() {
        let all = sessions(100);
        let name = (stored(1, 1).key.id(), 1);
        assert!(matches!(all.find(&name), Known::Nothing));
        all.set_absent(name);
        assert!(matches!(all.find(&name), Known::Absent));
        let mut shard = all.shard(&all.keys, &name);
        assert!(matches!(
            shard.get(&name, Instant::now() + ABSENT),
            Known::Nothing
        ));
        drop(shard);
        all.set_absent(name);
        all.insert(stored(1, 1));
        assert!(matches!(all.find(&name), Known::Here(_)));
    }

    #[test]
    fn what_is_held_is_bounded_and_those_go_that_are_silent() {
        let all = sessions(SHARDS as u32);
        for device in 0..500 {
            let session = all.insert(stored(device, 0));
            all.move_to(&session, peer(device as u16));
            all.set_absent((stored(device, 1).key.id(), 1));
        }
        assert!(all.len() <= SHARDS);
        let addresses: usize = all.peers.iter().map(|shard| lock(shard).here.len()).sum();
        assert_eq!(addresses, all.len());
        for device in 0..40_000u32 {
            all.set_nobody_at(SocketAddr::from((device.to_be_bytes(), 1)));
        }
        let absent = |shard: &Mutex<Shard<SocketAddr, KeyName>>| lock(shard).absent.len();
        assert!(all.peers.iter().all(|shard| absent(shard) <= MAX_ABSENT));
    }

    #[test]
    fn sessions_end_and_can_be_ended() {
        let all = sessions(100);
        let id = stored(1, 1).key.id();
        let ended = StoredKey {
            since: 1,
            key: Arc::new(DeviceKey::new(id, 1, &[9; 32], 2)),
        };
        let session = all.insert(ended);
        all.move_to(&session, peer(1));
        all.sweep();
        assert_eq!(all.len(), 0);
        assert!(matches!(all.at(peer(1)), Known::Nothing));
        all.insert(stored(1, 1));
        all.insert(stored(1, 255));
        all.insert(stored(2, 1));
        assert_eq!(all.remove(&id).len(), 2);
        assert_eq!(all.lines(10).len(), 1);
    }

    #[test]
    fn a_line_shows_what_passed_and_no_key() {
        let all = sessions(100);
        let session = all.insert(stored(1, 1));
        session.count(400);
        session.count(100);
        let [line] = &all.lines(10)[..] else {
            panic!("one line");
        };
        assert_eq!((line.messages, line.bytes), (2, 500));
        assert!(!format!("{session:?}").contains("9, 9"));
        assert!(all.lines(0).is_empty());
    }
}
