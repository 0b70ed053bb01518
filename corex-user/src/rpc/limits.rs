//! Bounds for clients of the front ends, and who counts as one client.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::http::HttpLimits;

/// Bounds for every client of a front end. Over HTTP, those of the HTTP server hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RpcLimits {
    /// Stream connections at a time, of all listeners together.
    pub connections: usize,
    /// Requests that one client may send at once.
    pub burst: u32,
    /// Requests a second that one client may go on sending.
    pub rate: u32,
    /// How long a request may take to arrive whole.
    pub request: Duration,
    /// How long a client may take to accept a reply.
    pub reply: Duration,
    /// A connection without a request is closed after.
    pub idle: Duration,
    /// The most bytes of a binrpc request's payload.
    pub binrpc_request: usize,
    /// The most bytes of a JSON document.
    pub json_request: usize,
}

impl Default for RpcLimits {
    /// As many clients, as fast, as over HTTP.
    fn default() -> RpcLimits {
        let HttpLimits {
            connections,
            burst,
            rate,
            request,
        } = HttpLimits::default();
        RpcLimits {
            connections,
            burst,
            rate,
            request,
            reply: Duration::from_secs(5),
            idle: Duration::from_secs(600),
            binrpc_request: 1 << 20,
            json_request: 64 << 10,
        }
    }
}

/// Who sends requests, as far as limits tell clients apart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Client {
    /// The user of a local stream; `u32::MAX` where the kernel doesn't say.
    User(u32),
    /// The path of a local datagram socket; `None` for one without.
    Path(Option<PathBuf>),
    /// An IP address.
    Ip(IpAddr),
    /// Whoever writes to the FIFO.
    Fifo,
}
