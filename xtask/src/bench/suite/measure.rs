//! One turn of one device: what it sustains, what it does without loss, how long messages take.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::device::{Device, Load as Sent, Running};
use crate::bench::{
    generator::Generator,
    lab::{DEVICE_CPU, Lab},
    protocol::{Order, Outcome, Traffic},
    results::{Latency, Load, Settings, Turn},
    statistics::{bisect, percentile},
    usage,
};

/// The bisection ends below this many times the sustained rate.
const CEILING: f64 = 1.25;
/// A rate counts as sent if the generator held back no more than this part of it.
const HELD_BACK: f64 = 0.05;

impl Settings {
    /// An order for the sustained rate.
    pub fn sustained(&self, traffic: Traffic) -> Order {
        Order {
            traffic,
            size: self.size,
            peers: 1,
            window: self.window,
            rate: 0,
            seconds: self.seconds,
        }
    }

    /// How long before a measurement is sent without one: neighbours, caches, clocks.
    pub fn warm_up(&self) -> f64 {
        self.seconds / 2.0
    }

    /// How long each step of the bisection takes.
    fn step(&self) -> f64 {
        self.seconds / 2.0
    }

    /// How long latency is measured at each rate.
    fn load(&self) -> f64 {
        self.seconds * 4.0 / 3.0
    }

    /// Seconds that a device's turn takes, without starting and stopping it.
    pub fn turn(&self) -> f64 {
        self.warm_up() + self.seconds + f64::from(self.steps) * self.step() + 2.0 * self.load()
    }
}

/// Starts a device, measures it, stops it. `rate_of_other` is what the bisection found in this turn
/// for the device at whose rates this one's latency is measured.
///
/// # Errors
/// It doesn't start or stop, or nothing comes back; with its log.
pub fn turn(
    lab: &Lab,
    udp: &mut Generator,
    device: &Device,
    settings: &Settings,
    rate_of_other: Option<f64>,
) -> Result<Turn> {
    let running = device.start(lab)?;
    let measured = match device.load {
        Sent::Udp(traffic) => measure(udp, traffic, &running, settings, rate_of_other),
        Sent::Tcp => lab
            .tcp_generator()
            .and_then(|mut tcp| measure(&mut tcp, Traffic::Options, &running, settings, None)),
    };
    let turn = measured.with_context(|| last_lines(&running.log()))?;
    running.stop()?;
    Ok(turn)
}

/// The end of a log.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.len().saturating_sub(10);
    lines.get(from..).unwrap_or_default().join("\n")
}

fn measure(
    generator: &mut Generator,
    traffic: Traffic,
    running: &Running,
    settings: &Settings,
    rate_of_other: Option<f64>,
) -> Result<Turn> {
    let sustained = settings.sustained(traffic);
    generator.measure(&Order {
        seconds: settings.warm_up(),
        ..sustained
    })?;
    let outcome = generator.measure(&sustained)?;
    ensure!(outcome.returned > 0, "nothing came back");
    let rate = outcome.returned as f64 / outcome.seconds;
    let at = |rate: f64, seconds: f64| Order {
        rate: rate as u64,
        seconds,
        ..sustained
    };
    let loss_free = bisect(0.0, rate * CEILING, settings.steps, |rate| {
        let outcome = generator.measure(&at(rate, settings.step()))?;
        Ok(is_without_loss(&outcome))
    })?;
    let mut load = |part: f64| -> Result<Option<Load>> {
        let Some(base) = rate_of_other.or(loss_free) else {
            return Ok(None);
        };
        let order = at(base * part, settings.load());
        if order.rate == 0 {
            return Ok(None);
        }
        loaded(generator, running, &order).map(Some)
    };
    Ok(Turn {
        rate,
        lost: outcome.lost,
        loss_free,
        half: load(0.5)?,
        tenth: load(0.1)?,
    })
}

/// Whether all that was asked for was sent and came back.
pub fn is_without_loss(outcome: &Outcome) -> bool {
    let asked = outcome.sent + outcome.unanswered + outcome.held_back;
    outcome.lost == 0 && outcome.held_back as f64 <= asked as f64 * HELD_BACK
}

fn loaded(generator: &mut Generator, running: &Running, order: &Order) -> Result<Load> {
    let used = || -> Result<[Duration; 2]> {
        Ok([
            usage::of_process(running.pid())?,
            usage::of_cpu(DEVICE_CPU)?,
        ])
    };
    let before = used()?;
    let outcome = generator.measure(order)?;
    let after = used()?;
    let messages = (outcome.sent + outcome.unanswered) as f64;
    let each = |before: Duration, after: Duration| {
        let micros = after.saturating_sub(before).as_secs_f64() * 1e6 / messages;
        micros.is_finite().then_some(micros)
    };
    Ok(Load {
        rate: order.rate as f64,
        sent: outcome.sent,
        lost: outcome.lost,
        held_back: outcome.held_back,
        latency: latency(&outcome),
        own_cpu: each(before[0], after[0]),
        whole_cpu: each(before[1], after[1]),
    })
}

/// The latencies, if they could be told: messages without a number in them are matched by their
/// order, which is wrong from the first loss on.
fn latency(outcome: &Outcome) -> Option<Latency> {
    if outcome.lost > 0 && outcome.by_order > 0 {
        return None;
    }
    let micros = |part| {
        let nanoseconds = percentile(&outcome.latencies, part)?;
        Some(nanoseconds as f64 / 1e3)
    };
    Some(Latency {
        p50: micros(0.5)?,
        p99: micros(0.99)?,
        p999: micros(0.999)?,
        max: outcome.longest as f64 / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            sent: 950,
            held_back: 50,
            returned: 950,
            seconds: 1.0,
            longest: 9_000,
            latencies: vec![(1_000, 940), (8_000, 10)],
            ..Outcome::default()
        }
    }

    #[test]
    fn a_rate_passes_if_it_was_sent_and_nothing_was_lost() {
        assert!(is_without_loss(&outcome()));
        let lost = Outcome {
            lost: 1,
            ..outcome()
        };
        assert!(!is_without_loss(&lost));
        // A generator that can't send it says nothing of the device.
        let late = Outcome {
            held_back: 51,
            ..outcome()
        };
        assert!(!is_without_loss(&late));
    }

    #[test]
    fn latencies_by_order_are_given_only_where_nothing_was_lost() {
        let mut outcome = outcome();
        let expected = Latency {
            p50: 1.0,
            p99: 8.0,
            p999: 8.0,
            max: 9.0,
        };
        assert_eq!(latency(&outcome), Some(expected));
        outcome.lost = 1;
        assert_eq!(latency(&outcome), Some(expected));
        outcome.by_order = 3;
        assert_eq!(latency(&outcome), None);
        outcome.lost = 0;
        assert_eq!(latency(&outcome), Some(expected));
    }

    #[test]
    fn a_log_is_quoted_by_its_end() {
        let log: String = (0..30).map(|n| format!("{n}\n")).collect();
        assert!(last_lines(&log).starts_with("20\n") && last_lines(&log).ends_with("29"));
        assert_eq!(last_lines("one\n"), "one");
    }
}
