//! Inline mode: maps of the programs that lead a protected server's packets through corex.

/// Array of one [`Inline`].
pub const INLINE: &str = "INLINE";
/// Hash: interface index to [`Detour`]; for the NIC and for both ends of its detour.
pub const DETOURS: &str = "DETOURS";
/// Hash: [`Address`] to the number of protected sockets on it.
pub const ADDRESSES: &str = "ADDRESSES";
/// LRU hash: [`FragmentKey`] to the protected socket's id, for datagrams whose first fragment took
/// the detour.
pub const FRAGMENTS: &str = "FRAGMENTS";
/// Memory-mapped array, by worker: when it last showed a sign of life, in nanoseconds of
/// CLOCK_MONOTONIC.
pub const HEARTBEATS: &str = "HEARTBEATS";
/// Memory-mapped array of [`EgressCounters`](crate::counters::EgressCounters), by CPU.
pub const EGRESS_COUNTS: &str = "EGRESS_COUNTS";
/// Memory-mapped array of [`DetourCounters`](crate::counters::DetourCounters), by CPU.
pub const DETOUR_COUNTS: &str = "DETOUR_COUNTS";

/// XDP program on the NIC.
pub const INLINE_PROGRAM: &str = "corex_inline";
/// TC program on the NIC's egress.
pub const EGRESS_PROGRAM: &str = "corex_egress";
/// XDP program on corex's end of the detour.
pub const DETOUR_PROGRAM: &str = "corex_detour";
/// TC program on the ingress of corex's end: what nobody took there goes on to the NIC.
pub const RETURN_PROGRAM: &str = "corex_return";
/// TC program on the ingress of the other end: what corex sends there comes in by the NIC.
pub const INJECT_PROGRAM: &str = "corex_inject";

/// Datagrams in fragments that are remembered at a time.
pub const MAX_FRAGMENTS: u32 = 16_384;

/// What the programs are told.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inline {
    /// A worker that shows no sign of life for so many nanoseconds is taken for hung.
    pub watchdog_ns: u64,
    /// Non-zero: what no worker can handle is dropped. Zero: it passes as it is.
    pub closed: u32,
    /// Packet mark of what comes back from a detour untouched. Drawn at start.
    pub mark: u32,
    /// Source MAC of what corex hands to the stack of a NIC with generic XDP; six bytes, then
    /// two of zero. Drawn at start.
    pub mac: [u8; 8],
}

/// A NIC and its detour: a veth pair.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detour {
    /// The NIC's interface index.
    pub nic: u32,
    /// The end with the AF_XDP sockets.
    pub own: u32,
    /// The end that the NIC's packets are redirected to.
    pub peer: u32,
}

/// A local address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address {
    /// In network order; IPv4 fills the first four bytes, the rest is 0.
    pub addr: [u8; 16],
    /// 4 or 6.
    pub family: u32,
}

/// What fragments of one datagram have in common (RFC 791, RFC 8200 §4.5); UDP is implied.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source, as in [`Address`].
    pub src: [u8; 16],
    /// Destination, as in [`Address`].
    pub dst: [u8; 16],
    /// Identification.
    pub id: u32,
    /// 4 or 6.
    pub family: u32,
}

#[cfg(feature = "user")]
mod pod {
    use super::*;
    use crate::counters::{DetourCounters, EgressCounters};
    // SAFETY: `repr(C)`, integers and arrays of integers only, no padding, any bit pattern valid.
    unsafe impl aya::Pod for Inline {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Detour {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Address {}
    // SAFETY: as above.
    unsafe impl aya::Pod for EgressCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DetourCounters {}
}
