//! `cargo xtask bench`: speeds, as ratios of what one run measured.

mod codecs;
mod device;
mod instructions;
mod table;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use corex_lab::{Namespace, WorkDir, frame::Mac, process::output_of, veth};
use serde_json::Value;

use self::device::{DEVICES, Device};
use crate::{
    compile::{self, Profile},
    privilege, setup,
    ui::{self, Style},
};

/// Compare speeds.
///
/// A generator in one network namespace sends requests to a device under test in another,
/// over a veth pair, and counts what comes back. It keeps a window of requests on their way
/// and sends as many more as return, so the figure is what the device sustains, not what it
/// survives. Source ports and Call-IDs vary. The generator has one CPU, the device and its
/// receive processing another. All devices take turns, several times; the table shows
/// medians, and how they relate.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true
)]
#[command(after_help = "\
Rates on a shared machine drift: quote the ratios, not the rates. AF_XDP on veth is in copy
mode, where every packet sent costs a system call's share and a buffer; a NIC with zero copy
has neither.

Examples:
  cargo xtask bench                    everything, about two minutes once built
  cargo xtask bench --seconds 0.3 --repeat 3
                                       a quick look
  cargo xtask bench gzip               only devices with `gzip` in their name

Needs root and two CPUs.")]
pub struct BenchArgs {
    #[command(subcommand)]
    part: Option<Part>,
    /// Seconds that each device is measured in each turn
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Turns
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    repeat: u32,
    /// Requests on their way at most
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(64..=2048))]
    window: u32,
    /// Only devices with this in their name
    filter: Option<String>,
}

// Help of the others is at their arguments.
#[derive(Debug, Subcommand)]
enum Part {
    /// What codec chains leave of a message, and what they cost
    ///
    /// Needs no network and no root; counting instructions needs valgrind.
    Codecs,
    Instructions(instructions::InstructionsArgs),
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=30.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0.1 to 30".to_owned()),
    }
}

/// CPU of the generator, and of the device under test.
const GENERATOR_CPU: &str = "0";
const DEVICE_CPU: &str = "1";

/// What one turn of one device gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Requests that came back, each second.
    pub rate: f64,
    /// Requests that didn't come back, in all.
    pub lost: u64,
}

/// The two namespaces and the cable.
pub struct Bench {
    generator: Namespace,
    device: Namespace,
    work: WorkDir,
    road: PathBuf,
    corex: PathBuf,
}

/// `cargo xtask bench`
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    match &args.part {
        Some(Part::Codecs) => return codecs::run(),
        Some(Part::Instructions(args)) => return instructions::run(args),
        None => {}
    }
    privilege::require_root("the benchmark, which makes network namespaces,")?;
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    anyhow::ensure!(
        cpus >= 2,
        "the benchmark needs two CPUs; this machine has {cpus}"
    );
    setup::ensure_toolchain()?;
    setup::ensure_tools(&setup::FOR_BENCH)?;
    ui::step("Building");
    let corex = compile::corex(Profile::Release)?;
    let road = compile::build(Profile::Release, "corex-bench", "corex-bench")?;
    for name in corex_lab::sweep()? {
        ui::say(&format!("removed {name}, left by a run that was killed"));
    }
    let devices: Vec<&Device> = DEVICES
        .iter()
        .filter(|d| args.filter.as_ref().is_none_or(|f| d.name.contains(f)))
        .collect();
    anyhow::ensure!(!devices.is_empty(), "no device has that in its name");

    ui::step(&format!(
        "Measuring {} devices, {} times {} s each",
        devices.len(),
        args.repeat,
        args.seconds
    ));
    let bench = Bench::new(road, corex)?;
    let mut samples = vec![Vec::new(); devices.len()];
    for turn in 1..=args.repeat {
        for (device, samples) in devices.iter().zip(&mut samples) {
            ui::progress(&format!(
                "  turn {turn} of {}: {}",
                args.repeat, device.name
            ));
            let sample = bench
                .measure(device, args)
                .with_context(|| device.name.to_owned())?;
            samples.push(sample);
        }
        ui::end_progress();
        ui::say(&ui::paint(
            Style::Dim,
            &format!("  turn {turn} of {} done", args.repeat),
        ));
    }
    ui::say("");
    ui::say(&table::render(&devices, &samples));
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    fn new(road: PathBuf, corex: PathBuf) -> Result<Self> {
        let generator = Namespace::new("gen")?;
        let device = Namespace::new("dut")?;
        veth((&generator, "g0"), (&device, "d0"))?;
        for (namespace, interface, address) in [
            (&generator, "g0", "10.77.0.2/24"),
            (&device, "d0", "10.77.0.1/24"),
        ] {
            namespace.address(interface, address)?;
            // A veth end takes frames that XDP sends only with XDP or GRO of its own.
            namespace.offload(interface, "gro", true)?;
            // Receive processing in a thread, which can be given a CPU.
            let file = format!("/sys/class/net/{interface}/threaded");
            namespace.exec("sh", &["-c", &format!("echo 1 > {file}")])?;
        }
        let macs = (generator.mac("g0")?, device.mac("d0")?);
        device.neighbour("d0", "10.77.0.2".parse()?, macs.0)?;
        generator.neighbour("g0", "10.77.0.1".parse()?, macs.1)?;
        Ok(Self {
            generator,
            device,
            work: WorkDir::new()?,
            road,
            corex,
        })
    }

    fn measure(&self, device: &Device, args: &BenchArgs) -> Result<Sample> {
        let running = (device.start)(self)?;
        // XDP brings receive threads of its own, so they are placed after the start.
        place("g0", GENERATOR_CPU)?;
        place("d0", DEVICE_CPU)?;
        let sample = self.generate(args).with_context(|| running.log())?;
        running.stop()?;
        Ok(sample)
    }

    fn generate(&self, args: &BenchArgs) -> Result<Sample> {
        let mac = |mac: Mac| mac.to_string();
        let output = output_of(
            self.generator
                .command(&self.road)
                .args(["generate", "g0"])
                .arg(mac(self.device.mac("d0")?))
                .arg(mac(self.generator.mac("g0")?))
                .args(["--cpu", GENERATOR_CPU])
                .args(["--seconds", &args.seconds.to_string()])
                .args(["--window", &args.window.to_string()])
                .env("RUST_BACKTRACE", "0"),
        )?;
        let result: Value = serde_json::from_str(&output).context("the generator's result")?;
        let number = |key: &str| result[key].as_f64().unwrap_or_default();
        Ok(Sample {
            rate: number("returned") / number("seconds"),
            lost: number("lost") as u64,
        })
    }
}

/// Gives the receive threads of an interface a CPU.
fn place(interface: &str, cpu: &str) -> Result<()> {
    let prefix = format!("napi/{interface}-");
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.starts_with(&prefix) {
            let pid = entry.file_name().to_string_lossy().into_owned();
            output_of(std::process::Command::new("taskset").args(["-pc", cpu, &pid]))?;
        }
    }
    Ok(())
}

/// Where the configurations are.
fn configurations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench")
}
