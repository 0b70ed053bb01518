//! What was asked, and what came of it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use crate::soak::timeline::Timeline;

/// Of what stays unexplained, so many are told.
const TOLD: usize = 5;

/// How often something was asked, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Asked.
    pub asked: u64,
    /// Answered as it should be.
    pub answered: u64,
    /// Not, while a link was down or corex was being replaced.
    pub explained: u64,
    /// Not, and nothing explains it.
    pub unexplained: u64,
    /// What was wrong with the first of these.
    pub reasons: Vec<String>,
}

/// Counts that a thread adds to.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what came of one that was asked then, and of which no more is expected now.
    pub fn note(&self, timeline: &Timeline, asked: Instant, outcome: Result<(), String>) {
        let mut counts = self.lock();
        counts.asked += 1;
        match outcome {
            Ok(()) => counts.answered += 1,
            Err(_) if timeline.explains(asked, Instant::now()) => counts.explained += 1,
            Err(reason) => {
                counts.unexplained += 1;
                if counts.reasons.len() < TOLD {
                    counts.reasons.push(reason);
                }
            }
        }
    }

    /// What there is so far.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_explained_by_a_disturbance_and_by_nothing_else() {
        let (tally, timeline) = (Tally::default(), Timeline::default());
        let lost = || Err("no answer".to_owned());
        tally.note(&timeline, Instant::now(), Ok(()));
        tally.note(&timeline, Instant::now(), lost());
        timeline.disturb(|| tally.note(&timeline, Instant::now(), lost()));
        let counts = tally.counts();
        assert_eq!((counts.asked, counts.answered), (3, 1));
        assert_eq!((counts.explained, counts.unexplained), (1, 1));
        assert_eq!(counts.reasons, ["no answer"]);
    }
}
