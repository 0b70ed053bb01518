//! The registry of all connections: accepts and opens them, and queues messages for them.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Poll, ready},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    Delivery, Inbox,
    connection::{Flow, Line, Times},
    places::{NoPlace, Opener},
    table::{Entry, PeerKey, Table, Waiting},
    task::{FAREWELL, Opened, Place, mark, reached},
};
use crate::guard::Guard;
use crate::telemetry::stream_counters::StreamCounters;
use crate::tls::Tls;
use corex_script::limiter::SharedLimiter;
use corex_script::{ConnectionId, SendError, SocketId, settings::StreamSettings};
use corex_sip::Transport;

/// After a failed accept, for lack of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    pub(super) inner: Arc<StreamsInner>,
}

pub(super) struct StreamsInner {
    pub handle: Handle,
    pub settings: Arc<StreamSettings>,
    inboxes: Vec<Inbox>,
    pub counters: Arc<StreamCounters>,
    tls: OnceLock<Result<Tls, Arc<io::Error>>>,
    state: Mutex<Table>,
    /// Who may open connections; unset: everybody.
    guard: OnceLock<Guard>,
    complaints: SharedLimiter,
    /// Apart, so that who is refused all the time hides nothing else.
    refusals: SharedLimiter,
    /// Every task has a receiver as long as it runs.
    phase: watch::Sender<Phase>,
    /// Whether a successor may take over: nothing is accepted, and no message goes to a worker.
    pub held: watch::Sender<bool>,
}

/// How far corex has come in stopping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// Connections end when what waits for them is written.
    Stopping,
    /// Connections end at once.
    Over,
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
                guard: OnceLock::new(),
                complaints: SharedLimiter::default(),
                refusals: SharedLimiter::default(),
                phase: watch::Sender::new(Phase::Running),
                held: watch::Sender::new(false),
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

    /// Has a guard say who may open connections.
    pub fn guard_by(&self, guard: Guard) {
        // The first one stays; there is one for the life of the process.
        let _ = self.inner.guard.set(guard);
    }

    async fn accept(self, socket: SocketId, listener: TcpListener) {
        let mut held = self.inner.held.subscribe();
        loop {
            let accepted = poll_fn(|context| {
                // Under the lock: whoever holds the streams finds what was accepted in the table.
                let mut state = self.state();
                if *held.borrow() {
                    return Poll::Ready(None);
                }
                let accepted = ready!(listener.poll_accept(context));
                Poll::Ready(Some(accepted.map(|(stream, peer)| {
                    let admitted = self.admit(&mut state, &stream, peer, socket);
                    (stream, peer, admitted)
                })))
            });
            let (stream, peer, admitted) = match accepted.await {
                Some(Ok(accepted)) => accepted,
                // An error would mean that nobody is left to say so.
                None => match held.wait_for(|held| !held).await {
                    Ok(_) => continue,
                    Err(_) => return,
                },
                // That one connection only.
                Some(Err(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    continue;
                }
                Some(Err(error)) => {
                    self.complain(format_args!("accept a connection: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = match admitted {
                Ok(place) => place,
                // Closed by the end of its life here.
                Err(why) => {
                    self.refuse(peer, why);
                    continue;
                }
            };
            self.inner.counters.add(|c| &c.accepted);
            let opened = Opened::Tcp(stream);
            tokio::spawn(self.clone().serve(place, opened));
        }
    }

    /// Makes a place for a connection that a peer has opened.
    ///
    /// # Errors
    /// When there are too many; [`None`]: when corex stops, or it is gone again, or the guard refuses
    /// it.
    fn admit(
        &self,
        state: &mut Table,
        stream: &TcpStream,
        peer: SocketAddr,
        socket: SocketId,
    ) -> Result<Place, Option<NoPlace>> {
        let local = stream.local_addr().map_err(|_| None)?;
        let guard = self.inner.guard.get();
        if guard.is_some_and(|guard| guard.refuses_connection(peer, local.port())) {
            self.inner.counters.add(|c| &c.refused_guard);
            return Err(None);
        }
        // Messages are written whole: there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let key = (peer, Transport::Tcp, None);
        self.register(state, key, local, socket, Opener::Peer)
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
        let id = state.new_id().ok_or(None)?;
        let place = self.register_as(id, state, key.clone(), local, socket, opener)?;
        state.by_peer.insert(key, id);
        Ok(place)
    }

    /// The same under a number, and not listed for requests to the peer.
    pub(super) fn register_as(
        &self,
        id: ConnectionId,
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
            held: inner.held.subscribe(),
        };
        let pongs = sender.downgrade();
        let (orders, ordered) = mpsc::channel(1);
        let entry = Entry {
            queue: sender,
            waiting,
            key,
            opener,
            socket,
            orders,
        };
        state.connections.insert(id, entry);
        Ok(Place {
            line,
            queue: receiver,
            pongs,
            phase: inner.phase.subscribe(),
            orders: ordered,
            flow: Flow::default(),
        })
    }

    /// Nothing but replies takes the connection from now on.
    pub(super) fn unlist(&self, id: ConnectionId) {
        self.state().unlist(id);
    }

    pub(super) fn forget(&self, id: ConnectionId) {
        self.state().remove(id);
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
            copies,
        } = delivery;
        let key = (to, transport, server_name);
        let mut state = self.state();
        let known = connection
            .filter(|id| state.connections.contains_key(id))
            .or_else(|| state.by_peer.get(&key).copied());
        if let Some(entry) = known.and_then(|id| state.connections.get(&id)) {
            return entry.put(payload, copies, &inner.settings);
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
        let place = match registered {
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
                entry.put(payload, copies, &inner.settings)
            });
        drop(state);
        inner.handle.spawn(self.clone().connect(place, key));
        put
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

    pub(super) fn state(&self) -> MutexGuard<'_, Table> {
        let state = &self.inner.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts that there is no place for a connection, and logs it, not too often.
    pub(super) fn refuse(&self, peer: SocketAddr, why: Option<NoPlace>) {
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
    pub(super) fn complain(&self, what: std::fmt::Arguments<'_>) {
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
    pub(super) fn tls(&self) -> Result<Tls, Arc<io::Error>> {
        self.tls
            .get_or_init(|| Tls::new(self.settings.ca.as_deref()).map_err(Arc::new))
            .clone()
    }
}
