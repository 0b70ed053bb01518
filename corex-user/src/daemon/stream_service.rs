//! The service beside the workers for streams and names: TCP listeners, the inboxes through which
//! streams reach the workers, and the outbox through which workers reach streams and names.

use std::{
    io::Write as _,
    net::TcpListener,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep},
};

use super::handover::{Estate, Heir, Item, StreamEstate};
use crate::{
    guard::Guard,
    io::{
        listen,
        outbox::{AsyncOutbox, OutboxHold},
        resolve::{Families, NameResolver},
        socket::KernelSocket,
        stream::{Hold, Inbox, StreamMessage, Streams},
    },
    pipeline::Listener,
    telemetry::stream_counters::StreamCounters,
};
use corex_script::{
    SocketId,
    settings::{OwnSockets, Settings},
};
use corex_sip::Transport;

/// Messages from streams that may wait for a worker.
const INBOX: usize = 1024;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long what waits to be written has when corex stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Between two looks whether all has been.
const LOOK: Duration = Duration::from_millis(5);

/// The open TCP listeners.
pub struct TcpListeners(Vec<(SocketId, TcpListener)>);

impl TcpListeners {
    /// Opens every TCP listener, or takes it from an heir who has it.
    ///
    /// # Errors
    /// What the kernel says, with the address.
    pub fn open(listeners: &[Listener], mut heir: Option<&mut Heir>) -> anyhow::Result<Self> {
        let tcp = listeners.iter().enumerate();
        tcp.filter(|(_, listener)| listener.transport == Transport::Tcp)
            .map(|(id, listener)| {
                let handed = heir
                    .as_mut()
                    .and_then(|heir| heir.listener(listener.address));
                let opened = handed.map_or_else(|| open(listener), |socket| Ok(socket.into()));
                let opened = opened.map_err(|error| {
                    let remedy = listen::remedy(&error, listener);
                    anyhow::anyhow!("{}listen on {listener}: {error}{remedy}", listener.place)
                })?;
                Ok((SocketId(u16::try_from(id)?), opened))
            })
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// Names them, for a successor.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn add_to(&self, estate: &mut Estate) -> std::io::Result<()> {
        for (_, listener) in &self.0 {
            let address = listener.local_addr()?;
            estate.add(
                Item::Listener { address },
                listener.as_fd().try_clone_to_owned()?,
            );
        }
        Ok(())
    }
}

fn open(listener: &Listener) -> std::io::Result<TcpListener> {
    let address = listener.address;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an instance that is gone linger on.
    socket.set_reuse_address(true)?;
    listen::allow_absent(&socket, listener)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A worker's end of an inbox.
pub type Receiver = mpsc::Receiver<StreamMessage>;

/// Makes an inbox for each worker; a byte through its socket wakes it.
///
/// # Errors
/// When there are no descriptors left.
pub fn inboxes(wakers: &[&UnixStream]) -> anyhow::Result<(Vec<Inbox>, Vec<Receiver>)> {
    let mut inboxes = Vec::new();
    let mut receivers = Vec::new();
    for waker in wakers {
        let waker = waker.try_clone().context("copy a wake-up pair")?;
        waker.set_nonblocking(true).context("wake-up pair")?;
        let waker = Mutex::new(waker);
        let (sender, receiver) = mpsc::channel(INBOX);
        inboxes.push(Inbox {
            sender,
            wake: Arc::new(move || {
                let mut waker = waker.lock().unwrap_or_else(PoisonError::into_inner);
                // Full means that the worker has been woken often enough.
                let _ = waker.write(&[1]);
            }),
        });
        receivers.push(receiver);
    }
    Ok((inboxes, receivers))
}

/// Streams, the outbox that takes messages to them, and what they count.
pub struct StreamService {
    streams: Streams,
    /// What takes over messages.
    pub outbox: AsyncOutbox,
    /// What became of them.
    pub counters: Arc<StreamCounters>,
}

impl StreamService {
    /// Starts accepting, as soon as the runtime runs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn start(
        handle: &Handle,
        settings: &Settings,
        listeners: &[Listener],
        tcp: TcpListeners,
        inboxes: Vec<Inbox>,
        sockets: &[KernelSocket],
        guard: Guard,
    ) -> anyhow::Result<Self> {
        let counters = Arc::new(StreamCounters::default());
        let mut stream = settings.stream.clone();
        stream.ca.clone_from(&settings.corex.tls_ca_list);
        stream.traffic_class = settings.datagrams.traffic_class;
        let streams = Streams::start(
            handle.clone(),
            stream,
            tcp.0,
            inboxes,
            Arc::clone(&counters),
        )
        .context("start TCP")?;
        streams.guard_by(guard);
        let families = Families {
            v4: listeners.iter().any(|l| l.address.is_ipv4()),
            v6: listeners.iter().any(|l| l.address.is_ipv6()),
        };
        let resolver = {
            let _inside = handle.enter();
            NameResolver::from_system(families, settings.dns.clone(), Arc::clone(&counters))
        };
        let resolver = match resolver {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                tracing::warn!("host names can't be looked up: {error}");
                None
            }
        };
        let copies = sockets
            .iter()
            .map(KernelSocket::try_clone)
            .collect::<Result<_, _>>()
            .context("copy a socket")?;
        let outbox = AsyncOutbox::new(
            handle.clone(),
            streams.clone(),
            resolver,
            copies,
            Arc::clone(&counters),
        );
        Ok(Self {
            streams,
            outbox,
            counters,
        })
    }

    /// Lets nothing more through to the workers, and nothing that waits for a name out.
    pub fn hold(&self) -> StreamHold {
        StreamHold {
            streams: self.streams.hold(),
            outbox: self.outbox.hold(),
        }
    }

    /// Goes on with what a predecessor had. `own`: where what is sent comes back to us.
    pub fn take_over(
        &self,
        estate: StreamEstate,
        descriptors: Vec<OwnedFd>,
        listeners: &[Listener],
        own: &Arc<OwnSockets>,
    ) {
        let StreamEstate {
            sockets,
            mut streams,
            mut waiting,
        } = estate;
        let names: Vec<String> = listeners.iter().map(ToString::to_string).collect();
        let number = |had: u16| {
            let name = sockets.get(usize::from(had))?;
            let at = names.iter().position(|known| known == name)?;
            u16::try_from(at).ok()
        };
        let before = streams.open.len();
        let open = streams.open.into_iter().zip(descriptors);
        let (open, descriptors): (Vec<_>, Vec<_>) = open
            .filter_map(|(mut connection, descriptor)| {
                connection.socket = number(connection.socket)?;
                Some((connection, descriptor))
            })
            .unzip();
        let unserved = before - open.len();
        self.counters.add_many(|c| &c.closed_takeover, unserved);
        streams.open = open;
        // What is on its way out leaves by any.
        for socket in streams.unopened.iter_mut().map(|copy| &mut copy.socket) {
            *socket = number(*socket).unwrap_or_default();
        }
        for socket in waiting.iter_mut().map(|copy| &mut copy.socket) {
            *socket = number(*socket).unwrap_or_default();
        }
        let no_room = self.streams.take_over(streams, descriptors);
        self.outbox.take_over(waiting, own);
        if before > 0 {
            tracing::info!("{} TCP connections go on", before - unserved - no_room);
        }
        if unserved + no_room > 0 {
            tracing::warn!(
                no_room,
                unserved,
                "TCP connections of the predecessor are closed: there are too many for this one, or \
                 nothing listens any more where they came in"
            );
        }
    }

    /// Writes what waits, for a bounded time. Returns how many connections it ends.
    pub async fn stop(&self) -> usize {
        let deadline = Instant::now() + DRAIN;
        let connections = self.streams.stop(DRAIN).await;
        // Names, and SCTP.
        while self.counters.imbalance() > 0 && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        let left = usize::try_from(self.counters.imbalance()).unwrap_or_default();
        if left > 0 {
            self.counters.add_many(|c| &c.drop_stopping, left);
            tracing::warn!(
                left,
                "messages still waited for a name or for SCTP: dropped"
            );
        }
        connections
    }
}

/// Streams and the outbox, held for a successor. Dropped, it lets them go on.
pub struct StreamHold {
    streams: Hold,
    outbox: OutboxHold,
}

impl StreamHold {
    /// All that can be handed over, with descriptors; the workers are parked. `listeners` are by
    /// number.
    pub async fn lend(&mut self, listeners: &[Listener]) -> (StreamEstate, Vec<Arc<OwnedFd>>) {
        let (streams, descriptors) = self.streams.lend().await;
        let estate = StreamEstate {
            sockets: listeners.iter().map(ToString::to_string).collect(),
            streams,
            waiting: self.outbox.lend(),
        };
        (estate, descriptors)
    }

    /// A successor has it.
    pub fn leave(self) {
        self.streams.leave();
        self.outbox.leave();
    }
}
