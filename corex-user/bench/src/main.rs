//! The two ends of `cargo xtask bench`, which starts them in its namespaces: generators that
//! measure what comes back, and the bare loops that corex is compared with.

mod bare;
mod echo;
mod generate;
mod message;
// Shared with `cargo xtask bench`, so that both mean the same.
#[path = "../../../xtask/src/bench/protocol.rs"]
mod protocol;
mod serve;
mod tcp;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Part of `cargo xtask bench`; run that instead")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Send what orders on standard input ask for, count what comes back
    Generate(generate::Args),
    /// The same by TCP
    Tcp(tcp::Args),
    /// Reflect in XDP until killed
    Reflect { interface: String },
    /// Receive, rewrite and transmit by AF_XDP until killed
    Loop { interface: String },
    /// Send UDP back by a kernel socket until killed
    Echo,
}

/// Addresses on both ends of the cable.
#[derive(Clone, Copy, Debug)]
struct Ends {
    generator: (Ipv4Addr, Ipv6Addr),
    device: (Ipv4Addr, Ipv6Addr),
}

impl Ends {
    /// Those of a family: the generator's and the device's.
    fn of(&self, is_ipv6: bool) -> (IpAddr, IpAddr) {
        let pick = |ends: (Ipv4Addr, Ipv6Addr)| match is_ipv6 {
            true => IpAddr::from(ends.1),
            false => IpAddr::from(ends.0),
        };
        (pick(self.generator), pick(self.device))
    }
}

const ENDS: Ends = Ends {
    generator: (
        Ipv4Addr::new(10, 77, 0, 2),
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2),
    ),
    device: (
        Ipv4Addr::new(10, 77, 0, 1),
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1),
    ),
};

/// The port that the device listens on.
const PORT: u16 = 5060;

/// How often a loop without work looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

fn main() -> anyhow::Result<()> {
    match Cli::parse().role {
        Role::Generate(args) => generate::run(&args),
        Role::Tcp(args) => tcp::run(&args),
        Role::Reflect { interface } => bare::reflect(&interface),
        Role::Loop { interface } => bare::af_xdp(&interface),
        Role::Echo => echo::run(),
    }
}
