//! Loader and developer's tool of corex: `cargo xtask --help`.

mod apt;
mod attach;
mod bench;
mod compile;
mod demo;
mod deny;
mod dictionary;
mod fuzz;
mod package;
mod privilege;
mod random;
mod setup;
mod soak;
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
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

// Each subcommand's help is at its arguments.
#[derive(Debug, Subcommand)]
enum Task {
    Setup(setup::SetupArgs),
    Build(compile::BuildArgs),
    Attach(attach::AttachArgs),
    Detach(attach::DetachArgs),
    Demo(demo::DemoArgs),
    Bench(bench::BenchArgs),
    Test(test::TestArgs),
    Fuzz(fuzz::FuzzArgs),
    Soak(soak::SoakArgs),
    Dictionary(dictionary::DictionaryArgs),
    Deny(deny::DenyArgs),
    Package(package::PackageArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Task::Setup(args) => setup::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Build(args) => compile::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Attach(args) => attach::attach(&args),
        Task::Detach(args) => attach::detach(&args).map(|()| ExitCode::SUCCESS),
        Task::Demo(args) => demo::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Dictionary(args) => dictionary::run(&args),
        Task::Deny(args) => deny::run(&args),
        Task::Package(args) => package::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        ui::complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
