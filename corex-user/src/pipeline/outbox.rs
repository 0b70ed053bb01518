//! The way out for messages that can't leave at once: by a stream, or to a name that must be
//! looked up first.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;

use corex_script::{ConnectionId, SendError, SocketId, Target, settings::OwnSockets};
use corex_sip::Transport;

use crate::hep::Copies;

/// What is known of a host name without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Its address, and the transport that its records name.
    Known(SocketAddr, Transport),
    /// Nothing yet.
    Unknown,
    /// That it has no address.
    Failed,
}

/// Where a [`Deferred`] goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// To an address. For TLS with the name that the peer's certificate must be for.
    Known(SocketAddr, Option<String>),
    /// To a host that must be looked up first.
    Name {
        /// Its name.
        host: String,
        /// The port, where one is given.
        port: Option<u16>,
        /// `sips:`.
        secure: bool,
    },
}

/// A message that is handed over to be sent later.
#[derive(Debug)]
pub struct Deferred {
    /// Its bytes, behind the outgoing hook.
    pub payload: Bytes,
    /// Where it goes.
    pub to: Address,
    /// The transport to send by.
    pub transport: Transport,
    /// The listen socket to send from.
    pub socket: SocketId,
    /// Our address, unspecified where the kernel is to choose.
    pub local: SocketAddr,
    /// Time to live, or hop limit, where it leaves as a datagram.
    pub ttl: u8,
    /// Who sent the message that it is, or that made a script send it.
    pub sender: IpAddr,
    /// Where what is sent comes back to us: a name may turn out to be there.
    pub own: Arc<OwnSockets>,
    /// The connection to use if it is still there.
    pub connection: Option<ConnectionId>,
    /// Whether it is a reply on its way back: a connection must be there for it.
    pub is_reply: bool,
    /// Copies of it for a collector, which go once it leaves.
    pub copies: Copies,
}

/// Takes messages that can't leave a worker at once. Never blocks.
pub trait Outbox: Send + Sync {
    /// What is known of a host name already. It may be asked for meanwhile, so that a later message
    /// finds it.
    ///
    /// `sender`: whose message asks for it.
    fn lookup(&self, target: Target<'_>, transport: Option<Transport>, sender: IpAddr) -> Lookup;

    /// Takes a message over. What goes wrong later is counted and logged there.
    ///
    /// # Errors
    /// When too much waits already, or the transport can't be had.
    fn submit(&self, message: Deferred) -> Result<(), SendError>;

    /// Names whose addresses are remembered, and the bytes that they take.
    fn cache_size(&self) -> (usize, usize) {
        (0, 0)
    }
}

/// Refuses every message: only datagrams to addresses leave.
#[derive(Clone, Copy, Debug)]
pub struct NoOutbox;

impl Outbox for NoOutbox {
    fn lookup(&self, _: Target<'_>, _: Option<Transport>, _: IpAddr) -> Lookup {
        Lookup::Failed
    }

    fn submit(&self, _: Deferred) -> Result<(), SendError> {
        Err(SendError::NoTransport("streams are not available"))
    }
}
