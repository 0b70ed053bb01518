//! What the front ends share beside the commands: their own counters, and who is connected.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http::HttpRefusals;

/// What the front ends count.
#[derive(Debug, Default)]
pub struct FrontCounters {
    /// Commands asked for.
    pub requests: AtomicU64,
    /// Of those, faults.
    pub faults: AtomicU64,
    /// Requests that could not be read.
    pub malformed: AtomicU64,
    /// Clients that were sent away, or datagrams dropped, because there were too many.
    pub refused: AtomicU64,
    /// Clients that took too long to send or to read.
    pub too_slow: AtomicU64,
    /// Replies that could not be delivered.
    pub undelivered: AtomicU64,
    /// Requests by HTTP that were refused.
    pub http: Arc<HttpRefusals>,
}

impl FrontCounters {
    /// The counters with their names.
    pub fn rows(&self) -> [(&'static str, u64); 9] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("requests", read(&self.requests)),
            ("faults", read(&self.faults)),
            ("malformed", read(&self.malformed)),
            ("refused", read(&self.refused)),
            ("too_slow", read(&self.too_slow)),
            ("undelivered", read(&self.undelivered)),
            ("http_wrong_host", read(&self.http.host)),
            ("http_no_token", read(&self.http.token)),
            ("http_web_page", read(&self.http.page)),
        ]
    }
}

/// An end of a binrpc socket: `ctl.listen` and `ctl.who` show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// `unix_stream`, `unix_dgram`, `tcp` or `udp`.
    pub proto: &'static str,
    /// The socket's path or address.
    pub local: String,
    /// Its port; empty for a path.
    pub local_port: String,
    /// The peer's path or address.
    pub peer: String,
    /// Its port; empty for a path.
    pub peer_port: String,
}

/// What the front ends count, where binrpc is served, and who is connected there.
#[derive(Debug, Default)]
pub struct Fronts {
    /// What all front ends count together.
    pub counters: FrontCounters,
    listeners: Mutex<Vec<End>>,
    connections: Mutex<BTreeMap<u64, End>>,
    last: AtomicU64,
}

impl Fronts {
    /// Adds one to a counter.
    pub fn count(&self, counter: fn(&FrontCounters) -> &AtomicU64) {
        counter(&self.counters).fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a socket that binrpc is served on.
    pub fn listening(&self, end: End) {
        lock(&self.listeners).push(end);
    }

    /// The sockets that binrpc is served on.
    pub fn listeners(&self) -> Vec<End> {
        lock(&self.listeners).clone()
    }

    /// Notes a connection until the token is dropped. `None`: there are too many.
    pub fn connected(self: &Fronts, end: End, most: usize) -> Option<Connected<'_>> {
        let mut connections = lock(&self.connections);
        if connections.len() >= most {
            return None;
        }
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        connections.insert(id, end);
        Some(Connected { fronts: self, id })
    }

    /// The open connections.
    pub fn connections(&self) -> Vec<End> {
        lock(&self.connections).values().cloned().collect()
    }
}

/// Notes that a connection is open until it is dropped.
#[derive(Debug)]
pub struct Connected<'a> {
    fronts: &'a Fronts,
    id: u64,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        lock(&self.fronts.connections).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics between the parts of a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
