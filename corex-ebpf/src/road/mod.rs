//! Roads: sends messages on or drops them without user space, as the configuration says of all
//! messages of their kind (`corex_common::road`).
//!
//! What is sent is what AF_XDP would send of an unchanged message, but for how its UDP checksum
//! comes about: it is adjusted, so that a wrong one stays wrong. Whatever is in doubt is steered:
//! a start line that isn't plain, a checksum that is missing or left to hardware, a TTL at its
//! end, tags, padding, a neighbour that isn't known, a path with a small MTU.

mod call_id;
mod start_line;

use core::hint::black_box;

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::lpm_trie::Key,
    helpers::{bpf_get_prandom_u32, bpf_ktime_get_ns},
    programs::XdpContext,
};
use corex_common::{
    counters::{KernelCounters, SocketCounters},
    ip::{ETHERNET_LEN, IPV4_DONT_FRAGMENT, IPV4_LEN, IPV6_LEN, UDP_LEN},
    maps::{FAMILY_V4, SocketKey},
    road::{
        BY_CALL_ID, DROP_SCRIPT, DROP_UNROUTED, ROAD_SOURCE_BITS, Road, RoadClass, RoadHop,
        RoadPeer, RoadPeerCounts, RoadSource, SEND, hop_slot, of_place, source_hash,
    },
};

use self::start_line::{StartLine, start_line};
pub use self::start_line::{method, words_of};
use crate::{
    maps::{
        ROAD_CLASSES, ROAD_DEVICES, ROAD_HOPS, ROAD_PEERS, ROAD_SOCKETS, ROAD_SOURCES, ROADS,
        road_counters,
    },
    packet::{Datagram, bytes},
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

/// Counts a message that took a road by its source. A function of its own, as the caller has hardly
/// any stack left.
#[inline(never)]
pub fn count_peer(source: &SocketKey, len: u64) {
    let peer = RoadPeer {
        addr: source.addr,
        family: if source.family == FAMILY_V4 { 4 } else { 6 },
    };
    if let Some(counts) = ROAD_PEERS.get_ptr_mut(&peer) {
        // SAFETY: the value is this CPU's, and no other run of the program is on it meanwhile.
        let counts = unsafe { &mut *counts };
        counts.messages += 1;
        counts.bytes += len;
        return;
    }
    let first = RoadPeerCounts {
        messages: 1,
        bytes: len,
    };
    // Where there is no room for it, it counts among the former ones.
    let _ = ROAD_PEERS.insert(&peer, &first, 0);
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
    // 0, which the verifier doesn't know, on no path: what this was added to is any number to it. So
    // it walks what comes behind a loop once, not for each turn that the loop may end in.
    let zero = ROADS.get(0)?.unused as usize;
    // The offsets of what comes behind are known to the verifier then.
    if datagram.source.family == FAMILY_V4 {
        const L4: usize = ETHERNET_LEN + IPV4_LEN;
        if usize::from(datagram.l3) != ETHERNET_LEN || usize::from(datagram.l4) != L4 {
            return None;
        }
        let line = start_line::<{ L4 + UDP_LEN }>(ctx, zero)?;
        let number = road_of::<true>(ctx, datagram, class, &line, short, zero)?;
        travel::<true>(ctx, datagram, number)
    } else {
        const L4: usize = ETHERNET_LEN + IPV6_LEN;
        if usize::from(datagram.l3) != ETHERNET_LEN || usize::from(datagram.l4) != L4 {
            return None;
        }
        let line = start_line::<{ L4 + UDP_LEN }>(ctx, zero)?;
        let number = road_of::<false>(ctx, datagram, class, &line, short, zero)?;
        travel::<false>(ctx, datagram, number)
    }
}

/// The number of the road that a message takes, where there is one.
#[inline(always)]
fn road_of<const IS_V4: bool>(
    ctx: &XdpContext,
    datagram: &Datagram,
    class: &RoadClass,
    line: &StartLine,
    short: bool,
    zero: usize,
) -> Option<u32> {
    let place = place(class, line.kind, short);
    if place == 0 {
        return None;
    }
    let (first, choices) = of_place(place);
    let mask = choices.wrapping_sub(1);
    if place & BY_CALL_ID != 0 {
        let hash = call_id::hash(ctx, line.end, zero)?;
        return Some(first + (hash & mask & 15));
    }
    if choices <= 1 {
        return Some(first);
    }
    // Over IPv6 none is chosen by its source.
    if !IS_V4 {
        return None;
    }
    let [a, b, c, d, ..] = datagram.source.addr;
    Some(first + source_hash([a, b, c, d], mask))
}

#[inline(always)]
fn place(class: &RoadClass, kind: usize, short: bool) -> u32 {
    let places = if short { &class.short } else { &class.long };
    // Masked, so that the verifier sees its bounds.
    places[kind & (corex_common::road::KINDS - 1)]
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
    let addresses = black_box(addresses);
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
    // What was read for the sum is read again to be written: else it would stay on the stack till then.
    let (new, road) = (black_box(new), black_box(road));
    // RFC 1624, equation 3.
    let kept = u32::from(!old) + (0xffff - fold(addresses + ports));
    let checksum = !(fold(kept + fold(new)) as u16);
    // A computed zero goes out as all ones, since zero says "none" (RFC 768).
    let checksum = if checksum == 0 { 0xffff } else { checksum };

    eth[..6].copy_from_slice(&hop.destination_mac);
    eth[6..12].copy_from_slice(&hop.source_mac);
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
    *ip = [
        0x45, class, len0, len1, id0, id1, flags0, flags1, ttl, ip[9], 0, 0, a, b, c, d, e, f, g, h,
    ];
    // Read again, as above.
    let ip = black_box(ip);
    let [check0, check1] = (!(fold(sum(ip)) as u16)).to_be_bytes();
    ip[10] = check0;
    ip[11] = check1;
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
