//! What was received and sent under a device's key: a few sessions, shared by all workers, and by the
//! configurations that follow one another.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ring::aead::LessSafeKey;
use ring::digest::{Context, SHA256};
use ring::rand::SystemRandom;

use super::DeviceId;
use crate::codec::Fault;
use crate::session::{Cipher, SESSION_SECONDS, Session, SessionName, Towards};

/// The most sessions of a device that are remembered. Beyond that its oldest goes, and what belongs to
/// it, or is older, is refused as stale: so a device that draws many harms only itself.
pub const MAX_DEVICE_SESSIONS: usize = 8;

/// The most keys whose sessions are remembered after no store holds them any more. Beyond that the
/// oldest go, and what is as old as theirs is stale for keys that come back.
pub const MAX_DEVICES: usize = 131_072;

/// So that workers rarely wait for one another.
const SHARDS: usize = 16;

/// What tells sessions of a device apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub cipher: Cipher,
    pub towards: Towards,
    pub name: SessionName,
}

/// What seals the next message.
pub(crate) struct Sealing {
    pub name: SessionName,
    pub key: Arc<LessSafeKey>,
    pub counter: u32,
}

/// A session to send in. All workers share it: a device has one for each direction and cipher.
struct Sending {
    place: Place,
    key: Arc<LessSafeKey>,
    next: u32,
}

#[derive(Default)]
struct State {
    received: Vec<(Place, Arc<Session>)>,
    /// Sessions that began before this, or then, and aren't here, may have been forgotten.
    forgotten: u64,
    sending: Vec<Sending>,
    /// When all that is remembered is stale anyway.
    needed_until: u64,
    /// When the latest session that a message came in began.
    latest: u64,
}

/// What was received and sent under one key.
pub(crate) struct Sessions(Mutex<State>);

#[derive(Default)]
struct Shard {
    all: HashMap<[u8; 32], Arc<Sessions>>,
    /// What a key that isn't here begins with as its `forgotten`.
    forgotten: u64,
}

/// All keys of devices, by a digest that doesn't tell them.
struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    max: usize,
}

static ALL: LazyLock<Registry> = LazyLock::new(|| Registry::with_room(MAX_DEVICES));

impl Registry {
    fn with_room(max: usize) -> Registry {
        Registry {
            shards: std::array::from_fn(|_| Mutex::default()),
            max: max.div_ceil(SHARDS),
        }
    }

    fn sessions(&self, name: [u8; 32], now: u64) -> Arc<Sessions> {
        let [first, ..] = name;
        // A remainder is below their number.
        let mut shard = lock(&self.shards[usize::from(first) % SHARDS]);
        if let Some(known) = shard.all.get(&name) {
            return Arc::clone(known);
        }
        if shard.all.len() >= self.max {
            shard.make_room(self.max, now);
        }
        let sessions = Arc::new(Sessions(Mutex::new(State {
            forgotten: shard.forgotten,
            ..State::default()
        })));
        shard.all.insert(name, Arc::clone(&sessions));
        sessions
    }
}

impl Shard {
    fn make_room(&mut self, max: usize, now: u64) {
        // A store holds it, or what came under it could come again.
        self.all.retain(|_, sessions| {
            Arc::strong_count(sessions) > 1 || lock(&sessions.0).needed_until > now
        });
        if self.all.len() < max {
            return;
        }
        let idle = self.all.values().filter(|it| Arc::strong_count(it) == 1);
        let mut latest: Vec<u64> = idle.map(|it| lock(&it.0).latest).collect();
        latest.sort_unstable();
        // A quarter at a time, so that a flood doesn't look for the oldest each time.
        let Some(&oldest) = latest.get(latest.len() / 4) else {
            return;
        };
        self.all.retain(|_, sessions| {
            Arc::strong_count(sessions) > 1 || lock(&sessions.0).latest > oldest
        });
        self.forgotten = self.forgotten.max(oldest);
    }
}

impl Sessions {
    /// Those of this key in this process.
    pub fn of(id: &DeviceId, generation: u8, secret: &[u8; 32]) -> Arc<Sessions> {
        let mut digest = Context::new(&SHA256);
        digest.update(id.as_bytes());
        digest.update(&[generation]);
        digest.update(secret);
        let mut name = [0; 32];
        name.copy_from_slice(digest.finish().as_ref());
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        ALL.sessions(name, since.map_or(0, |since| since.as_secs()))
    }

    /// The session, or that it may begin; or that it may have been forgotten.
    pub fn session(&self, place: &Place) -> Result<Option<Arc<Session>>, Fault> {
        let state = lock(&self.0);
        match state.find(place) {
            Some(known) => Ok(Some(Arc::clone(known))),
            None if place.name.began() <= state.forgotten => Err(Fault::Stale),
            None => Ok(None),
        }
    }

    /// Takes the counter of an authentic message in. Returns whether it is newer than all others
    /// before it. A session is needed for `clock` seconds after its end, and as long before its
    /// beginning.
    ///
    /// # Errors
    /// When it was taken in before, or may have been.
    pub fn accept(
        &self,
        place: Place,
        session: Arc<Session>,
        counter: u32,
        now: u64,
        clock: u64,
    ) -> Result<bool, Fault> {
        let mut state = lock(&self.0);
        let began = place.name.began();
        let session = match state.find(&place) {
            // Two workers may have begun it at once: the first one's counts.
            Some(known) => Arc::clone(known),
            None => {
                state.make_room(now.saturating_sub(SESSION_SECONDS + clock));
                // Another worker may have made room since the message was looked at.
                if began <= state.forgotten {
                    return Err(Fault::Stale);
                }
                state.received.push((place, Arc::clone(&session)));
                session
            }
        };
        let is_latest = began >= state.latest;
        state.latest = state.latest.max(began);
        let needed = began + SESSION_SECONDS + clock;
        state.needed_until = state.needed_until.max(needed + 1);
        drop(state);
        let mut window = lock(&session.window);
        let is_ahead = window.is_ahead(counter);
        if window.take(counter) {
            Ok(is_latest && is_ahead)
        } else {
            Err(Fault::Replayed)
        }
    }

    /// The session to send in, and the number of the message. `derive` makes the key of a new one.
    ///
    /// # Errors
    /// When the system has no random numbers, or there is no key.
    pub fn sealing(
        &self,
        cipher: Cipher,
        towards: Towards,
        now: u64,
        random: &SystemRandom,
        derive: impl FnOnce(&SessionName) -> Option<LessSafeKey>,
    ) -> Result<Sealing, Fault> {
        let mut state = lock(&self.0);
        let is = |it: &Sending| it.place.cipher == cipher && it.place.towards == towards;
        let known = state.sending.iter().position(is);
        let is_good = |it: &Sending| it.next < u32::MAX && it.place.name.is_current(now);
        let at = match known {
            Some(at) if state.sending.get(at).is_some_and(is_good) => at,
            _ => {
                let name = SessionName::draw(now, random)?;
                let place = Place {
                    cipher,
                    towards,
                    name,
                };
                let key = Arc::new(derive(&name).ok_or(Fault::Unmade)?);
                state.sending.retain(|it| !is(it));
                state.sending.push(Sending {
                    place,
                    key,
                    next: 0,
                });
                state.sending.len() - 1
            }
        };
        let sending = state.sending.get_mut(at).ok_or(Fault::Unmade)?;
        let counter = sending.next;
        // It is good for fewer messages than there are counters.
        sending.next += 1;
        Ok(Sealing {
            name: sending.place.name,
            key: Arc::clone(&sending.key),
            counter,
        })
    }

    /// Whether a session of this name is the one to send in, and has come as far as this number.
    pub fn has_sent(&self, towards: Towards, name: &SessionName, counter: u32) -> bool {
        let state = lock(&self.0);
        let mut sending = state.sending.iter();
        sending.any(|it| it.place.towards == towards && it.place.name == *name && counter < it.next)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.0).received.len()
    }
}

impl State {
    fn find(&self, place: &Place) -> Option<&Arc<Session>> {
        let known = self.received.iter().find(|(known, _)| known == place);
        known.map(|(_, session)| session)
    }

    /// Forgets what is stale anyway, and then, if there is no room yet, the oldest session.
    fn make_room(&mut self, stale_before: u64) {
        if self.received.len() < MAX_DEVICE_SESSIONS {
            return;
        }
        // They stay forgotten, also when the clock is set back.
        self.forgotten = self.forgotten.max(stale_before.saturating_sub(1));
        if !self
            .received
            .iter()
            .any(|(place, _)| place.name.began() <= self.forgotten)
            && let Some(oldest) = self
                .received
                .iter()
                .map(|(place, _)| place.name.began())
                .min()
        {
            self.forgotten = self.forgotten.max(oldest);
        }
        let forgotten = self.forgotten;
        self.received
            .retain(|(place, _)| place.name.began() > forgotten);
    }
}

/// A thread that died while it held the lock left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
