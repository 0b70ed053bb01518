//! The lists of networks that are allowed and blocked.
//!
//! An entry may be for one transport, one port of ours, or both: then these stand in front of the
//! network's address in the key, and are part of its prefix. A packet is looked up once for each
//! [`shape`] that entries have, the closest first; the first entry that is found and hasn't expired
//! counts.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest-prefix-match trie: [`NetV4`] to [`Listed`], who is allowed.
pub const GUARD_ALLOW_V4: &str = "GUARD_ALLOW_V4";
/// The same for IPv6, by [`NetV6`].
pub const GUARD_ALLOW_V6: &str = "GUARD_ALLOW_V6";
/// Longest-prefix-match trie: [`NetV4`] to [`Listed`], who isn't let in.
pub const GUARD_BLOCK_V4: &str = "GUARD_BLOCK_V4";
/// The same for IPv6, by [`NetV6`].
pub const GUARD_BLOCK_V6: &str = "GUARD_BLOCK_V6";
/// Longest-prefix-match trie: [`NetV4`] to [`Listed`], of whatever transport and port: who is trusted, so
/// that it isn't blocked after offences, and counts as a known peer under load.
pub const GUARD_TRUST_V4: &str = "GUARD_TRUST_V4";
/// The same for IPv6, by [`NetV6`].
pub const GUARD_TRUST_V6: &str = "GUARD_TRUST_V6";

/// Entries at most of each of the six tries. They take memory only for what is in them.
pub const MAX_LISTED: u32 = 1_000_000;

/// How many shapes entries can have.
pub const SHAPES: u32 = 4;
/// The bit of a shape that names a transport.
pub const OF_PROTO: u32 = 1;
/// The bit of a shape that names a port.
pub const OF_PORT: u32 = 2;

/// Which of transport and port an entry names: [`OF_PROTO`] and [`OF_PORT`], 0 for neither.
#[inline(always)]
pub const fn shape(proto: u8, port: u16) -> u32 {
    (if proto != 0 { OF_PROTO } else { 0 }) | (if port != 0 { OF_PORT } else { 0 })
}

/// A network of IPv4. In memory as an LPM trie has it, behind the length of the prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetV4 {
    /// The transport, by its number in IP: 17 for UDP, 6 for TCP and what is on it; 0: any.
    pub proto: u8,
    /// 0.
    pub unused: u8,
    /// Our port, in network order; 0: any.
    pub port: [u8; 2],
    /// The network's address, in network order.
    pub addr: [u8; 4],
}

/// A network of IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetV6 {
    /// As [`NetV4::proto`].
    pub proto: u8,
    /// 0.
    pub unused: u8,
    /// As [`NetV4::port`].
    pub port: [u8; 2],
    /// 0.
    pub zero: [u8; 4],
    /// The network's address, in network order.
    pub addr: [u8; 16],
}

/// Bits of a [`NetV4`] in front of the address: part of every prefix.
pub const V4_BITS: u32 = 32;
/// The same of a [`NetV6`].
pub const V6_BITS: u32 = 64;

/// Whom an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// The network's address, of which bits behind `len` are 0.
    pub addr: IpAddr,
    /// How many of its bits count.
    pub len: u8,
    /// As [`NetV4::proto`].
    pub proto: u8,
    /// Our port; 0: any.
    pub port: u16,
}

impl Network {
    /// A network, whatever transport and port. An IPv4 address in an IPv6 one is an IPv4 address;
    /// bits that don't count are cleared. `None`: an address has no so many bits.
    pub const fn new(addr: IpAddr, len: u8) -> Option<Self> {
        let (addr, len) = match addr {
            IpAddr::V4(v4) => (IpAddr::V4(v4), len),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) if len >= 96 => (IpAddr::V4(v4), len - 96),
                _ => (IpAddr::V6(v6), len),
            },
        };
        let addr = match addr {
            IpAddr::V4(_) if len > 32 => return None,
            IpAddr::V6(_) if len > 128 => return None,
            IpAddr::V4(v4) => {
                let mask = if len == 0 { 0 } else { u32::MAX << (32 - len) };
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = if len == 0 {
                    0
                } else {
                    u128::MAX << (128 - len)
                };
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Some(Self {
            addr,
            len,
            proto: 0,
            port: 0,
        })
    }

    /// One address, whatever transport and port.
    pub const fn host(addr: IpAddr) -> Self {
        let len = match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        match Self::new(addr, len) {
            Some(network) => network,
            None => Self {
                addr,
                len,
                proto: 0,
                port: 0,
            },
        }
    }

    /// The same for one transport and one port of ours; 0 is any.
    pub const fn to(self, proto: u8, port: u16) -> Self {
        Self {
            proto,
            port,
            ..self
        }
    }

    /// Which of transport and port it names.
    pub const fn shape(&self) -> u32 {
        shape(self.proto, self.port)
    }

    /// Its key among networks of IPv4, with the length of the prefix; of an IPv6 one: nothing's.
    pub const fn key_v4(&self) -> (u32, NetV4) {
        let addr = match self.addr {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(_) => [0; 4],
        };
        let net = NetV4 {
            proto: self.proto,
            unused: 0,
            port: self.port.to_be_bytes(),
            addr,
        };
        (V4_BITS + self.len as u32, net)
    }

    /// The same among networks of IPv6.
    pub const fn key_v6(&self) -> (u32, NetV6) {
        let addr = match self.addr {
            IpAddr::V4(_) => [0; 16],
            IpAddr::V6(v6) => v6.octets(),
        };
        let net = NetV6 {
            proto: self.proto,
            unused: 0,
            port: self.port.to_be_bytes(),
            zero: [0; 4],
            addr,
        };
        (V6_BITS + self.len as u32, net)
    }

    /// The network that a key stands for; `None`: none, as when somebody wrote it who didn't know.
    pub fn from_v4(prefix_len: u32, net: NetV4) -> Option<Self> {
        let len = u8::try_from(prefix_len.checked_sub(V4_BITS)?).ok()?;
        let network = Self::new(IpAddr::from(net.addr), len)?;
        Some(network.to(net.proto, u16::from_be_bytes(net.port)))
    }

    /// The same of IPv6.
    pub fn from_v6(prefix_len: u32, net: NetV6) -> Option<Self> {
        let len = u8::try_from(prefix_len.checked_sub(V6_BITS)?).ok()?;
        let network = Self::new(IpAddr::from(net.addr), len)?;
        Some(network.to(net.proto, u16::from_be_bytes(net.port)))
    }
}

/// An entry of a list.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// From then on it doesn't count: nanoseconds of CLOCK_MONOTONIC; 0: it stays.
    pub expires: u64,
    /// Packets that it was found for. CPUs count without waiting for each other, so some may be missed;
    /// the counters by rule are exact.
    pub hits: u64,
    /// When that was last, within a second: nanoseconds of CLOCK_MONOTONIC; 0: never.
    pub last_seen: u64,
    /// What becomes of these packets, in the lists of those blocked: [`BLOCKED`] or [`STEALTHY`].
    pub action: u32,
    /// Who put it there: [`BY_BPFTOOL`] and its like.
    pub origin: u32,
}

/// [`Listed::action`]: dropped by the rule [`super::BLOCK`].
pub const BLOCKED: u32 = 0;
/// [`Listed::action`]: dropped by the rule [`super::STEALTH`].
pub const STEALTHY: u32 = 1;

/// [`Listed::origin`]: nobody said.
pub const BY_BPFTOOL: u32 = 0;
/// [`Listed::origin`]: a line of the configuration, or of a file that it names.
pub const BY_CONFIG: u32 = 1;
/// [`Listed::origin`]: remote control.
pub const BY_RPC: u32 = 2;
/// [`Listed::origin`]: a function of a script.
pub const BY_SCRIPT: u32 = 3;
/// [`Listed::origin`]: corex itself, after offences.
pub const BY_OFFENCES: u32 = 4;

impl Listed {
    /// Whether it still counts.
    #[inline(always)]
    pub const fn is_alive(&self, now: u64) -> bool {
        self.expires == 0 || now < self.expires
    }
}

/// How much older [`Listed::last_seen`] must be to be written anew: not with each packet, as other
/// CPUs read the same entry.
pub const SEEN_NS: u64 = 1_000_000_000;

#[cfg(feature = "user")]
mod pod {
    use super::*;
    // SAFETY: `repr(C)`, integers and arrays of integers only, no padding, any bit pattern valid.
    unsafe impl aya::Pod for NetV4 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for NetV6 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Listed {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_the_kernel_compares_bit_by_bit() {
        assert_eq!(size_of::<NetV4>() as u32 * 8, V4_BITS + 32);
        assert_eq!(size_of::<NetV6>() as u32 * 8, V6_BITS + 128);
        // The value stands behind the key in the trie's node.
        assert_eq!(size_of::<NetV4>() % align_of::<Listed>(), 0);
        assert_eq!(size_of::<NetV6>() % align_of::<Listed>(), 0);
        assert_eq!(size_of::<Listed>(), 32);
    }

    #[test]
    fn an_entry_names_a_transport_a_port_both_or_neither() {
        assert_eq!(shape(0, 0), 0);
        assert_eq!(shape(17, 0), OF_PROTO);
        assert_eq!(shape(0, 5060), OF_PORT);
        assert_eq!(shape(6, 5060), SHAPES - 1);
    }
}
