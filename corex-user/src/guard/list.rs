//! A list of networks, which all workers look into and others change.

use std::{
    collections::HashMap,
    hash::BuildHasher as _,
    net::IpAddr,
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use corex_common::guard::{
    Listed, MAX_LISTED, Network,
    lists::{OF_PORT, OF_PROTO, SEEN_NS, SHAPES},
};

/// Parts with a lock each, so that nobody waits for who goes through a whole list.
const SHARDS: usize = 64;
/// Lengths of prefixes, 0 to 128.
const LENGTHS: usize = 129;
/// A place for each family, shape and length.
const PLACES: usize = 2 * SHAPES as usize * LENGTHS;

/// An entry.
struct Entry {
    listed: Listed,
    /// What user space found it for, beside [`Listed::hits`], which the programs count.
    hits: AtomicU64,
    last_seen: AtomicU64,
    /// The last walk through the programs' maps that it was found by, or put in.
    walk: AtomicU32,
}

impl Entry {
    fn new(listed: Listed, walk: u32) -> Self {
        Self {
            listed: Listed {
                hits: 0,
                last_seen: 0,
                ..listed
            },
            hits: AtomicU64::new(listed.hits),
            last_seen: AtomicU64::new(listed.last_seen),
            walk: AtomicU32::new(walk),
        }
    }

    /// With all that was counted.
    fn read(&self) -> Listed {
        let last_seen = self.last_seen.load(Ordering::Relaxed);
        Listed {
            hits: self.listed.hits + self.hits.load(Ordering::Relaxed),
            last_seen: self.listed.last_seen.max(last_seen),
            ..self.listed
        }
    }
}

/// Why an entry isn't added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The list.
pub struct List {
    shards: Box<[RwLock<HashMap<Network, Entry>>]>,
    hasher: std::hash::RandomState,
    /// How many entries there are of each family, shape and length.
    counts: Box<[AtomicUsize]>,
    /// Entries of IPv4, and of IPv6.
    totals: [AtomicUsize; 2],
    /// How many of each there may be.
    most: usize,
}

impl Default for List {
    fn default() -> Self {
        Self::of(MAX_LISTED as usize)
    }
}

impl List {
    /// An empty list with room for so many entries of each family.
    pub fn of(most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: std::hash::RandomState::new(),
            counts: (0..PLACES).map(|_| AtomicUsize::new(0)).collect(),
            totals: [AtomicUsize::new(0), AtomicUsize::new(0)],
            most,
        }
    }
}

/// Where entries of a kind are counted.
fn place(is_v4: bool, shape: u32, len: u8) -> usize {
    let family = usize::from(!is_v4);
    (family * SHAPES as usize + shape as usize) * LENGTHS + usize::from(len)
}

type Shard = HashMap<Network, Entry>;

impl List {
    fn shard(&self, network: &Network) -> Option<&RwLock<Shard>> {
        let hash = self.hasher.hash_one(network) as usize;
        self.shards.get(hash % SHARDS)
    }

    fn count(&self, network: &Network, is_more: bool) {
        let is_v4 = network.addr.is_ipv4();
        let counts = [
            self.counts.get(place(is_v4, network.shape(), network.len)),
            self.totals.get(usize::from(!is_v4)),
        ];
        for count in counts.into_iter().flatten() {
            if is_more {
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let totals = self.totals.iter();
        totals.map(|total| total.load(Ordering::Relaxed)).sum()
    }

    /// How many entries of a family there are, and how many there may be.
    pub fn filled(&self, is_v4: bool) -> (usize, usize) {
        let total = self.totals.get(usize::from(!is_v4));
        (
            total.map_or(0, |total| total.load(Ordering::Relaxed)),
            self.most,
        )
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which shapes entries of a family have, by bit.
    pub fn shapes(&self, is_v4: bool) -> u32 {
        (0..SHAPES)
            .filter(|shape| {
                let from = place(is_v4, *shape, 0);
                let counts = self.counts.get(from..from + LENGTHS).unwrap_or_default();
                counts.iter().any(|count| count.load(Ordering::Relaxed) > 0)
            })
            .fold(0, |all, shape| all | 1 << shape)
    }

    /// Puts an entry in, or another one in its place, which keeps what was counted.
    ///
    /// # Errors
    /// When there are as many of the family as there may be.
    pub fn put(&self, network: Network, listed: Listed, walk: u32) -> Result<(), Full> {
        let total = self.totals.get(usize::from(!network.addr.is_ipv4()));
        let is_full = total.is_none_or(|total| total.load(Ordering::Relaxed) >= self.most);
        let Some(mut shard) = self.shard(&network).map(write) else {
            return Err(Full);
        };
        if let Some(entry) = shard.get_mut(&network) {
            let found = entry.read();
            *entry = Entry::new(
                Listed {
                    hits: found.hits,
                    last_seen: found.last_seen,
                    ..listed
                },
                walk,
            );
            return Ok(());
        }
        if is_full {
            return Err(Full);
        }
        shard.insert(network, Entry::new(listed, walk));
        self.count(&network, true);
        Ok(())
    }

    /// Takes an entry out.
    pub fn remove(&self, network: &Network) -> Option<Listed> {
        self.remove_if(network, |_| true)
    }

    /// The same, if it is as it should be.
    pub fn remove_if(&self, network: &Network, wanted: impl Fn(&Listed) -> bool) -> Option<Listed> {
        let mut shard = self.shard(network).map(write)?;
        let listed = shard.get(network)?.read();
        if !wanted(&listed) {
            return None;
        }
        shard.remove(network);
        self.count(network, false);
        Some(listed)
    }

    /// Exactly this entry.
    pub fn get(&self, network: &Network) -> Option<Listed> {
        let shard = self.shard(network).map(read)?;
        shard.get(network).map(Entry::read)
    }

    /// The entry that counts for a source: of those for its transport and the port that it sends to
    /// the closest, of which the one with the longest prefix that hasn't expired.
    pub fn find(
        &self,
        source: IpAddr,
        proto: u8,
        port: u16,
        now: u64,
    ) -> Option<(Network, Listed)> {
        self.search(source, proto, port, now, |_| ())
    }

    /// The same, and counts that it was found.
    pub fn meet(
        &self,
        source: IpAddr,
        proto: u8,
        port: u16,
        now: u64,
    ) -> Option<(Network, Listed)> {
        self.search(source, proto, port, now, |entry| {
            entry.hits.fetch_add(1, Ordering::Relaxed);
            if now.saturating_sub(entry.last_seen.load(Ordering::Relaxed)) > SEEN_NS {
                entry.last_seen.store(now, Ordering::Relaxed);
            }
        })
    }

    fn search(
        &self,
        source: IpAddr,
        proto: u8,
        port: u16,
        now: u64,
        found: impl Fn(&Entry),
    ) -> Option<(Network, Listed)> {
        let host = Network::host(source);
        let is_v4 = host.addr.is_ipv4();
        if self
            .totals
            .get(usize::from(!is_v4))?
            .load(Ordering::Relaxed)
            == 0
        {
            return None;
        }
        for shape in (0..SHAPES).rev() {
            let proto = if shape & OF_PROTO != 0 { proto } else { 0 };
            let port = if shape & OF_PORT != 0 { port } else { 0 };
            for len in (0..=host.len).rev() {
                let count = self.counts.get(place(is_v4, shape, len))?;
                if count.load(Ordering::Relaxed) == 0 {
                    continue;
                }
                let network = Network::new(host.addr, len)?.to(proto, port);
                let shard = self.shard(&network).map(read)?;
                if let Some(entry) = shard.get(&network)
                    && entry.listed.is_alive(now)
                {
                    found(entry);
                    return Some((network, entry.read()));
                }
            }
        }
        None
    }

    /// Whether an entry is for an address of a network. Entries are for any transport and port.
    pub fn touches(&self, network: &Network) -> bool {
        let covers = |wide: &Network, narrow: &Network| {
            wide.len <= narrow.len
                && Network::new(narrow.addr, wide.len).is_some_and(|found| found.addr == wide.addr)
        };
        if self.find(network.addr, 0, 0, 0).is_some() {
            return true;
        }
        if self.is_empty() || *network == Network::host(network.addr) {
            return false;
        }
        let mut shards = self.shards.iter().map(read);
        shards.any(|shard| {
            let mut found = shard.keys();
            found.any(|found| covers(network, found) || covers(found, network))
        })
    }

    /// Takes in what the programs counted for an entry, by the walk of that number. `false`: there is
    /// no such entry.
    pub fn note(&self, network: &Network, kernel: &Listed, walk: u32) -> bool {
        let Some(mut shard) = self.shard(network).map(write) else {
            return false;
        };
        let Some(entry) = shard.get_mut(network) else {
            return false;
        };
        entry.listed.hits = kernel.hits;
        entry.listed.last_seen = kernel.last_seen;
        entry.walk.store(walk, Ordering::Relaxed);
        true
    }

    /// Goes through one part of the list of [`Self::parts`].
    pub fn part(&self, number: usize) -> Vec<(Network, Listed, u32)> {
        let Some(shard) = self.shards.get(number).map(read) else {
            return Vec::new();
        };
        let of = |(network, entry): (&Network, &Entry)| {
            (*network, entry.read(), entry.walk.load(Ordering::Relaxed))
        };
        shard.iter().map(of).collect()
    }

    /// The numbers of its parts.
    pub const fn parts() -> std::ops::Range<usize> {
        0..SHARDS
    }

    /// All entries, those of IPv4 first, by address.
    pub fn entries(&self) -> Vec<(Network, Listed)> {
        let parts = Self::parts().flat_map(|number| self.part(number));
        let mut all: Vec<_> = parts
            .map(|(network, listed, _)| (network, listed))
            .collect();
        all.sort_unstable_by_key(|(network, _)| *network);
        all
    }
}

fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests/list.rs"]
mod tests;
