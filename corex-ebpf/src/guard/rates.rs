//! Rates of sources and listeners (`corex_common::guard::rates`).
//!
//! Buckets are looked up first, then worked at under a lock, so that all CPUs together let through
//! what one would. Linux 5.10 has neither an atomic compare-and-swap for programs nor spin locks in
//! values of an LRU hash: locks are in an array of their own.

use aya_ebpf::helpers::generated::{bpf_spin_lock as lock, bpf_spin_unlock as unlock};
use corex_common::{
    guard::rates::{
        ALL_RATES, BECOMES_BLOCKED, BLOCKED, Judgement, LISTENER, LOCKS, MAX_GROUPS, MAX_RATES,
        Offender, Outcome, Rates, Source, SourceKey, charge_all, judge, lock_of,
    },
    maps::{FAMILY_V4, FAMILY_V6, MAX_SOCKETS},
};

use super::lists::is_trusted;
use crate::{
    desk::Desk,
    maps::{
        GUARD_LISTENERS, GUARD_LOCKS, GUARD_OFFENDERS, GUARD_RATES, GUARD_SOURCES, rate_counters,
    },
};

/// A judgement in memory that the lock guards: the verifier knows nothing of what is read from it.
struct InMemory(*mut u32);

impl Judgement for InMemory {
    #[inline(always)]
    fn add(&mut self, bits: u32) {
        // SAFETY: a field of a map's value, which whoever has the lock may write.
        unsafe { self.0.write_volatile(self.0.read_volatile() | bits) };
    }

    #[inline(always)]
    fn bits(&self) -> u32 {
        // SAFETY: as above.
        unsafe { self.0.read_volatile() }
    }
}

/// What a message's rates say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Pass,
    /// It is above a rate whose messages go to a route.
    Route,
    /// It is above a rate.
    Drop,
    /// Its source is blocked.
    Blocked,
}

/// Judges a message of a [kind](corex_common::guard::rates::kind_of).
#[inline(always)]
pub fn weigh(desk: &mut Desk, kind: u32) -> Verdict {
    let Some(rates) = GUARD_RATES.get(0) else {
        return Verdict::Pass;
    };
    let mut judgement = 0;
    for group in 0..MAX_GROUPS as u32 {
        let rules = rates.of(group, kind);
        if rules != 0 {
            judgement |= of_source(desk, rates, group, rules);
        }
    }
    let rules = rates.of(LISTENER, kind);
    if rules != 0 {
        judgement |= of_listener(desk.stage.socket, rates, rules, desk.now);
    }
    // Whom it shares buckets with may have had too many offences.
    if judgement & BLOCKED != 0 && !is_trusted(desk) {
        return Verdict::Blocked;
    }
    judgement &= ALL_RATES;
    if judgement == 0 {
        return Verdict::Pass;
    }
    count(judgement);
    match rates.outcome(judgement, kind) {
        Outcome::Pass => Verdict::Pass,
        Outcome::Route => Verdict::Route,
        Outcome::Drop => Verdict::Drop,
    }
}

/// The judgement by the buckets of a source in one group. Where the map has no room for new ones, it
/// is as if the source had sent nothing yet.
#[inline(always)]
fn of_source(desk: &mut Desk, rates: &Rates, group: u32, rules: u32) -> u32 {
    let family = if desk.is_v4 { FAMILY_V4 } else { FAMILY_V6 };
    let prefixes = &rates.groups[group as usize & (MAX_GROUPS - 1)];
    let key = SourceKey::new(desk.source, family, group, prefixes);
    let mut found = GUARD_SOURCES.get_ptr_mut(&key);
    if found.is_none() {
        const BPF_NOEXIST: u64 = 1;
        // Another CPU may have been faster: then its entry stays.
        let _ = GUARD_SOURCES.insert(&key, Source::default(), BPF_NOEXIST);
        found = GUARD_SOURCES.get_ptr_mut(&key);
    }
    let (Some(buckets), Some(its_lock)) = (found, GUARD_LOCKS.get_ptr_mut(lock_of(&key))) else {
        return 0;
    };
    // SAFETY: the lock is a field of the map's value, and nobody on this CPU has it; what it guards
    // is touched by nobody else. An entry that the kernel gives to another source in this very
    // moment costs that one a message.
    let judgement = unsafe {
        lock(&raw mut (*its_lock).inner);
        let mut judgement = InMemory(&raw mut (*buckets).judgement);
        judgement.0.write_volatile(0);
        judge(&mut *buckets, rates, rules, desk.now, &mut judgement);
        let judgement = judgement.bits();
        unlock(&raw mut (*its_lock).inner);
        judgement
    };
    if judgement & BECOMES_BLOCKED != 0 {
        if is_trusted(desk) {
            // SAFETY: a single aligned integer of a map's value.
            unsafe { (&raw mut (*buckets).blocked_until).write_volatile(0) };
        } else {
            tell(&key, rates, prefixes.bits(family), judgement, desk.now);
        }
    }
    judgement
}

/// Counts a network that is blocked now, and leaves word of it for user space.
#[inline(always)]
fn tell(key: &SourceKey, rates: &Rates, prefix: u32, judgement: u32, now: u64) {
    for rule in 0..MAX_RATES as u32 {
        if judgement & 1 << rule != 0
            && let Some(counters) = rate_counters(rule)
        {
            counters.blocked += 1;
        }
    }
    if rates.block_dry_run != 0 {
        return;
    }
    let offender = Offender {
        until: now + rates.block_for,
        prefix,
        offences: rates.block_after,
    };
    // Where it is full, the block stands for as long as the source's buckets do.
    let _ = GUARD_OFFENDERS.insert(key, offender, 0);
}

/// The judgement by the buckets of a listener.
#[inline(always)]
fn of_listener(socket: u32, rates: &Rates, rules: u32, now: u64) -> u32 {
    let (Some(listener), Some(its_lock)) = (
        GUARD_LISTENERS.get_ptr_mut(socket),
        GUARD_LOCKS.get_ptr_mut(socket & (LOCKS - 1)),
    ) else {
        return 0;
    };
    // SAFETY: as in `of_source`.
    unsafe {
        lock(&raw mut (*its_lock).inner);
        let mut judgement = InMemory(&raw mut (*listener).judgement);
        judgement.0.write_volatile(0);
        charge_all(&mut (*listener).full_at, rates, rules, now, &mut judgement);
        let judgement = judgement.bits();
        unlock(&raw mut (*its_lock).inner);
        judgement
    }
}

/// Counts a message for each rule that it is above.
#[inline(always)]
fn count(judgement: u32) {
    for rule in 0..MAX_RATES as u32 {
        if judgement & 1 << rule != 0
            && let Some(counters) = rate_counters(rule)
        {
            counters.over += 1;
        }
    }
}

const _: () = assert!(MAX_SOCKETS <= LOCKS && MAX_GROUPS.is_power_of_two());
