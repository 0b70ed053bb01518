//! What looks into a message, and at its source's past: signatures and rates.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use corex_common::{
    counters::KernelCounters,
    guard::{
        BLOCK, ENTRY_PROGRAM, GUARD_PROGRAM, RATES, SIGNATURES,
        rates::{OPAQUE, kind_of},
        signatures::SHORTEST,
    },
};

use super::{
    holds,
    rates::{self, Verdict},
    signatures,
};
use crate::{
    desk::{Desk, LET_IN, LIMITED, NOTHING},
    maps::{GUARD_PROGRAMS, counters, guard_desk, socket_counters},
    packet::bytes,
};

/// What becomes of a packet.
enum Ruling {
    /// It is let in.
    LetIn,
    /// The same, but it is above a rate whose messages go to a route.
    Limited,
    /// It is dropped, and counted.
    Dropped,
}

/// Has the program for signatures and rates go on. Returns only if it isn't there: then all is let in.
#[inline(always)]
pub fn look_into(ctx: &XdpContext) {
    // SAFETY: what this program has at hand isn't used any more if the other one runs.
    unsafe { GUARD_PROGRAMS.tail_call(ctx, GUARD_PROGRAM) };
}

/// Judges a packet that the first rules have nothing against, and has it begin anew if it is let in.
#[xdp]
pub fn corex_guard(ctx: XdpContext) -> u32 {
    let (Some(desk), Some(counters)) = (guard_desk(), counters()) else {
        return xdp_action::XDP_PASS;
    };
    desk.stage.found = match judge(&ctx, desk, counters) {
        Ruling::LetIn => LET_IN,
        Ruling::Limited => LIMITED,
        Ruling::Dropped => {
            if let Some(socket) = socket_counters(desk.stage.socket) {
                socket.drop_guard += 1;
            }
            return xdp_action::XDP_DROP;
        }
    };
    // SAFETY: as in `look_into`.
    unsafe { GUARD_PROGRAMS.tail_call(&ctx, ENTRY_PROGRAM) };
    // There is none any more, since corex has ended.
    desk.stage.found = NOTHING;
    counters.pass_no_xsk += 1;
    xdp_action::XDP_PASS
}

#[inline(always)]
fn judge(ctx: &XdpContext, desk: &mut Desk, counters: &mut KernelCounters) -> Ruling {
    let (rules, dry_run) = (desk.guard.rules, desk.guard.dry_run);
    // Masked, so that the verifier sees the bounds.
    let payload = (desk.payload & MOST_HEADERS) as usize;
    let len = (desk.stage.len & 0xffff) as usize;
    let kind = match bytes::<_, SHORTEST>(ctx, payload) {
        Ok(head) if len >= SHORTEST => kind_of(head),
        _ => OPAQUE,
    };
    if rules & SIGNATURES != 0
        && signatures::matches(ctx, payload, len, kind)
        && holds(dry_run, counters, SIGNATURES)
    {
        return Ruling::Dropped;
    }
    if rules & RATES == 0 {
        return Ruling::LetIn;
    }
    let (rule, ruling) = match rates::weigh(desk, kind) {
        Verdict::Pass => return Ruling::LetIn,
        Verdict::Route => {
            if dry_run & RATES != 0 {
                counters.guard_dry_rate += 1;
                return Ruling::LetIn;
            }
            return Ruling::Limited;
        }
        Verdict::Drop => (RATES, Ruling::Dropped),
        Verdict::Blocked => (BLOCK, Ruling::Dropped),
    };
    if holds(dry_run, counters, rule) {
        ruling
    } else {
        Ruling::LetIn
    }
}

/// Headers in front of a datagram's payload are shorter.
const MOST_HEADERS: u32 = 0x1ff;
