//! The table behind the `myself` condition.

use std::collections::HashMap;
use std::net::IpAddr;

use super::ports::{Ports, mask};
use super::{Entry, MAX_HOST_LEN};
use crate::{Transport, host_ip};

/// Listen addresses, aliases and domains whose subdomains are ours too.
///
/// A lookup allocates nothing and takes time in proportion to the host's length, not to the
/// number of entries: the host is hashed from its end, and the table is probed at each label.
#[derive(Clone, Debug, Default)]
pub struct Table {
    addresses: HashMap<IpAddr, Ports>,
    domains: Vec<Domain>,
    /// Open addressing with linear probing: an index into `domains` plus one, or 0 where
    /// there is none. The length is a power of two, at most half of it in use.
    slots: Vec<u32>,
}

/// One host name and what is ours of it.
#[derive(Clone, Debug)]
struct Domain {
    hash: u64,
    /// In lower case.
    name: Box<[u8]>,
    /// For the name itself.
    exact: Ports,
    /// For names that end with a dot and this one.
    below: Ports,
}

impl Table {
    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let names: usize = self.domains.iter().map(|domain| domain.name.len()).sum();
        let addresses = self.addresses.len() * (size_of::<IpAddr>() + size_of::<Ports>());
        let domains = self.domains.len() * size_of::<Domain>();
        addresses + domains + names + self.slots.len() * size_of::<u32>()
    }

    /// Builds a table. `exact` are listen addresses (those that a wildcard address stands for
    /// are up to the caller) and `alias` values; `subdomains` are `alias_subdomains` values.
    /// IP addresses have no subdomains: among `subdomains` they match themselves.
    pub fn new<'e>(
        exact: impl IntoIterator<Item = &'e Entry>,
        subdomains: impl IntoIterator<Item = &'e Entry>,
    ) -> Self {
        let mut table = Self::default();
        for entry in exact {
            table.insert(entry, false);
        }
        for entry in subdomains {
            table.insert(entry, true);
        }
        for domain in &mut table.domains {
            domain.exact.finish();
            domain.below.finish();
        }
        table.addresses.values_mut().for_each(Ports::finish);
        table
    }

    /// Whether host, port and transport are ours.
    ///
    /// The host equals an entry's, or ends with a dot and an `alias_subdomains` entry's; case
    /// doesn't matter, and `evilkamailio.org` is not below `kamailio.org`. IP addresses
    /// compare by value, IPv6 with or without brackets. Port 0 and transport `None` match any,
    /// here and in an entry. A host longer than [`MAX_HOST_LEN`] is never ours.
    pub fn is_myself(&self, host: &[u8], port: u16, transport: Option<Transport>) -> bool {
        if host.len() > MAX_HOST_LEN {
            return false;
        }
        let transports = mask(transport);
        if let Some(ip) = host_ip(host) {
            return self
                .addresses
                .get(&ip)
                .is_some_and(|ports| ports.matches(port, transports));
        }
        if self.domains.is_empty() {
            return false;
        }
        let mut hash = Hash::new();
        for (at, &byte) in host.iter().enumerate().rev() {
            if byte == b'.'
                && let Some(domain) = self.domain(hash, &host[at + 1..])
                && domain.below.matches(port, transports)
            {
                return true;
            }
            hash.push(byte);
        }
        self.domain(hash, host).is_some_and(|domain| {
            domain.exact.matches(port, transports) || domain.below.matches(port, transports)
        })
    }

    fn insert(&mut self, entry: &Entry, subdomains: bool) {
        if let Some(ip) = host_ip(entry.host.as_bytes()) {
            self.addresses.entry(ip).or_default().insert(entry);
            return;
        }
        let mut hash = Hash::new();
        entry.host.bytes().rev().for_each(|b| hash.push(b));
        let index = self
            .find(hash, entry.host.as_bytes())
            .unwrap_or_else(|| self.add(hash, entry.host.to_ascii_lowercase().into_bytes()));
        if let Some(domain) = self.domains.get_mut(index) {
            if subdomains {
                domain.below.insert(entry);
            } else {
                domain.exact.insert(entry);
            }
        }
    }

    /// Adds a domain that isn't there yet and returns its index.
    fn add(&mut self, hash: Hash, name: Vec<u8>) -> usize {
        let index = self.domains.len();
        self.domains.push(Domain {
            hash: hash.finish(),
            name: name.into(),
            exact: Ports::default(),
            below: Ports::default(),
        });
        if self.slots.len() < 2 * self.domains.len() {
            self.slots = vec![0; (4 * self.domains.len()).next_power_of_two()];
            for index in 0..self.domains.len() {
                self.occupy(index);
            }
        } else {
            self.occupy(index);
        }
        index
    }

    fn occupy(&mut self, index: usize) {
        let mask = self.slots.len() - 1;
        let mut at = self.domains[index].hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = index as u32 + 1;
    }

    /// The index of a name in `domains`.
    fn find(&self, hash: Hash, name: &[u8]) -> Option<usize> {
        let hash = hash.finish();
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            // 0 is a free slot: the name isn't there. There always is one.
            let index = self.slots.get(at)?.checked_sub(1)? as usize;
            let domain = self.domains.get(index)?;
            if domain.hash == hash && domain.name.eq_ignore_ascii_case(name) {
                return Some(index);
            }
            at = (at + 1) & mask;
        }
    }

    fn domain(&self, hash: Hash, name: &[u8]) -> Option<&Domain> {
        self.domains.get(self.find(hash, name)?)
    }
}

/// FNV-1a over a name's bytes in lower case, from the last to the first, so that the hash of
/// each of its endings comes out on the way.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    const fn push(&mut self, byte: u8) {
        self.0 = (self.0 ^ byte.to_ascii_lowercase() as u64).wrapping_mul(0x0100_0000_01b3);
    }

    /// The upper half is the better mixed one, and slots are chosen by the lower.
    const fn finish(self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
