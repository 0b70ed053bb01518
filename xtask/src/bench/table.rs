//! The result as a table.

use super::{
    Sample,
    device::{Device, KAMAILIO, LIMIT_AF_XDP},
};

/// The median; of an even number the mean of the middle two. NaN of none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The median over turns of one device's rate to another's in the same turn.
fn ratio(of: &[Sample], to: &[Sample]) -> f64 {
    let mut ratios: Vec<f64> = of.iter().zip(to).map(|(a, b)| a.rate / b.rate).collect();
    median(&mut ratios)
}

/// Ratios first, then the rates that they come from.
pub fn render(devices: &[&Device], samples: &[Vec<Sample>]) -> String {
    let find = |wanted: &dyn Fn(&Device) -> bool| {
        devices
            .iter()
            .position(|d| wanted(d))
            .and_then(|i| samples.get(i))
    };
    let mut lines = vec![format!(
        "{:<34}{:>12}{:>12}{:>12}{:>20}{:>8}",
        "device", "x Kamailio", "x AF_XDP", "thousand/s", "lowest-highest", "lost"
    )];
    for (device, own) in devices.iter().zip(samples) {
        let against = |base: Option<&Vec<Sample>>| {
            base.map_or("-".to_owned(), |base| format!("{:.2}", ratio(own, base)))
        };
        let kamailio = device.work.and_then(|_| {
            find(&|d: &Device| d.name.starts_with(KAMAILIO) && d.work == device.work)
        });
        let mut rates: Vec<f64> = own.iter().map(|s| s.rate / 1000.0).collect();
        let middle = median(&mut rates);
        let (low, high) = match (rates.first(), rates.last()) {
            (Some(low), Some(high)) => (*low, *high),
            _ => (f64::NAN, f64::NAN),
        };
        lines.push(format!(
            "{:<34}{:>12}{:>12}{:>12.1}{:>20}{:>8}",
            device.name,
            against(kamailio),
            against(find(&|d: &Device| d.name == LIMIT_AF_XDP)),
            middle,
            format!("{low:.1}-{high:.1}"),
            own.iter().map(|s| s.lost).sum::<u64>(),
        ));
    }
    lines.push(String::new());
    lines.push(
        "x Kamailio: to Kamailio with the same configuration and one worker on the same CPU. Its\n\
         send() doesn't run the hook on what leaves; corex's does. Kamailio has no gzip without\n\
         Perl. x AF_XDP: to the bare AF_XDP loop. Ratios are medians over the turns."
            .to_owned(),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn ratios_are_taken_turn_by_turn() {
        let samples = |rates: [f64; 3]| rates.map(|rate| Sample { rate, lost: 0 });
        // The machine was twice as fast in the second turn; the ratio is the same.
        let of = samples([20.0, 40.0, 20.0]);
        let to = samples([10.0, 20.0, 10.0]);
        assert_eq!(ratio(&of, &to), 2.0);
    }
}
