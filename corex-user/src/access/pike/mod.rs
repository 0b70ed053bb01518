//! The module pike: which addresses send more than they may. A tree of their bytes grows where much comes
//! from, so one that sends now and then costs no memory of its own.

mod tree;

#[cfg(test)]
mod tests;

pub use tree::{Leaf, Level};

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use corex_script::settings;
use tree::{Branch, Clock};

/// The most nodes of all trees: below 64 MiB.
pub const MAX_NODES: usize = 1 << 19;
/// Nodes that a step of sweeping looks at.
const STEP: usize = 1024;
/// Branches of a family: one for each first byte.
const BRANCHES: usize = 256;

/// What is said of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is one of few.
    Passes,
    /// Its sender has sent too many for a while.
    Blocked,
    /// Its sender has just become one that has.
    NewlyBlocked,
}

/// What all workers ask. A worker holds the lock of a branch for one look-up.
#[derive(Debug)]
pub struct Pike {
    /// What the configuration says.
    pub settings: settings::Pike,
    state: ArcSwap<State>,
}

/// What outlives a reload.
#[derive(Debug)]
struct State {
    v4: Vec<Mutex<Branch>>,
    v6: Vec<Mutex<Branch>>,
    nodes: AtomicUsize,
    blocked: AtomicU64,
    refused: AtomicU64,
    began: Instant,
}

impl State {
    fn branches(&self) -> impl Iterator<Item = &Mutex<Branch>> {
        self.v4.iter().chain(&self.v6)
    }

    fn count_nodes(&self, before: usize, after: usize) {
        if after >= before {
            self.nodes.fetch_add(after - before, Relaxed);
        } else {
            self.nodes.fetch_sub(before - after, Relaxed);
        }
    }
}

impl Pike {
    /// One that has seen nothing yet.
    pub fn new(settings: &settings::Pike) -> Pike {
        let branches = || (0..BRANCHES).map(|_| Mutex::default()).collect();
        Pike {
            settings: settings.clone(),
            state: ArcSwap::from_pointee(State {
                v4: branches(),
                v6: branches(),
                nodes: AtomicUsize::new(0),
                blocked: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                began: Instant::now(),
            }),
        }
    }

    /// Goes on with what another one has seen, unless it counts in other times.
    pub fn inherit(&self, old: &Pike) {
        if self.settings.unit == old.settings.unit {
            self.state.store(old.state.load_full());
        }
    }

    fn clock(&self, state: &State, now: Instant) -> Clock {
        let seconds = now.saturating_duration_since(state.began).as_secs();
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        Clock {
            now: seconds,
            window: seconds / self.settings.unit.max(1),
            latency: self.settings.latency,
            density: self.settings.density,
        }
    }

    /// Counts a request that came from an address.
    pub fn check(&self, ip: IpAddr, now: Instant) -> Verdict {
        let (bytes, len) = bytes(ip);
        let bytes = bytes.get(..len).unwrap_or_default();
        let first = bytes.first().copied().unwrap_or(0);
        let state = self.state.load();
        let branches = match ip {
            IpAddr::V4(_) => &state.v4,
            IpAddr::V6(_) => &state.v6,
        };
        let Some(branch) = branches.get(usize::from(first)) else {
            return Verdict::Passes;
        };
        let mut branch = lock(branch);
        let before = branch.len();
        let may_grow = state.nodes.load(Relaxed) < MAX_NODES;
        let marked = branch.mark(bytes, self.clock(&state, now), may_grow);
        state.count_nodes(before, branch.len());
        drop(branch);
        match marked {
            Some(verdict) => {
                if verdict == Verdict::NewlyBlocked {
                    state.blocked.fetch_add(1, Relaxed);
                }
                verdict
            }
            // As in Kamailio without memory: nobody is blocked that may be innocent.
            None => {
                state.refused.fetch_add(1, Relaxed);
                Verdict::Passes
            }
        }
    }

    /// How many branches [`Self::sweep`] knows.
    pub fn parts(&self) -> usize {
        2 * BRANCHES
    }

    /// Forgets what is over in a part of all, in a bounded step.
    pub fn sweep(&self, part: usize, now: Instant) {
        let state = self.state.load();
        let Some(branch) = state.branches().nth(part) else {
            return;
        };
        let mut branch = lock(branch);
        let before = branch.len();
        branch.sweep(self.clock(&state, now), STEP);
        state.count_nodes(before, branch.len());
    }

    /// Addresses of this level, at most so many.
    pub fn leaves(&self, level: Option<Level>, most: usize, now: Instant) -> Vec<(IpAddr, Leaf)> {
        let state = self.state.load();
        let clock = self.clock(&state, now);
        let mut all = Vec::new();
        for branch in state.branches() {
            let branch = lock(branch);
            branch.leaves(clock, &mut |bytes, leaf| {
                let fits = level.is_none_or(|level| leaf.level == level);
                if let Some(ip) = address(bytes)
                    && fits
                    && all.len() < most
                {
                    all.push((ip, leaf));
                }
            });
        }
        all
    }

    /// How often an address was newly blocked.
    pub fn blocked(&self) -> u64 {
        self.state.load().blocked.load(Relaxed)
    }

    /// Requests that found no room in the trees.
    pub fn refused(&self) -> u64 {
        self.state.load().refused.load(Relaxed)
    }

    /// Nodes that there are.
    pub fn nodes(&self) -> usize {
        self.state.load().nodes.load(Relaxed)
    }
}

fn lock(branch: &Mutex<Branch>) -> MutexGuard<'_, Branch> {
    branch.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bytes(ip: IpAddr) -> ([u8; 16], usize) {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => {
            for (byte, own) in bytes.iter_mut().zip(ip.octets()) {
                *byte = own;
            }
            (bytes, 4)
        }
        IpAddr::V6(ip) => (ip.octets(), 16),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
