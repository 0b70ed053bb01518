//! TCP and TLS, beside the workers. Messages that arrive go to a worker's inbox one by one;
//! messages to be sent wait in a bounded queue of their connection.
//!
//! A connection serves both ways (RFC 3261 §18): replies go back on the one that their request
//! came on, and requests to an address that is connected already take that connection.

mod connection;
pub mod frame;
mod registry;
mod tls;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::mpsc;

pub use self::registry::Streams;
use crate::script::{ConnectionId, SocketId};
use corex_sip::Transport;

/// Bounds and times. The defaults are Kamailio's where it has the parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSettings {
    /// Connections at a time (`tcp_max_connections`).
    pub max_connections: usize,
    /// A connection without traffic is closed after (`tcp_connection_lifetime`).
    pub idle: Duration,
    /// How long a connection may take to come about (`tcp_connect_timeout`).
    pub connect: Duration,
    /// How long a peer may take to accept bytes (`tcp_send_timeout`).
    pub send: Duration,
    /// How long a message may take to arrive whole (`tcp_msg_read_timeout`).
    pub message: Duration,
    /// The longest message in bytes (`tcp_rd_buf_size`).
    pub max_message: usize,
    /// Messages that may wait for one connection.
    pub queue: usize,
    /// Bytes that may wait for one connection (`tcp_conn_wq_max`).
    pub queue_bytes: usize,
    /// Certificate authorities in PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            max_connections: 2048,
            idle: Duration::from_secs(120),
            connect: Duration::from_secs(10),
            send: Duration::from_secs(10),
            message: Duration::from_secs(20),
            max_message: 65_535,
            queue: 1024,
            queue_bytes: 4 << 20,
            ca: None,
        }
    }
}

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
#[derive(Clone, Debug)]
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
    /// The listen socket that stands for us.
    pub socket: SocketId,
}
