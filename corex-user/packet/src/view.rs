//! Any IP packet in a frame, with all that [`super::parse`] leaves to the kernel: IPv4 options,
//! routing headers, fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use corex_common::ip::{
    AUTHENTICATION, DESTINATION_OPTIONS, ETHERTYPE_IPV4, FRAGMENT, FRAGMENT_HEADER_LEN,
    IPV4_DONT_FRAGMENT, IPV4_FRAGMENT_OFFSET, IPV4_LEN, IPV4_MORE_FRAGMENTS, IPV6_FRAGMENT_OFFSET,
    IPV6_LEN, IPV6_MORE_FRAGMENTS, MAX_IP_LEN, PROTOCOL_UDP, ROUTING, UDP_LEN, ipv4_header_len,
    ipv6_is_rest_of_frame, is_walked,
};

use super::{
    ParseError, Sum, UdpFrame, be16_at, bytes_at,
    headers::{ExtHeaders, ipv6_payload_len, link_header, udp_len},
};

/// Where a fragment belongs (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentField {
    /// Identification: 16 bits over IPv4, 32 over IPv6.
    pub id: u32,
    /// Where its data begins in the datagram, in bytes.
    pub offset: usize,
    /// Whether others follow.
    pub more: bool,
    /// Offset in the frame of the IPv6 fragment header; that of the IP header over IPv4.
    pub header_at: usize,
}

/// An IP packet in a frame. All offsets are in bytes from the start of the frame and lie
/// within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// Offset of the IP header.
    pub l3: usize,
    /// End of the headers that each fragment has (RFC 8200 §4.5: up to the routing header, else
    /// the hop-by-hop options); end of the IPv4 header with its options.
    pub per_fragment_end: usize,
    /// Offset of the byte that says what follows at [`Self::per_fragment_end`].
    pub next_at: usize,
    /// End of all headers before the transport's; of a fragment, where its data begins.
    pub header_end: usize,
    /// What is at [`Self::header_end`]: a protocol, or in an IPv6 fragment perhaps an extension
    /// header (IANA protocol numbers).
    pub protocol: u8,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// End of the packet by the length in its header; the frame may be longer (padding).
    pub ip_end: usize,
    /// IPv4: whether routers may not fragment it. IPv6: true, none may.
    pub dont_fragment: bool,
    /// Set in a fragment, and in an atomic one too (RFC 6946).
    pub fragment: Option<FragmentField>,
}

impl View {
    /// Finds the packet: Ethernet II, up to two VLAN tags, IPv4, or IPv6 with up to four
    /// extension headers of at most 256 bytes.
    ///
    /// # Errors
    ///
    /// [`ParseError::NotIp`], [`ParseError::VlanDepth`], [`ParseError::ExtHeader`] for an
    /// extension header that isn't walked, [`ParseError::Malformed`].
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let (l3, ethertype) = link_header(frame)?;
        let view = if ethertype == ETHERTYPE_IPV4 {
            parse_ipv4(frame, l3)
        } else {
            parse_ipv6(frame, l3)
        }?;
        if view.header_end > view.ip_end || view.ip_end > frame.len() {
            return Err(ParseError::Malformed);
        }
        Ok(view)
    }

    /// The datagram in a packet that is no fragment.
    ///
    /// # Errors
    ///
    /// [`ParseError::Fragment`], [`ParseError::NotUdp`], and [`ParseError::Malformed`] for a UDP
    /// header that is cut off or claims more than there is.
    pub fn udp(&self, frame: &[u8]) -> Result<UdpFrame, ParseError> {
        if self.fragment.is_some() {
            return Err(ParseError::Fragment);
        }
        if self.protocol != PROTOCOL_UDP {
            return Err(ParseError::NotUdp);
        }
        let packet = frame.get(..self.ip_end).ok_or(ParseError::Malformed)?;
        let ip_payload = packet.len().saturating_sub(self.header_end);
        let ipv6 = self.src.is_ipv6();
        be16_at(packet, self.header_end + 4)
            .map(|field| udp_len(field, ip_payload, ipv6))
            .filter(|len| *len <= MAX_IP_LEN)
            .and_then(|len| len.checked_sub(UDP_LEN))
            .and_then(|len| UdpFrame::at(packet, self.l3, self.header_end, len, ipv6))
            .ok_or(ParseError::Malformed)
    }

    /// Whether the checksum of the IPv4 header, options included, is right. True for IPv6.
    pub fn header_is_intact(&self, frame: &[u8]) -> bool {
        self.src.is_ipv6()
            || frame
                .get(self.l3..self.header_end)
                .is_some_and(|header| Sum::of(header).is_intact())
    }
}

fn parse_ipv4(frame: &[u8], l3: usize) -> Result<View, ParseError> {
    let ip = bytes_at::<IPV4_LEN>(frame, l3).ok_or(ParseError::Malformed)?;
    let header_len = ipv4_header_len(ip[0]);
    if ip[0] >> 4 != 4 || header_len < IPV4_LEN {
        return Err(ParseError::Malformed);
    }
    let field = u16::from_be_bytes([ip[6], ip[7]]);
    let offset = usize::from(field & IPV4_FRAGMENT_OFFSET) * 8;
    let more = field & IPV4_MORE_FRAGMENTS != 0;
    let address = |at: usize| bytes_at::<4>(ip, at).map(|a| Ipv4Addr::from(*a).into());
    let (Some(src), Some(dst)) = (address(12), address(16)) else {
        return Err(ParseError::Malformed);
    };
    Ok(View {
        l3,
        per_fragment_end: l3 + header_len,
        next_at: l3 + 9,
        header_end: l3 + header_len,
        protocol: ip[9],
        src,
        dst,
        ip_end: l3 + usize::from(u16::from_be_bytes([ip[2], ip[3]])),
        dont_fragment: field & IPV4_DONT_FRAGMENT != 0,
        fragment: (more || offset != 0).then_some(FragmentField {
            id: u16::from_be_bytes([ip[4], ip[5]]).into(),
            offset,
            more,
            header_at: l3,
        }),
    })
}

fn parse_ipv6(frame: &[u8], l3: usize) -> Result<View, ParseError> {
    let ip = bytes_at::<IPV6_LEN>(frame, l3).ok_or(ParseError::Malformed)?;
    if ip[0] >> 4 != 6 {
        return Err(ParseError::Malformed);
    }
    let address = |at: usize| bytes_at::<16>(ip, at).map(|a| Ipv6Addr::from(*a).into());
    let (Some(src), Some(dst)) = (address(8), address(24)) else {
        return Err(ParseError::Malformed);
    };
    let mut view = View {
        l3,
        per_fragment_end: l3 + IPV6_LEN,
        next_at: l3 + 6,
        header_end: l3 + IPV6_LEN,
        protocol: ip[6],
        src,
        dst,
        ip_end: l3 + IPV6_LEN + ipv6_payload_len(frame, l3, ip),
        dont_fragment: true,
        fragment: None,
    };
    let mut headers = ExtHeaders::new(frame, l3, ip);
    // Of the byte that names the header that is looked at.
    let mut next_at = view.next_at;
    while is_walked(headers.kind, true) {
        let (at, kind) = (headers.at, headers.kind);
        let header = bytes_at::<4>(frame, at).ok_or(ParseError::Malformed)?;
        // The packet is on its way to another address (RFC 8200 §4.4).
        let has_segments_left = kind == ROUTING && header[3] != 0;
        if has_segments_left {
            return Err(ParseError::ExtHeader);
        }
        headers.pass()?;
        next_at = at;
        if kind != DESTINATION_OPTIONS {
            view.per_fragment_end = headers.at;
            view.next_at = next_at;
        }
    }
    (view.protocol, view.header_end) = (headers.kind, headers.at);
    if headers.kind == AUTHENTICATION {
        return Err(ParseError::ExtHeader);
    }
    if headers.kind == FRAGMENT {
        // Linux takes no fragment without a length (RFC 2675 §4).
        if ipv6_is_rest_of_frame(u16::from_be_bytes([ip[4], ip[5]]).into(), ip[6]) {
            return Err(ParseError::Malformed);
        }
        let at = headers.at;
        let header = bytes_at::<FRAGMENT_HEADER_LEN>(frame, at).ok_or(ParseError::Malformed)?;
        let field = u16::from_be_bytes([header[2], header[3]]);
        view.fragment = Some(FragmentField {
            id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            offset: usize::from(field & IPV6_FRAGMENT_OFFSET),
            more: field & IPV6_MORE_FRAGMENTS != 0,
            header_at: at,
        });
        view.per_fragment_end = at;
        view.next_at = next_at;
        view.protocol = header[0];
        view.header_end = at + FRAGMENT_HEADER_LEN;
    }
    Ok(view)
}
