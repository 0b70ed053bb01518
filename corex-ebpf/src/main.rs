//! The programs of corex: measure, count, decide. In proxy mode one of two, XDP on the interface;
//! those of inline mode are in [`inline`].
//!
//! A UDP packet for a listen socket, and for this host (`trust`), is steered to the AF_XDP socket of its queue, with a
//! [`FrameMeta`](corex_common::meta::FrameMeta) in front; a probe is dropped; everything
//! else goes to the kernel's stack untouched. Each packet is counted once.

#![no_std]
#![no_main]

mod answer;
mod desk;
mod guard;
mod inline;
mod maps;
mod overload;
mod packet;
mod road;
mod steer;
mod trust;
mod words;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use corex_common::counters::KernelCounters;

use crate::packet::{Pass, locate};

/// Entry point; the name is what `ip link` and `bpftool prog` show.
#[xdp]
pub fn corex_ingress(ctx: XdpContext) -> u32 {
    let Some(counters) = maps::counters() else {
        return xdp_action::XDP_PASS;
    };
    guard::begin(counters);
    match locate::<_, false>(&ctx, |outline| steer::refuse(&ctx, outline)) {
        Ok(datagram) => steer::decide::<false>(&ctx, &datagram, counters),
        Err(reason) => pass(reason, counters),
    }
}

/// The same with roads ([`road`]), where the configuration asks for them.
#[xdp]
pub fn corex_roads(ctx: XdpContext) -> u32 {
    let Some(counters) = maps::counters() else {
        return xdp_action::XDP_PASS;
    };
    guard::begin(counters);
    if guard::is_on() && !guard::is_settled() {
        match steer::gate(&ctx, counters) {
            guard::LET_IN => {}
            guard::UNSETTLED => guard::look_into(&ctx),
            _ => return xdp_action::XDP_DROP,
        }
    }
    by_road(&ctx, counters)
}

/// What isn't let in is dropped by now. A function of its own, so that its stack isn't there while the
/// guard is asked.
#[inline(never)]
fn by_road(ctx: &XdpContext, counters: &mut KernelCounters) -> u32 {
    match locate::<_, false>(ctx, |outline| steer::refuse(ctx, outline)) {
        Ok(datagram) => steer::decide::<true>(ctx, &datagram, counters),
        Err(reason) => pass(reason, counters),
    }
}

/// Counts what is left to the kernel's stack.
#[inline(always)]
fn pass(reason: Pass, counters: &mut KernelCounters) -> u32 {
    let counter = match reason {
        Pass::NotIp => &mut counters.pass_not_ip,
        Pass::VlanDepth => &mut counters.pass_vlan_depth,
        Pass::IpOptions => &mut counters.pass_ip_options,
        Pass::Fragment => &mut counters.pass_fragment,
        Pass::ExtHeader => &mut counters.pass_ext_header,
        Pass::NotUdp => &mut counters.pass_not_udp,
        Pass::Malformed => &mut counters.pass_malformed,
        Pass::NoSocket => &mut counters.pass_no_socket,
    };
    *counter += 1;
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lets only GPL-compatible programs use some helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";
