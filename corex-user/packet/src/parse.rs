//! Finds the UDP datagram in a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use corex_common::ip::{
    ETHERTYPE_IPV4, FRAGMENT, IPV4_FRAGMENT, IPV4_LEN, IPV6_LEN, MAX_IP_LEN, PROTOCOL_UDP, UDP_LEN,
    is_extension, is_walked,
};

use super::{
    be16_at, bytes_at,
    headers::{ExtHeaders, ipv6_payload_len, link_header, udp_len},
};

/// A UDP datagram in a frame. All offsets and lengths are in bytes, offsets from the start of
/// the frame; those of a parsed frame lie within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpFrame {
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of the UDP header.
    pub l4: usize,
    /// Length of the payload by the UDP header; the frame may be longer (padding).
    pub payload_len: usize,
    /// Source address and port. IPv6 addresses have no scope and no flow label.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
    /// IPv4 time to live or IPv6 hop limit.
    pub ttl: u8,
    /// DSCP in the upper six bits, ECN in the lower two (RFC 2474, RFC 3168).
    pub traffic_class: u8,
}

/// Why [`parse`] finds no datagram. Everything but [`Self::Malformed`] is legal traffic that
/// is the kernel's to handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// The EtherType is neither IPv4 nor IPv6.
    #[error("neither IPv4 nor IPv6")]
    NotIp,
    /// More than two VLAN tags.
    #[error("more than two VLAN tags")]
    VlanDepth,
    /// IPv4 options.
    #[error("IPv4 options")]
    IpOptions,
    /// A fragment, first or later.
    #[error("an IP fragment")]
    Fragment,
    /// An IPv6 extension header that is not walked: routing, authentication, a fifth one, or
    /// one longer than 256 bytes.
    #[error("an IPv6 extension header that is not walked")]
    ExtHeader,
    /// Another protocol than UDP.
    #[error("not UDP")]
    NotUdp,
    /// A header is cut off, or a length contradicts another or exceeds the frame.
    #[error("a header is cut off or its length is wrong")]
    Malformed,
}

impl UdpFrame {
    /// The datagram at known offsets, those of the XDP program's metadata record. Only the
    /// addresses are read. `None` if the frame doesn't reach that far.
    #[inline]
    pub fn at(frame: &[u8], l3: usize, l4: usize, payload_len: usize, ipv6: bool) -> Option<Self> {
        frame.get(l4.checked_add(UDP_LEN)?..)?.get(..payload_len)?;
        let (src, dst, ttl, traffic_class): (IpAddr, IpAddr, _, _) = if ipv6 {
            let ip = bytes_at::<IPV6_LEN>(frame, l3)?;
            let addr = |at: usize| bytes_at::<16>(ip, at).map(|a| Ipv6Addr::from(*a).into());
            (addr(8)?, addr(24)?, ip[7], (ip[0] << 4) | (ip[1] >> 4))
        } else {
            let ip = bytes_at::<IPV4_LEN>(frame, l3)?;
            let addr = |at: usize| bytes_at::<4>(ip, at).map(|a| Ipv4Addr::from(*a).into());
            (addr(12)?, addr(16)?, ip[8], ip[1])
        };
        Some(Self {
            l3,
            l4,
            payload_len,
            src: SocketAddr::new(src, be16_at(frame, l4)?),
            dst: SocketAddr::new(dst, be16_at(frame, l4 + 2)?),
            ttl,
            traffic_class,
        })
    }

    /// Where the payload lies in the frame.
    #[inline]
    pub const fn payload_range(&self) -> Range<usize> {
        let start = self.l4 + UDP_LEN;
        start..start + self.payload_len
    }

    /// The payload. Empty if `frame` is not the frame that was parsed and is shorter.
    #[inline]
    pub fn payload<'f>(&self, frame: &'f [u8]) -> &'f [u8] {
        frame.get(self.payload_range()).unwrap_or_default()
    }

    /// The differentiated services code point, 0 to 63 (RFC 2474).
    pub const fn dscp(&self) -> u8 {
        self.traffic_class >> 2
    }
}

/// Finds the UDP datagram: Ethernet II, up to two VLAN tags, IPv4 without options or IPv6
/// with up to four hop-by-hop and destination options headers, no fragments, UDP.
///
/// Lengths come from the IP and UDP headers, not from the frame, which may be padded. No
/// checksum is looked at: see [`super::verify_ipv4_header`] and [`super::verify_udp`].
pub fn parse(frame: &[u8]) -> Result<UdpFrame, ParseError> {
    let (l3, ethertype) = link_header(frame)?;
    if ethertype == ETHERTYPE_IPV4 {
        parse_ipv4(frame, l3)
    } else {
        parse_ipv6(frame, l3)
    }
}

fn parse_ipv4(frame: &[u8], l3: usize) -> Result<UdpFrame, ParseError> {
    let ip = bytes_at::<IPV4_LEN>(frame, l3).ok_or(ParseError::Malformed)?;
    match ip[0] {
        0x45 => {}
        0x46..=0x4f => return Err(ParseError::IpOptions),
        _ => return Err(ParseError::Malformed),
    }
    if u16::from_be_bytes([ip[6], ip[7]]) & IPV4_FRAGMENT != 0 {
        return Err(ParseError::Fragment);
    }
    if ip[9] != PROTOCOL_UDP {
        return Err(ParseError::NotUdp);
    }
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let ip_payload = total_len
        .checked_sub(IPV4_LEN)
        .ok_or(ParseError::Malformed)?;
    parse_udp(frame, l3, l3 + IPV4_LEN, ip_payload, false)
}

fn parse_ipv6(frame: &[u8], l3: usize) -> Result<UdpFrame, ParseError> {
    let ip = bytes_at::<IPV6_LEN>(frame, l3).ok_or(ParseError::Malformed)?;
    if ip[0] >> 4 != 6 {
        return Err(ParseError::Malformed);
    }
    let mut remaining = ipv6_payload_len(frame, l3, ip);
    let mut headers = ExtHeaders::new(frame, l3, ip);
    while is_walked(headers.kind, false) {
        let len = headers.pass()?;
        remaining = remaining.checked_sub(len).ok_or(ParseError::Malformed)?;
    }
    match headers.kind {
        PROTOCOL_UDP => parse_udp(frame, l3, headers.at, remaining, true),
        FRAGMENT => Err(ParseError::Fragment),
        kind if is_extension(kind) => Err(ParseError::ExtHeader),
        _ => Err(ParseError::NotUdp),
    }
}

fn parse_udp(
    frame: &[u8],
    l3: usize,
    l4: usize,
    ip_payload: usize,
    ipv6: bool,
) -> Result<UdpFrame, ParseError> {
    let field = be16_at(frame, l4 + 4).ok_or(ParseError::Malformed)?;
    let udp_len = udp_len(field, ip_payload, ipv6);
    if udp_len > ip_payload || udp_len > MAX_IP_LEN {
        return Err(ParseError::Malformed);
    }
    udp_len
        .checked_sub(UDP_LEN)
        .and_then(|payload_len| UdpFrame::at(frame, l3, l4, payload_len, ipv6))
        .ok_or(ParseError::Malformed)
}
