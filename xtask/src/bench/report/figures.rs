//! A run's figures in tables: medians over the turns, with the lowest and the highest.

use super::table::Table;
use crate::bench::{
    results::{Attacks, By, Hiccups, LIMIT_AF_XDP, LIMIT_XDP, Latency, Row, Run, Turn},
    statistics::{median, ratios, spread},
};

/// What isn't there.
const NONE: &str = "–";

/// A number with as many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        n if n >= 100.0 => format!("{value:.0}"),
        n if n >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The median, and from where to where the values are.
fn with_spread(values: &[f64]) -> String {
    match (median(values), spread(values)) {
        (Some(middle), Some((low, high))) if values.len() > 1 => {
            format!("{} ({}–{})", number(middle), number(low), number(high))
        }
        (Some(middle), _) => number(middle),
        _ => NONE.to_owned(),
    }
}

fn middle(values: &[f64]) -> String {
    median(values).map_or(NONE.to_owned(), number)
}

impl Run {
    fn named(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Kamailio at the same work.
    fn kamailio(&self, work: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.by == By::Kamailio && row.work == work)
    }

    /// How many times another's rate this one's is; nothing of itself and of limits.
    fn ratio(&self, row: &Row, other: Option<&Row>) -> String {
        match other {
            Some(other) if other.name != row.name => {
                with_spread(&ratios(&row.rates(), &other.rates()))
            }
            _ => NONE.to_owned(),
        }
    }
}

impl Row {
    fn rates(&self) -> Vec<Option<f64>> {
        self.turns.iter().map(|turn| Some(turn.rate)).collect()
    }

    fn values(&self, of: impl Fn(&Turn) -> Option<f64>) -> Vec<f64> {
        self.turns.iter().filter_map(of).collect()
    }

    /// The median of something at half of the rate without loss.
    pub fn at_half(&self, of: fn(&Latency) -> f64) -> Option<f64> {
        median(&self.values(|turn| Some(of(turn.half.as_ref()?.latency.as_ref()?))))
    }
}

/// What is sustained, and how it relates.
pub fn rates(run: &Run) -> Table {
    let mut table = Table::new(&[
        "",
        "x Kamailio",
        "x AF_XDP loop",
        "x XDP reflector",
        "thousand/s",
        "lost",
        "thousand/s without loss",
    ]);
    for row in &run.rows {
        let thousands = |values: Vec<f64>| {
            let values: Vec<f64> = values.iter().map(|rate| rate / 1e3).collect();
            with_spread(&values)
        };
        table.push(vec![
            row.name.clone(),
            run.ratio(row, run.kamailio(&row.work)),
            run.ratio(row, run.named(LIMIT_AF_XDP)),
            run.ratio(row, run.named(LIMIT_XDP)),
            thousands(row.values(|turn| Some(turn.rate))),
            row.turns
                .iter()
                .map(|turn| turn.lost)
                .sum::<u64>()
                .to_string(),
            thousands(row.values(|turn| turn.loss_free)),
        ]);
    }
    table
}

/// How long messages take, and what they cost.
pub fn latencies(run: &Run) -> Table {
    let mut table = Table::new(&[
        "",
        "half: p50",
        "p99",
        "p99.9",
        "tenth: p50",
        "p99",
        "p99.9",
        "own CPU",
        "whole CPU",
    ]);
    let percentiles: [fn(&Latency) -> f64; 3] = [|l| l.p50, |l| l.p99, |l| l.p999];
    for row in &run.rows {
        let mut line = vec![row.name.clone()];
        for load in [
            |turn: &Turn| turn.half.clone(),
            |turn: &Turn| turn.tenth.clone(),
        ] {
            for percentile in percentiles {
                let of = |turn: &Turn| Some(percentile(load(turn)?.latency.as_ref()?));
                line.push(middle(&row.values(of)));
            }
        }
        line.push(middle(&row.values(|turn| turn.half.as_ref()?.own_cpu)));
        line.push(middle(&row.values(|turn| turn.half.as_ref()?.whole_cpu)));
        table.push(line);
    }
    table
}

/// What packets cost that aren't ours.
pub fn foreign(run: &Run) -> Table {
    let mut table = Table::new(&["", "ns a packet"]);
    for foreign in &run.foreign {
        table.push(vec![
            foreign.name.clone(),
            with_spread(&foreign.nanoseconds),
        ]);
    }
    table
}

/// How the rate changes with what grows.
pub fn growth(run: &Run) -> Table {
    let mut table = Table::new(&["", "", "x the first", "thousand/s"]);
    for series in &run.growth {
        let rates = |index: usize| -> Vec<Option<f64>> {
            let point = series.points.get(index);
            let rates = point.map(|point| point.rates.iter().copied().map(Some));
            rates.into_iter().flatten().collect()
        };
        for (index, point) in series.points.iter().enumerate() {
            let thousands: Vec<f64> = point.rates.iter().map(|rate| rate / 1e3).collect();
            table.push(vec![
                series.name.clone(),
                point.x.to_string(),
                with_spread(&ratios(&rates(index), &rates(0))),
                middle(&thousands),
            ]);
        }
    }
    table
}

/// The few figures that the README has.
pub fn summary(run: &Run) -> Table {
    let mut table = Table::new(&[
        "",
        "rate, to Kamailio's with the same configuration",
        "rate, to a bare AF_XDP loop's",
        "p99 at half load, µs",
        "Kamailio's",
    ]);
    for row in run.rows.iter().filter(|row| row.by == By::Corex) {
        let kamailio = run.kamailio(&row.work);
        let p99 = |row: Option<&Row>| {
            let p99 = row.and_then(|row| row.at_half(|latency| latency.p99));
            p99.map_or(NONE.to_owned(), number)
        };
        let name = row.name.strip_prefix("corex ").unwrap_or(&row.name);
        let middle_ratio = |other: Option<&Row>| {
            other.map_or(NONE.to_owned(), |other| {
                middle(&ratios(&row.rates(), &other.rates()))
            })
        };
        table.push(vec![
            name.to_owned(),
            middle_ratio(kamailio),
            middle_ratio(run.named(LIMIT_AF_XDP)),
            p99(Some(row)),
            p99(kamailio),
        ]);
    }
    table
}

/// The longest latencies in minutes of load, and how they came about.
pub fn hiccups(hiccups: &Hiccups) -> String {
    let mut table = Table::new(&[
        "",
        "seconds",
        "sent",
        "lost",
        "p50",
        "p99.9",
        "longest",
        "above 10 ms",
    ]);
    for device in &hiccups.devices {
        let latency = &device.latency;
        table.push(vec![
            device.name.clone(),
            number(device.seconds),
            device.sent.to_string(),
            device.lost.to_string(),
            number(latency.p50),
            number(latency.p999),
            number(latency.max),
            device.hiccups.to_string(),
        ]);
    }
    let machine = &hiccups.machine;
    table.markdown()
        + &format!(
            "\n`{}`, {}, at {}, load average before: {}. {} messages each second; corex was asked \
             {} times, {} of which were reloads.\n",
            hiccups.command,
            machine.date,
            machine.commit,
            machine.load,
            hiccups.rate,
            hiccups.commands,
            hiccups.reloads,
        )
}

/// Calls through attacks.
pub fn attacks(attacks: &Attacks) -> Table {
    let mut table = Table::new(&[
        "Attack, device",
        "offered",
        "dropped in XDP",
        "reached user space",
        "CPU",
        "calls completed",
        "resent",
    ]);
    for row in &attacks.rows {
        table.push(vec![
            format!("{}, {}", row.attack, row.device),
            row.offered.to_string(),
            row.dropped_in_xdp.to_string(),
            row.reached_user_space.to_string(),
            format!("{:.1} %", row.cpu_percent),
            format!("{} of {}", row.completed, row.calls),
            row.retransmissions.to_string(),
        ]);
    }
    table
}

/// Where and when attacks were made.
pub fn circumstances_of_attacks(attacks: &Attacks) -> String {
    let machine = &attacks.machine;
    format!(
        "`{}`, {}, at {}, {} CPUs ({}), Linux {}, Kamailio {}, load average before: {}.\n",
        attacks.command,
        machine.date,
        machine.commit,
        machine.cpus,
        machine.processor,
        machine.kernel,
        machine.kamailio,
        machine.load,
    )
}

/// Where, when and how, in a sentence or two.
pub fn circumstances(run: &Run) -> String {
    let (machine, settings) = (&run.machine, &run.settings);
    format!(
        "`{}`, {}, at {}, {} CPUs ({}), Linux {}, Kamailio {}, load average before: {}.\n\
         {} turns, {} s each for the sustained rate with {} messages on their way, {} bytes.\n",
        run.command,
        machine.date,
        machine.commit,
        machine.cpus,
        machine.processor,
        machine.kernel,
        machine.kamailio,
        machine.load,
        settings.turns,
        settings.seconds,
        settings.window,
        settings.size,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::sample;

    #[test]
    fn ratios_are_those_of_the_same_turn_with_their_spread() {
        let text = rates(&sample()).markdown();
        let row = |name: &str| {
            let line = text.lines().find(|line| line.contains(name));
            line.unwrap_or_default().to_owned()
        };
        assert_eq!(
            row("corex send"),
            "| corex send, AF_XDP | 8.00 (8.00–8.00) | 0.50 (0.50–0.50) | – | 200 (200–400) | 3 \
             | 160 (160–320) |"
        );
        // A limit isn't compared with Kamailio, and nothing with itself.
        assert!(row("bare").starts_with("| bare AF_XDP loop | – | – | – | 400"));
        assert!(row("Kamailio send").starts_with("| Kamailio send | – | 0.06 (0.06–0.06)"));
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let text = latencies(&sample()).markdown();
        let line = text.lines().find(|line| line.contains("corex send"));
        let line = line.unwrap_or_default();
        assert!(
            line.starts_with("| corex send, AF_XDP | 20.0 | 40.0 | 80.0 | – | – | – | 2.50 |"),
            "{line}"
        );
    }

    #[test]
    fn growth_is_shown_as_ratios_to_the_first_point() {
        let text = growth(&sample()).markdown();
        assert!(
            text.contains("| listeners | 1 | 1.00 (1.00–1.00) | 300 |"),
            "{text}"
        );
        assert!(
            text.contains("| listeners | 40 | 0.50 (0.50–0.50) | 150 |"),
            "{text}"
        );
    }

    #[test]
    fn hiccups_are_counted_by_device() {
        let text = hiccups(&crate::bench::results::tests::hiccups());
        assert!(
            text.contains("| corex send, AF_XDP | 120 | 1000 | 0 |"),
            "{text}"
        );
        assert!(text.contains("600 times, 40 of which"), "{text}");
    }

    #[test]
    fn the_summary_has_what_corex_does_and_how_it_compares() {
        let text = summary(&sample()).markdown();
        assert!(
            text.contains("| send, AF_XDP | 8.00 | 0.50 | 40.0 | 160 |"),
            "{text}"
        );
        assert!(!text.contains("bare AF_XDP loop |"), "{text}");
    }
}
