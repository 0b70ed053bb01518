//! All connections, and the way to them.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    Delivery, Inbox, StreamSettings,
    connection::{End, Item, Line},
    tls::Tls,
};
use crate::{
    script::{ConnectionId, SendError, SocketId},
    sip::Transport,
    telemetry::{limiter::SharedLimiter, stream_counters::StreamCounters},
};

/// After a failed accept, for lack of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is connected: address, transport, and for TLS the name in its certificate.
type PeerKey = (SocketAddr, Transport, Option<String>);

/// All connections. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    settings: Arc<StreamSettings>,
    inboxes: Vec<Inbox>,
    counters: Arc<StreamCounters>,
    tls: OnceLock<Result<Tls, String>>,
    state: Mutex<State>,
    refusals: SharedLimiter,
}

#[derive(Default)]
struct State {
    connections: HashMap<ConnectionId, Entry>,
    by_peer: HashMap<PeerKey, ConnectionId>,
    next: u64,
    stopping: bool,
}

struct Entry {
    queue: mpsc::Sender<Item>,
    waiting: Arc<AtomicUsize>,
    key: PeerKey,
}

impl Streams {
    /// Starts accepting. A connection's messages all go to the inbox of one worker, in order.
    ///
    /// # Errors
    /// When a listener can't be handed to the runtime.
    pub fn start(
        handle: Handle,
        settings: StreamSettings,
        listeners: Vec<(SocketId, StdListener)>,
        inboxes: Vec<Inbox>,
        counters: Arc<StreamCounters>,
    ) -> io::Result<Self> {
        let streams = Self {
            shared: Arc::new(Shared {
                handle: handle.clone(),
                settings: Arc::new(settings),
                inboxes,
                counters,
                tls: OnceLock::new(),
                state: Mutex::default(),
                refusals: SharedLimiter::default(),
            }),
        };
        let _inside = handle.enter();
        for (socket, listener) in listeners {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            handle.spawn(streams.clone().accept(socket, listener));
        }
        Ok(streams)
    }

    async fn accept(self, socket: SocketId, listener: TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.complain(format_args!("accept a connection: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(local) = stream.local_addr() else {
                continue;
            };
            let key = (peer, Transport::Tcp, None);
            let Some((line, queue, pongs)) = self.register(key, local, socket) else {
                // Closed by the end of its life here.
                self.shared.counters.add(|c| &c.refused_limit);
                self.complain(format_args!("{peer}: too many connections, refused"));
                continue;
            };
            self.shared.counters.add(|c| &c.accepted);
            let streams = self.clone();
            tokio::spawn(async move {
                streams.serve(line, stream, queue, pongs).await;
            });
        }
    }

    /// Makes a place for a connection; `None` if there are too many.
    fn register(
        &self,
        key: PeerKey,
        local: SocketAddr,
        socket: SocketId,
    ) -> Option<(Line, mpsc::Receiver<Item>, mpsc::WeakSender<Item>)> {
        self.register_in(&mut self.state(), key, local, socket)
    }

    fn register_in(
        &self,
        state: &mut State,
        key: PeerKey,
        local: SocketAddr,
        socket: SocketId,
    ) -> Option<(Line, mpsc::Receiver<Item>, mpsc::WeakSender<Item>)> {
        let shared = &self.shared;
        if state.stopping || state.connections.len() >= shared.settings.max_connections {
            return None;
        }
        state.next += 1;
        let id = ConnectionId(state.next);
        let at = state.next as usize % shared.inboxes.len().max(1);
        let (sender, receiver) = mpsc::channel(shared.settings.queue);
        let waiting = Arc::new(AtomicUsize::new(0));
        let line = Line {
            id,
            peer: key.0,
            local,
            transport: key.1,
            socket,
            inbox: shared.inboxes.get(at)?.clone(),
            settings: Arc::clone(&shared.settings),
            counters: Arc::clone(&shared.counters),
            waiting: Arc::clone(&waiting),
            last: Mutex::new(Instant::now()),
        };
        state.by_peer.insert(key.clone(), id);
        let pongs = sender.downgrade();
        let entry = Entry {
            queue: sender,
            waiting,
            key,
        };
        state.connections.insert(id, entry);
        Some((line, receiver, pongs))
    }

    /// Runs a connection to its end and clears up behind it.
    async fn serve<S>(
        &self,
        line: Line,
        stream: S,
        mut queue: mpsc::Receiver<Item>,
        pongs: mpsc::WeakSender<Item>,
    ) where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite,
    {
        let end = line.run(stream, &mut queue, &pongs).await;
        let counters = &self.shared.counters;
        match &end {
            End::Idle => counters.add(|c| &c.closed_idle),
            End::Slow => counters.add(|c| &c.closed_slow),
            End::Framing(_) => counters.add(|c| &c.closed_framing),
            End::Closed | End::Io(_) | End::Stuck => counters.add(|c| &c.closed_peer),
            End::Stopping => {}
        }
        match &end {
            End::Framing(_) | End::Slow | End::Stuck => {
                self.complain(format_args!("{}: closed: {end}", line.peer));
            }
            _ => tracing::debug!(peer = %line.peer, "connection closed: {end}"),
        }
        self.forget(line.id);
        drop_all(&mut queue, || counters.add(|c| &c.drop_closed));
    }

    fn forget(&self, id: ConnectionId) {
        let mut state = self.state();
        if let Some(entry) = state.connections.remove(&id)
            && state.by_peer.get(&entry.key) == Some(&id)
        {
            state.by_peer.remove(&entry.key);
        }
    }

    /// Puts a message into a connection's queue: the one asked for, else one to the address, else
    /// a new one. Never blocks. What fails later is counted.
    ///
    /// # Errors
    /// When too much waits already, there are too many connections, or TLS can't be had.
    pub fn send(&self, delivery: Delivery) -> Result<(), SendError> {
        self.send_counted(delivery)?;
        self.shared.counters.add(|c| &c.queued);
        Ok(())
    }

    /// The same for a message that is counted as queued already.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_counted(&self, delivery: Delivery) -> Result<(), SendError> {
        let shared = &self.shared;
        let Delivery {
            payload,
            to,
            transport,
            server_name,
            connection,
            socket,
        } = delivery;
        if transport == Transport::Tls && self.tls().is_none() {
            return Err(SendError::NoTransport("TLS can't be had: see the log"));
        }
        let key = (to, transport, server_name);
        let mut state = self.state();
        let known = connection
            .filter(|id| state.connections.contains_key(id))
            .or_else(|| state.by_peer.get(&key).copied());
        if let Some(entry) = known.and_then(|id| state.connections.get(&id)) {
            return entry.put(payload, shared);
        }
        let any = SocketAddr::new(
            match to {
                SocketAddr::V4(_) => IpAddr::from([0; 4]),
                SocketAddr::V6(_) => IpAddr::from([0; 16]),
            },
            0,
        );
        let Some((line, mut queue, pongs)) = self.register_in(&mut state, key.clone(), any, socket)
        else {
            shared.counters.add(|c| &c.refused_limit);
            return Err(SendError::QueueFull);
        };
        let put = state
            .connections
            .get(&line.id)
            .map_or(Err(SendError::QueueFull), |entry| {
                entry.put(payload, shared)
            });
        drop(state);
        let streams = self.clone();
        shared.handle.spawn(async move {
            let id = line.id;
            if let Err(error) = streams.open(line, key, &mut queue, pongs).await {
                streams.complain(format_args!("{to}: no connection by {transport}: {error}"));
                streams.forget(id);
                drop_all(&mut queue, || {
                    streams.shared.counters.add(|c| &c.drop_connect);
                });
            }
        });
        put
    }

    /// Connects and runs the connection to its end.
    async fn open(
        &self,
        mut line: Line,
        key: PeerKey,
        queue: &mut mpsc::Receiver<Item>,
        pongs: mpsc::WeakSender<Item>,
    ) -> io::Result<()> {
        let (to, transport, name) = key;
        let patience = self.shared.settings.connect;
        let too_slow = || io::Error::from(io::ErrorKind::TimedOut);
        let stream = timeout(patience, connect(to))
            .await
            .map_err(|_| too_slow())??;
        line.local = stream.local_addr()?;
        // The queue moves on with the connection.
        let taken = std::mem::replace(queue, mpsc::channel(1).1);
        if transport == Transport::Tls {
            let Some(tls) = self.tls() else {
                *queue = taken;
                return Err(io::Error::other("TLS can't be had"));
            };
            let shaken = timeout(patience, tls.connect(stream, name, to)).await;
            match shaken.map_err(|_| too_slow()).and_then(|shaken| shaken) {
                Ok(stream) => {
                    self.shared.counters.add(|c| &c.connected);
                    self.serve(line, stream, taken, pongs).await;
                }
                Err(error) => {
                    *queue = taken;
                    return Err(error);
                }
            }
        } else {
            self.shared.counters.add(|c| &c.connected);
            self.serve(line, stream, taken, pongs).await;
        }
        Ok(())
    }

    fn tls(&self) -> Option<&Tls> {
        let made = self.shared.tls.get_or_init(|| {
            Tls::new(self.shared.settings.ca.as_deref()).map_err(|error| error.to_string())
        });
        match made {
            Ok(tls) => Some(tls),
            Err(error) => {
                self.complain(format_args!("no TLS: tls_ca_list: {error}"));
                None
            }
        }
    }

    /// Closes every connection once what waits for it is written, or `patience` is over.
    pub async fn stop(&self, patience: Duration) {
        let entries: Vec<Entry> = {
            let mut state = self.state();
            state.stopping = true;
            state.by_peer.clear();
            state.connections.drain().map(|(_, entry)| entry).collect()
        };
        let deadline = Instant::now() + patience;
        while entries
            .iter()
            .any(|e| e.waiting.load(Ordering::Relaxed) > 0)
            && Instant::now() < deadline
        {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = &self.shared.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs, not too often.
    fn complain(&self, what: std::fmt::Arguments<'_>) {
        let allowed = self.shared.refusals.allow();
        if let Some(held_back) = allowed {
            tracing::warn!(held_back, "{what}");
        }
    }
}

impl Entry {
    fn put(&self, payload: bytes::Bytes, shared: &Shared) -> Result<(), SendError> {
        let len = payload.len();
        let waiting = self.waiting.fetch_add(len, Ordering::Relaxed);
        let fits = waiting + len <= shared.settings.queue_bytes;
        if !fits || self.queue.try_send(Item::Message(payload)).is_err() {
            self.waiting.fetch_sub(len, Ordering::Relaxed);
            return Err(SendError::QueueFull);
        }
        Ok(())
    }
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    socket.connect(to).await
}

/// Counts every message that is left in a queue.
fn drop_all(queue: &mut mpsc::Receiver<Item>, mut count: impl FnMut()) {
    queue.close();
    while let Ok(item) = queue.try_recv() {
        if matches!(item, Item::Message(_)) {
            count();
        }
    }
}
