//! The thread that keeps the programs' maps in step with the lists, and the lists with what is done
//! to the maps by others; and takes out what has expired.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use corex_common::guard::{
    ALLOW, BLOCK, Guard as Record, Listed, Network, RATES, SIGNATURES, STEALTH,
    lists::BY_BPFTOOL,
    rates::{KINDS, Rates},
    signatures::Automaton,
};

use super::{List, Shared, Which, Work};
use crate::kernel::{
    guard::{Cursor, GuardMaps, KernelList, now},
    host::harden,
    privileges,
};

/// How often it is looked for what has expired, and for what others did.
const TICK: Duration = Duration::from_secs(1);
/// The same while the guard is off.
const IDLE: Duration = Duration::from_secs(10);
/// Entries that are written in one system call.
const BATCH: usize = 1024;
/// Entries that are written before it is looked for what else has changed: who blocks one doesn't wait
/// for a million that a reload has brought.
const SLICE: usize = 16_384;
/// Entries of the programs' maps, and of the lists, that are looked at in one tick.
const STEP: usize = 32_768;

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There can be no thread.
    #[error("start the guard's thread")]
    Thread(#[source] io::Error),
    /// The programs' lists can't be written.
    #[error("write the guard's lists")]
    Maps(#[source] io::Error),
}

/// Writes what is there by now, and starts the thread.
pub(super) fn start(shared: &Arc<Shared>, maps: Option<GuardMaps>) -> Result<(), StartError> {
    let mut keeper = Keeper {
        maps,
        written: Record::default(),
        cursors: Default::default(),
        part: 0,
        backlog: Vec::new(),
        retry: HashSet::new(),
        rates: Rates::default(),
        automaton: None,
    };
    loop {
        keeper.flush(shared).map_err(StartError::Maps)?;
        if keeper.backlog.is_empty() {
            break;
        }
    }
    let weak = Arc::downgrade(shared);
    privileges::spawn_settled(
        "corex-guard",
        || harden("the guard's thread"),
        move || keeper.run(&weak),
    )
    .map_err(StartError::Thread)?;
    Ok(())
}

struct Keeper {
    maps: Option<GuardMaps>,
    /// What the programs go by.
    written: Record,
    /// Where the walks through the programs' lists are.
    cursors: [Cursor; 2],
    /// The part of the lists that is looked at next.
    part: usize,
    /// What is still to be written.
    backlog: Vec<(Which, Network)>,
    /// What couldn't be.
    retry: HashSet<(Which, Network)>,
    /// The rates that the programs go by.
    rates: Rates,
    /// What they look for signatures with.
    automaton: Option<Arc<Automaton>>,
}

impl Keeper {
    fn run(mut self, shared: &Weak<Shared>) {
        let mut ticked = Instant::now();
        // Held only while there is something to do: it ends with the last guard.
        while let Some(shared) = shared.upgrade() {
            let tick = if shared.is_on() { TICK } else { IDLE };
            if self.backlog.is_empty() {
                wait(&shared, tick.saturating_sub(ticked.elapsed()));
            }
            if let Err(error) = self.flush(&shared)
                && let Some(held_back) = shared.refusals.allow()
            {
                tracing::error!(
                    held_back,
                    "guard: the programs' lists can't be written: {error}"
                );
            }
            if ticked.elapsed() >= tick {
                ticked = Instant::now();
                self.tick(&shared);
            }
        }
    }

    /// Writes what has changed, of much a slice.
    fn flush(&mut self, shared: &Shared) -> io::Result<()> {
        let work = take_work(shared);
        let mut slice: Vec<(Which, Network)> = Vec::new();
        if work.changed.len() > SLICE {
            self.backlog.extend(work.changed);
        } else {
            slice.extend(work.changed);
        }
        let rest = self.backlog.len().saturating_sub(SLICE);
        slice.extend(self.backlog.drain(rest..));
        let Some(maps) = &mut self.maps else {
            return Ok(());
        };
        for asked in work.asked {
            asked.answer(&maps.rates);
        }
        let rates = shared.buckets.rates();
        if self.rates != rates {
            maps.rates.write_rates(&rates).map_err(io::Error::other)?;
            self.rates = rates;
        }
        let automaton = shared.automaton.load_full();
        if self
            .automaton
            .as_ref()
            .is_none_or(|old| !Arc::ptr_eq(old, &automaton))
        {
            maps.rates
                .write_automaton(&automaton)
                .map_err(io::Error::other)?;
            self.automaton = Some(automaton);
        }
        let maps = &*maps;
        let wanted = record(shared);
        if self.written.is_on != wanted.is_on {
            maps.switch(wanted.is_on != 0);
            self.written = Record {
                is_on: wanted.is_on,
                ..Record::default()
            };
        }
        if self.written != wanted {
            // Until all is written, what was there and what will be is looked for.
            let both = Record {
                allow_v4: wanted.allow_v4 | self.written.allow_v4,
                allow_v6: wanted.allow_v6 | self.written.allow_v6,
                block_v4: wanted.block_v4 | self.written.block_v4,
                block_v6: wanted.block_v6 | self.written.block_v6,
                rules: wanted.rules | self.written.rules,
                ..wanted
            };
            maps.record.write(&both);
        }
        let lists = [
            (Which::Allow, &shared.allow, &maps.allow),
            (Which::Block, &shared.block, &maps.block),
            (Which::Trust, &shared.trust, &maps.trust),
        ];
        let mut outcome = Ok(());
        for (which, list, kernel) in lists {
            let changed = slice.iter().filter(|(of, _)| *of == which);
            let changed: Vec<Network> = changed.map(|(_, network)| *network).collect();
            let mut failed = Vec::new();
            for chunk in changed.chunks(BATCH) {
                if write(list, kernel, chunk).is_err() {
                    failed.extend_from_slice(chunk);
                }
            }
            // A full trie takes them once others have gone from it.
            for chunk in failed.chunks(BATCH) {
                let written = write(list, kernel, chunk);
                if written.is_err() {
                    self.retry
                        .extend(chunk.iter().map(|network| (which, *network)));
                }
                let is_full = |error: &io::Error| error.raw_os_error() == Some(libc::ENOSPC);
                let is_to_go = !self.backlog.is_empty();
                if !(is_to_go && written.as_ref().is_err_and(is_full)) {
                    outcome = outcome.and(written);
                }
            }
        }
        if self.written != wanted {
            maps.record.write(&wanted);
            self.written = wanted;
        }
        outcome
    }

    /// Looks at some of all.
    fn tick(&mut self, shared: &Shared) {
        self.expire(shared);
        // What isn't written yet is neither what others put in nor what they took out.
        if !self.backlog.is_empty() || !self.retry.is_empty() {
            self.backlog.extend(self.retry.drain());
            return;
        }
        self.settle(shared);
        let Some(maps) = &self.maps else { return };
        let lists = [(Which::Allow, &maps.allow), (Which::Block, &maps.block)];
        for (cursor, (which, kernel)) in self.cursors.iter_mut().zip(lists) {
            match kernel.read(cursor, STEP) {
                Ok((found, is_more)) => {
                    take_in(shared, which, &found);
                    if !is_more {
                        end_walk(shared, which);
                    }
                }
                Err(error) => {
                    if let Some(held_back) = shared.refusals.allow() {
                        tracing::error!(
                            held_back,
                            "guard: the programs' lists can't be read: {error}"
                        );
                    }
                }
            }
        }
    }

    /// Puts networks on the list that the programs have blocked.
    fn settle(&mut self, shared: &Shared) {
        let Some(maps) = &self.maps else { return };
        let blocked = maps.rates.blocked();
        for entry in &blocked {
            shared.block_offender(entry.network, entry.until);
        }
        if blocked.is_empty() {
            return;
        }
        // Until the programs have them on their list their own note blocks them.
        if self.flush(shared).is_err() || !self.backlog.is_empty() {
            return;
        }
        let Some(maps) = &mut self.maps else { return };
        for entry in &blocked {
            maps.rates.settle(entry);
        }
    }

    /// Takes out what has expired, of as many parts of the lists as a tick looks at.
    fn expire(&mut self, shared: &Shared) {
        let now = now();
        let mut looked_at = 0;
        for _ in List::parts() {
            let part = self.part;
            self.part = (part + 1) % List::parts().end;
            for which in [Which::Allow, Which::Block] {
                let list = shared.list(which);
                let entries = list.part(part);
                looked_at += entries.len();
                for (network, listed, _) in entries {
                    let is_over = |listed: &Listed| !listed.is_alive(now);
                    if is_over(&listed) && list.remove_if(&network, is_over).is_some() {
                        shared.has_changed(which, network);
                    }
                }
            }
            if looked_at >= STEP {
                return;
            }
        }
    }
}

/// Takes in what the programs counted, and entries that others put into their maps.
fn take_in(shared: &Shared, which: Which, found: &[(Network, Listed)]) {
    let walk = shared.walk(which).load(Ordering::Relaxed);
    let list = shared.list(which);
    for (network, listed) in found {
        // What has been taken out isn't taken for new.
        if list.note(network, listed, walk) || shared.is_pending(which, network) {
            continue;
        }
        let listed = Listed {
            hits: 0,
            last_seen: 0,
            origin: BY_BPFTOOL,
            ..*listed
        };
        if list.put(*network, listed, walk).is_ok() {
            shared.has_changed(which, *network);
        }
    }
}

/// Takes out what others took out of the programs' maps: what two walks in a row haven't found.
fn end_walk(shared: &Shared, which: Which) {
    let walk = shared.walk(which).fetch_add(1, Ordering::Relaxed);
    let list = shared.list(which);
    for part in List::parts() {
        for (network, _, found) in list.part(part) {
            if found.saturating_add(1) < walk && !shared.is_pending(which, &network) {
                list.remove(&network);
            }
        }
    }
}

/// Writes entries, or takes those out of the programs' list that aren't in ours.
fn write(list: &List, kernel: &KernelList, chunk: &[Network]) -> io::Result<()> {
    let mut put = Vec::with_capacity(chunk.len());
    for network in chunk {
        match list.get(network) {
            Some(listed) => put.push((
                *network,
                Listed {
                    hits: 0,
                    last_seen: 0,
                    ..listed
                },
            )),
            None => kernel.remove(network)?,
        }
    }
    kernel.put(&put)
}

/// What the programs are to go by.
fn record(shared: &Shared) -> Record {
    if !shared.is_on() {
        return Record::default();
    }
    let stealth_methods = shared.policy.stealth_methods.load(Ordering::Relaxed);
    let mut rules = 0;
    if shared.automaton.load().active != 0 {
        rules |= SIGNATURES;
    }
    if shared.buckets.rates().of_kind != [0; KINDS] {
        rules |= RATES;
    }
    if !shared.allow.is_empty() {
        rules |= ALLOW;
    }
    if !shared.block.is_empty() {
        rules |= BLOCK | STEALTH;
    }
    if stealth_methods != 0 {
        rules |= STEALTH;
    }
    Record {
        rules,
        dry_run: shared.policy.dry_run.load(Ordering::Relaxed),
        allow_v4: shared.allow.shapes(true),
        allow_v6: shared.allow.shapes(false),
        block_v4: shared.block.shapes(true),
        block_v6: shared.block.shapes(false),
        stealth_methods,
        is_on: 1,
    }
}

fn take_work(shared: &Shared) -> Work {
    let mut work = shared.work.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *work)
}

/// Sleeps until there is something to do, or that long.
fn wait(shared: &Shared, within: Duration) {
    let work = shared.work.lock().unwrap_or_else(PoisonError::into_inner);
    let has_none = |work: &mut Work| {
        work.changed.is_empty() && !work.is_record_changed && work.asked.is_empty()
    };
    // Whether it slept all the time doesn't matter.
    drop(shared.has_work.wait_timeout_while(work, within, has_none));
}
