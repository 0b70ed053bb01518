//! How an engine of another language backs off after it ran into its bounds: a script that uses
//! up its time on every message must not use up the worker's.

use std::time::{Duration, Instant};

/// How long the engine backs off after the first failure, and at most.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Decides when calls may run. Each failure in a row doubles the pause after it; a success resets
/// it.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// The last pause; zero: nothing has failed since the last success.
    length: Duration,
    /// No call runs before this.
    until: Option<Instant>,
}

impl Backoff {
    /// Whether calls are not to run at `now`.
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes that a call that ended at `now` ran into a bound. Returns how long the engine backs
    /// off.
    pub fn failed(&mut self, now: Instant) -> Duration {
        self.length = (self.length * 2).clamp(SHORTEST, LONGEST);
        self.until = now.checked_add(self.length);
        self.length
    }

    /// Notes that a call ended within its bounds.
    pub fn succeeded(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn calls_run_until_one_fails() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        assert!(!backoff.holds(start));
        backoff.succeeded();
        assert!(!backoff.holds(start));
        backoff.failed(start);
        assert!(backoff.holds(start));
    }

    #[test]
    fn a_pause_ends_by_itself() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        assert_eq!(backoff.failed(start), 100 * MS);
        assert!(backoff.holds(start + 99 * MS));
        assert!(!backoff.holds(start + 100 * MS));
    }

    #[test]
    fn failures_in_a_row_double_the_pause_up_to_five_seconds() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let lengths: Vec<u128> = (0..8)
            .map(|_| {
                let length = backoff.failed(now);
                assert!(backoff.holds(now + length - MS));
                now += length;
                assert!(!backoff.holds(now));
                length.as_millis()
            })
            .collect();
        assert_eq!(lengths, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn a_success_makes_the_next_pause_short_again() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.failed(now);
        backoff.failed(now);
        backoff.succeeded();
        assert!(!backoff.holds(now));
        assert_eq!(backoff.failed(now), 100 * MS);
    }
}
