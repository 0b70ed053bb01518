//! The configuration language: text to settings and a program, and the program's interpreter.
//!
//! `syntax` reads the text, `check` makes [`settings::Settings`] and a [`Program`] of it and
//! says what is wrong, `exec` runs the program, one [`Runtime`] for each worker. What functions
//! there are is in [`crate::module`]; what pseudo-variables, in `pv`.

pub mod catalogue;
pub(crate) mod changes;
pub(crate) mod check;
mod differences;
pub(crate) mod exec;
pub(crate) mod late;
mod pattern;
pub(crate) mod program;
pub(crate) mod pv;
mod runtime;
pub mod settings;
mod store;
pub mod syntax;
pub mod tables;
pub(crate) mod transform;
pub(crate) mod value;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::hook::perl::Engine;
use crate::pipeline::files::FileError;
use corex_sip::Transport;
use syntax::diag::{Diagnostic, Report};
use syntax::span::Span;

pub use corex_sip::compose::SentBy;
pub(crate) use pattern::regex;
pub use program::Program;
pub use runtime::Runtime;

/// A listen socket: its index in the list of resolved ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketId(pub u16);

/// A connection of a stream transport. Never used twice while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Where a message comes from or goes to.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// Who sent it: a peer, or for an outgoing message our own address.
    pub src: SocketAddr,
    /// Who gets it: our own address, or for an outgoing message a peer.
    pub dst: SocketAddr,
    /// The transport that it came or will go by.
    pub transport: Transport,
    /// The listen socket that it came or will go by.
    pub socket: SocketId,
    /// The connection that it came on.
    pub connection: Option<ConnectionId>,
}

/// Which way a message is going.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// It was received.
    Incoming,
    /// It is about to be sent.
    Outgoing,
}

/// What `event_route[network:msg]` did with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookOutcome {
    /// It goes on as it is: there is no hook, or the AVP holds the very same bytes.
    Unchanged,
    /// The AVP holds what replaces it.
    Replaced,
    /// The AVP isn't set, or holds an integer: the message goes on as it is, as in Kamailio.
    Unset,
    /// The script failed.
    Failed,
    /// The AVP holds the empty string, which leaves nothing to handle.
    Empty,
    /// The AVP holds more than 65,535 bytes.
    TooLong,
}

/// How `request_route` or `reply_route` ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteEnd {
    /// At its end, by `return` or by `exit`; also where there is no such route.
    Finished,
    /// By `drop`.
    Drop,
    /// By an error.
    Failed,
}

/// Why a message wasn't sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The host name has no address.
    #[error("the host name has no address")]
    Unresolved,
    /// No listen socket can reach the address: another family or transport.
    #[error("no listen socket of the destination's address family and transport")]
    NoSocket,
    /// More than a datagram carries.
    #[error("the message is larger than a datagram")]
    TooLong,
    /// The outgoing hook left nothing to send.
    #[error("the outgoing hook left nothing that can be sent")]
    Hook,
    /// Too much waits to be sent by a stream or to a name already.
    #[error("too much waits to be sent there already")]
    QueueFull,
    /// The transport can't be had.
    #[error("{0}")]
    NoTransport(&'static str),
    /// The kernel refused it.
    #[error("the kernel refused it: {0}")]
    Kernel(std::io::ErrorKind),
}

/// Where a message is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// To an address.
    Addr(SocketAddr),
    /// To a host that must be looked up first (RFC 3263).
    Name {
        /// Its name.
        host: &'a [u8],
        /// The port, where one is given.
        port: Option<u16>,
        /// `sips:`: only TLS will do.
        secure: bool,
    },
}

/// The next hop of a message: what can be known of it without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop<'a> {
    /// Where to: an address wherever it was known already.
    pub to: Target<'a>,
    /// The transport.
    pub transport: Transport,
    /// The listen socket to send from. For a stream: the one that stands for us in Via.
    pub socket: SocketId,
    /// Our address.
    pub local: SocketAddr,
}

/// What a message that leaves is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The message that came in, as it is or changed.
    Message,
    /// Our own reply to it.
    Reply,
    /// Something else: what send_data() sends.
    Data,
}

/// A message that a script sends.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Its bytes. The very slice that the script runs on where it sends the message as it is.
    pub payload: &'a [u8],
    /// What it is.
    pub purpose: Purpose,
    /// Where to, from [`Host::next_hop`].
    pub hop: NextHop<'a>,
    /// The connection to send it on, if it is still there.
    pub connection: Option<ConnectionId>,
}

/// What a script can ask of the world.
pub trait Host {
    /// Finds out where and from which socket something would go. `transport` is the one asked
    /// for; `None` leaves it to the name's records, and for an address it is UDP.
    ///
    /// # Errors
    /// When nothing of ours can reach it, or its name is known to have no address.
    fn next_hop<'t>(
        &mut self,
        to: Target<'t>,
        transport: Option<Transport>,
        forced: Option<SocketId>,
    ) -> Result<NextHop<'t>, SendError>;

    /// Our name towards a next hop.
    fn sent_by(&self, hop: &NextHop<'_>) -> SentBy<'_>;

    /// Sends a message. The host may call [`Runtime::run_network_msg`] on `runtime` meanwhile.
    ///
    /// # Errors
    /// When the message can't be sent.
    fn send(&mut self, runtime: &mut Runtime, out: Outgoing<'_>) -> Result<(), SendError>;

    /// Notes that the message is done with, although nothing was sent.
    fn consume(&mut self);

    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read.
    fn file_read(&self, path: &Path) -> Result<Arc<[u8]>, FileError>;

    /// Writes a file.
    ///
    /// # Errors
    /// When it can't be written.
    fn file_write(&self, path: &Path, content: &[u8]) -> Result<(), FileError>;

    /// Whether host and port are this proxy (`myself`). Port 0 and no transport match any.
    fn is_myself(&self, host: &[u8], port: u16, transport: Option<Transport>) -> bool;
}

/// A configuration that can be run.
#[derive(Debug)]
pub struct Config {
    /// The directory that its file is in; the working directory for one that isn't in a file.
    pub folder: PathBuf,
    /// What it sets.
    pub settings: settings::Settings,
    /// Its route blocks.
    pub program: Arc<Program>,
}

impl Config {
    /// Goes on with the values that workers share under the configuration that this one takes the
    /// place of. To be called before anybody else has the program.
    pub fn inherit(&mut self, old: &Config) {
        if let Some(program) = Arc::get_mut(&mut self.program) {
            program.tables.inherit(&old.program.tables);
            program.started = old.program.started;
            program.languages = Arc::clone(&old.program.languages);
            program.latencies = Arc::clone(&old.program.latencies);
            if let Some(perl) = &program.perl {
                perl.count_with(Arc::clone(&program.languages));
            }
        }
    }
}

impl Config {
    /// Has the script of the module app_perl read again, if there is one. Workers change over to
    /// it when it is loaded; if it can't be, the old one stays, which is logged and counted.
    pub fn reload_perl(&self) {
        if let Some(perl) = &self.program.perl {
            perl.reload();
        }
    }
}

/// What loading a configuration yields.
#[derive(Debug)]
pub struct Loaded {
    /// What is wrong or worth knowing.
    pub report: Report,
    /// The configuration; `None` if the report has errors.
    pub config: Option<Config>,
}

/// Reads and checks the configuration in a file.
pub fn load(path: &Path) -> Loaded {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut loaded = check::check(syntax::parse_file(path), folder);
    start_perl(&mut loaded);
    loaded
}

/// Loads the script of the module app_perl, which may be wrong as the configuration may.
fn start_perl(loaded: &mut Loaded) {
    let Some(config) = &mut loaded.config else {
        return;
    };
    if config.program.known.module("app_perl").is_none() {
        return;
    }
    let started = Engine::start(&config.settings.perl, &config.folder);
    let diagnostic = match (started, Arc::get_mut(&mut config.program)) {
        (Ok(Some(engine)), Some(program)) => {
            engine.count_with(Arc::clone(&program.languages));
            program.perl = Some(engine);
            return;
        }
        (Ok(_), _) => Diagnostic::error(Span::NONE, "app_perl has no script")
            .help("add the line: modparam(\"app_perl\", \"filename\", \"/path/of/script.pl\")"),
        (Err(reason), _) => {
            Diagnostic::error(Span::NONE, format!("the script of app_perl: {reason}"))
        }
    };
    loaded.report.push(diagnostic);
    loaded.config = None;
}

/// Checks a configuration given as text; `name` is what the report calls it.
pub fn load_str(name: &str, text: &str) -> Loaded {
    check::check(syntax::parse_str(name, text), PathBuf::from("."))
}
