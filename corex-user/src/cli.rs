//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValue};
use corex_user::{
    catalogue::Chapter,
    daemon::EngineChoice,
    decode::{self, Towards},
    kernel::{attach::ModeChoice, inline::TcChoice, root_files::Kept},
};

use crate::client::ClientArgs;
use crate::keys::KeysCommand;

/// eBPF/XDP-accelerated SIP interception proxy.
///
/// corex runs hooks on the raw bytes of every SIP message that it receives or is about to
/// send, in the configuration dialect of Kamailio's corex module. An XDP program on the NIC
/// filters and steers the packets.
#[derive(Debug, Parser)]
#[command(name = "corex", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The command line of the process that keeps root's files.
#[derive(Debug, Parser)]
pub struct RootFilesCli {
    /// What it does.
    #[command(flatten)]
    pub kept: Kept,
}

const EXIT_CODES: &str = "\
Exit status:
  0  done; `run`: stopped by SIGTERM or SIGINT
  1  the configuration has errors
  2  the command line is wrong
  3  could not start, or died: privileges, ports, interfaces; the message says which";

const SOCKET_HELP: &str =
    "Where corex listens: unix:PATH or tcp:HOST[:PORT]. Default: /run/corex/corex_ctl";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run in the foreground until SIGTERM or SIGINT
    ///
    /// SIGUSR1 logs the counters, and writes them to the --books file. SIGHUP reads the
    /// configuration again: a new one takes over between two messages, one with errors is
    /// refused and the old one stays. SIGUSR2 makes way for `corex run --take-over`.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Take off what an instance left behind
    ///
    /// In inline mode corex's programs outlive it when it is killed, and when it is stopped with
    /// on_failure "closed": they let the server's packets pass, or drop them, until the next
    /// corex of that name takes over. This removes them, with the instance's veth pairs and
    /// pins. An instance that runs is left alone. Without a name it lists the instances.
    #[command(after_help = DETACH_EXAMPLES)]
    Detach(DetachArgs),
    /// Check a configuration and say what is wrong with it
    ///
    /// Reads the file as `run` would, reports every mistake with file, line, column and what
    /// was expected, and opens no socket. Exit status 1 if there are errors; warnings alone
    /// leave it at 0.
    Check(CheckArgs),
    /// List what a configuration can use
    ///
    /// Functions, pseudo-variables, parameters or modules, each with what it does and what
    /// differs from Kamailio: the very tables that `check` goes by. Beside them, the eBPF maps, and
    /// the commands that a running corex takes.
    List(ListArgs),
    /// Ask a running corex something, or tell it
    ///
    /// Sends a command to its control socket, and prints what comes back as kamcmd does. The
    /// commands: `corex list commands`; those of the corex that runs: `corex rpc
    /// system.listMethods`, and for each `corex rpc system.methodHelp NAME`.
    #[command(after_help = RPC_EXAMPLES)]
    Rpc(RpcArgs),
    /// Watch a running corex
    ///
    /// Packets per second by road and by socket, how long hooks take, drops by reason and the
    /// workers' load, live over its control socket. Keys: q quit, p or space pause, r count from
    /// here, s sort by the next column. While corex doesn't answer it is asked again and again.
    /// Prints once and exits where standard output is no terminal.
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// Decode a message that was captured
    ///
    /// Runs a codec chain on one message and prints the plain one. Age and repetition don't count:
    /// what a receiver refuses as stale or replayed decodes here. A chain may be given by the command
    /// line alone; of a configuration only `modparam("codec", …)` counts, and no script is run.
    #[command(after_help = DECODE_EXAMPLES)]
    Decode(DecodeArgs),
    /// Encode a message as a sender would
    ///
    /// The inverse of `decode`: a new session, now. Prints the bytes for the wire.
    #[command(after_help = ENCODE_EXAMPLES)]
    Encode(EncodeArgs),
    /// Stand in front of a plain SIP client, as a phone that speaks a chain
    ///
    /// Takes plain SIP on this host, and sends it to a server by a codec chain; and back. Where the
    /// chain says key=device it enrols with the first message, again before its key ends, and when the
    /// server doesn't know it. docs/enrolment.md is the manual.
    Client(ClientArgs),
    /// Make the keys that devices enrol with
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make dictionaries for zstd, and show them
    #[command(subcommand)]
    Dictionary(DictionaryCommand),
    /// Print a script that completes corex's commands and options in a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArgs),
    /// Write the manual pages: those of the commands, and corex.cfg(5)
    #[command(after_help = MANUAL_EXAMPLES)]
    Manual(ManualArgs),
}

/// Which chain, and what it names.
#[derive(Debug, Args)]
pub struct ChainArgs {
    /// Configuration with the chain, its keys and its dictionaries
    #[arg(long, short = 'f', value_name = "FILE", required_unless_present_any = ["chain", "chain_line"])]
    pub config: Option<PathBuf>,
    /// The chain's name, or that of a codec without arguments. Default: the only one there is
    #[arg(long, short = 'c', value_name = "NAME")]
    pub chain: Option<String>,
    /// A chain as modparam("codec", "chain", …) has it, instead of the configuration's
    #[arg(long, value_name = "NAME=CODEC|…", conflicts_with = "chain")]
    pub chain_line: Option<String>,
    /// A key as modparam("codec", "key", …) has it, instead of the configuration's of that name; may
    /// be repeated
    #[arg(long = "key", short = 'k', value_name = "NAME=[ID:]SOURCE")]
    pub keys: Vec<String>,
    /// A dictionary as modparam("codec", "dictionary", …) has it, in the same way
    #[arg(long = "dictionary", value_name = "NAME=/PATH")]
    pub dictionaries: Vec<String>,
    /// Keys of devices, for `key=device`: a file of its owner's alone, with lines
    /// `UUID=[GENERATION:]KEY`
    #[arg(long, value_name = "FILE")]
    pub devices: Option<PathBuf>,
    /// What devices enrol with, as the server has it: keys that enrolments bring are learnt from them;
    /// may be repeated
    #[arg(long = "enrol-key", value_name = "[ID:]SOURCE")]
    pub enrol_keys: Vec<String>,
}

impl From<ChainArgs> for decode::Source {
    fn from(args: ChainArgs) -> decode::Source {
        decode::Source {
            config: args.config,
            chain: args.chain,
            chain_line: args.chain_line,
            keys: args.keys,
            dictionaries: args.dictionaries,
            devices: args.devices,
            enrol_keys: args.enrol_keys,
        }
    }
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TowardsArg {
    /// Towards the side that doesn't send first
    ToServer,
    /// Towards the side that sends first: a phone, a chain `NAME(client)`
    ToClient,
}

impl From<TowardsArg> for Towards {
    fn from(arg: TowardsArg) -> Towards {
        match arg {
            TowardsArg::ToServer => Towards::Server,
            TowardsArg::ToClient => Towards::Client,
        }
    }
}

/// `corex decode`
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// Which chain.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// The message; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-", conflicts_with = "lines")]
    pub file: PathBuf,
    /// Which way it went. Default: either is tried
    #[arg(long, value_enum, value_name = "WAY")]
    pub direction: Option<TowardsArg>,
    /// The message is hexadecimal digits; blanks and colons are read over
    #[arg(long)]
    pub hex: bool,
    /// Say on standard error what each codec made, and which way the message went
    #[arg(long)]
    pub steps: bool,
    /// Read many messages, one a line, and answer each with a line: for programs
    #[arg(long, conflicts_with_all = ["direction", "hex", "steps"])]
    pub lines: bool,
}

/// `corex encode`
#[derive(Debug, Args)]
pub struct EncodeArgs {
    /// Which chain.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// The plain message; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Which way it is to go
    #[arg(long, value_enum, value_name = "WAY", default_value = "to-server")]
    pub direction: TowardsArg,
    /// Print hexadecimal digits
    #[arg(long)]
    pub hex: bool,
}

/// `corex dictionary`
#[derive(Debug, Subcommand)]
pub enum DictionaryCommand {
    /// Train a dictionary from messages of your own
    ///
    /// Each file is a capture (pcap or pcapng; SIP over UDP is taken from it), or holds one or more
    /// whole messages. Take them from as many kinds of devices as there are, some thousands. The
    /// dictionary is made of pieces of them: only its owner may read the file.
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(TrainArgs),
    /// Show a dictionary, or those that come with corex
    Show(ShowArgs),
}

/// `corex dictionary train`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Captures, or files with messages
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where it goes; a file that is there already is left alone
    #[arg(long, short = 'o', value_name = "FILE")]
    pub output: PathBuf,
    /// What messages call it: another one for each dictionary that is in use, 49153 to 49407 are
    /// corex's own. Up to 65535 it takes two bytes of each message, above that four
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(32_768..2_147_483_648))]
    pub id: u32,
    /// The most bytes of it
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    pub size: u32,
}

/// `corex dictionary show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The dictionary. Default: those that come with corex
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Also what it makes of messages: captures, or files with messages
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub on: Vec<PathBuf>,
}

const TRAIN_EXAMPLES: &str = "\
Examples:
  corex dictionary train monday.pcap tuesday.pcapng --id 50001 --output fleet-1.dict
  corex dictionary show fleet-1.dict --on wednesday.pcap

Exit status:
  0  done
  1  a file can't be read, or has too few messages; the message says which
  2  the command line is wrong";

const DECODE_EXAMPLES: &str = "\
Examples:
  corex decode --config /etc/corex.cfg --chain edge message.bin
  corex decode --chain-line 'edge=zstd(sip) | aead(aes-256-gcm, key=edge)' \\
      --key edge=7:file:/root/edge-7.key --steps message.bin
  tshark -r old.pcap -Y frame.number==7 -T fields -e udp.payload |
      corex decode --config edge.cfg --hex
  corex decode --config edge.cfg --devices devices.txt --enrol-key 8:file:/root/enrol.pem first.bin
  printf 'to-server c1076a…\\neither c107…\\n' | corex decode --config edge.cfg --lines

`--lines` prints `corex decode 1`, the chain's name and its codecs; then for each line
`[to-server|to-client|either] HEX` one of these, with tabs between the fields:
  ok DIRECTION CODEC=HEX …                      what each codec made; the last is the message
  error NAME CODEC DIRECTION TEXT CODEC=HEX …   as far as it went
  refused TEXT                                  the line is no request
CODEC is also enrolment, answer or notice: what devices and servers say beside messages.

Wireshark decodes with it: docs/wireshark/README.md.

Exit status:
  0  done
  1  the message doesn't decode: its name, as $codec_error has it, is the first word
  2  the command line is wrong
  3  a configuration, a key or a file can't be used; the message says which";

const ENCODE_EXAMPLES: &str = "\
Examples:
  corex encode --config edge.cfg options.sip | nc -u -w1 192.0.2.1 5060
  corex encode --chain gzip options.sip | gunzip

Exit status:
  0  done
  1  the message can't be encoded: the reason's name is the first word
  2  the command line is wrong
  3  a configuration, a key or a file can't be used; the message says which";

const RUN_EXAMPLES: &str = "\
Examples:
  corex run --config /etc/corex.cfg
      AF_XDP on the interfaces that carry the listen addresses, if this process may
  corex run --config /etc/corex.cfg --interface eth0 --engine xdp
      AF_XDP on eth0, or fail
  corex run --config ./corex.cfg --engine socket
      kernel sockets alone; needs no privileges
  corex run --config /etc/corex.cfg --take-over
      an upgrade: this binary and this configuration instead of those that run
  corex run --config /etc/corex.cfg --take-over --background
      the same, and back to the shell when it is done

AF_XDP needs root or CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON, and CAP_IPC_LOCK
where `ulimit -l` is small.";

const DETACH_EXAMPLES: &str = "\
Examples:
  corex detach            which instances are there, and do they run?
  corex detach edge       take off what the instance `edge` left

Exit status:
  0  done, or nothing to do
  1  the instance runs
  3  the kernel refuses; the message says why";

const RPC_EXAMPLES: &str = "\
Examples:
  corex rpc core.version
  corex rpc corex.workers --json
  corex rpc cfg.seti corex min_msg_len 40
  corex rpc --socket tcp:192.0.2.1:2049 core.uptime

Exit status:
  0  done
  1  the command was refused; the message says why
  2  the command line is wrong
  3  nobody answers, or not in time";

const TOP_EXAMPLES: &str = "\
Examples:
  corex top
  corex top --socket unix:/run/corex/edge_ctl --interval 0.5
  corex top --once | grep dropped

NO_COLOR=1 switches colours off. The screen takes 80 columns and 24 lines at least.

Exit status:
  0  done
  1  corex doesn't know the command that is asked
  2  the command line is wrong
  3  nobody answers, or the terminal fails";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  corex completion bash > /etc/bash_completion.d/corex
  corex completion zsh > /usr/share/zsh/vendor-completions/_corex";

const MANUAL_EXAMPLES: &str = "\
Examples:
  corex manual /usr/local/share/man
  man corex-run; man corex.cfg

Exit status:
  0  done
  3  a page can't be written";

/// Who to go on as.
#[derive(Debug, Default, Args)]
pub struct RunAsArgs {
    /// User that root goes on as once corex is set up, by name or number. Default: what the
    /// configuration says, else corex, else nobody
    #[arg(long, short = 'u', value_name = "USER")]
    pub user: Option<String>,
    /// Group that goes with it. Default: the user's
    #[arg(long, short = 'g', value_name = "GROUP")]
    pub group: Option<String>,
}

/// `corex run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration file, in Kamailio's syntax
    #[arg(long, short = 'f', value_name = "FILE")]
    pub config: PathBuf,
    /// Name of this instance: its maps are pinned in /sys/fs/bpf/corex/NAME. Default: the
    /// configuration file's name without ending
    #[arg(long, value_name = "NAME", value_parser = instance)]
    pub instance: Option<String>,
    /// Take over from the running instance of that name: sockets, queues and links go to this one
    /// once it is ready, and the other one ends; until then it goes on
    #[arg(long)]
    pub take_over: bool,
    /// Return once the new one runs: it goes on in the background, with standard error as it is. In
    /// a service's ExecReload= it is the new main process. What can't go without loss is refused,
    /// and the other one goes on
    #[arg(long, requires = "take_over")]
    pub background: bool,
    /// Say on standard output when it runs, and close that.
    #[arg(long, hide = true)]
    pub announce: bool,
    /// Interface to attach the XDP program to; may be repeated. Default: those that carry
    /// the listen addresses
    #[arg(long = "interface", short = 'i', value_name = "IF")]
    pub interfaces: Vec<String>,
    /// How packets come and go
    #[arg(long, value_enum, default_value_t)]
    pub engine: EngineChoice,
    /// How the XDP program is attached
    #[arg(long, value_enum, default_value_t)]
    pub xdp_mode: ModeChoice,
    /// How TC programs are attached in inline mode
    #[arg(long, value_enum, default_value_t)]
    pub tc: TcChoice,
    /// Copy packets between NIC and packet memory even where the driver could do without;
    /// some drivers are faster so
    #[arg(long)]
    pub copy: bool,
    /// Worker threads. Default: one for each receive queue that transmits, too; with kernel
    /// sockets alone one for each CPU, at most `children`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: Option<u32>,
    /// Write the counters to this file as JSON at exit and on SIGUSR1
    #[arg(long, value_name = "FILE")]
    pub books: Option<PathBuf>,
    /// Let the XDP program log rare events (a packet for a queue without a worker)
    #[arg(long)]
    pub ebpf_log: bool,
    /// Who to go on as.
    #[command(flatten)]
    pub run_as: RunAsArgs,
}

fn instance(name: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_good) {
        return Err("expected 1 to 64 letters, digits, - and _".to_owned());
    }
    Ok(name.to_owned())
}

/// `corex detach`
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// The instance's name
    #[arg(value_name = "NAME", value_parser = instance)]
    pub instance: Option<String>,
}

/// `corex check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration file, in Kamailio's syntax
    #[arg(
        long,
        short = 'f',
        value_name = "FILE",
        required_unless_present = "from_kamailio"
    )]
    pub config: Option<PathBuf>,
    /// Say block by block what of a Kamailio's configuration runs here as it is, what to change, and
    /// what stays with the server behind
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "explain"])]
    pub from_kamailio: Option<PathBuf>,
    /// Say for each listen socket which messages the kernel can send on or drop itself, and what
    /// keeps the others in user space
    #[arg(long)]
    pub explain: bool,
    /// Who to load scripts as.
    #[command(flatten)]
    pub run_as: RunAsArgs,
}

/// What `corex list` lists.
#[derive(Clone, Copy, Debug)]
pub enum Listed {
    /// A chapter of the catalogue.
    Chapter(Chapter),
    /// The eBPF maps.
    Maps,
    /// The commands of remote control.
    CliCommand,
}

impl ValueEnum for Listed {
    fn value_variants<'a>() -> &'a [Self] {
        use Chapter::{Absent, Functions, Modules, Parameters, Routes, Transformations, Variables};
        &[
            Self::Chapter(Routes),
            Self::Chapter(Functions),
            Self::Chapter(Variables),
            Self::Chapter(Transformations),
            Self::Chapter(Parameters),
            Self::Chapter(Modules),
            Self::Chapter(Absent),
            Self::Maps,
            Self::CliCommand,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Chapter(chapter) => chapter.to_possible_value(),
            Self::Maps => Some(PossibleValue::new("maps").help("The eBPF maps, for bpftool")),
            Self::CliCommand => {
                Some(PossibleValue::new("commands").help("Commands for `corex rpc` and kamcmd"))
            }
        }
    }
}

/// `corex list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum, required_unless_present = "markdown")]
    pub chapter: Option<Listed>,
    /// Show only entries with this text in their name or description
    #[arg(value_name = "TEXT")]
    pub filter: Option<String>,
    /// Print all that a configuration can use as one document, with what differs from Kamailio;
    /// with `commands`, those
    #[arg(long, conflicts_with = "filter")]
    pub markdown: bool,
}

/// `corex rpc`
#[derive(Debug, Args)]
pub struct RpcArgs {
    /// The command
    pub method: String,
    /// Its parameters. What looks like a number is one; `s:` in front makes it a string
    #[arg(value_name = "PARAM", allow_negative_numbers = true)]
    pub params: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where corex listens.
    #[arg(long, short = 's', value_name = "ADDRESS", help = SOCKET_HELP)]
    pub socket: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// `corex top`
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Print once, with rates over one interval, and exit
    #[arg(long)]
    pub once: bool,
    /// Seconds between two readings: 0.1 to 60
    #[arg(long, short = 'd', value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    pub interval: f64,
    /// Where corex listens.
    #[arg(long, short = 's', value_name = "ADDRESS", help = SOCKET_HELP)]
    pub socket: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| (0.1..=60.0).contains(seconds))
        .ok_or_else(|| "expected 0.1 to 60".to_owned())
}

/// `corex completion`
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `corex manual`
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// Where man1 and man5 are, or are made
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}
