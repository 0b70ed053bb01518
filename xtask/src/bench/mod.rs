//! `cargo xtask bench`: speeds, as ratios of what one run measured.

mod codecs;
mod generator;
mod guard;
mod hiccups;
mod instructions;
mod lab;
mod micro;
mod protocol;
pub mod report;
pub mod results;
pub mod statistics;
pub mod suite;
mod usage;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Compare speeds.
///
/// A generator in one network namespace sends messages to a device under test in another, over a
/// veth pair, and counts what comes back and how long it took. First it keeps a window of messages
/// on their way and sends as many more as return: the rate that the device sustains. Then it
/// searches for the highest rate without loss, and measures latency and CPU time at half and at a
/// tenth of it. The generator has one CPU, the device and its receive processing another. All
/// devices take turns, several times; the tables show medians, and how they relate. Then listeners,
/// aliases and the like grow, one after the other.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true
)]
#[command(after_help = "\
Rates on a shared machine drift: quote the ratios, not the rates. AF_XDP on veth is in copy
mode, where every packet sent costs a system call's share and a buffer; a NIC with zero copy
has neither. docs/performance.md says more, and documents the JSON.

Examples:
  cargo xtask bench                    everything, about five minutes once built
  cargo xtask bench --quick            a quick look: one turn, a minute
  cargo xtask bench gzip               only devices with `gzip` in their name
  cargo xtask bench aliases            only how the rate changes with the number of aliases
  cargo xtask bench --json docs/performance/run.json && cargo xtask bench report
                                       the figures of README and docs/performance.md
  cargo xtask bench guard              calls through scanners and floods
  cargo xtask bench hiccups            ten minutes of half load: the longest latencies
  cargo xtask bench instructions       instructions that a message costs, against the kept ones
  cargo xtask bench micro              single functions; no network, no root

Needs root and two CPUs.")]
pub struct BenchArgs {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    suite: suite::SuiteArgs,
}

// Help of the others is at their arguments.
#[derive(Debug, Subcommand)]
enum Part {
    /// What codec chains leave of a message, and what they cost
    ///
    /// Needs no network and no root; counting instructions needs valgrind.
    Codecs,
    Guard(guard::GuardArgs),
    Hiccups(hiccups::HiccupsArgs),
    Instructions(instructions::InstructionsArgs),
    Micro(micro::MicroArgs),
    Report(report::ReportArgs),
}

/// `cargo xtask bench`
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    match &args.part {
        Some(Part::Codecs) => codecs::run(),
        Some(Part::Guard(args)) => guard::run(args),
        Some(Part::Hiccups(args)) => hiccups::run(args),
        Some(Part::Instructions(args)) => instructions::run(args),
        Some(Part::Micro(args)) => micro::run(args),
        Some(Part::Report(args)) => report::run(args),
        None => suite::run(&args.suite),
    }
}
