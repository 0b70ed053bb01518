//! What arrives at the NIC: to the worker when it is for a protected socket.

use aya_ebpf::{bindings::xdp_action, helpers::bpf_redirect, macros::xdp, programs::XdpContext};
use corex_common::{
    counters::KernelCounters,
    inline::{Address, Inline},
    maps::{Config, FAMILY_V6, SocketEntry},
};

use super::{Service, inline, service};
use crate::{
    answer::{self, Wish, wish},
    guard,
    maps::{ADDRESSES, CONFIG, DETOURS, SOCKETS, XSKS, counters, has_port, socket_counters},
    overload,
    packet::{Datagram, Outline, Part, Pass, bytes, destination_v6, locate},
    trust::{Addressee, Origin, addressee, host_state, is_local, origin},
};

/// On the NIC.
#[xdp]
pub fn corex_inline(ctx: XdpContext) -> u32 {
    let (Some(counters), Some(config), Some(inline)) = (counters(), CONFIG.get(0), inline()) else {
        return xdp_action::XDP_PASS;
    };
    guard::begin(counters);
    if is_injected(&ctx, inline) {
        counters.pass_injected += 1;
        return xdp_action::XDP_PASS;
    }
    let no_socket = |outline: &Outline| (!has_port(outline.to)).then_some(Pass::NoSocket);
    let datagram = match locate::<_, true>(&ctx, no_socket) {
        Ok(datagram) => datagram,
        Err(Pass::ExtHeader) if inline.closed != 0 && is_for_protected_v6(&ctx) => {
            counters.drop_ext_header += 1;
            return xdp_action::XDP_DROP;
        }
        // Linux takes tags off one by one as long as they name no VLAN (802.1p), and then delivers.
        Err(Pass::VlanDepth) if inline.closed != 0 => {
            counters.drop_vlan_depth += 1;
            return xdp_action::XDP_DROP;
        }
        Err(reason) => return crate::pass(reason, counters),
    };
    if datagram.part != Part::Whole {
        // Only the first one has ports, and it needn't come first.
        let address = Address {
            addr: datagram.destination.addr,
            family: datagram.destination.family.into(),
        };
        // SAFETY: entries are replaced as a whole; see `steer::listener`.
        if unsafe { ADDRESSES.get(&address) }.is_none() {
            counters.pass_fragment += 1;
            return xdp_action::XDP_PASS;
        }
        return steer(&ctx, config, inline, counters, &datagram, None);
    }
    // SAFETY: as above.
    let Some(entry) = (unsafe { SOCKETS.get(&datagram.destination) }) else {
        counters.pass_no_socket += 1;
        return xdp_action::XDP_PASS;
    };
    if guard::is_on()
        && is_ours(&ctx, &datagram)
        && let Some(socket) = socket_counters(entry.id)
    {
        match guard::ask(&ctx, &datagram, entry.id, counters, socket) {
            guard::LET_IN => {}
            guard::UNSETTLED => guard::look_into(&ctx),
            _ => return xdp_action::XDP_DROP,
        }
    }
    if is_silenced(&ctx, config, &datagram)
        && let Some(socket) = socket_counters(entry.id)
    {
        answer::count(Wish::Silence, counters, socket);
        return xdp_action::XDP_DROP;
    }
    if u32::from(datagram.payload_len) < config.min_msg_len {
        counters.pass_short += 1;
        if let Some(socket) = socket_counters(entry.id) {
            socket.short += 1;
        }
        return xdp_action::XDP_PASS;
    }
    steer(&ctx, config, inline, counters, &datagram, Some(entry))
}

/// Whether it is a keep-alive that is dropped in the server's stead. What wants an answer goes to the
/// server, which may have one of its own.
#[inline(always)]
fn is_silenced(ctx: &XdpContext, config: &Config, datagram: &Datagram) -> bool {
    wish(ctx, datagram, config) == Wish::Silence && is_ours(ctx, datagram)
}

/// Whether the stack would give it to the server: it isn't for another host, nor from an address that
/// can't be.
#[inline(always)]
fn is_ours(ctx: &XdpContext, datagram: &Datagram) -> bool {
    let state = host_state();
    addressee(ctx, state) == Addressee::Host
        && origin(ctx, &datagram.source, state) == Origin::Host
        && is_local(ctx, &datagram.destination, state)
}

/// Whether an IPv6 packet is for a protected address.
#[inline(always)]
fn is_for_protected_v6(ctx: &XdpContext) -> bool {
    let Ok(addr) = destination_v6(ctx) else {
        return false;
    };
    let family = FAMILY_V6.into();
    // SAFETY: entries are replaced as a whole; see `steer::listener`.
    unsafe { ADDRESSES.get(&Address { addr, family }) }.is_some()
}

/// Generic XDP sees what corex gives to the stack of its NIC once more.
#[inline(always)]
fn is_injected(ctx: &XdpContext, inline: &Inline) -> bool {
    match bytes::<_, 12>(ctx, 0) {
        Ok(b) => {
            b[6] == inline.mac[0]
                && b[7] == inline.mac[1]
                && b[8] == inline.mac[2]
                && b[9] == inline.mac[3]
                && b[10] == inline.mac[4]
                && b[11] == inline.mac[5]
        }
        Err(_) => false,
    }
}

#[inline(always)]
fn steer(
    ctx: &XdpContext,
    config: &Config,
    inline: &Inline,
    counters: &mut KernelCounters,
    datagram: &Datagram,
    socket: Option<&SocketEntry>,
) -> u32 {
    let is_closed = inline.closed != 0;
    // A frame to all is one for the server too: the stack takes it, so it must meet the hook.
    let state = host_state();
    if addressee(ctx, state) == Addressee::Other {
        if is_closed {
            counters.drop_foreign_mac += 1;
            return xdp_action::XDP_DROP;
        }
        counters.pass_foreign_mac += 1;
        return xdp_action::XDP_PASS;
    }
    match origin(ctx, &datagram.source, state) {
        Origin::Host => {}
        _ if is_closed => {
            counters.drop_martian += 1;
            return xdp_action::XDP_DROP;
        }
        // The server would get it past the hook.
        Origin::Odd => {}
        Origin::Refused => {
            counters.pass_martian += 1;
            return xdp_action::XDP_PASS;
        }
    }
    if ctx.data_end() - ctx.data() > config.max_frame_len as usize {
        if is_closed {
            counters.drop_too_long += 1;
            return xdp_action::XDP_DROP;
        }
        counters.pass_too_long += 1;
        return xdp_action::XDP_PASS;
    }
    let slot = match service(ctx.ingress_ifindex() as u32, ctx.rx_queue_index(), inline) {
        Service::Ready(slot) => slot,
        Service::Hung if is_closed => {
            counters.drop_hung += 1;
            return xdp_action::XDP_DROP;
        }
        Service::Hung => {
            counters.pass_hung += 1;
            return xdp_action::XDP_PASS;
        }
        Service::None => return by_pair(ctx, inline, counters, datagram, socket),
    };
    if let Some(entry) = socket
        && overload::sheds(ctx, datagram, config)
    {
        counters.drop_overload += 1;
        if let Some(socket) = socket_counters(entry.id) {
            socket.drop_overload += 1;
        }
        return xdp_action::XDP_DROP;
    }
    match XSKS.redirect(slot, u64::from(xdp_action::XDP_PASS)) {
        Ok(action) => {
            counters.steered += 1;
            count_steered(counters, datagram, socket);
            action
        }
        Err(_) => by_pair(ctx, inline, counters, datagram, socket),
    }
}

#[inline(always)]
fn count_steered(counters: &mut KernelCounters, datagram: &Datagram, socket: Option<&SocketEntry>) {
    let Some(entry) = socket else { return };
    let len = u64::from(datagram.payload_len);
    counters.steered_bytes += len;
    if let Some(socket) = socket_counters(entry.id) {
        socket.steered += 1;
        socket.steered_bytes += len;
    }
}

/// No AF_XDP socket is on the packet's queue, as after `ethtool -L`: a worker gets it by the veth
/// pair, whose queues all have one.
#[inline(always)]
fn by_pair(
    ctx: &XdpContext,
    inline: &Inline,
    counters: &mut KernelCounters,
    datagram: &Datagram,
    socket: Option<&SocketEntry>,
) -> u32 {
    let nic = ctx.ingress_ifindex() as u32;
    // SAFETY: entries are replaced as a whole; see `steer::listener`.
    if let Some(detour) = unsafe { DETOURS.get(&nic) }
        && let Service::Ready(_) = service(detour.own, 0, inline)
    {
        counters.detoured += 1;
        count_steered(counters, datagram, socket);
        // SAFETY: the helper checks its arguments.
        return unsafe { bpf_redirect(detour.peer, 0) as u32 };
    }
    if inline.closed != 0 {
        counters.drop_no_xsk += 1;
        xdp_action::XDP_DROP
    } else {
        counters.pass_no_xsk += 1;
        xdp_action::XDP_PASS
    }
}
