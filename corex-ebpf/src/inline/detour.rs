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
use corex_common::{inline::Address, maps::SocketKey};

/// On corex's end: what the NIC's egress redirected goes to the worker; and what came in by a
/// queue of the NIC that has no AF_XDP socket.
#[xdp]
pub fn corex_detour(ctx: XdpContext) -> u32 {
    let (Some(counters), Some(inline)) = (detour_counters(), inline()) else {
        return xdp_action::XDP_DROP;
    };
    counters.seen += 1;
    let (is_outgoing, is_incoming) = match locate::<_, true>(&ctx, |_| None) {
        Ok(datagram) => {
            let is_whole = datagram.part == Part::Whole;
            let is_outgoing = is_protected(&datagram.source, is_whole);
            let is_incoming = !is_outgoing && is_protected(&datagram.destination, is_whole);
            (is_outgoing, is_incoming)
        }
        Err(_) => (is_quote(&ctx), false),
    };
    if !is_outgoing && !is_incoming {
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
    // What is passed here leaves by the NIC, which isn't the way of what came in by it.
    if inline.closed != 0 || is_incoming {
        counters.drop_no_xsk += 1;
        xdp_action::XDP_DROP
    } else {
        counters.pass_returned += 1;
        xdp_action::XDP_PASS
    }
}

/// Whether a socket is protected; of fragments, of which only the first has ports, whether there is
/// one with the address.
#[inline(always)]
fn is_protected(socket: &SocketKey, is_whole: bool) -> bool {
    if is_whole {
        // SAFETY: entries are replaced as a whole; see `steer::listener`.
        return unsafe { SOCKETS.get(socket) }.is_some();
    }
    let address = Address {
        addr: socket.addr,
        family: socket.family.into(),
    };
    // SAFETY: as above.
    unsafe { ADDRESSES.get(&address) }.is_some()
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
