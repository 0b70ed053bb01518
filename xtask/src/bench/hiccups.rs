//! `cargo xtask bench hiccups`: the longest latencies of minutes at half load, while corex reloads
//! its configuration and answers remote control.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::{
    generator::Generator,
    lab::{GENERATOR_CPU, Lab, Programs, Reader, wrote},
    protocol::{Order, Outcome, Traffic},
    results::{Endured, Hiccups, Kept as _, LIMIT_AF_XDP, Latency, SCHEMA, Settings},
    statistics::{bisect, percentile},
    suite::{device::DEVICES, machine, measure::is_without_loss},
};
use crate::ui::{self, Style};

/// Measure the longest latencies in minutes of half load.
///
/// corex sends everything back by AF_XDP, at half of the rate that it does without loss. Meanwhile
/// it reads its configuration anew every few seconds, and remote control asks for everything that
/// takes long. Before and after, for half of the time each, the bare AF_XDP loop gets the same rate:
/// what it has of hiccups, the machine has.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench hiccups                     ten minutes of corex and as many of the bare loop
  cargo xtask bench hiccups --minutes 0.5       a quick look

Exit status:
  0  no message of corex's took longer than 10 ms
  1  some did, or it couldn't be measured

Needs root and two CPUs.")]
pub struct HiccupsArgs {
    /// Minutes of corex; the bare loop gets as many
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Write the results to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.1..=600.0).contains(&minutes) => Ok(minutes),
        _ => Err("expected a number of minutes from 0.1 to 600".to_owned()),
    }
}

/// A hiccup is a latency above this, in nanoseconds.
const HICCUP: u64 = 10_000_000;
/// Load is measured in pieces of so many seconds.
const PIECE: f64 = 2.0;
/// Steps of the search for the rate without loss.
const STEPS: u32 = 7;
/// A command every so often, and instead of every so many the configuration anew.
const COMMAND_EVERY: Duration = Duration::from_millis(200);
const RELOAD_EVERY: usize = 15;
/// What remote control is asked, in turns.
const COMMANDS: [&str; 6] = [
    "corex.books",
    "corex.workers",
    "corex.peers",
    "corex.counters",
    "corex.host",
    "corex.list_sockets",
];
const COREX: &str = "corex send, AF_XDP";

/// What was found of one device.
struct Found {
    endured: Endured,
    /// Of all pieces.
    latencies: Vec<(u64, u64)>,
}

impl Found {
    fn new(name: &str) -> Self {
        Self {
            endured: Endured {
                name: name.to_owned(),
                ..Endured::default()
            },
            latencies: Vec::new(),
        }
    }

    /// Adds a piece.
    fn add(&mut self, outcome: &Outcome) {
        for (nanoseconds, count) in &outcome.latencies {
            match self
                .latencies
                .binary_search_by_key(nanoseconds, |(n, _)| *n)
            {
                Ok(at) => self.latencies[at].1 += count,
                Err(at) => self.latencies.insert(at, (*nanoseconds, *count)),
            }
        }
        let above = self.latencies.iter().filter(|(n, _)| *n > HICCUP);
        let micros = |part| percentile(&self.latencies, part).unwrap_or_default() as f64 / 1e3;
        let endured = &mut self.endured;
        endured.seconds += outcome.seconds;
        endured.sent += outcome.sent;
        endured.lost += outcome.lost;
        endured.held_back += outcome.held_back;
        endured.hiccups = above.map(|(_, count)| count).sum();
        endured.latency = Latency {
            p50: micros(0.5),
            p99: micros(0.99),
            p999: micros(0.999),
            max: endured.latency.max.max(outcome.longest as f64 / 1e3),
        };
    }

    fn line(&self) -> String {
        let Endured {
            name,
            seconds,
            sent,
            lost,
            held_back,
            hiccups,
            latency,
        } = &self.endured;
        format!(
            "{name:<22}{seconds:>7.0} s{sent:>13} sent{lost:>9} lost{held_back:>9} held back   \
             p50 {:.0} µs, p99.9 {:.0} µs, longest {:.2} ms, above 10 ms: {hiccups}",
            latency.p50,
            latency.p999,
            latency.max / 1e3,
        )
    }
}

/// `cargo xtask bench hiccups`
///
/// # Errors
/// It couldn't be measured.
pub fn run(args: &HiccupsArgs) -> Result<ExitCode> {
    let programs = Programs::build()?;
    let machine = machine::describe();
    let lab = Lab::new(programs, 1)?;
    let mut udp = lab.udp_generator()?;
    let seconds = args.minutes * 60.0;
    let settings = Settings {
        turns: 1,
        seconds: 0.5,
        window: 512,
        size: 380,
        steps: STEPS,
    };
    ui::step("Searching for the rate that corex does without loss");
    let text = lab.configuration("hiccups", Reader::Corex)?;
    let rate = {
        let corex = lab.corex("hiccups", &text, "xdp")?;
        lab.place()?;
        let rate = loss_free(&mut udp, &settings).with_context(|| corex.log())?;
        corex.stop()?;
        rate / 2.0
    };
    let order = Order {
        rate: rate as u64,
        seconds: PIECE,
        ..settings.sustained(Traffic::Options)
    };
    ui::say(&format!("Half of it: {} messages each second", order.rate));

    let (mut bare, mut corex) = (Found::new(LIMIT_AF_XDP), Found::new(COREX));
    load_bare(&lab, &mut udp, &order, seconds / 2.0, &mut bare)?;
    let disturbed = load_corex(&lab, &mut udp, &order, seconds, &text, &mut corex)?;
    load_bare(&lab, &mut udp, &order, seconds / 2.0, &mut bare)?;

    ui::say("");
    for found in [&bare, &corex] {
        ui::say(&found.line());
    }
    ui::say(&format!(
        "Meanwhile corex was asked {} times by remote control, {} of which were reloads.",
        disturbed.commands, disturbed.reloads
    ));
    ensure!(
        disturbed.failed == 0,
        "{} of these failed: {}",
        disturbed.failed,
        disturbed.reason.unwrap_or_default()
    );
    if let Some(path) = &args.json {
        let hiccups = Hiccups {
            schema: SCHEMA,
            command: format!(
                "cargo xtask bench hiccups --minutes {} --json {}",
                args.minutes,
                path.display()
            ),
            machine,
            rate: order.rate,
            commands: disturbed.commands,
            reloads: disturbed.reloads,
            devices: vec![bare.endured.clone(), corex.endured.clone()],
        };
        hiccups.write(path)?;
        wrote(path);
    }
    Ok(match corex.endured.hiccups {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn loss_free(udp: &mut Generator, settings: &Settings) -> Result<f64> {
    let order = settings.sustained(Traffic::Options);
    udp.measure(&order)?;
    let outcome = udp.measure(&order)?;
    let rate = outcome.returned as f64 / outcome.seconds;
    let found = bisect(0.0, rate * 1.25, settings.steps, |rate| {
        let order = Order {
            rate: rate as u64,
            ..order
        };
        Ok(is_without_loss(&udp.measure(&order)?))
    })?;
    found.context("no rate was without loss: is the machine busy?")
}

/// Sends for the given time, in pieces.
fn load(udp: &mut Generator, order: &Order, seconds: f64, found: &mut Found) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < seconds {
        found.add(&udp.measure(order)?);
        ui::progress(&format!("  {}", found.line()));
    }
    ui::end_progress();
    ui::say(&ui::paint(Style::Dim, &format!("  {}", found.line())));
    Ok(())
}

fn load_bare(
    lab: &Lab,
    udp: &mut Generator,
    order: &Order,
    seconds: f64,
    found: &mut Found,
) -> Result<()> {
    let device = DEVICES.iter().find(|device| device.name == LIMIT_AF_XDP);
    let running = device.context("no bare loop")?.start(lab)?;
    load(udp, order, seconds, found).with_context(|| running.log())?;
    running.stop()
}

fn load_corex(
    lab: &Lab,
    udp: &mut Generator,
    order: &Order,
    seconds: f64,
    text: &str,
    found: &mut Found,
) -> Result<Disturbed> {
    let corex = lab.corex("hiccups", text, "xdp")?;
    lab.place()?;
    let disturber = Disturber::start(&lab.programs.corex, &lab.work.join("ctl"));
    let loaded = load(udp, order, seconds, found).with_context(|| corex.log());
    let disturbed = disturber.stop();
    loaded?;
    corex.stop()?;
    Ok(disturbed)
}

/// What was asked of corex.
#[derive(Debug, Default)]
struct Disturbed {
    commands: u64,
    reloads: u64,
    failed: u64,
    /// Of the last one that failed.
    reason: Option<String>,
}

/// Asks, in a thread of its own.
struct Disturber {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Option<String>>,
    counts: Arc<[AtomicU64; 3]>,
}

impl Disturber {
    fn start(corex: &Path, socket: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let counts: Arc<[AtomicU64; 3]> = Arc::default();
        let (corex, socket) = (corex.to_owned(), format!("unix:{}", socket.display()));
        let (over, counted) = (Arc::clone(&is_over), Arc::clone(&counts));
        let thread = thread::spawn(move || {
            let [commands, reloads, failed] = &*counted;
            let mut reason = None;
            let mut turn = 0;
            while !over.load(Ordering::Relaxed) {
                turn += 1;
                let command = match turn % RELOAD_EVERY {
                    0 => "corex.reload",
                    _ => COMMANDS[turn % COMMANDS.len()],
                };
                commands.fetch_add(1, Ordering::Relaxed);
                if command == "corex.reload" {
                    reloads.fetch_add(1, Ordering::Relaxed);
                }
                // Not on the device's CPU: who asks isn't corex.
                let mut client = Command::new("taskset");
                client.args(["-c", GENERATOR_CPU]).arg(&corex);
                client.args(["rpc", "--socket", &socket, command]);
                match client.stdin(Stdio::null()).output() {
                    Ok(output) if output.status.success() => (),
                    Ok(output) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        let said = String::from_utf8_lossy(&output.stderr);
                        reason = Some(format!("{command}: {}", said.trim()));
                    }
                    Err(error) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        reason = Some(format!("{command}: {error}"));
                    }
                }
                thread::sleep(COMMAND_EVERY);
            }
            reason
        });
        Self {
            is_over,
            thread,
            counts,
        }
    }

    fn stop(self) -> Disturbed {
        self.is_over.store(true, Ordering::Relaxed);
        let reason = self.thread.join().unwrap_or_default();
        let [commands, reloads, failed] =
            [0, 1, 2].map(|index: usize| self.counts[index].load(Ordering::Relaxed));
        Disturbed {
            commands,
            reloads,
            failed,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up_and_hiccups_are_what_took_longer_than_ten_milliseconds() {
        let mut found = Found::new(COREX);
        let piece = |latencies: &[(u64, u64)], longest| Outcome {
            sent: 10,
            lost: 1,
            seconds: 2.0,
            longest,
            latencies: latencies.to_vec(),
            ..Outcome::default()
        };
        found.add(&piece(&[(1_000, 9)], 1_000));
        found.add(&piece(
            &[(1_000, 7), (2_000, 1), (20_000_000, 1)],
            20_500_000,
        ));
        let endured = &found.endured;
        assert_eq!((endured.sent, endured.lost, endured.hiccups), (20, 2, 1));
        assert_eq!(found.latencies, [(1_000, 16), (2_000, 1), (20_000_000, 1)]);
        let latency = endured.latency;
        assert_eq!(
            (latency.p50, latency.p999, latency.max),
            (1.0, 20_000.0, 20_500.0)
        );
        assert!(found.line().contains("longest 20.50 ms, above 10 ms: 1"));
    }
}
