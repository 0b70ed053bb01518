//! Roads: sends messages on or drops them without user space, as the configuration says of all
//! messages of their kind (`corex_common::road`).
//!
//! What is sent is what AF_XDP would send of an unchanged message, but for how its UDP checksum
//! comes about: it is adjusted, so that a wrong one stays wrong. Whatever is in doubt is steered:
//! a start line that isn't plain, a checksum that is missing or left to hardware, a TTL at its
//! end, tags, padding, a neighbour that isn't known, a path with a small MTU.

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::lpm_trie::Key,
    helpers::{bpf_get_prandom_u32, bpf_ktime_get_ns},
    programs::XdpContext,
};
use corex_common::{
    counters::{KernelCounters, SocketCounters},
    ip::{ETHERNET_LEN, IPV4_DONT_FRAGMENT, IPV4_LEN, IPV6_LEN, UDP_LEN},
    maps::FAMILY_V4,
    road::{
        DROP_SCRIPT, DROP_UNROUTED, MAX_START_LINE, METHODS, OTHER, REPLY, ROAD_SOURCE_BITS, Road,
        RoadHop, RoadSource, SEND, hop_slot, of_place, source_hash,
    },
};

use crate::{
    maps::{
        ROAD_CLASSES, ROAD_DEVICES, ROAD_HOPS, ROAD_SOCKETS, ROAD_SOURCES, ROADS, road_counters,
    },
    packet::{Datagram, bytes},
    words::{ALL, HIGH, first},
};

/// Nanoseconds between two messages that are steered for the neighbour's sake.
const SAMPLE_NS: u64 = 50_000_000;

/// What became of a message.
pub enum Verdict {
    /// Sent: the program's return value.
    Sent(u32),
    DropScript,
    DropUnrouted,
}

impl Verdict {
    /// Counts it, and gives the program's return value.
    #[inline(always)]
    pub fn count(
        self,
        counters: &mut KernelCounters,
        socket: &mut SocketCounters,
        len: u64,
    ) -> u32 {
        match self {
            Self::Sent(action) => {
                counters.offloaded += 1;
                counters.offloaded_bytes += len;
                socket.offloaded += 1;
                socket.offloaded_bytes += len;
                action
            }
            Self::DropScript => {
                counters.drop_script += 1;
                socket.drop_script += 1;
                xdp_action::XDP_DROP
            }
            Self::DropUnrouted => {
                counters.drop_unrouted += 1;
                socket.drop_unrouted += 1;
                xdp_action::XDP_DROP
            }
        }
    }
}

/// Takes the road that leads from a listen socket for such a message. `None`: there is none, or
/// it is in doubt, and the frame is as it was.
#[inline(always)]
pub fn take(ctx: &XdpContext, datagram: &Datagram, socket: u32, short: bool) -> Option<Verdict> {
    let from = ROAD_SOCKETS.get(socket)?;
    if from.class == 0 {
        return None;
    }
    let mut class = from.class;
    if from.by_source != 0 {
        let source = RoadSource {
            socket: socket.to_be_bytes(),
            addr: datagram.source.addr,
        };
        let key = Key::new(ROAD_SOURCE_BITS + 128, source);
        if let Some(found) = ROAD_SOURCES.get(&key) {
            class = *found;
        }
    }
    let class = ROAD_CLASSES.get(class.wrapping_sub(1))?;
    // 0, which the verifier doesn't know: what this was added to is any number to it. So it walks
    // what comes behind a loop once, not for each turn that the loop may end in.
    let zero = (from.by_source >> 1) as usize;
    // The offsets of what comes behind are known to the verifier then.
    if datagram.source.family == FAMILY_V4 {
        const L4: usize = ETHERNET_LEN + IPV4_LEN;
        if usize::from(datagram.l3) != ETHERNET_LEN || usize::from(datagram.l4) != L4 {
            return None;
        }
        let kind = kind_of::<{ L4 + UDP_LEN }>(ctx, zero)?;
        let place = place(class, kind, short);
        let (first, choices) = of_place(place);
        let mut number = first;
        if choices > 1 {
            let [a, b, c, d, ..] = datagram.source.addr;
            number += source_hash([a, b, c, d], choices - 1);
        }
        if place == 0 {
            return None;
        }
        travel::<true>(ctx, datagram, number)
    } else {
        const L4: usize = ETHERNET_LEN + IPV6_LEN;
        if usize::from(datagram.l3) != ETHERNET_LEN || usize::from(datagram.l4) != L4 {
            return None;
        }
        let kind = kind_of::<{ L4 + UDP_LEN }>(ctx, zero)?;
        let place = place(class, kind, short);
        let (number, choices) = of_place(place);
        if place == 0 || choices > 1 {
            return None;
        }
        travel::<false>(ctx, datagram, number)
    }
}

#[inline(always)]
fn place(class: &corex_common::road::RoadClass, kind: usize, short: bool) -> u32 {
    let places = if short { &class.short } else { &class.long };
    // Masked, so that the verifier sees its bounds.
    places[kind & (corex_common::road::KINDS - 1)]
}

/// The kind of the message at `AT`, where its start line is as plain as those of nearly all
/// messages are: else user space reads it.
#[inline(always)]
fn kind_of<const AT: usize>(ctx: &XdpContext, zero: usize) -> Option<usize> {
    let head: &[u8; 16] = bytes(ctx, AT).ok()?;
    let words = words_of(head);
    let (kind, from, least) = if is(words, &pattern(b"SIP/2.0 ")) {
        if !is_status(words[1]) {
            return None;
        }
        (REPLY, 12, u64::from(b' '))
    } else {
        let (kind, uri) = method(words)?;
        (kind, uri, u64::from(b' ' + 1))
    };
    let (kind, from) = ((kind + zero) & 15, (from + zero) & 31);
    let least = (least + zero as u64) & 0x7f;
    let end = text_end::<AT>(ctx, from, least, zero)?;
    if kind == REPLY {
        let line_break: &[u8; 2] = bytes(ctx, AT + end).ok()?;
        return (*line_break == *b"\r\n").then_some(REPLY);
    }
    if end <= from {
        return None;
    }
    let rest: &[u8; 10] = bytes(ctx, AT + end).ok()?;
    (*rest == *b" SIP/2.0\r\n").then_some(kind)
}

/// Sixteen bytes as two numbers, of which the lowest byte comes first.
#[inline(always)]
pub fn words_of(bytes: &[u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
    [
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u64::from_le_bytes([i, j, k, l, m, n, o, p]),
    ]
}

/// A text of at most 16 bytes that messages begin with, and which bits of two numbers it says.
struct Pattern {
    words: [u64; 2],
    masks: [u64; 2],
}

const fn pattern(text: &[u8]) -> Pattern {
    let mut pattern = Pattern {
        words: [0; 2],
        masks: [0; 2],
    };
    let mut i = 0;
    while i < text.len() {
        pattern.words[i / 8] |= (text[i] as u64) << (8 * (i % 8));
        pattern.masks[i / 8] |= 0xff << (8 * (i % 8));
        i += 1;
    }
    pattern
}

#[inline(always)]
fn is(words: [u64; 2], pattern: &Pattern) -> bool {
    let differing = (words[0] ^ pattern.words[0]) & pattern.masks[0]
        | (words[1] ^ pattern.words[1]) & pattern.masks[1];
    differing == 0
}

/// Whether these bytes begin with a status code and a space.
#[inline(always)]
fn is_status(word: u64) -> bool {
    let [hundreds, tens, ones, space, ..] = word.to_le_bytes();
    // Without a branch for each: the verifier walks them all.
    let is_hundred = hundreds.wrapping_sub(b'1') < 6;
    let are_digits = tens.wrapping_sub(b'0') < 10 && ones.wrapping_sub(b'0') < 10;
    is_hundred & are_digits & (space == b' ')
}

/// The kind of a request, and where its Request-URI begins.
#[inline(always)]
pub fn method(words: [u64; 2]) -> Option<(usize, usize)> {
    macro_rules! known {
        ($($at:literal)*) => {
            $(if is(words, const { &pattern(METHODS[$at]) }) {
                return Some(($at + 1, METHODS[$at].len()));
            })*
        };
    }
    known!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    let capitals = |word| outside(word, u64::from(b'A'), u64::from(b'Z' + 1));
    let mut word = words[0];
    let mut len = 0;
    let mut ends = capitals(word);
    if ends == 0 {
        word = words[1];
        len = 8;
        ends = capitals(word);
    }
    if ends == 0 {
        return None;
    }
    let at = first(ends);
    let end = word >> (8 * at) & 0xff;
    len += at as usize;
    (len > 0 && end == u64::from(b' ')).then_some((OTHER, len + 1))
}

/// The highest bit of every byte that isn't from `low` to below `high`, both at most 0x7f.
#[inline(always)]
fn outside(word: u64, low: u64, high: u64) -> u64 {
    let seven = word & !HIGH;
    let is_low = !(seven + (0x80 - low) * ALL);
    let is_high = seven + (0x80 - high) * ALL;
    (word | is_low | is_high) & HIGH
}

/// Where printable text ends that begins at `from`; `least` is the lowest byte that belongs to it.
#[inline(always)]
fn text_end<const AT: usize>(
    ctx: &XdpContext,
    from: usize,
    least: u64,
    zero: usize,
) -> Option<usize> {
    let mut at = 0;
    while at < MAX_START_LINE {
        let eight: &[u8; 8] = bytes(ctx, AT + at).ok()?;
        let mut ends = outside(u64::from_le_bytes(*eight), least, 0x7f);
        if at < 32 && at < from {
            // What is in front isn't looked at.
            let before = from - at;
            ends = if before >= 8 {
                0
            } else {
                ends >> (8 * before) << (8 * before)
            };
        }
        if ends != 0 {
            return Some((at + first(ends) as usize + zero) & 0xff);
        }
        at += 8;
    }
    None
}

/// Does what a road says.
#[inline(always)]
fn travel<const IS_V4: bool>(
    ctx: &XdpContext,
    datagram: &Datagram,
    number: u32,
) -> Option<Verdict> {
    let counts = road_counters(number)?;
    let road = ROADS.get_ptr_mut(number)?;
    // SAFETY: user space changes single aligned words of it; what makes a road is written before
    // a class leads to it, and not changed as long as one does.
    let road = unsafe { &mut *road };
    let verdict = match road.action {
        DROP_SCRIPT if is_sound::<IS_V4>(ctx, datagram) => Verdict::DropScript,
        DROP_UNROUTED if is_sound::<IS_V4>(ctx, datagram) => Verdict::DropUnrouted,
        SEND => {
            // SAFETY: the helper has no preconditions.
            let now = unsafe { bpf_ktime_get_ns() };
            if road.hop == 0 || now >= road.valid_until {
                counts.steered_no_hop += 1;
                return None;
            }
            if now >= road.sample_at {
                // Two CPUs at once each steer one.
                road.sample_at = now + SAMPLE_NS;
                counts.steered_sample += 1;
                return None;
            }
            let hop = ROAD_HOPS.get(hop_slot(number, road.hop))?;
            let sent = if is_sound::<IS_V4>(ctx, datagram) {
                send::<IS_V4>(ctx, datagram, road, hop)
            } else {
                None
            };
            match sent {
                Some(action) => Verdict::Sent(action),
                None => {
                    counts.steered_doubtful += 1;
                    return None;
                }
            }
        }
        _ => {
            counts.steered_doubtful += 1;
            return None;
        }
    };
    counts.offloaded += 1;
    counts.offloaded_bytes += u64::from(datagram.payload_len);
    Some(verdict)
}

/// Whether the frame ends with the datagram, and the IPv4 header's checksum is right.
#[inline(always)]
fn is_sound<const IS_V4: bool>(ctx: &XdpContext, datagram: &Datagram) -> bool {
    let end = usize::from(datagram.l4) + UDP_LEN + usize::from(datagram.payload_len);
    // That it isn't shorter was seen before. Asked for equality, the compiler would leave out the
    // checks further down that the verifier wants.
    if ctx.data_end() > ctx.data() + end {
        return false;
    }
    if !IS_V4 {
        return true;
    }
    let Ok(ip) = bytes::<_, IPV4_LEN>(ctx, ETHERNET_LEN) else {
        return false;
    };
    fold(sum(ip)) == 0xffff
}

/// The way that a frame leaves: checked before anything in it is changed.
#[inline(always)]
fn send<const IS_V4: bool>(
    ctx: &XdpContext,
    datagram: &Datagram,
    road: &Road,
    hop: &RoadHop,
) -> Option<u32> {
    let ip_len = if IS_V4 { IPV4_LEN } else { IPV6_LEN };
    let udp_len = UDP_LEN + usize::from(datagram.payload_len);
    if ip_len + udp_len > hop.mtu as usize {
        return None;
    }
    let is_reflected = hop.ifindex == ctx.ingress_ifindex() as u32;
    if is_reflected {
        if hop.may_reflect == 0 {
            return None;
        }
    } else {
        ROAD_DEVICES.get_ifindex(hop.ifindex)?;
    }
    let start = ctx.data();
    let l4 = ETHERNET_LEN + ip_len;
    if start + l4 + UDP_LEN > ctx.data_end() {
        return None;
    }
    let ttl_at = ETHERNET_LEN + if IS_V4 { 8 } else { 7 };
    // SAFETY: within data..data_end, checked above; align 1.
    let (eth, ip, udp) = unsafe {
        (
            &mut *(start as *mut [u8; ETHERNET_LEN]),
            &mut *((start + ETHERNET_LEN) as *mut [u8; IPV4_LEN]),
            &mut *((start + l4) as *mut [u8; UDP_LEN]),
        )
    };
    // SAFETY: as above.
    let ttl = unsafe { *((start + ttl_at) as *const u8) };
    if ttl <= 1 {
        return None;
    }
    let old = u16::from_be_bytes([udp[6], udp[7]]);
    let addresses = if IS_V4 {
        sum(&[
            ip[12], ip[13], ip[14], ip[15], ip[16], ip[17], ip[18], ip[19],
        ])
    } else {
        // SAFETY: as above: the addresses are behind the first eight bytes of the header.
        sum(unsafe { &*((start + ETHERNET_LEN + 8) as *const [u8; 32]) })
    };
    // Zero: none. The sum of the pseudo header alone: left to hardware (CHECKSUM_PARTIAL).
    let pseudo = addresses + u32::from(corex_common::ip::PROTOCOL_UDP) + udp_len as u32;
    if old == 0 || u32::from(old) == fold(pseudo) {
        return None;
    }
    let ports = sum(&[udp[0], udp[1], udp[2], udp[3]]);
    let from_port = road.from_port.to_be_bytes();
    let to_port = road.to_port.to_be_bytes();
    let new = if IS_V4 {
        let [a, b, c, d, ..] = road.from;
        let [e, f, g, h, ..] = road.to;
        sum(&[a, b, c, d, e, f, g, h])
    } else {
        sum(&road.from) + sum(&road.to)
    } + sum(&[from_port[0], from_port[1], to_port[0], to_port[1]]);
    // RFC 1624, equation 3.
    let kept = u32::from(!old) + (0xffff - fold(addresses + ports));
    let checksum = !(fold(kept + fold(new)) as u16);
    // A computed zero goes out as all ones, since zero says "none" (RFC 768).
    let checksum = if checksum == 0 { 0xffff } else { checksum };

    let [d0, d1, d2, d3, d4, d5] = hop.destination_mac;
    let [s0, s1, s2, s3, s4, s5] = hop.source_mac;
    *eth = [
        d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, eth[12], eth[13],
    ];
    if IS_V4 {
        write_v4(ip, road, ttl - 1, (IPV4_LEN + udp_len) as u16);
    } else {
        let class = road.traffic_class as u8;
        // SAFETY: as above.
        let ip = unsafe { &mut *((start + ETHERNET_LEN) as *mut [u8; IPV6_LEN]) };
        ip[0] = 0x60 | class >> 4;
        ip[1] = class << 4;
        ip[2] = 0;
        ip[3] = 0;
        let len = (udp_len as u16).to_be_bytes();
        ip[4] = len[0];
        ip[5] = len[1];
        ip[7] = ttl - 1;
        ip[8..24].copy_from_slice(&road.from);
        ip[24..40].copy_from_slice(&road.to);
    }
    let len = (udp_len as u16).to_be_bytes();
    let check = checksum.to_be_bytes();
    *udp = [
        from_port[0],
        from_port[1],
        to_port[0],
        to_port[1],
        len[0],
        len[1],
        check[0],
        check[1],
    ];
    if is_reflected {
        return Some(xdp_action::XDP_TX);
    }
    // It was there a moment ago. Where it isn't any more, so is the way.
    match ROAD_DEVICES.redirect(hop.ifindex, u64::from(xdp_action::XDP_DROP)) {
        Ok(action) | Err(action) => Some(action),
    }
}

/// The header of a datagram without options.
#[inline(always)]
fn write_v4(ip: &mut [u8; IPV4_LEN], road: &Road, ttl: u8, total_len: u16) {
    let (id, flags) = if road.dont_fragment != 0 {
        (0, IPV4_DONT_FRAGMENT)
    } else {
        // SAFETY: the helper has no preconditions.
        (unsafe { bpf_get_prandom_u32() } as u16, 0)
    };
    let [id0, id1] = id.to_be_bytes();
    let [flags0, flags1] = flags.to_be_bytes();
    let [len0, len1] = total_len.to_be_bytes();
    let [a, b, c, d, ..] = road.from;
    let [e, f, g, h, ..] = road.to;
    let class = road.traffic_class as u8;
    let mut header = [
        0x45, class, len0, len1, id0, id1, flags0, flags1, ttl, ip[9], 0, 0, a, b, c, d, e, f, g, h,
    ];
    let [check0, check1] = (!(fold(sum(&header)) as u16)).to_be_bytes();
    header[10] = check0;
    header[11] = check1;
    *ip = header;
}

/// The words of `bytes`, added up; few enough that nothing overflows.
#[inline(always)]
fn sum<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut sum = 0;
    let mut i = 0;
    while i + 1 < N {
        sum += u32::from(u16::from_be_bytes([bytes[i], bytes[i + 1]]));
        i += 2;
    }
    sum
}

/// A sum in ones' complement, of sixteen bits.
#[inline(always)]
fn fold(sum: u32) -> u32 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}
