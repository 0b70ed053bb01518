//! XDP programs of `cargo xtask bench`: a load generator that the kernel runs as fast as it
//! can (BPF_PROG_TEST_RUN with live frames), a sink that counts what comes back, a reflector
//! and a bare way to AF_XDP. They know IPv4 without options only.
//!
//! The generator keeps a window of frames on their way and sends as many more as come back,
//! so it finds what the device sustains. It does so itself, since entering the kernel anew
//! for each batch would cost more than the batch.

#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::{Array, XskMap},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use corex_common::{
    bench::{CPUS, DIGITS, FIRST_PORT, Load, PATIENCE, PORTS},
    ip::{ETHERNET_LEN, ETHERTYPE_IPV4, IPV4_LEN, PROTOCOL_UDP, UDP_LEN},
};

#[btf_map]
static LOAD: Array<Load, 1> = Array::new();
#[btf_map]
static RETURNED: Array<u64, { CPUS as usize }> = Array::new();
#[btf_map]
static XSKS: XskMap<16> = XskMap::new();

const IP: usize = ETHERNET_LEN;
const UDP: usize = IP + IPV4_LEN;
const PAYLOAD: usize = UDP + UDP_LEN;

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

/// The number of the frame to send now, if there is one.
#[inline(always)]
fn next() -> Option<u64> {
    let load = LOAD.get_ptr_mut(0)?;
    // SAFETY: the generator runs on one CPU at a time.
    let load = unsafe { &mut *load };
    if load.end != 0 {
        return None;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
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
    let done = returned - load.returned_before + load.lost;
    let on_their_way = if load.sent > done {
        load.sent - done
    } else {
        0
    };
    if on_their_way >= load.window {
        if now - load.progress > PATIENCE {
            load.lost += on_their_way;
            load.progress = now;
        }
        return None;
    }
    load.sent += 1;
    Some(load.sent)
}

#[inline(always)]
fn generate(ctx: &XdpContext) -> Option<()> {
    let n = next()? as u32;
    let checksum_at = bytes::<2>(ctx, UDP + 6)?;
    let mut checksum = u16::from_be_bytes(*checksum_at);
    let port = FIRST_PORT + (n % PORTS) as u16;
    checksum = set(bytes::<2>(ctx, UDP)?, checksum, port);
    let high = (n / 100) % 100;
    let low = n % 100;
    for (i, value) in [high, low].into_iter().enumerate() {
        let text = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        let word = u16::from_be_bytes(text);
        checksum = set(bytes::<2>(ctx, PAYLOAD + DIGITS + 2 * i)?, checksum, word);
    }
    *checksum_at = checksum.to_be_bytes();
    Some(())
}

/// Varies the source port and the Call-ID, and sends the frame out of the interface that the
/// test run names.
#[xdp]
pub fn bench_generate(ctx: XdpContext) -> u32 {
    match generate(&ctx) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn is_udp(ctx: &XdpContext) -> bool {
    let ethertype = bytes::<2>(ctx, ETHERNET_LEN - 2).map(|b| *b);
    let protocol = bytes::<1>(ctx, IP + 9).map(|b| b[0]);
    ethertype == Some(ETHERTYPE_IPV4.to_be_bytes()) && protocol == Some(PROTOCOL_UDP)
}

/// Counts and drops UDP; passes the rest.
#[xdp]
pub fn bench_sink(ctx: XdpContext) -> u32 {
    if !is_udp(&ctx) {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    if let Some(returned) = RETURNED.get_ptr_mut(cpu) {
        // SAFETY: this CPU's element; XDP isn't preempted by itself.
        unsafe { *returned += 1 };
    }
    xdp_action::XDP_DROP
}

#[inline(always)]
fn reflect(ctx: &XdpContext) -> Option<()> {
    let eth = bytes::<12>(ctx, 0)?;
    let mut macs = *eth;
    macs.rotate_left(6);
    *eth = macs;
    let addresses = bytes::<8>(ctx, IP + 12)?;
    let mut swapped = *addresses;
    swapped.rotate_left(4);
    *addresses = swapped;
    // Swapping leaves both checksums right.
    let ports = bytes::<4>(ctx, UDP)?;
    let mut swapped = *ports;
    swapped.rotate_left(2);
    *ports = swapped;
    Some(())
}

/// Sends UDP back where it came from.
#[xdp]
pub fn bench_reflect(ctx: XdpContext) -> u32 {
    if is_udp(&ctx) && reflect(&ctx).is_some() {
        return xdp_action::XDP_TX;
    }
    xdp_action::XDP_PASS
}

/// Sends UDP to the AF_XDP socket of the queue.
#[xdp]
pub fn bench_steer(ctx: XdpContext) -> u32 {
    if !is_udp(&ctx) {
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
