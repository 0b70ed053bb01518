//! TCP and TLS, beside the workers. Messages that arrive go to a worker's inbox one by one;
//! messages to be sent wait in a bounded queue of their connection.
//!
//! A connection serves both ways (RFC 3261 §18): replies go back on the one that their request
//! came on, and requests to an address that is connected already take that connection.

mod connection;
pub mod frame;
mod hold;
mod places;
mod registry;
mod table;
mod task;
mod tls;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;

pub use self::{
    hold::{ConnectionCopy, Hold, StreamsCopy, UnopenedCopy},
    registry::Streams,
};
use crate::hep::Copies;
use corex_script::{ConnectionId, SocketId};
use corex_sip::Transport;

/// A message that came by a stream.
#[derive(Clone, Debug)]
pub struct StreamMessage {
    /// Its bytes.
    pub payload: Bytes,
    /// The peer.
    pub source: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// TCP or TLS.
    pub transport: Transport,
    /// The listen socket that stands for the connection.
    pub socket: SocketId,
    /// The connection.
    pub connection: ConnectionId,
}

/// A worker's inbox. While it is full, the connections that feed it wait: their peers see TCP's
/// own back-pressure.
#[derive(Clone)]
pub struct Inbox {
    /// Where messages go.
    pub sender: mpsc::Sender<StreamMessage>,
    /// Wakes the worker.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// A message to be sent by a stream.
#[derive(Debug)]
pub struct Delivery {
    /// Its bytes.
    pub payload: Bytes,
    /// The peer.
    pub to: SocketAddr,
    /// TCP or TLS.
    pub transport: Transport,
    /// What a TLS peer's certificate must be for; `None`: its address.
    pub server_name: Option<String>,
    /// The connection to use if it is still there.
    pub connection: Option<ConnectionId>,
    /// Whether it is a reply: none is opened for it, unless the settings say otherwise.
    pub is_reply: bool,
    /// The listen socket that stands for us.
    pub socket: SocketId,
    /// Copies of it for a collector, which go once it is written.
    pub copies: Copies,
}
