//! What events of the kernel may change about next hops.

use std::{
    collections::{BTreeSet, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{LinkNextHop, Path};

/// What may make next hops wrong.
#[derive(Debug, Default)]
pub struct Changes {
    /// Whatever it may be.
    pub all: bool,
    /// The kernel told more than was read: all must be read anew.
    pub are_lost: bool,
    /// Destinations whose routes have changed.
    prefixes: HashSet<(IpAddr, u8)>,
    /// Their lengths.
    lengths: BTreeSet<u8>,
    /// Neighbours with another MAC, or none.
    pub neighbours: HashSet<(u32, IpAddr)>,
    /// Interfaces.
    pub links: HashSet<u32>,
}

impl Changes {
    /// Whatever can change.
    pub fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        !self.all && self.prefixes.is_empty() && self.neighbours.is_empty() && self.links.is_empty()
    }

    /// Adds the destinations of a route.
    pub fn add_prefix(&mut self, ip: IpAddr, len: u8) {
        self.prefixes.insert((prefix(ip, len), len));
        self.lengths.insert(len);
    }

    /// Whether they may make the next hop of a path wrong.
    pub fn concern(&self, path: &Path, hop: &LinkNextHop) -> bool {
        let mut prefixes = self
            .lengths
            .iter()
            .map(|len| (prefix(path.remote, *len), *len));
        self.all
            || self.links.contains(&hop.ifindex)
            || self.neighbours.contains(&(hop.ifindex, hop.neighbour))
            || prefixes.any(|prefix| self.prefixes.contains(&prefix))
    }
}

/// The first bits of an address, the others zero.
fn prefix(ip: IpAddr, len: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let host = u32::MAX.checked_shr(len.into()).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & !host).into()
        }
        IpAddr::V6(ip) => {
            let host = u128::MAX.checked_shr(len.into()).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & !host).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn hop(neighbour: &str) -> LinkNextHop {
        LinkNextHop {
            ifindex: 2,
            source_mac: [2; 6],
            neighbour: neighbour.parse().unwrap(),
            destination_mac: [4; 6],
            preferred_source: "10.0.0.1".parse().unwrap(),
            mtu: 1500,
            fresh_until: Instant::now(),
        }
    }

    #[test]
    fn a_change_concerns_the_paths_that_it_may_lead_elsewhere_and_no_others() {
        let path = Path {
            local: "10.0.0.1".parse().unwrap(),
            remote: "192.0.2.9".parse().unwrap(),
            scope: 0,
        };
        let hop = hop("10.0.0.254");
        let concerned = |change: &dyn Fn(&mut Changes)| {
            let mut changes = Changes::default();
            assert!(changes.is_empty() && !changes.concern(&path, &hop));
            change(&mut changes);
            assert!(!changes.is_empty());
            changes.concern(&path, &hop)
        };
        for (prefix, len, is_concerned) in [
            ("0.0.0.0", 0, true),
            ("192.0.2.0", 24, true),
            ("192.0.2.9", 32, true),
            ("192.0.2.8", 32, false),
            ("192.0.3.0", 24, false),
            ("::", 0, false),
        ] {
            let of_prefix = concerned(&|c| c.add_prefix(prefix.parse().unwrap(), len));
            assert_eq!(of_prefix, is_concerned, "{prefix}/{len}");
        }
        for (ifindex, neighbour, is_concerned) in [
            (2, "10.0.0.254", true),
            (3, "10.0.0.254", false),
            (2, "10.0.0.253", false),
        ] {
            let key = (ifindex, neighbour.parse().unwrap());
            let of_neighbour = concerned(&|c| {
                c.neighbours.insert(key);
            });
            assert_eq!(of_neighbour, is_concerned, "{key:?}");
        }
        assert!(concerned(&|c| {
            c.links.insert(2);
        }));
        assert!(concerned(&|c| c.all = true));
    }
}
