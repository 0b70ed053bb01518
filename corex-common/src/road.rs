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

/// Roads at most.
pub const MAX_ROADS: u32 = 256;
/// Classes of sources at most, over all listen sockets.
pub const MAX_ROAD_CLASSES: u32 = 1024;
/// Networks at most that sources are told apart by, over all listen sockets.
pub const MAX_ROAD_SOURCES: u32 = 4096;
/// Destinations at most that a hash of the source chooses one of.
pub const MAX_ROAD_CHOICES: u32 = 16;
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
/// chooses. `choices` is a power of two.
pub const fn place(first: u32, choices: u32) -> u32 {
    choices << 16 | first
}

/// The first road of a place, and how many there are to choose from.
#[inline(always)]
pub const fn of_place(place: u32) -> (u32, u32) {
    (place & 0xffff, place >> 16)
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
    /// Nothing.
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

/// Kamailio's hash of a text, which `{s.corehash}` yields; so many bits of it as `mask` has. Bytes
/// beyond ASCII aren't in the texts of addresses.
#[inline(always)]
pub fn core_hash(text: &[u8; 16], len: usize, mask: u32) -> u32 {
    let mut hash = 0_u32;
    let mut word = 0_u32;
    let mut at = 0;
    while at < 16 {
        if at < len {
            word = word << 8 | text[at] as u32;
        }
        at += 1;
        if at.is_multiple_of(4) {
            // A group that isn't there adds nothing.
            hash = hash.wrapping_add(word ^ word >> 3);
            word = 0;
        }
    }
    let mixed = hash
        .wrapping_add(hash >> 11)
        .wrapping_add(hash >> 13)
        .wrapping_add(hash >> 23);
    mixed & mask
}

/// An IPv4 address as text, and how long that is.
#[inline(always)]
pub fn ipv4_text(address: [u8; 4]) -> ([u8; 16], usize) {
    let mut text = [0; 16];
    let mut len = 0_usize;
    let mut i = 0;
    while i < 4 {
        let number = address[i];
        if i > 0 {
            text[len & 15] = b'.';
            len += 1;
        }
        if number >= 100 {
            text[len & 15] = b'0' + number / 100;
            len += 1;
        }
        if number >= 10 {
            text[len & 15] = b'0' + number / 10 % 10;
            len += 1;
        }
        text[len & 15] = b'0' + number % 10;
        len += 1;
        i += 1;
    }
    (text, len)
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
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString as _;

    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for address in [[0, 0, 0, 0], [10, 9, 100, 99], [255, 255, 255, 255]] {
            let (text, len) = ipv4_text(address);
            let expected = std::net::Ipv4Addr::from(address).to_string();
            assert_eq!(&text[..len], expected.as_bytes());
        }
    }

    #[test]
    fn what_is_put_together_comes_apart_again() {
        assert_eq!(of_place(place(1023, 16)), (1023, 16));
        assert_ne!(hop_slot(3, 1), hop_slot(3, 2));
        assert_eq!(size_of::<RoadSource>(), 20);
    }
}
