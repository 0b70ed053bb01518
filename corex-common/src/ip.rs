//! What stands in the headers of Ethernet, IP, UDP and ICMP, and how far both sides read them.
//!
//! All lengths are in bytes. The walks themselves are written for where they run (the verifier
//! wants other code than a slice does); what they go by is here only.

/// Length of an Ethernet II header: two addresses and the EtherType (IEEE 802.3 §3.2).
pub const ETHERNET_LEN: usize = 14;
/// Length of a VLAN tag, TPID and TCI (IEEE 802.1Q §9.3).
pub const VLAN_TAG_LEN: usize = 4;
/// VLAN tags that are walked: a customer's in a provider's (IEEE 802.1ad).
pub const MAX_VLAN_TAGS: usize = 2;
/// Bytes in front of the IP header at most.
pub const MAX_LINK_LEN: usize = ETHERNET_LEN + MAX_VLAN_TAGS * VLAN_TAG_LEN;

/// EtherType of IPv4 (RFC 894; IANA, IEEE 802 Numbers).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6 (RFC 2464 §3).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// TPID of a customer's VLAN tag (IEEE 802.1Q §9.5).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// TPID of a provider's VLAN tag, the outer one of two (IEEE 802.1Q §9.5, once 802.1ad).
pub const ETHERTYPE_QINQ: u16 = 0x88a8;

/// Longest IP packet that a 16-bit length can say (RFC 791 §3.1).
pub const MAX_IP_LEN: usize = u16::MAX as usize;

/// Length of an IPv4 header without options (RFC 791 §3.1).
pub const IPV4_LEN: usize = 20;
/// Length of an IPv4 header with all the options that fit: 15 words (RFC 791 §3.1).
pub const MAX_IPV4_LEN: usize = 60;
/// "Don't fragment", in the IPv4 word of flags and fragment offset (RFC 791 §3.1).
pub const IPV4_DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments", in the same word.
pub const IPV4_MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset in the same word, in units of eight bytes.
pub const IPV4_FRAGMENT_OFFSET: u16 = 0x1fff;
/// What isn't zero in that word of a fragment, first or later.
pub const IPV4_FRAGMENT: u16 = IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET;

/// Length of the IPv6 header (RFC 8200 §3).
pub const IPV6_LEN: usize = 40;
/// Smallest MTU of an IPv6 link (RFC 8200 §5).
pub const IPV6_MIN_MTU: usize = 1280;
/// Length of the IPv6 fragment header (RFC 8200 §4.5).
pub const FRAGMENT_HEADER_LEN: usize = 8;
/// The offset in the 16-bit field of a fragment header, in bytes as it stands (RFC 8200 §4.5).
pub const IPV6_FRAGMENT_OFFSET: u16 = 0xfff8;
/// "More fragments", in the same field.
pub const IPV6_MORE_FRAGMENTS: u16 = 1;

/// Length of a UDP header (RFC 768).
pub const UDP_LEN: usize = 8;
/// Longest payload of a UDP datagram over IPv4 without options (RFC 768, RFC 791 §3.1).
pub const MAX_UDP_PAYLOAD: usize = MAX_IP_LEN - IPV4_LEN - UDP_LEN;

/// Length of the header of an ICMP or ICMPv6 error, in front of what it quotes (RFC 792,
/// RFC 4443 §3).
pub const ICMP_LEN: usize = 8;
/// ICMP type "destination unreachable" (RFC 792).
pub const ICMP_UNREACHABLE: u8 = 3;
/// Its code "fragmentation needed and DF set" (RFC 792, RFC 1191 §4).
pub const ICMP_FRAGMENTATION_NEEDED: u8 = 4;
/// ICMP type "time exceeded" (RFC 792).
pub const ICMP_TIME_EXCEEDED: u8 = 11;
/// ICMP type "parameter problem" (RFC 792).
pub const ICMP_PARAMETER_PROBLEM: u8 = 12;
/// ICMPv6 type "packet too big" (RFC 4443 §3.2).
pub const ICMPV6_PACKET_TOO_BIG: u8 = 2;

/// ICMP (IANA, Assigned Internet Protocol Numbers; so all below).
pub const PROTOCOL_ICMP: u8 = 1;
/// UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;

/// IPv6 hop-by-hop options (RFC 8200 §4.3).
pub const HOP_BY_HOP: u8 = 0;
/// IPv6 routing header (RFC 8200 §4.4).
pub const ROUTING: u8 = 43;
/// IPv6 fragment header (RFC 8200 §4.5).
pub const FRAGMENT: u8 = 44;
/// IP authentication header (RFC 4302).
pub const AUTHENTICATION: u8 = 51;
/// IPv6 destination options (RFC 8200 §4.6).
pub const DESTINATION_OPTIONS: u8 = 60;

/// IPv6 extension headers that are walked, the fragment header not counted: those that RFC 8200
/// §4.1 has in front of UDP (hop-by-hop, destination options, routing, destination options).
pub const MAX_EXT_HEADERS: usize = 4;
/// The longest of them that is walked. RFC 8200 §4.2 allows 2,048 bytes; on a path to a SIP
/// server a few dozen are already rare.
pub const MAX_EXT_HEADER_LEN: usize = 256;

/// Whether an EtherType says that a VLAN tag stands here.
#[inline(always)]
pub const fn is_vlan_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ)
}

/// Length of an IPv4 header by its first byte; below [`IPV4_LEN`] it is wrong (RFC 791 §3.1).
#[inline(always)]
pub const fn ipv4_header_len(first: u8) -> usize {
    (first & 0xf) as usize * 4
}

/// Whether this extension header is walked: options, and with `routing` routing headers too.
#[inline(always)]
pub const fn is_walked(header: u8, routing: bool) -> bool {
    matches!(header, HOP_BY_HOP | DESTINATION_OPTIONS) || routing && header == ROUTING
}

/// Whether this is an extension header behind which UDP may follow, walked or not; the fragment
/// header, of which each walk makes something else, is none of them.
#[inline(always)]
pub const fn is_extension(header: u8) -> bool {
    matches!(
        header,
        HOP_BY_HOP | ROUTING | AUTHENTICATION | DESTINATION_OPTIONS
    )
}

/// Whether an IPv6 packet reaches to the end of its frame: without a length, in front of hop-by-hop
/// options, where a jumbogram has it (RFC 2675 §3). Linux asks for no more than that
/// (ip6_rcv_core()).
#[inline(always)]
pub const fn ipv6_is_rest_of_frame(payload_len: usize, next_header: u8) -> bool {
    payload_len == 0 && next_header == HOP_BY_HOP
}

/// Length of an options or routing header by its second byte, which counts units of eight bytes
/// beyond the first (RFC 8200 §4.3, §4.4, §4.6).
#[inline(always)]
pub const fn ext_header_len(units: u8) -> usize {
    (units as usize + 1) * 8
}

/// Whether no packet from the wire can have this source address: "this network", loopback,
/// multicast, the limited broadcast (RFC 1122 §3.2.1.3; RFC 1812 §5.3.7).
#[inline(always)]
pub const fn is_martian_v4(a: [u8; 4]) -> bool {
    matches!(a[0], 0 | 127 | 224..=239) || u32::from_ne_bytes(a) == u32::MAX
}

/// Whether an IPv4 address is a loopback one (RFC 1122 §3.2.1.3).
#[inline(always)]
pub const fn is_loopback_v4(a: [u8; 4]) -> bool {
    a[0] == 127
}

/// Whether Linux refuses packets from this source whatever its settings are: unspecified, multicast,
/// the limited broadcast (since 5.3 the rest of 0.0.0.0/8 is taken).
#[inline(always)]
pub const fn is_refused_v4(a: [u8; 4]) -> bool {
    matches!(a[0], 224..=239) || matches!(u32::from_ne_bytes(a), 0 | u32::MAX)
}

/// The same for IPv6: loopback, multicast, an IPv4 address (since 5.4). The unspecified address is
/// taken.
#[inline(always)]
pub const fn is_refused_v6(a: &[u8; 16]) -> bool {
    // Only the unspecified address is all zero.
    is_martian_v6(a) && u128::from_ne_bytes(*a) != 0
}

/// The same for IPv6: unspecified, loopback, multicast, an IPv4 address (RFC 4291 §2.5.2, §2.5.3,
/// §2.5.5.2, §2.7). A host that has no address yet does send from the unspecified one, but no SIP.
#[inline(always)]
pub const fn is_martian_v6(a: &[u8; 16]) -> bool {
    let [
        w0,
        w1,
        w2,
        w3,
        w4,
        w5,
        w6,
        w7,
        b8,
        b9,
        b10,
        b11,
        b12,
        b13,
        b14,
        b15,
    ] = *a;
    let high = u64::from_be_bytes([w0, w1, w2, w3, w4, w5, w6, w7]);
    let low = u64::from_be_bytes([b8, b9, b10, b11, b12, b13, b14, b15]);
    w0 == 0xff || high == 0 && (low <= 1 || low >> 32 == 0xffff)
}

/// Whether an IPv6 address is link-local unicast, fe80::/10 (RFC 4291 §2.5.6).
#[inline(always)]
pub const fn is_link_local_v6(a: &[u8; 16]) -> bool {
    a[0] == 0xfe && a[1] & 0xc0 == 0x80
}

/// Whether an ICMP type says that the datagram that is quoted didn't arrive (RFC 792).
#[inline(always)]
pub const fn is_icmp_error(kind: u8) -> bool {
    matches!(
        kind,
        ICMP_UNREACHABLE | ICMP_TIME_EXCEEDED | ICMP_PARAMETER_PROBLEM
    )
}

/// Whether an ICMPv6 type is an error's (RFC 4443 §2.1).
#[inline(always)]
pub const fn is_icmpv6_error(kind: u8) -> bool {
    kind < 128
}
