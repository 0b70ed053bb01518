//! The guard: who is let in. The lists are owned here; the programs in the kernel have copies, and
//! judge what comes to NICs. What they don't see is judged here, by the same rules in the same order:
//! what the stack brought to a kernel socket, and streams.

pub mod automaton;
mod explain;
mod judge;
mod keeper;
pub mod kept;
mod list;
mod listings;
pub mod rates;
mod script;
mod signatures;
mod standing;
mod succession;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use corex_common::{
    counters::{RateCounters, WorkerCounters},
    guard::{
        Listed, MAX_LISTED, Network, RATES,
        lists::{BLOCKED, BY_CONFIG, BY_OFFENCES, STEALTHY},
        signatures::Automaton,
    },
};
use corex_script::{guard::GuardError, limiter::SharedLimiter, settings::GuardSettings};
use corex_sip::Transport;

use crate::kernel::{
    cpu_counters::CpuCounters,
    guard::{GuardMaps, now},
};

pub use self::{
    explain::{Explanation, Finding},
    judge::{Judgement, Subject},
    keeper::StartError,
    kept::{Clocks, Kept, line as kept_line, origin_name, text},
    list::List,
    listings::{Listings, Unusable},
};

/// How many of those that are blocked are told of as the worst: in metrics each is a time series.
pub const OFFENDERS: usize = 10;

/// One of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Which {
    /// Who is allowed.
    Allow,
    /// Who is blocked, or gets no answer.
    Block,
    /// Who is trusted, by the files of permissions: isn't blocked after offences, and is a known peer under
    /// load. There is such a list without a guard, too.
    Trust,
}

/// The guard, which a reload switches on and off. Cloning shares it. The default one lets all in.
#[derive(Clone, Default)]
pub struct Guard(Option<Arc<Shared>>);

/// What the configuration says of the rules.
#[derive(Default)]
struct Policy {
    /// Whether anything is judged at all.
    is_on: AtomicBool,
    /// Rules that only count.
    dry_run: AtomicU32,
    /// Methods that get no answer, by bit.
    stealth_methods: AtomicU32,
    /// What is no SIP when it has been decoded is dropped.
    drops_malformed: AtomicBool,
}

/// What all share who know the guard.
struct Shared {
    allow: List,
    block: List,
    trust: List,
    policy: Policy,
    /// Rates of what no program judges, and what they are called.
    buckets: rates::Buckets,
    rate_names: ArcSwap<Vec<String>>,
    /// What rates did in the programs.
    program_counts: Option<Arc<CpuCounters<RateCounters>>>,
    automaton: ArcSwap<Automaton>,
    /// What the thread that keeps the programs' maps in step has to do.
    work: Mutex<Work>,
    has_work: Condvar,
    /// The numbers of the walks through the programs' lists that are under way.
    walks: [AtomicU32; 3],
    refusals: SharedLimiter,
    worst: Mutex<Worst>,
    /// What has changed since a successor has had all, if one has.
    journal: Mutex<Option<HashSet<(Which, Network)>>>,
}

/// Who sent most of those that are blocked, with the packets, and when that was looked for.
#[derive(Default)]
struct Worst {
    at: Option<Instant>,
    networks: Vec<(Network, u64)>,
}

#[derive(Default)]
struct Work {
    /// Entries that have changed.
    changed: HashSet<(Which, Network)>,
    /// What the rules go by has changed.
    is_record_changed: bool,
    /// What somebody wants to know of the programs.
    asked: Vec<standing::Asked>,
}

impl Shared {
    fn list(&self, which: Which) -> &List {
        match which {
            Which::Allow => &self.allow,
            Which::Block => &self.block,
            Which::Trust => &self.trust,
        }
    }

    fn is_on(&self) -> bool {
        self.policy.is_on.load(Ordering::Relaxed)
    }

    fn walk(&self, which: Which) -> &AtomicU32 {
        let [allow, block, trust] = &self.walks;
        match which {
            Which::Allow => allow,
            Which::Block => block,
            Which::Trust => trust,
        }
    }

    /// Whether the thread has yet to look at an entry.
    fn is_pending(&self, which: Which, network: &Network) -> bool {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.changed.contains(&(which, *network))
    }

    /// Has the thread look at an entry.
    fn has_changed(&self, which: Which, network: Network) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.changed.insert((which, network));
        self.has_work.notify_one();
        drop(work);
        // The configuration's alone.
        if which == Which::Trust {
            return;
        }
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        // A successor that asked and never came must not have it grow for ever.
        if let Some(journal) = journal.as_mut()
            && journal.len() < MAX_LISTED as usize
        {
            journal.insert((which, network));
        }
    }
}

impl Guard {
    /// The guard of a configuration, which may want none: then it is off. With `maps` the programs in the
    /// kernel judge, too.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        settings: &GuardSettings,
        listings: &Listings,
        maps: Option<GuardMaps>,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            allow: List::default(),
            block: List::default(),
            trust: List::default(),
            policy: Policy::default(),
            buckets: rates::Buckets::default(),
            rate_names: ArcSwap::default(),
            program_counts: maps.as_ref().map(|maps| Arc::clone(&maps.rates.counters)),
            automaton: ArcSwap::from(Arc::from(automaton::empty())),
            work: Mutex::default(),
            has_work: Condvar::new(),
            walks: [const { AtomicU32::new(1) }; 3],
            refusals: SharedLimiter::default(),
            worst: Mutex::default(),
            journal: Mutex::default(),
        });
        let guard = Self(Some(Arc::clone(&shared)));
        guard.follow(settings, listings);
        keeper::start(&shared, maps)?;
        Ok(guard)
    }

    /// Goes by another configuration: its entries take the places of those of the one before; others
    /// stay, also while there is no guard.
    pub fn follow(&self, settings: &GuardSettings, listings: &Listings) {
        let Some(shared) = &self.0 else { return };
        let is_on = settings.is_wanted();
        if !is_on {
            shared.policy.is_on.store(false, Ordering::Relaxed);
        }
        shared.list_as(Which::Trust, &[(&listings.trust, BLOCKED)]);
        shared.list_as(Which::Allow, &[(&listings.allow, BLOCKED)]);
        shared.list_as(
            Which::Block,
            &[(&listings.stealth, STEALTHY), (&listings.block, BLOCKED)],
        );
        let policy = &shared.policy;
        policy.dry_run.store(settings.dry_run, Ordering::Relaxed);
        policy
            .stealth_methods
            .store(settings.stealth_methods, Ordering::Relaxed);
        policy
            .drops_malformed
            .store(settings.signatures.drops_malformed, Ordering::Relaxed);
        shared.buckets.follow(rates::rules(settings));
        let names = settings.rates.iter().map(|rule| rule.name.clone());
        shared.rate_names.store(Arc::new(names.collect()));
        let automaton = listings.automaton.clone();
        let automaton = automaton.unwrap_or_else(|| Arc::from(automaton::empty()));
        shared.automaton.store(automaton);
        if !policy.is_on.swap(is_on, Ordering::Relaxed) && is_on {
            // What has been there all the time is newer than what was kept.
            let is_new = |kept: &&Kept| shared.list(kept.which).get(&kept.network).is_none();
            let kept: Vec<Kept> = listings.kept.iter().filter(is_new).copied().collect();
            self.restore(&kept);
        }
        let mut work = shared.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.is_record_changed = true;
        shared.has_work.notify_one();
    }

    /// The one that judges; `None`: there is none, or it is switched off.
    fn active(&self) -> Option<&Arc<Shared>> {
        self.0.as_ref().filter(|shared| shared.is_on())
    }

    /// What each rate did, by its name, in the programs and here; and whether it only counts.
    pub fn rates(&self) -> Vec<(String, RateCounters, bool)> {
        let Some(shared) = self.active() else {
            return Vec::new();
        };
        let dry_run = shared.buckets.rates().dry_run;
        let is_all_dry = shared.policy.dry_run.load(Ordering::Relaxed) & RATES != 0;
        let names = shared.rate_names.load();
        let row = |(rule, name): (usize, &String)| {
            let mut counts = shared.buckets.counters(rule);
            if let Some(programs) = &shared.program_counts {
                counts.add(&programs.sum(rule));
            }
            (name.clone(), counts, is_all_dry || dry_run & 1 << rule != 0)
        };
        names.iter().enumerate().map(row).collect()
    }

    /// Whether there is one.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.active().is_some()
    }

    /// How many entries of a family a list has, and how many it may have at most.
    pub fn filled(&self, which: Which, is_v4: bool) -> (usize, usize) {
        let shared = self.active();
        shared.map_or((0, 0), |shared| shared.list(which).filled(is_v4))
    }

    /// Whether a source is trusted; also where there is no guard.
    pub fn trusts(&self, addr: IpAddr) -> bool {
        let shared = self.0.as_ref();
        shared.is_some_and(|shared| shared.trust.find(addr, 0, 0, now()).is_some())
    }

    /// Whether who sent a message is allowed. Nothing is counted.
    pub fn allows(&self, subject: &Subject<'_>) -> bool {
        self.active().is_some_and(|shared| {
            let (proto, port) = (subject.proto(), subject.local_port);
            shared
                .allow
                .find(subject.source, proto, port, now())
                .is_some()
        })
    }

    /// What becomes of a message. Counts what was found.
    pub fn judge(&self, subject: &Subject<'_>, counters: &mut WorkerCounters) -> Judgement {
        let Some(shared) = self.active() else {
            return Judgement::default();
        };
        let judgement = shared.judge(subject, now());
        judgement.count(counters);
        judgement
    }

    /// Whether a message isn't let in that was encoded, by the rules for what messages say. Who sent it
    /// has been let in.
    pub fn refuses_decoded(&self, subject: &Subject<'_>, counters: &mut WorkerCounters) -> bool {
        let Some(shared) = self.active() else {
            return false;
        };
        let judgement = shared.judge_decoded(subject, now());
        judgement.count(counters);
        judgement.refused.is_some()
    }

    /// Whether who opens a connection isn't let in, as far as that is known before it says anything.
    pub fn refuses_connection(&self, source: SocketAddr, local_port: u16) -> bool {
        let subject = Subject {
            source: source.ip(),
            transport: Transport::Tcp,
            local_port,
            socket: 0,
            message: &[],
        };
        let Some(shared) = self.active() else {
            return false;
        };
        shared.judge_source(&subject, now()).refused.is_some()
    }

    /// Puts an entry in, for so many seconds or for ever.
    ///
    /// # Errors
    /// Why it isn't there.
    pub fn put(
        &self,
        which: Which,
        network: Network,
        seconds: Option<u32>,
        (origin, action): (u32, u32),
    ) -> Result<(), GuardError> {
        let shared = self.active().ok_or(GuardError::Off)?;
        if which == Which::Block && shared.is_all_allowed(&network) {
            return Err(GuardError::Allowed);
        }
        let expires = seconds.map_or(0, |seconds| {
            now().saturating_add(u64::from(seconds).saturating_mul(1_000_000_000))
        });
        let listed = Listed {
            expires,
            action,
            origin,
            ..Listed::default()
        };
        let walk = shared.walk(which).load(Ordering::Relaxed);
        let put = shared.list(which).put(network, listed, walk);
        put.map_err(|_| GuardError::Full)?;
        shared.has_changed(which, network);
        Ok(())
    }

    /// Takes exactly this entry out. Whether it was there.
    pub fn remove(&self, which: Which, network: Network) -> bool {
        let Some(shared) = &self.0 else { return false };
        let is_removed = shared.list(which).remove(&network).is_some();
        if is_removed {
            shared.has_changed(which, network);
        }
        is_removed
    }

    /// The entries of who is blocked, or gets no answer, that most packets were found for: at most
    /// [`OFFENDERS`] of those that any were found for, with the packets. As they were a second ago at most,
    /// in a longer list one for each 100,000 entries: it is gone through for that.
    pub fn offenders(&self) -> Vec<(Network, u64)> {
        let Some(shared) = self.active() else {
            return Vec::new();
        };
        let mut known = shared.worst.lock().unwrap_or_else(PoisonError::into_inner);
        let age = Duration::from_secs(1 + (shared.block.len() / 100_000) as u64);
        if known.at.is_none_or(|at| at.elapsed() >= age) {
            known.networks = shared.worst_now();
            known.at = Some(Instant::now());
        }
        known.networks.clone()
    }

    /// The entries of a list, by address.
    pub fn entries(&self, which: Which) -> Vec<(Network, Listed)> {
        let shared = self.active();
        shared.map_or_else(Vec::new, |shared| shared.list(which).entries())
    }
}

impl Shared {
    fn worst_now(&self) -> Vec<(Network, u64)> {
        let mut worst: Vec<(Network, u64)> = Vec::new();
        for part in List::parts() {
            let entries = self.block.part(part).into_iter();
            let found = entries.map(|(network, listed, _)| (network, listed.hits));
            worst.extend(found.filter(|(_, hits)| *hits > 0));
            worst.sort_unstable_by_key(|(network, hits)| (std::cmp::Reverse(*hits), *network));
            worst.truncate(OFFENDERS);
        }
        worst
    }

    /// Makes these the configuration's entries of a list, with what becomes of them.
    fn list_as(&self, which: Which, listings: &[(&[Network], u32)]) {
        let mut wanted = HashMap::new();
        for (networks, action) in listings {
            wanted.extend(networks.iter().map(|network| (*network, *action)));
        }
        // New ones first, so that nobody slips through meanwhile; what there is no room for comes once
        // others have gone.
        let late: Vec<Network> = wanted
            .iter()
            .filter(|(network, action)| !self.list_one(which, network, **action))
            .map(|(network, _)| *network)
            .collect();
        let list = self.list(which);
        for part in List::parts() {
            for (network, listed, _) in list.part(part) {
                if listed.origin == BY_CONFIG && !wanted.contains_key(&network) {
                    list.remove(&network);
                    self.has_changed(which, network);
                }
            }
        }
        let is_left_out = |network: &&Network| {
            let action = wanted.get(network).copied().unwrap_or(BLOCKED);
            !self.list_one(which, network, action)
        };
        let left_out = late.iter().filter(is_left_out).count();
        if left_out > 0 {
            tracing::error!(
                left_out,
                "guard: a list is full: entries of the configuration aren't in it; guard.list shows what is"
            );
        }
    }

    /// Has an entry be the configuration's; false: there is no room for it.
    fn list_one(&self, which: Which, network: &Network, action: u32) -> bool {
        let list = self.list(which);
        let is_same =
            |found: Listed| (found.expires, found.action, found.origin) == (0, action, BY_CONFIG);
        if list.get(network).is_some_and(is_same) {
            return true;
        }
        let listed = Listed {
            action,
            origin: BY_CONFIG,
            ..Listed::default()
        };
        let walk = self.walk(which).load(Ordering::Relaxed);
        let is_put = list.put(*network, listed, walk).is_ok();
        if is_put {
            self.has_changed(which, *network);
        }
        is_put
    }

    /// Blocks a network after offences, until a time, unless all of it is allowed, or somebody in it is
    /// trusted.
    fn block_offender(&self, network: Network, expires: u64) {
        if self.is_all_allowed(&network) || self.trust.touches(&network) {
            return;
        }
        let listed = Listed {
            expires,
            action: BLOCKED,
            origin: BY_OFFENCES,
            ..Listed::default()
        };
        let walk = self.walk(Which::Block).load(Ordering::Relaxed);
        if self.block.put(network, listed, walk).is_err() {
            return;
        }
        self.has_changed(Which::Block, network);
        if let Some(held_back) = self.refusals.allow() {
            tracing::info!(source = %network.addr, len = network.len, held_back, "guard: blocked: above its rates time and again");
        }
    }

    /// Whether all of a network is allowed.
    fn is_all_allowed(&self, network: &Network) -> bool {
        let found = self
            .allow
            .find(network.addr, network.proto, network.port, now());
        found.is_some_and(|(allowed, _)| allowed.len <= network.len)
    }
}
