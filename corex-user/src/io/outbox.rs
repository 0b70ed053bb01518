//! The outbox of a running corex: messages that can't leave a worker at once go by a stream, or to
//! a name that is looked up first. Nothing here blocks; how many may wait is bounded, and what
//! becomes of each is counted in [`StreamCounters`].

mod hold;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

pub use self::hold::{OutboxHold, WaitingCopy};
use super::{
    resolve::{Cached, NameResolver, Query, ResolveError},
    sctp,
    socket::KernelSocket,
    stream::{Delivery, Streams},
};
use crate::{
    pipeline::{
        is_local,
        outbox::{Address, Deferred, Lookup, Outbox},
    },
    telemetry::stream_counters::StreamCounters,
};
use corex_script::{SendError, Target, limiter::SharedLimiter};
use corex_sip::Transport;

/// Messages that may wait for their names.
const WAITING: usize = 4096;

/// Why a message whose name was looked up didn't leave.
#[derive(Debug, thiserror::Error)]
enum DeferredError {
    #[error(transparent)]
    Unresolved(#[from] ResolveError),
    #[error(transparent)]
    Stream(#[from] SendError),
    #[error(transparent)]
    Datagram(#[from] io::Error),
    #[error("corex itself listens there: the message would come back")]
    OwnSocket,
}

/// The streams, the resolver, and sockets for datagrams whose names were looked up. Cheap to clone.
#[derive(Clone)]
pub struct AsyncOutbox {
    inner: Arc<OutboxInner>,
}

struct OutboxInner {
    handle: Handle,
    streams: Streams,
    resolver: Option<NameResolver>,
    /// Copies of one worker's UDP sockets, by listen socket.
    sockets: Vec<KernelSocket>,
    counters: Arc<StreamCounters>,
    places: Arc<Semaphore>,
    /// Messages whose names are looked up, by a number of their own.
    waiting: Mutex<HashMap<u64, Deferred>>,
    next: AtomicU64,
    /// Whether a successor may take over: nothing that waits is sent.
    held: watch::Sender<bool>,
    limiter: SharedLimiter,
}

impl AsyncOutbox {
    /// An outbox. Without a resolver no name has an address.
    pub fn new(
        handle: Handle,
        streams: Streams,
        resolver: Option<NameResolver>,
        sockets: Vec<KernelSocket>,
        counters: Arc<StreamCounters>,
    ) -> Self {
        Self {
            inner: Arc::new(OutboxInner {
                handle,
                streams,
                resolver,
                sockets,
                counters,
                places: Arc::new(Semaphore::new(WAITING)),
                waiting: Mutex::default(),
                next: AtomicU64::new(0),
                held: watch::Sender::new(false),
                limiter: SharedLimiter::default(),
            }),
        }
    }

    /// Looks a name up so that the next message finds it in the cache; `sender`: for whom, unless it
    /// is there already and to be asked for again.
    fn look_ahead(&self, query: &Query<'_>, sender: Option<IpAddr>) {
        let Some(resolver) = self.inner.resolver.clone() else {
            return;
        };
        let Ok(place) = Arc::clone(&self.inner.places).try_acquire_owned() else {
            return;
        };
        let host = query.host.to_vec();
        let (port, transport, secure) = (query.port, query.transport, query.secure);
        self.inner.handle.spawn(async move {
            let _place = place;
            let query = Query {
                host: &host,
                port,
                transport,
                secure,
            };
            match sender {
                // What is found is in the cache then; a failure too.
                Some(_) => drop(resolver.resolve(&query, sender).await),
                None => resolver.refresh(&query).await,
            }
        });
    }

    /// Looks up where datagrams to a host go; `None` where it has no address.
    pub fn find(
        &self,
        host: &str,
        port: Option<u16>,
        answer: std::sync::mpsc::Sender<Option<SocketAddr>>,
    ) {
        let (resolver, host) = (self.inner.resolver.clone(), host.to_owned());
        self.inner.handle.spawn(async move {
            let found = match resolver {
                None => None,
                Some(resolver) => {
                    let query = Query {
                        host: host.as_bytes(),
                        port,
                        transport: Some(Transport::Udp),
                        secure: false,
                    };
                    resolver.resolve(&query, None).await.ok()
                }
            };
            // Who asked may have gone.
            let _ = answer.send(found.map(|found| found.address));
        });
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Deferred>> {
        let waiting = &self.inner.waiting;
        waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks the name of a message up and sends it, if it still waits here then.
    async fn deliver(self, number: u64, query: Waiter, resolver: NameResolver) {
        let Waiter {
            host,
            port,
            secure,
            transport,
            sender,
        } = query;
        let query = Query {
            host: host.as_bytes(),
            port,
            transport: Some(transport),
            secure,
        };
        let found = resolver.resolve(&query, Some(sender)).await;
        let mut held = self.inner.held.subscribe();
        let result = loop {
            // An error would mean that nobody is left to say so.
            if held.wait_for(|held| !held).await.is_err() {
                return;
            }
            // Whoever holds the outbox waits for this borrow.
            let held = held.borrow();
            if *held {
                continue;
            }
            let Some(message) = self.waiting().remove(&number) else {
                return;
            };
            break match &found {
                Ok(found) => self.send_to(message, found.address, Some(host.clone())),
                Err(error) => Err((*error).into()),
            };
        };
        let Err(error) = result else { return };
        self.inner.counters.add(match error {
            DeferredError::Unresolved(_) => |c| &c.drop_unresolved,
            DeferredError::Stream(SendError::NoConnection) => |c| &c.drop_no_connection,
            DeferredError::Stream(_) => |c| &c.drop_queue_full,
            DeferredError::Datagram(_) => |c| &c.drop_send_error,
            DeferredError::OwnSocket => |c| &c.drop_send_self,
        });
        if let Some(held_back) = self.inner.limiter.allow() {
            tracing::warn!(held_back, "to {host} by {transport}: {error}");
        }
    }

    /// Sends a message that is counted as queued already.
    fn send_to(
        &self,
        message: Deferred,
        to: SocketAddr,
        name: Option<String>,
    ) -> Result<(), DeferredError> {
        let inner = &self.inner;
        let (ip, port) = (to.ip(), to.port());
        if message
            .own
            .at_address(message.transport, ip, port, is_local)
            .is_some()
        {
            return Err(DeferredError::OwnSocket);
        }
        if message.transport != Transport::Udp {
            inner.streams.send_counted(delivery(message, to, name))?;
            return Ok(());
        }
        let socket = inner.sockets.get(usize::from(message.socket.0));
        let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        socket.send(&message.payload, to, Some(message.local), message.ttl, None)?;
        inner.counters.add(|c| &c.delivered);
        message.copies.pass(Transport::Udp, message.local, to);
        Ok(())
    }
}

/// What a message's name is looked up by.
struct Waiter {
    host: String,
    port: Option<u16>,
    secure: bool,
    transport: Transport,
    sender: IpAddr,
}

fn delivery(message: Deferred, to: SocketAddr, server_name: Option<String>) -> Delivery {
    Delivery {
        payload: message.payload,
        to,
        transport: message.transport,
        server_name: server_name.filter(|_| message.transport == Transport::Tls),
        connection: message.connection,
        is_reply: message.is_reply,
        socket: message.socket,
        copies: message.copies,
    }
}

impl Outbox for AsyncOutbox {
    fn cache_size(&self) -> (usize, usize) {
        let resolver = self.inner.resolver.as_ref();
        resolver.map_or((0, 0), NameResolver::cache_size)
    }

    fn lookup(&self, target: Target<'_>, transport: Option<Transport>, sender: IpAddr) -> Lookup {
        let Target::Name { host, port, secure } = target else {
            return Lookup::Unknown;
        };
        let Some(resolver) = &self.inner.resolver else {
            return Lookup::Failed;
        };
        let query = Query {
            host,
            port,
            transport,
            secure,
        };
        let (known, is_due) = resolver.look(&query);
        if is_due {
            self.look_ahead(&query, None);
        }
        match known {
            Cached::Hit(found) => Lookup::Known(found.address, found.transport),
            Cached::Failed => Lookup::Failed,
            Cached::Miss => {
                // The next message will find the transport that the records name.
                if transport.is_none() {
                    self.look_ahead(&query, Some(sender));
                }
                Lookup::Unknown
            }
        }
    }

    fn submit(&self, message: Deferred) -> Result<(), SendError> {
        let inner = &self.inner;
        if message.transport == Transport::Sctp {
            return sctp::submit(&inner.handle, message, &inner.counters);
        }
        match &message.to {
            Address::Known(to, name) => {
                let (to, name) = (*to, name.clone());
                inner.streams.send(delivery(message, to, name))
            }
            Address::Name { host, port, secure } => {
                let resolver = inner.resolver.clone().ok_or(SendError::Unresolved)?;
                let place = Arc::clone(&inner.places)
                    .try_acquire_owned()
                    .map_err(|_| SendError::QueueFull)?;
                inner.counters.add(|c| &c.queued);
                let waiter = Waiter {
                    host: host.clone(),
                    port: *port,
                    secure: *secure,
                    transport: message.transport,
                    sender: message.sender,
                };
                let number = inner.next.fetch_add(1, Ordering::Relaxed);
                self.waiting().insert(number, message);
                let outbox = self.clone();
                inner.handle.spawn(async move {
                    let _place = place;
                    outbox.deliver(number, waiter, resolver).await;
                });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Duration};

    use bytes::Bytes;
    use hickory_resolver::{Hosts, config::ResolverConfig};

    use super::*;
    use crate::io::resolve::Families;
    use crate::pipeline::INITIAL_TTL;
    use crate::pipeline::Listener;
    use corex_script::{SocketId, settings::OwnSockets};

    /// An outbox that knows the name `peer`, with one UDP socket, and what it counts.
    fn outbox() -> (AsyncOutbox, Arc<StreamCounters>) {
        let counters = Arc::<StreamCounters>::default();
        let handle = Handle::current();
        let none = (Vec::new(), Vec::new());
        let settings = Default::default();
        let own = Arc::clone(&counters);
        let streams = Streams::start(handle.clone(), settings, none.0, none.1, own).unwrap();
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"127.0.0.1 peer\n"[..]).unwrap();
        let servers = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        let families = Families { v4: true, v6: true };
        let (options, dns) = Default::default();
        let own = Arc::clone(&counters);
        let resolver = NameResolver::new(servers, options, hosts, families, dns, own).unwrap();
        let socket = KernelSocket::open(
            &Listener::new(Transport::Udp, "127.0.0.1:0".parse().unwrap()),
            &Default::default(),
        )
        .unwrap();
        let own = Arc::clone(&counters);
        let outbox = AsyncOutbox::new(handle, streams, Some(resolver), vec![socket], own);
        (outbox, counters)
    }

    fn message(host: &str, port: u16, transport: Transport) -> Deferred {
        Deferred {
            payload: Bytes::from_static(b"hello"),
            to: Address::Name {
                host: host.to_owned(),
                port: Some(port),
                secure: false,
            },
            transport,
            socket: SocketId(0),
            local: "127.0.0.1:5060".parse().unwrap(),
            ttl: INITIAL_TTL,
            sender: "127.0.0.2".parse().unwrap(),
            own: Arc::default(),
            connection: None,
            is_reply: false,
            copies: Default::default(),
        }
    }

    /// What is counted once every message's fate is known, without what is 0.
    async fn at_rest(counters: &StreamCounters) -> Vec<(&'static str, u64)> {
        while counters.imbalance() != 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let all = counters.snapshot().into_iter();
        all.filter(|(_, value)| *value > 0).collect()
    }

    #[tokio::test]
    async fn a_datagram_to_a_name_arrives() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = peer.local_addr().unwrap().port();
        let (outbox, counters) = outbox();
        outbox
            .submit(message("peer", port, Transport::Udp))
            .unwrap();
        assert_eq!(at_rest(&counters).await, [("queued", 1), ("delivered", 1)]);
        let mut buffer = [0; 16];
        let len = peer.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"hello");
    }

    #[tokio::test]
    async fn a_name_that_leads_to_us_gets_nothing() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = peer.local_addr().unwrap().port();
        for listener in ["127.0.0.1", "0.0.0.0"] {
            let mut own = OwnSockets::default();
            own.add(Transport::Udp, listener, port);
            let (outbox, counters) = outbox();
            let message = Deferred {
                own: Arc::new(own),
                ..message("peer", port, Transport::Udp)
            };
            outbox.submit(message).unwrap();
            assert_eq!(
                at_rest(&counters).await,
                [("queued", 1), ("drop_send_self", 1)],
                "{listener}"
            );
        }
        peer.set_nonblocking(true).unwrap();
        assert!(peer.recv(&mut [0; 16]).is_err());
    }

    #[tokio::test]
    async fn what_is_held_goes_on_here_or_in_a_successor_and_once() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let port = peer.local_addr().unwrap().port();
        let (old, counted) = outbox();
        let (new, counted_anew) = outbox();
        let submit = |payload: &'static str| {
            let payload = Bytes::from_static(payload.as_bytes());
            old.submit(Deferred {
                payload,
                ..message("peer", port, Transport::Udp)
            })
            .unwrap();
        };
        let received = || {
            let mut buffer = [0; 16];
            let len = peer.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        let mut hold = old.hold();
        submit("here");
        assert_eq!(hold.lend().len(), 1);
        // Its name is found meanwhile.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(counted.imbalance(), 1);
        drop(hold);
        assert_eq!(at_rest(&counted).await, [("queued", 1), ("delivered", 1)]);
        assert_eq!(received(), "here");

        let mut hold = old.hold();
        submit("there");
        let copies = serde_json::to_vec(&hold.lend()).unwrap();
        hold.leave();
        let handed = [("queued", 2), ("delivered", 1), ("handed_over", 1)];
        assert_eq!(at_rest(&counted).await, handed);
        let copies: Vec<WaitingCopy> = serde_json::from_slice(&copies).unwrap();
        new.take_over(copies, &Arc::default());
        let sent = [("queued", 1), ("delivered", 1)];
        assert_eq!(at_rest(&counted_anew).await, sent);
        assert_eq!(received(), "there");
        peer.set_nonblocking(true).unwrap();
        assert!(peer.recv(&mut [0; 16]).is_err());
        assert_eq!(at_rest(&counted).await, handed);
    }

    #[tokio::test]
    async fn what_does_not_leave_is_counted_by_its_reason() {
        let mut without_socket = message("peer", 9, Transport::Udp);
        without_socket.socket = SocketId(1);
        let mut too_long = message("peer", 9, Transport::Tcp);
        too_long.payload = vec![0; 5 << 20].into();
        let cases = [
            (message("no name", 9, Transport::Udp), "drop_unresolved"),
            (without_socket, "drop_send_error"),
            (too_long, "drop_queue_full"),
        ];
        for (message, reason) in cases {
            let (outbox, counters) = outbox();
            outbox.submit(message).unwrap();
            assert_eq!(at_rest(&counters).await, [("queued", 1), (reason, 1)]);
        }
    }
}
