//! A table that all workers share, bounded in entries and in bytes. Nobody holds one of its locks
//! for longer than it takes to look at [`STEP`] entries.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::shard::{Entry, Freed, PER_ENTRY, Shard, cost};
use crate::settings::{SharedValue, TableConfig};

/// Locks that a table is divided among: workers rarely meet, and when a part grows, few entries
/// have to move.
const SHARDS: usize = 256;
/// So many entries each write looks at, for those whose time is over.
const ON_THE_WAY: usize = 4;
/// So many entries somebody looks at while he holds a lock.
pub(super) const STEP: usize = 256;

/// A copy of an entry, for remote control to show.
pub struct Listed {
    /// The part of the table that it is in.
    pub part: usize,
    /// Its key.
    pub key: Box<[u8]>,
    /// Its value.
    pub value: SharedValue,
    /// The time that it has left; `None`: for ever.
    pub left: Option<Duration>,
}

/// How much of a table is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Use {
    /// Entries, those among them whose time is over and that nobody has come by yet.
    pub entries: usize,
    /// Bytes that they take.
    pub bytes: usize,
    /// Writes that found no room.
    pub refused: u64,
}

impl Use {
    /// The same by name.
    pub fn rows(&self) -> [(&'static str, u64); 3] {
        [
            ("entries", self.entries as u64),
            ("bytes", self.bytes as u64),
            ("refused", self.refused),
        ]
    }
}

/// A table that all workers share: one of the module htable, or that of `$shv()`.
pub struct Table {
    /// How it behaves.
    pub config: TableConfig,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    refused: AtomicU64,
    /// Whether any entry's time may end.
    may_expire: AtomicBool,
    /// Where room is looked for next when there is none.
    reclaim: AtomicUsize,
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A worker that panicked left whole entries behind.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// An empty one.
    pub fn new(config: TableConfig) -> Table {
        Table {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            may_expire: AtomicBool::new(config.autoexpire.is_some()),
            reclaim: AtomicUsize::new(0),
            config,
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[at])
    }

    fn give_back(&self, freed: Freed) {
        if freed.entries > 0 {
            self.entries.fetch_sub(freed.entries, Ordering::Relaxed);
            self.bytes.fetch_sub(freed.bytes, Ordering::Relaxed);
        }
    }

    /// Takes room for so many more entries and bytes, if there is.
    fn reserve(&self, entries: usize, bytes: usize) -> bool {
        let take = |used: &AtomicUsize, more: usize, most: usize| {
            let before = used.fetch_add(more, Ordering::Relaxed);
            let fits = before.saturating_add(more) <= most;
            if !fits {
                used.fetch_sub(more, Ordering::Relaxed);
            }
            fits
        };
        if !take(&self.entries, entries, self.config.max_entries) {
            return false;
        }
        let fits = take(&self.bytes, bytes, self.config.max_bytes);
        if !fits {
            self.entries.fetch_sub(entries, Ordering::Relaxed);
        }
        fits
    }

    /// The same, once more where entries whose time is over could make room.
    fn make_room(&self, shard: &mut Shard, now: Instant, entries: usize, bytes: usize) -> bool {
        if self.reserve(entries, bytes) {
            return true;
        }
        if self.may_expire.load(Ordering::Relaxed) {
            self.give_back(shard.sweep(now, STEP));
            let at = self.reclaim.fetch_add(1, Ordering::Relaxed) % SHARDS;
            // Who holds it may wait for the one that we hold.
            if let Ok(mut other) = self.shards[at].try_lock() {
                self.give_back(other.sweep(now, STEP));
            }
            if self.reserve(entries, bytes) {
                return true;
            }
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Looks at a key's value; `None` where there is none, or its time is over.
    pub fn get<R>(&self, key: &[u8], look: impl FnOnce(Option<&SharedValue>) -> R) -> R {
        let mut shard = self.shard(key);
        let now = Instant::now();
        if shard.get(key).is_some_and(|entry| entry.is_over(now)) {
            self.give_back(shard.remove(key));
        }
        match (shard.get(key), self.config.initval) {
            (Some(entry), _) => look(Some(&entry.value)),
            (None, Some(initval)) => look(Some(&SharedValue::Int(initval))),
            (None, None) => look(None),
        }
    }

    /// Sets a key's value. False if the table is full: then what the key had stays.
    pub fn set(&self, key: &[u8], value: SharedValue) -> bool {
        self.put(&mut self.shard(key), key, value, Instant::now())
    }

    fn put(&self, shard: &mut Shard, key: &[u8], value: SharedValue, now: Instant) -> bool {
        if self.may_expire.load(Ordering::Relaxed) {
            self.give_back(shard.sweep(now, ON_THE_WAY));
            if shard.get(key).is_some_and(|entry| entry.is_over(now)) {
                self.give_back(shard.remove(key));
            }
        }
        let expires = self
            .config
            .autoexpire
            .and_then(|life| now.checked_add(life));
        let after = cost(key, &value);
        let before = shard.get(key).map(|entry| cost(key, &entry.value));
        let (entries, more) = match before {
            Some(before) => (0, after.saturating_sub(before)),
            None => (1, after),
        };
        if !self.make_room(shard, now, entries, more) {
            return false;
        }
        match shard.get_mut(key) {
            Some(entry) => {
                let less = before.unwrap_or(0).saturating_sub(after);
                self.bytes.fetch_sub(less, Ordering::Relaxed);
                entry.value = value;
                if self.config.updateexpire {
                    entry.expires = expires;
                }
            }
            None => shard.insert(key, Entry { value, expires }),
        }
        true
    }

    /// Adds to an integer and returns the sum; what is none counts as the table's initial value.
    /// `None` if the table is full.
    pub fn add(&self, key: &[u8], by: i64) -> Option<i64> {
        let now = Instant::now();
        let mut shard = self.shard(key);
        let before = match shard.get(key).filter(|e| !e.is_over(now)) {
            Some(Entry {
                value: SharedValue::Int(number),
                ..
            }) => *number,
            _ => self.config.initval.unwrap_or(0),
        };
        let sum = before.wrapping_add(by);
        self.put(&mut shard, key, SharedValue::Int(sum), now)
            .then_some(sum)
    }

    /// Whether a key has a value of its own.
    pub fn has(&self, key: &[u8]) -> bool {
        let shard = self.shard(key);
        let entry = shard.get(key);
        entry.is_some_and(|entry| !entry.is_over(Instant::now()))
    }

    /// Takes a key's value away.
    pub fn remove(&self, key: &[u8]) {
        self.give_back(self.shard(key).remove(key));
    }

    /// How many entries each part of the table has.
    pub fn parts(&self) -> Vec<usize> {
        self.shards.iter().map(|shard| lock(shard).len()).collect()
    }

    /// How much of it is used. Takes no lock.
    pub fn used(&self) -> Use {
        Use {
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// At most `most` entries, and of those no more than `bytes` bytes hold.
    pub fn entries(&self, most: usize, bytes: usize) -> Vec<Listed> {
        let now = Instant::now();
        let mut found = Vec::new();
        let mut bytes = bytes;
        for (part, shard) in self.shards.iter().enumerate() {
            // By key, since one may take another position between two steps.
            let mut of_part: HashMap<Box<[u8]>, Listed> = HashMap::new();
            let room = most.saturating_sub(found.len());
            self.walk(shard, now, |key, entry| {
                let size = cost(key, &entry.value);
                if of_part.len() < room && size <= bytes {
                    bytes -= size;
                    let left = entry.expires.map(|at| at.saturating_duration_since(now));
                    let listed = Listed {
                        part,
                        key: key.into(),
                        value: entry.value.clone(),
                        left,
                    };
                    of_part.insert(key.into(), listed);
                }
                true
            });
            found.extend(of_part.into_values());
            if found.len() >= most || bytes < PER_ENTRY {
                break;
            }
        }
        found
    }

    /// Takes away every entry that `keep` doesn't want.
    pub fn retain(&self, mut keep: impl FnMut(&[u8], &SharedValue) -> bool) {
        let now = Instant::now();
        for shard in &self.shards {
            self.walk(shard, now, |key, entry| keep(key, &entry.value));
        }
    }

    /// Takes all entries away.
    pub fn clear(&self) {
        for shard in &self.shards {
            let taken = lock(shard).take_all();
            self.give_back(taken.freed());
        }
    }

    /// Looks at all entries of a part, some at a time, so that nobody waits for long; takes those out
    /// that `keep` doesn't want, and those whose time is over.
    fn walk(
        &self,
        shard: &Mutex<Shard>,
        now: Instant,
        mut keep: impl FnMut(&[u8], &Entry) -> bool,
    ) {
        let mut end = usize::MAX;
        while end > 0 {
            let (left, freed) = lock(shard).retain_below(end, STEP, now, &mut keep);
            self.give_back(freed);
            end = left;
        }
    }

    /// How many parts [`Self::sweep`] takes.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Takes the entries of a part out whose time is over.
    pub fn sweep(&self, part: usize) {
        if !self.may_expire.load(Ordering::Relaxed) {
            return;
        }
        if let Some(shard) = self.shards.get(part) {
            self.walk(shard, Instant::now(), |_, _| true);
        }
    }

    /// Sets the time that a key's value has left. False if there is none.
    pub fn set_expiry(&self, key: &[u8], life: Duration) -> bool {
        let now = Instant::now();
        match self.shard(key).get_mut(key) {
            Some(entry) if !entry.is_over(now) => {
                self.may_expire.store(true, Ordering::Relaxed);
                entry.expires = now.checked_add(life);
                true
            }
            _ => false,
        }
    }

    /// The time that a key's value has left; `None` where there is none or it stays for ever.
    pub fn expiry(&self, key: &[u8]) -> Option<Duration> {
        let expires = self.shard(key).get(key)?.expires?;
        expires.checked_duration_since(Instant::now())
    }
}
