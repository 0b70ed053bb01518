//! `cargo xtask soak`: corex under everything at once, for as long as one likes.

mod config;
mod disturb;
mod judge;
mod lab;
mod load;
mod log;
mod progress;
mod report;
mod results;
mod run;
mod sample;
mod timeline;
mod verdicts;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use self::{results::Soak, run::Order};
use crate::{
    bench::{
        results::{Kept as _, SCHEMA},
        suite::machine,
    },
    compile::{self, Profile},
    privilege, setup,
    ui::{self, Style},
};

/// Run corex under everything at once, and see that nothing grows, leaks or is lost.
///
/// In network namespaces that it makes and removes: calls by UDP and TCP, calls that are compressed and
/// sealed with keys of their own, registrations, keep-alives, STUN, hooks in Lua and Perl, connections and
/// junk; and meanwhile links that flap, configurations that are taken and refused, remote control by all its
/// ways, networks that are blocked for a while, `corex top`, and a new corex in the place of the old one.
/// In the end there is no load, and what is there at rest must be what was there before: frames, descriptors,
/// threads, heap; the books balance, no call has failed, and memory hasn't grown under load.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  cargo xtask soak --minutes 2                       a quick look
  cargo xtask soak --minutes 60 --json docs/soak.json && cargo xtask soak report
                                                     the figures of docs/soak.md
  cargo xtask soak --engine both --seed 7            AF_XDP, then kernel sockets, in a known order

docs/soak.md says what is watched, and what may be. COREX_BIN names another binary.

Exit status:
  0  all is as it should be
  1  something isn't, or it couldn't be done; the table says what, and what to do

Needs root. Half of a CPU is enough, and others may be busy meanwhile.")]
pub struct SoakArgs {
    #[command(subcommand)]
    part: Option<Part>,
    /// Minutes of load; warm-up and rest add about two
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = minutes)]
    minutes: f64,
    /// Which engine
    #[arg(long, value_enum, default_value_t = Engine::Xdp)]
    engine: Engine,
    /// Calls each second by UDP; all else is some three hundred messages a second more
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=200))]
    calls: u64,
    /// What the random order is made of. Default: the time; it is printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write the results to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Put the run that is kept in docs/soak.json into docs/soak.md
    Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// AF_XDP
    Xdp,
    /// Kernel sockets alone
    Socket,
    /// One after the other, each for that time
    Both,
}

impl Engine {
    fn names(self) -> &'static [&'static str] {
        match self {
            Engine::Xdp => &["xdp"],
            Engine::Socket => &["socket"],
            Engine::Both => &["xdp", "socket"],
        }
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.5..=10_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("expected a number of minutes from 0.5 to 10000".to_owned()),
    }
}

/// `cargo xtask soak`
///
/// # Errors
/// It couldn't be done.
pub fn run(args: &SoakArgs) -> Result<ExitCode> {
    if let Some(Part::Report) = args.part {
        report::write()?;
        return Ok(ExitCode::SUCCESS);
    }
    privilege::require_root("the soak test, which makes network namespaces,")?;
    setup::ensure_toolchain()?;
    setup::ensure_tools(&setup::FOR_SOAK)?;
    let binary = compile::corex_to_run(Profile::Release)?;
    for name in corex_lab::sweep()? {
        ui::say(&format!("removed {name}, left by a run that was killed"));
    }
    let machine = machine::describe();
    let seed = args.seed.unwrap_or_else(of_the_time);
    let engine = match args.engine {
        Engine::Xdp => "",
        Engine::Socket => " --engine socket",
        Engine::Both => " --engine both",
    };
    let command = format!("cargo xtask soak --minutes {}{engine}", args.minutes);
    ui::say(&format!("Seed {seed}"));
    let mut runs = Vec::new();
    for engine in args.engine.names() {
        let order = Order {
            engine,
            time: Duration::from_secs_f64(args.minutes * 60.0),
            rate: args.calls,
            seed,
        };
        let kept = compile::workspace().join(format!("target/soak/{seed}-{engine}"));
        let mut run = run::run(order, &binary, &kept)?;
        run.thin_out();
        runs.push(run);
    }
    let soak = Soak {
        schema: SCHEMA,
        command,
        machine,
        seed,
        runs,
    };
    ui::say(&report::terminal(&soak));
    if let Some(path) = &args.json {
        soak.write(path)?;
        ui::say(&format!("wrote {}", path.display()));
    }
    if soak.runs.iter().all(results::EngineRun::is_fine) {
        ui::say(&ui::paint(Style::Good, "All is as it should be."));
        return Ok(ExitCode::SUCCESS);
    }
    ui::say(&ui::paint(
        Style::Bad,
        &format!("Not all is as it should be; the same order of things: --seed {seed}"),
    ));
    Ok(ExitCode::FAILURE)
}

/// A seed for who named none.
fn of_the_time() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(1, |time| time.as_secs())
}
