//! When something was done to the network on purpose, so that what is lost can be held against it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long after a link has come back something may still be lost: until the neighbour has been
/// asked for again, which the kernel does once a second (arp(7), retrans_time).
const SETTLES: Duration = Duration::from_secs(3);

/// The times when links were down, and when corex was being replaced.
#[derive(Debug, Default)]
pub struct Timeline {
    windows: Mutex<Vec<Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    from: Instant,
    /// `None`: it isn't over.
    until: Option<Instant>,
}

impl Timeline {
    fn windows(&self) -> MutexGuard<'_, Vec<Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that may cost messages; what is lost meanwhile, and until things have settled,
    /// is explained.
    pub fn disturb<T>(&self, action: impl FnOnce() -> T) -> T {
        let from = Instant::now();
        let at = {
            let mut windows = self.windows();
            windows.push(Window { from, until: None });
            windows.len() - 1
        };
        let outcome = action();
        if let Some(window) = self.windows().get_mut(at) {
            window.until = Some(Instant::now() + SETTLES);
        }
        outcome
    }

    /// Whether something was being disturbed at any moment from the one to the other.
    pub fn explains(&self, from: Instant, to: Instant) -> bool {
        let windows = self.windows();
        let overlaps =
            |window: &Window| window.from <= to && window.until.is_none_or(|until| from <= until);
        windows.iter().rev().any(overlaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_a_disturbance_or_comes_soon_after_is_explained_by_it() {
        let timeline = Timeline::default();
        let before = Instant::now();
        assert!(!timeline.explains(before, before + Duration::from_secs(100)));
        let meanwhile = timeline.disturb(|| {
            let now = Instant::now();
            assert!(timeline.explains(now, now));
            now
        });
        let second = Duration::from_secs(1);
        assert!(timeline.explains(before, meanwhile));
        assert!(timeline.explains(meanwhile + second, meanwhile + 2 * second));
        let later = Instant::now() + SETTLES + second;
        assert!(!timeline.explains(later, later + second));
        if let Some(earlier) = before.checked_sub(second) {
            assert!(!timeline.explains(earlier, before - Duration::from_nanos(1)));
        }
    }
}
