//! HEPv3, the Homer encapsulation protocol: "HEP3", the length of the whole, and chunks. Each chunk
//! has the number of its vendor, its type, its length with these six bytes, and a value. All
//! numbers are big endian (github.com/sipcapture/HEP, rev. 36).
//!
//! No crate that is kept up writes it.

use std::net::{IpAddr, SocketAddr};

use corex_script::Copied;
use corex_sip::Transport;

const MAGIC: &[u8; 4] = b"HEP3";
/// Magic and length.
const HEADER: usize = 6;
/// Vendor, type and length of a chunk.
const CHUNK: usize = 6;
/// The most bytes of a packet: what a UDP datagram over IPv4 carries.
pub const MAX_LEN: usize = 65_507;

/// Types of chunks of the generic vendor, 0.
mod chunk {
    pub const IP_FAMILY: u16 = 0x0001;
    pub const IP_PROTOCOL: u16 = 0x0002;
    pub const SOURCE_IP4: u16 = 0x0003;
    pub const DESTINATION_IP4: u16 = 0x0004;
    pub const SOURCE_IP6: u16 = 0x0005;
    pub const DESTINATION_IP6: u16 = 0x0006;
    pub const SOURCE_PORT: u16 = 0x0007;
    pub const DESTINATION_PORT: u16 = 0x0008;
    pub const SECONDS: u16 = 0x0009;
    pub const MICROSECONDS: u16 = 0x000a;
    pub const PROTOCOL_TYPE: u16 = 0x000b;
    pub const CAPTURE_ID: u16 = 0x000c;
    pub const AUTH_KEY: u16 = 0x000e;
    pub const PAYLOAD: u16 = 0x000f;
    pub const CORRELATION_ID: u16 = 0x0011;
}

/// What a packet says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The payload's sender.
    pub source: SocketAddr,
    /// Who gets it.
    pub destination: SocketAddr,
    /// The transport between them.
    pub transport: Transport,
    /// When it passed, in seconds since 1970.
    pub seconds: u32,
    /// And microseconds.
    pub micros: u32,
    /// What the payload is.
    pub kind: Copied,
    /// The number by which the collector knows who captured.
    pub capture_id: u32,
    /// What the collector finds things together by; empty: nothing.
    pub correlation: &'a [u8],
    /// What the collector lets us in by; empty: nothing.
    pub auth_key: &'a [u8],
    /// The message or line.
    pub payload: &'a [u8],
}

/// A packet would be longer than [`MAX_LEN`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("more than a packet of HEP carries")]
pub struct TooLong;

impl Packet<'_> {
    /// Writes it into `out`, in place of what is there.
    ///
    /// # Errors
    /// When it is too long; then `out` is empty.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.clear();
        let strings = [self.correlation, self.auth_key, self.payload];
        if strings.iter().any(|string| string.len() > MAX_LEN) {
            return Err(TooLong);
        }
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 2]);
        let (source, destination) = one_family(self.source.ip(), self.destination.ip());
        put(out, chunk::IP_FAMILY, &[family(source)]);
        put(out, chunk::IP_PROTOCOL, &[protocol(self.transport)]);
        match source {
            IpAddr::V4(ip) => put(out, chunk::SOURCE_IP4, &ip.octets()),
            IpAddr::V6(ip) => put(out, chunk::SOURCE_IP6, &ip.octets()),
        }
        match destination {
            IpAddr::V4(ip) => put(out, chunk::DESTINATION_IP4, &ip.octets()),
            IpAddr::V6(ip) => put(out, chunk::DESTINATION_IP6, &ip.octets()),
        }
        put(out, chunk::SOURCE_PORT, &self.source.port().to_be_bytes());
        let port = self.destination.port();
        put(out, chunk::DESTINATION_PORT, &port.to_be_bytes());
        put(out, chunk::SECONDS, &self.seconds.to_be_bytes());
        put(out, chunk::MICROSECONDS, &self.micros.to_be_bytes());
        put(out, chunk::PROTOCOL_TYPE, &[protocol_type(self.kind)]);
        put(out, chunk::CAPTURE_ID, &self.capture_id.to_be_bytes());
        if !self.correlation.is_empty() {
            put(out, chunk::CORRELATION_ID, self.correlation);
        }
        if !self.auth_key.is_empty() {
            put(out, chunk::AUTH_KEY, self.auth_key);
        }
        put(out, chunk::PAYLOAD, self.payload);
        let len = u16::try_from(out.len()).ok();
        let (Some(len), true) = (len, out.len() <= MAX_LEN) else {
            out.clear();
            return Err(TooLong);
        };
        if let Some(place) = out.get_mut(MAGIC.len()..HEADER) {
            place.copy_from_slice(&len.to_be_bytes());
        }
        Ok(())
    }
}

/// What is too long for a chunk is too long for the packet, which is found out at its end.
fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(CHUNK + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

/// A packet has room for one family only: an IPv4 address that is written as an IPv6 one is
/// one of IPv4, and an unspecified one is of the other's family.
fn one_family(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    let (source, destination) = (source.to_canonical(), destination.to_canonical());
    let like = |other: IpAddr| -> IpAddr {
        match other {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        }
    };
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(_) => ip,
    };
    match (source.is_ipv4(), destination.is_ipv4()) {
        (one, other) if one == other => (source, destination),
        _ if source.is_unspecified() => (like(destination), destination),
        _ if destination.is_unspecified() => (source, like(source)),
        _ => (mapped(source), mapped(destination)),
    }
}

/// Linux's AF_INET and AF_INET6, which is what Kamailio and Homer write and read.
fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

/// The IP protocol. Kamailio's siptrace says 22 (XNS IDP) for TLS, and sipcapture reads that.
fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 17,
        Transport::Tcp => 6,
        Transport::Tls => 22,
        Transport::Sctp => 132,
    }
}

fn protocol_type(kind: Copied) -> u8 {
    match kind {
        Copied::Message => 1,
        Copied::Log => 100,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The chunks of a packet: types and values, in order. Panics where it isn't well formed.
    fn read(packet: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let number = |bytes: &[u8]| u16::from_be_bytes(bytes.try_into().unwrap());
        let (magic, rest) = packet.split_at(4);
        assert_eq!(magic, MAGIC);
        assert_eq!(usize::from(number(&rest[..2])), packet.len());
        let mut rest = &rest[2..];
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            assert_eq!(number(&rest[..2]), 0, "the generic vendor");
            let len = usize::from(number(&rest[4..6]));
            chunks.push((number(&rest[2..4]), rest[6..len].to_vec()));
            rest = &rest[len..];
        }
        chunks
    }

    fn packet(source: &str, destination: &str) -> Packet<'static> {
        Packet {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            transport: Transport::Udp,
            seconds: 0x01020304,
            micros: 999_999,
            kind: Copied::Message,
            capture_id: 2001,
            correlation: b"abc@host",
            auth_key: b"secret",
            payload: b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        }
    }

    #[test]
    fn chunks_stand_in_kamailios_order_with_their_values() {
        let mut out = b"left over".to_vec();
        let packet = packet("192.0.2.1:5060", "192.0.2.2:5080");
        packet.write(&mut out).unwrap();
        let expected: [(u16, &[u8]); 13] = [
            (0x01, &[2]),
            (0x02, &[17]),
            (0x03, &[192, 0, 2, 1]),
            (0x04, &[192, 0, 2, 2]),
            (0x07, &[0x13, 0xc4]),
            (0x08, &[0x13, 0xd8]),
            (0x09, &[1, 2, 3, 4]),
            (0x0a, &[0, 0x0f, 0x42, 0x3f]),
            (0x0b, &[1]),
            (0x0c, &[0, 0, 0x07, 0xd1]),
            (0x11, b"abc@host"),
            (0x0e, b"secret"),
            (0x0f, packet.payload),
        ];
        let chunks = read(&out);
        let chunks: Vec<(u16, &[u8])> = chunks.iter().map(|(t, v)| (*t, &v[..])).collect();
        assert_eq!(chunks, expected);
    }

    #[test]
    fn addresses_of_ipv6_have_chunks_of_their_own_and_mapped_ones_are_of_ipv4() {
        let v6 = |text: &str| {
            text.parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets()
                .to_vec()
        };
        let v4 = |text: &str| {
            text.parse::<std::net::Ipv4Addr>()
                .unwrap()
                .octets()
                .to_vec()
        };
        for (source, destination, expected) in [
            (
                "[2001:db8::1]:1",
                "[2001:db8::2]:2",
                (10, 5, v6("2001:db8::1"), 6, v6("2001:db8::2")),
            ),
            (
                "[::ffff:192.0.2.1]:1",
                "192.0.2.2:2",
                (2, 3, v4("192.0.2.1"), 4, v4("192.0.2.2")),
            ),
            (
                "0.0.0.0:1",
                "[2001:db8::2]:2",
                (10, 5, v6("::"), 6, v6("2001:db8::2")),
            ),
            (
                "192.0.2.1:1",
                "[::]:2",
                (2, 3, v4("192.0.2.1"), 4, v4("0.0.0.0")),
            ),
            (
                "192.0.2.1:1",
                "[2001:db8::2]:2",
                (10, 5, v6("::ffff:192.0.2.1"), 6, v6("2001:db8::2")),
            ),
        ] {
            let mut out = Vec::new();
            packet(source, destination).write(&mut out).unwrap();
            let chunks = read(&out);
            let (family, source_type, source_ip, destination_type, destination_ip) = expected;
            assert_eq!(chunks[0], (1, vec![family]));
            assert_eq!(chunks[2], (source_type, source_ip), "{source}");
            assert_eq!(
                chunks[3],
                (destination_type, destination_ip),
                "{destination}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_the_longest_that_fits_is_not() {
        let mut out = Vec::new();
        let mut packet = packet("192.0.2.1:1", "192.0.2.2:2");
        packet.payload = b"";
        packet.write(&mut out).unwrap();
        let longest = vec![b'x'; MAX_LEN - out.len()];
        packet.payload = &longest;
        packet.write(&mut out).unwrap();
        assert_eq!(out.len(), MAX_LEN);
        assert_eq!(read(&out).last().unwrap().1.len(), longest.len());
        let long = vec![b'x'; 1 << 20];
        for more in [longest.len() + 1, 65_536, 1 << 20] {
            packet.payload = &long[..more];
            assert_eq!(packet.write(&mut out), Err(TooLong));
            assert!(out.is_empty());
        }
        packet.payload = b"";
        packet.correlation = &long;
        assert_eq!(packet.write(&mut out), Err(TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            source: (u32, u16),
            destination: (u32, u16),
            seconds: u32,
            micros in 0u32..1_000_000,
            capture_id: u32,
            transport in 0usize..4,
            is_log: bool,
            correlation in proptest::collection::vec(any::<u8>(), 0..200),
            auth_key in proptest::collection::vec(any::<u8>(), 0..50),
            payload in proptest::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let address = |(ip, port): (u32, u16)| SocketAddr::new(IpAddr::V4(ip.into()), port);
            let packet = Packet {
                source: address(source),
                destination: address(destination),
                transport: Transport::ALL[transport],
                seconds,
                micros,
                kind: if is_log { Copied::Log } else { Copied::Message },
                capture_id,
                correlation: &correlation,
                auth_key: &auth_key,
                payload: &payload,
            };
            let mut out = Vec::new();
            packet.write(&mut out).unwrap();
            let chunks = read(&out);
            let value = |kind| chunks.iter().find(|(t, _)| *t == kind).map(|(_, v)| &v[..]);
            prop_assert_eq!(value(0x03), Some(&source.0.to_be_bytes()[..]));
            prop_assert_eq!(value(0x04), Some(&destination.0.to_be_bytes()[..]));
            prop_assert_eq!(value(0x07), Some(&source.1.to_be_bytes()[..]));
            prop_assert_eq!(value(0x08), Some(&destination.1.to_be_bytes()[..]));
            prop_assert_eq!(value(0x09), Some(&seconds.to_be_bytes()[..]));
            prop_assert_eq!(value(0x0a), Some(&micros.to_be_bytes()[..]));
            prop_assert_eq!(value(0x0b), Some(&[if is_log { 100 } else { 1 }][..]));
            prop_assert_eq!(value(0x0c), Some(&capture_id.to_be_bytes()[..]));
            let given = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
            prop_assert_eq!(value(0x11).map(<[u8]>::to_vec), given(&correlation));
            prop_assert_eq!(value(0x0e).map(<[u8]>::to_vec), given(&auth_key));
            prop_assert_eq!(value(0x0f), Some(&payload[..]));
        }
    }
}
