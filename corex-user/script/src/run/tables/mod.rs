//! Values that all workers share: `$shv()` and hash tables.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::settings::{SharedValue, TableConfig};

/// Locks that a table is divided among, so that workers rarely meet.
const SHARDS: usize = 16;
/// Expired entries are looked for after so many writes to a shard.
const SWEEP: u32 = 256;

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

struct Entry {
    value: SharedValue,
    expires: Option<Instant>,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Box<[u8]>, Entry>,
    writes: u32,
}

/// A table that all workers share: one of the module htable, or that of `$shv()`.
pub struct Table {
    /// How it behaves.
    pub config: TableConfig,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

impl Table {
    /// An empty one.
    pub fn new(config: TableConfig) -> Table {
        Table {
            config,
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        // A worker that panicked left whole entries behind.
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a key's value; `None` where there is none, or its time is over.
    pub fn get<R>(&self, key: &[u8], look: impl FnOnce(Option<&SharedValue>) -> R) -> R {
        let mut shard = self.shard(key);
        let is_over = shard
            .entries
            .get(key)
            .is_some_and(|entry| entry.is_over(Instant::now()));
        if is_over {
            shard.entries.remove(key);
        }
        match (shard.entries.get(key), self.config.initval) {
            (Some(entry), _) => look(Some(&entry.value)),
            (None, Some(initval)) => look(Some(&SharedValue::Int(initval))),
            (None, None) => look(None),
        }
    }

    /// Sets a key's value. False if the table is full.
    pub fn set(&self, key: &[u8], value: SharedValue) -> bool {
        self.put(&mut self.shard(key), key, value, Instant::now())
    }

    fn put(&self, shard: &mut Shard, key: &[u8], value: SharedValue, now: Instant) -> bool {
        shard.sweep(now);
        let expires = self.config.autoexpire.map(|life| now + life);
        if let Some(entry) = shard.entries.get_mut(key).filter(|e| !e.is_over(now)) {
            entry.value = value;
            if self.config.updateexpire {
                entry.expires = expires;
            }
            return true;
        }
        if shard.entries.len() >= self.config.max_entries.div_ceil(SHARDS) {
            return false;
        }
        shard.entries.insert(key.into(), Entry { value, expires });
        true
    }

    /// Adds to an integer and returns the sum; what is none counts as the table's initial value.
    /// `None` if the table is full.
    pub fn add(&self, key: &[u8], by: i64) -> Option<i64> {
        let now = Instant::now();
        let mut shard = self.shard(key);
        let before = match shard.entries.get(key).filter(|e| !e.is_over(now)) {
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
        let entry = shard.entries.get(key);
        entry.is_some_and(|entry| !entry.is_over(Instant::now()))
    }

    /// Takes a key's value away.
    pub fn remove(&self, key: &[u8]) {
        self.shard(key).entries.remove(key);
    }

    /// How many entries each part of the table has.
    pub fn parts(&self) -> Vec<usize> {
        let len = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.entries.len()
        };
        self.shards.iter().map(len).collect()
    }

    /// At most `most` entries.
    pub fn entries(&self, most: usize) -> Vec<Listed> {
        let now = Instant::now();
        let mut found = Vec::new();
        for (part, shard) in self.shards.iter().enumerate() {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let live = shard
                .entries
                .iter()
                .filter(|(_, entry)| !entry.is_over(now));
            for (key, entry) in live.take(most.saturating_sub(found.len())) {
                let left = entry.expires.map(|at| at.saturating_duration_since(now));
                found.push(Listed {
                    part,
                    key: key.clone(),
                    value: entry.value.clone(),
                    left,
                });
            }
        }
        found
    }

    /// Bytes that keys and values take, and about that much again for each entry's own fields.
    pub fn bytes(&self) -> usize {
        let of_shard = |shard: &Mutex<Shard>| -> usize {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries = shard.entries.iter().map(|(key, entry)| {
                let value = match &entry.value {
                    SharedValue::Int(_) => 0,
                    SharedValue::Str(text) => text.len(),
                };
                key.len() + value + size_of::<Box<[u8]>>() + size_of::<Entry>()
            });
            entries.sum()
        };
        self.shards.iter().map(of_shard).sum()
    }

    /// Takes away every entry that `wanted` picks.
    pub fn retain(&self, mut keep: impl FnMut(&[u8], &SharedValue) -> bool) {
        let now = Instant::now();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard
                .entries
                .retain(|key, entry| !entry.is_over(now) && keep(key, &entry.value));
        }
    }

    /// Sets the time that a key's value has left. False if there is none.
    pub fn set_expiry(&self, key: &[u8], life: Duration) -> bool {
        let now = Instant::now();
        match self.shard(key).entries.get_mut(key) {
            Some(entry) if !entry.is_over(now) => {
                entry.expires = Some(now + life);
                true
            }
            _ => false,
        }
    }

    /// The time that a key's value has left; `None` where there is none or it stays for ever.
    pub fn expiry(&self, key: &[u8]) -> Option<Duration> {
        let expires = self.shard(key).entries.get(key)?.expires?;
        expires.checked_duration_since(Instant::now())
    }
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

impl Shard {
    fn sweep(&mut self, now: Instant) {
        self.writes += 1;
        if self.writes >= SWEEP {
            self.writes = 0;
            self.entries.retain(|_, entry| !entry.is_over(now));
        }
    }
}

/// All that workers share.
pub struct Tables {
    /// `$shv()`.
    pub values: Arc<Table>,
    /// Hash tables, by name.
    pub by_name: HashMap<String, Arc<Table>>,
}

impl Tables {
    /// Empty tables, and values as they start.
    pub fn new(tables: &[TableConfig], values: &[(String, SharedValue)]) -> Tables {
        let shared = Table::new(TableConfig {
            initval: Some(0),
            ..TableConfig::default()
        });
        for (name, value) in values {
            shared.set(name.as_bytes(), value.clone());
        }
        Tables {
            values: Arc::new(shared),
            by_name: tables
                .iter()
                .map(|config| (config.name.clone(), Arc::new(Table::new(config.clone()))))
                .collect(),
        }
    }

    /// Goes on with the values of a configuration that this one takes the place of: those of
    /// `$shv()`, and the tables that are still set up as they were.
    pub fn inherit(&mut self, old: &Tables) {
        self.values.retain(|name, value| {
            if !old.values.has(name) {
                old.values.set(name, value.clone());
            }
            true
        });
        self.values = Arc::clone(&old.values);
        for (name, table) in &mut self.by_name {
            if let Some(old) = old.by_name.get(name).filter(|t| t.config == table.config) {
                *table = Arc::clone(old);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(config: TableConfig) -> Table {
        Table::new(config)
    }

    fn get(table: &Table, key: &str) -> Option<SharedValue> {
        table.get(key.as_bytes(), |value| value.cloned())
    }

    #[test]
    fn what_is_set_is_read_until_it_is_taken_away() {
        let table = table(TableConfig::default());
        assert_eq!(get(&table, "a"), None);
        assert!(table.set(b"a", SharedValue::Str((*b"x").into())));
        assert_eq!(get(&table, "a"), Some(SharedValue::Str((*b"x").into())));
        table.remove(b"a");
        assert_eq!(get(&table, "a"), None);
        assert_eq!(table.add(b"n", 2), Some(2));
        assert_eq!(table.add(b"n", -3), Some(-1));
        table.retain(|key, _| key != b"n");
        assert_eq!(get(&table, "n"), None);
    }

    #[test]
    fn no_count_is_lost_between_workers() {
        let table = table(TableConfig::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        table.add(b"n", 1);
                    }
                });
            }
        });
        assert_eq!(get(&table, "n"), Some(SharedValue::Int(4000)));
    }

    #[test]
    fn an_entry_is_gone_when_its_time_is_over() {
        let table = table(TableConfig {
            autoexpire: Some(Duration::from_secs(3600)),
            ..TableConfig::default()
        });
        table.set(b"a", SharedValue::Int(1));
        assert!(
            table
                .expiry(b"a")
                .is_some_and(|left| left > Duration::from_secs(3500))
        );
        assert!(table.set_expiry(b"a", Duration::ZERO));
        assert_eq!(get(&table, "a"), None);
        assert!(!table.set_expiry(b"a", Duration::from_secs(1)));
        assert_eq!(table.expiry(b"a"), None);
        let kept = Table::new(TableConfig {
            autoexpire: Some(Duration::from_secs(3600)),
            updateexpire: false,
            ..TableConfig::default()
        });
        kept.set(b"a", SharedValue::Int(1));
        kept.set_expiry(b"a", Duration::from_secs(60));
        kept.set(b"a", SharedValue::Int(2));
        assert!(
            kept.expiry(b"a")
                .is_some_and(|left| left <= Duration::from_secs(60))
        );
    }

    #[test]
    fn a_new_configuration_goes_on_with_the_values_of_the_old_one() {
        let config = |name: &str, max_entries| TableConfig {
            name: name.to_owned(),
            max_entries,
            ..TableConfig::default()
        };
        let one = |number| SharedValue::Int(number);
        let old = Tables::new(
            &[config("same", 100), config("other", 100)],
            &[("kept".to_owned(), one(1))],
        );
        old.values.set(b"kept", one(2));
        old.by_name["same"].set(b"k", one(3));
        old.by_name["other"].set(b"k", one(3));
        let mut new = Tables::new(
            &[config("same", 100), config("other", 200)],
            &[("kept".to_owned(), one(1)), ("new".to_owned(), one(5))],
        );
        new.inherit(&old);
        assert_eq!(get(&new.values, "kept"), Some(one(2)));
        assert_eq!(get(&new.values, "new"), Some(one(5)));
        assert_eq!(get(&new.by_name["same"], "k"), Some(one(3)));
        assert_eq!(get(&new.by_name["other"], "k"), None);
    }

    #[test]
    fn a_full_table_takes_no_new_key_and_initval_stands_for_what_is_not_there() {
        let table = table(TableConfig {
            max_entries: SHARDS,
            initval: Some(7),
            ..TableConfig::default()
        });
        let taken = (0..1000).filter(|n: &i32| table.set(&n.to_be_bytes(), SharedValue::Int(1)));
        assert!(taken.count() <= SHARDS);
        assert_eq!(get(&table, "other"), Some(SharedValue::Int(7)));
    }
}
