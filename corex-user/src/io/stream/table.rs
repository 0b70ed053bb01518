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
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::Item,
    hold::Report,
    places::{Opener, Places},
};
use crate::hep::Copies;
use corex_script::{ConnectionId, SendError, SocketId, settings::StreamSettings};
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
    /// Bytes that wait for all connections.
    pub waiting: Arc<AtomicUsize>,
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

    /// Nothing but replies takes the connection from now on.
    pub fn unlist(&mut self, id: ConnectionId) {
        if let Some(entry) = self.connections.get(&id)
            && self.by_peer.get(&entry.key) == Some(&id)
        {
            self.by_peer.remove(&entry.key);
        }
    }

    /// Takes a connection out.
    pub fn remove(&mut self, id: ConnectionId) {
        self.unlist(id);
        if let Some(entry) = self.connections.remove(&id) {
            self.places.give_back(entry.opener, entry.key.0.ip());
        }
    }
}

/// Bytes that wait for a connection, and with it those that wait for all.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: AtomicUsize,
    all: Arc<AtomicUsize>,
}

impl Waiting {
    /// For one more connection among all.
    pub fn new(all: Arc<AtomicUsize>) -> Waiting {
        let bytes = AtomicUsize::new(0);
        Waiting { bytes, all }
    }

    /// Makes room for so many bytes, if there is.
    fn add(&self, len: usize, settings: &StreamSettings) -> bool {
        let own = self.bytes.fetch_add(len, Ordering::Relaxed) + len;
        let all = self.all.fetch_add(len, Ordering::Relaxed) + len;
        let fits = own <= settings.queue_bytes && all <= settings.all_queue_bytes;
        if !fits {
            self.give_back(len);
        }
        fits
    }

    /// So many wait, as they did for a predecessor: it had the room.
    pub fn take_over(&self, len: usize) {
        self.bytes.fetch_add(len, Ordering::Relaxed);
        self.all.fetch_add(len, Ordering::Relaxed);
    }

    /// So many wait no longer.
    pub fn give_back(&self, len: usize) {
        self.bytes.fetch_sub(len, Ordering::Relaxed);
        self.all.fetch_sub(len, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    /// What is left in the queue of a connection that has ended waits no longer.
    fn drop(&mut self) {
        self.all.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// A connection, as those see it who have something for it.
pub(super) struct Entry {
    pub queue: mpsc::Sender<Item>,
    pub waiting: Arc<Waiting>,
    pub key: PeerKey,
    pub opener: Opener,
    /// The listen socket that stands for it.
    pub socket: SocketId,
    /// Has the task of the connection stop, and say how things stand.
    pub orders: mpsc::Sender<oneshot::Sender<Report>>,
}

impl Entry {
    /// Queues a message, if the settings allow so many bytes to wait.
    ///
    /// # Errors
    /// When too much waits already, or the connection ends.
    pub fn put(
        &self,
        payload: Bytes,
        copies: Copies,
        settings: &StreamSettings,
    ) -> Result<(), SendError> {
        let len = payload.len();
        if !self.waiting.add(len, settings) {
            return Err(SendError::QueueFull);
        }
        let message = Item::Message(payload, copies);
        self.queue.try_send(message).map_err(|_| {
            self.waiting.give_back(len);
            SendError::QueueFull
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(all: &Arc<AtomicUsize>) -> (Entry, mpsc::Receiver<Item>) {
        let (queue, receiver) = mpsc::channel(10);
        let waiting = Arc::new(Waiting::new(Arc::clone(all)));
        let key = ("127.0.0.1:9".parse().unwrap(), Transport::Tcp, None);
        let opener = Opener::Corex;
        let entry = Entry {
            queue,
            waiting,
            key,
            opener,
            socket: SocketId(0),
            orders: mpsc::channel(1).0,
        };
        (entry, receiver)
    }

    #[test]
    fn what_waits_is_bounded_for_each_connection_and_for_all_together() {
        let settings = StreamSettings {
            queue_bytes: 60,
            all_queue_bytes: 100,
            ..StreamSettings::default()
        };
        let all = Arc::default();
        let ((one, _one), (other, receiver)) = (entry(&all), entry(&all));
        let put = |entry: &Entry, len: usize| {
            entry.put(vec![0; len].into(), Copies::default(), &settings)
        };
        assert_eq!(put(&one, 61), Err(SendError::QueueFull));
        assert_eq!(put(&one, 60), Ok(()));
        assert_eq!(put(&other, 41), Err(SendError::QueueFull));
        assert_eq!(put(&other, 40), Ok(()));
        assert_eq!(put(&other, 1), Err(SendError::QueueFull));
        // What was written, or is left behind by a connection that ends, waits no longer.
        one.waiting.give_back(10);
        assert_eq!(put(&other, 10), Ok(()));
        drop(one);
        assert_eq!(all.load(Ordering::Relaxed), 50);
        // Nor does what finds no queue.
        drop(receiver);
        assert_eq!(put(&other, 5), Err(SendError::QueueFull));
        assert_eq!(all.load(Ordering::Relaxed), 50);
        drop(other);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
