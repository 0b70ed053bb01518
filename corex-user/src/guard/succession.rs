//! What outlives an instance: entries that the configuration doesn't have, and buckets.

use std::{
    collections::HashSet,
    io,
    path::Path,
    sync::{PoisonError, atomic::Ordering},
};

use corex_common::guard::{
    Listed,
    lists::BY_CONFIG,
    rates::{Rates, Source, SourceKey},
};

use super::{Clocks, Guard, Kept, Which, kept};
use crate::kernel::{
    guard::{Left, now},
    root_files,
};

impl Guard {
    /// Puts entries in that were kept, but for those whose time is over. The configuration's entries
    /// stay as they are. Returns how many there was no room for.
    pub fn restore(&self, kept: &[Kept]) -> usize {
        let Some(shared) = &self.0 else { return 0 };
        let clocks = Clocks::now();
        let mut refused = 0;
        for entry in kept {
            let listed = entry.listed(&clocks);
            let list = shared.list(entry.which);
            let is_config = |listed: Listed| listed.origin == BY_CONFIG;
            if !listed.is_alive(clocks.monotonic) || list.get(&entry.network).is_some_and(is_config)
            {
                continue;
            }
            let walk = shared.walk(entry.which).load(Ordering::Relaxed);
            match list.put(entry.network, listed, walk) {
                Ok(()) => shared.has_changed(entry.which, entry.network),
                Err(_) => refused += 1,
            }
        }
        refused
    }

    /// Takes over entries of an instance that has ended, but for those of its configuration.
    pub fn adopt(&self, left: &[Left]) {
        let clocks = Clocks::now();
        let kept: Vec<Kept> = left
            .iter()
            .filter(|left| left.listed.origin != BY_CONFIG)
            .map(|left| {
                let which = if left.is_allowed {
                    Which::Allow
                } else {
                    Which::Block
                };
                Kept::of(which, left.network, &left.listed, &clocks)
            })
            .collect();
        self.restore(&kept);
    }

    /// Notes from now on which entries change.
    pub fn note_changes(&self) {
        if let Some(shared) = &self.0 {
            let mut journal = shared
                .journal
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *journal = Some(HashSet::new());
        }
    }

    /// Entries that have changed since: as they are now, and those that aren't there any more. Those of
    /// the configuration are left out.
    pub fn noted_changes(&self) -> (Vec<Kept>, Vec<Kept>) {
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        let Some(shared) = &self.0 else {
            return (set, removed);
        };
        let mut journal = shared
            .journal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let changed = journal.take().unwrap_or_default();
        drop(journal);
        let clocks = Clocks::now();
        for (which, network) in changed {
            match shared.list(which).get(&network) {
                Some(listed) if listed.origin == BY_CONFIG => {}
                Some(listed) => set.push(Kept::of(which, network, &listed, &clocks)),
                None => {
                    let nothing = Listed::default();
                    removed.push(Kept::of(which, network, &nothing, &clocks));
                }
            }
        }
        (set, removed)
    }

    /// The rules of rates, and the buckets that user space has of sources; at most so many.
    pub fn buckets(&self, most: usize) -> (Rates, Vec<(SourceKey, Source)>) {
        match self.active() {
            Some(shared) => (shared.buckets.rates(), shared.buckets.in_use(most, now())),
            None => Default::default(),
        }
    }

    /// Goes on with such buckets.
    pub fn take_buckets(&self, buckets: impl IntoIterator<Item = (SourceKey, Source)>) {
        if let Some(shared) = self.active() {
            shared.buckets.take(buckets);
        }
    }

    /// What there is beside the configuration's entries.
    pub fn kept(&self) -> Vec<Kept> {
        let clocks = Clocks::now();
        let Some(shared) = &self.0 else {
            return Vec::new();
        };
        let of = |which: Which| {
            let entries = shared.list(which).entries().into_iter();
            entries.map(move |(network, listed)| (which, network, listed))
        };
        of(Which::Allow)
            .chain(of(Which::Block))
            .filter(|(_, _, listed)| {
                listed.origin != BY_CONFIG && listed.is_alive(clocks.monotonic)
            })
            .map(|(which, network, listed)| Kept::of(which, network, &listed, &clocks))
            .collect()
    }

    /// Writes what there is beside the configuration's entries to a file, whole or not at all. Returns
    /// how many entries.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, path: &Path) -> io::Result<usize> {
        let kept = self.kept();
        let mut text = kept::HEADER.to_owned();
        for entry in &kept {
            text.push_str(&entry.line());
            text.push('\n');
        }
        root_files::replace(path, text.as_bytes())?;
        Ok(kept.len())
    }
}
