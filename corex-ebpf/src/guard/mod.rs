//! The guard: judges what is for a listener before it is answered, sent on or steered.
//!
//! Rules are looked at in this order: who is allowed ([`lists`]), who is blocked, what gets no
//! answer, what scanners send ([`signatures`]), who sends too much ([`rates`]). The first that says so
//! drops the packet; one on dry run counts, and the next one is looked at. `corex-user/src/guard/`
//! does the same for what these programs don't see.
//!
//! The last two are a program of their own ([`deep`]), which has a stack and a million instructions
//! of its own. What it lets in begins anew, in the program that it came from, which is told.

mod deep;
mod lists;
mod method;
mod rates;
mod signatures;

use core::ptr::read_volatile;

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::XdpContext};
use corex_common::{
    counters::{KernelCounters, SocketCounters},
    guard::{ALLOW, BLOCK, RATES, SIGNATURES, STEALTH, lists::STEALTHY},
    ip::UDP_LEN,
    maps::FAMILY_V4,
};

pub use self::{
    deep::look_into,
    lists::{is_trusted_v4, is_trusted_v6},
};
use crate::{
    desk::Desk,
    maps::{GUARD, guard_desk},
    packet::Datagram,
};

/// Set by the loader, which leaves it 0 only where the kernel refuses the programs else. What the kernel
/// knows to be 0 it takes out, with all that hangs on it.
#[unsafe(no_mangle)]
static GUARDED: u32 = 0;

/// A packet on its way through the rules.
struct Case<'a> {
    ctx: &'a XdpContext,
    counters: &'a mut KernelCounters,
    desk: &'a mut Desk,
}

/// Whether there is a guard: the programs were loaded with it in them, and it is switched on.
#[inline(always)]
pub fn is_on() -> bool {
    // SAFETY: a constant. Read so that the compiler doesn't take it for the value that stands here.
    let is_loaded = unsafe { read_volatile(&raw const GUARDED) != 0 };
    is_loaded && GUARD.get(0).is_some_and(|guard| guard.is_on != 0)
}

/// Counts a packet, unless the program for signatures and rates has let it in and has it begin anew.
///
/// Nothing of this is handed on in registers, but looked up where it is needed: the verifier would walk
/// all that comes behind once for each thing that it may be.
#[inline(always)]
pub fn begin(counters: &mut KernelCounters) {
    if is_on()
        && let Some(desk) = guard_desk()
        && desk.stage.begin()
    {
        return;
    }
    counters.seen += 1;
}

/// What becomes of a packet for a listen socket: [`LET_IN`], [`UNSETTLED`], or [`REFUSED`], which is
/// counted.
#[inline(always)]
pub fn ask(
    ctx: &XdpContext,
    datagram: &Datagram,
    id: u32,
    counters: &mut KernelCounters,
    socket: &mut SocketCounters,
) -> u32 {
    if !is_on() || is_settled() {
        return LET_IN;
    }
    let answer = is_refused(ctx, datagram, id, counters);
    if answer == REFUSED {
        socket.drop_guard += 1;
    }
    answer
}

/// Whether the packet that was judged last, on this CPU, is from a network that is allowed.
#[inline(always)]
pub fn has_allowed() -> bool {
    is_on() && guard_desk().is_some_and(|desk| desk.is_allowed)
}

/// Whether the program for signatures and rates has let the packet at hand in.
#[inline(always)]
pub fn is_settled() -> bool {
    guard_desk().is_some_and(|desk| desk.stage.is_settled())
}

/// Whether the packet at hand is above a rate whose messages go to a route.
#[inline(always)]
pub fn is_limited() -> bool {
    is_on() && guard_desk().is_some_and(|desk| desk.stage.is_limited())
}

/// A packet is let in.
pub const LET_IN: u32 = 0;
/// The first rules have nothing against it: the others are [looked into](look_into).
pub const UNSETTLED: u32 = 1;
/// It isn't let in.
const REFUSED: u32 = 2;

/// A program of its own, as the verifier sees it: what it finds on the way isn't known to what comes
/// behind, which is so walked once.
#[inline(never)]
fn is_refused(
    ctx: &XdpContext,
    datagram: &Datagram,
    id: u32,
    counters: &mut KernelCounters,
) -> u32 {
    let (Some(guard), Some(desk)) = (GUARD.get(0), guard_desk()) else {
        return LET_IN;
    };
    desk.is_allowed = false;
    if guard.rules == 0 {
        return LET_IN;
    }
    desk.guard = *guard;
    desk.source = datagram.source.addr;
    desk.port = datagram.destination.port.to_be_bytes();
    desk.proto = datagram.destination.proto;
    desk.is_v4 = datagram.source.family == FAMILY_V4;
    desk.payload = u32::from(datagram.l4) + UDP_LEN as u32;
    desk.stage.is_of(datagram.payload_len.into(), id);
    // SAFETY: no argument, no effect.
    desk.now = unsafe { bpf_ktime_get_ns() };
    rules(&mut Case {
        ctx,
        counters,
        desk,
    })
}

#[inline(always)]
fn rules(case: &mut Case<'_>) -> u32 {
    if case.desk.guard.rules & ALLOW != 0 && lists::is_allowed(case) {
        case.counters.guard_allowed += 1;
        case.desk.is_allowed = true;
        return LET_IN;
    }
    if case.desk.guard.rules & (BLOCK | STEALTH) != 0
        && let Some(action) = lists::blocked(case)
    {
        let rule = if action == STEALTHY { STEALTH } else { BLOCK };
        if case.desk.guard.rules & rule != 0 && fits(case, rule) {
            return REFUSED;
        }
    }
    if case.desk.guard.rules & STEALTH != 0
        && case.desk.guard.stealth_methods != 0
        && method::is_stealthy(case)
        && fits(case, STEALTH)
    {
        return REFUSED;
    }
    if case.desk.guard.rules & (SIGNATURES | RATES) != 0 {
        UNSETTLED
    } else {
        LET_IN
    }
}

/// Counts what a rule says of a packet, and tells whether that holds.
#[inline(always)]
fn fits(case: &mut Case<'_>, rule: u32) -> bool {
    holds(case.desk.guard.dry_run, case.counters, rule)
}

/// The same: on dry run it doesn't hold.
#[inline(always)]
fn holds(dry_run: u32, counters: &mut KernelCounters, rule: u32) -> bool {
    let is_dry = dry_run & rule != 0;
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
