//! Decides about a UDP datagram: whose it is, whether it is a probe, where it goes.

use aya_ebpf::{
    EbpfContext as _, bindings::xdp_action, helpers::bpf_xdp_adjust_meta, programs::XdpContext,
};
use corex_common::{
    counters::KernelCounters,
    ip::{UDP_LEN, is_link_local_v6},
    maps::{Config, FAMILY_V6, SocketEntry, SocketKey},
    meta::FrameMeta,
};

use crate::{
    answer::{self, Given, Wish, wish},
    guard,
    maps::{CONFIG, INTERFACES, SOCKETS, XSKS, has_port, socket_counters},
    overload,
    packet::{Datagram, Outline, Pass, locate},
    road,
    trust::{Addressee, Origin, addressee, has_way_back, host_state, is_local, origin},
};

/// The listen socket that owns the destination: the exact address, else the wildcard.
#[inline(always)]
fn listener(ctx: &XdpContext, destination: &SocketKey) -> Option<SocketEntry> {
    let is_scoped = destination.family == FAMILY_V6 && is_link_local_v6(&destination.addr);
    let exact = SocketKey {
        ifindex: if is_scoped {
            ctx.ingress_ifindex() as u32
        } else {
            0
        },
        ..*destination
    };
    // SAFETY: user space replaces entries as a whole; a torn read of two integers at start
    // or reload costs at most one packet's attribution.
    if let Some(entry) = unsafe { SOCKETS.get(&exact) } {
        return Some(*entry);
    }
    let any = SocketKey {
        addr: [0; 16],
        ..*destination
    };
    // SAFETY: as above.
    unsafe { SOCKETS.get(&any) }.copied()
}

/// Slot of this packet's queue, if an AF_XDP socket is in it.
#[inline(always)]
pub fn slot(ctx: &XdpContext) -> Option<u32> {
    // SAFETY: as in `listener`.
    let interface = unsafe { INTERFACES.get(&(ctx.ingress_ifindex() as u32)) }?;
    let queue = ctx.rx_queue_index();
    if queue >= interface.queues {
        return None;
    }
    let slot = interface.first_slot + queue;
    XSKS.get(slot).map(|_| slot)
}

/// Why a datagram isn't looked at any further, if the frame doesn't hold it or no socket has its
/// port.
#[inline(always)]
pub fn refuse(ctx: &XdpContext, outline: &Outline) -> Option<Pass> {
    if !outline.is_in(ctx) {
        return Some(Pass::Malformed);
    }
    (!has_port(outline.to)).then_some(Pass::NoSocket)
}

/// The guard's verdict on a packet that is for a listener: what [`decide`] finds out before it asks the
/// guard, for the program with roads. There the guard can't be asked in the midst, since a chain of
/// calls has 512 bytes of stack, of which roads take 336.
#[inline(never)]
pub fn gate(ctx: &XdpContext, counters: &mut KernelCounters) -> u32 {
    let Ok(datagram) = locate::<_, false>(ctx, |outline| refuse(ctx, outline)) else {
        return guard::LET_IN;
    };
    let Some(entry) = listener(ctx, &datagram.destination) else {
        return guard::LET_IN;
    };
    let state = host_state();
    if addressee(ctx, state) != Addressee::Host
        || origin(ctx, &datagram.source, state) != Origin::Host
        || !is_local(ctx, &datagram.destination, state)
    {
        return guard::LET_IN;
    }
    match socket_counters(entry.id) {
        Some(socket) => guard::ask(ctx, &datagram, entry.id, counters, socket),
        None => guard::LET_IN,
    }
}

/// Gives the verdict on what isn't [refused](refuse), and counts it. `WITH_ROADS`: what has a road
/// takes it.
#[inline(always)]
pub fn decide<const WITH_ROADS: bool>(
    ctx: &XdpContext,
    datagram: &Datagram,
    counters: &mut KernelCounters,
) -> u32 {
    let Some(entry) = listener(ctx, &datagram.destination) else {
        counters.pass_no_socket += 1;
        return xdp_action::XDP_PASS;
    };
    let state = host_state();
    if addressee(ctx, state) != Addressee::Host {
        counters.pass_foreign_mac += 1;
        return xdp_action::XDP_PASS;
    }
    if origin(ctx, &datagram.source, state) != Origin::Host {
        counters.pass_martian += 1;
        return xdp_action::XDP_PASS;
    }
    if !is_local(ctx, &datagram.destination, state) {
        counters.pass_not_local += 1;
        return xdp_action::XDP_PASS;
    }
    let (Some(config), Some(socket)) = (CONFIG.get(0), socket_counters(entry.id)) else {
        counters.pass_no_socket += 1;
        return xdp_action::XDP_PASS;
    };
    // With roads, the guard has been asked before (see `gate`).
    if !WITH_ROADS {
        match guard::ask(ctx, datagram, entry.id, counters, socket) {
            guard::LET_IN => {}
            guard::UNSETTLED => guard::look_into(ctx),
            _ => return xdp_action::XDP_DROP,
        }
    }
    let sheds = overload::sheds(ctx, datagram, config);
    let wish = wish(ctx, datagram, config);
    if wish == Wish::Silence {
        answer::count(wish, counters, socket);
        return xdp_action::XDP_DROP;
    }
    if !has_way_back(ctx, datagram) {
        counters.pass_rp_filter += 1;
        return xdp_action::XDP_PASS;
    }
    if matches!(wish, Wish::Pong | Wish::Address) {
        match answer::give(ctx, datagram, config, wish) {
            Given::Answer => {
                answer::count(wish, counters, socket);
                return xdp_action::XDP_TX;
            }
            Given::Malformed => {
                counters.pass_malformed += 1;
                return xdp_action::XDP_PASS;
            }
            Given::Nothing => {}
        }
    }
    let len = u32::from(datagram.payload_len);
    // Short as it may be, what wishes an answer is no probe.
    if len < config.probe_len && wish == Wish::Nothing {
        counters.drop_probe += 1;
        socket.drop_probe += 1;
        return xdp_action::XDP_DROP;
    }
    // The kernel drops what it can't put into a frame; its own stack can take it.
    if ctx.data_end() - ctx.data() > config.max_frame_len as usize {
        counters.pass_too_long += 1;
        socket.pass_too_long += 1;
        return xdp_action::XDP_PASS;
    }
    let short = len < config.min_msg_len;
    if WITH_ROADS
        && config.roads != 0
        // A worker answers what isn't answered here, or drops it.
        && wish == Wish::Nothing
        && !guard::is_limited()
        && let Some(verdict) = road::take(ctx, datagram, entry.id, short)
    {
        road::count_peer(&datagram.source, u64::from(len));
        return verdict.count(counters, socket, u64::from(len));
    }
    let slot = if entry.steer != 0 { slot(ctx) } else { None };
    let Some(slot) = slot else {
        counters.pass_no_xsk += 1;
        socket.pass_no_xsk += 1;
        if config.log != 0 {
            aya_log_ebpf::warn!(
                ctx,
                "no AF_XDP socket on interface {} queue {}: the packet goes to the kernel socket",
                ctx.ingress_ifindex(),
                ctx.rx_queue_index()
            );
        }
        return xdp_action::XDP_PASS;
    };
    if sheds {
        counters.drop_overload += 1;
        socket.drop_overload += 1;
        return xdp_action::XDP_DROP;
    }
    if !write_meta(ctx, datagram, &entry, config, short) && guard::is_limited() {
        counters.drop_guard_rate += 1;
        socket.drop_guard += 1;
        return xdp_action::XDP_DROP;
    }
    match XSKS.redirect(slot, u64::from(xdp_action::XDP_PASS)) {
        Ok(action) => {
            counters.steered += 1;
            counters.steered_bytes += u64::from(len);
            socket.steered += 1;
            socket.steered_bytes += u64::from(len);
            socket.short += u64::from(short);
            action
        }
        Err(action) => {
            counters.pass_no_xsk += 1;
            socket.pass_no_xsk += 1;
            action
        }
    }
}

/// Puts the record in front of the frame. A driver without metadata support refuses; then
/// user space misses the cookie and parses the frame itself. Whether it is there.
#[inline(always)]
fn write_meta(
    ctx: &XdpContext,
    datagram: &Datagram,
    entry: &SocketEntry,
    config: &Config,
    short: bool,
) -> bool {
    // SAFETY: the helper checks its argument; ctx is this program's own.
    if unsafe { bpf_xdp_adjust_meta(ctx.as_ptr().cast(), -(FrameMeta::LEN as i32)) } != 0 {
        return false;
    }
    let meta = ctx.metadata();
    if meta + FrameMeta::LEN > ctx.data() {
        return false;
    }
    let mut flags = 0;
    if short {
        flags |= FrameMeta::SHORT;
    }
    if datagram.destination.family == FAMILY_V6 {
        flags |= FrameMeta::IPV6;
    }
    if guard::is_limited() {
        flags |= FrameMeta::LIMITED;
    }
    let record = FrameMeta {
        cookie: config.cookie,
        socket: entry.id as u16,
        flags,
        l3: datagram.l3,
        l4: datagram.l4,
        payload: datagram.l4 + UDP_LEN as u16,
        payload_len: datagram.payload_len,
    };
    // SAFETY: data_meta..data holds LEN bytes, checked above; the kernel keeps it 4-aligned.
    unsafe { (meta as *mut FrameMeta).write(record) };
    true
}
