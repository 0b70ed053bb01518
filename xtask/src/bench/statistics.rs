//! What is made of many measurements.

use anyhow::Result;

/// The median; of an even number the mean of the middle two; nothing of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => sorted.get(middle).copied(),
        _ => Some(f64::midpoint(
            *sorted.get(middle - 1)?,
            *sorted.get(middle)?,
        )),
    }
}

/// The lowest and the highest; nothing of none.
pub fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    Some((low, high))
}

/// The ratios of one thing to another in the same turn; where one of the two wasn't measured,
/// there is none.
pub fn ratios(of: &[Option<f64>], to: &[Option<f64>]) -> Vec<f64> {
    of.iter()
        .zip(to)
        .filter_map(|(of, to)| Some((*of)? / (*to)?))
        .filter(|ratio| ratio.is_finite())
        .collect()
}

/// The value that `part` (0 to 1) of all counted ones don't exceed, by nearest rank: of counts by
/// value, which must ascend. Nothing of none.
pub fn percentile(counts: &[(u64, u64)], part: f64) -> Option<u64> {
    let all: u64 = counts.iter().map(|(_, count)| count).sum();
    let rank = ((all as f64 * part).ceil() as u64).max(1);
    let mut seen = 0;
    counts.iter().find_map(|(value, count)| {
        seen += count;
        (seen >= rank).then_some(*value)
    })
}

/// The highest of the values tried between `low` and `high` that passes, where lower ones pass and
/// higher ones don't; nothing if none did. Tries `steps` times.
///
/// # Errors
/// That of a trial.
pub fn bisect(
    mut low: f64,
    mut high: f64,
    steps: u32,
    mut passes: impl FnMut(f64) -> Result<bool>,
) -> Result<Option<f64>> {
    let mut best = None;
    for _ in 0..steps {
        let middle = f64::midpoint(low, high);
        if passes(middle)? {
            low = middle;
            best = Some(middle);
        } else {
            high = middle;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_spread_is_from_the_lowest_to_the_highest() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn ratios_are_taken_turn_by_turn() {
        // The machine was twice as fast in the second turn; the ratio is the same. In the third
        // one of the two has no figure.
        let of = [Some(20.0), Some(40.0), None, Some(1.0)];
        let to = [Some(10.0), Some(20.0), Some(10.0), Some(0.0)];
        assert_eq!(ratios(&of, &to), [2.0, 2.0]);
    }

    #[test]
    fn a_percentile_is_the_value_of_its_rank() {
        let counts = [(10, 98), (20, 1), (500, 1)];
        for (part, expected) in [
            (0.0, 10),
            (0.5, 10),
            (0.98, 10),
            (0.99, 20),
            (0.999, 500),
            (1.0, 500),
        ] {
            assert_eq!(percentile(&counts, part), Some(expected), "{part}");
        }
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&[(7, 0)], 0.5), None);
    }

    #[test]
    fn bisection_comes_near_the_highest_that_passes_from_below() {
        let limit = 62.3;
        let mut tried = 0;
        let found = bisect(0.0, 100.0, 10, |value| {
            tried += 1;
            Ok(value <= limit)
        });
        let found = found.unwrap().unwrap();
        assert!(found <= limit && limit - found < 0.1, "{found}");
        assert_eq!(tried, 10);
    }

    #[test]
    fn bisection_finds_nothing_where_nothing_passes_and_nearly_all_where_all_does() {
        assert_eq!(bisect(0.0, 100.0, 5, |_| Ok(false)).unwrap(), None);
        let all = bisect(0.0, 128.0, 7, |_| Ok(true)).unwrap();
        assert_eq!(all, Some(127.0));
        assert!(bisect(0.0, 1.0, 3, |_| anyhow::bail!("a broken device")).is_err());
    }
}
