//! What the host looks like now, as far as the XDP programs go by it: which frames and packets are
//! for it, and which can't come from the wire. User space follows the kernel and keeps the maps in
//! step.

use crate::{ip::is_link_local_v6, maps::FAMILY_V6};

/// Hash: [`HostMac`] to the index of the interface that has the MAC, which may stand on the one
/// where frames arrive: macvlan, VLAN, bridge, bond.
pub const HOST_MACS: &str = "HOST_MACS";
/// Hash: [`HostAddress`] to [`LOCAL`], [`BROADCAST`] or [`STACKED`]. Loopback addresses aren't in it: they are
/// none on the wire.
pub const HOST_ADDRESSES: &str = "HOST_ADDRESSES";

/// Entries of [`HOST_MACS`] at most.
pub const MAX_HOST_MACS: u32 = 4096;
/// Entries of [`HOST_ADDRESSES`] at most.
pub const MAX_HOST_ADDRESSES: u32 = 8192;

/// Value in [`HOST_ADDRESSES`]: an address of the host.
pub const LOCAL: u32 = 1;
/// Value in [`HOST_ADDRESSES`]: the broadcast address of a subnet that the host is in.
pub const BROADCAST: u32 = 2;

/// Value in [`HOST_ADDRESSES`]: a link-local address of an interface that stands on the one where
/// packets arrive. It is the host's; which interface is its scope, only the stack knows.
pub const STACKED: u32 = 3;

/// A destination MAC that means the host, on frames that arrive at an interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostMac {
    /// Index of the interface where the frame arrives.
    pub ifindex: u32,
    /// The MAC.
    pub mac: [u8; 6],
    /// Zero.
    pub unused: [u8; 2],
}

/// An address of the host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddress {
    /// In network order; IPv4 fills the first four bytes, the rest is 0.
    pub addr: [u8; 16],
    /// 4 or 6.
    pub family: u32,
    /// Index of the interface where packets arrive, if the address means something there only:
    /// an IPv6 link-local one (RFC 4007 §5). Else 0.
    pub ifindex: u32,
}

impl HostAddress {
    /// The key of an address for packets that arrive at an interface.
    #[inline(always)]
    pub fn at(addr: [u8; 16], family: u8, ifindex: u32) -> Self {
        let is_scoped = family == FAMILY_V6 && is_link_local_v6(&addr);
        Self {
            addr,
            family: family as u32,
            ifindex: if is_scoped { ifindex } else { 0 },
        }
    }
}

#[cfg(feature = "user")]
mod pod {
    use super::*;
    // SAFETY: `repr(C)`, integers and arrays of integers only, no padding, any bit pattern valid.
    unsafe impl aya::Pod for HostMac {}
    // SAFETY: as above.
    unsafe impl aya::Pod for HostAddress {}
}
