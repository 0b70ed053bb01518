//! The registry of all connections: accepts and opens them, and queues messages for them.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use nix::sys::socket::{
    setsockopt,
    sockopt::{Ipv4Tos, Ipv6TClass},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use super::{
    Delivery, Inbox,
    connection::{End, Item, Line, Times},
    places::{NoPlace, Opener},
    table::{Entry, PeerKey, Table, Waiting},
    tls::Tls,
};
use crate::telemetry::stream_counters::StreamCounters;
use corex_script::limiter::SharedLimiter;
use corex_script::{ConnectionId, SendError, SocketId, settings::StreamSettings};
use corex_sip::Transport;

/// After a failed accept, for lack of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the end of a connection may take that TLS tells its peer.
const FAREWELL: Duration = Duration::from_secs(1);

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    inner: Arc<StreamsInner>,
}

struct StreamsInner {
    handle: Handle,
    settings: Arc<StreamSettings>,
    inboxes: Vec<Inbox>,
    counters: Arc<StreamCounters>,
    tls: OnceLock<Result<Tls, Arc<io::Error>>>,
    state: Mutex<Table>,
    complaints: SharedLimiter,
    /// Apart, so that who is refused all the time hides nothing else.
    refusals: SharedLimiter,
    /// Every task has a receiver as long as it runs.
    phase: watch::Sender<Phase>,
}

/// How far corex has come in stopping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// Connections end when what waits for them is written.
    Stopping,
    /// Connections end at once.
    Over,
}

/// What the task of a connection owns.
struct Place {
    line: Line,
    queue: mpsc::Receiver<Item>,
    pongs: mpsc::WeakSender<Item>,
    phase: watch::Receiver<Phase>,
}

/// A connection that was opened.
enum Opened {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
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
            inner: Arc::new(StreamsInner {
                handle: handle.clone(),
                settings: Arc::new(settings),
                inboxes,
                counters,
                tls: OnceLock::new(),
                state: Mutex::default(),
                complaints: SharedLimiter::default(),
                refusals: SharedLimiter::default(),
                phase: watch::Sender::new(Phase::Running),
            }),
        };
        // Those of the system take longer to read, and not everybody needs them.
        if streams.inner.settings.ca.is_some()
            && let Err(error) = streams.inner.tls()
        {
            tracing::error!("no TLS: tls_ca_list: {error}");
        }
        let _inside = handle.enter();
        for (socket, listener) in listeners {
            listener.set_nonblocking(true)?;
            // What it accepts inherits it.
            let class = streams.inner.settings.traffic_class;
            mark(&listener, listener.local_addr()?, class)?;
            let listener = TcpListener::from_std(listener)?;
            let mut phase = streams.inner.phase.subscribe();
            let accepting = streams.clone().accept(socket, listener);
            handle.spawn(async move {
                tokio::select! {
                    () = accepting => {}
                    () = reached(&mut phase, Phase::Stopping) => {}
                }
            });
        }
        Ok(streams)
    }

    async fn accept(self, socket: SocketId, listener: TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                // That one connection only.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    continue;
                }
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
            // Messages are written whole: there is nothing to wait for.
            let _ = stream.set_nodelay(true);
            let registered = self.register(&mut self.state(), key, local, socket, Opener::Peer);
            let place = match registered {
                Ok(place) => place,
                // Closed by the end of its life here.
                Err(why) => {
                    self.refuse(peer, why);
                    continue;
                }
            };
            self.inner.counters.add(|c| &c.accepted);
            let streams = self.clone();
            tokio::spawn(async move {
                streams.serve(place, stream).await;
            });
        }
    }

    /// Makes a place for a connection.
    ///
    /// # Errors
    /// When there are too many; [`None`]: when corex stops.
    fn register(
        &self,
        state: &mut Table,
        key: PeerKey,
        local: SocketAddr,
        socket: SocketId,
        opener: Opener,
    ) -> Result<Place, Option<NoPlace>> {
        let inner = &self.inner;
        if state.stopping {
            return Err(None);
        }
        let inbox = inner.inboxes.get(state.turn % inner.inboxes.len().max(1));
        let inbox = inbox.ok_or(None)?.clone();
        let id = state.new_id().ok_or(None)?;
        state.places.take(&inner.settings, opener, key.0.ip())?;
        state.turn = state.turn.wrapping_add(1);
        let (sender, receiver) = mpsc::channel(inner.settings.queue.max(1));
        let waiting = Arc::new(Waiting::new(Arc::clone(&state.waiting)));
        let line = Line {
            id,
            peer: key.0,
            local,
            transport: key.1,
            socket,
            inbox,
            settings: Arc::clone(&inner.settings),
            counters: Arc::clone(&inner.counters),
            waiting: Arc::clone(&waiting),
            times: Mutex::new(Times::now()),
        };
        state.by_peer.insert(key.clone(), id);
        let pongs = sender.downgrade();
        let entry = Entry {
            queue: sender,
            waiting,
            key,
            opener,
        };
        state.connections.insert(id, entry);
        Ok(Place {
            line,
            queue: receiver,
            pongs,
            phase: inner.phase.subscribe(),
        })
    }

    /// Runs a connection to its end and clears up behind it.
    async fn serve(&self, place: Place, stream: impl AsyncRead + AsyncWrite) {
        let Place {
            line,
            mut queue,
            pongs,
            mut phase,
        } = place;
        let (reader, mut writer) = tokio::io::split(stream);
        let end = tokio::select! {
            end = line.run(reader, &mut writer, &mut queue, &pongs, || self.unlist(line.id)) => end,
            () = reached(&mut phase, Phase::Over) => End::Abandoned,
        };
        let counters = &self.inner.counters;
        match &end {
            End::Idle => counters.add(|c| &c.closed_idle),
            End::KeepAlive => counters.add(|c| &c.closed_keepalive),
            End::Slow => counters.add(|c| &c.closed_slow),
            End::Framing(_) => counters.add(|c| &c.closed_framing),
            End::Closed | End::Io(_) | End::Stuck => counters.add(|c| &c.closed_peer),
            End::Stopping | End::Abandoned => {}
        }
        match &end {
            End::Framing(_) | End::Slow | End::Stuck => {
                self.complain(format_args!("{}: closed: {end}", line.peer));
            }
            _ => tracing::debug!(peer = %line.peer, "connection closed: {end}"),
        }
        self.forget(line.id);
        drop_all(&mut queue, || counters.add(|c| &c.drop_closed));
        if end.is_orderly() {
            let _ = timeout(FAREWELL, writer.shutdown()).await;
        }
    }

    /// Nothing but replies takes the connection from now on.
    fn unlist(&self, id: ConnectionId) {
        let mut state = self.state();
        let Table {
            connections,
            by_peer,
            ..
        } = &mut *state;
        if let Some(entry) = connections.get(&id)
            && by_peer.get(&entry.key) == Some(&id)
        {
            by_peer.remove(&entry.key);
        }
    }

    fn forget(&self, id: ConnectionId) {
        self.unlist(id);
        let mut state = self.state();
        if let Some(entry) = state.connections.remove(&id) {
            state.places.give_back(entry.opener, entry.key.0.ip());
        }
    }

    /// Puts a message into a connection's queue: the one asked for, else one to the address, else
    /// a new one. Never blocks. What fails later is counted.
    ///
    /// A reply takes the connection of its request whatever transport its Via names (RFC 3261
    /// §18.2.2): where something in front of us ends TLS, the Via says TLS and the connection is TCP.
    /// None is opened for it unless the settings say so: who forges a reply chooses the address.
    ///
    /// # Errors
    /// When a reply finds no connection, too much waits already, there are too many connections, or TLS can't be had.
    pub fn send(&self, delivery: Delivery) -> Result<(), SendError> {
        self.send_counted(delivery)?;
        self.inner.counters.add(|c| &c.queued);
        Ok(())
    }

    /// The same for a message that is counted as queued already.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_counted(&self, delivery: Delivery) -> Result<(), SendError> {
        let inner = &self.inner;
        let Delivery {
            payload,
            to,
            transport,
            server_name,
            connection,
            is_reply,
            socket,
        } = delivery;
        let key = (to, transport, server_name);
        let mut state = self.state();
        let known = connection
            .filter(|id| state.connections.contains_key(id))
            .or_else(|| state.by_peer.get(&key).copied());
        if let Some(entry) = known.and_then(|id| state.connections.get(&id)) {
            return entry.put(payload, &inner.settings);
        }
        if is_reply && !inner.settings.reply_connect {
            return Err(SendError::NoConnection);
        }
        if transport == Transport::Tls
            && let Some(Err(error)) = inner.tls.get()
        {
            self.complain(format_args!("no TLS: {error}"));
            return Err(SendError::NoTransport("TLS can't be had: see the log"));
        }
        // Too long for any queue: no connection is opened for it.
        if payload.len() > inner.settings.queue_bytes {
            return Err(SendError::QueueFull);
        }
        let any = SocketAddr::new(
            match to {
                SocketAddr::V4(_) => IpAddr::from([0; 4]),
                SocketAddr::V6(_) => IpAddr::from([0; 16]),
            },
            0,
        );
        let registered = self.register(&mut state, key.clone(), any, socket, Opener::Corex);
        let mut place = match registered {
            Ok(place) => place,
            Err(why) => {
                drop(state);
                self.refuse(to, why);
                return Err(SendError::QueueFull);
            }
        };
        let put = state
            .connections
            .get(&place.line.id)
            .map_or(Err(SendError::QueueFull), |entry| {
                entry.put(payload, &inner.settings)
            });
        drop(state);
        let streams = self.clone();
        inner.handle.spawn(async move {
            let opened = tokio::select! {
                opened = timeout(streams.inner.settings.connect, streams.open(key)) => {
                    opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                }
                () = reached(&mut place.phase, Phase::Over) => {
                    Err(io::Error::other("corex stops"))
                }
            };
            match opened {
                Ok((local, opened)) => {
                    streams.inner.counters.add(|c| &c.connected);
                    place.line.opened(local);
                    match opened {
                        Opened::Tcp(stream) => streams.serve(place, stream).await,
                        Opened::Tls(stream) => streams.serve(place, *stream).await,
                    }
                }
                Err(error) => {
                    streams.complain(format_args!("{to}: no connection by {transport}: {error}"));
                    streams.forget(place.line.id);
                    drop_all(&mut place.queue, || {
                        streams.inner.counters.add(|c| &c.drop_connect);
                    });
                }
            }
        });
        put
    }

    /// Connects, and shakes hands where the transport is TLS. With our address.
    async fn open(&self, (to, transport, name): PeerKey) -> io::Result<(SocketAddr, Opened)> {
        let stream = connect(to, self.inner.settings.traffic_class).await?;
        let local = stream.local_addr()?;
        if transport != Transport::Tls {
            return Ok((local, Opened::Tcp(stream)));
        }
        // The first one reads files.
        let inner = Arc::clone(&self.inner);
        let tls = tokio::task::spawn_blocking(move || inner.tls())
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        let stream = tls.connect(stream, name, to).await?;
        Ok((local, Opened::Tls(Box::new(stream))))
    }

    /// Ends every connection once what waits for it is written. After `patience` what is left is
    /// counted as not delivered. Returns how many connections there were.
    pub async fn stop(&self, patience: Duration) -> usize {
        let phase = &self.inner.phase;
        let left = {
            let mut state = self.state();
            state.stopping = true;
            state.by_peer.clear();
            std::mem::take(&mut state.connections)
        };
        let count = left.len();
        // A connection ends when its queue has no sender and nothing in it.
        drop(left);
        phase.send_replace(Phase::Stopping);
        if timeout(patience, phase.closed()).await.is_err() {
            phase.send_replace(Phase::Over);
            let _ = timeout(FAREWELL, phase.closed()).await;
        }
        count
    }

    fn state(&self) -> MutexGuard<'_, Table> {
        let state = &self.inner.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts that there is no place for a connection, and logs it, not too often.
    fn refuse(&self, peer: SocketAddr, why: Option<NoPlace>) {
        let Some(why) = why else {
            return;
        };
        self.inner.counters.add(match why {
            NoPlace::InAll(_) => |c| &c.refused_limit,
            NoPlace::OfPeer(_) => |c| &c.refused_peer,
        });
        if let Some(held_back) = self.inner.refusals.allow() {
            tracing::warn!(held_back, "{peer}: no connection: {why}");
        }
    }

    /// Logs, not too often.
    fn complain(&self, what: std::fmt::Arguments<'_>) {
        if let Some(held_back) = self.inner.complaints.allow() {
            tracing::warn!(held_back, "{what}");
        }
    }
}

impl StreamsInner {
    /// What connects by TLS. Reads files the first time.
    ///
    /// # Errors
    /// Each time what failed the first time.
    fn tls(&self) -> Result<Tls, Arc<io::Error>> {
        self.tls
            .get_or_init(|| Tls::new(self.settings.ca.as_deref()).map_err(Arc::new))
            .clone()
    }
}

/// Waits until corex has come that far in stopping.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // An error would mean that nobody is left to say so.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// Has a socket send all its packets with this byte of DSCP and ECN, its handshake included.
fn mark(socket: &impl AsFd, address: SocketAddr, class: u8) -> io::Result<()> {
    let class = class.into();
    if address.is_ipv6() {
        setsockopt(socket, Ipv6TClass, &class)?;
    } else {
        setsockopt(socket, Ipv4Tos, &class)?;
    }
    Ok(())
}

async fn connect(to: SocketAddr, class: u8) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    mark(&socket, to, class)?;
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
