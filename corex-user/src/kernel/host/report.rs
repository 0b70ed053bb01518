//! What people want to know of an interface.

use std::net::IpAddr;

use super::{
    changes::mac_text,
    links::{Link, parts_of, stack_on},
    snapshot::Snapshot,
};

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceReport {
    /// `up`, `down`, `gone`; or `replaced` by another one of the same name.
    pub state: &'static str,
    /// Largest IP packet in bytes; 0 of one that is gone.
    pub mtu: u32,
    /// Its MAC.
    pub mac: Option<String>,
    /// Its addresses, and those of interfaces that stand on it.
    pub addresses: Vec<HostAddressReport>,
}

/// An address that packets to an interface can be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddressReport {
    /// The address.
    pub ip: IpAddr,
    /// The name of the interface that has it.
    pub interface: String,
    /// Whether the XDP program knows it for the host's; else the stack decides.
    pub is_steered: bool,
}

impl Snapshot {
    /// The interface that had this name and index when it was attached to.
    pub fn report(&self, name: &str, index: u32) -> InterfaceReport {
        let link = self.links.get(&index);
        let has_name = |link: &Link| link.name == name;
        let state = match link {
            Some(link) if link.is_up => "up",
            Some(_) => "down",
            None if self.links.values().any(has_name) => "replaced",
            None => "gone",
        };
        let stack = &stack_on(&self.links, index) | &parts_of(&self.links, index);
        let addresses = self
            .addresses
            .iter()
            .filter(|(address, _)| stack.contains(&address.ifindex))
            .filter_map(|(address, assignment)| {
                let of = self.links.get(&address.ifindex)?;
                let is_scoped = match address.ip {
                    IpAddr::V6(ip) => ip.is_unicast_link_local(),
                    IpAddr::V4(_) => false,
                };
                let is_elsewhere = is_scoped && address.ifindex != index;
                Some(HostAddressReport {
                    ip: address.ip,
                    interface: of.name.clone(),
                    is_steered: assignment.is_usable && !is_elsewhere,
                })
            });
        InterfaceReport {
            state,
            mtu: link.map_or(0, |link| link.mtu),
            mac: link.and_then(|link| link.mac).map(mac_text),
            addresses: addresses.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::addresses::{Assignment, LinkAddress};
    use super::*;

    #[test]
    fn an_interface_is_shown_with_what_stands_on_it_and_gone_or_replaced_when_it_is() {
        let link = |name: &str, lower| Link {
            name: name.to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1400,
            is_up: true,
            lower,
            ..Link::default()
        };
        let mut snapshot = Snapshot::default();
        snapshot.links.insert(2, link("eth0", None));
        snapshot.links.insert(3, link("vrrp7", Some(2)));
        for (ifindex, ip, is_usable) in [
            (2, "10.0.0.1", true),
            (2, "fd00::1", false),
            (3, "10.0.0.50", true),
            (3, "fe80::50", true),
        ] {
            let address = LinkAddress {
                ifindex,
                ip: ip.parse().unwrap(),
                prefix_len: 32,
            };
            let assignment = Assignment {
                broadcast: None,
                is_usable,
            };
            snapshot.addresses.insert(address, assignment);
        }
        let report = snapshot.report("eth0", 2);
        assert_eq!((report.state, report.mtu), ("up", 1400));
        assert_eq!(report.mac.as_deref(), Some("02:00:00:00:00:01"));
        let addresses: Vec<_> = report
            .addresses
            .iter()
            .map(|a| (a.ip.to_string(), a.interface.as_str(), a.is_steered))
            .collect();
        let expected = [
            ("10.0.0.1", "eth0", true),
            ("fd00::1", "eth0", false),
            ("10.0.0.50", "vrrp7", true),
            ("fe80::50", "vrrp7", false),
        ];
        assert_eq!(
            addresses,
            expected.map(|(ip, of, is)| (ip.to_owned(), of, is))
        );
        assert_eq!(snapshot.report("eth0", 9).state, "replaced");
        assert_eq!(snapshot.report("eth9", 9).state, "gone");
    }
}
