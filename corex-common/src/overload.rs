//! What goes first when a worker can't keep up: how full its queues are, which user space says and
//! the XDP programs go by, and the peers that are known, whose messages go last.

/// Memory-mapped array of [`Pressure`], by worker.
pub const PRESSURE: &str = "PRESSURE";
/// Memory-mapped array of [`KnownPeer`], [`WAYS`] for each set ([`peer_set`]).
///
/// Not an LRU hash: workers write it for replies that pass, without a system call, and also where
/// they have no capabilities any more.
pub const KNOWN_PEERS: &str = "KNOWN_PEERS";

/// A constant of the object: non-zero: the programs shed.
pub const SHEDS: &str = "SHEDS";

/// Nothing waits that a worker can't handle soon.
pub const CALM: u32 = 0;
/// [`Pressure::level`]: requests outside dialogs from unknown sources are shed.
pub const SHED_NEW: u32 = 1;
/// [`Pressure::level`]: all from unknown sources is shed.
pub const SHED_UNKNOWN: u32 = 2;

/// Entries of [`KNOWN_PEERS`] for each set.
pub const WAYS: u32 = 8;
/// Sets of [`KNOWN_PEERS`]; a power of two.
pub const PEER_SETS: u32 = 8192;
/// Entries of [`KNOWN_PEERS`].
pub const MAX_KNOWN_PEERS: u32 = WAYS * PEER_SETS;

/// Bytes of a message in which the XDP programs look for To: what they don't find there user space
/// looks for.
pub const TO_WINDOW: usize = 512;

/// How much waits for a worker.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// [`CALM`], [`SHED_NEW`] or [`SHED_UNKNOWN`].
    pub level: u32,
    /// How many messages that are to be shed may be steered yet, so that they get a reply.
    pub credit: u32,
}

/// A peer with whom something was established.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownPeer {
    /// [`peer_key_v4`] or [`peer_key_v6`] of its address.
    pub key: [u64; 2],
    /// The second of CLOCK_MONOTONIC at which it is forgotten; 0: the entry is empty.
    pub until: u64,
}

/// What an address is looked up by: IPv4 as its IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2), which
/// the wire can't have.
#[inline(always)]
pub const fn peer_key_v4(address: [u8; 4]) -> [u64; 2] {
    let [a, b, c, d] = address;
    [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])]
}

/// The same of an IPv6 address.
#[inline(always)]
pub const fn peer_key_v6(address: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
    ]
}

/// The first entry of the set that has a key. `seed`: a number that nobody else knows, so that nobody
/// can choose addresses that share a set.
#[inline(always)]
pub const fn peer_set(key: [u64; 2], seed: u32) -> u32 {
    // The finalizer of MurmurHash3, over both words.
    let mut hash = mix(key[0] ^ (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    hash = mix(hash ^ key[1]);
    (hash as u32 & (PEER_SETS - 1)) * WAYS
}

#[inline(always)]
const fn mix(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
    word ^= word >> 33;
    word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_within_the_table_and_depends_on_address_and_seed() {
        let key = peer_key_v4([192, 0, 2, 1]);
        let sets: [u32; 4] = [
            peer_set(key, 1),
            peer_set(key, 2),
            peer_set(peer_key_v4([192, 0, 2, 2]), 1),
            peer_set(peer_key_v6([1; 16]), 1),
        ];
        for (at, set) in sets.iter().enumerate() {
            assert!(set + WAYS <= MAX_KNOWN_PEERS && set % WAYS == 0);
            assert!(!sets[..at].contains(set), "{sets:?}");
        }
    }

    #[test]
    fn neighbours_are_spread_over_the_sets() {
        let mut used = [false; PEER_SETS as usize];
        for host in 0..=u16::MAX {
            let [a, b] = host.to_be_bytes();
            used[(peer_set(peer_key_v4([10, 0, a, b]), 7) / WAYS) as usize] = true;
        }
        assert!(used.iter().filter(|used| **used).count() > PEER_SETS as usize * 99 / 100);
    }
}
