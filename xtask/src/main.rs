//! Loader and developer's tool of corex: `cargo xtask --help`.

mod apt;
mod attach;
mod compile;
mod demo;
mod privilege;
mod setup;
mod test;
mod toolchain;
mod ui;
mod xdp;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Loader and developer's tool of corex.
///
/// New here? `cargo xtask demo` shows corex at work: it needs root on a Debian 12 machine,
/// installs what is missing and removes the networks that it makes.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find or install the eBPF tool chain, and with --peers what the tests talk to
    Setup(setup::SetupArgs),
    /// Build the corex binary, eBPF object included
    Build(compile::BuildArgs),
    /// Build corex, attach it to an interface and run it until Ctrl-C or SIGTERM
    Attach(attach::AttachArgs),
    /// Take corex's XDP program off an interface, after a crash
    Detach(attach::DetachArgs),
    /// Show corex at work: SIP calls, compressed between two corexes, in namespaces
    Demo(demo::DemoArgs),
    /// Run all tests: units, properties, and end to end in namespaces
    Test(test::TestArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Build(args) => compile::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Attach(args) => attach::attach(&args),
        Command::Detach(args) => attach::detach(&args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        ui::complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
