//! What [`super::parse()`] and [`super::View`] read alike: the link's header, and IPv6 extension
//! headers one by one.

use corex_common::ip::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV6_LEN, MAX_EXT_HEADER_LEN, MAX_EXT_HEADERS,
    MAX_VLAN_TAGS, VLAN_TAG_LEN, ext_header_len, ipv6_is_rest_of_frame, is_vlan_tag,
};

use super::{ParseError, be16_at, bytes_at};

/// Offset of the IP header, and whether it is IPv4's or IPv6's by the EtherType.
pub(super) fn link_header(frame: &[u8]) -> Result<(usize, u16), ParseError> {
    let mut l3 = ETHERNET_LEN;
    let mut ethertype = be16_at(frame, l3 - 2).ok_or(ParseError::Malformed)?;
    for _ in 0..MAX_VLAN_TAGS {
        if is_vlan_tag(ethertype) {
            l3 += VLAN_TAG_LEN;
            ethertype = be16_at(frame, l3 - 2).ok_or(ParseError::Malformed)?;
        }
    }
    match ethertype {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Ok((l3, ethertype)),
        tag if is_vlan_tag(tag) => Err(ParseError::VlanDepth),
        _ => Err(ParseError::NotIp),
    }
}

/// Bytes behind the IPv6 header `ip` at `l3` that belong to the packet; they may exceed the frame.
pub(super) fn ipv6_payload_len(frame: &[u8], l3: usize, ip: &[u8; IPV6_LEN]) -> usize {
    let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    if ipv6_is_rest_of_frame(len, ip[6]) {
        frame.len().saturating_sub(l3 + IPV6_LEN)
    } else {
        len
    }
}

/// Length of a UDP datagram by the field in its header: 0 over IPv6 stands for the rest of the packet
/// (RFC 2675 §4), as Linux takes it (udp6_lib_rcv()).
pub(super) fn udp_len(field: u16, ip_payload: usize, ipv6: bool) -> usize {
    if ipv6 && field == 0 {
        ip_payload
    } else {
        field.into()
    }
}

/// A place in the chain of an IPv6 packet's extension headers (RFC 8200 §4).
///
/// Who walks looks at [`Self::kind`] and decides whether to [pass](Self::pass) that header.
pub(super) struct ExtHeaders<'f> {
    frame: &'f [u8],
    /// Offset of the header.
    pub at: usize,
    /// What it is: an extension header, or the protocol behind them all (IANA protocol numbers).
    pub kind: u8,
    passed: usize,
}

impl<'f> ExtHeaders<'f> {
    /// The chain of the IPv6 header `ip` at `l3`, at its beginning.
    pub(super) fn new(frame: &'f [u8], l3: usize, ip: &[u8; IPV6_LEN]) -> Self {
        Self {
            frame,
            at: l3 + IPV6_LEN,
            kind: ip[6],
            passed: 0,
        }
    }

    /// Goes by an options or routing header; returns its length in bytes, which may exceed the
    /// frame and the packet.
    ///
    /// # Errors
    ///
    /// [`ParseError::ExtHeader`] for one more than [`MAX_EXT_HEADERS`] or one longer than
    /// [`MAX_EXT_HEADER_LEN`], [`ParseError::Malformed`] where the frame ends.
    pub(super) fn pass(&mut self) -> Result<usize, ParseError> {
        if self.passed == MAX_EXT_HEADERS {
            return Err(ParseError::ExtHeader);
        }
        let [kind, units] = *bytes_at(self.frame, self.at).ok_or(ParseError::Malformed)?;
        let len = ext_header_len(units);
        if len > MAX_EXT_HEADER_LEN {
            return Err(ParseError::ExtHeader);
        }
        self.passed += 1;
        self.kind = kind;
        self.at += len;
        Ok(len)
    }
}
