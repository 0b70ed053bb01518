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
mod signatures;

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;
use corex_common::{
    counters::{RateCounters, WorkerCounters},
    guard::{
        Listed, MAX_LISTED, Network, RATES,
        lists::{BLOCKED, BY_CONFIG, BY_OFFENCES, BY_SCRIPT, STEALTHY},
        signatures::Automaton,
    },
};
use corex_script::{
    guard::{GuardError, Offence},
    limiter::SharedLimiter,
    settings::GuardSettings,
};
use corex_sip::Transport;

use crate::kernel::{
    cpu_counters::CpuCounters,
    guard::{GuardMaps, Left, now},
    root_files,
};

pub use self::{
    explain::{Explanation, Finding},
    judge::{Judgement, Subject},
    keeper::StartError,
    kept::{Clocks, Kept, line as kept_line, origin_name, text},
    list::List,
    listings::{Listings, Unusable},
};

/// One of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Which {
    /// Who is allowed.
    Allow,
    /// Who is blocked, or gets no answer.
    Block,
}

/// The guard. Cloning shares it. The default one lets all in.
#[derive(Clone, Default)]
pub struct Guard(Option<Arc<Shared>>);

/// What the configuration says of the rules.
#[derive(Default)]
struct Policy {
    /// Rules that only count.
    dry_run: AtomicU32,
    /// Methods that get no answer, by bit.
    stealth_methods: AtomicU32,
}

/// What all share who know the guard.
struct Shared {
    allow: List,
    block: List,
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
    walks: [AtomicU32; 2],
    refusals: SharedLimiter,
    /// What has changed since a successor has had all, if one has.
    journal: Mutex<Option<HashSet<(Which, Network)>>>,
}

#[derive(Default)]
struct Work {
    /// Entries that have changed.
    changed: HashSet<(Which, Network)>,
    /// What the rules go by has changed.
    is_record_changed: bool,
}

impl Shared {
    fn list(&self, which: Which) -> &List {
        match which {
            Which::Allow => &self.allow,
            Which::Block => &self.block,
        }
    }

    fn walk(&self, which: Which) -> &AtomicU32 {
        let [allow, block] = &self.walks;
        match which {
            Which::Allow => allow,
            Which::Block => block,
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
    /// A guard for a configuration that wants one; with `maps` the programs in the kernel judge, too.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        settings: &GuardSettings,
        listings: &Listings,
        maps: Option<GuardMaps>,
    ) -> Result<Self, StartError> {
        if !settings.is_wanted() {
            return Ok(Self::default());
        }
        let shared = Arc::new(Shared {
            allow: List::default(),
            block: List::default(),
            policy: Policy::default(),
            buckets: rates::Buckets::default(),
            rate_names: ArcSwap::default(),
            program_counts: maps.as_ref().map(|maps| Arc::clone(&maps.rates.counters)),
            automaton: ArcSwap::from(Arc::from(automaton::empty())),
            work: Mutex::default(),
            has_work: Condvar::new(),
            walks: [AtomicU32::new(1), AtomicU32::new(1)],
            refusals: SharedLimiter::default(),
            journal: Mutex::default(),
        });
        let guard = Self(Some(Arc::clone(&shared)));
        guard.follow(settings, listings);
        guard.restore(&listings.kept);
        keeper::start(&shared, maps)?;
        Ok(guard)
    }

    /// Puts entries in that were kept, but for those whose time is over. The configuration's entries
    /// stay as they are. Returns how many there was no room for.
    pub fn restore(&self, kept: &[Kept]) -> usize {
        let Some(shared) = &self.0 else { return 0 };
        let clocks = Clocks::now();
        let mut refused = 0;
        for entry in kept {
            let listed = entry.listed(&clocks);
            let list = shared.list(entry.which);
            let is_config = |listed: Listed| listed.origin == BY_CONFIG;
            if !listed.is_alive(clocks.monotonic) || list.get(&entry.network).is_some_and(is_config)
            {
                continue;
            }
            let walk = shared.walk(entry.which).load(Ordering::Relaxed);
            match list.put(entry.network, listed, walk) {
                Ok(()) => shared.has_changed(entry.which, entry.network),
                Err(_) => refused += 1,
            }
        }
        refused
    }

    /// Takes over entries of an instance that has ended, but for those of its configuration.
    pub fn adopt(&self, left: &[Left]) {
        let clocks = Clocks::now();
        let kept: Vec<Kept> = left
            .iter()
            .filter(|left| left.listed.origin != BY_CONFIG)
            .map(|left| {
                let which = if left.is_allowed {
                    Which::Allow
                } else {
                    Which::Block
                };
                Kept::of(which, left.network, &left.listed, &clocks)
            })
            .collect();
        self.restore(&kept);
    }

    /// Notes from now on which entries change.
    pub fn note_changes(&self) {
        if let Some(shared) = &self.0 {
            let mut journal = shared
                .journal
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *journal = Some(HashSet::new());
        }
    }

    /// Entries that have changed since: as they are now, and those that aren't there any more. Those of
    /// the configuration are left out.
    pub fn noted_changes(&self) -> (Vec<Kept>, Vec<Kept>) {
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        let Some(shared) = &self.0 else {
            return (set, removed);
        };
        let mut journal = shared
            .journal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let changed = journal.take().unwrap_or_default();
        drop(journal);
        let clocks = Clocks::now();
        for (which, network) in changed {
            match shared.list(which).get(&network) {
                Some(listed) if listed.origin == BY_CONFIG => {}
                Some(listed) => set.push(Kept::of(which, network, &listed, &clocks)),
                None => {
                    let nothing = Listed::default();
                    removed.push(Kept::of(which, network, &nothing, &clocks));
                }
            }
        }
        (set, removed)
    }

    /// What there is beside the configuration's entries.
    pub fn kept(&self) -> Vec<Kept> {
        let clocks = Clocks::now();
        let of = |which: Which| {
            let entries = self.entries(which).into_iter();
            entries.map(move |(network, listed)| (which, network, listed))
        };
        of(Which::Allow)
            .chain(of(Which::Block))
            .filter(|(_, _, listed)| {
                listed.origin != BY_CONFIG && listed.is_alive(clocks.monotonic)
            })
            .map(|(which, network, listed)| Kept::of(which, network, &listed, &clocks))
            .collect()
    }

    /// Writes what there is beside the configuration's entries to a file, whole or not at all. Returns
    /// how many entries.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, path: &Path) -> io::Result<usize> {
        let kept = self.kept();
        let mut text = kept::HEADER.to_owned();
        for entry in &kept {
            text.push_str(&entry.line());
            text.push('\n');
        }
        root_files::replace(path, text.as_bytes())?;
        Ok(kept.len())
    }

    /// Goes by another configuration: its entries take the places of those of the one before; others
    /// stay.
    pub fn follow(&self, settings: &GuardSettings, listings: &Listings) {
        let Some(shared) = &self.0 else { return };
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
        shared.buckets.follow(rates::rules(settings));
        let names = settings.rates.iter().map(|rule| rule.name.clone());
        shared.rate_names.store(Arc::new(names.collect()));
        let automaton = listings.automaton.clone();
        let automaton = automaton.unwrap_or_else(|| Arc::from(automaton::empty()));
        shared.automaton.store(automaton);
        let mut work = shared.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.is_record_changed = true;
        shared.has_work.notify_one();
    }

    /// What each rate did, by its name, in the programs and here; and whether it only counts.
    pub fn rates(&self) -> Vec<(String, RateCounters, bool)> {
        let Some(shared) = &self.0 else {
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
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether who sent a message is allowed. Nothing is counted.
    pub fn allows(&self, subject: &Subject<'_>) -> bool {
        self.0.as_ref().is_some_and(|shared| {
            let (proto, port) = (subject.proto(), subject.local_port);
            shared
                .allow
                .find(subject.source, proto, port, now())
                .is_some()
        })
    }

    /// What becomes of a message. Counts what was found.
    pub fn judge(&self, subject: &Subject<'_>, counters: &mut WorkerCounters) -> Judgement {
        let Some(shared) = &self.0 else {
            return Judgement::default();
        };
        let judgement = shared.judge(subject, now());
        judgement.count(counters);
        judgement
    }

    /// Whether a message isn't let in that was encoded, by the rules for what messages say. Who sent it
    /// has been let in.
    pub fn refuses_decoded(&self, subject: &Subject<'_>, counters: &mut WorkerCounters) -> bool {
        let Some(shared) = &self.0 else { return false };
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
        let Some(shared) = &self.0 else { return false };
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
        let shared = self.0.as_ref().ok_or(GuardError::Off)?;
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

    /// The entries of who is blocked, or gets no answer, that most packets were found for: at most so many
    /// that any were found for, with the packets.
    pub fn offenders(&self, most: usize) -> Vec<(Network, u64)> {
        let Some(shared) = &self.0 else {
            return Vec::new();
        };
        let mut worst: Vec<(Network, u64)> = Vec::new();
        for part in List::parts() {
            let entries = shared.block.part(part).into_iter();
            let found = entries.map(|(network, listed, _)| (network, listed.hits));
            worst.extend(found.filter(|(_, hits)| *hits > 0));
            worst.sort_unstable_by_key(|(network, hits)| (std::cmp::Reverse(*hits), *network));
            worst.truncate(most);
        }
        worst
    }

    /// The entries of a list, by address.
    pub fn entries(&self, which: Which) -> Vec<(Network, Listed)> {
        let shared = self.0.as_ref();
        shared.map_or_else(Vec::new, |shared| shared.list(which).entries())
    }
}

impl Shared {
    /// Makes these the configuration's entries of a list, with what becomes of them.
    fn list_as(&self, which: Which, listings: &[(&[Network], u32)]) {
        let list = self.list(which);
        let walk = self.walk(which).load(Ordering::Relaxed);
        let mut wanted = HashSet::new();
        for (networks, action) in listings {
            let listed = Listed {
                action: *action,
                origin: BY_CONFIG,
                ..Listed::default()
            };
            for network in *networks {
                wanted.insert(*network);
                let is_same = |found: Listed| {
                    (found.expires, found.action, found.origin) == (0, *action, BY_CONFIG)
                };
                if list.get(network).is_some_and(is_same) {
                    continue;
                }
                if list.put(*network, listed, walk).is_ok() {
                    self.has_changed(which, *network);
                }
            }
        }
        for part in List::parts() {
            for (network, listed, _) in list.part(part) {
                if listed.origin == BY_CONFIG && !wanted.contains(&network) {
                    list.remove(&network);
                    self.has_changed(which, network);
                }
            }
        }
    }

    /// Blocks a network after offences, until a time, unless all of it is allowed.
    fn block_offender(&self, network: Network, expires: u64) {
        if self.is_all_allowed(&network) {
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

impl corex_script::guard::Guard for Guard {
    fn block(
        &self,
        network: Network,
        seconds: Option<u32>,
        reason: &'static str,
    ) -> Result<(), GuardError> {
        self.put(Which::Block, network, seconds, (BY_SCRIPT, BLOCKED))?;
        if let Some(shared) = &self.0
            && let Some(held_back) = shared.refusals.allow()
        {
            tracing::info!(source = %network.addr, len = network.len, held_back, "guard: blocked: {reason}");
        }
        Ok(())
    }

    fn unblock(&self, network: Network) -> bool {
        self.remove(Which::Block, network)
    }

    fn allow(&self, network: Network, seconds: Option<u32>) -> Result<(), GuardError> {
        self.put(Which::Allow, network, seconds, (BY_SCRIPT, BLOCKED))
    }

    fn disallow(&self, network: Network) -> bool {
        self.remove(Which::Allow, network)
    }

    fn is_allowed(&self, addr: IpAddr) -> bool {
        let shared = self.0.as_ref();
        shared.is_some_and(|shared| shared.allow.find(addr, 0, 0, now()).is_some())
    }

    fn is_blocked(&self, addr: IpAddr) -> bool {
        let Some(shared) = &self.0 else { return false };
        let is_blocked = shared.block.find(addr, 0, 0, now()).is_some();
        is_blocked && !self.is_allowed(addr)
    }

    fn offence(&self, addr: IpAddr) -> Offence {
        if self.is_allowed(addr) {
            return Offence::Allowed;
        }
        let Some(shared) = &self.0 else {
            return Offence::Noted;
        };
        let now = now();
        let Some((network, seconds)) = shared.buckets.offence(addr, now) else {
            return Offence::Noted;
        };
        let expires = now.saturating_add(u64::from(seconds).saturating_mul(1_000_000_000));
        shared.block_offender(network, expires);
        Offence::Blocked
    }
}
