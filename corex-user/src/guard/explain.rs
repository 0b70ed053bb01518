//! What would become of a message, and why.

use corex_common::guard::{
    ALLOW, BLOCK, Listed, Network, RATES, SIGNATURES, STEALTH, lists::STEALTHY,
};
use corex_sip::Transport;
use std::sync::atomic::Ordering;

use super::{
    Guard, Shared, Subject,
    judge::kind,
    kept::{origin_name, text},
    standing::Standing,
};
use crate::kernel::guard::now;

/// What a rule says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule, by its bit.
    pub rule: u32,
    /// Whether it fits.
    pub fits: bool,
    /// Whether it only counts.
    pub is_dry: bool,
    /// Why, in words.
    pub why: String,
}

/// What would become of a message: the rules in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// All of them, also those behind the one that settles it.
    pub findings: Vec<Finding>,
}

impl Explanation {
    /// The finding that settles it; `None`: no rule fits, and the message is let in.
    pub fn settled_by(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.fits && !finding.is_dry)
    }

    /// Whether it is let in.
    pub fn is_let_in(&self) -> bool {
        self.settled_by()
            .is_none_or(|finding| finding.rule == ALLOW)
    }
}

impl Guard {
    /// What would become of a message that comes to one of these listen sockets, without counting it.
    /// `None`: there is no guard.
    pub async fn explain(&self, subject: &Subject<'_>, sockets: &[u32]) -> Option<Explanation> {
        let shared = self.active()?;
        let in_programs = match subject.transport {
            Transport::Udp => shared.standing_in_programs(subject.source, sockets).await,
            _ => None,
        };
        Some(shared.explain(subject, sockets, in_programs.as_ref(), now()))
    }
}

impl Shared {
    fn explain(
        &self,
        subject: &Subject<'_>,
        sockets: &[u32],
        in_programs: Option<&Standing>,
        now: u64,
    ) -> Explanation {
        let dry_run = self.policy.dry_run.load(Ordering::Relaxed);
        let find = |list: &super::List| {
            list.find(subject.source, subject.proto(), subject.local_port, now)
        };
        let allowed = find(&self.allow);
        let blocked = find(&self.block);
        let is_stealthy = |listed: &Listed| listed.action == STEALTHY;
        let blocks = blocked.filter(|(_, listed)| !is_stealthy(listed));
        let hides = blocked.filter(|(_, listed)| is_stealthy(listed));
        let stealthy = self.policy.stealth_methods.load(Ordering::Relaxed);
        let method = kind(subject.message).filter(|kind| stealthy >> kind & 1 != 0);
        let described = |found: Option<(Network, Listed)>| match found {
            Some((network, listed)) => describe(&network, &listed, now),
            None => "no entry".to_owned(),
        };
        let (signature, signature_fits) = self.explain_signature(subject);
        let (rate, rate_fits) = self.explain_rate(subject, sockets, in_programs, now);
        let stealth = match (&hides, method) {
            (None, Some(_)) => "the method gets no answer".to_owned(),
            _ => described(hides),
        };
        let findings = [
            (ALLOW, allowed.is_some(), described(allowed)),
            (BLOCK, blocks.is_some(), described(blocks)),
            (STEALTH, hides.is_some() || method.is_some(), stealth),
            (SIGNATURES, signature_fits, signature),
            (RATES, rate_fits, rate),
        ];
        let finding = |(rule, fits, why)| Finding {
            rule,
            fits,
            is_dry: dry_run & rule != 0,
            why,
        };
        Explanation {
            findings: findings.into_iter().map(finding).collect(),
        }
    }
}

/// An entry in words.
fn describe(network: &Network, listed: &Listed, now: u64) -> String {
    let seconds = |nanoseconds: u64| nanoseconds / 1_000_000_000;
    let left = match listed.expires {
        0 => "for ever".to_owned(),
        expires => format!("for {} s more", seconds(expires.saturating_sub(now))),
    };
    let seen = match listed.last_seen {
        0 => "never found".to_owned(),
        seen => format!(
            "found {} times, last {} s ago",
            listed.hits,
            seconds(now.saturating_sub(seen))
        ),
    };
    format!(
        "{} by {}, {left}, {seen}",
        text(network),
        origin_name(listed.origin)
    )
}

#[cfg(test)]
#[path = "tests/explain.rs"]
mod tests;
