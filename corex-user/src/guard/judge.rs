//! The rules, in order: as `corex-ebpf/src/guard/mod.rs` has them.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use corex_common::{
    counters::WorkerCounters,
    guard::{BLOCK, RATES, SIGNATURES, STEALTH, lists::STEALTHY, rates::Outcome},
    ip::{PROTOCOL_TCP, PROTOCOL_UDP},
    road::{METHODS, OTHER},
};
use corex_sip::Transport;

use super::Shared;

/// A message as it came, or a connection: then there is no message yet.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// How it came.
    pub transport: Transport,
    /// The listener's port.
    pub local_port: u16,
    /// The number of the listen socket.
    pub socket: u32,
    /// Its bytes.
    pub message: &'a [u8],
}

impl Subject<'_> {
    /// The number of its transport in IP.
    pub fn proto(&self) -> u8 {
        match self.transport {
            Transport::Udp => PROTOCOL_UDP,
            Transport::Tcp | Transport::Tls | Transport::Sctp => PROTOCOL_TCP,
        }
    }
}

/// What is made of a message. Rules are named by their bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// It is allowed: no other rule was tried.
    pub is_allowed: bool,
    /// The rule that refuses it; `None`: it is let in.
    pub refused: Option<u32>,
    /// The rules that would have, but for their dry run.
    pub would: u32,
    /// It is let in, but above a rate whose messages go to `event_route[guard:limit]`.
    pub is_limited: bool,
}

impl Judgement {
    /// Counts it.
    pub fn count(&self, counters: &mut WorkerCounters) {
        counters.guard_allowed += u64::from(self.is_allowed);
        for (rule, refused, would) in [
            (
                BLOCK,
                &mut counters.drop_guard_block,
                &mut counters.guard_dry_block,
            ),
            (
                STEALTH,
                &mut counters.drop_guard_stealth,
                &mut counters.guard_dry_stealth,
            ),
            (
                SIGNATURES,
                &mut counters.drop_guard_signature,
                &mut counters.guard_dry_signature,
            ),
            (
                RATES,
                &mut counters.drop_guard_rate,
                &mut counters.guard_dry_rate,
            ),
        ] {
            *refused += u64::from(self.refused == Some(rule));
            *would += u64::from(self.would & rule != 0);
        }
    }

    /// Notes what a rule says. Whether that settles it.
    fn is_refused_by(&mut self, rule: u32, dry_run: u32) -> bool {
        if dry_run & rule != 0 {
            self.would |= rule;
            return false;
        }
        self.refused = Some(rule);
        true
    }
}

impl Shared {
    /// Judges a message at a time, in nanoseconds of CLOCK_MONOTONIC.
    pub(super) fn judge(&self, subject: &Subject<'_>, now: u64) -> Judgement {
        let dry_run = self.policy.dry_run.load(Ordering::Relaxed);
        let mut judgement = self.judge_source(subject, now);
        if judgement.is_allowed || judgement.refused.is_some() {
            return judgement;
        }
        if self.is_refused_for_what_it_says(subject, false, dry_run, &mut judgement) {
            return judgement;
        }
        match self.weigh(subject, now) {
            Outcome::Pass => {}
            Outcome::Route if dry_run & RATES == 0 => judgement.is_limited = true,
            Outcome::Route | Outcome::Drop => {
                judgement.is_refused_by(RATES, dry_run);
            }
        }
        judgement
    }

    /// Judges who sends it, by the lists.
    pub(super) fn judge_source(&self, subject: &Subject<'_>, now: u64) -> Judgement {
        let mut judgement = Judgement::default();
        let dry_run = self.policy.dry_run.load(Ordering::Relaxed);
        let meet = |list: &super::List| {
            list.meet(subject.source, subject.proto(), subject.local_port, now)
        };
        if meet(&self.allow).is_some() {
            judgement.is_allowed = true;
            return judgement;
        }
        if let Some((_, listed)) = meet(&self.block) {
            let rule = if listed.action == STEALTHY {
                STEALTH
            } else {
                BLOCK
            };
            judgement.is_refused_by(rule, dry_run);
        }
        judgement
    }

    /// Judges what a message says that has been decoded.
    pub(super) fn judge_decoded(&self, subject: &Subject<'_>, now: u64) -> Judgement {
        let mut judgement = Judgement::default();
        let allowed = self
            .allow
            .find(subject.source, subject.proto(), subject.local_port, now);
        if allowed.is_none() {
            let dry_run = self.policy.dry_run.load(Ordering::Relaxed);
            self.is_refused_for_what_it_says(subject, true, dry_run, &mut judgement);
        }
        judgement
    }

    /// The rules between those for sources and those for rates. Whether one settles it.
    fn is_refused_for_what_it_says(
        &self,
        subject: &Subject<'_>,
        is_decoded: bool,
        dry_run: u32,
        judgement: &mut Judgement,
    ) -> bool {
        let stealthy = self.policy.stealth_methods.load(Ordering::Relaxed);
        let is_stealthy =
            stealthy != 0 && kind(subject.message).is_some_and(|kind| stealthy >> kind & 1 != 0);
        is_stealthy && judgement.is_refused_by(STEALTH, dry_run)
            || self.has_signature(subject, is_decoded)
                && judgement.is_refused_by(SIGNATURES, dry_run)
    }
}

/// The kind of a request by its method, as [`METHODS`] has them, from 1, or [`OTHER`]; `None` for what
/// doesn't begin as one. What has fewer than 16 bytes is none.
pub fn kind(message: &[u8]) -> Option<usize> {
    let head = message.first_chunk::<16>()?;
    if let Some(at) = METHODS.iter().position(|method| head.starts_with(method)) {
        return Some(at + 1);
    }
    let end = head.iter().position(|byte| !byte.is_ascii_uppercase())?;
    (end > 0 && head.get(end) == Some(&b' ')).then_some(OTHER)
}
