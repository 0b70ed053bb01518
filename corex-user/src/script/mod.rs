//! The configuration language: text to settings and a program, and the program's interpreter.
//!
//! `syntax` reads the text, `check` makes [`settings::Settings`] and a [`Program`] of it and
//! says what is wrong, `exec` runs the program, one [`Runtime`] for each worker. What functions
//! there are is in [`crate::module`]; what pseudo-variables, in `pv`.

pub(crate) mod check;
pub(crate) mod exec;
mod pattern;
pub(crate) mod program;
pub(crate) mod pv;
mod runtime;
pub mod settings;
mod store;
pub mod syntax;
pub(crate) mod value;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::sip::Transport;
use syntax::diag::Report;

pub use program::Program;
pub use runtime::Runtime;

/// A listen socket: its index in the list of resolved ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketId(pub u16);

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
    /// The host name isn't in the table of addresses.
    #[error("the host name has no address")]
    Unresolved,
    /// No listen socket can reach the address: another family.
    #[error("no listen socket of the destination's address family")]
    NoSocket,
    /// More than a datagram carries.
    #[error("the message is larger than a datagram")]
    TooLong,
    /// The outgoing hook left nothing to send.
    #[error("the outgoing hook left nothing that can be sent")]
    Hook,
    /// The kernel refused it.
    #[error("the kernel refused it: {0}")]
    Kernel(std::io::ErrorKind),
}

/// Where a message is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendTarget<'a> {
    /// To an address.
    Addr(SocketAddr),
    /// To a host that must be looked up first.
    Name {
        /// Its name.
        host: &'a [u8],
        /// The port.
        port: u16,
    },
}

/// A message that a script sends.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Its bytes. The very slice that the script runs on where it sends the message as it is.
    pub payload: &'a [u8],
    /// Where to.
    pub to: SendTarget<'a>,
    /// By which transport.
    pub transport: Transport,
    /// From which socket, where the script chose one.
    pub socket: Option<SocketId>,
}

/// What a script can ask of the world.
pub trait Host {
    /// Sends a message. The host may call [`Runtime::run_network_msg`] on `runtime` meanwhile.
    ///
    /// # Errors
    /// When the message can't be sent.
    fn send(&mut self, runtime: &mut Runtime, out: Outgoing<'_>) -> Result<(), SendError>;

    /// Whether host and port are this proxy (`myself`). Port 0 and no transport match any.
    fn is_myself(&self, host: &[u8], port: u16, transport: Option<Transport>) -> bool;
}

/// A configuration that can be run.
#[derive(Debug)]
pub struct Config {
    /// What it sets.
    pub settings: settings::Settings,
    /// Its route blocks.
    pub program: Arc<Program>,
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
    check::check(syntax::parse_file(path))
}

/// Checks a configuration given as text; `name` is what the report calls it.
pub fn load_str(name: &str, text: &str) -> Loaded {
    check::check(syntax::parse_str(name, text))
}
