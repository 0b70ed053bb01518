//! Which enrolments were opened: none is twice.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::body::NONCE_LEN;
use crate::codec::Fault;

/// The most enrolments that are remembered. Beyond that the oldest go, and what is as old is refused
/// as stale.
pub const MAX_ENROLMENTS: usize = 131_072;

#[derive(Default)]
struct Seen {
    /// With their times, in seconds since 1970.
    nonces: HashMap<[u8; NONCE_LEN], u64>,
    /// Those of this time, or before, may have been forgotten.
    forgotten: u64,
}

/// The nonces of enrolments.
pub(super) struct Replays {
    seen: Mutex<Seen>,
    max: usize,
}

static OF_PROCESS: LazyLock<Arc<Replays>> =
    LazyLock::new(|| Arc::new(Replays::with_room(MAX_ENROLMENTS)));

impl Replays {
    /// Those of this process: one configuration knows what the one before it opened.
    pub fn of_process() -> Arc<Replays> {
        Arc::clone(&OF_PROCESS)
    }

    pub fn with_room(max: usize) -> Replays {
        Replays {
            seen: Mutex::default(),
            max,
        }
    }

    /// Takes one in. Those from before `stale` are refused anyway.
    pub fn take(&self, nonce: &[u8; NONCE_LEN], time: u64, stale: u64) -> Result<(), Fault> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.nonces.contains_key(nonce) {
            return Err(Fault::Replayed);
        }
        if seen.nonces.len() >= self.max {
            seen.make_room(self.max, stale);
        }
        if time <= seen.forgotten {
            return Err(Fault::Stale);
        }
        seen.nonces.insert(*nonce, time);
        Ok(())
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.seen.lock().unwrap().nonces.len()
    }
}

impl Seen {
    fn make_room(&mut self, max: usize, stale: u64) {
        // They stay forgotten, also when the clock is set back.
        self.forgotten = self.forgotten.max(stale.saturating_sub(1));
        self.forget();
        if self.nonces.len() < max {
            return;
        }
        // A quarter at a time, so that a flood doesn't look for the oldest each time.
        let mut times: Vec<u64> = self.nonces.values().copied().collect();
        times.sort_unstable();
        if let Some(oldest) = times.get(times.len() / 4) {
            self.forgotten = self.forgotten.max(*oldest);
            self.forget();
        }
    }

    fn forget(&mut self) {
        let forgotten = self.forgotten;
        self.nonces.retain(|_, time| *time > forgotten);
    }
}
