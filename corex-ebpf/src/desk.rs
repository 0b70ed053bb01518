//! What the guard's rules have at hand while they judge a packet.

use aya_ebpf::{bindings::bpf_spin_lock, btf_maps::lpm_trie::Key};
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
    /// Where the program for signatures and rates is to look, and what it found.
    pub stage: Stage,
}

/// What the programs tell each other of a packet.
#[repr(C)]
pub struct Stage {
    /// Length of the payload.
    pub len: u32,
    /// The listen socket.
    pub socket: u32,
    /// What was found, for the program that the packet came from.
    pub found: u32,
    /// What that program goes by, of the packet at hand.
    pub ruling: u32,
}

/// [`Stage::found`]: nothing as yet.
pub const NOTHING: u32 = 0;
/// The packet is let in.
pub const LET_IN: u32 = 1;
/// The same, but it is above a rate whose messages go to a route.
pub const LIMITED: u32 = 2;

impl Stage {
    /// Takes note of a packet.
    #[inline(always)]
    pub fn is_of(&mut self, len: u32, socket: u32) {
        self.len = len;
        self.socket = socket;
    }

    /// Takes what was found, which is forgotten with that. Whether there was something.
    #[inline(always)]
    pub fn begin(&mut self) -> bool {
        self.ruling = self.found;
        self.found = NOTHING;
        self.ruling != NOTHING
    }

    /// Whether it is let in.
    #[inline(always)]
    pub fn is_settled(&self) -> bool {
        self.ruling != NOTHING
    }

    /// Whether it is above a rate.
    #[inline(always)]
    pub fn is_limited(&self) -> bool {
        self.ruling == LIMITED
    }
}

/// The lock of some buckets.
#[repr(C)]
pub struct Lock {
    pub inner: bpf_spin_lock,
}
