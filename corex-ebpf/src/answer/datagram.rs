//! The datagram that is answered, read and written at fixed offsets.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use corex_common::{
    ip::{ETHERNET_LEN, IPV4_DONT_FRAGMENT, IPV4_LEN, IPV6_LEN, PROTOCOL_UDP, UDP_LEN},
    maps::Config,
};

use super::{ANSWER, ROOM, Room, sum};
use crate::packet::{Datagram, bytes};

/// Hop limit, or time to live, of answers: what Linux gives what it sends.
const HOPS: u8 = 64;
/// Shortest frame without its checksum (IEEE 802.3 §4.2.3.3).
const MIN_FRAME_LEN: usize = 60;
/// What is behind the shortest answer in the shortest frame.
const PADDING: usize = MIN_FRAME_LEN - ETHERNET_LEN - IPV4_LEN - UDP_LEN - 4;
/// Where the IP header is.
const IP: usize = ETHERNET_LEN;

/// What differs between IPv4 and IPv6.
pub trait Family {
    /// Bytes of the IP header.
    const LEN: usize;
    /// The family's number in STUN.
    const STUN: u8;
    /// Words of an address.
    const WORDS: usize;
    /// Whether its checksum may be missing.
    const MAY_LACK_CHECKSUM: bool;

    /// Whether the IP header is as it was sent.
    fn is_intact(ctx: &XdpContext) -> Option<bool>;
    /// The sum of the addresses, as they stand in the header.
    fn sum_addresses(ctx: &XdpContext) -> Option<u32>;
    /// Keeps the frame's headers, and puts them in front of it.
    fn save(ctx: &XdpContext, room: &mut Room) -> Option<()>;
    /// The second half of it.
    fn restore(ctx: &XdpContext, room: &Room) -> Option<()>;
    /// Turns the header of a request into that of the answer, with so many bytes of payload.
    fn turn(ctx: &XdpContext, payload_len: u16, class: u8) -> Option<()>;
}

/// Without options.
pub struct V4;
/// Without extension headers.
pub struct V6;

impl Family for V4 {
    const LEN: usize = IPV4_LEN;
    const STUN: u8 = corex_common::answer::stun::FAMILY_V4;
    const WORDS: usize = 1;
    const MAY_LACK_CHECKSUM: bool = true;

    #[inline(always)]
    fn is_intact(ctx: &XdpContext) -> Option<bool> {
        let ip = bytes::<_, IPV4_LEN>(ctx, IP).ok()?;
        Some(sum::fold(sum::add(ip, 0)) == u16::MAX)
    }

    #[inline(always)]
    fn sum_addresses(ctx: &XdpContext) -> Option<u32> {
        let addresses = bytes::<_, 8>(ctx, IP + 12).ok()?;
        Some(sum::add(addresses, 0))
    }

    #[inline(always)]
    fn save(ctx: &XdpContext, room: &mut Room) -> Option<()> {
        let headers = bytes::<_, { ETHERNET_LEN + IPV4_LEN + UDP_LEN }>(ctx, 0).ok()?;
        room.headers[..headers.len()].copy_from_slice(headers);
        Some(())
    }

    #[inline(always)]
    fn restore(ctx: &XdpContext, room: &Room) -> Option<()> {
        *bytes_mut::<{ ETHERNET_LEN + IPV4_LEN + UDP_LEN }>(ctx, 0)? =
            *room.headers.first_chunk()?;
        Some(())
    }

    #[inline(always)]
    fn turn(ctx: &XdpContext, payload_len: u16, class: u8) -> Option<()> {
        let ip = bytes_mut::<IPV4_LEN>(ctx, IP)?;
        let [len_high, len_low] = (IPV4_LEN as u16 + payload_len).to_be_bytes();
        let [flags_high, flags_low] = IPV4_DONT_FRAGMENT.to_be_bytes();
        // An atomic datagram needs no identification (RFC 6864 §4.1).
        ip[..12].copy_from_slice(&[
            0x45,
            class,
            len_high,
            len_low,
            0,
            0,
            flags_high,
            flags_low,
            HOPS,
            PROTOCOL_UDP,
            0,
            0,
        ]);
        for at in 0..4 {
            ip.swap(12 + at, 16 + at);
        }
        let checksum = !sum::fold(sum::add(ip, 0));
        let ip = bytes_mut::<IPV4_LEN>(ctx, IP)?;
        ip[10..12].copy_from_slice(&checksum.to_ne_bytes());
        Some(())
    }
}

impl Family for V6 {
    const LEN: usize = IPV6_LEN;
    const STUN: u8 = corex_common::answer::stun::FAMILY_V6;
    const WORDS: usize = 4;
    const MAY_LACK_CHECKSUM: bool = false;

    #[inline(always)]
    fn is_intact(_: &XdpContext) -> Option<bool> {
        Some(true)
    }

    #[inline(always)]
    fn sum_addresses(ctx: &XdpContext) -> Option<u32> {
        let addresses = bytes::<_, 32>(ctx, IP + 8).ok()?;
        Some(sum::add(addresses, 0))
    }

    #[inline(always)]
    fn save(ctx: &XdpContext, room: &mut Room) -> Option<()> {
        let headers = bytes::<_, { ETHERNET_LEN + IPV6_LEN + UDP_LEN }>(ctx, 0).ok()?;
        room.headers[..headers.len()].copy_from_slice(headers);
        Some(())
    }

    #[inline(always)]
    fn restore(ctx: &XdpContext, room: &Room) -> Option<()> {
        *bytes_mut::<{ ETHERNET_LEN + IPV6_LEN + UDP_LEN }>(ctx, 0)? =
            *room.headers.first_chunk()?;
        Some(())
    }

    #[inline(always)]
    fn turn(ctx: &XdpContext, payload_len: u16, class: u8) -> Option<()> {
        let ip = bytes_mut::<IPV6_LEN>(ctx, IP)?;
        let [len_high, len_low] = payload_len.to_be_bytes();
        ip[..8].copy_from_slice(&[
            0x60 | class >> 4,
            class << 4,
            0,
            0,
            len_high,
            len_low,
            PROTOCOL_UDP,
            HOPS,
        ]);
        for at in 0..16 {
            ip.swap(8 + at, 24 + at);
        }
        Some(())
    }
}

/// `N` bytes at `offset`, to be written.
#[inline(always)]
fn bytes_mut<'a, const N: usize>(ctx: &XdpContext, offset: usize) -> Option<&'a mut [u8; N]> {
    let start = ctx.data() + offset;
    if start + N > ctx.data_end() {
        return None;
    }
    // SAFETY: within data..data_end, which the verifier checks again; align 1. No other reference to
    // these bytes is used while this one is.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
}

/// Whether nothing stands between the headers that every datagram has.
#[inline(always)]
pub fn is_plain<F: Family>(datagram: &Datagram) -> bool {
    usize::from(datagram.l3) == IP && usize::from(datagram.l4) == IP + F::LEN
}

/// Whether it comes from one host and one socket: an answer goes back to both. `None`, here and below:
/// the frame ends too early.
#[inline(always)]
pub fn may_be_answered(ctx: &XdpContext, datagram: &Datagram) -> Option<bool> {
    let mac = bytes::<_, 6>(ctx, 6).ok()?;
    Some(mac[0] & 1 == 0 && *mac != [0; 6] && datagram.source.port != 0)
}

/// Where the payload is.
#[inline(always)]
pub const fn payload<F: Family>() -> usize {
    IP + F::LEN + UDP_LEN
}

/// Copies the payload, which is of whole words that there is room for, and makes zero of what is
/// behind it.
#[inline(always)]
pub fn read<F: Family>(ctx: &XdpContext, len: usize, room: &mut Room) -> Option<()> {
    for at in 0..ROOM {
        let mut word = 0;
        if 4 * at < len {
            word = u32::from_ne_bytes(*bytes(ctx, payload::<F>() + 4 * at).ok()?);
            room.last = word;
        }
        room.request[at] = word;
    }
    Some(())
}

/// Whether the checksums are those of what was sent. One that was left to hardware, as between the
/// ends of a veth pair, is: it is the pseudo-header's sum.
#[inline(always)]
pub fn is_intact<F: Family>(ctx: &XdpContext, payload: &[u32; ROOM]) -> Option<bool> {
    if !F::is_intact(ctx)? {
        return Some(false);
    }
    let addresses = F::sum_addresses(ctx)?;
    let udp = bytes::<_, UDP_LEN>(ctx, IP + F::LEN).ok()?;
    let checksum = u16::from_ne_bytes([udp[6], udp[7]]);
    if checksum == 0 {
        return Some(F::MAY_LACK_CHECKSUM);
    }
    let pseudo = pseudo_header(addresses, u16::from_be_bytes([udp[4], udp[5]]));
    let sum = sum::add_words(payload, sum::add(udp, pseudo));
    Some(sum::fold(pseudo) == checksum || sum::fold(sum) == u16::MAX)
}

#[inline(always)]
fn pseudo_header(addresses: u32, udp_len: u16) -> u32 {
    sum::add_word(udp_len, sum::add_word(PROTOCOL_UDP.into(), addresses))
}

/// Makes the frame as long as it must be for an answer of so many bytes, and puts the request's headers
/// in front of it again. `Some(false)`: the driver has no room for it, and nothing has changed.
///
/// It grows at the head, where every driver has room for a program, and not at the tail, where one
/// that was made to measure, as veth's are, has none.
#[inline(always)]
pub fn resize<F: Family>(ctx: &XdpContext, len: usize, room: &mut Room) -> Option<bool> {
    // Words are written, so what is behind the last byte is zero.
    let words_end = payload::<F>() + len.next_multiple_of(4);
    let frame_len = if words_end < MIN_FRAME_LEN {
        MIN_FRAME_LEN
    } else {
        words_end
    };
    let delta = (ctx.data_end() - ctx.data()) as i32 - frame_len as i32;
    if delta > 0 {
        // SAFETY: the helper checks its arguments; no pointer into the packet is used behind it.
        return Some(unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), -delta) } == 0);
    }
    F::save(ctx, room)?;
    // SAFETY: as above.
    if delta < 0 && unsafe { bpf_xdp_adjust_head(ctx.as_ptr().cast(), delta) } != 0 {
        return Some(false);
    }
    F::restore(ctx, room)?;
    if frame_len == MIN_FRAME_LEN {
        *bytes_mut::<PADDING>(ctx, MIN_FRAME_LEN - PADDING)? = [0; PADDING];
    }
    Some(true)
}

/// Turns the request into the answer, the first `len` bytes of these words.
#[inline(always)]
pub fn write<F: Family>(
    ctx: &XdpContext,
    answer: &[u32; ANSWER],
    len: usize,
    config: &Config,
) -> Option<()> {
    let udp_len = (UDP_LEN + len) as u16;
    for (at, word) in answer.iter().enumerate() {
        if at * 4 >= len {
            break;
        }
        *bytes_mut(ctx, payload::<F>() + 4 * at)? = word.to_ne_bytes();
    }
    F::turn(ctx, udp_len, config.traffic_class as u8)?;
    let macs = bytes_mut::<12>(ctx, 0)?;
    for at in 0..6 {
        macs.swap(at, 6 + at);
    }
    let addresses = F::sum_addresses(ctx)?;
    let udp = bytes_mut::<UDP_LEN>(ctx, IP + F::LEN)?;
    udp.swap(0, 2);
    udp.swap(1, 3);
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    udp[6..8].copy_from_slice(&[0; 2]);
    let sum = sum::add(udp, pseudo_header(addresses, udp_len));
    // Zero would say that there is none (RFC 768).
    let checksum = match !sum::fold(sum::add_words(answer, sum)) {
        0 => u16::MAX,
        checksum => checksum,
    };
    let udp = bytes_mut::<UDP_LEN>(ctx, IP + F::LEN)?;
    udp[6..8].copy_from_slice(&checksum.to_ne_bytes());
    Some(())
}
