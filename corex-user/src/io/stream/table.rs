//! The table of connections: by number, and by peer.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    connection::Item,
    places::{Opener, Places},
};
use corex_script::{ConnectionId, SendError};
use corex_sip::Transport;

/// Who is connected: address, transport, and for TLS the name in its certificate.
pub(super) type PeerKey = (SocketAddr, Transport, Option<String>);

/// All connections.
#[derive(Default)]
pub(super) struct Table {
    pub connections: HashMap<ConnectionId, Entry>,
    pub by_peer: HashMap<PeerKey, ConnectionId>,
    pub places: Places,
    /// Connections that there were: whose turn it is among the workers.
    pub turn: usize,
    pub stopping: bool,
}

impl Table {
    /// A number that nobody can guess: whoever names one in a reply's Via is written to, so only
    /// those who were told may know it. It fits `$conid`, an integer that isn't negative. `None`:
    /// the kernel gives no random numbers.
    pub fn new_id(&self) -> Option<ConnectionId> {
        loop {
            let id = ConnectionId(getrandom::u64().ok()? >> 1);
            if !self.connections.contains_key(&id) {
                return Some(id);
            }
        }
    }
}

/// A connection, as those see it who have something for it.
pub(super) struct Entry {
    pub queue: mpsc::Sender<Item>,
    pub waiting: Arc<AtomicUsize>,
    pub key: PeerKey,
    pub opener: Opener,
}

impl Entry {
    /// Queues a message; at most `most` bytes may wait.
    ///
    /// # Errors
    /// When too much waits already, or the connection ends.
    pub fn put(&self, payload: Bytes, most: usize) -> Result<(), SendError> {
        let len = payload.len();
        let waiting = self.waiting.fetch_add(len, Ordering::Relaxed);
        let fits = waiting + len <= most;
        if !fits || self.queue.try_send(Item::Message(payload)).is_err() {
            self.waiting.fetch_sub(len, Ordering::Relaxed);
            return Err(SendError::QueueFull);
        }
        Ok(())
    }
}
