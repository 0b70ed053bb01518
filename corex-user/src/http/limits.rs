//! Bounds for clients: how many, how fast, how long.

use std::time::Duration;

/// Bounds for every client of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Requests that one client may send at once.
    pub burst: u32,
    /// Requests a second that one client may go on sending.
    pub rate: u32,
    /// How long a request may take to arrive whole.
    pub request: Duration,
}

impl Default for HttpLimits {
    fn default() -> HttpLimits {
        HttpLimits {
            connections: 64,
            burst: 500,
            rate: 200,
            request: Duration::from_secs(5),
        }
    }
}
