//! The guard: judges what is for a listener before it is answered, sent on or steered.
//!
//! Rules are looked at in this order: who is allowed ([`lists`]), who is blocked, what gets no
//! answer, what scanners send ([`signatures`]), who sends too much ([`rates`]). The first that says so
//! drops the packet; one on dry run counts, and the next one is looked at. `corex-user/src/guard/`
//! does the same for what these programs don't see.

mod lists;
mod method;
mod rates;
mod signatures;

use core::ptr::read_volatile;

use aya_ebpf::{bindings::xdp_action, helpers::bpf_ktime_get_ns, programs::XdpContext};
use corex_common::{
    counters::{KernelCounters, SocketCounters},
    guard::{ALLOW, BLOCK, RATES, SIGNATURES, STEALTH, lists::STEALTHY},
    ip::UDP_LEN,
    maps::FAMILY_V4,
};

use crate::{
    desk::Desk,
    maps::{GUARD, guard_desk},
    packet::Datagram,
};

/// Set by the loader. What the kernel knows to be 0 it takes out, with all that hangs on it.
#[unsafe(no_mangle)]
static GUARDED: u32 = 0;

/// A packet on its way through the rules.
struct Case<'a> {
    ctx: &'a XdpContext,
    counters: &'a mut KernelCounters,
    desk: &'a mut Desk,
}

/// Whether the programs were loaded with the guard in them.
#[inline(always)]
pub fn is_loaded() -> bool {
    // SAFETY: a constant. Read so that the compiler doesn't take it for the value that stands here.
    unsafe { read_volatile(&raw const GUARDED) != 0 }
}

/// The verdict on a packet that isn't let in, which is counted; `None`: it is let in.
#[inline(always)]
pub fn judge(
    ctx: &XdpContext,
    datagram: &Datagram,
    counters: &mut KernelCounters,
    socket: &mut SocketCounters,
) -> Option<u32> {
    if !is_loaded() || !is_refused(ctx, datagram, counters) {
        return None;
    }
    socket.drop_guard += 1;
    Some(xdp_action::XDP_DROP)
}

/// Whether the packet that was judged last, on this CPU, is from a network that is allowed.
#[inline(always)]
pub fn has_allowed() -> bool {
    is_loaded() && guard_desk().is_some_and(|desk| desk.is_allowed)
}

/// A program of its own, as the verifier sees it: what it finds on the way isn't known to what comes
/// behind, which is so walked once.
#[inline(never)]
fn is_refused(ctx: &XdpContext, datagram: &Datagram, counters: &mut KernelCounters) -> bool {
    let (Some(guard), Some(desk)) = (GUARD.get(0), guard_desk()) else {
        return false;
    };
    desk.is_allowed = false;
    if guard.rules == 0 {
        return false;
    }
    desk.guard = *guard;
    desk.source = datagram.source.addr;
    desk.port = datagram.destination.port.to_be_bytes();
    desk.proto = datagram.destination.proto;
    desk.is_v4 = datagram.source.family == FAMILY_V4;
    desk.payload = u32::from(datagram.l4) + UDP_LEN as u32;
    // SAFETY: no argument, no effect.
    desk.now = unsafe { bpf_ktime_get_ns() };
    rules(&mut Case {
        ctx,
        counters,
        desk,
    })
}

#[inline(always)]
fn rules(case: &mut Case<'_>) -> bool {
    if case.desk.guard.rules & ALLOW != 0 && lists::is_allowed(case) {
        case.counters.guard_allowed += 1;
        case.desk.is_allowed = true;
        return false;
    }
    if case.desk.guard.rules & (BLOCK | STEALTH) != 0
        && let Some(action) = lists::blocked(case)
    {
        let rule = if action == STEALTHY { STEALTH } else { BLOCK };
        if case.desk.guard.rules & rule != 0 && refuses(case, rule) {
            return true;
        }
    }
    if case.desk.guard.rules & STEALTH != 0
        && case.desk.guard.stealth_methods != 0
        && method::is_stealthy(case)
        && refuses(case, STEALTH)
    {
        return true;
    }
    if case.desk.guard.rules & SIGNATURES != 0
        && signatures::matches(case)
        && refuses(case, SIGNATURES)
    {
        return true;
    }
    case.desk.guard.rules & RATES != 0 && rates::is_over(case) && refuses(case, RATES)
}

/// Counts what a rule says of a packet, and tells whether that holds: on dry run it doesn't.
#[inline(always)]
fn refuses(case: &mut Case<'_>, rule: u32) -> bool {
    let is_dry = case.desk.guard.dry_run & rule != 0;
    let counters = &mut *case.counters;
    let counter = match (rule, is_dry) {
        (BLOCK, false) => &mut counters.drop_guard_block,
        (BLOCK, true) => &mut counters.guard_dry_block,
        (STEALTH, false) => &mut counters.drop_guard_stealth,
        (STEALTH, true) => &mut counters.guard_dry_stealth,
        (SIGNATURES, false) => &mut counters.drop_guard_signature,
        (SIGNATURES, true) => &mut counters.guard_dry_signature,
        (_, false) => &mut counters.drop_guard_rate,
        (_, true) => &mut counters.guard_dry_rate,
    };
    *counter += 1;
    !is_dry
}
