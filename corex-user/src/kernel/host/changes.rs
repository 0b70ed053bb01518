//! What has changed between two looks, as one line of the log.

use std::collections::BTreeSet;

use super::{
    links::{Link, parts_of, stack_on},
    snapshot::Snapshot,
};

/// Changes that a line tells at most; of more it tells the number.
const MAX_TOLD: usize = 8;

/// What is new of these interfaces and of those that stand on them: names, MACs, MTUs, addresses,
/// whether they are up. `None`: nothing.
pub fn told(old: &Snapshot, new: &Snapshot, interfaces: &BTreeSet<u32>) -> Option<String> {
    let mut changes = Vec::new();
    for index in &concerned(old, new, interfaces) {
        let (before, after) = (old.links.get(index), new.links.get(index));
        match (before, after) {
            (None, Some(link)) => {
                changes.push(format!("{} is new and {}", link.name, state(link)));
            }
            (Some(link), None) => changes.push(format!("{} is gone", link.name)),
            (Some(before), Some(after)) => {
                if before.name != after.name {
                    changes.push(format!("{} is called {}", before.name, after.name));
                }
                if before.mac != after.mac {
                    let mac = after.mac.map_or_else(|| "none".to_owned(), mac_text);
                    changes.push(format!("{} has the MAC {mac}", after.name));
                }
                if before.mtu != after.mtu {
                    changes.push(format!("{} has the MTU {}", after.name, after.mtu));
                }
                if before.is_up != after.is_up {
                    changes.push(format!("{} is {}", after.name, state(after)));
                }
            }
            _ => {}
        }
        let name = after.or(before).map_or("?", |link| &link.name);
        for (verb, one, other) in [("got", new, old), ("lost", old, new)] {
            let of_link = one
                .addresses
                .iter()
                .filter(|(address, assignment)| address.ifindex == *index && assignment.is_usable);
            for (address, _) in of_link {
                let is_there = other.addresses.get(address).is_some_and(|a| a.is_usable);
                if !is_there {
                    changes.push(format!("{name} {verb} {}", address.ip));
                }
            }
        }
    }
    let more = changes.len().saturating_sub(MAX_TOLD);
    changes.truncate(MAX_TOLD);
    let mut line = changes.join(", ");
    if more > 0 {
        line = format!("{line}, and {more} more");
    }
    (!line.is_empty()).then_some(line)
}

fn state(link: &Link) -> &'static str {
    if link.is_up { "up" } else { "down" }
}

/// Loopback is among them: it is where addresses are put that any interface may be asked for.
fn concerned(old: &Snapshot, new: &Snapshot, interfaces: &BTreeSet<u32>) -> BTreeSet<u32> {
    let stacks = [old, new].into_iter().flat_map(|snapshot| {
        interfaces
            .iter()
            .flat_map(|index| parts_of(&snapshot.links, *index))
            .flat_map(|index| stack_on(&snapshot.links, index))
    });
    let loopback = new.links.iter().filter(|(_, link)| link.name == "lo");
    stacks.chain(loopback.map(|(index, _)| *index)).collect()
}

/// As people write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::super::addresses::{Assignment, LinkAddress};
    use super::*;

    fn host(mac: u8, addresses: &[(u32, &str)]) -> Snapshot {
        let link = |name: &str, mac| Link {
            name: name.to_owned(),
            mac: Some([2, 0, 0, 0, 0, mac]),
            ..Link::default()
        };
        let address = |(ifindex, ip): &(u32, &str)| {
            let address = LinkAddress {
                ifindex: *ifindex,
                ip: ip.parse().unwrap(),
                prefix_len: 32,
            };
            let assignment = Assignment {
                broadcast: None,
                is_usable: true,
            };
            (address, assignment)
        };
        Snapshot {
            links: [(2, link("eth0", mac)), (3, link("eth1", 9))].into(),
            addresses: addresses.iter().map(address).collect(),
        }
    }

    #[test]
    fn a_link_that_is_new_is_told_of_with_its_state() {
        let old = host(1, &[]);
        for (is_up, expected) in [
            (true, "eth2 is new and up"),
            (false, "eth2 is new and down"),
        ] {
            let mut new = host(1, &[]);
            let link = Link {
                name: "eth2".to_owned(),
                is_up,
                ..Link::default()
            };
            new.links.insert(4, link);
            assert_eq!(told(&old, &new, &[4].into()).as_deref(), Some(expected));
        }
    }

    #[test]
    fn one_line_tells_what_has_changed_on_the_interfaces_that_matter() {
        let old = host(1, &[(2, "10.0.0.1"), (2, "10.0.0.2"), (3, "10.1.0.1")]);
        let new = host(0xfe, &[(2, "10.0.0.1"), (2, "10.0.0.3")]);
        let line = told(&old, &new, &[2].into());
        assert_eq!(
            line.as_deref(),
            Some("eth0 has the MAC 02:00:00:00:00:fe, eth0 got 10.0.0.3, eth0 lost 10.0.0.2")
        );
        assert_eq!(told(&old, &old, &[2].into()), None);
        let mut other = old.clone();
        let link = other.links.get_mut(&2).unwrap();
        link.name = "wan".to_owned();
        link.mtu = 1300;
        assert_eq!(
            told(&old, &other, &[2].into()).as_deref(),
            Some("eth0 is called wan, wan has the MTU 1300")
        );
        assert_eq!(
            told(&host(1, &[]), &host(1, &[(3, "10.1.0.1")]), &[2].into()),
            None
        );
    }

    #[test]
    fn a_link_that_goes_down_and_another_mtu_are_told() {
        let old = host(1, &[]);
        let mut new = old.clone();
        let link = new.links.get_mut(&2).unwrap();
        (link.mtu, link.is_up) = (1300, true);
        assert_eq!(
            told(&old, &new, &[2].into()).as_deref(),
            Some("eth0 has the MTU 1300, eth0 is up")
        );
        assert_eq!(
            told(&new, &old, &[2].into()).as_deref(),
            Some("eth0 has the MTU 0, eth0 is down")
        );
    }

    #[test]
    fn a_flood_of_changes_is_one_short_line() {
        let many: Vec<String> = (0..100).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<(u32, &str)> = many.iter().map(|ip| (2, ip.as_str())).collect();
        let line = told(&host(1, &[]), &host(1, &many), &[2].into()).unwrap();
        assert!(line.ends_with(", and 92 more"), "{line}");
    }
}
