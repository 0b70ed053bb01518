//! Network interfaces: names, indices, addresses, queues.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use nix::{
    ifaddrs::getifaddrs,
    net::if_::{if_indextoname, if_nametoindex},
    sys::socket::SockaddrStorage,
};

use super::offload;

/// An interface that XDP is to be attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, as in `ip link`.
    pub name: String,
    /// Index, by which the kernel knows it.
    pub index: u32,
    /// Receive queues.
    pub queues: u32,
    /// Queues that transmit: those with numbers below this. A NIC may have fewer of them than
    /// receive queues (virtio-net with an XDP program; `ethtool -L IF tx N`).
    pub transmit_queues: u32,
    /// MTU in bytes.
    pub mtu: u32,
}

impl Interface {
    /// Looks an interface up by its name.
    ///
    /// # Errors
    /// `NotFound` when there is no interface of that name, with the names that there are.
    pub fn by_name(name: &str) -> io::Result<Self> {
        let unknown = || {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "there is no interface {name:?} here; there are: {}",
                    names().join(", ")
                ),
            )
        };
        let c_name = CString::new(name).map_err(|_| unknown())?;
        let index = if_nametoindex(c_name.as_c_str()).map_err(|_| unknown())?;
        let class = format!("/sys/class/net/{name}");
        let (queues, transmit_queues) = count_queues(name, index);
        let mtu = fs::read_to_string(format!("{class}/mtu"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(1500);
        Ok(Self {
            name: name.to_owned(),
            index,
            queues: queues.max(1),
            transmit_queues: transmit_queues.max(1),
            mtu,
        })
    }
}

impl Interface {
    /// Whether there is a device behind it, hardware or what a hypervisor shows as such.
    pub fn is_hardware(&self) -> bool {
        Path::new("/sys/class/net")
            .join(&self.name)
            .join("device")
            .exists()
    }

    /// The name of the interface with that index.
    ///
    /// # Errors
    /// There is none.
    pub fn name_of(index: u32) -> io::Result<String> {
        let name = if_indextoname(index)?;
        Ok(name.to_string_lossy().into_owned())
    }
}

/// Receive and transmit queues in use: by sysfs, which has the kernel's own numbers, or, where that
/// isn't this network namespace's, as the driver tells. Else one of each; a queue too few shows as
/// pass_no_xsk, never as a loss.
fn count_queues(name: &str, index: u32) -> (u32, u32) {
    let class = format!("/sys/class/net/{name}");
    let is_it = fs::read_to_string(format!("{class}/ifindex"))
        .is_ok_and(|text| text.trim() == index.to_string());
    if is_it && let Ok(entries) = fs::read_dir(format!("{class}/queues")) {
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        let count = |prefix| {
            let of_kind = names.iter().filter(|name| {
                let name = name.to_string_lossy();
                name.starts_with(prefix)
            });
            of_kind.count() as u32
        };
        return (count("rx-"), count("tx-"));
    }
    offload::channels(name).unwrap_or((1, 1))
}

/// Names of all interfaces.
fn names() -> Vec<String> {
    let mut names: Vec<String> = addresses().into_iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    names
}

/// All interface addresses, as (interface name, address).
pub fn addresses() -> Vec<(String, IpAddr)> {
    networks()
        .into_iter()
        .map(|network| (network.interface, network.address))
        .collect()
}

/// Names of the interfaces that packets to an address to listen on come by: those that have it; of
/// a wildcard, all with an address; of a link-local one, the one that its scope is. Where none has
/// it and it `may_be_absent`, those in whose network it would be. Loopback isn't among them.
pub fn carrying(address: SocketAddr, may_be_absent: bool) -> BTreeSet<String> {
    let networks = networks();
    let names = |wanted: &dyn Fn(&Network) -> bool| -> BTreeSet<String> {
        networks
            .iter()
            .filter(|network| network.interface != LOOPBACK && wanted(network))
            .map(|network| network.interface.clone())
            .collect()
    };
    if let SocketAddr::V6(v6) = address
        && v6.scope_id() != 0
    {
        return Interface::name_of(v6.scope_id()).into_iter().collect();
    }
    let ip = address.ip();
    if ip.is_unspecified() {
        return names(&|_| true);
    }
    let having = names(&|network| network.address == ip);
    if having.is_empty() && may_be_absent {
        return names(&|network| network.contains(ip));
    }
    having
}

/// The name of the loopback interface.
const LOOPBACK: &str = "lo";

/// An interface's address and the network that it is in.
struct Network {
    interface: String,
    address: IpAddr,
    mask: Option<IpAddr>,
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, self.mask, ip) {
            (IpAddr::V4(own), Some(IpAddr::V4(mask)), IpAddr::V4(ip)) => {
                (own.to_bits() ^ ip.to_bits()) & mask.to_bits() == 0
            }
            (IpAddr::V6(own), Some(IpAddr::V6(mask)), IpAddr::V6(ip)) => {
                (own.to_bits() ^ ip.to_bits()) & mask.to_bits() == 0
            }
            _ => false,
        }
    }
}

fn networks() -> Vec<Network> {
    let Ok(list) = getifaddrs() else {
        return Vec::new();
    };
    let ip = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    list.filter_map(|entry| {
        Some(Network {
            interface: entry.interface_name,
            address: ip(entry.address?)?,
            mask: entry.netmask.and_then(ip),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_of_its_prefix() {
        let network = |address: &str, mask: &str| Network {
            interface: "eth0".to_owned(),
            address: address.parse().unwrap(),
            mask: Some(mask.parse().unwrap()),
        };
        let v4 = network("10.0.0.1", "255.255.255.0");
        let v6 = network("fd00::1", "ffff:ffff:ffff:ffff::");
        for (ip, in_v4, in_v6) in [
            ("10.0.0.77", true, false),
            ("10.0.1.1", false, false),
            ("fd00::9", false, true),
            ("fd00:0:0:1::9", false, false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!((v4.contains(ip), v6.contains(ip)), (in_v4, in_v6), "{ip}");
        }
    }

    #[test]
    fn loopback_carries_nothing() {
        for address in ["127.0.0.1:5060", "[::1]:5060"] {
            assert!(carrying(address.parse().unwrap(), true).is_empty());
        }
    }
}
