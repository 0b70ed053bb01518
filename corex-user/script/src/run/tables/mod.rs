//! Values that all workers share: `$shv()` and hash tables.

mod shard;
mod table;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use self::table::{Listed, Table, Use};
use crate::settings::{SharedValue, TableConfig};

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

    /// Shares the values of a configuration whose place this one may take: those of `$shv()`, and
    /// the tables that are still set up as they were. They stay as they are: should this one be
    /// refused, nothing has changed.
    pub fn share(&mut self, old: &Tables) {
        self.values = Arc::clone(&old.values);
        for (name, table) in &mut self.by_name {
            if let Some(old) = old.by_name.get(name).filter(|t| t.config == table.config) {
                *table = Arc::clone(old);
            }
        }
    }

    /// Has `$shv()` that aren't there yet start as the configuration says, once it has taken over.
    pub fn start(&self, values: &[(String, SharedValue)]) {
        for (name, value) in values {
            if !self.values.has(name.as_bytes()) {
                self.values.set(name.as_bytes(), value.clone());
            }
        }
    }

    /// All tables with their names; that of `$shv()` last.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Arc<Table>)> {
        let named = self.by_name.iter().map(|(name, table)| (&**name, table));
        named.chain([("$shv()", &self.values)])
    }
}
