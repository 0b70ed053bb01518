//! Values that all workers share: how tables behave, and what values start as.

use std::time::Duration;

/// A value that workers share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SharedValue {
    /// An integer.
    Int(i64),
    /// A string of any bytes.
    Str(Box<[u8]>),
}

/// How a table behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableConfig {
    /// Its name.
    pub name: String,
    /// Entries live so long after they were set; `None`: for ever.
    pub autoexpire: Option<Duration>,
    /// What a key without an entry reads as; `None`: `$null`.
    pub initval: Option<i64>,
    /// Whether writing to an entry that is there starts its time anew.
    pub updateexpire: bool,
    /// The most entries.
    pub max_entries: usize,
    /// The most bytes that they take: keys, strings, and what each entry takes beside.
    pub max_bytes: usize,
}

impl Default for TableConfig {
    fn default() -> TableConfig {
        TableConfig {
            name: String::new(),
            autoexpire: None,
            initval: None,
            updateexpire: true,
            max_entries: 1_000_000,
            max_bytes: 256 << 20,
        }
    }
}

/// How often entries whose time is over are taken out of tables, beside what happens on the way;
/// Kamailio's default.
pub const TABLE_TIMER: Duration = Duration::from_secs(20);
