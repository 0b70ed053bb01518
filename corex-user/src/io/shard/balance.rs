//! When a worker hands messages over although nobody said so: as one of the queues has far more than
//! its part, its worker is at its end, and another one isn't.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use corex_common::counters::WorkerCounters;

/// Between two looks.
pub const PERIOD: Duration = Duration::from_millis(100);
/// Looks in a row that must say the same: before messages are handed over, and before they aren't.
const BEGIN: u32 = 2;
const END: u32 = 10;
/// Messages in a period below which nobody is at its end: it was held up.
const LEAST: u64 = 64;

/// What a worker did since it began.
#[derive(Debug, Default)]
pub struct Load {
    received: AtomicU64,
    busy_ns: AtomicU64,
}

/// The same, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Messages that it received, without those that others handed over.
    pub received: u64,
    /// Nanoseconds that it didn't sleep.
    pub busy_ns: u64,
}

impl Load {
    /// Shows what the counters say.
    pub fn publish(&self, counters: &WorkerCounters) {
        let received = counters.xdp_in + counters.socket_in + counters.stream_in;
        self.received.store(received, Ordering::Relaxed);
        self.busy_ns.store(counters.busy_ns, Ordering::Relaxed);
    }

    /// What it shows.
    pub fn now(&self) -> Work {
        Work {
            received: self.received.load(Ordering::Relaxed),
            busy_ns: self.busy_ns.load(Ordering::Relaxed),
        }
    }
}

/// One worker's judgement.
#[derive(Debug, Default)]
pub struct Balance {
    /// When it looked last, and what it saw.
    last: Option<(Instant, Vec<Work>)>,
    is_spreading: bool,
    /// Looks in a row that were against how it is.
    against: u32,
}

impl Balance {
    /// Whether the worker `own` is to hand messages over, by what all have done by now.
    pub fn look(&mut self, now: Instant, own: usize, all: Vec<Work>) -> bool {
        let Some((last, before)) = self.last.replace((now, all.clone())) else {
            return false;
        };
        let period = now.saturating_duration_since(last).as_nanos() as u64;
        let done: Vec<Work> = all
            .iter()
            .zip(&before)
            .map(|(now, before)| Work {
                received: now.received.saturating_sub(before.received),
                busy_ns: now.busy_ns.saturating_sub(before.busy_ns),
            })
            .collect();
        let mine = done.get(own).copied().unwrap_or_default();
        let count = done.len() as u64;
        let received: u64 = done.iter().map(|work| work.received).sum();
        let busy: u64 = done.iter().map(|work| work.busy_ns).sum();
        let is_against = if self.is_spreading {
            // One alone could do it, or it has little more than its part.
            busy < period / 2 || 4 * count * mine.received < 5 * received
        } else {
            let is_at_its_end = mine.busy_ns >= period / 4 * 3 && mine.received >= LEAST;
            let has_most = 2 * count * mine.received >= 3 * received;
            let has_idle = done.iter().any(|work| work.busy_ns < period / 2);
            is_at_its_end && has_most && has_idle
        };
        self.against = if is_against { self.against + 1 } else { 0 };
        if self.against >= if self.is_spreading { END } else { BEGIN } {
            self.is_spreading = !self.is_spreading;
            self.against = 0;
        }
        self.is_spreading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks a period later, after each worker has received and been busy, in per cent, so much.
    struct Bed {
        balance: Balance,
        now: Instant,
        all: Vec<Work>,
    }

    impl Bed {
        fn new() -> Bed {
            let mut bed = Bed {
                balance: Balance::default(),
                now: Instant::now(),
                all: vec![Work::default(); 2],
            };
            assert!(!bed.balance.look(bed.now, 0, bed.all.clone()));
            bed
        }

        fn look(&mut self, done: [(u64, u64); 2]) -> bool {
            self.now += PERIOD;
            for (work, (received, busy)) in self.all.iter_mut().zip(done) {
                work.received += received;
                work.busy_ns += busy * PERIOD.as_nanos() as u64 / 100;
            }
            self.balance.look(self.now, 0, self.all.clone())
        }
    }

    #[test]
    fn one_that_has_all_and_is_at_its_end_hands_over_after_two_looks() {
        let mut bed = Bed::new();
        assert!(!bed.look([(1000, 95), (0, 0)]));
        assert!(bed.look([(1000, 95), (0, 0)]));
        // The other one is busy then, too, and that is no reason to end it.
        for _ in 0..100 {
            assert!(bed.look([(2000, 95), (0, 95)]));
        }
    }

    #[test]
    fn nobody_hands_over_who_has_its_part_or_time_or_nobody_to_help() {
        for done in [
            [(1000, 95), (900, 20)],
            [(1000, 60), (0, 0)],
            [(1000, 95), (0, 70)],
            [(10, 95), (0, 0)],
        ] {
            let mut bed = Bed::new();
            for _ in 0..20 {
                assert!(!bed.look(done), "{done:?}");
            }
        }
    }

    #[test]
    fn it_ends_after_a_second_in_which_there_was_no_need() {
        for calm in [[(1000, 15), (0, 15)], [(1000, 90), (1000, 90)]] {
            let mut bed = Bed::new();
            let spreads = |bed: &mut Bed| bed.look([(1000, 95), (0, 0)]);
            spreads(&mut bed);
            assert!(spreads(&mut bed));
            for _ in 1..END {
                assert!(bed.look(calm));
            }
            assert!(!bed.look(calm));
        }
    }
}
