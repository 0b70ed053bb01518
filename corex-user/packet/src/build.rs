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
    match (envelope.src.ip(), envelope.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total_len = udp_len
                .checked_add(IPV4_LEN as u16)
                .ok_or_else(too_long)?
                .to_be_bytes();
            let mut ip = [0; IPV4_LEN];
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
            let checksum = Sum::of_header(&ip).checksum();
            ip[10..12].copy_from_slice(&checksum);
            let addresses = [Sum::of_header(&src.octets()), Sum::of_header(&dst.octets())];
            let addresses = Sum::of_all(addresses);
            let udp = udp_header(envelope, addresses, udp_len, body, payload_sum);
            place::<{ ETHERNET_LEN + IPV4_LEN + UDP_LEN }>(
                buf,
                payload,
                [&ethernet(envelope, ETHERTYPE_IPV4), &ip, &udp],
            )
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut ip = [0; IPV6_LEN];
            ip[0] = 0x60 | (envelope.traffic_class >> 4);
            ip[1] = envelope.traffic_class << 4;
            ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
            ip[6] = PROTOCOL_UDP;
            ip[7] = envelope.ttl;
            ip[8..24].copy_from_slice(&src.octets());
            ip[24..40].copy_from_slice(&dst.octets());
            let addresses = [Sum::of_header(&src.octets()), Sum::of_header(&dst.octets())];
            let addresses = Sum::of_all(addresses);
            let udp = udp_header(envelope, addresses, udp_len, body, payload_sum);
            place::<{ ETHERNET_LEN + IPV6_LEN + UDP_LEN }>(
                buf,
                payload,
                [&ethernet(envelope, ETHERTYPE_IPV6), &ip, &udp],
            )
        }
        _ => Err(BuildError::Family),
    }
}

#[inline]
fn ethernet(envelope: &Envelope, ethertype: u16) -> [u8; ETHERNET_LEN] {
    let mut header = [0; ETHERNET_LEN];
    header[..6].copy_from_slice(&envelope.dst_mac);
    header[6..12].copy_from_slice(&envelope.src_mac);
    header[12..].copy_from_slice(&ethertype.to_be_bytes());
    header
}

#[inline]
fn udp_header(
    envelope: &Envelope,
    addresses: Sum,
    udp_len: u16,
    body: &[u8],
    payload_sum: Option<Sum>,
) -> [u8; UDP_LEN] {
    let mut header = [0; UDP_LEN];
    header[..2].copy_from_slice(&envelope.src.port().to_be_bytes());
    header[2..4].copy_from_slice(&envelope.dst.port().to_be_bytes());
    header[4..6].copy_from_slice(&udp_len.to_be_bytes());
    let [high, low] = udp_len.to_be_bytes();
    let sum = Sum::of_all([
        addresses,
        Sum::of_header(&[0, PROTOCOL_UDP, high, low]),
        Sum::of_header(&header),
        payload_sum.unwrap_or_else(|| Sum::of(body)),
    ]);
    // A computed zero goes out as all ones, since zero says "none" (RFC 768).
    let checksum = match sum.checksum() {
        [0, 0] => [0xff, 0xff],
        checksum => checksum,
    };
    header[6..].copy_from_slice(&checksum);
    header
}

/// Writes headers of `N` bytes together in front of a payload, and says where the frame lies.
#[inline]
fn place<const N: usize>(
    buf: &mut [u8],
    payload: Range<usize>,
    headers: [&[u8]; 3],
) -> Result<Range<usize>, BuildError> {
    let start = payload.start.checked_sub(N).ok_or(BuildError::Space)?;
    let room = buf.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<N>);
    let mut room: &mut [u8] = room.ok_or(BuildError::Space)?;
    for header in headers {
        let (place, rest) = room
            .split_at_mut_checked(header.len())
            .ok_or(BuildError::Space)?;
        place.copy_from_slice(header);
        room = rest;
    }
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
