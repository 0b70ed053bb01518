//! Who sends too much: buckets for what the programs in the kernel don't see, by their arithmetic
//! (`corex_common::guard::rates`). A source has one bucket there and another one here.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use corex_common::{
    counters::RateCounters,
    guard::{
        Network, RATES,
        rates::{
            ALL_RATES, BECOMES_BLOCKED, BLOCKED, Group, LISTENER, Listener, MAX_GROUPS, MAX_RATES,
            MAX_SOURCES, Outcome, Rates, Rule, Source, SourceKey, charge_all, judge, offend,
        },
    },
    maps::{FAMILY_V4, FAMILY_V6, MAX_SOCKETS},
};
use corex_script::settings::{GuardSettings, RateScope};
use lru::LruCache;

use super::{Shared, Subject, signatures::kind, standing::Standing};

/// Parts of the buckets, each under a lock of its own.
const PARTS: usize = 16;

/// The buckets of sources and listeners.
pub struct Buckets {
    rates: ArcSwap<Rates>,
    sources: [Mutex<LruCache<SourceKey, Source, RandomState>>; PARTS],
    listeners: Mutex<Vec<Listener>>,
    over: [AtomicU64; MAX_RATES],
    blocked: [AtomicU64; MAX_RATES],
    hashes: RandomState,
}

/// What is made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The network that is to be blocked now, and for how many seconds.
    pub block: Option<(Network, u32)>,
}

impl Weighed {
    const PASS: Weighed = Weighed {
        outcome: Outcome::Pass,
        block: None,
    };
}

impl Default for Buckets {
    fn default() -> Self {
        const SOURCES: NonZeroUsize = match NonZeroUsize::new(MAX_SOURCES as usize / PARTS) {
            Some(sources) => sources,
            None => NonZeroUsize::MIN,
        };
        let part = |_| {
            // Memory as it is needed, not for all of them at once.
            let mut part = LruCache::unbounded_with_hasher(RandomState::new());
            part.resize(SOURCES);
            Mutex::new(part)
        };
        Self {
            rates: ArcSwap::default(),
            sources: std::array::from_fn(part),
            listeners: Mutex::default(),
            over: Default::default(),
            blocked: Default::default(),
            hashes: RandomState::new(),
        }
    }
}

impl Buckets {
    /// Goes by other rules from now on.
    pub fn follow(&self, rates: Rates) {
        self.rates.store(std::sync::Arc::new(rates));
    }

    /// The rules.
    pub fn rates(&self) -> Rates {
        **self.rates.load()
    }

    /// Takes a message of a kind from its buckets; `socket` is the listener's number.
    pub fn weigh(&self, source: IpAddr, socket: u32, kind: u32, now: u64) -> Weighed {
        let rates = self.rates.load();
        let mut judgement = 0;
        let mut block = None;
        for group in 0..MAX_GROUPS as u32 {
            let rules = rates.of(group, kind);
            if rules == 0 {
                continue;
            }
            let Some(prefixes) = rates.groups.get(group as usize) else {
                continue;
            };
            let (key, family) = key(source, group, prefixes);
            let found = self.judge(key, &rates, rules, now);
            if found & BLOCKED != 0 {
                return Weighed {
                    outcome: Outcome::Drop,
                    block: None,
                };
            }
            if found & BECOMES_BLOCKED != 0 {
                self.count(&self.blocked, found);
                if rates.block_dry_run == 0 {
                    let len = prefixes.bits(family) as u8;
                    let seconds = (rates.block_for / NANOSECONDS) as u32;
                    block = Network::new(source, len).map(|network| (network, seconds));
                }
            }
            judgement |= found;
        }
        let rules = rates.of(LISTENER, kind);
        if rules != 0 && socket < MAX_SOCKETS {
            let mut listeners = self
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let at = socket as usize;
            if listeners.len() <= at {
                listeners.resize(at + 1, Listener::default());
            }
            if let Some(listener) = listeners.get_mut(at) {
                charge_all(&mut listener.full_at, &rates, rules, now, &mut judgement);
            }
        }
        if judgement == 0 {
            return Weighed::PASS;
        }
        self.count(&self.over, judgement);
        Weighed {
            outcome: rates.outcome(judgement, kind),
            block,
        }
    }

    /// Notes an offence that isn't one against a rate. The network that is to be blocked for it, and
    /// for how many seconds.
    pub fn offence(&self, source: IpAddr, now: u64) -> Option<(Network, u32)> {
        let rates = self.rates.load();
        let (key, family) = key(source, APART, &SINGLE);
        let mut part = self.part(&key);
        let noted = part.get_or_insert_mut(key, Source::default);
        let is_enough = offend(noted, &rates, now);
        noted.blocked_until = 0;
        if !is_enough || rates.block_dry_run != 0 {
            return None;
        }
        let seconds = (rates.block_for / NANOSECONDS) as u32;
        let network = Network::new(source, SINGLE.bits(family) as u8)?;
        Some((network, seconds))
    }

    fn part(&self, key: &SourceKey) -> MutexGuard<'_, LruCache<SourceKey, Source, RandomState>> {
        let part = self.hashes.hash_one(key) as usize % PARTS;
        self.sources[part]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, key: SourceKey, rates: &Rates, rules: u32, now: u64) -> u32 {
        let mut part = self.part(&key);
        let mut judgement = 0;
        let source = part.get_or_insert_mut(key, Source::default);
        judge(source, rates, rules, now, &mut judgement);
        if judgement & BECOMES_BLOCKED != 0 {
            // The list has it from now on, so that it can be taken off.
            source.blocked_until = 0;
        }
        judgement
    }

    fn count(&self, counters: &[AtomicU64; MAX_RATES], judgement: u32) {
        for (rule, counter) in counters.iter().enumerate() {
            if judgement & ALL_RATES & 1 << rule != 0 {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The buckets of sources that aren't full, or that have offended: at most so many.
    pub fn in_use(&self, most: usize, now: u64) -> Vec<(SourceKey, Source)> {
        let mut all = Vec::new();
        for part in &self.sources {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            let used = part.iter().filter(|(_, source)| {
                source.offences > 0 || source.full_at.iter().any(|at| *at > now)
            });
            all.extend(used.map(|(key, source)| (*key, *source)));
        }
        // Those first that it takes longest to fill.
        all.sort_unstable_by_key(|(_, source)| {
            std::cmp::Reverse(source.full_at.iter().max().copied().unwrap_or(0))
        });
        all.truncate(most);
        all
    }

    /// Goes on with such buckets.
    pub fn take(&self, buckets: impl IntoIterator<Item = (SourceKey, Source)>) {
        for (key, source) in buckets {
            self.part(&key).put(key, source);
        }
    }

    /// What a rule did here.
    pub fn counters(&self, rule: usize) -> RateCounters {
        let value = |counters: &[AtomicU64; MAX_RATES]| {
            let counter = counters.get(rule);
            counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
        };
        RateCounters {
            over: value(&self.over),
            blocked: value(&self.blocked),
        }
    }

    /// How a source stands here, and these listen sockets.
    pub fn standing(&self, source: IpAddr, sockets: &[u32]) -> Standing {
        let rates = self.rates.load();
        let mut standing = Standing::default();
        let groups = standing.sources.iter_mut().zip(&rates.groups).zip(0..);
        for ((its, prefixes), group) in groups {
            let (key, _) = key(source, group, prefixes);
            let part = self.part(&key);
            *its = part.peek(&key).copied().unwrap_or_default();
        }
        let listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let listener = |socket: &u32| listeners.get(*socket as usize).copied();
        standing.listeners = sockets
            .iter()
            .map(|socket| listener(socket).unwrap_or_default())
            .collect();
        standing
    }
}

/// How sources are told apart for offences that aren't against a rate.
const SINGLE: Group = Group {
    prefix_v4: 32,
    prefix_v6: 64,
};
/// The group that they are in.
const APART: u32 = u16::MAX as u32;
const NANOSECONDS: u64 = 1_000_000_000;

/// Whose buckets a source has in a group, and its family.
pub(super) fn key(source: IpAddr, group: u32, prefixes: &Group) -> (SourceKey, u8) {
    let (addr, family) = match source.to_canonical() {
        IpAddr::V4(ip) => {
            let mut addr = [0; 16];
            addr[..4].copy_from_slice(&ip.octets());
            (addr, FAMILY_V4)
        }
        IpAddr::V6(ip) => (ip.octets(), FAMILY_V6),
    };
    (SourceKey::new(addr, family, group, prefixes), family)
}

impl Shared {
    /// Takes a message from its buckets, and blocks its source if that was once too often.
    pub(super) fn weigh(&self, subject: &Subject<'_>, now: u64) -> Outcome {
        let weighed =
            self.buckets
                .weigh(subject.source, subject.socket, kind(subject.message), now);
        if let Some((network, seconds)) = weighed.block {
            self.block_offender(
                network,
                now.saturating_add(u64::from(seconds) * NANOSECONDS),
            );
        }
        weighed.outcome
    }

    /// What rates say of a message of this source to one of these listen sockets, and whether it is above
    /// one: by its standing with the programs, where these judge it.
    pub(super) fn explain_rate(
        &self,
        subject: &Subject<'_>,
        sockets: &[u32],
        in_programs: Option<&Standing>,
        now: u64,
    ) -> (String, bool) {
        let until = in_programs.map_or(0, Standing::blocked_until);
        if until > now {
            let seconds = (until - now) / NANOSECONDS;
            let text = format!("blocked for offences, for {seconds} s more; the list will have it");
            return (text, true);
        }
        let rates = self.buckets.rates();
        let kind = kind(subject.message);
        let here = self.buckets.standing(subject.source, sockets);
        let here = here.left(&rates, now);
        let there = in_programs.map(|standing| standing.left(&rates, now));
        let names = self.rate_names.load();
        let scopes = rates.of_scope.iter().fold(0, |all, bits| all | bits);
        let of_kind = scopes & rates.of_kind[kind as usize];
        let (mut over, mut texts) = (0, Vec::new());
        for (rule, (name, here)) in names.iter().zip(here).enumerate() {
            let Some(here) = here.filter(|_| of_kind & 1 << rule != 0) else {
                continue;
            };
            let there = there.and_then(|there| there.get(rule).copied().flatten());
            over |= u32::from(there.unwrap_or(here) == 0) << rule;
            texts.push(match there {
                Some(there) => {
                    format!("{name}: {there} more at once by XDP, {here} by other roads")
                }
                None => format!("{name}: {here} more at once"),
            });
        }
        let text = match (names.is_empty(), texts.is_empty()) {
            (true, _) => "none are set".to_owned(),
            (_, true) => "none is for it".to_owned(),
            _ => texts.join("; "),
        };
        (text, rates.outcome(over, kind) != Outcome::Pass)
    }
}

/// The rules of a configuration, as programs and workers go by them.
pub fn rules(settings: &GuardSettings) -> Rates {
    let mut rates = Rates::default();
    let mut groups: Vec<Group> = Vec::new();
    for (i, rule) in settings.rates.iter().take(MAX_RATES).enumerate() {
        let scope = match rule.scope {
            RateScope::Listener => LISTENER,
            RateScope::Source {
                prefix_v4,
                prefix_v6,
            } => {
                let group = Group {
                    prefix_v4: prefix_v4.into(),
                    prefix_v6: prefix_v6.into(),
                };
                let at = groups.iter().position(|known| *known == group);
                let at = at.unwrap_or_else(|| {
                    groups.push(group);
                    groups.len() - 1
                });
                if at >= MAX_GROUPS {
                    // The configuration was refused for it.
                    continue;
                }
                rates.groups[at] = group;
                at as u32
            }
        };
        let period = u64::try_from(rule.period.as_nanos()).unwrap_or(u64::MAX);
        rates.rules[i] = Rule::new(rule.count, period, rule.burst);
        rates.of_scope[scope as usize] |= 1 << i;
        for (kind, bits) in rates.of_kind.iter_mut().enumerate() {
            if rule.methods & 1 << kind != 0 {
                *bits |= 1 << i;
            }
        }
        rates.to_route |= u32::from(rule.is_to_route) << i;
        rates.dry_run |= u32::from(rule.is_dry) << i;
    }
    if let Some(block) = &settings.rate_block {
        rates.block_after = block.offences;
        rates.block_dry_run = u32::from(block.is_dry || settings.dry_run & RATES != 0);
        rates.block_within = block.within.as_secs().saturating_mul(NANOSECONDS);
        rates.block_for = block.time.as_secs().saturating_mul(NANOSECONDS);
    }
    rates
}

#[cfg(test)]
mod tests;
