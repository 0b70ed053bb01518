//! What the XDP programs are to go by, worked out of links and addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use corex_common::host::{
    BROADCAST, HostAddress, HostMac, LOCAL, MAX_HOST_ADDRESSES, MAX_HOST_MACS, STACKED,
};
use corex_common::maps::{FAMILY_V4, FAMILY_V6};

use super::{
    addresses::subnet_broadcast,
    links::{parts_of, stack_on},
    snapshot::Snapshot,
};

/// The contents of the maps HOST_MACS and HOST_ADDRESSES.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostTables {
    /// What is in HOST_MACS.
    pub macs: BTreeMap<HostMac, u32>,
    /// What is in HOST_ADDRESSES.
    pub addresses: BTreeMap<HostAddress, u32>,
    /// Flags of HOST_STATE.
    pub flags: u32,
    /// Why there is less in them than the host has.
    pub overflow: Vec<&'static str>,
}

/// Said when the MACs don't fit.
const TOO_MANY_MACS: &str = "more MACs than the map HOST_MACS holds: \
    frames to some of the interfaces that stand on others don't go by AF_XDP";
/// Said when the addresses don't fit.
const TOO_MANY_ADDRESSES: &str = "more addresses than the map HOST_ADDRESSES holds: \
    nothing goes by AF_XDP in proxy mode, all by the kernel's sockets";

impl HostTables {
    /// For programs on the interfaces with these indices.
    pub fn of(snapshot: &Snapshot, interfaces: &BTreeSet<u32>) -> Self {
        let links = &snapshot.links;
        let arrivals: BTreeSet<u32> = interfaces
            .iter()
            .flat_map(|index| parts_of(links, *index))
            .collect();
        let stacks: BTreeMap<u32, BTreeSet<u32>> = arrivals
            .into_iter()
            .map(|index| (index, &stack_on(links, index) | &parts_of(links, index)))
            .collect();
        let mut tables = Self::default();
        tables.add_macs(snapshot, &stacks);
        tables.add_addresses(snapshot, &stacks);
        tables
    }

    fn add_macs(&mut self, snapshot: &Snapshot, stacks: &BTreeMap<u32, BTreeSet<u32>>) {
        let own = stacks.keys().map(|index| (*index, *index));
        let standing = stacks
            .iter()
            .flat_map(|(index, stack)| stack.iter().map(|upper| (*index, *upper)));
        // Those of the interfaces themselves come first.
        for (ifindex, of) in own.chain(standing) {
            let Some(mac) = snapshot.links.get(&of).and_then(|link| link.mac) else {
                continue;
            };
            if self.macs.len() >= MAX_HOST_MACS as usize {
                self.overflow.push(TOO_MANY_MACS);
                break;
            }
            let unused = [0; 2];
            let key = HostMac {
                ifindex,
                mac,
                unused,
            };
            self.macs.entry(key).or_insert(of);
        }
    }

    fn add_addresses(&mut self, snapshot: &Snapshot, stacks: &BTreeMap<u32, BTreeSet<u32>>) {
        for (address, assignment) in &snapshot.addresses {
            if !assignment.is_usable || address.ip.is_loopback() {
                continue;
            }
            match address.ip {
                IpAddr::V4(ip) => {
                    self.addresses.insert(key_v4(ip), LOCAL);
                    let of_subnet = subnet_broadcast(ip, address.prefix_len);
                    for broadcast in of_subnet.into_iter().chain(assignment.broadcast) {
                        self.addresses.entry(key_v4(broadcast)).or_insert(BROADCAST);
                    }
                }
                IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                    for (index, stack) in stacks {
                        if stack.contains(&address.ifindex) {
                            let key = HostAddress::at(ip.octets(), FAMILY_V6, *index);
                            if address.ifindex == *index {
                                self.addresses.insert(key, LOCAL);
                            } else {
                                self.addresses.entry(key).or_insert(STACKED);
                            }
                        }
                    }
                }
                IpAddr::V6(ip) => {
                    let key = HostAddress::at(ip.octets(), FAMILY_V6, 0);
                    self.addresses.insert(key, LOCAL);
                }
            }
        }
        if self.addresses.len() > MAX_HOST_ADDRESSES as usize {
            // Of what is missing, none could be told from another host's.
            self.addresses.clear();
            self.overflow.push(TOO_MANY_ADDRESSES);
        }
    }
}

fn key_v4(ip: Ipv4Addr) -> HostAddress {
    let mut addr = [0; 16];
    addr[..4].copy_from_slice(&ip.octets());
    HostAddress::at(addr, FAMILY_V4, 0)
}

#[cfg(test)]
mod tests {
    use super::super::{
        addresses::{Assignment, LinkAddress},
        links::Link,
    };
    use super::*;

    fn link(mac: u8, lower: Option<u32>) -> Link {
        Link {
            mac: Some([2, 0, 0, 0, 0, mac]),
            lower,
            ..Link::default()
        }
    }

    fn add(snapshot: &mut Snapshot, ifindex: u32, ip: &str, prefix_len: u8) {
        let ip = ip.parse().unwrap();
        let address = LinkAddress {
            ifindex,
            ip,
            prefix_len,
        };
        let assignment = Assignment {
            broadcast: None,
            is_usable: true,
        };
        snapshot.addresses.insert(address, assignment);
    }

    #[test]
    fn a_bridge_answers_to_the_macs_of_its_ports_and_each_port_to_that_of_the_bridge() {
        let mut snapshot = host();
        for port in [1, 2] {
            snapshot.links.entry(port).or_default().master = Some(9);
        }
        snapshot.links.insert(9, link(9, None));
        let mut expected = vec![(1, 1), (1, 3), (1, 9), (2, 2), (2, 9)];
        let of_bridge = [(9, 1), (9, 2), (9, 9)];
        expected.extend(of_bridge);
        let macs = |tables: HostTables| -> Vec<(u32, u8)> {
            let keys = tables.macs.into_keys();
            keys.map(|key| (key.ifindex, key.mac[5])).collect()
        };
        assert_eq!(macs(HostTables::of(&snapshot, &[9].into())), expected);
        let of_port = macs(HostTables::of(&snapshot, &[2].into()));
        assert_eq!(of_port, [(2, 2), (2, 9)]);
    }

    /// Two NICs; a macvlan, 3, on the first one.
    fn host() -> Snapshot {
        let mut snapshot = Snapshot {
            links: [
                (1, link(1, None)),
                (2, link(2, None)),
                (3, link(3, Some(1))),
            ]
            .into(),
            addresses: BTreeMap::new(),
        };
        add(&mut snapshot, 1, "10.0.0.1", 24);
        add(&mut snapshot, 2, "10.0.0.255", 32);
        add(&mut snapshot, 3, "fe80::3", 64);
        add(&mut snapshot, 2, "fe80::2", 64);
        add(&mut snapshot, 2, "fd00::2", 64);
        add(&mut snapshot, 7, "127.0.0.1", 8);
        add(&mut snapshot, 7, "::1", 128);
        snapshot
    }

    #[test]
    fn macs_are_those_of_the_interface_and_of_what_stands_on_it() {
        let tables = HostTables::of(&host(), &[1].into());
        let macs: Vec<(u32, u8, u32)> = tables
            .macs
            .iter()
            .map(|(key, of)| (key.ifindex, key.mac[5], *of))
            .collect();
        assert_eq!(macs, [(1, 1, 1), (1, 3, 3)]);
        assert!(tables.overflow.is_empty());
    }

    #[test]
    fn addresses_are_those_of_all_links_but_link_local_ones_belong_to_their_link() {
        let tables = HostTables::of(&host(), &[1].into());
        let v6 = |last: u8, first: [u8; 2], ifindex| {
            let mut addr = [0; 16];
            addr[..2].copy_from_slice(&first);
            addr[15] = last;
            HostAddress {
                addr,
                family: 6,
                ifindex,
            }
        };
        let expected = [
            (key_v4(Ipv4Addr::new(10, 0, 0, 1)), LOCAL),
            // Somebody's broadcast, but also an address.
            (key_v4(Ipv4Addr::new(10, 0, 0, 255)), LOCAL),
            (v6(2, [0xfd, 0], 0), LOCAL),
            // Of the macvlan: left to the stack, which knows its scope.
            (v6(3, [0xfe, 0x80], 1), STACKED),
        ];
        assert_eq!(tables.addresses, BTreeMap::from(expected));
    }

    #[test]
    fn with_more_addresses_than_fit_none_is_told_and_with_more_macs_the_own_ones() {
        let mut snapshot = host();
        let too_many = MAX_HOST_ADDRESSES + 1;
        for number in 0..too_many {
            let ip = Ipv4Addr::from_bits(0x0a01_0000 + number).to_string();
            add(&mut snapshot, 2, &ip, 32);
        }
        for number in 0..MAX_HOST_MACS {
            let mut on = link(0, Some(1));
            on.mac = Some([6, 0, 0, 0, (number >> 8) as u8, number as u8]);
            snapshot.links.insert(100 + number, on);
        }
        let tables = HostTables::of(&snapshot, &[1, 2].into());
        assert!(tables.addresses.is_empty());
        assert_eq!(tables.macs.len(), MAX_HOST_MACS as usize);
        for ifindex in [1, 2] {
            let key = HostMac {
                ifindex,
                mac: [2, 0, 0, 0, 0, ifindex as u8],
                unused: [0; 2],
            };
            assert!(tables.macs.contains_key(&key));
        }
        assert_eq!(tables.overflow.len(), 2);
    }
}
