//! Network interfaces: names, indices, addresses, queues.

use std::{ffi::CString, fs, io, net::IpAddr};

use nix::{
    ifaddrs::getifaddrs,
    net::if_::{if_indextoname, if_nametoindex},
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
    let Ok(list) = getifaddrs() else {
        return Vec::new();
    };
    list.filter_map(|entry| {
        let address = entry.address?;
        let ip = address
            .as_sockaddr_in()
            .map(|a| IpAddr::V4(a.ip()))
            .or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
        Some((entry.interface_name, ip))
    })
    .collect()
}
