//! What a run found, as it is kept in a file: `--json FILE`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{judge::Verdict, load::Counts, sample::Sample};
use crate::bench::results::{Kept, Machine};

/// A run kept in a file has so many samples at most, evenly over its time.
const SAMPLES: usize = 60;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Soak {
    /// [`crate::bench::results::SCHEMA`].
    pub schema: u32,
    /// The command that made it.
    pub command: String,
    /// Where and with what.
    pub machine: Machine,
    /// What the random order was made of.
    pub seed: u64,
    /// One for each engine.
    pub runs: Vec<EngineRun>,
}

impl Kept for Soak {
    const COMMAND: &str = "cargo xtask soak --minutes 60 --json";
}

/// What one engine did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineRun {
    /// `xdp` or `socket`.
    pub engine: String,
    /// How long it had load, without the warm-up.
    pub seconds: f64,
    /// Messages that workers got.
    pub messages: u64,
    /// What sipp played, the warm-up's included.
    pub played: Vec<Line>,
    /// What was asked otherwise, and what came of it.
    pub asked: BTreeMap<String, Counts>,
    /// Pieces of junk sent.
    pub junk: u64,
    /// What happened meanwhile, and how often.
    pub done: BTreeMap<String, u64>,
    /// The judgement.
    pub verdicts: Vec<Verdict>,
    /// Readings.
    pub samples: Vec<Sample>,
}

impl EngineRun {
    /// Whether all is as it should be.
    pub fn is_fine(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.fine)
    }

    /// Leaves so many readings that a file of them can be looked at.
    pub fn thin_out(&mut self) {
        let every = self.samples.len().div_ceil(SAMPLES).max(1);
        let all = std::mem::take(&mut self.samples);
        self.samples = all.into_iter().step_by(every).collect();
    }
}

/// What one sipp did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which.
    pub name: String,
    /// Calls, or registrations, that went through.
    pub successful: u64,
    /// That didn't.
    pub failed: u64,
    /// Messages that were sent again.
    pub retransmissions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_readings_of_the_whole_time_but_not_too_many() {
        let sample = |n: u32| Sample {
            seconds: f64::from(n),
            ..Sample::default()
        };
        let mut run = EngineRun {
            samples: (0..720).map(sample).collect(),
            ..EngineRun::default()
        };
        run.thin_out();
        assert_eq!(run.samples.len(), SAMPLES);
        assert!(run.samples[SAMPLES - 1].seconds > 700.0);
        let before = run.clone();
        run.thin_out();
        assert_eq!(run, before);
    }
}
