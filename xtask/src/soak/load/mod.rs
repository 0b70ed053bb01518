//! What corex has to do: calls, registrations, pings, connections and junk, all at once.

mod junk;
mod message;
mod pings;
mod sipp;
mod streams;
mod tally;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

pub use self::{
    sipp::{Peers, Played},
    tally::{Counts, Tally},
};
use super::{lab::Lab, timeline::Timeline};
use crate::random::Random;

/// What all threads of a run share.
#[derive(Debug)]
pub struct Context {
    /// The networks.
    pub lab: Arc<Lab>,
    /// What was done to them.
    pub timeline: Arc<Timeline>,
    is_over: AtomicBool,
    tallies: Mutex<BTreeMap<&'static str, Arc<Tally>>>,
    junk: AtomicU64,
}

impl Context {
    /// For threads to come.
    pub fn new(lab: &Arc<Lab>, timeline: &Arc<Timeline>) -> Arc<Context> {
        Arc::new(Context {
            lab: Arc::clone(lab),
            timeline: Arc::clone(timeline),
            is_over: AtomicBool::new(false),
            tallies: Mutex::default(),
            junk: AtomicU64::new(0),
        })
    }

    /// Whether threads are to end.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Tells threads to end.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Waits, but not beyond the end.
    pub fn pause(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(100);
        let until = Instant::now() + time;
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(STEP));
        }
    }

    /// The counts of that name.
    pub fn tally(&self, name: &'static str) -> Arc<Tally> {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tallies.entry(name).or_default())
    }

    /// All counts, by name.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = tallies.iter();
        counts
            .map(|(name, tally)| ((*name).to_owned(), tally.counts()))
            .collect()
    }

    fn count_junk(&self, more: u64) {
        self.junk.fetch_add(more, Ordering::Relaxed);
    }

    /// Pieces of junk sent.
    pub fn junk(&self) -> u64 {
        self.junk.load(Ordering::Relaxed)
    }
}

/// Threads that run until the context ends them.
#[derive(Debug, Default)]
pub struct Threads(Vec<(String, JoinHandle<Result<()>>)>);

impl Threads {
    /// Starts one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        self.0.push((name.to_owned(), thread));
        Ok(())
    }

    /// Checks that none has ended before its time.
    ///
    /// # Errors
    /// One has.
    pub fn check(&self) -> Result<()> {
        match self.0.iter().find(|(_, thread)| thread.is_finished()) {
            Some((name, _)) => Err(anyhow!("{name} ended before its time")),
            None => Ok(()),
        }
    }

    /// Waits for all.
    ///
    /// # Errors
    /// The first that failed.
    pub fn join(self) -> Result<()> {
        let mut outcome = Ok(());
        for (name, thread) in self.0 {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("it panicked")))
                .with_context(|| name);
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// Starts pings, connections and junk.
///
/// # Errors
/// What the kernel says.
pub fn start(context: &Arc<Context>, random: &mut Random) -> Result<Threads> {
    let mut threads = Threads::default();
    let mut own = || Random::new(random.next());
    for ping in pings::ALL {
        let (context, random) = (Arc::clone(context), own());
        threads.start(ping.name, move || pings::run(&context, ping, random))?;
    }
    let (shared, seed) = (Arc::clone(context), own());
    threads.start("connections", move || streams::run(&shared, seed))?;
    let (shared, seed) = (Arc::clone(context), own());
    threads.start("junk", move || junk::run(&shared, seed))?;
    Ok(threads)
}
