//! What leaves by the NIC: into the detour when it is from a protected socket.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::bpf_redirect,
    macros::classifier,
    programs::TcContext,
};
use corex_common::{counters::EgressCounters, inline::Detour, maps::Config};

use super::{Service, inline, service};
use crate::{
    maps::{CONFIG, DETOURS, FRAGMENTS, SOCKETS, egress_counters, has_port},
    packet::{Datagram, Frame, HEADERS_LEN, Outline, Part, Pass, locate, quoted},
};

/// On the NIC's egress. What isn't ours is left to the programs behind this one
/// (TC_ACT_UNSPEC; any other verdict would end their chain).
#[classifier]
pub fn corex_egress(ctx: TcContext) -> i32 {
    let Some(counters) = egress_counters() else {
        return TC_ACT_UNSPEC;
    };
    counters.seen += 1;
    decide(&ctx, counters)
}

#[inline(always)]
fn decide(ctx: &TcContext, counters: &mut EgressCounters) -> i32 {
    let (Some(config), Some(inline)) = (CONFIG.get(0), inline()) else {
        counters.pass_no_xsk += 1;
        return TC_ACT_UNSPEC;
    };
    // SAFETY: the context is this program's own.
    let skb = unsafe { &*ctx.skb.skb };
    if skb.mark == inline.mark {
        counters.pass_returned += 1;
        return TC_ACT_UNSPEC;
    }
    let wanted = if skb.len < HEADERS_LEN {
        skb.len
    } else {
        HEADERS_LEN
    };
    // Headers may lie outside the linear part.
    if ctx.data_end() - ctx.data() < wanted as usize && ctx.pull_data(wanted).is_err() {
        counters.pass_malformed += 1;
        return TC_ACT_UNSPEC;
    }
    if !is_ours(ctx, config, counters) {
        return TC_ACT_UNSPEC;
    }
    let is_closed = inline.closed != 0;
    let mut or_drop = |pass: fn(&mut EgressCounters) -> &mut u64,
                       drop: fn(&mut EgressCounters) -> &mut u64| {
        if is_closed {
            *drop(counters) += 1;
            TC_ACT_SHOT
        } else {
            *pass(counters) += 1;
            TC_ACT_UNSPEC
        }
    };
    if skb.gso_segs > 1 {
        return or_drop(|c| &mut c.pass_gso, |c| &mut c.drop_gso);
    }
    if skb.len > config.max_frame_len {
        return or_drop(|c| &mut c.pass_too_long, |c| &mut c.drop_too_long);
    }
    let nic = skb.ifindex;
    // SAFETY: as above.
    let detour: Detour = match unsafe { DETOURS.get(&nic) } {
        Some(detour) => *detour,
        None => return or_drop(|c| &mut c.pass_no_xsk, |c| &mut c.drop_no_xsk),
    };
    match service(detour.own, 0, inline) {
        Service::Ready(_) => {}
        Service::None => return or_drop(|c| &mut c.pass_no_xsk, |c| &mut c.drop_no_xsk),
        Service::Hung => return or_drop(|c| &mut c.pass_hung, |c| &mut c.drop_hung),
    }
    counters.detoured += 1;
    // SAFETY: the helper checks its arguments.
    unsafe { bpf_redirect(detour.peer, 0) as i32 }
}

/// Whether a packet is for corex: from a protected socket and long enough; or an ICMP error about a
/// datagram to one, since it quotes what the hook made of that, which must not leave. Other
/// packets are counted.
#[inline(always)]
fn is_ours(ctx: &TcContext, config: &Config, counters: &mut EgressCounters) -> bool {
    let no_socket = |outline: &Outline| (!has_port(outline.from)).then_some(Pass::NoSocket);
    let datagram = match locate::<_, true>(ctx, no_socket) {
        Ok(datagram) => datagram,
        Err(Pass::NotUdp) if is_quote(ctx) => return true,
        Err(reason) => {
            let counter = match reason {
                Pass::NotIp => &mut counters.pass_not_ip,
                Pass::VlanDepth => &mut counters.pass_vlan_depth,
                Pass::ExtHeader => &mut counters.pass_ext_header,
                Pass::NotUdp => &mut counters.pass_not_udp,
                Pass::NoSocket => &mut counters.pass_no_socket,
                Pass::Malformed | Pass::IpOptions | Pass::Fragment => &mut counters.pass_malformed,
            };
            *counter += 1;
            return false;
        }
    };
    if datagram.part == Part::Later {
        // SAFETY: entries are replaced as a whole; see `steer::listener`.
        if unsafe { FRAGMENTS.get(&datagram.fragment_key()) }.is_none() {
            counters.pass_fragment += 1;
            return false;
        }
    } else {
        // SAFETY: as above.
        let Some(entry) = (unsafe { SOCKETS.get(&datagram.source) }) else {
            counters.pass_no_socket += 1;
            return false;
        };
        if datagram.part == Part::First {
            follow(&datagram, entry.id);
        } else if u32::from(datagram.payload_len) < config.min_msg_len {
            counters.pass_short += 1;
            return false;
        }
    }
    true
}

/// Whether an ICMP error quotes a datagram to a protected socket.
#[inline(always)]
pub fn is_quote<F: Frame>(ctx: &F) -> bool {
    match quoted(ctx) {
        // SAFETY: entries are replaced as a whole; see `steer::listener`.
        Ok(destination) => unsafe { SOCKETS.get(&destination) }.is_some(),
        Err(_) => false,
    }
}

/// Remembers a datagram from a protected socket, so that its later fragments are known.
#[inline(always)]
fn follow(first: &Datagram, socket: u32) {
    // Without room the later ones pass, and what came by the detour is incomplete: counted there
    // when its time is over.
    let _ = FRAGMENTS.insert(&first.fragment_key(), &socket, 0);
}
