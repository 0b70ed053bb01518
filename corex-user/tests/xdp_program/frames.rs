//! Frames for the walks over headers: valid ones of all shapes, and others that are nearly so.
//! Written byte by byte; nothing here uses what it is to test.

use std::net::IpAddr;

use proptest::{prelude::*, sample::Index};

/// What BPF_PROG_TEST_RUN takes without fragments of a frame, and some to spare.
const MAX_LEN: usize = 3_000;
/// It wants a whole Ethernet header.
const MIN_LEN: usize = 14;

/// Where a packet goes: to a listener or near it.
const TO_V4: [([u8; 4], u16); 6] = [
    ([10, 0, 0, 1], 5060),
    ([10, 0, 0, 1], 5061),
    ([10, 0, 0, 2], 5060),
    ([10, 3, 4, 5], 5070),
    ([10, 3, 4, 6], 5070),
    ([10, 0, 0, 2], 53),
];
/// The last byte of the address, and the port.
const TO_V6: [(u8, u16); 6] = [
    (1, 5060),
    (1, 5060),
    (1, 5070),
    (2, 5060),
    (1, 5080),
    (2, 5080),
];

/// A host on the wire, as a source.
pub const PEER_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
/// Sources that can't be, but for those that look nearly like them.
const MARTIANS: [&str; 26] = [
    "0.0.0.0",
    "0.1.2.3",
    "1.0.0.0",
    "126.255.255.255",
    "127.0.0.1",
    "127.255.0.9",
    "128.0.0.1",
    "223.255.255.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
    "10.0.0.1",
    "10.0.0.255",
    "10.7.7.7",
    "::",
    "::1",
    "::2",
    "::fffe:10.0.0.9",
    "::ffff:10.0.0.9",
    "64:ff9b::10.0.0.9",
    "fe80::1",
    "fe80::2",
    "ff02::1",
    "fd00::1",
];
/// Destinations: of the host, of others, of groups.
const MACS: [[u8; 6]; 6] = [
    [2, 0, 0, 0, 0, 2],
    [0, 0, 0x5e, 0, 1, 7],
    [0, 0, 0x5e, 0, 1, 8],
    [2, 0x11, 0x22, 0x33, 0x44, 0x55],
    [0xff; 6],
    [1, 0, 0x5e, 0, 0, 1],
];

/// A UDP datagram, or something like it, and what its headers claim.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Destination MAC.
    pub mac: [u8; 6],
    /// TPIDs of VLAN tags.
    pub tags: Vec<u16>,
    pub network: Network,
    /// Bytes behind the UDP header.
    pub payload: usize,
    /// Only so many bytes of UDP header and payload are there.
    pub cut: Option<usize>,
    /// What the length in the UDP header is off by.
    pub udp_len_error: isize,
    /// What the length in the IP header is off by.
    pub ip_len_error: isize,
    /// Bytes behind the packet.
    pub padding: usize,
}

#[derive(Clone, Debug)]
pub enum Network {
    V4 {
        from: [u8; 4],
        to: ([u8; 4], u16),
        /// Options, in words.
        options: usize,
        /// Flags and fragment offset.
        word: u16,
        protocol: u8,
    },
    V6 {
        from: [u8; 16],
        to: (u8, u16),
        chain: Vec<Extension>,
        protocol: u8,
    },
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    pub kind: u8,
    /// Its second byte.
    pub units: u8,
    /// Its third and fourth: a routing header's type and segments left, a fragment's offset.
    pub word: [u8; 2],
    /// Bytes that are there; as many as the second byte says, if not set.
    pub len: Option<usize>,
}

impl Extension {
    pub fn new(kind: u8, units: u8) -> Self {
        Self {
            kind,
            units,
            word: [0, 0],
            len: None,
        }
    }

    fn bytes(self, next: u8) -> Vec<u8> {
        let honest = match self.kind {
            44 => 8,
            51 => (usize::from(self.units) + 2) * 4,
            _ => (usize::from(self.units) + 1) * 8,
        };
        let mut bytes = vec![next, self.units, self.word[0], self.word[1], 0, 0, 0, 7];
        bytes.resize(self.len.unwrap_or(honest), 0);
        bytes
    }
}

impl Packet {
    /// A datagram to a listener, without anything special.
    pub fn new(network: Network, payload: usize) -> Self {
        Self {
            mac: MACS[0],
            tags: Vec::new(),
            network,
            payload,
            cut: None,
            udp_len_error: 0,
            ip_len_error: 0,
            padding: 0,
        }
    }

    fn udp(&self, port: u16) -> Vec<u8> {
        let len = clamped(8 + self.payload, self.udp_len_error);
        let mut udp = Vec::new();
        for word in [5062, port, len, 0] {
            udp.extend(word.to_be_bytes());
        }
        udp.resize(8 + self.payload, b'x');
        udp.truncate(self.cut.unwrap_or(usize::MAX));
        udp
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut frame = self.mac.to_vec();
        frame.extend([2, 0, 0, 0, 0, 1]);
        for (id, tpid) in self.tags.iter().enumerate() {
            frame.extend(tpid.to_be_bytes());
            frame.extend([0, id as u8]);
        }
        match &self.network {
            Network::V4 {
                from,
                to,
                options,
                word,
                protocol,
            } => {
                let udp = self.udp(to.1);
                let header_len = 20 + 4 * options;
                let len = clamped(header_len + udp.len(), self.ip_len_error);
                frame.extend([8, 0, 0x40 + (header_len / 4) as u8, 0]);
                frame.extend(len.to_be_bytes());
                frame.extend([0, 7]);
                frame.extend(word.to_be_bytes());
                frame.extend([64, *protocol, 0, 0]);
                frame.extend(from);
                frame.extend(to.0);
                frame.resize(frame.len() + 4 * options, 1);
                frame.extend(udp);
            }
            Network::V6 {
                from,
                to,
                chain,
                protocol,
            } => {
                let mut kinds: Vec<u8> = chain.iter().map(|header| header.kind).collect();
                kinds.push(*protocol);
                let mut behind = Vec::new();
                for (header, next) in chain.iter().zip(&kinds[1..]) {
                    behind.extend(header.bytes(*next));
                }
                behind.extend(self.udp(to.1));
                let len = clamped(behind.len(), self.ip_len_error);
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(len.to_be_bytes());
                frame.extend([kinds[0], 64]);
                frame.extend(from);
                frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, to.0]);
                frame.extend(behind);
            }
        }
        frame.resize(frame.len() + self.padding, 0);
        frame
    }
}

fn clamped(len: usize, error: isize) -> u16 {
    len.saturating_add_signed(error).min(0xffff) as u16
}

/// Mostly right.
fn errors() -> impl Strategy<Value = isize> {
    prop_oneof![
        12 => Just(0),
        1 => prop::sample::select(vec![-1, 1, -8, 8, isize::MIN, isize::MAX]),
        1 => -60isize..60,
    ]
}

fn protocols() -> impl Strategy<Value = u8> {
    prop_oneof![8 => Just(17u8), 1 => prop::sample::select(vec![1, 6, 50, 58, 59, 132])]
}

fn extensions() -> impl Strategy<Value = Extension> {
    let kind = prop_oneof![
        8 => prop::sample::select(vec![0u8, 60]),
        4 => Just(43u8),
        2 => Just(44u8),
        1 => Just(51u8),
        1 => prop::sample::select(vec![50u8, 135, 139, 140]),
    ];
    let units = prop_oneof![
        8 => 0u8..5,
        1 => prop::sample::select(vec![30u8, 31, 32, 255]),
        1 => any::<u8>(),
    ];
    let len = prop::option::weighted(0.05, 0usize..24);
    let word = prop_oneof![4 => Just(0u16), 1 => any::<u16>(), 1 => 0u16..16];
    (kind, units, word, len).prop_map(|(kind, units, word, len)| Extension {
        kind,
        units,
        word: word.to_be_bytes(),
        len,
    })
}

/// Mostly a host on the wire.
fn sources_v4() -> impl Strategy<Value = [u8; 4]> {
    let martians = MARTIANS
        .iter()
        .filter_map(|text| match text.parse().unwrap() {
            IpAddr::V4(ip) => Some(ip.octets()),
            IpAddr::V6(_) => None,
        });
    let martians = prop::sample::select(martians.collect::<Vec<_>>());
    prop_oneof![6 => Just([10, 0, 0, 9]), 1 => martians]
}

fn sources_v6() -> impl Strategy<Value = [u8; 16]> {
    let martians = MARTIANS
        .iter()
        .filter_map(|text| match text.parse().unwrap() {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip.octets()),
        });
    let martians = prop::sample::select(martians.collect::<Vec<_>>());
    prop_oneof![6 => Just(PEER_V6), 1 => martians]
}

fn networks() -> impl Strategy<Value = Network> {
    let word = prop_oneof![
        6 => prop::sample::select(vec![0u16, 0x4000, 0x8000]),
        2 => prop::sample::select(vec![0x2000u16, 0x2001, 1, 0x1fff, 0x6000]),
        1 => any::<u16>(),
    ];
    let options = prop_oneof![2 => Just(0usize), 1 => 0usize..=10];
    let v4 = (
        sources_v4(),
        prop::sample::select(TO_V4.to_vec()),
        options,
        word,
        protocols(),
    )
        .prop_map(|(from, to, options, word, protocol)| Network::V4 {
            from,
            to,
            options,
            word,
            protocol,
        });
    let chain = prop::collection::vec(extensions(), 0..7);
    let to = prop::sample::select(TO_V6.to_vec());
    let v6 = (sources_v6(), to, chain, protocols()).prop_map(|(from, to, chain, protocol)| {
        Network::V6 {
            from,
            to,
            chain,
            protocol,
        }
    });
    prop_oneof![2 => v4, 3 => v6]
}

fn packets() -> impl Strategy<Value = Packet> {
    let tags = prop_oneof![
        4 => Just(Vec::new()),
        3 => prop::collection::vec(prop::sample::select(vec![0x8100u16, 0x88a8]), 1..=3),
    ];
    let payload = prop_oneof![8 => 0usize..200, 1 => 1_500usize..2_000];
    let cut = prop::option::weighted(0.05, 0usize..12);
    let padding = prop_oneof![3 => Just(0usize), 1 => 0usize..60];
    let mac = prop_oneof![4 => Just(MACS[0]), 1 => prop::sample::select(MACS.to_vec())];
    let errors = (errors(), errors());
    (mac, tags, networks(), payload, cut, errors, padding).prop_map(
        |(mac, tags, network, payload, cut, (udp_len_error, ip_len_error), padding)| Packet {
            mac,
            tags,
            network,
            payload,
            cut,
            udp_len_error,
            ip_len_error,
            padding,
        },
    )
}

/// Packets in frames; of some, bytes are changed, most of them of headers, or the end is missing.
pub fn frames() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<bool>(), any::<u8>());
    let changes = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(change, 1..4),
    ];
    let end = prop::option::weighted(0.2, any::<Index>());
    (packets(), changes, end).prop_map(|(packet, changes, end)| {
        let mut frame = packet.frame();
        for (at, is_anywhere, value) in changes {
            let within = if is_anywhere { frame.len() } else { 90 };
            let at = at.index(within.min(frame.len()));
            frame[at] = value;
        }
        if let Some(end) = end {
            frame.truncate(end.index(frame.len()));
        }
        frame.truncate(MAX_LEN);
        frame.resize(frame.len().max(MIN_LEN), 0);
        frame
    })
}
