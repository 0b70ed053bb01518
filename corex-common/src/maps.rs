//! Keys and values of the maps, and the maps' names.

/// Hash: [`SocketKey`] to [`SocketEntry`], the listen sockets.
pub const SOCKETS: &str = "SOCKETS";
/// Array of [`PORT_WORDS`] words: the ports of all sockets in [`SOCKETS`], one bit each
/// ([`port_bit`]). Most UDP packets are for other ports, and one bit costs less than two look-ups.
pub const PORTS: &str = "PORTS";
/// Memory-mapped array of [`SocketCounters`](crate::counters::SocketCounters), by [`socket_count`].
pub const SOCKET_COUNTS: &str = "SOCKET_COUNTS";
/// Memory-mapped array of [`KernelCounters`](crate::counters::KernelCounters), by CPU.
///
/// Not a per-CPU map, as are the other counters not: those can't be mapped, and before Linux 5.19 a
/// process without capabilities can't read maps any other way.
pub const COUNTERS: &str = "COUNTERS";
/// Array with one [`Config`].
pub const CONFIG: &str = "CONFIG";
/// Hash: interface index to [`Interface`].
pub const INTERFACES: &str = "INTERFACES";
/// XSKMAP: slot to AF_XDP socket.
pub const XSKS: &str = "XSKS";
/// Array of [`Queue`], by slot: what is in `XSKS`, which bpftool can't dump.
pub const QUEUES: &str = "QUEUES";
/// Memory-mapped array of [`WorkerCounters`](crate::counters::WorkerCounters), by worker.
pub const WORKERS: &str = "WORKERS";

/// The maps that are pinned for people to look at; bpftool can't dump `XSKS`. Those of inline
/// mode come last: [`SHOWN_ALWAYS`] are the others.
pub const SHOWN: [&str; 30] = [
    SOCKETS,
    SOCKET_COUNTS,
    COUNTERS,
    CONFIG,
    INTERFACES,
    QUEUES,
    WORKERS,
    PRESSURE,
    KNOWN_PEERS,
    HOST_MACS,
    HOST_ADDRESSES,
    GUARD,
    GUARD_ALLOW_V4,
    GUARD_ALLOW_V6,
    GUARD_BLOCK_V4,
    GUARD_BLOCK_V6,
    ROAD_SOCKETS,
    ROAD_SOURCES,
    ROAD_CLASSES,
    ROADS,
    ROAD_HOPS,
    ROAD_COUNTS,
    ROAD_PEERS,
    INLINE,
    DETOURS,
    ADDRESSES,
    FRAGMENTS,
    HEARTBEATS,
    EGRESS_COUNTS,
    DETOUR_COUNTS,
];

/// How many of [`SHOWN`] are used in proxy mode too.
pub const SHOWN_ALWAYS: usize = 23;

use crate::{
    guard::{GUARD, GUARD_ALLOW_V4, GUARD_ALLOW_V6, GUARD_BLOCK_V4, GUARD_BLOCK_V6},
    host::{HOST_ADDRESSES, HOST_MACS},
    inline::{ADDRESSES, DETOUR_COUNTS, DETOURS, EGRESS_COUNTS, FRAGMENTS, HEARTBEATS, INLINE},
    overload::{KNOWN_PEERS, PRESSURE},
    road::{ROAD_CLASSES, ROAD_COUNTS, ROAD_HOPS, ROAD_PEERS, ROAD_SOCKETS, ROAD_SOURCES, ROADS},
};

/// Listen sockets at most.
pub const MAX_SOCKETS: u32 = 1024;
/// Interfaces at most.
pub const MAX_INTERFACES: u32 = 64;
/// AF_XDP sockets at most, over all interfaces.
pub const MAX_QUEUES: u32 = 256;
/// Workers at most.
pub const MAX_WORKERS: u32 = 64;

/// Words of [`PORTS`]: a bit for each of 65,536 ports.
pub const PORT_WORDS: u32 = (1 << 16) / u64::BITS;

/// Which word of [`PORTS`] has a port's bit, and the bit in it.
#[inline(always)]
pub const fn port_bit(port: u16) -> (u32, u64) {
    (port as u32 / u64::BITS, 1 << (port as u32 % u64::BITS))
}

/// Address family of a [`SocketKey`]: 4 or 6.
pub const FAMILY_V4: u8 = 4;
/// Address family of a [`SocketKey`]: 4 or 6.
pub const FAMILY_V6: u8 = 6;

/// Where a listen socket's counters of one CPU are in [`SOCKET_COUNTS`].
#[inline(always)]
pub const fn socket_count(cpu: u32, id: u32) -> u32 {
    cpu.wrapping_mul(MAX_SOCKETS).wrapping_add(id)
}

/// A local address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SocketKey {
    /// Address in network order; IPv4 fills the first four bytes, the rest is 0. All zero: any.
    pub addr: [u8; 16],
    /// Port in host order.
    pub port: u16,
    /// [`PROTOCOL_UDP`](crate::ip::PROTOCOL_UDP).
    pub proto: u8,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// Index of the interface where packets arrive, if the address is an IPv6 link-local one, which
    /// is another one on each (RFC 4007 §5). Else 0; in inline mode always.
    pub ifindex: u32,
}

/// A listen socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketEntry {
    /// Its index in the configuration's order; also in [`SOCKET_COUNTS`].
    pub id: u32,
    /// Non-zero: steer to AF_XDP. Zero: pass to the kernel socket.
    pub steer: u32,
}

/// What the XDP program is told; may be changed while it runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// UDP payloads shorter than this are dropped as probes.
    pub probe_len: u32,
    /// UDP payloads shorter than this skip the hook ([`crate::meta::FrameMeta::SHORT`]).
    pub min_msg_len: u32,
    /// Frames longer than this pass to the kernel: AF_XDP couldn't hold them.
    pub max_frame_len: u32,
    /// Drawn at load; marks the records that are ours.
    pub cookie: u32,
    /// Non-zero: rare events are logged (aya-log).
    pub log: u32,
    /// What becomes of keep-alives: [`KEEPALIVE_PASS`](crate::answer::KEEPALIVE_PASS) and its like.
    pub keepalive: u32,
    /// Non-zero: STUN Binding requests are answered.
    pub stun: u32,
    /// Traffic class, once type of service, of answers.
    pub traffic_class: u32,
    /// Non-zero: messages may take roads ([`crate::road`]).
    pub roads: u32,
    /// Non-zero: what a worker can't keep up with is shed by priority ([`crate::overload`]).
    pub overload: u32,
}

/// An interface that the program is attached to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Slot of its queue 0 in [`XSKS`] and [`QUEUES`].
    pub first_slot: u32,
    /// How many queues have a slot.
    pub queues: u32,
    /// Non-zero: what it brings may be answered by where it came from.
    pub answers: u32,
}

/// An AF_XDP socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Interface index; 0: the slot is empty.
    pub ifindex: u32,
    /// Receive queue.
    pub queue: u32,
    /// Worker that serves it.
    pub worker: u32,
    /// 1: native XDP; 2: generic (SKB) XDP.
    pub mode: u32,
    /// Non-zero: bound for zero copy.
    pub zero_copy: u32,
}

#[cfg(feature = "user")]
mod pod {
    use super::*;
    use crate::counters::{KernelCounters, SocketCounters, WorkerCounters};
    // SAFETY: `repr(C)`, integers and arrays of integers only, no padding, any bit pattern valid.
    unsafe impl aya::Pod for SocketKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SocketEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Config {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Interface {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Queue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for KernelCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SocketCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for WorkerCounters {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_a_bit_of_its_own() {
        let mut words = [0u64; PORT_WORDS as usize];
        for port in 0..=u16::MAX {
            let (word, bit) = port_bit(port);
            assert_eq!(words[word as usize] & bit, 0, "{port}");
            words[word as usize] |= bit;
        }
        assert!(words.iter().all(|bits| *bits == u64::MAX));
    }
}
