//! Which runs of the hook are measured: reading the clock twice takes as long as a short hook
//! (`latency_sample`).

use std::time::{Duration, Instant};

use crate::Direction;

/// What takes less is measured only once in so many times.
const SHORT: Duration = Duration::from_micros(8);

/// The last measurement, for each direction.
pub struct Sampling {
    last: [Last; 2],
    /// Short runs for which one measurement stands.
    every: u8,
}

#[derive(Clone, Copy, Default)]
struct Last {
    took: Duration,
    /// Runs for which it stands.
    left: u8,
}

impl Sampling {
    /// One of so many short runs is measured; 1: each.
    pub fn new(every: u8) -> Sampling {
        Sampling {
            last: Default::default(),
            every,
        }
    }

    fn last(&mut self, direction: Direction) -> &mut Last {
        let [incoming, outgoing] = &mut self.last;
        match direction {
            Direction::Incoming => incoming,
            Direction::Outgoing => outgoing,
        }
    }

    /// A run begins; the time, if it is to be measured.
    pub fn begin(&mut self, direction: Direction) -> Option<Instant> {
        (self.last(direction).left == 0).then(Instant::now)
    }

    /// It ends: how long it took, or the last that was measured.
    pub fn end(&mut self, direction: Direction, began: Option<Instant>) -> Duration {
        let every = self.every;
        let last = self.last(direction);
        match began {
            Some(began) => {
                last.took = began.elapsed();
                last.left = match last.took < SHORT {
                    true => every.saturating_sub(1),
                    false => 0,
                };
            }
            None => last.left = last.left.saturating_sub(1),
        }
        last.took
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_stands_for_those_that_follow_and_a_long_one_for_itself() {
        let mut sampling = Sampling::new(8);
        let way = Direction::Incoming;
        let mut measured = Vec::new();
        // A clock that a loaded machine can't make run: what it measures is in the past or not.
        for long in [true, true, false] {
            let began = sampling.begin(way);
            measured.push(began.is_some());
            let began = match long {
                true => Instant::now().checked_sub(Duration::from_secs(1)),
                false => Instant::now().checked_add(Duration::from_secs(60)),
            };
            assert_eq!(sampling.end(way, began) >= Duration::from_secs(1), long);
        }
        for _ in 0..8 {
            let began = sampling.begin(way);
            measured.push(began.is_some());
            sampling.end(way, began);
        }
        assert_eq!(measured[..4], [true, true, true, false]);
        assert_eq!(measured.iter().rposition(|measured| *measured), Some(10));
        assert!(sampling.begin(Direction::Outgoing).is_some());
    }

    #[test]
    fn each_run_is_measured_where_that_is_asked_for() {
        let mut sampling = Sampling::new(1);
        for _ in 0..20 {
            let began = sampling.begin(Direction::Incoming);
            assert!(began.is_some());
            sampling.end(Direction::Incoming, began);
        }
    }
}
