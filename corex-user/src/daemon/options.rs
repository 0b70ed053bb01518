//! What the operator asks for on the command line.

use std::path::PathBuf;

use crate::kernel::{attach::ModeChoice, inline::TcChoice};

/// What the command line says beside the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration's file.
    pub config: PathBuf,
    /// The instance's name; `None`: after the configuration's file.
    pub instance: Option<String>,
    /// Take the name over from the instance that has it.
    pub take_over: bool,
    /// Somebody waits on standard output for this one to run: it says so there, and takes over
    /// without loss or not at all.
    pub announce: bool,
    /// Interfaces to attach to; empty: those that carry listen addresses.
    pub interfaces: Vec<String>,
    /// The engine.
    pub engine: EngineChoice,
    /// How to attach XDP.
    pub xdp_mode: ModeChoice,
    /// How to attach TC programs.
    pub tc: TcChoice,
    /// Never bind for zero copy.
    pub copy: bool,
    /// Number of workers; `None`: as many as queues, or CPUs.
    pub workers: Option<u32>,
    /// Where to write the books.
    pub books: Option<PathBuf>,
    /// Let the XDP program log rare events.
    pub ebpf_log: bool,
}

/// Which engine the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineChoice {
    /// AF_XDP where privileges and interfaces allow it, else kernel sockets.
    #[default]
    Auto,
    /// AF_XDP in front of kernel sockets; or fail.
    Xdp,
    /// Kernel sockets alone. Needs no privileges.
    Socket,
}
