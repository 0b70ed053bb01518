//! Roads: messages whose way is known before they come, which the XDP program sends on or drops
//! itself. User space proves which they are from the configuration, and says so in these maps.

use crate::maps::MAX_SOCKETS;

/// Memory-mapped array of [`RoadSocket`], by socket id: which roads lead from a listen socket.
pub const ROAD_SOCKETS: &str = "ROAD_SOCKETS";
/// Longest-prefix-match trie: [`RoadSource`] to the index of a [`RoadClass`].
pub const ROAD_SOURCES: &str = "ROAD_SOURCES";
/// Memory-mapped array of [`RoadClass`].
pub const ROAD_CLASSES: &str = "ROAD_CLASSES";
/// Memory-mapped array of [`Road`].
pub const ROADS: &str = "ROADS";
/// Memory-mapped array of [`RoadHop`], by [`hop_slot`].
pub const ROAD_HOPS: &str = "ROAD_HOPS";
/// Memory-mapped array of [`RoadCounters`](crate::counters::RoadCounters), by [`road_count`].
pub const ROAD_COUNTS: &str = "ROAD_COUNTS";
/// DEVMAP_HASH: interface index to itself, for the interfaces that the program can send by.
pub const ROAD_DEVICES: &str = "ROAD_DEVICES";

/// Per-CPU LRU hash: [`RoadPeer`] to [`RoadPeerCounts`]: messages that took a road, by their source.
pub const ROAD_PEERS: &str = "ROAD_PEERS";

/// Roads at most.
pub const MAX_ROADS: u32 = 256;
/// Classes of sources at most, over all listen sockets.
pub const MAX_ROAD_CLASSES: u32 = 1024;
/// Networks at most that sources are told apart by, over all listen sockets.
pub const MAX_ROAD_SOURCES: u32 = 4096;
/// Destinations at most that a hash of the source or the Call-ID chooses one of.
pub const MAX_ROAD_CHOICES: u32 = 16;
/// Sources at most that messages on roads are counted by, one by one.
pub const MAX_ROAD_PEERS: u32 = 4096;
/// Interfaces at most that roads lead to.
pub const MAX_ROAD_DEVICES: u32 = 64;

/// Kinds of messages that are told apart, replies first.
pub const KINDS: usize = 16;
/// The kind of replies.
pub const REPLY: usize = 0;
/// The kind of requests with a method that is none of [`METHODS`], in capital letters.
pub const OTHER: usize = KINDS - 1;
/// The methods of requests whose kinds are 1 to 14 (RFC 3261, 3262, 3265, 3311, 3428, 3515, 3903,
/// 6086), each as it stands at the beginning of the message, with the space behind it.
pub const METHODS: [&[u8]; KINDS - 2] = [
    b"INVITE ",
    b"ACK ",
    b"BYE ",
    b"CANCEL ",
    b"OPTIONS ",
    b"REGISTER ",
    b"PRACK ",
    b"SUBSCRIBE ",
    b"NOTIFY ",
    b"PUBLISH ",
    b"INFO ",
    b"REFER ",
    b"MESSAGE ",
    b"UPDATE ",
];

/// The longest start line that the program reads, its line break included; what has a longer one is
/// steered.
pub const MAX_START_LINE: usize = 192;

/// The longest Call-ID that the program reads is shorter than this; a message with a longer one is
/// steered.
pub const MAX_CALL_ID: usize = 128;
/// So many bytes of headers the program reads in search of the Call-ID; what has none in them is
/// steered.
pub const MAX_CALL_ID_AT: usize = 1024;

/// [`Road::action`]: none; what would take it is steered.
pub const NONE: u32 = 0;
/// [`Road::action`]: the message is sent on as it is.
pub const SEND: u32 = 1;
/// [`Road::action`]: it is dropped, as the script says.
pub const DROP_SCRIPT: u32 = 2;
/// [`Road::action`]: it is dropped, since the script sends it nowhere.
pub const DROP_UNROUTED: u32 = 3;

/// Which roads lead from a listen socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoadSocket {
    /// One more than the index of the [`RoadClass`] of sources that [`ROAD_SOURCES`] has no network
    /// of; 0: no roads lead from this socket.
    pub class: u32,
    /// Non-zero: [`ROAD_SOURCES`] is looked into.
    pub by_source: u32,
}

/// A network of sources. In memory as an LPM trie has it, behind the length of the prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RoadSource {
    /// The listen socket's id, in network order.
    pub socket: [u8; 4],
    /// The network's address in network order; IPv4 fills the first four bytes.
    pub addr: [u8; 16],
}

/// Bits of a [`RoadSource`] in front of the address: part of every prefix.
pub const ROAD_SOURCE_BITS: u32 = 32;

/// Where messages from one class of sources go, by their kind. Each place is 0 for those that are
/// steered, else made by [`place`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoadClass {
    /// Those shorter than `min_msg_len`, which the hook doesn't see.
    pub short: [u32; KINDS],
    /// The others.
    pub long: [u32; KINDS],
}

/// A place in a [`RoadClass`]: the first of `choices` roads, of which the hash of the source
/// chooses; with [`BY_CALL_ID`] added, the hash of the Call-ID. `choices` is a power of two.
pub const fn place(first: u32, choices: u32) -> u32 {
    choices << 16 | first
}

/// What a place has beside [`place`] where the hash of the Call-ID chooses.
pub const BY_CALL_ID: u32 = 1 << 31;

/// The first road of a place, and how many there are to choose from.
#[inline(always)]
pub const fn of_place(place: u32) -> (u32, u32) {
    (place & 0xffff, (place & !BY_CALL_ID) >> 16)
}

/// A road.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Road {
    /// [`NONE`], [`SEND`], [`DROP_SCRIPT`] or [`DROP_UNROUTED`].
    pub action: u32,
    /// Which of the road's two hops is in use, and that there is one: 0 none, 1 and 2 the hop by
    /// [`hop_slot`].
    pub hop: u32,
    /// CLOCK_MONOTONIC in nanoseconds: from then on now and then a message is steered, so that the
    /// kernel sees one and confirms its neighbour.
    pub sample_at: u64,
    /// From then on the hop isn't used.
    pub valid_until: u64,
    /// Destination address in network order; IPv4 fills the first four bytes.
    pub to: [u8; 16],
    /// Source address: the listen socket's.
    pub from: [u8; 16],
    /// Destination port in host order.
    pub to_port: u16,
    /// Source port in host order.
    pub from_port: u16,
    /// 4 or 6.
    pub family: u32,
    /// The listen socket's id.
    pub socket: u32,
    /// DSCP and ECN of what is sent.
    pub traffic_class: u32,
    /// Non-zero: IPv4 is sent with DF, and identification 0.
    pub dont_fragment: u32,
    /// 0. Of the first road the program reads it, for a 0 that its verifier doesn't know.
    pub unused: u32,
}

/// How frames of a road leave. Not changed while it is in use.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoadHop {
    /// The interface to send by.
    pub ifindex: u32,
    /// Largest IP packet.
    pub mtu: u32,
    /// Destination MAC: the neighbour's.
    pub destination_mac: [u8; 6],
    /// Source MAC: the interface's.
    pub source_mac: [u8; 6],
    /// Non-zero: the program may send by the interface where the message came, if it is this one.
    pub may_reflect: u32,
}

/// A source of messages that took a road.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RoadPeer {
    /// Its address in network order; IPv4 fills the first four bytes.
    pub addr: [u8; 16],
    /// 4 or 6.
    pub family: u32,
}

/// Messages from one source that took a road.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoadPeerCounts {
    /// How many.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
}

/// Where a road's hop is in [`ROAD_HOPS`]; `hop` is [`Road::hop`].
#[inline(always)]
pub const fn hop_slot(road: u32, hop: u32) -> u32 {
    road.wrapping_mul(2).wrapping_add(hop & 1)
}

/// Where a road's counters of one CPU are in [`ROAD_COUNTS`].
#[inline(always)]
pub const fn road_count(cpu: u32, road: u32) -> u32 {
    cpu.wrapping_mul(MAX_ROADS).wrapping_add(road)
}

const _: () = assert!(MAX_ROADS <= 0xffff && MAX_SOCKETS <= MAX_ROAD_CLASSES);

/// Kamailio's hash of an IPv4 address as text, which `$(si{s.corehash})` yields; so many bits of it
/// as `mask` has.
///
/// Without branches, each of which the verifier would double its work for: the text grows as one
/// number of sixteen bytes.
#[inline(always)]
pub const fn source_hash(address: [u8; 4], mask: u32) -> u32 {
    let (mut high, mut low, mut len) = (0_u64, 0_u64, 0_u32);
    let mut i = 0;
    while i < 4 {
        let number = address[i] as u32;
        // Digits and the dot behind them.
        let digits = 2 + ((number + 246) >> 8) + ((number + 156) >> 8);
        let text = (number / 100 + 0x30) << 24
            | (number / 10 % 10 + 0x30) << 16
            | (number % 10 + 0x30) << 8
            | 0x2e;
        let text = text as u64 & (u32::MAX as u64 >> (8 * (4 - digits)));
        (high, low) = shift(high, low, 8 * digits);
        low |= text;
        len += digits;
        i += 1;
    }
    // The last dot isn't part of it; once the text stands at the front, the groups leave it out.
    let len = len - 1;
    let left = 8 * (15 - len);
    let (high, low) = shift(high, low, left / 2);
    let (high, low) = shift(high, low, left - left / 2);
    let mut hash = 0_u32;
    let mut group = 0;
    while group < 4 {
        let pair = if group < 2 { high } else { low };
        let word = pair >> (32 * (1 - group % 2)) & 0xffff_ffff;
        // The last group has the bytes that are left.
        let missing = 4 * (group + 1) - len as i32;
        let missing = (missing & !(missing >> 31)) as u32;
        let word = (word >> ((8 * missing) & 63)) as u32;
        hash = hash_group(hash, word);
        group += 1;
    }
    hash_end(hash) & mask
}

/// Kamailio's hash of a text with one more group of four bytes, as a number of which the first one is
/// the highest; the last group may have fewer.
#[inline(always)]
pub const fn hash_group(hash: u32, group: u32) -> u32 {
    hash.wrapping_add(group ^ group >> 3)
}

/// The same at the text's end.
#[inline(always)]
pub const fn hash_end(hash: u32) -> u32 {
    hash.wrapping_add(hash >> 11)
        .wrapping_add(hash >> 13)
        .wrapping_add(hash >> 23)
}

/// Shifts a number of 128 bits to the left, by fewer than 64.
#[inline(always)]
const fn shift(high: u64, low: u64, bits: u32) -> (u64, u64) {
    // In two steps, since a shift by 64 would be none.
    (high << bits | low >> 1 >> (63 - bits), low << bits)
}

#[cfg(feature = "user")]
mod pod {
    use super::*;
    use crate::counters::RoadCounters;
    // SAFETY: `repr(C)`, integers and arrays of integers only, no padding, any bit pattern valid.
    unsafe impl aya::Pod for RoadSocket {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RoadSource {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RoadClass {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Road {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RoadHop {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RoadCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RoadPeer {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RoadPeerCounts {}
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString as _;

    use super::*;

    /// The hash of any text, as Kamailio writes it.
    fn of_text(text: &[u8]) -> u32 {
        let mut hash = 0_u32;
        for group in text.chunks(4) {
            let word = group
                .iter()
                .fold(0, |word, byte| word << 8 | u32::from(*byte));
            hash = hash.wrapping_add(word ^ word >> 3);
        }
        hash.wrapping_add(hash >> 11)
            .wrapping_add(hash >> 13)
            .wrapping_add(hash >> 23)
    }

    #[test]
    fn addresses_have_the_hash_of_their_text() {
        let numbers = [0, 1, 9, 10, 11, 99, 100, 101, 199, 200, 255];
        for a in numbers {
            for b in numbers {
                for c in numbers {
                    for d in numbers {
                        let address = [a, b, c, d];
                        let text = std::net::Ipv4Addr::from(address).to_string();
                        let expected = of_text(text.as_bytes());
                        assert_eq!(source_hash(address, u32::MAX), expected, "{text}");
                    }
                }
            }
        }
        assert_eq!(source_hash([9, 9, 9, 9], 3), of_text(b"9.9.9.9") & 3);
    }

    #[test]
    fn what_is_put_together_comes_apart_again() {
        assert_eq!(of_place(place(1023, 16)), (1023, 16));
        assert_eq!(of_place(place(7, 4) | BY_CALL_ID), (7, 4));
        assert_ne!(hop_slot(3, 1), hop_slot(3, 2));
        assert_eq!(size_of::<RoadSource>(), 20);
    }
}
