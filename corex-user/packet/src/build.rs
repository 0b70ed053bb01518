//! The headers of a datagram that leaves.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use corex_common::ip::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_DONT_FRAGMENT, IPV4_LEN, IPV6_LEN,
    PROTOCOL_UDP, UDP_LEN,
};

use super::Sum;

/// Bytes that Ethernet, IPv6 and UDP headers take together, the most that is ever written.
pub const MAX_HEADERS_LEN: usize = ETHERNET_LEN + IPV6_LEN + UDP_LEN;

/// What the headers of a datagram say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Source MAC: the interface's.
    pub src_mac: [u8; 6],
    /// Destination MAC: the next hop's.
    pub dst_mac: [u8; 6],
    /// Source address and port.
    pub src: SocketAddr,
    /// Destination address and port, of the same family.
    pub dst: SocketAddr,
    /// IPv4 time to live or IPv6 hop limit.
    pub ttl: u8,
    /// IPv4 identification of a datagram that routers may fragment, which is to differ from that
    /// of others between the same hosts (RFC 6864 §4.3). `None`: DF is set, and the
    /// identification is 0, which §4.1 allows for what is never fragmented. IPv6 has neither.
    pub identification: Option<u16>,
    /// DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
}

/// Why headers can't be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// Source and destination are of different families.
    #[error("source and destination are of different address families")]
    Family,
    /// The payload exceeds what IP's 16-bit lengths can say.
    #[error("{0} bytes are too long for a UDP datagram")]
    TooLong(usize),
    /// The buffer ends before the payload does, or has no room for the headers in front of it.
    #[error("the buffer is too small")]
    Space,
}

impl Envelope {
    /// Bytes that the headers take: 42 over IPv4, 62 over IPv6.
    pub const fn headers_len(&self) -> usize {
        let ip = if self.dst.is_ipv4() {
            IPV4_LEN
        } else {
            IPV6_LEN
        };
        ETHERNET_LEN + ip + UDP_LEN
    }
}

/// Writes fresh headers in front of a payload that stays where it is in `buf`, and returns
/// where the frame then lies: it ends with the payload.
///
/// Old headers are overwritten, whatever they were: VLAN tags and IPv6 extension headers are
/// gone, and the family may change if there is room. Pass the buffer from its headroom on.
/// `payload_sum`, if known from [`super::verify_udp`], spares the pass over the payload.
///
/// Checksums are written in full, never left to hardware.
/// On an error `buf` is as it was.
pub fn rewrite_in_place(
    buf: &mut [u8],
    payload: Range<usize>,
    envelope: &Envelope,
    payload_sum: Option<Sum>,
) -> Result<Range<usize>, BuildError> {
    let body = buf.get(payload.clone()).ok_or(BuildError::Space)?;
    let too_long = || BuildError::TooLong(body.len());
    let udp_len = u16::try_from(body.len() + UDP_LEN).map_err(|_| too_long())?;
    let mut header = [0u8; MAX_HEADERS_LEN];
    let header = &mut header[..envelope.headers_len()];
    let (ethernet, ip_and_udp) = header.split_at_mut(ETHERNET_LEN);
    let ethertype = match (envelope.src.ip(), envelope.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total_len = udp_len
                .checked_add(IPV4_LEN as u16)
                .ok_or_else(too_long)?
                .to_be_bytes();
            let ip = &mut ip_and_udp[..IPV4_LEN];
            ip[0] = 0x45;
            ip[1] = envelope.traffic_class;
            ip[2..4].copy_from_slice(&total_len);
            match envelope.identification {
                Some(id) => ip[4..6].copy_from_slice(&id.to_be_bytes()),
                None => ip[6..8].copy_from_slice(&IPV4_DONT_FRAGMENT.to_be_bytes()),
            }
            ip[8] = envelope.ttl;
            ip[9] = PROTOCOL_UDP;
            ip[12..16].copy_from_slice(&src.octets());
            ip[16..20].copy_from_slice(&dst.octets());
            let checksum = Sum::of(ip).checksum();
            ip[10..12].copy_from_slice(&checksum);
            ETHERTYPE_IPV4
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let ip = &mut ip_and_udp[..IPV6_LEN];
            ip[0] = 0x60 | (envelope.traffic_class >> 4);
            ip[1] = envelope.traffic_class << 4;
            ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
            ip[6] = PROTOCOL_UDP;
            ip[7] = envelope.ttl;
            ip[8..24].copy_from_slice(&src.octets());
            ip[24..40].copy_from_slice(&dst.octets());
            ETHERTYPE_IPV6
        }
        _ => return Err(BuildError::Family),
    };
    ethernet[..6].copy_from_slice(&envelope.dst_mac);
    ethernet[6..12].copy_from_slice(&envelope.src_mac);
    ethernet[12..].copy_from_slice(&ethertype.to_be_bytes());

    let udp_at = ip_and_udp.len() - UDP_LEN;
    let udp = &mut ip_and_udp[udp_at..];
    udp[..2].copy_from_slice(&envelope.src.port().to_be_bytes());
    udp[2..4].copy_from_slice(&envelope.dst.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    let sum = Sum::of_pseudo_header(envelope.src.ip(), envelope.dst.ip(), udp_len)
        .plus(Sum::of(udp))
        .plus(payload_sum.unwrap_or_else(|| Sum::of(body)));
    // A computed zero goes out as all ones, since zero says "none" (RFC 768).
    let checksum = match sum.checksum() {
        [0, 0] => [0xff, 0xff],
        checksum => checksum,
    };
    udp[6..].copy_from_slice(&checksum);

    let start = payload
        .start
        .checked_sub(header.len())
        .ok_or(BuildError::Space)?;
    buf.get_mut(start..payload.start)
        .ok_or(BuildError::Space)?
        .copy_from_slice(header);
    Ok(start..payload.end)
}

/// Builds a whole frame at the start of `buf` and returns its length in bytes; the headers
/// are those of [`rewrite_in_place`]. On an error the contents of `buf` are unspecified.
pub fn build_udp(buf: &mut [u8], envelope: &Envelope, payload: &[u8]) -> Result<usize, BuildError> {
    let start = envelope.headers_len();
    let range = start..start + payload.len();
    buf.get_mut(range.clone())
        .ok_or(BuildError::Space)?
        .copy_from_slice(payload);
    rewrite_in_place(buf, range, envelope, None).map(|frame| frame.end)
}
