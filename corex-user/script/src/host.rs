//! What a script can ask of the world, and the words that both sides speak: the interpreter
//! calls a [`Host`], and whoever runs scripts is one.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use corex_common::counters::WorkerCounters;
use corex_sip::compose::{ReplyKeys, SentBy};
use corex_sip::strict::FaultKind;
use corex_sip::{SipView, Transport};

use crate::guard::Guard;

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

/// Why a message wasn't sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The host name has no address.
    #[error("the host name has no address")]
    Unresolved,
    /// No listen socket can reach the address: another family or transport.
    #[error("no listen socket of the destination's address family and transport")]
    NoSocket,
    /// We listen there ourselves.
    #[error("corex itself listens there: the message would come back")]
    OwnSocket,
    /// It came with a TTL (hop limit) of 1 or 0.
    #[error("the message came with a TTL of 1 or 0: it may go in circles")]
    Ttl,
    /// More than a datagram carries.
    #[error("the message is larger than a datagram")]
    TooLong,
    /// A reply that answers no request which was forwarded to who it says.
    #[error(
        "no request that came from there was forwarded with this Via: a forged reply, or one of \
         another key (modparam reply_key_file)"
    )]
    Forged,
    /// The outgoing hook left nothing to send.
    #[error("the outgoing hook left nothing that can be sent")]
    Hook,
    /// The chain of `codec_out` can't encode it.
    #[error("the chain of codec_out can't encode it")]
    Codec,
    /// Too much waits to be sent by a stream or to a name already.
    #[error("too much waits to be sent there already")]
    QueueFull,
    /// It is a reply, its connection is gone, and none is opened for replies.
    #[error("its connection is gone, and none is opened for replies (modparam tcp_reply_connect)")]
    NoConnection,
    /// The transport can't be had.
    #[error("{0}")]
    NoTransport(&'static str),
    /// The kernel refused it.
    #[error("the kernel refused it: {0}")]
    Kernel(io::ErrorKind),
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
    /// The transport to send by.
    pub transport: Transport,
    /// The listen socket to send from. For a stream: the one that stands for us in Via.
    pub socket: SocketId,
    /// Our address on that socket; unspecified where the kernel is to choose.
    pub local: SocketAddr,
}

/// What kind of message leaves: it decides under which verdict the one that came in is counted.
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
    /// Its bytes. Where the script sends the message as it is, the very slice that it runs on.
    pub payload: &'a [u8],
    /// Whether it is the message that came in, our reply to it, or something else.
    pub purpose: Purpose,
    /// Where to, from [`Host::next_hop`].
    pub hop: NextHop<'a>,
    /// The connection to send it on, if it is still there.
    pub connection: Option<ConnectionId>,
    /// Whether it is a reply on its way back: a stream must be there for it.
    pub is_reply: bool,
    /// Whether SIP ends a loop that it may be in: a forwarded request has its Max-Forwards counted
    /// down, and a reply loses a Via at each hop. Else the packet's TTL has to.
    pub is_hop_counted: bool,
    /// Flags of the message that it is sent for, by bit: what setflag() sets.
    pub flags: u32,
}

/// What a copy for a collector is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copied {
    /// A SIP message.
    Message,
    /// A line of a log.
    Log,
}

/// A copy that a script has made for a collector.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The message or line.
    pub payload: &'a [u8],
    /// Which of the two.
    pub kind: Copied,
    /// The URI of the collector; `None`: the one of `duplicate_uri`.
    pub to: Option<&'a [u8]>,
    /// What the collector finds things together by; `None`: the message's Call-ID.
    pub correlation: Option<&'a [u8]>,
    /// Where the message comes from and goes to.
    pub env: &'a Env,
}

/// Why no copy was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotTraced {
    /// Tracing is off.
    #[error("tracing is off (modparam trace_on, RPC siptrace.status)")]
    Off,
    /// There is no collector.
    #[error("there is no collector: neither an argument nor modparam duplicate_uri names one")]
    NoCollector,
    /// The argument names none.
    #[error("the collector: {0}")]
    Collector(&'static str),
}

/// Why a file couldn't be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FileError {
    /// Outside the allowed directories.
    #[error("the path is in none of the allowed directories ({0}); see modparam file_root")]
    Outside(String),
    /// Configuration or scripts lie there.
    #[error(
        "the configuration or its scripts lie in {0}, and nothing there can be written; name \
         another directory by modparam file_root"
    )]
    Guarded(String),
    /// No directory can be written in.
    #[error("there is no directory to write in; name one by modparam file_root")]
    Nowhere,
    /// No file name in it, or a `..`.
    #[error("the path names no file, or has a `..` in it")]
    Path,
    /// Larger than allowed.
    #[error("more than {0} bytes; see modparam file_max_size")]
    TooLong(usize),
    /// The disk takes too long.
    #[error("the disk takes too long")]
    Slow,
    /// Too many jobs wait.
    #[error("too many files wait to be written")]
    Full,
    /// What the system says.
    #[error("{0}")]
    System(Arc<io::Error>),
}

impl FileError {
    /// Whether there is no such file.
    pub fn is_absence(&self) -> bool {
        matches!(self, FileError::System(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> FileError {
        FileError::System(Arc::new(error))
    }
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

/// What runs `event_route[network:msg]`: an interpreter.
pub trait NetworkHook {
    /// Runs it on a message. With [`HookOutcome::Replaced`] `out` holds the new message; else it
    /// is left alone.
    ///
    /// May be called while another run of the interpreter waits for [`Host::send`]: the runs
    /// share AVPs and `$var()`, as in Kamailio.
    fn run_network_msg(
        &mut self,
        env: &Env,
        payload: &[u8],
        direction: Direction,
        host: &mut dyn Host,
        out: &mut Vec<u8>,
    ) -> HookOutcome;
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

    /// The keys that show which replies answer what was forwarded; `None`: any reply does.
    fn reply_keys(&self) -> Option<&ReplyKeys> {
        None
    }

    /// Whether a reply with our Via on top answers a request that was forwarded, and so may go
    /// where it says. If it doesn't, that is its verdict, unless the script has sent it.
    ///
    /// # Errors
    /// [`SendError::Forged`].
    fn check_reply(&mut self, reply: &SipView<'_>) -> Result<(), SendError> {
        match self.reply_keys() {
            Some(keys) if !keys.open(reply) => Err(SendError::Forged),
            _ => Ok(()),
        }
    }

    /// Notes why the message isn't forwarded: that is its verdict, unless it is answered or the script
    /// sends it. A host without books notes nothing.
    fn refuse(&mut self, why: FaultKind) {
        let _ = why;
    }

    /// Sends a message. The host may run `hook` on it meanwhile.
    ///
    /// # Errors
    /// When the message can't be sent.
    fn send(&mut self, hook: &mut dyn NetworkHook, out: Outgoing<'_>) -> Result<(), SendError>;

    /// Says that the message at hand can't be handled before something is known, which module and
    /// host understand. Returns whether it waits for that: then its script ends here, and runs anew.
    fn wait(&mut self, _what: Box<dyn Any + Send>) -> bool {
        false
    }

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

    /// Has a message or line copied to a collector. It may still get lost: nobody waits for it. A
    /// message sent later for the same one that came in goes to the same collector, where its flag
    /// says that it is copied.
    ///
    /// # Errors
    /// When there is nobody to copy it to. A host without collectors has none.
    fn trace(&mut self, trace: Trace<'_>) -> Result<(), NotTraced> {
        let _ = trace;
        Err(NotTraced::NoCollector)
    }

    /// Adds one to a counter of the worker's. A host without books counts nothing.
    fn count(&mut self, counter: fn(&mut WorkerCounters) -> &mut u64) {
        let _ = counter;
    }

    /// The guard. A host that lets all in has none.
    fn guard(&self) -> Option<&dyn Guard> {
        None
    }

    /// Whether host and port are this proxy (`myself`). Port 0 and no transport match any.
    fn is_myself(&self, host: &[u8], port: u16, transport: Option<Transport>) -> bool;
}
