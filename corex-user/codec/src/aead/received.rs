//! What was received under a key: sessions and their windows, shared by all workers, and by the
//! configurations that follow one another.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ring::digest::{SHA256, digest};

use crate::codec::Fault;
use crate::session::{Cipher, SESSION_LEN, Session, SessionName, Towards};

/// The most sessions that are remembered for each key. Beyond that the oldest goes, and what
/// belongs to it, or is older, is refused as stale.
pub const MAX_SESSIONS: usize = 65_536;

/// So that workers rarely wait for one another.
const SHARDS: usize = 16;

/// What tells sessions apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    pub cipher: Cipher,
    pub towards: Towards,
    pub name: SessionName,
}

impl Place {
    fn shard(&self) -> usize {
        // Its last byte is as random as any; one that a peer chose badly only costs that peer.
        usize::from(self.name.bytes()[SESSION_LEN - 1]) % SHARDS
    }
}

#[derive(Default)]
struct Shard {
    sessions: HashMap<Place, Arc<Session>>,
    /// Sessions that began before this, or then, and aren't here, may have been forgotten.
    forgotten: u64,
}

/// What was received under one key.
pub(super) struct Received {
    shards: [Mutex<Shard>; SHARDS],
    max: usize,
}

/// Whoever holds the same key shares what was received, for as long as one of them is there. Keyed
/// by a digest, so that nothing here tells the key.
static ALL: Mutex<Vec<([u8; 32], Weak<Received>)>> = Mutex::new(Vec::new());

impl Received {
    /// What was received under this key in this process.
    pub fn of(key: &[u8; 32]) -> Arc<Received> {
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, key).as_ref());
        let mut all = lock(&ALL);
        all.retain(|(_, received)| received.strong_count() > 0);
        let known = all.iter().find(|(known, _)| *known == name);
        if let Some(received) = known.and_then(|(_, received)| received.upgrade()) {
            return received;
        }
        let received = Arc::new(Received::with_room(MAX_SESSIONS));
        all.push((name, Arc::downgrade(&received)));
        received
    }

    pub fn with_room(max: usize) -> Received {
        Received {
            shards: std::array::from_fn(|_| Mutex::default()),
            max: max.div_ceil(SHARDS),
        }
    }

    fn shard(&self, place: &Place) -> MutexGuard<'_, Shard> {
        // `shard` is below their number.
        lock(&self.shards[place.shard()])
    }

    /// The session, or that it may begin; or that it may have been forgotten.
    pub fn session(&self, place: &Place) -> Result<Option<Arc<Session>>, Fault> {
        let shard = self.shard(place);
        match shard.sessions.get(place) {
            Some(known) => Ok(Some(Arc::clone(known))),
            None if place.name.began() <= shard.forgotten => Err(Fault::Stale),
            None => Ok(None),
        }
    }

    /// Takes the counter of an authentic message in. Sessions that began before `expired` are
    /// forgotten when room is needed: messages of theirs are refused anyway.
    pub fn accept(
        &self,
        place: Place,
        session: Arc<Session>,
        counter: u32,
        expired: u64,
    ) -> Result<(), Fault> {
        let mut shard = self.shard(&place);
        if !shard.sessions.contains_key(&place) {
            if shard.sessions.len() >= self.max {
                shard.make_room(self.max, expired);
            }
            // Another worker may have made room since the message was looked at.
            if place.name.began() <= shard.forgotten {
                return Err(Fault::Stale);
            }
        }
        // Two workers may have begun the same session at once: the first one's counts.
        let session = match shard.sessions.entry(place) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(room) => Arc::clone(room.insert(session)),
        };
        drop(shard);
        let is_new = lock(&session.window).take(counter);
        if is_new { Ok(()) } else { Err(Fault::Replayed) }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).sessions.len()).sum()
    }
}

impl Shard {
    fn make_room(&mut self, max: usize, expired: u64) {
        // They stay forgotten, also when the clock is set back.
        self.forgotten = self.forgotten.max(expired.saturating_sub(1));
        self.forget();
        if self.sessions.len() < max {
            return;
        }
        // A quarter at a time, so that a flood of sessions doesn't look for the oldest each time.
        let mut began: Vec<u64> = self.sessions.keys().map(|it| it.name.began()).collect();
        began.sort_unstable();
        if let Some(oldest) = began.get(began.len() / 4) {
            self.forgotten = self.forgotten.max(*oldest);
            self.forget();
        }
    }

    fn forget(&mut self) {
        let forgotten = self.forgotten;
        self.sessions
            .retain(|place, _| place.name.began() > forgotten);
    }
}

/// A thread that died while it held the lock left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
