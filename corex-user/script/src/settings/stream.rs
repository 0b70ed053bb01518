//! Bounds and times of TCP and TLS.

use std::path::PathBuf;
use std::time::Duration;

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
