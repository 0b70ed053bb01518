//! The two ends of `cargo xtask bench`, which starts them in its namespaces: a generator that
//! measures what comes back, and the bare loops that corex is compared with.

mod bare;
mod generate;

use std::{net::Ipv4Addr, time::Duration};

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Part of `cargo xtask bench`; run that instead")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Send requests, count what comes back, print the result as JSON
    Generate(generate::Args),
    /// Reflect in XDP until killed
    Reflect { interface: String },
    /// Receive, rewrite and transmit by AF_XDP until killed
    Loop { interface: String },
}

/// Addresses on both ends of the cable.
#[derive(Clone, Copy, Debug)]
struct Ends {
    generator: Ipv4Addr,
    device: Ipv4Addr,
}

const ENDS: Ends = Ends {
    generator: Ipv4Addr::new(10, 77, 0, 2),
    device: Ipv4Addr::new(10, 77, 0, 1),
};

/// How often a loop without work looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

fn main() -> anyhow::Result<()> {
    match Cli::parse().role {
        Role::Generate(args) => generate::run(&args),
        Role::Reflect { interface } => bare::reflect(&interface),
        Role::Loop { interface } => bare::af_xdp(&interface),
    }
}
