//! What a row of readings says: whether something grows, stays, or came back.

use serde::{Deserialize, Serialize};

use crate::bench::statistics::median;

/// A trend needs so many readings: three for each third.
const FEWEST: usize = 9;

/// How something went from the first third of its readings to the last one: by medians, so that
/// single readings, however odd, change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Median of the first third.
    pub first: f64,
    /// Median of the last third.
    pub last: f64,
    /// Seconds between the middles of the two.
    pub seconds: f64,
}

impl Trend {
    /// Of readings with their seconds, in order. `None`: there are too few.
    pub fn of(readings: &[(f64, f64)]) -> Option<Trend> {
        if readings.len() < FEWEST {
            return None;
        }
        let third = readings.len() / 3;
        let (first, last) = (&readings[..third], &readings[readings.len() - third..]);
        let middle = |part: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| {
            median(&part.iter().map(which).collect::<Vec<_>>())
        };
        Some(Trend {
            first: middle(first, |reading| reading.1)?,
            last: middle(last, |reading| reading.1)?,
            seconds: middle(last, |reading| reading.0)? - middle(first, |reading| reading.0)?,
        })
    }

    /// By how much it has grown; negative where it has shrunk.
    pub fn growth(&self) -> f64 {
        self.last - self.first
    }

    /// The same for an hour, where it is known how long it took.
    pub fn per_hour(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.growth() / self.seconds * 3600.0)
    }
}

/// By how much something may grow: a number, and a share of what it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// That much in any case.
    pub absolute: f64,
    /// And that share of the first third, 0 to 1.
    pub share: f64,
}

impl Bound {
    /// For a trend that begins with this.
    pub fn for_level(&self, level: f64) -> f64 {
        self.absolute + self.share * level
    }

    /// Whether a trend keeps it. What shrinks always does.
    pub fn holds(&self, trend: &Trend) -> bool {
        trend.growth() <= self.for_level(trend.first)
    }
}

/// One line of the judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was looked at.
    pub what: String,
    /// What it was in the beginning, or what it should be.
    pub was: String,
    /// What it was at the end.
    pub is: String,
    /// What it may be.
    pub bound: String,
    /// Whether it is.
    pub fine: bool,
    /// What to do where it isn't.
    pub remedy: String,
}

impl Verdict {
    /// What must be the same as it was.
    pub fn same(what: &str, was: u64, is: u64, remedy: &str) -> Verdict {
        Verdict {
            what: what.to_owned(),
            was: was.to_string(),
            is: is.to_string(),
            bound: "the same".to_owned(),
            fine: was == is,
            remedy: remedy.to_owned(),
        }
    }

    /// What must not be there at all.
    pub fn none(what: &str, count: u64, of: &str, remedy: &str) -> Verdict {
        Verdict {
            what: what.to_owned(),
            was: of.to_owned(),
            is: count.to_string(),
            bound: "0".to_owned(),
            fine: count == 0,
            remedy: remedy.to_owned(),
        }
    }

    /// What may grow by so much at most; `show` writes a value with its unit.
    pub fn growth(
        what: &str,
        trend: &Trend,
        bound: Bound,
        show: fn(f64) -> String,
        remedy: &str,
    ) -> Verdict {
        let slope = trend.per_hour().map_or(String::new(), |growth| {
            let sign = if growth < 0.0 { "-" } else { "+" };
            format!(" ({sign}{}/h)", show(growth.abs()))
        });
        Verdict {
            what: what.to_owned(),
            was: show(trend.first),
            is: show(trend.last) + &slope,
            bound: format!("+{}", show(bound.for_level(trend.first))),
            fine: bound.holds(trend),
            remedy: remedy.to_owned(),
        }
    }

    /// What holds or doesn't, in words.
    pub fn holds(what: &str, outcome: Result<(), String>, remedy: &str) -> Verdict {
        Verdict {
            what: what.to_owned(),
            was: String::new(),
            is: outcome.as_ref().err().cloned().unwrap_or("yes".to_owned()),
            bound: "yes".to_owned(),
            fine: outcome.is_ok(),
            remedy: remedy.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound {
        absolute: 10.0,
        share: 0.1,
    };

    /// A reading each second.
    fn readings(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        let seconds = (0..).map(f64::from);
        seconds.zip(values).collect()
    }

    #[test]
    fn what_grows_steadily_is_seen_however_noisy_it_is() {
        // 1 a second, and ±20 of noise that has no direction.
        let noisy = (0..90).map(|n| 1000.0 + f64::from(n) + f64::from(n * 7 % 41) - 20.0);
        let trend = Trend::of(&readings(noisy)).unwrap();
        assert!((trend.growth() - 60.0).abs() < 15.0, "{trend:?}");
        assert_eq!(trend.seconds, 60.0);
        assert!(
            (trend.per_hour().unwrap() - 3600.0).abs() < 900.0,
            "{trend:?}"
        );
        assert!(!BOUND.holds(&Trend {
            first: 100.0,
            ..trend
        }));
    }

    #[test]
    fn a_few_odd_readings_are_no_growth_and_a_step_is() {
        let spiky = (0..90).map(|n| if n % 10 == 9 { 5000.0 } else { 100.0 });
        assert_eq!(Trend::of(&readings(spiky)).unwrap().growth(), 0.0);
        let step = (0..90).map(|n| if n < 45 { 100.0 } else { 130.0 });
        let trend = Trend::of(&readings(step)).unwrap();
        assert_eq!(trend.growth(), 30.0);
        assert!(!BOUND.holds(&trend));
    }

    #[test]
    fn a_bound_is_a_number_and_a_share_and_what_shrinks_keeps_it() {
        let trend = |last| Trend {
            first: 100.0,
            last,
            seconds: 60.0,
        };
        assert!(BOUND.holds(&trend(120.0)));
        assert!(!BOUND.holds(&trend(120.1)));
        assert!(BOUND.holds(&trend(0.0)));
    }

    #[test]
    fn a_growth_is_shown_for_an_hour_too() {
        let trend = Trend {
            first: 100.0,
            last: 98.0,
            seconds: 60.0,
        };
        let show = |value: f64| format!("{value:.0} KiB");
        let verdict = Verdict::growth("heap", &trend, BOUND, show, "");
        assert_eq!(verdict.is, "98 KiB (-120 KiB/h)");
        assert_eq!(verdict.bound, "+20 KiB");
    }

    #[test]
    fn too_few_readings_say_nothing() {
        assert_eq!(Trend::of(&readings((0..8).map(f64::from))), None);
        assert!(Trend::of(&readings((0..9).map(f64::from))).is_some());
    }

    #[test]
    fn verdicts_are_fine_where_nothing_differs_is_lost_or_fails() {
        assert!(Verdict::same("fds", 10, 10, "").fine);
        assert!(!Verdict::same("fds", 10, 11, "").fine);
        assert!(!Verdict::same("frames", 4096, 4095, "").fine);
        assert!(Verdict::none("failed", 0, "100", "").fine);
        assert!(!Verdict::none("failed", 1, "100", "").fine);
        assert!(Verdict::holds("books", Ok(()), "").fine);
        let verdict = Verdict::holds("books", Err("3 lost".to_owned()), "");
        assert!(!verdict.fine && verdict.is == "3 lost");
    }
}
