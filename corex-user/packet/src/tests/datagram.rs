//! Datagrams written out by hand, with all that inline mode may meet; nothing here uses what
//! it is to test.

use std::net::IpAddr;

use proptest::prelude::*;

use super::naive_sum;

/// IPv4 options that each fragment has: router alert (RFC 2113).
pub const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
/// Options that only the first has: record route, and two times nothing.
pub const RECORD_ROUTE: [u8; 8] = [1, 7, 7, 4, 0, 0, 0, 0];

/// A UDP datagram and the headers around it.
#[derive(Clone, Debug)]
pub struct Datagram {
    pub macs: [[u8; 6]; 2],
    /// Tags of VLANs, whole.
    pub tags: Vec<[u8; 4]>,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ports: [u16; 2],
    /// DSCP and ECN.
    pub traffic_class: u8,
    pub flow_label: u32,
    pub ttl: u8,
    /// IPv4 identification.
    pub id: u16,
    pub dont_fragment: bool,
    /// IPv4 options, padded.
    pub options: Vec<u8>,
    /// IPv6 extension headers: protocol, length in bytes.
    pub extensions: Vec<(u8, usize)>,
    pub has_checksum: bool,
    pub payload: Vec<u8>,
}

impl Datagram {
    pub fn v4(payload: &[u8]) -> Self {
        Self {
            macs: [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]],
            tags: Vec::new(),
            src: "192.0.2.9".parse().unwrap(),
            dst: "198.51.100.7".parse().unwrap(),
            ports: [5070, 5060],
            traffic_class: 0x68,
            flow_label: 0xabcde,
            ttl: 57,
            id: 0x1234,
            dont_fragment: false,
            options: Vec::new(),
            extensions: Vec::new(),
            has_checksum: true,
            payload: payload.to_vec(),
        }
    }

    pub fn v6(payload: &[u8]) -> Self {
        Self {
            src: "2001:db8::9".parse().unwrap(),
            dst: "2001:db8:1::7".parse().unwrap(),
            ..Self::v4(payload)
        }
    }

    pub fn both(payload: &[u8]) -> [Self; 2] {
        [Self::v4(payload), Self::v6(payload)]
    }

    pub fn l3(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    pub fn is_ipv4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// UDP header and payload.
    pub fn udp(&self) -> Vec<u8> {
        let len = (8 + self.payload.len()) as u16;
        let mut udp = Vec::new();
        for word in [self.ports[0], self.ports[1], len, 0] {
            udp.extend(word.to_be_bytes());
        }
        udp.extend(&self.payload);
        if self.has_checksum || !self.is_ipv4() {
            let addresses = self.addresses();
            let sum = !naive_sum(&[&addresses, &[0, 17], &len.to_be_bytes(), &udp]);
            let sum = if sum == 0 { 0xffff } else { sum };
            udp[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        udp
    }

    pub fn addresses(&self) -> Vec<u8> {
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        [octets(self.src), octets(self.dst)].concat()
    }

    fn link(&self) -> Vec<u8> {
        let ethertype: u16 = if self.is_ipv4() { 0x0800 } else { 0x86dd };
        let tags = self.tags.concat();
        [&self.macs.concat()[..], &tags, &ethertype.to_be_bytes()].concat()
    }

    /// The frame of an IPv4 packet. `field`: flags and offset.
    pub fn v4_packet(&self, options: &[u8], field: u16, data: &[u8]) -> Vec<u8> {
        let mut ip = vec![0x45 + (options.len() / 4) as u8, self.traffic_class];
        ip.extend(((20 + options.len() + data.len()) as u16).to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(field.to_be_bytes());
        ip.extend([self.ttl, 17, 0, 0]);
        ip.extend(self.addresses());
        ip.extend(options);
        let sum = !naive_sum(&[&ip]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [self.link(), ip, data.to_vec()].concat()
    }

    /// The frame of an IPv6 packet with these extension headers; `next` follows them.
    fn v6_packet(&self, extensions: &[(u8, usize)], next: u8, data: &[u8]) -> Vec<u8> {
        let chain = chain(extensions, next);
        let first = extensions.first().map_or(next, |e| e.0);
        let word = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
        let mut ip = word.to_be_bytes().to_vec();
        ip.extend(((chain.len() + data.len()) as u16).to_be_bytes());
        ip.extend([first, self.ttl]);
        ip.extend(self.addresses());
        [self.link(), ip, chain, data.to_vec()].concat()
    }

    pub fn frame(&self) -> Vec<u8> {
        if self.is_ipv4() {
            let field = u16::from(self.dont_fragment) << 14;
            self.v4_packet(&self.options, field, &self.udp())
        } else {
            self.v6_packet(&self.extensions, 17, &self.udp())
        }
    }

    /// How many of the extension headers each fragment has (RFC 8200 §4.5).
    pub fn per_fragment(&self) -> usize {
        let routing = self.extensions.iter().rposition(|e| e.0 == 43);
        let hop_by_hop = self.extensions.iter().rposition(|e| e.0 == 0);
        routing.or(hop_by_hop).map_or(0, |at| at + 1)
    }

    /// What is cut in pieces, and what it is.
    pub fn fragmentable(&self) -> (u8, Vec<u8>) {
        if self.is_ipv4() {
            return (17, self.udp());
        }
        let rest = &self.extensions[self.per_fragment()..];
        let first = rest.first().map_or(17, |e| e.0);
        (first, [chain(rest, 17), self.udp()].concat())
    }

    /// One fragment, with this part of [`Self::fragmentable`].
    pub fn fragment(&self, id: u32, offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
        assert_eq!(offset % 8, 0);
        if self.is_ipv4() {
            let field =
                u16::from(self.dont_fragment) << 14 | u16::from(more) << 13 | (offset / 8) as u16;
            let copied = self.options.starts_with(&ROUTER_ALERT);
            let options = match (offset, copied) {
                (0, _) => &self.options,
                (_, true) => &ROUTER_ALERT[..],
                (_, false) => &[],
            };
            let packet = Self {
                id: id as u16,
                ..self.clone()
            };
            return packet.v4_packet(options, field, data);
        }
        let mut header = vec![self.fragmentable().0, 0];
        header.extend((offset as u16 | u16::from(more)).to_be_bytes());
        header.extend(id.to_be_bytes());
        header.extend(data);
        self.v6_packet(&self.extensions[..self.per_fragment()], 44, &header)
    }

    /// Fragments of at most `room` bytes of data, in order.
    pub fn fragments(&self, id: u32, room: usize) -> Vec<Vec<u8>> {
        let data = self.fragmentable().1;
        let ends = data.len().div_ceil(room);
        data.chunks(room)
            .enumerate()
            .map(|(n, part)| self.fragment(id, n * room, n + 1 < ends, part))
            .collect()
    }
}

/// Extension headers, of which the last says that `next` follows. Routing headers have no
/// segments left.
fn chain(extensions: &[(u8, usize)], next: u8) -> Vec<u8> {
    let mut chain = Vec::new();
    for (n, (protocol, len)) in extensions.iter().enumerate() {
        let at = chain.len();
        let following = extensions.get(n + 1).map_or(next, |e| e.0);
        chain.extend([following, (len / 8 - 1) as u8, 1, 0]);
        chain.resize(at + len, 0xe0 ^ protocol);
    }
    chain
}

/// Any datagram that can be sent in one piece.
pub fn datagrams(payload: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Datagram> {
    let options = prop_oneof![
        Just(Vec::new()),
        Just(ROUTER_ALERT.to_vec()),
        Just(RECORD_ROUTE.to_vec()),
        Just([&ROUTER_ALERT[..], &RECORD_ROUTE].concat()),
    ];
    let extensions = prop_oneof![
        Just(vec![]),
        Just(vec![(0, 8)]),
        Just(vec![(60, 24)]),
        Just(vec![(43, 24)]),
        Just(vec![(0, 16), (60, 256)]),
        Just(vec![(0, 8), (60, 8), (43, 40), (60, 16)]),
    ];
    let tags = prop_oneof![
        Just(vec![]),
        Just(vec![[0x81, 0, 0x20, 7]]),
        Just(vec![[0x88, 0xa8, 0, 1], [0x81, 0, 0xe0, 9]]),
    ];
    (
        (any::<[u8; 8]>(), any::<[[u8; 16]; 2]>(), any::<[u16; 2]>()),
        (any::<[u8; 2]>(), 0u32..1 << 20, any::<u16>()),
        any::<[bool; 3]>(),
        (options, extensions, tags),
        payload,
    )
        .prop_map(
            |(
                (v4, v6, ports),
                ([traffic_class, ttl], flow_label, id),
                [is_ipv4, dont_fragment, has_checksum],
                (options, extensions, tags),
                payload,
            )| {
                let [a, b, c, d, e, f, g, h] = v4;
                let (src, dst) = if is_ipv4 {
                    ([a, b, c, d].into(), [e, f, g, h].into())
                } else {
                    (v6[0].into(), v6[1].into())
                };
                Datagram {
                    tags,
                    src,
                    dst,
                    ports,
                    traffic_class,
                    flow_label,
                    ttl,
                    id,
                    dont_fragment,
                    options,
                    extensions,
                    has_checksum,
                    ..Datagram::v4(&payload)
                }
            },
        )
}

/// Puts fragments together, which must be in order and without holes, and gives the frame that
/// they are of: an IPv4 one without DF.
pub fn join(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut expected = 0;
    for (n, frame) in frames.iter().enumerate() {
        let mut l3 = 14;
        while matches!(frame[l3 - 2..l3], [0x81, 0] | [0x88, 0xa8]) {
            l3 += 4;
        }
        let word = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
        let (headers, data_at, offset, more, next_at);
        if frame[l3] >> 4 == 4 {
            headers = l3 + usize::from(frame[l3] & 15) * 4;
            assert_eq!(naive_sum(&[&frame[l3..headers]]), 0xffff, "header checksum");
            assert_eq!(word(l3 + 2), frame.len() - l3);
            let field = word(l3 + 6);
            (data_at, offset, more) = (headers, (field & 0x1fff) * 8, field & 0x2000 != 0);
            assert_eq!(field & 0xc000, 0, "neither DF nor reserved");
            next_at = l3 + 9;
        } else {
            assert_eq!(word(l3 + 4), frame.len() - l3 - 40);
            let (mut at, mut next) = (l3 + 40, l3 + 6);
            while frame[next] != 44 {
                next = at;
                at += (usize::from(frame[at + 1]) + 1) * 8;
            }
            (headers, data_at, next_at) = (at, at + 8, next);
            (offset, more) = (word(at + 2) & !7, word(at + 2) & 1 != 0);
            assert_eq!((frame[at + 1], word(at + 2) & 6), (0, 0), "reserved");
        }
        if n == 0 {
            whole.extend(&frame[..headers]);
            whole[next_at] = frame[if frame[l3] >> 4 == 4 {
                next_at
            } else {
                headers
            }];
        }
        assert_eq!(offset, expected, "offset");
        expected += frame.len() - data_at;
        whole.extend(&frame[data_at..]);
        assert_eq!(more, n + 1 < frames.len(), "more fragments");
        if n + 1 < frames.len() {
            continue;
        }
        if whole[l3] >> 4 == 4 {
            let len = (whole.len() - l3) as u16;
            whole[l3 + 2..l3 + 4].copy_from_slice(&len.to_be_bytes());
            whole[l3 + 6..l3 + 8].fill(0);
            whole[l3 + 10..l3 + 12].fill(0);
            let end = l3 + usize::from(whole[l3] & 15) * 4;
            let sum = !naive_sum(&[&whole[l3..end]]);
            whole[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
        } else {
            let len = (whole.len() - l3 - 40) as u16;
            whole[l3 + 4..l3 + 6].copy_from_slice(&len.to_be_bytes());
        }
    }
    whole
}
