//! How long hooks take: a histogram for each kind and direction.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use corex_common::maps::MAX_WORKERS;

use crate::Direction;

/// Upper bounds of the buckets in nanoseconds: 0.5 µs, and each twice the one before, up to
/// 0.5 s. What takes longer is in one more bucket.
pub const BOUNDS: [u64; 21] = {
    let mut bounds = [500; 21];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * 2;
        at += 1;
    }
    bounds
};
const BUCKETS: usize = BOUNDS.len() + 1;

/// What was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `event_route[network:msg]` as a whole.
    Route,
    /// A call into Lua.
    Lua,
    /// A call into Perl.
    Perl,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Route, Kind::Lua, Kind::Perl];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Route => "route",
            Kind::Lua => "lua",
            Kind::Perl => "perl",
        }
    }
}

/// Where it was measured: in the hook on the way in or out, or in a request or reply route.
pub const WAYS: [&str; 3] = ["incoming", "outgoing", "routing"];

fn way(direction: Option<Direction>) -> usize {
    match direction {
        Some(Direction::Incoming) => 0,
        Some(Direction::Outgoing) => 1,
        None => 2,
    }
}

/// A histogram as it was at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    /// How many were within the bound of the same place in [`BOUNDS`], and not in the one
    /// before; the last: beyond all.
    pub buckets: [u64; BUCKETS],
    /// All of them together, in nanoseconds.
    pub sum: u64,
}

impl Histogram {
    /// How many there were.
    pub fn count(&self) -> u64 {
        let all = self.buckets.iter();
        all.fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    /// The bound that `share` of all stay within, in nanoseconds; `None` where there are none.
    /// What is beyond all bounds counts as the last bound.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = (count as f64 * share).ceil() as u64;
        let mut seen: u64 = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            seen = seen.saturating_add(*bucket);
            if seen >= wanted {
                return Some(bound);
            }
        }
        BOUNDS.last().copied()
    }

    /// What was added since an earlier moment; 0 where less was counted than then, as after a
    /// restart.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut since = Histogram {
            sum: self.sum.saturating_sub(earlier.sum),
            ..Histogram::default()
        };
        let pairs = self.buckets.iter().zip(earlier.buckets);
        for (new, (now, before)) in since.buckets.iter_mut().zip(pairs) {
            *new = now.saturating_sub(before);
        }
        since
    }
}

#[derive(Default)]
struct Cell {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

type OfWorker = [[Cell; WAYS.len()]; Kind::ALL.len()];

/// The histograms of all workers. Each writes its own.
pub struct Latencies(Box<[OfWorker]>);

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies((0..MAX_WORKERS).map(|_| OfWorker::default()).collect())
    }
}

impl std::fmt::Debug for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Latencies").finish_non_exhaustive()
    }
}

impl Latencies {
    /// Adds one; only that worker does.
    pub fn record(&self, worker: u32, kind: Kind, direction: Option<Direction>, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let cell = self
            .0
            .get(worker as usize)
            .and_then(|of_worker| of_worker.get(kind as usize)?.get(way(direction)));
        let Some(cell) = cell else { return };
        let at = BOUNDS.partition_point(|bound| *bound < nanos);
        // One writer: no read-modify-write is needed.
        let add = |to: &AtomicU64, by: u64| {
            to.store(
                to.load(Ordering::Relaxed).wrapping_add(by),
                Ordering::Relaxed,
            );
        };
        if let Some(bucket) = cell.buckets.get(at) {
            add(bucket, 1);
        }
        add(&cell.sum, nanos);
    }

    /// The sum over all workers; `way` is an index in [`WAYS`].
    pub fn total(&self, kind: Kind, way: usize) -> Histogram {
        let mut total = Histogram::default();
        for of_worker in &self.0 {
            let cell = of_worker.get(kind as usize).and_then(|ways| ways.get(way));
            let Some(cell) = cell else { continue };
            for (sum, bucket) in total.buckets.iter_mut().zip(&cell.buckets) {
                *sum = sum.wrapping_add(bucket.load(Ordering::Relaxed));
            }
            total.sum = total.sum.wrapping_add(cell.sum.load(Ordering::Relaxed));
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_as_long_as_a_bound_is_within_it() {
        let latencies = Latencies::default();
        for nanos in [0, 500, 501, 1000, u64::MAX] {
            latencies.record(
                1,
                Kind::Lua,
                Some(Direction::Outgoing),
                Duration::from_nanos(nanos),
            );
        }
        let total = latencies.total(Kind::Lua, 1);
        assert_eq!(&total.buckets[..3], [2, 2, 0]);
        assert_eq!((total.buckets[21], total.count()), (1, 5));
        assert_eq!(latencies.total(Kind::Lua, 0).count(), 0);
        assert_eq!(latencies.total(Kind::Perl, 1).count(), 0);
        latencies.record(MAX_WORKERS, Kind::Lua, None, Duration::ZERO);
        assert_eq!(latencies.total(Kind::Lua, 2).count(), 0);
    }

    #[test]
    fn a_quantile_is_the_bound_that_so_many_stay_within() {
        let latencies = Latencies::default();
        assert_eq!(latencies.total(Kind::Route, 0).quantile(0.5), None);
        for nanos in [100, 100, 100, 900, 3000] {
            let took = Duration::from_nanos(nanos);
            latencies.record(0, Kind::Route, Some(Direction::Incoming), took);
        }
        let total = latencies.total(Kind::Route, 0);
        assert_eq!(total.quantile(0.5), Some(500));
        assert_eq!(total.quantile(0.8), Some(1000));
        assert_eq!(total.quantile(1.0), Some(4000));
        assert_eq!(total.sum, 4200);
        let later = total.since(&total);
        assert_eq!(later, Histogram::default());
    }

    #[test]
    fn what_went_back_or_is_beyond_counting_is_no_error() {
        let most = Histogram {
            buckets: [u64::MAX; BUCKETS],
            sum: u64::MAX,
        };
        let none = Histogram::default();
        assert_eq!(most.count(), u64::MAX);
        assert!(most.quantile(0.99).is_some());
        assert_eq!(none.since(&most), none, "as after a restart");
        assert_eq!(most.since(&none), most);
    }
}
