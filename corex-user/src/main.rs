//! The `corex` command.

mod cli;

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{CommandFactory as _, Parser as _};
use corex_user::{
    daemon::{self, Options},
    kernel::{
        heap::CountingHeap,
        maps_document,
        pins::{self, PinError},
        privileges,
    },
    rpc::client,
    script::{
        self, Config,
        catalogue::{self, Chapter},
    },
    telemetry::log,
    top,
};

use crate::cli::{Cli, Commands, DetachArgs, ListArgs, Listed, RpcArgs, RunArgs, TopArgs};

/// So that each worker can say what it holds.
#[global_allocator]
static HEAP: CountingHeap = CountingHeap;

const BAD_CONFIGURATION: u8 = 1;
const RUNS: u8 = 1;
const CANNOT_RUN: u8 = 3;

const WHAT_THERE_IS: &str =
    "Everything that a configuration can use: docs/configuration.md, or `corex list`.";

fn main() -> ExitCode {
    match Cli::parse().command {
        Commands::Check(args) => match load(&args.config) {
            Some(_) => {
                // A closed pipe is the reader's choice.
                let _ = writeln!(std::io::stdout(), "{}: ok", args.config.display());
                ExitCode::SUCCESS
            }
            None => {
                let _ = writeln!(std::io::stderr(), "{WHAT_THERE_IS}");
                ExitCode::from(BAD_CONFIGURATION)
            }
        },
        Commands::Detach(args) => detach(&args),
        Commands::List(args) => list(&args),
        Commands::Rpc(args) => rpc(&args),
        Commands::Top(args) => top(&args),
        Commands::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "corex", &mut script);
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(&script);
            ExitCode::SUCCESS
        }
        Commands::Run(args) => match load(&args.config) {
            Some(config) => run(config, args),
            None => ExitCode::from(BAD_CONFIGURATION),
        },
    }
}

/// Reads a configuration and prints its report to stderr. `None` if it has errors.
fn load(path: &Path) -> Option<Config> {
    // What a script's module starts runs without capabilities from the first moment.
    let loaded = privileges::without(|| script::load(path));
    let colour = std::io::stderr().is_terminal();
    let report = loaded.report.render(colour);
    if !report.is_empty() {
        let _ = write!(std::io::stderr(), "{report}");
    }
    loaded.config
}

/// Prints a chapter of the catalogue, one entry a paragraph.
fn list(args: &ListArgs) -> ExitCode {
    let wanted = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let mut out = std::io::stdout().lock();
    let chapter = match args.chapter {
        Some(Listed::Chapter(chapter)) => chapter,
        document => {
            let text = match document {
                None => catalogue::markdown(),
                Some(_) => maps_document::markdown(),
            };
            // A closed pipe is the reader's choice.
            let _ = out.write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
    };
    let bold = if out.is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    for entry in catalogue::entries(chapter) {
        let text = format!("{} {}", entry.form, entry.doc).to_lowercase();
        if !text.contains(&wanted) {
            continue;
        }
        let module = match chapter {
            Chapter::Functions | Chapter::Parameters => format!("  [{}]", entry.module),
            Chapter::Variables | Chapter::Transformations | Chapter::Modules => String::new(),
        };
        let (start, end) = bold;
        let differs = entry.differs.map_or(String::new(), |differs| {
            format!("\n    Differs from Kamailio: {differs}")
        });
        if writeln!(
            out,
            "{start}{}{end}{module}\n    {}{differs}",
            entry.form, entry.doc
        )
        .is_err()
        {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn run(config: Config, args: RunArgs) -> ExitCode {
    let settings = &config.settings;
    let start = || log::start(settings.debug, &settings.log);
    let log = Arc::new(privileges::without(start));
    let options = Options {
        config: args.config,
        instance: args.instance,
        take_over: args.take_over,
        interfaces: args.interfaces,
        engine: args.engine,
        xdp_mode: args.xdp_mode,
        tc: args.tc,
        copy: args.copy,
        workers: args.workers,
        books: args.books,
        ebpf_log: args.ebpf_log,
    };
    match daemon::run(config, &options, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if log.is_syslog() {
                tracing::error!("{error:#}");
            }
            drop(log);
            let _ = writeln!(std::io::stderr(), "corex: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

/// Takes off what an instance left behind, or lists the instances.
fn detach(args: &DetachArgs) -> ExitCode {
    let Some(name) = &args.instance else {
        let mut out = std::io::stdout().lock();
        for name in pins::instances() {
            let line = match pins::holder(&name) {
                Some(pid) => format!("{name}: runs, as process {pid}"),
                None => {
                    format!("{name}: doesn't run; `corex detach {name}` takes off what it left")
                }
            };
            // A closed pipe is the reader's choice.
            let _ = writeln!(out, "{line}");
        }
        return ExitCode::SUCCESS;
    };
    let (status, words) = match daemon::detach(name) {
        Ok(words) => (ExitCode::SUCCESS, words),
        Err(error) => {
            let status = match error.downcast_ref() {
                Some(PinError::Taken(_)) => RUNS,
                _ => CANNOT_RUN,
            };
            (ExitCode::from(status), format!("{error:#}"))
        }
    };
    let _ = writeln!(std::io::stderr(), "corex: {words}");
    status
}

/// Asks a running corex by its control socket.
fn rpc(args: &RpcArgs) -> ExitCode {
    let question = client::Question {
        socket: args.socket.as_deref(),
        method: &args.method,
        params: &args.params,
        json: args.json,
        patience: Duration::from_secs(args.timeout),
    };
    let answer = client::ask(&question);
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(&answer.output);
    if !answer.error.is_empty() {
        let _ = writeln!(std::io::stderr(), "{}", answer.error);
    }
    ExitCode::from(answer.status)
}

/// Shows a running corex.
fn top(args: &TopArgs) -> ExitCode {
    let options = top::Options {
        socket: args.socket.as_deref(),
        once: args.once,
        interval: Duration::from_secs_f64(args.interval),
        patience: Duration::from_secs(args.timeout),
    };
    match top::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(unread) => {
            let _ = writeln!(std::io::stderr(), "corex: {}", unread.reason);
            ExitCode::from(unread.status)
        }
    }
}
