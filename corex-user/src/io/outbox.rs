//! The outbox of a running corex: messages that can't leave a worker at once go by a stream, or to
//! a name that is looked up first. Nothing here blocks; how many may wait is bounded, and what
//! becomes of each is counted in [`StreamCounters`].

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    resolve::{Cached, NameResolver, Query, ResolveError},
    sctp,
    socket::KernelSocket,
    stream::{Delivery, Streams},
};
use crate::{
    pipeline::outbox::{Address, Deferred, Lookup, Outbox},
    script::{SendError, Target},
    telemetry::{limiter::SharedLimiter, stream_counters::StreamCounters},
};
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
                limiter: SharedLimiter::default(),
            }),
        }
    }

    /// Looks a name up so that the next message finds it in the cache.
    fn look_ahead(&self, query: &Query<'_>) {
        let Some(resolver) = self.inner.resolver.clone() else {
            return;
        };
        let Ok(place) = Arc::clone(&self.inner.places).try_acquire_owned() else {
            return;
        };
        let host = query.host.to_vec();
        let (port, secure) = (query.port, query.secure);
        self.inner.handle.spawn(async move {
            let _place = place;
            let query = Query {
                host: &host,
                port,
                transport: None,
                secure,
            };
            // What is found is in the cache then; a failure too.
            let _ = resolver.resolve(&query).await;
        });
    }

    /// Looks the name up and sends.
    async fn deliver(self, message: Deferred, resolver: NameResolver) {
        let Address::Name { host, port, secure } = &message.to else {
            return;
        };
        let query = Query {
            host: host.as_bytes(),
            port: *port,
            transport: Some(message.transport),
            secure: *secure,
        };
        let result = match resolver.resolve(&query).await {
            Ok(destination) => self.send_to(&message, destination.address, Some(host.clone())),
            Err(error) => Err(error.into()),
        };
        let Err(error) = result else { return };
        self.inner.counters.add(match error {
            DeferredError::Unresolved(_) => |c| &c.drop_unresolved,
            DeferredError::Stream(_) => |c| &c.drop_queue_full,
            DeferredError::Datagram(_) => |c| &c.drop_send_error,
        });
        if let Some(held_back) = self.inner.limiter.allow() {
            tracing::warn!(held_back, "to {host} by {}: {error}", message.transport);
        }
    }

    /// Sends a message that is counted as queued already.
    fn send_to(
        &self,
        message: &Deferred,
        to: SocketAddr,
        name: Option<String>,
    ) -> Result<(), DeferredError> {
        let inner = &self.inner;
        if message.transport != Transport::Udp {
            inner.streams.send_counted(delivery(message, to, name))?;
            return Ok(());
        }
        let socket = inner.sockets.get(usize::from(message.socket.0));
        let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        socket.send(&message.payload, to, Some(message.local.ip()))?;
        inner.counters.add(|c| &c.delivered);
        Ok(())
    }
}

fn delivery(message: &Deferred, to: SocketAddr, server_name: Option<String>) -> Delivery {
    Delivery {
        payload: message.payload.clone(),
        to,
        transport: message.transport,
        server_name: server_name.filter(|_| message.transport == Transport::Tls),
        connection: message.connection,
        socket: message.socket,
    }
}

impl Outbox for AsyncOutbox {
    fn cache_size(&self) -> (usize, usize) {
        let resolver = self.inner.resolver.as_ref();
        resolver.map_or((0, 0), NameResolver::cache_size)
    }

    fn lookup(&self, target: Target<'_>, transport: Option<Transport>) -> Lookup {
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
        match resolver.cached(&query) {
            Cached::Hit(found) => Lookup::Known(found.address, found.transport),
            Cached::Failed => Lookup::Failed,
            Cached::Miss => {
                // The next message will find the transport that the records name.
                if transport.is_none() {
                    self.look_ahead(&query);
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
            Address::Known(to, name) => inner.streams.send(delivery(&message, *to, name.clone())),
            Address::Name { .. } => {
                let resolver = inner.resolver.clone().ok_or(SendError::Unresolved)?;
                let place = Arc::clone(&inner.places)
                    .try_acquire_owned()
                    .map_err(|_| SendError::QueueFull)?;
                inner.counters.add(|c| &c.queued);
                let outbox = self.clone();
                inner.handle.spawn(async move {
                    let _place = place;
                    outbox.deliver(message, resolver).await;
                });
                Ok(())
            }
        }
    }
}
