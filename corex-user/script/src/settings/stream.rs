//! Bounds and times of TCP and TLS.

use std::path::PathBuf;
use std::time::Duration;

/// Bounds and times. The defaults are Kamailio's where it has the parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSettings {
    /// The byte of DSCP and ECN of what is sent, as for datagrams (`tos`).
    pub traffic_class: u8,
    /// Threads that read and write streams (`tcp_children`); `None`: one for each processor.
    pub children: Option<usize>,
    /// Connections at a time (`tcp_max_connections`).
    pub max_connections: usize,
    /// Of these, with one peer and opened by the same side (`tcp_max_per_peer` of the module corex);
    /// `None`: a quarter.
    pub per_peer: Option<usize>,
    /// Of these, for those alone that corex opens (`tcp_reserve` of the module corex); `None`: an
    /// eighth.
    pub reserve: Option<usize>,
    /// A connection without traffic is closed after (`tcp_connection_lifetime`); likewise one that
    /// never carried a message, whatever keep-alives come.
    pub idle: Duration,
    /// How long after the last message keep-alives keep a connection open
    /// (`tcp_keepalive_lifetime` of the module corex).
    pub keepalive: Duration,
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
    /// Bytes that may wait for all connections together (`tcp_wq_max`).
    pub all_queue_bytes: usize,
    /// Whether a connection is opened for a reply whose own is gone (`tcp_reply_connect` of the
    /// module corex).
    pub reply_connect: bool,
    /// Certificate authorities in PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            traffic_class: 0,
            children: None,
            max_connections: 2048,
            per_peer: None,
            reserve: None,
            idle: Duration::from_secs(120),
            // Twice the usual time between two REGISTER (RFC 3261 §10.2.1.1).
            keepalive: Duration::from_secs(7200),
            connect: Duration::from_secs(10),
            send: Duration::from_secs(10),
            message: Duration::from_secs(20),
            max_message: 65_535,
            queue: 1024,
            queue_bytes: 4 << 20,
            all_queue_bytes: 64 << 20,
            reply_connect: false,
            ca: None,
        }
    }
}

impl StreamSettings {
    /// The most connections with one peer that either side has opened; at least 1.
    pub fn max_per_peer(&self) -> usize {
        self.per_peer.unwrap_or(self.max_connections / 4).max(1)
    }

    /// The most connections at which one more is accepted; at least 1.
    pub fn max_accepted(&self) -> usize {
        let reserve = self.reserve.unwrap_or(self.max_connections / 8);
        self.max_connections.saturating_sub(reserve).max(1)
    }
}
