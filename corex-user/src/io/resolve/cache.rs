//! Keeps what was found for a name, for as long as its records allow.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{Cached, Destination, Query};
use corex_sip::Transport;

/// Names that are remembered.
const MAX_ENTRIES: usize = 10_000;
/// Bounds of the time that an entry lives.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);

/// A host name has at most so many bytes (RFC 1035 §2.3.4).
const MAX_HOST_LEN: usize = 253;

/// A question, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    host: [u8; MAX_HOST_LEN],
    len: u8,
    port: u16,
    transport: Option<Transport>,
    secure: bool,
}

impl Key {
    /// `None` for what is no host name.
    pub fn new(query: &Query<'_>) -> Option<Key> {
        let host = query.host.strip_suffix(b".").unwrap_or(query.host);
        let is_label = |label: &[u8]| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !host.split(|byte| *byte == b'.').all(is_label) {
            return None;
        }
        let mut key = Key {
            host: [0; MAX_HOST_LEN],
            len: u8::try_from(host.len()).ok()?,
            port: query.port.unwrap_or(0),
            transport: query.transport,
            secure: query.secure,
        };
        key.host.get_mut(..host.len())?.copy_from_slice(host);
        key.host.make_ascii_lowercase();
        Some(key)
    }
}

/// A destination with its place among others (RFC 2782).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub destination: Destination,
    pub priority: u16,
    pub weight: u16,
}

struct Entry {
    /// Empty where the name has no destination.
    candidates: Vec<Candidate>,
    until: Instant,
}

/// Destinations, and failures to find one, by question. When it is full, the entry that expires
/// first makes room.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// Decides between weights.
    dice: u64,
}

impl Cache {
    pub fn get(&mut self, key: &Key) -> Cached {
        let Some(entry) = self.entries.get(key) else {
            return Cached::Miss;
        };
        if entry.until <= Instant::now() {
            self.entries.remove(key);
            return Cached::Miss;
        }
        // Weyl's sequence: even over time, which is all that weights ask for.
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        match choose(&entry.candidates, self.dice) {
            Some(destination) => Cached::Hit(destination),
            None => Cached::Failed,
        }
    }

    /// Names that are remembered, and the bytes that they take.
    pub fn size(&self) -> (usize, usize) {
        let candidates = self
            .entries
            .values()
            .map(|entry| entry.candidates.capacity());
        let bytes = self.entries.capacity() * size_of::<(Key, Entry)>()
            + candidates.sum::<usize>() * size_of::<Candidate>();
        (self.entries.len(), bytes)
    }

    pub fn put(&mut self, key: Key, candidates: Vec<Candidate>, life: Duration) {
        let now = Instant::now();
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.retain(|_, entry| entry.until > now);
        }
        if self.entries.len() >= MAX_ENTRIES {
            let soonest = self.entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(key) = soonest.map(|(key, _)| key.clone()) {
                self.entries.remove(&key);
            }
        }
        let until = now + life.clamp(SHORTEST, LONGEST);
        self.entries.insert(key, Entry { candidates, until });
    }
}

/// One of the lowest priority, each as often as its weight says (RFC 2782). Weight 0 has a small
/// chance beside others.
pub(super) fn choose(candidates: &[Candidate], dice: u64) -> Option<Destination> {
    let lowest = candidates.iter().map(|c| c.priority).min()?;
    let first = || candidates.iter().filter(|c| c.priority == lowest);
    // Weights that are all 0 mean one as often as the other.
    let share = |candidate: &Candidate| u64::from(candidate.weight) * 64 + 1;
    let total: u64 = first().map(share).sum();
    let mut at = ((u128::from(dice) * u128::from(total)) >> 64) as u64;
    for candidate in first() {
        match at.checked_sub(share(candidate)) {
            Some(rest) => at = rest,
            None => return Some(candidate.destination),
        }
    }
    first().next().map(|candidate| candidate.destination)
}
