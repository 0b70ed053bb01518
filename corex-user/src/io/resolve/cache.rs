//! Keeps what was found for a name, for as long as its records allow.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{Destination, Query, shares::zone_of};
use corex_script::settings::DnsSettings;
use corex_sip::Transport;

/// Names that are remembered.
const MAX_ENTRIES: usize = 10_000;
/// How long a lookup that was begun ahead is waited for before the next.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long after a lookup that failed a name isn't asked for again (RFC 8767 §5).
const RECHECK: Duration = Duration::from_secs(30);

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

    /// The name.
    pub fn name(&self) -> &[u8] {
        self.host.get(..usize::from(self.len)).unwrap_or_default()
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
    /// From here on it is worth asking again ahead. Put off while somebody does.
    due: Instant,
    /// When its time is over.
    until: Instant,
    /// Until here it is better than nothing.
    stale_until: Instant,
    /// Nobody asks again before.
    retry: Instant,
}

/// Which entries are meant.
type Belongs<'a> = dyn Fn(&Key, &Entry) -> bool + 'a;

/// What is known of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A destination.
    Fresh {
        destination: Destination,
        /// Whether its time is nearly over: whoever is told so asks again, and nobody else.
        is_due: bool,
    },
    /// A destination whose time is over, and asking again has just failed.
    Stale(Destination),
    /// A destination whose time is over: to be asked for again first.
    Expired(Destination),
    /// The name has no destination.
    Failed,
    /// Nothing.
    Miss,
}

/// Destinations, and failures to find one, by question. When it is full, what belongs to a zone that
/// has more than its share makes room, or else what expires first; failures have a share, too.
pub(super) struct Cache {
    settings: DnsSettings,
    max_entries: usize,
    entries: HashMap<Key, Entry>,
    /// Decides between weights.
    dice: u64,
}

impl Cache {
    pub fn new(settings: DnsSettings) -> Cache {
        Cache {
            settings,
            max_entries: MAX_ENTRIES,
            entries: HashMap::new(),
            dice: 0,
        }
    }

    pub fn get(&mut self, key: &Key, now: Instant) -> Found {
        let Some(entry) = self.entries.get_mut(key) else {
            return Found::Miss;
        };
        // Weyl's sequence: even over time, which is all that weights ask for.
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        match choose(&entry.candidates, self.dice) {
            Some(destination) if now < entry.until => {
                let is_due = now >= entry.due && now >= entry.retry;
                if is_due {
                    entry.due = now + PATIENCE;
                }
                Found::Fresh {
                    destination,
                    is_due,
                }
            }
            Some(destination) if now < entry.stale_until => {
                if now < entry.retry {
                    Found::Stale(destination)
                } else {
                    Found::Expired(destination)
                }
            }
            None if now < entry.until => Found::Failed,
            _ => {
                self.entries.remove(key);
                Found::Miss
            }
        }
    }

    /// Whether a name has a destination, though its time may be over.
    pub fn has_destination(&self, key: &Key) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| !entry.candidates.is_empty())
    }

    /// Notes that no name server answered. Whether there is a destination to go on with.
    pub fn put_off(&mut self, key: &Key, now: Instant) -> bool {
        match self.entries.get_mut(key) {
            Some(entry) if !entry.candidates.is_empty() && now < entry.stale_until => {
                entry.retry = now + RECHECK;
                true
            }
            _ => false,
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

    /// Remembers destinations for `life`, which the settings bound.
    pub fn put(&mut self, key: Key, candidates: Vec<Candidate>, life: Duration, now: Instant) {
        let life = life.min(self.settings.max_ttl).max(self.settings.min_ttl);
        self.insert(key, candidates, life, self.settings.stale_ttl, now);
    }

    /// Remembers that a name has no destination.
    pub fn put_failure(&mut self, key: Key, now: Instant) {
        self.insert(
            key,
            Vec::new(),
            self.settings.negative_ttl,
            Duration::ZERO,
            now,
        );
    }

    fn insert(
        &mut self,
        key: Key,
        candidates: Vec<Candidate>,
        life: Duration,
        stale: Duration,
        now: Instant,
    ) {
        if self.entries.len() >= self.max_entries && !self.entries.contains_key(&key) {
            self.make_room(&key, candidates.is_empty(), now);
        }
        let until = now + life;
        let entry = Entry {
            candidates,
            due: now + life * 4 / 5,
            until,
            stale_until: until + stale,
            retry: now,
        };
        self.entries.insert(key, entry);
    }

    /// Removes what is over; else one of the failures, of the zone, or of all, if these are more than
    /// their share.
    fn make_room(&mut self, key: &Key, is_failure: bool, now: Instant) {
        self.entries
            .retain(|_, entry| now < entry.until.max(entry.stale_until));
        if self.entries.len() < self.max_entries {
            return;
        }
        let share = self.max_entries / 4;
        let of_zone = |other: &Key, _: &Entry| zone_of(other.name()) == zone_of(key.name());
        let failed = |_: &Key, entry: &Entry| entry.candidates.is_empty();
        let all = |_: &Key, _: &Entry| true;
        let among: [&Belongs<'_>; 2] = if is_failure {
            [&failed, &of_zone]
        } else {
            [&of_zone, &failed]
        };
        let count = |belongs: &Belongs<'_>| {
            let entries = self.entries.iter();
            entries.filter(|(key, entry)| belongs(key, entry)).count()
        };
        let crowded = among.into_iter().find(|belongs| count(belongs) >= share);
        let belongs = crowded.unwrap_or(&all);
        let first = self
            .entries
            .iter()
            .filter(|(key, entry)| belongs(key, entry))
            .min_by_key(|(_, entry)| entry.until);
        if let Some(first) = first.map(|(key, _)| key.clone()) {
            self.entries.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests;

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
