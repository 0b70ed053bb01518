//! What the guard's rules have at hand while they judge a packet.

use aya_ebpf::btf_maps::lpm_trie::Key;
use corex_common::guard::{Guard, NetV4, NetV6};

/// A CPU's place for it. Not on the stack, of which a chain of calls has 512 bytes, and the callers
/// take nearly all.
#[repr(C)]
pub struct Desk {
    /// What the guard goes by.
    pub guard: Guard,
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub now: u64,
    /// Who sent it.
    pub source: [u8; 16],
    /// Our port, in network order.
    pub port: [u8; 2],
    pub proto: u8,
    pub is_v4: bool,
    /// Offset of its first byte behind the UDP header.
    pub payload: u32,
    /// What is looked up.
    pub key_v6: Key<NetV6>,
    /// As above.
    pub key_v4: Key<NetV4>,
    /// Whether the packet at hand is from a network that is allowed.
    pub is_allowed: bool,
}
