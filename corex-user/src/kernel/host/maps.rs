//! The maps HOST_MACS, HOST_ADDRESSES and HOST_STATE.

use std::collections::BTreeMap;

use aya::{
    Pod,
    maps::{Array, HashMap, MapData, MapError},
};
use corex_common::host::{HostAddress, HostMac, HostState};

use super::tables::HostTables;

/// The maps, and what is in them.
pub struct HostMaps {
    macs: HashMap<MapData, HostMac, u32>,
    addresses: HashMap<MapData, HostAddress, u32>,
    state: Array<MapData, HostState>,
    written: HostTables,
    told: HostState,
}

impl HostMaps {
    /// Maps that are empty.
    pub fn new(
        macs: HashMap<MapData, HostMac, u32>,
        addresses: HashMap<MapData, HostAddress, u32>,
        state: Array<MapData, HostState>,
    ) -> Self {
        Self {
            macs,
            addresses,
            state,
            written: HostTables::default(),
            told: HostState::default(),
        }
    }

    /// Makes them hold this; only what differs is written.
    ///
    /// # Errors
    /// What the kernel says. What wasn't written is tried again the next time.
    pub fn write(&mut self, tables: &HostTables) -> Result<(), MapError> {
        if self.told.version > 0 && self.written == *tables {
            return Ok(());
        }
        let stepped = step(&mut self.macs, &mut self.written.macs, &tables.macs).and_then(|()| {
            step(
                &mut self.addresses,
                &mut self.written.addresses,
                &tables.addresses,
            )
        });
        // Behind the changes, and where only some of them were made, too: what the programs found
        // before holds no more.
        self.told = HostState {
            version: self.told.version.wrapping_add(1).max(1),
            flags: tables.flags,
        };
        self.state.set(0, self.told, 0)?;
        stepped?;
        self.written.flags = tables.flags;
        self.written.overflow.clone_from(&tables.overflow);
        Ok(())
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
