//! The `corex` command.

mod cli;
mod client;
mod keys;
mod manual;

use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use corex_codec::CodecError;
use corex_script::{Config, Loading, compile::RunAsError, offload, settings::Settings};
use corex_user::{
    catalogue::{self, Chapter},
    daemon::{self, Options},
    decode::{self, Decoder, Towards},
    dictionary,
    kernel::{
        heap::CountingHeap,
        identity::{Identity, IdentityError},
        maps_document,
        pins::{self, PinError},
        privileges, root_files,
    },
    migration,
    module::MODULES,
    rpc::{client as asking, commands, document},
    telemetry::log,
    top,
};
use data_encoding::HEXLOWER;

use crate::cli::{
    CheckArgs, Cli, CliCommand, DecodeArgs, DetachArgs, DictionaryCommand, EncodeArgs, ListArgs,
    Listed, RootFilesCli, RpcArgs, RunArgs, RunAsArgs, TopArgs,
};

/// So that each worker can say what it holds.
#[global_allocator]
static HEAP: CountingHeap = CountingHeap;

const BAD_CONFIGURATION: u8 = 1;
const RUNS: u8 = 1;
const NO_DICTIONARY: u8 = 1;
const CANNOT_RUN: u8 = 3;
const NOT_TRANSFORMED: u8 = 1;
const CANNOT_TRANSFORM: u8 = 3;

const WHAT_THERE_IS: &str =
    "Everything that a configuration can use: docs/configuration.md, or `corex list`.";

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == root_files::COMMAND)
    {
        let cli = RootFilesCli::parse_from(std::env::args_os().skip(1));
        return match root_files::serve(&cli.kept) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(CANNOT_RUN),
        };
    }
    match Cli::parse().command {
        CliCommand::Check(args) => check(&args),
        CliCommand::Detach(args) => detach(&args),
        CliCommand::List(args) => list(&args),
        CliCommand::Rpc(args) => rpc(&args),
        CliCommand::Top(args) => top(&args),
        CliCommand::Decode(args) => transformed(decode(args)),
        CliCommand::Encode(args) => transformed(encode(args)),
        CliCommand::Client(args) => client::run(&args),
        CliCommand::Keys(command) => keys::run(&command),
        CliCommand::Dictionary(command) => dictionary(&command),
        CliCommand::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "corex", &mut script);
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(&script);
            ExitCode::SUCCESS
        }
        CliCommand::Manual(args) => match manual::write(Cli::command(), &args.folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(
                    std::io::stderr(),
                    "corex: {}: {error}",
                    args.folder.display()
                );
                ExitCode::from(CANNOT_RUN)
            }
        },
        CliCommand::Run(args) if args.background => background(),
        CliCommand::Run(args) => match load(&args.config, &args.run_as) {
            Some(config) => run(config, args),
            None => ExitCode::from(BAD_CONFIGURATION),
        },
    }
}

/// Says what is wrong with a configuration, or what of a Kamailio's runs here.
fn check(args: &CheckArgs) -> ExitCode {
    if let Some(path) = &args.from_kamailio {
        let migration = migration::examine(path, MODULES);
        // A closed pipe is the reader's choice.
        let _ = write!(std::io::stdout(), "{}", migration.text);
        return if migration.runs {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(BAD_CONFIGURATION)
        };
    }
    // The command line has one of the two.
    let path = args.config.as_deref().unwrap_or(Path::new(""));
    let Some(config) = load(path, &args.run_as) else {
        let _ = writeln!(std::io::stderr(), "{WHAT_THERE_IS}");
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let mut text = format!("{}: ok\n", path.display());
    if let Some(note) = config.note() {
        text.push_str(&format!("note: {note}\n"));
    }
    if args.explain {
        text.push_str(&explain(&config));
    }
    // A closed pipe is the reader's choice.
    let _ = write!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

/// What becomes of messages in the kernel and what doesn't, by the listen lines as they are written.
fn explain(config: &Config) -> String {
    let settings = &config.settings;
    let mut listeners = Vec::new();
    for listen in &settings.listen {
        let ip: Option<IpAddr> = listen.host.parse().ok();
        let (transport, host, port) = (listen.transport, &listen.host, listen.port);
        listeners.push(offload::Listener {
            name: match ip {
                Some(IpAddr::V6(ip)) => format!("{transport}:[{ip}]:{port}"),
                _ => format!("{transport}:{host}:{port}"),
            },
            transport,
            address: ip.map(|ip| SocketAddr::new(ip, port)),
        });
    }
    let mut text = String::new();
    if !settings.corex.offload {
        text.push_str("modparam(\"corex\", \"offload\", 1) would have the kernel do this:\n");
    }
    let plans = config.offload.plan(settings, &listeners);
    text.push_str(&offload::explain(&plans, settings.corex.min_msg_len));
    text
}

/// Reads a configuration and prints its report to stderr. `None` if it has errors.
fn load(path: &Path, run_as: &RunAsArgs) -> Option<Config> {
    // What a script's module starts runs without privileges from the first moment.
    let loaded = privileges::before_it_is_settled(|| {
        let loading = Loading {
            settled: &|settings| settle(settings, run_as),
            ..Loading::default()
        };
        corex_script::load(path, MODULES, &loading)
    });
    let colour = std::io::stderr().is_terminal();
    let report = loaded.report.render(colour);
    if !report.is_empty() {
        let _ = write!(std::io::stderr(), "{report}");
    }
    loaded.config
}

/// Decides who corex is from the moment on that it gives root up.
fn settle(settings: &Settings, run_as: &RunAsArgs) -> Result<(), RunAsError> {
    let user = run_as.user.as_ref().or(settings.run_as.user.as_ref());
    let group = run_as.group.as_ref().or(settings.run_as.group.as_ref());
    let chosen = Identity::choose(user.map(String::as_str), group.map(String::as_str));
    match chosen {
        Ok(Some(identity)) => privileges::settle_on(identity),
        Ok(None) => {}
        Err(error) => {
            return Err(RunAsError {
                is_group: matches!(error, IdentityError::NoGroup(_)),
                reason: error.to_string(),
            });
        }
    }
    Ok(())
}

/// Prints a document, or one entry a paragraph.
fn list(args: &ListArgs) -> ExitCode {
    let text = match (args.chapter, args.markdown) {
        (Some(Listed::Chapter(_)), true) => Cli::command()
            .error(
                ErrorKind::ArgumentConflict,
                "--markdown prints all chapters of what a configuration can use: name none",
            )
            .exit(),
        (Some(Listed::Chapter(chapter)), false) => paragraphs(chapter_entries(chapter), args),
        (Some(Listed::CliCommand), false) => paragraphs(command_entries(), args),
        (Some(Listed::CliCommand), true) => document::markdown(commands::ALL),
        (Some(Listed::Maps), _) => maps_document::markdown(),
        (None, _) => catalogue::markdown(),
    };
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// What `corex list` shows of one thing.
struct Paragraph {
    form: String,
    /// Where it is from; may be empty.
    module: String,
    doc: String,
    differs: String,
}

fn chapter_entries(chapter: Chapter) -> impl Iterator<Item = Paragraph> {
    let paragraph = move |entry: catalogue::Entry| Paragraph {
        form: entry.form,
        module: match chapter.is_by_module() {
            true => format!("  [{}]", entry.module),
            false => String::new(),
        },
        doc: entry.doc.to_owned(),
        differs: entry.differs.map_or(String::new(), |differs| {
            format!("\n    Differs from Kamailio: {differs}")
        }),
    };
    catalogue::entries(chapter).into_iter().map(paragraph)
}

fn command_entries() -> impl Iterator<Item = Paragraph> {
    commands::ALL.iter().map(|command| Paragraph {
        form: document::form(command),
        module: String::new(),
        doc: command.doc.join("\n    "),
        differs: String::new(),
    })
}

/// Those with the text that was asked for in their name or description.
fn paragraphs(all: impl Iterator<Item = Paragraph>, args: &ListArgs) -> String {
    let wanted = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let (start, end) = if std::io::stdout().is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    all.filter(|paragraph| {
        let text = format!("{} {}", paragraph.form, paragraph.doc);
        text.to_lowercase().contains(&wanted)
    })
    .map(|paragraph| {
        let Paragraph {
            form,
            module,
            doc,
            differs,
        } = paragraph;
        format!("{start}{form}{end}{module}\n    {doc}{differs}\n")
    })
    .collect()
}

fn run(config: Config, args: RunArgs) -> ExitCode {
    let settings = &config.settings;
    let start = || log::start(settings.debug, &settings.log);
    let log = Arc::new(privileges::without(start));
    let options = Options {
        config: args.config,
        instance: args.instance,
        take_over: args.take_over,
        announce: args.announce,
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

/// Starts this command once more, in the background, and waits until that one runs.
fn background() -> ExitCode {
    let started = || -> anyhow::Result<ExitCode> {
        let program = std::env::current_exe().context("find this program")?;
        let words = std::env::args_os().skip(1);
        let mut child = Command::new(program)
            .args(words.filter(|word| word != "--background"))
            .arg("--announce")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A terminal's signals are the foreground's.
            .process_group(0)
            .spawn()
            .context("start it")?;
        let mut said = String::new();
        if let Some(mut output) = child.stdout.take() {
            output.read_to_string(&mut said).context("hear of it")?;
        }
        if said == daemon::ANNOUNCEMENT {
            return Ok(ExitCode::SUCCESS);
        }
        // It has said why.
        let status = child.wait().context("wait for it")?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(
            code.filter(|code| *code != 0).unwrap_or(CANNOT_RUN),
        ))
    };
    started().unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "corex: {error:#}");
        ExitCode::from(CANNOT_RUN)
    })
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
    let question = asking::Question {
        socket: args.socket.as_deref(),
        method: &args.method,
        params: &args.params,
        json: args.json,
        patience: Duration::from_secs(args.timeout),
    };
    let answer = asking::ask(&question);
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(&answer.output);
    if !answer.error.is_empty() {
        let _ = writeln!(std::io::stderr(), "{}", answer.error);
    }
    ExitCode::from(answer.status)
}

/// Decodes one message, or many line by line.
fn decode(args: DecodeArgs) -> anyhow::Result<Result<Vec<u8>, CodecError>> {
    let mut decoder = Decoder::open(&args.chain.into())?;
    if args.lines {
        let served = decode::serve(
            &mut decoder,
            &mut std::io::stdin().lock(),
            &mut std::io::stdout().lock(),
        );
        return match served {
            // A closed pipe is the reader's choice.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(Ok(Vec::new())),
        };
    }
    let message = message(&args.file, args.hex)?;
    let towards = args.direction.map_or(Towards::Either, Towards::from);
    let decoded = decoder.decode(towards, &message);
    if args.steps {
        let mut len = message.len();
        let mut text = format!("{}\n", decoded.towards);
        for step in &decoded.made.steps {
            let made = step.output.len();
            text.push_str(&format!("{}: {len} to {made} bytes\n", step.codec));
            len = made;
        }
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    Ok(decoded.plain().map(<[u8]>::to_vec))
}

fn encode(args: EncodeArgs) -> anyhow::Result<Result<Vec<u8>, CodecError>> {
    let message = message(&args.file, false)?;
    let encoded = decode::encode(&args.chain.into(), args.direction.into(), &message)?;
    Ok(encoded.map(|bytes| {
        if args.hex {
            format!("{}\n", HEXLOWER.encode(&bytes)).into_bytes()
        } else {
            bytes
        }
    }))
}

/// The message in a file.
fn message(path: &Path, is_hex: bool) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        return decode::message(&mut std::io::stdin().lock(), is_hex).context("standard input");
    }
    std::fs::File::open(path)
        .map_err(anyhow::Error::from)
        .and_then(|mut file| decode::message(&mut file, is_hex))
        .with_context(|| path.display().to_string())
}

/// Prints what a chain made, or why it made nothing.
fn transformed(result: anyhow::Result<Result<Vec<u8>, CodecError>>) -> ExitCode {
    let (status, words) = match result {
        Ok(Ok(bytes)) => {
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(&bytes);
            return ExitCode::SUCCESS;
        }
        Ok(Err(error)) => (
            NOT_TRANSFORMED,
            format!("{}: {error}", error.fault.reason().name()),
        ),
        Err(error) => (CANNOT_TRANSFORM, format!("corex: {error:#}")),
    };
    let _ = writeln!(std::io::stderr(), "{words}");
    ExitCode::from(status)
}

/// Makes a dictionary, or shows some.
fn dictionary(command: &DictionaryCommand) -> ExitCode {
    let outcome = match command {
        DictionaryCommand::Train(args) => dictionary::make(&dictionary::Training {
            files: args.files.clone(),
            output: args.output.clone(),
            id: args.id,
            size: args.size as usize,
        }),
        DictionaryCommand::Show(args) => dictionary::show(args.file.as_deref(), &args.on),
    };
    match outcome {
        Ok(text) => {
            // A closed pipe is the reader's choice.
            let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "corex: {error:#}");
            ExitCode::from(NO_DICTIONARY)
        }
    }
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
