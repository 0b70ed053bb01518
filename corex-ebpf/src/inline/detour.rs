//! The veth pair: XDP and TC on corex's own end, TC on the other.

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, TC_ACT_SHOT, xdp_action},
    helpers::bpf_redirect,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use super::{Service, egress::is_quote, inline, service};
use crate::{
    maps::{ADDRESSES, DETOURS, SOCKETS, XSKS, detour_counters},
    packet::{Part, locate},
};
use corex_common::inline::Address;

/// On corex's end: what the NIC's egress redirected goes to the worker.
#[xdp]
pub fn corex_detour(ctx: XdpContext) -> u32 {
    let (Some(counters), Some(inline)) = (detour_counters(), inline()) else {
        return xdp_action::XDP_DROP;
    };
    counters.seen += 1;
    let is_ours = match locate::<_, true>(&ctx) {
        Ok(datagram) if datagram.part == Part::Whole => {
            // SAFETY: entries are replaced as a whole; see `steer::listener`.
            unsafe { SOCKETS.get(&datagram.source) }.is_some()
        }
        Ok(fragment) => {
            let address = Address {
                addr: fragment.source.addr,
                family: fragment.source.family.into(),
            };
            // SAFETY: as above.
            unsafe { ADDRESSES.get(&address) }.is_some()
        }
        Err(_) => is_quote(&ctx),
    };
    if !is_ours {
        counters.drop_stray += 1;
        return xdp_action::XDP_DROP;
    }
    let ready = service(ctx.ingress_ifindex() as u32, ctx.rx_queue_index(), inline);
    if let Service::Ready(slot) = ready
        && let Ok(action) = XSKS.redirect(slot, u64::from(xdp_action::XDP_PASS))
    {
        counters.steered += 1;
        return action;
    }
    if inline.closed != 0 {
        counters.drop_no_xsk += 1;
        xdp_action::XDP_DROP
    } else {
        counters.pass_returned += 1;
        xdp_action::XDP_PASS
    }
}

/// On the ingress of corex's end: what its XDP program passed leaves by the NIC, marked so that
/// it isn't led here again.
#[classifier]
pub fn corex_return(ctx: TcContext) -> i32 {
    // SAFETY: the context is this program's own.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    // SAFETY: entries are replaced as a whole; see `steer::listener`.
    let (Some(detour), Some(inline)) = (unsafe { DETOURS.get(&ifindex) }, inline()) else {
        return TC_ACT_SHOT;
    };
    ctx.set_mark(inline.mark);
    // SAFETY: the helper checks its arguments.
    unsafe { bpf_redirect(detour.nic, 0) as i32 }
}

/// On the ingress of the other end: what a worker sends there comes in by the NIC, so that
/// routing, filters and sockets see the real interface.
#[classifier]
pub fn corex_inject(ctx: TcContext) -> i32 {
    // SAFETY: the context is this program's own.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    // SAFETY: as in `corex_return`.
    let Some(detour) = (unsafe { DETOURS.get(&ifindex) }) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: the helper checks its arguments.
    unsafe { bpf_redirect(detour.nic, u64::from(BPF_F_INGRESS)) as i32 }
}
