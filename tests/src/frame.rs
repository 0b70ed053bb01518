//! Ethernet frames, built and read independently of corex's own code, right or deliberately
//! wrong.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use anyhow::{Context as _, Error, Result};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];
const PROTOCOL_UDP: u8 = 17;
const IPV6_HOP_BY_HOP: u8 = 0;
const IPV6_FRAGMENT: u8 = 44;
const IPV6_DESTINATION: u8 = 60;

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(
            bytes.try_into().ok().context("six bytes, as in 02:…")?,
        ))
    }
}

/// What a UDP checksum shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpChecksum {
    /// As RFC 768 computes it.
    #[default]
    Right,
    /// Off by one.
    Wrong,
    /// Absent (zero): legal over IPv4 (RFC 768), not over IPv6 (RFC 8200, section 8.1).
    Zero,
    /// Only the pseudo-header's sum, as a kernel leaves it for the NIC to complete.
    Partial,
}

/// A UDP datagram in an Ethernet frame, to be built. Fields may be changed at will.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Destination and source hardware address.
    pub ethernet: (Mac, Mac),
    /// VLAN tags, outermost first: TPID (0x8100, 0x88a8) and TCI.
    pub vlans: Vec<(u16, u16)>,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port; of the same family as `source`.
    pub destination: SocketAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class: DSCP and ECN.
    pub tos: u8,
    /// IPv4 identification, or that of the IPv6 fragment header.
    pub id: u32,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// IPv6 extension headers: hop-by-hop or destination options without content, by
    /// protocol number (0, 60).
    pub extensions: Vec<u8>,
    /// What the datagram carries.
    pub payload: Vec<u8>,
    /// What the UDP header has for a checksum.
    pub udp_checksum: UdpChecksum,
    /// Whether the IPv4 header checksum is wrong.
    pub wrong_ip_checksum: bool,
    /// Added to the UDP length field.
    pub udp_length_lie: i16,
    /// Zeros after the IP packet, as Ethernet pads short frames.
    pub padding: usize,
}

impl Frame {
    /// A well-formed frame. Both addresses must be of the same family.
    pub fn udp(
        (source_mac, source): (Mac, SocketAddr),
        (destination_mac, destination): (Mac, SocketAddr),
        payload: &[u8],
    ) -> Self {
        Self {
            ethernet: (destination_mac, source_mac),
            vlans: Vec::new(),
            source,
            destination,
            ttl: 64,
            tos: 0,
            id: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            payload: payload.to_vec(),
            udp_checksum: UdpChecksum::Right,
            wrong_ip_checksum: false,
            udp_length_lie: 0,
            padding: 0,
        }
    }

    /// The frame's bytes, from the destination hardware address to the padding.
    pub fn build(&self) -> Vec<u8> {
        let mut frame = self.link_header();
        frame.extend(self.ip_packet(&self.datagram(), None));
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// The frame in fragments that carry at most `size` bytes (a multiple of eight) of the
    /// datagram each.
    pub fn fragments(&self, size: usize) -> Vec<Vec<u8>> {
        let datagram = self.datagram();
        let last = datagram.len().saturating_sub(1) / size;
        datagram
            .chunks(size)
            .enumerate()
            .map(|(number, part)| {
                let mut frame = self.link_header();
                let offset = (number * size / 8) as u16;
                frame.extend(self.ip_packet(part, Some((offset, number < last))));
                frame
            })
            .collect()
    }

    fn link_header(&self) -> Vec<u8> {
        let mut header = [self.ethernet.0.0, self.ethernet.1.0].concat();
        for (tpid, tci) in &self.vlans {
            header.extend(tpid.to_be_bytes());
            header.extend(tci.to_be_bytes());
        }
        let ethertype = if self.source.is_ipv4() {
            ETHERTYPE_IPV4
        } else {
            ETHERTYPE_IPV6
        };
        header.extend(ethertype.to_be_bytes());
        header
    }

    /// UDP header and payload.
    fn datagram(&self) -> Vec<u8> {
        let length = (8 + self.payload.len()) as u16;
        let declared = length.wrapping_add_signed(self.udp_length_lie);
        let mut datagram = Vec::with_capacity(length.into());
        datagram.extend(self.source.port().to_be_bytes());
        datagram.extend(self.destination.port().to_be_bytes());
        datagram.extend(declared.to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(&self.payload);
        let pseudo = pseudo_header(self.source.ip(), self.destination.ip(), length);
        let right = match checksum(&[&pseudo, &datagram]) {
            0 => 0xffff,
            sum => sum,
        };
        let sum = match self.udp_checksum {
            UdpChecksum::Right => right,
            UdpChecksum::Wrong => right.wrapping_add(1).max(1),
            UdpChecksum::Zero => 0,
            UdpChecksum::Partial => !checksum(&[&pseudo]),
        };
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        datagram
    }

    /// `fragment`: offset in units of eight bytes, and whether more follow.
    fn ip_packet(&self, body: &[u8], fragment: Option<(u16, bool)>) -> Vec<u8> {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4_packet(source, destination, body, fragment)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ipv6_packet(source, destination, body, fragment)
            }
            _ => panic!(
                "addresses of two families: {} {}",
                self.source, self.destination
            ),
        }
    }

    fn ipv4_packet(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        body: &[u8],
        fragment: Option<(u16, bool)>,
    ) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let flags = fragment.map_or(0x4000, |(offset, more)| {
            offset | if more { 0x2000 } else { 0 }
        });
        let mut packet = vec![0x40 | (header_len / 4) as u8, self.tos];
        packet.extend(((header_len + body.len()) as u16).to_be_bytes());
        packet.extend((self.id as u16).to_be_bytes());
        packet.extend(flags.to_be_bytes());
        packet.extend([self.ttl, PROTOCOL_UDP, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(&self.options);
        let sum = checksum(&[&packet]).wrapping_add(self.wrong_ip_checksum.into());
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(body);
        packet
    }

    fn ipv6_packet(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        body: &[u8],
        fragment: Option<(u16, bool)>,
    ) -> Vec<u8> {
        let mut chain = self.extensions.clone();
        chain.extend(fragment.map(|_| IPV6_FRAGMENT));
        chain.push(PROTOCOL_UDP);
        let mut content = Vec::new();
        for (header, next) in chain.iter().zip(&chain[1..]) {
            match (*header, fragment) {
                (IPV6_FRAGMENT, Some((offset, more))) => {
                    content.extend([*next, 0]);
                    content.extend((offset << 3 | u16::from(more)).to_be_bytes());
                    content.extend(self.id.to_be_bytes());
                }
                // Eight bytes: next header, length 0, one PadN option.
                _ => content.extend([*next, 0, 1, 4, 0, 0, 0, 0]),
            }
        }
        content.extend(body);
        let mut packet = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        packet.extend((content.len() as u16).to_be_bytes());
        packet.extend([chain[0], self.ttl]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(content);
        packet
    }
}

/// A UDP datagram found in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Destination and source hardware address.
    pub ethernet: (Mac, Mac),
    /// VLAN tags, outermost first.
    pub vlans: Vec<(u16, u16)>,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// What the datagram carries.
    pub payload: Vec<u8>,
    /// Whether the IPv4 header checksum is right; true for IPv6, which has none.
    pub ip_checksum_right: bool,
    /// Whether the UDP checksum is right, or absent where it may be.
    pub udp_checksum_right: bool,
}

impl Parsed {
    /// Reads a frame. `None` if it isn't one whole UDP datagram, fragments included.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let ethernet = (mac_at(frame, 0)?, mac_at(frame, 6)?);
        let mut vlans = Vec::new();
        let mut at = 12;
        while ETHERTYPE_VLAN.contains(&u16_at(frame, at)?) {
            vlans.push((u16_at(frame, at)?, u16_at(frame, at + 2)?));
            at += 4;
        }
        let ip = frame.get(at + 2..)?;
        let network = match u16_at(frame, at)? {
            ETHERTYPE_IPV4 => Network::ipv4(ip)?,
            ETHERTYPE_IPV6 => Network::ipv6(ip)?,
            _ => return None,
        };
        let length = u16_at(network.body, 4)?;
        let datagram = network.body.get(..length.into())?;
        let pseudo = pseudo_header(network.source, network.destination, length);
        let absent = u16_at(datagram, 6)? == 0 && network.source.is_ipv4();
        Some(Self {
            ethernet,
            vlans,
            source: SocketAddr::new(network.source, u16_at(datagram, 0)?),
            destination: SocketAddr::new(network.destination, u16_at(datagram, 2)?),
            ttl: network.ttl,
            tos: network.tos,
            payload: datagram.get(8..)?.to_vec(),
            ip_checksum_right: network.checksum_right,
            udp_checksum_right: absent || checksum(&[&pseudo, datagram]) == 0,
        })
    }
}

/// An IP packet that isn't a fragment.
struct Network<'a> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    tos: u8,
    checksum_right: bool,
    body: &'a [u8],
}

impl<'a> Network<'a> {
    fn ipv4(ip: &'a [u8]) -> Option<Self> {
        let header = ip.get(..usize::from(ip.first()? & 15) * 4)?;
        let fragmented = u16_at(header, 6)? & 0x3fff != 0;
        if header.len() < 20 || fragmented || header[9] != PROTOCOL_UDP {
            return None;
        }
        let address = |at: usize| {
            Some(Ipv4Addr::from(
                <[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?,
            ))
        };
        Some(Self {
            source: address(12)?.into(),
            destination: address(16)?.into(),
            ttl: header[8],
            tos: header[1],
            checksum_right: checksum(&[header]) == 0,
            body: ip.get(header.len()..u16_at(header, 2)?.into())?,
        })
    }

    fn ipv6(ip: &'a [u8]) -> Option<Self> {
        let address = |at: usize| {
            Some(Ipv6Addr::from(
                <[u8; 16]>::try_from(ip.get(at..at + 16)?).ok()?,
            ))
        };
        let mut next = *ip.get(6)?;
        let mut body = ip.get(40..40 + usize::from(u16_at(ip, 4)?))?;
        while next == IPV6_HOP_BY_HOP || next == IPV6_DESTINATION {
            next = *body.first()?;
            body = body.get(8 + 8 * usize::from(*body.get(1)?)..)?;
        }
        (next == PROTOCOL_UDP).then_some(Self {
            source: address(8)?.into(),
            destination: address(24)?.into(),
            ttl: *ip.get(7)?,
            tos: (u16_at(ip, 0)? >> 4) as u8,
            checksum_right: true,
            body,
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn mac_at(bytes: &[u8], at: usize) -> Option<Mac> {
    Some(Mac(bytes.get(at..at + 6)?.try_into().ok()?))
}

/// RFC 768 and RFC 8200, section 8.1; both sum up alike.
fn pseudo_header(source: IpAddr, destination: IpAddr, length: u16) -> Vec<u8> {
    let mut header = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            [source.octets(), destination.octets()].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            [source.octets(), destination.octets()].concat()
        }
        _ => panic!("addresses of two families: {source} {destination}"),
    };
    header.extend(length.to_be_bytes());
    header.extend([0, PROTOCOL_UDP]);
    header
}

/// The Internet checksum (RFC 1071), word by word. Parts but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for word in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: &str, destination: &str, payload: &[u8]) -> Frame {
        Frame::udp(
            (Mac([2, 0, 0, 0, 0, 1]), source.parse().unwrap()),
            (Mac([2, 0, 0, 0, 0, 2]), destination.parse().unwrap()),
            payload,
        )
    }

    fn both() -> [Frame; 2] {
        [
            frame("10.0.0.1:5060", "10.0.0.2:5070", b"odd"),
            frame("[fd00::1]:5060", "[fd00::2]:5070", b"even"),
        ]
    }

    #[test]
    fn what_is_built_reads_back() {
        for mut frame in both() {
            frame.vlans = vec![(0x88a8, 7), (0x8100, 42)];
            frame.extensions = vec![IPV6_HOP_BY_HOP, IPV6_DESTINATION];
            frame.options = vec![1; 8];
            frame.tos = 0xb8;
            frame.padding = 9;
            let parsed = Parsed::read(&frame.build()).unwrap();
            assert_eq!(parsed.ethernet, frame.ethernet);
            assert_eq!(parsed.vlans, frame.vlans);
            assert_eq!(parsed.source, frame.source);
            assert_eq!(parsed.destination, frame.destination);
            assert_eq!((parsed.ttl, parsed.tos), (64, 0xb8));
            assert_eq!(parsed.payload, frame.payload);
            assert!(parsed.ip_checksum_right && parsed.udp_checksum_right);
        }
    }

    #[test]
    fn wrong_checksums_are_seen_as_wrong() {
        for mut frame in both() {
            for wrong in [UdpChecksum::Wrong, UdpChecksum::Partial] {
                frame.udp_checksum = wrong;
                assert!(!Parsed::read(&frame.build()).unwrap().udp_checksum_right);
            }
            frame.udp_checksum = UdpChecksum::Zero;
            let parsed = Parsed::read(&frame.build()).unwrap();
            assert_eq!(parsed.udp_checksum_right, frame.source.is_ipv4());
        }
        let mut frame = both()[0].clone();
        frame.wrong_ip_checksum = true;
        assert!(!Parsed::read(&frame.build()).unwrap().ip_checksum_right);
    }

    #[test]
    fn the_checksum_of_the_example_in_rfc_1071_is_right() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(!checksum(&[&data]), 0xddf2);
    }

    #[test]
    fn fragments_carry_all_bytes_and_are_no_whole_datagram() {
        for mut frame in both() {
            frame.payload = vec![b'x'; 3000];
            let fragments = frame.fragments(1400);
            assert_eq!(fragments.len(), 3);
            let header = if frame.source.is_ipv4() { 34 } else { 62 };
            let carried: usize = fragments.iter().map(|f| f.len() - header).sum();
            assert_eq!(carried, 3008);
            assert!(fragments.iter().all(|f| Parsed::read(f).is_none()));
        }
    }
}
