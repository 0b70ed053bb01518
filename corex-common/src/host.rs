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

/// Array with one [`HostState`].
pub const HOST_STATE: &str = "HOST_STATE";
/// Per-CPU array with one [`KnownHost`].
pub const KNOWN_HOST: &str = "KNOWN_HOST";
/// Per-CPU array of [`KnownSource`], by [`source_slot`].
pub const KNOWN_SOURCES: &str = "KNOWN_SOURCES";

/// LRU hash: [`ReversePath`] to the [`ReverseState::version`] that it was found at: the way back
/// leads where RFC 3704 wants it.
pub const REVERSE_PATHS: &str = "REVERSE_PATHS";
/// Array with one [`ReverseState`].
pub const REVERSE_STATE: &str = "REVERSE_STATE";

/// Entries of [`HOST_MACS`] at most.
pub const MAX_HOST_MACS: u32 = 4096;
/// Entries of [`HOST_ADDRESSES`] at most.
pub const MAX_HOST_ADDRESSES: u32 = 8192;

/// Entries of [`REVERSE_PATHS`] at most.
pub const MAX_REVERSE_PATHS: u32 = 16_384;

/// Value in [`HOST_ADDRESSES`]: an address of the host.
pub const LOCAL: u32 = 1;
/// Value in [`HOST_ADDRESSES`]: the broadcast address of a subnet that the host is in.
pub const BROADCAST: u32 = 2;

/// Value in [`HOST_ADDRESSES`]: a link-local address of an interface that stands on the one where
/// packets arrive. It is the host's; which interface is its scope, only the stack knows.
pub const STACKED: u32 = 3;

/// Entries of [`KNOWN_SOURCES`]; a power of two.
pub const MAX_KNOWN_SOURCES: u32 = 64;

/// Flag of [`HostState::flags`]: the stack takes packets from its own addresses (ip-sysctl.rst,
/// accept_local).
pub const ACCEPT_LOCAL: u32 = 1;
/// Flag of [`HostState::flags`]: the stack takes packets from 127.0.0.0/8 (ip-sysctl.rst,
/// route_localnet).
pub const ROUTE_LOCALNET: u32 = 2;

/// Flag of [`ReverseState::flags`]: sources of IPv4 are looked at.
pub const CHECK_V4: u32 = 1;
/// Flag of [`ReverseState::flags`]: sources of IPv6 are looked at.
pub const CHECK_V6: u32 = 2;

/// What the programs must know of reverse-path filtering.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReverseState {
    /// Grows whenever routes may have changed: what was found before holds no more.
    pub version: u32,
    /// [`CHECK_V4`], [`CHECK_V6`].
    pub flags: u32,
}

/// Who sends to whom, and where it arrives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReversePath {
    /// In network order; IPv4 fills the first four bytes, the rest is 0.
    pub source: [u8; 16],
    /// The host's address, in the same form; rules may go by it.
    pub local: [u8; 16],
    /// 4 or 6.
    pub family: u32,
    /// Index of the interface where the packet arrives.
    pub ifindex: u32,
}

/// What the programs must know of the host as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// Grows after each change of the other maps: what was found in them before holds no more.
    /// 0 before they are filled.
    pub version: u32,
    /// [`ACCEPT_LOCAL`], [`ROUTE_LOCALNET`].
    pub flags: u32,
}

/// What a CPU found last in [`HOST_MACS`] and [`HOST_ADDRESSES`], where a look-up costs more than
/// the rest of the decision. Each part holds while its version is [`HostState::version`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownHost {
    /// A MAC of the host, in memory's order.
    pub mac: u64,
    /// The interface that it is for.
    pub ifindex: u32,
    /// When that was found.
    pub mac_version: u32,
    /// An address of the host: [`HostAddress`] as numbers.
    pub address: [u64; 3],
    /// When that was found.
    pub address_version: u32,
    /// Zero.
    pub unused: u32,
}

/// A source address that may be, by what a CPU found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSource {
    /// [`HostAddress`] as numbers.
    pub address: [u64; 3],
    /// When that was found.
    pub version: u32,
    /// The interface that it came by.
    pub ifindex: u32,
}

/// Where in [`KNOWN_SOURCES`] an address is kept.
#[inline(always)]
pub fn source_slot(address: &[u64; 3]) -> u32 {
    let folded = address[0] ^ address[1].rotate_left(32);
    // IPv4 addresses of one network differ in the fourth byte, IPv6 ones in the last.
    let bytes = folded ^ (folded >> 32);
    ((bytes >> 24) ^ (bytes >> 16)) as u32 & (MAX_KNOWN_SOURCES - 1)
}

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

    /// As numbers, which are compared faster.
    #[inline(always)]
    pub fn numbers(&self) -> [u64; 3] {
        let a = &self.addr;
        [
            u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
            u64::from_ne_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
            (self.ifindex as u64) << 32 | self.family as u64,
        ]
    }
}

#[cfg(feature = "user")]
mod pod {
    use super::*;
    // SAFETY: `repr(C)`, integers and arrays of integers only, no padding, any bit pattern valid.
    unsafe impl aya::Pod for HostMac {}
    // SAFETY: as above.
    unsafe impl aya::Pod for HostAddress {}
    // SAFETY: as above.
    unsafe impl aya::Pod for HostState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ReverseState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ReversePath {}
}
