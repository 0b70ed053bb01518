//! What happens to corex meanwhile: links that flap, configurations, remote control.

mod control;
mod links;
mod reloads;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;

use super::{
    load::{Context, Threads},
    timeline::Timeline,
};
use crate::random::Random;

/// One of them, which goes on until it is over.
type Kind = fn(&Disturber, Random) -> Result<()>;

/// What all that disturb share.
#[derive(Debug)]
pub struct Disturber {
    /// The run.
    pub context: Arc<Context>,
    /// When corex was being replaced: what was asked then may stay without an answer.
    pub take_overs: Timeline,
    /// Written by who replaces corex.
    stays: RwLock<()>,
    variants: AtomicU64,
    done: Mutex<BTreeMap<&'static str, u64>>,
}

impl Disturber {
    /// For a run.
    pub fn new(context: &Arc<Context>) -> Arc<Disturber> {
        Arc::new(Disturber {
            context: Arc::clone(context),
            take_overs: Timeline::default(),
            stays: RwLock::new(()),
            variants: AtomicU64::new(1),
            done: Mutex::default(),
        })
    }

    /// As long as this is held, corex isn't replaced: with a link that is down, or by one that reads a
    /// bad configuration, it couldn't be.
    fn while_it_stays(&self) -> RwLockReadGuard<'_, ()> {
        self.stays.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// As long as this is held, links stay up, and the configuration is a good one.
    pub fn calm(&self) -> RwLockWriteGuard<'_, ()> {
        self.stays.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_variant(&self) -> u64 {
        self.variants.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts something that is done: for the how manieth time.
    pub fn did(&self, what: &'static str) -> u64 {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let count = done.entry(what).or_default();
        *count += 1;
        *count
    }

    /// What was done, and how often.
    pub fn done(&self) -> BTreeMap<String, u64> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = done.iter();
        counts
            .map(|(what, count)| ((*what).to_owned(), *count))
            .collect()
    }

    /// Does each thing once, one after the other: so that what is made when it is first needed is
    /// there, and counts as being there from the beginning.
    ///
    /// # Errors
    /// What can't be done.
    pub fn once_each(&self, random: &mut Random) -> Result<()> {
        links::once(self, random)?;
        for is_bad in [false, true] {
            reloads::once(self, is_bad, random)?;
        }
        for _ in 0..20 {
            control::once(self, random);
        }
        Ok(())
    }

    /// Starts all of it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(self: &Arc<Self>, threads: &mut Threads, random: &mut Random) -> Result<()> {
        let kinds: [(&str, Kind); 3] = [
            ("links", links::run),
            ("reloads", reloads::run),
            ("remote control", control::run),
        ];
        for (name, run) in kinds {
            let (shared, own) = (Arc::clone(self), Random::new(random.next()));
            threads.start(name, move || run(&shared, own))?;
        }
        Ok(())
    }
}
