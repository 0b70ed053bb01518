//! What scripts keep in `$sht` and `$shv`: copied while the predecessor serves on, and what has
//! changed since then once its workers have stopped.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use corex_script::{run::tables::Tables, settings::SharedValue};
use serde::{Deserialize, Serialize};

use crate::io::byte_text::{bytes, text};

/// The most bytes of tables that are copied.
const MOST_BYTES: usize = 64 << 20;
/// Ends of entries' times that differ by less are the same one, read twice.
const SAME: Duration = Duration::from_millis(500);

/// Some entries of a table.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCopy {
    name: String,
    set: Vec<EntryCopy>,
    /// Keys that are there no more.
    removed: Vec<String>,
}

/// Bytes are written as the characters U+0000 to U+00FF.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EntryCopy {
    key: String,
    value: ValueCopy,
    /// Milliseconds that it has left; `None`: it stays.
    left: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ValueCopy {
    Int(i64),
    Str(String),
}

#[derive(PartialEq, Eq)]
struct Known {
    value: SharedValue,
    expires: Option<Instant>,
}

impl Known {
    fn is_same(&self, other: &Known) -> bool {
        let expires = match (self.expires, other.expires) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                let (early, late) = (one.min(other), one.max(other));
                late.saturating_duration_since(early) < SAME
            }
            _ => false,
        };
        expires && self.value == other.value
    }
}

/// All tables as they were at one time.
#[derive(Default)]
pub struct TableSnapshot(HashMap<String, HashMap<Box<[u8]>, Known>>);

impl TableSnapshot {
    /// Copies all tables. `None`: they are too large.
    pub fn take(tables: &Tables) -> Option<TableSnapshot> {
        let used: usize = tables.all().map(|(_, table)| table.used().bytes).sum();
        if used > MOST_BYTES {
            return None;
        }
        let of_table = |table: &corex_script::run::tables::Table| {
            let now = Instant::now();
            let entries = table.entries(usize::MAX, usize::MAX).into_iter();
            let known = entries.map(|entry| {
                let known = Known {
                    value: entry.value,
                    expires: entry.left.and_then(|left| now.checked_add(left)),
                };
                (entry.key, known)
            });
            known.collect()
        };
        let all = tables.all();
        Some(TableSnapshot(
            all.map(|(name, table)| (name.to_owned(), of_table(table)))
                .collect(),
        ))
    }

    /// What makes the tables what they are from what they were in an `earlier` one.
    pub fn since(&self, earlier: &TableSnapshot) -> Vec<TableCopy> {
        let none = HashMap::new();
        let of_table = |(name, now): (&String, &HashMap<Box<[u8]>, Known>)| {
            let before = earlier.0.get(name).unwrap_or(&none);
            let changed = now.iter().filter(|(key, known)| {
                before.get(*key).is_none_or(|before| !before.is_same(known))
            });
            let removed = before.keys().filter(|key| !now.contains_key(*key));
            TableCopy {
                name: name.clone(),
                set: changed.map(|(key, known)| copy(key, known)).collect(),
                removed: removed.map(|key| text(key)).collect(),
            }
        };
        self.0.iter().map(of_table).collect()
    }
}

fn copy(key: &[u8], known: &Known) -> EntryCopy {
    let left = known
        .expires
        .map(|at| at.saturating_duration_since(Instant::now()));
    EntryCopy {
        key: text(key),
        value: match &known.value {
            SharedValue::Int(number) => ValueCopy::Int(*number),
            SharedValue::Str(value) => ValueCopy::Str(text(value)),
        },
        left: left.map(|left| left.as_millis() as u64),
    }
}

/// Writes copies into the tables of the same names. Returns for how many entries there was no table
/// or no room.
pub fn write(tables: &Tables, copies: &[TableCopy]) -> usize {
    let mut refused = 0;
    for copy in copies {
        let Some((_, table)) = tables.all().find(|(name, _)| *name == copy.name) else {
            refused += copy.set.len();
            continue;
        };
        for key in &copy.removed {
            table.remove(&bytes(key));
        }
        for entry in &copy.set {
            let key = bytes(&entry.key);
            let value = match &entry.value {
                ValueCopy::Int(number) => SharedValue::Int(*number),
                ValueCopy::Str(value) => SharedValue::Str(bytes(value).into()),
            };
            if !table.set(&key, value) {
                refused += 1;
            } else if let Some(left) = entry.left {
                table.set_expiry(&key, Duration::from_millis(left));
            }
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use corex_script::settings::TableConfig;

    fn tables() -> Tables {
        let config = TableConfig {
            name: "calls".to_owned(),
            ..TableConfig::default()
        };
        Tables::new(&[config], &[("start".to_owned(), SharedValue::Int(1))])
    }

    fn sent(copies: &[TableCopy]) -> Vec<TableCopy> {
        serde_json::from_slice(&serde_json::to_vec(copies).unwrap()).unwrap()
    }

    #[test]
    fn a_copy_and_what_changed_since_make_the_same_tables() {
        let (old, new) = (tables(), tables());
        let calls = &old.by_name["calls"];
        let any: Vec<u8> = (0..=255).collect();
        calls.set(&any, SharedValue::Str(any.clone().into()));
        calls.set(b"removed", SharedValue::Int(1));
        calls.set(b"changed", SharedValue::Int(1));
        calls.set(b"kept", SharedValue::Int(-5));
        calls.set_expiry(b"kept", Duration::from_secs(1000));
        let first = TableSnapshot::take(&old).unwrap();
        assert_eq!(write(&new, &sent(&first.since(&Default::default()))), 0);
        calls.remove(b"removed");
        calls.set(b"changed", SharedValue::Int(2));
        calls.set(b"added", SharedValue::Int(3));
        old.values.set(b"start", SharedValue::Int(7));
        let changes = TableSnapshot::take(&old).unwrap().since(&first);
        let changed: usize = changes.iter().map(|copy| copy.set.len()).sum();
        assert_eq!(changed, 3, "{changes:?}");
        assert_eq!(write(&new, &sent(&changes)), 0);
        let again = TableSnapshot::take(&new).unwrap();
        let differences = TableSnapshot::take(&old).unwrap().since(&again);
        assert!(
            differences
                .iter()
                .all(|copy| copy.set.is_empty() && copy.removed.is_empty()),
            "{differences:?}"
        );
        let left = new.by_name["calls"].expiry(b"kept").unwrap();
        assert!(left > Duration::from_secs(900));
        assert_eq!(new.by_name["calls"].expiry(b"changed"), None);
    }

    #[test]
    fn entries_of_tables_that_are_gone_are_counted() {
        let old = tables();
        old.by_name["calls"].set(b"x", SharedValue::Int(1));
        let copies = TableSnapshot::take(&old)
            .unwrap()
            .since(&Default::default());
        assert_eq!(write(&Tables::new(&[], &[]), &copies), 1);
    }
}
