//! The maps HOST_MACS and HOST_ADDRESSES.

use std::collections::BTreeMap;

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};
use corex_common::host::{HostAddress, HostMac};

use super::tables::HostTables;

/// The maps, and what is in them.
pub struct HostMaps {
    macs: HashMap<MapData, HostMac, u32>,
    addresses: HashMap<MapData, HostAddress, u32>,
    written: HostTables,
}

impl HostMaps {
    /// Maps that are empty.
    pub fn new(
        macs: HashMap<MapData, HostMac, u32>,
        addresses: HashMap<MapData, HostAddress, u32>,
    ) -> Self {
        Self {
            macs,
            addresses,
            written: HostTables::default(),
        }
    }

    /// Makes them hold this; only what differs is written.
    ///
    /// # Errors
    /// What the kernel says. What wasn't written is tried again the next time.
    pub fn write(&mut self, tables: &HostTables) -> Result<(), MapError> {
        step(&mut self.macs, &mut self.written.macs, &tables.macs)?;
        step(
            &mut self.addresses,
            &mut self.written.addresses,
            &tables.addresses,
        )
    }
}

/// Brings a map, of which `written` is known, to what it shall be. Removes first, for room.
fn step<K: Pod + Ord>(
    map: &mut HashMap<MapData, K, u32>,
    written: &mut BTreeMap<K, u32>,
    wanted: &BTreeMap<K, u32>,
) -> Result<(), MapError> {
    let gone: Vec<K> = written
        .keys()
        .filter(|key| !wanted.contains_key(key))
        .copied()
        .collect();
    for key in gone {
        match map.remove(&key) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(error),
        }
        written.remove(&key);
    }
    for (key, value) in wanted {
        if written.get(key) != Some(value) {
            map.insert(key, value, 0)?;
            written.insert(*key, *value);
        }
    }
    Ok(())
}
