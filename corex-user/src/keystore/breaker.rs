//! Whether a server is asked at all: one that fails is left alone for a while, longer each time, so
//! that nobody waits for it in vain.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// Nobody asks before.
    until: Option<Instant>,
    /// Somebody asks whether it is back.
    is_probing: bool,
}

/// A circuit breaker.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

/// The leave to ask once. Dropped without a word, as where who asks is cancelled, it counts as a
/// failure.
#[derive(Debug)]
pub struct Leave<'a> {
    breaker: &'a Breaker,
    is_answered: bool,
}

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to ask; `None`: not now.
    pub fn leave(&self, now: Instant) -> Option<Leave<'_>> {
        let mut state = self.state();
        match state.until {
            Some(until) if now < until || state.is_probing => return None,
            Some(_) => state.is_probing = true,
            None => {}
        }
        Some(Leave {
            breaker: self,
            is_answered: false,
        })
    }

    /// Whether the server is left alone.
    pub fn is_open(&self) -> bool {
        self.state().until.is_some()
    }

    fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.is_probing = false;
        // Those that were asked together fail together: that counts once.
        if state.until.is_some_and(|until| now < until) {
            return;
        }
        let pause = FIRST
            .saturating_mul(1 << state.failures.min(16))
            .min(LONGEST);
        state.failures = state.failures.saturating_add(1);
        state.until = Some(now + pause);
    }
}

impl Leave<'_> {
    /// It has answered. Returns whether it had failed before.
    pub fn answered(mut self) -> bool {
        self.is_answered = true;
        let mut state = self.breaker.state();
        let was_open = state.until.is_some();
        *state = State::default();
        was_open
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.breaker.failed(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_is_left_alone_longer_each_time_and_asked_by_one_then() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            breaker.failed(now);
            let until = breaker.state().until.unwrap();
            pauses.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 4000, 4000]);
        assert!(breaker.leave(now - Duration::from_millis(1)).is_none());
        let probe = breaker.leave(now).unwrap();
        assert!(breaker.leave(now).is_none(), "one asks, not all");
        assert!(probe.answered());
        assert!(!breaker.is_open());
        assert!(!breaker.leave(now).unwrap().answered());
    }

    #[test]
    fn who_doesn_t_say_what_came_of_it_has_failed() {
        let breaker = Breaker::default();
        let now = Instant::now();
        drop(breaker.leave(now));
        assert!(breaker.is_open());
        let later = Instant::now() + LONGEST;
        drop(breaker.leave(later));
        assert!(breaker.leave(later).is_some() || breaker.is_open());
    }

    #[test]
    fn those_who_fail_together_count_once() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..20 {
            breaker.failed(now);
        }
        assert_eq!(breaker.state().until, Some(now + FIRST));
    }
}
