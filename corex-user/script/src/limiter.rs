//! A limit on how often one kind of event is logged.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a burst through, then one event a second, and tells how many it held back.
#[derive(Debug)]
pub struct Limiter {
    tokens: u32,
    refilled: Instant,
    held_back: u64,
}

const BURST: u32 = 5;
const REFILL: Duration = Duration::from_secs(1);

impl Default for Limiter {
    fn default() -> Self {
        Self {
            tokens: BURST,
            refilled: Instant::now(),
            held_back: 0,
        }
    }
}

impl Limiter {
    /// `Some(held back since the last one)` if the event may be logged now.
    pub fn allow(&mut self) -> Option<u64> {
        if self.tokens < BURST {
            let now = Instant::now();
            let seconds = now.duration_since(self.refilled).as_secs();
            if seconds > 0 {
                self.tokens = self.tokens.saturating_add(seconds as u32).min(BURST);
                self.refilled += REFILL * seconds as u32;
            }
        } else {
            self.refilled = Instant::now();
        }
        if self.tokens == 0 {
            self.held_back += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

/// A limiter that several threads share.
#[derive(Debug, Default)]
pub struct SharedLimiter(Mutex<Limiter>);

impl SharedLimiter {
    /// As [`Limiter::allow`].
    pub fn allow(&self) -> Option<u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .allow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_is_counted() {
        let mut limiter = Limiter::default();
        let passed = (0..100).filter(|_| limiter.allow().is_some()).count();
        assert_eq!(passed, BURST as usize);
        limiter.refilled -= REFILL;
        assert_eq!(limiter.allow(), Some(100 - u64::from(BURST)));
    }
}
