//! `cargo xtask bench` without more words: all devices in turns.

mod args;
pub mod device;
mod foreign;
mod growth;
pub mod machine;
pub mod measure;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

pub use self::args::SuiteArgs;
use self::device::{DEVICES, Device, OFFLOADED};
use super::{
    generator::Generator,
    lab::{Lab, Programs, wrote},
    report,
    results::{Kept as _, Row, Run, SCHEMA, Settings, Turn},
};
use crate::ui::{self, Style};

/// What starting and stopping a device takes, for the estimate.
const START: f64 = 1.0;

/// Runs the suite.
///
/// # Errors
/// What is missing, or which device failed twice and why.
pub fn run(args: &SuiteArgs) -> Result<ExitCode> {
    let settings = args.settings();
    let filter = args.filter.as_deref().unwrap_or_default();
    let mut devices: Vec<&Device> = DEVICES
        .iter()
        .filter(|device| device.name.contains(filter))
        .collect();
    let growth = match args.quick && args.filter.is_none() {
        true => Vec::new(),
        false => growth::series(filter),
    };
    ensure!(
        !devices.is_empty() || !growth.is_empty(),
        "no device, and nothing that grows, has {filter:?} in its name"
    );
    let programs = Programs::build()?;
    let machine = machine::describe();
    if machine.load > 0.5 {
        ui::say(&format!(
            "This machine is busy (load average {}): expect losses and spread.",
            machine.load
        ));
    }
    let suite = Suite {
        lab: Lab::new(programs, 1)?,
        begin: Instant::now(),
        settings,
    };
    suite.check(&mut devices)?;
    let points = growth.iter().map(|series| series.points.len()).sum();
    let seconds = suite.estimate(devices.len(), points);
    ui::step(&format!(
        "Measuring {} devices in {} turns: about {}",
        devices.len(),
        settings.turns,
        minutes(Duration::from_secs_f64(seconds))
    ));
    let mut run = Run {
        schema: SCHEMA,
        command: args.command(),
        machine,
        settings,
        rows: devices.iter().map(|device| row(device)).collect(),
        foreign: Vec::new(),
        growth,
    };
    let mut udp = suite.lab.udp_generator()?;
    for turn in 1..=settings.turns {
        suite.say(&format!("turn {turn} of {}", settings.turns));
        suite.turn(&mut udp, &devices, &mut run)?;
    }
    ui::end_progress();
    ui::say("");
    ui::say(&report::terminal(&run));
    match &args.json {
        Some(path) => {
            run.write(path)?;
            Ok(wrote(path))
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

fn row(device: &Device) -> Row {
    Row {
        name: device.name.to_owned(),
        work: device.work.to_owned(),
        by: device.by(),
        turns: Vec::new(),
    }
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02} min", seconds / 60, seconds % 60)
}

struct Suite {
    lab: Lab,
    begin: Instant,
    settings: Settings,
}

impl Suite {
    /// Has all configurations checked before minutes pass. A corex without routes in the kernel
    /// does without that device.
    fn check(&self, devices: &mut Vec<&Device>) -> Result<()> {
        let mut refused = None;
        devices.retain(|device| match device.check(&self.lab) {
            Ok(()) => true,
            Err(error) if device.name == OFFLOADED => {
                self.say(&format!("left out: {}: {error:#}", device.name));
                false
            }
            Err(error) => {
                refused.get_or_insert(error.context(device.name));
                false
            }
        });
        refused.map_or(Ok(()), Err)
    }

    fn estimate(&self, devices: usize, points: usize) -> f64 {
        let settings = &self.settings;
        let growth = points as f64 * (START + settings.warm_up() + settings.seconds);
        f64::from(settings.turns) * (devices as f64 * (START + settings.turn()) + growth)
    }

    fn say(&self, line: &str) {
        ui::end_progress();
        let line = format!("  {:>9}  {line}", minutes(self.begin.elapsed()));
        ui::say(&ui::paint(Style::Dim, &line));
    }

    fn turn(&self, udp: &mut Generator, devices: &[&Device], run: &mut Run) -> Result<()> {
        // What the bisection found in this turn.
        let mut loss_free = BTreeMap::new();
        for (device, row) in devices.iter().zip(&mut run.rows) {
            ui::progress(&format!("  {}", device.name));
            let other = device.at_rates_of.and_then(|name| loss_free.get(name));
            let other = other.copied();
            let turn = self
                .twice(|| measure::turn(&self.lab, udp, device, &self.settings, other))
                .with_context(|| device.name.to_owned())?;
            if let Some(rate) = turn.loss_free {
                loss_free.insert(device.name, rate);
            }
            self.say(&format!("{}: {}", device.name, in_short(&turn)));
            row.turns.push(turn);
        }
        for device in devices.iter().filter(|d| foreign::is_measured(d.name)) {
            let running = device.start(&self.lab)?;
            foreign::measure(&self.lab, device.name, &mut run.foreign)
                .with_context(|| running.log())?;
            running.stop()?;
        }
        let mut series = std::mem::take(&mut run.growth);
        if !series.is_empty() {
            growth::turn(&self.lab, udp, &self.settings, &mut series, |line| {
                self.say(line);
            })?;
        }
        run.growth = series;
        Ok(())
    }

    /// Tries again what failed, once: five minutes shouldn't be lost to one moment.
    fn twice<T>(&self, mut action: impl FnMut() -> Result<T>) -> Result<T> {
        action().or_else(|error| {
            self.say(&format!("failed, once more: {error:#}"));
            action()
        })
    }
}

fn in_short(turn: &Turn) -> String {
    let thousands = |rate: f64| format!("{:.1} k/s", rate / 1e3);
    let loss_free = turn.loss_free.map_or("none".to_owned(), thousands);
    format!("{}, without loss {loss_free}", thousands(turn.rate))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::{lab, results::By};

    #[test]
    fn each_device_has_a_name_of_its_own_and_a_configuration_that_is_there() {
        let names: BTreeSet<&str> = DEVICES.iter().map(|device| device.name).collect();
        assert_eq!(names.len(), DEVICES.len());
        for device in DEVICES {
            let config = match device.start {
                device::Start::Corex(config, _)
                | device::Start::Kamailio(config)
                | device::Start::Inline(config) => config,
                device::Start::Bare(_) | device::Start::Server => continue,
            };
            let path = lab::configurations().join(format!("{config}.cfg"));
            assert!(path.is_file(), "{}", path.display());
        }
    }

    #[test]
    fn whatever_kamailio_can_do_as_well_is_compared_with_it() {
        for device in DEVICES.iter().filter(|d| d.by() == By::Corex) {
            let compared = DEVICES
                .iter()
                .any(|other| other.by() == By::Kamailio && other.work == device.work);
            assert_eq!(compared, device.work != "inline", "{}", device.name);
        }
    }

    #[test]
    fn rates_are_taken_from_a_device_that_comes_before() {
        for (index, device) in DEVICES.iter().enumerate() {
            if let Some(other) = device.at_rates_of {
                assert!(DEVICES[..index].iter().any(|d| d.name == other));
            }
        }
    }
}
