//! XDP programs of `cargo xtask bench`: a load generator that the kernel runs as fast as it
//! can (BPF_PROG_TEST_RUN with live frames), a sink that counts what comes back and how long it
//! took, a reflector and a bare way to AF_XDP. They know IPv4 and IPv6 without options only.
//!
//! The generator keeps a window of frames on their way and sends as many more as come back,
//! so it finds what the device sustains; or it sends at a given rate. It does so itself, since
//! entering the kernel anew for each batch would cost more than the batch. The kernel uses the
//! memory of frames again as the device left it: each is written in full.

#![no_std]
#![no_main]

use core::ffi::c_void;

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::{Array, XskMap},
    helpers::{
        bpf_get_smp_processor_id, bpf_ktime_get_ns,
        generated::{bpf_xdp_adjust_tail, bpf_xdp_store_bytes},
    },
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use corex_common::{
    bench::{
        BEFORE_DIGITS, BUCKETS, BURST, CPUS, DIGITS, Extremes, FIRST_PEER, FIRST_PORT, FRAME_LEN,
        Load, MAX_TEMPLATES, MIN_PAYLOAD, NUMBERS, PATIENCE, PORTS, Template, bucket,
    },
    ip::{ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_LEN, IPV6_LEN, PROTOCOL_UDP, UDP_LEN},
};

#[btf_map]
static LOAD: Array<Load, 1> = Array::new();
#[btf_map]
static TEMPLATES: Array<Template, { MAX_TEMPLATES as usize }> = Array::new();
#[btf_map]
static RETURNED: Array<u64, { CPUS as usize }> = Array::new();
/// When the frame with this number was sent.
#[btf_map]
static SENT_AT: Array<u64, { NUMBERS as usize }> = Array::new();
#[btf_map]
static LATENCIES: Array<u64, { BUCKETS as usize }> = Array::new();
#[btf_map]
static EXTREMES: Array<Extremes, 1> = Array::new();
#[btf_map]
static XSKS: XskMap<16> = XskMap::new();

const IP: usize = ETHERNET_LEN;
/// Where the UDP header is behind IPv4, and behind IPv6.
const UDP_4: usize = IP + IPV4_LEN;
const UDP_6: usize = IP + IPV6_LEN;
/// Where the last two bytes of the source address are.
const PEER_4: usize = IP + 14;
const PEER_6: usize = IP + 22;

#[inline(always)]
fn bytes<'a, const N: usize>(ctx: &XdpContext, offset: usize) -> Option<&'a mut [u8; N]> {
    let start = ctx.data() + offset;
    if start + N > ctx.data_end() {
        return None;
    }
    // SAFETY: within data..data_end, which the verifier checks again; align 1.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
}

/// RFC 1624, equation 3: the checksum after a word changed from `old` to `new`.
#[inline(always)]
fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

#[inline(always)]
fn set(bytes: &mut [u8; 2], checksum: u16, new: u16) -> u16 {
    let old = u16::from_be_bytes(*bytes);
    *bytes = new.to_be_bytes();
    update(checksum, old, new)
}

/// The time in nanoseconds.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn returned() -> u64 {
    let mut sum = 0;
    for cpu in 0..CPUS {
        if let Some(count) = RETURNED.get(cpu) {
            sum += *count;
        }
    }
    sum
}

/// Whether a frame is due by the rate.
#[inline(always)]
fn is_due(load: &mut Load, now: u64) -> bool {
    let due = (now - load.begin) * load.rate / 1_000_000_000;
    let done = load.sent + load.unanswered + load.held_back;
    if done >= due {
        return false;
    }
    if due - done > BURST {
        load.held_back += due - done - BURST;
    }
    true
}

/// Whether the window has room for one more.
#[inline(always)]
fn has_room(load: &mut Load, now: u64) -> bool {
    let done = load.returned - load.returned_before + load.lost;
    let on_their_way = if load.sent > done {
        load.sent - done
    } else {
        0
    };
    if on_their_way < load.window {
        return true;
    }
    if now - load.progress > PATIENCE {
        load.lost += on_their_way;
        load.progress = now;
    }
    false
}

/// The template to send now, if one is due, with the frame's number among all of them.
#[inline(always)]
fn next<'a>() -> Option<(&'a Template, &'a Load, u64)> {
    let load = LOAD.get_ptr_mut(0)?;
    // SAFETY: the generator runs on one CPU at a time.
    let load = unsafe { &mut *load };
    if load.end != 0 {
        return None;
    }
    load.turns += 1;
    let now = now();
    let returned = returned();
    if load.begin == 0 {
        load.begin = now;
        load.progress = now;
        load.returned_before = returned;
        load.returned = returned;
    }
    if returned != load.returned {
        load.returned = returned;
        load.progress = now;
    }
    if now - load.begin >= load.duration {
        load.end = now;
        return None;
    }
    let is_next = match load.rate {
        0 => has_room(load, now),
        _ => is_due(load, now),
    };
    if !is_next {
        return None;
    }
    let number = load.sent + load.unanswered;
    let template = TEMPLATES.get((number % load.templates.max(1)) as u32)?;
    if template.answered == 0 {
        load.unanswered += 1;
    } else {
        load.sent += 1;
        if let Some(at) = SENT_AT.get_ptr_mut((load.sent % u64::from(NUMBERS)) as u32) {
            // SAFETY: an aligned u64 in a map that lives as long as the program.
            unsafe { *at = now };
        }
    }
    Some((template, load, number))
}

/// Writes what differs from the template behind one of the IP headers.
#[inline(always)]
fn vary<const UDP: usize, const PEER: usize>(
    ctx: &XdpContext,
    template: &Template,
    load: &Load,
    number: u64,
) -> Option<()> {
    let checksum_at = bytes::<2>(ctx, UDP + 6)?;
    let mut checksum = u16::from_be_bytes(*checksum_at);
    let port = FIRST_PORT + (number % u64::from(PORTS)) as u16;
    checksum = set(bytes::<2>(ctx, UDP)?, checksum, port);
    if load.peers > 1 {
        let peer = FIRST_PEER.wrapping_add((number % load.peers) as u16);
        let word = bytes::<2>(ctx, PEER)?;
        let old = u16::from_be_bytes(*word);
        checksum = set(word, checksum, peer);
        if UDP == UDP_4 {
            let header = bytes::<2>(ctx, IP + 10)?;
            *header = update(u16::from_be_bytes(*header), old, peer).to_be_bytes();
        }
    }
    if template.numbered != 0 {
        let number = (load.sent % u64::from(NUMBERS)) as u32;
        let pairs = [number / 100, number % 100];
        for (i, value) in pairs.into_iter().enumerate() {
            let text = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
            let word = bytes::<2>(ctx, UDP + UDP_LEN + DIGITS + 2 * i)?;
            checksum = set(word, checksum, u16::from_be_bytes(text));
        }
    }
    *checksum_at = checksum.to_be_bytes();
    Some(())
}

#[inline(always)]
fn generate(ctx: &XdpContext) -> Option<()> {
    let (template, load, number) = next()?;
    let len = template.len as usize;
    if len > FRAME_LEN || len <= UDP_4 {
        return None;
    }
    // SAFETY: the kernel checks the length; what was read from the packet before isn't used again.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, len as i32 - load.room as i32) } != 0 {
        return None;
    }
    let frame = template.frame.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: the template has FRAME_LEN bytes, and the helper only reads them.
    if unsafe { bpf_xdp_store_bytes(ctx.ctx, 0, frame, len as u32) } != 0 {
        return None;
    }
    match family(ctx)? {
        Family::V4 => vary::<UDP_4, PEER_4>(ctx, template, load, number),
        Family::V6 => vary::<UDP_6, PEER_6>(ctx, template, load, number),
    }
}

/// Sends the next frame, if it is due, out of the interface that the test run names.
#[xdp]
pub fn bench_generate(ctx: XdpContext) -> u32 {
    match generate(&ctx) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

enum Family {
    V4,
    V6,
}

/// The family of a packet that is UDP.
#[inline(always)]
fn family(ctx: &XdpContext) -> Option<Family> {
    let ethertype = u16::from_be_bytes(*bytes::<2>(ctx, ETHERNET_LEN - 2)?);
    if ethertype == ETHERTYPE_IPV4 && bytes::<1>(ctx, IP + 9)?[0] == PROTOCOL_UDP {
        return Some(Family::V4);
    }
    if ethertype == ETHERTYPE_IPV6 && bytes::<1>(ctx, IP + 6)?[0] == PROTOCOL_UDP {
        return Some(Family::V6);
    }
    None
}

/// The number that the message has, if it came back with one.
#[inline(always)]
fn number<const UDP: usize>(ctx: &XdpContext) -> Option<u32> {
    let [before, digits @ ..] = bytes::<5>(ctx, UDP + UDP_LEN + DIGITS - 1)?;
    if *before != BEFORE_DIGITS {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u32::from(*digit - b'0');
    }
    Some(number)
}

/// Counts a packet that came back, and how long it took.
#[inline(always)]
fn count<const UDP: usize>(ctx: &XdpContext) -> Option<()> {
    let len = u16::from_be_bytes(*bytes::<2>(ctx, UDP + 4)?);
    if len < MIN_PAYLOAD + UDP_LEN as u16 {
        return None;
    }
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    let own = RETURNED.get_ptr_mut(cpu)?;
    // SAFETY: this CPU's element; XDP isn't preempted by itself.
    unsafe { *own += 1 };
    let extremes = EXTREMES.get_ptr_mut(0)?;
    // SAFETY: what receives is on one CPU; on several a maximum may get lost, nothing else.
    let extremes = unsafe { &mut *extremes };
    let number = match number::<UDP>(ctx) {
        Some(number) => number,
        None => {
            extremes.by_order += 1;
            let before = LOAD.get(0)?.returned_before;
            (returned().wrapping_sub(before) % u64::from(NUMBERS)) as u32
        }
    };
    let at = SENT_AT.get_ptr_mut(number)?;
    // SAFETY: an aligned u64 in a map that lives as long as the program.
    let sent_at = unsafe { core::mem::take(&mut *at) };
    if sent_at == 0 {
        return None;
    }
    let latency = now().saturating_sub(sent_at);
    extremes.longest = extremes.longest.max(latency);
    let bucket = LATENCIES.get_ptr_mut(bucket(latency))?;
    // SAFETY: as above.
    unsafe { *bucket += 1 };
    Some(())
}

/// Counts and drops UDP; passes the rest.
#[xdp]
pub fn bench_sink(ctx: XdpContext) -> u32 {
    match family(&ctx) {
        Some(Family::V4) => count::<UDP_4>(&ctx),
        Some(Family::V6) => count::<UDP_6>(&ctx),
        None => return xdp_action::XDP_PASS,
    };
    xdp_action::XDP_DROP
}

/// Swaps two neighbours of `N` bytes each; the checksums stay right.
#[inline(always)]
fn swap<const BOTH: usize>(ctx: &XdpContext, offset: usize) -> Option<()> {
    let both = bytes::<BOTH>(ctx, offset)?;
    let mut swapped = *both;
    swapped.rotate_left(BOTH / 2);
    *both = swapped;
    Some(())
}

#[inline(always)]
fn reflect(ctx: &XdpContext) -> Option<()> {
    let family = family(ctx)?;
    swap::<12>(ctx, 0)?;
    match family {
        Family::V4 => {
            swap::<8>(ctx, IP + 12)?;
            swap::<4>(ctx, UDP_4)
        }
        Family::V6 => {
            swap::<32>(ctx, IP + 8)?;
            swap::<4>(ctx, UDP_6)
        }
    }
}

/// Sends UDP back where it came from.
#[xdp]
pub fn bench_reflect(ctx: XdpContext) -> u32 {
    match reflect(&ctx) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_PASS,
    }
}

/// Sends UDP to the AF_XDP socket of the queue.
#[xdp]
pub fn bench_steer(ctx: XdpContext) -> u32 {
    if family(&ctx).is_none() {
        return xdp_action::XDP_PASS;
    }
    match XSKS.redirect(ctx.rx_queue_index(), u64::from(xdp_action::XDP_PASS)) {
        Ok(action) | Err(action) => action,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lets only GPL-compatible programs use some helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";
