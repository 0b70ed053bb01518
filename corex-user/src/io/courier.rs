//! Carries what can't leave a worker at once: by a stream, or to a name that must be looked up.
//! Nothing here blocks; what waits is bounded, and its fate is counted in [`StreamCounters`].

use std::{net::SocketAddr, sync::Arc};

use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    resolve::{Cached, Query, Resolver},
    sctp,
    socket::KernelSocket,
    stream::{Delivery, Streams},
};
use crate::{
    pipeline::carrier::{Address, Carrier, Lookup, Parcel},
    telemetry::stream_counters::StreamCounters,
};
use corex_script::limiter::SharedLimiter;
use corex_script::{SendError, Target};
use corex_sip::Transport;

/// Messages that may wait for their names.
const WAITING: usize = 4096;

/// The streams, the resolver, and sockets for datagrams whose names were looked up.
#[derive(Clone)]
pub struct Courier {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    streams: Streams,
    resolver: Option<Resolver>,
    /// Copies of one worker's UDP sockets, by listen socket.
    sockets: Vec<KernelSocket>,
    counters: Arc<StreamCounters>,
    places: Arc<Semaphore>,
    limiter: SharedLimiter,
}

impl Courier {
    /// A courier. Without a resolver no name has an address.
    pub fn new(
        handle: Handle,
        streams: Streams,
        resolver: Option<Resolver>,
        sockets: Vec<KernelSocket>,
        counters: Arc<StreamCounters>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
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

    /// Looks the name up and sends.
    async fn deliver(self, parcel: Parcel, resolver: Resolver) {
        let Address::Name { host, port, secure } = &parcel.to else {
            return;
        };
        let query = Query {
            host: host.as_bytes(),
            port: *port,
            transport: Some(parcel.transport),
            secure: *secure,
        };
        let counters = &self.shared.counters;
        let result = match resolver.resolve(&query).await {
            Ok(destination) => self.send_to(&parcel, destination.address, Some(host.clone())),
            Err(error) => {
                counters.add(|c| &c.drop_unresolved);
                Err(error.to_string())
            }
        };
        if let Err(reason) = result
            && let Some(held_back) = self.shared.limiter.allow()
        {
            tracing::warn!(held_back, "to {host} by {}: {reason}", parcel.transport);
        }
    }

    /// Sends what was counted as queued already.
    fn send_to(&self, parcel: &Parcel, to: SocketAddr, name: Option<String>) -> Result<(), String> {
        let shared = &self.shared;
        if parcel.transport != Transport::Udp {
            let delivery = delivery(parcel, to, name);
            return shared.streams.send_counted(delivery).map_err(|error| {
                shared.counters.add(|c| &c.drop_queue_full);
                error.to_string()
            });
        }
        let socket = shared.sockets.get(usize::from(parcel.socket.0));
        let sent = match socket {
            Some(socket) => socket.send(&parcel.payload, to, Some(parcel.local.ip())),
            None => Err(std::io::ErrorKind::AddrNotAvailable.into()),
        };
        match sent {
            Ok(()) => {
                shared.counters.add(|c| &c.delivered);
                Ok(())
            }
            Err(error) => {
                shared.counters.add(|c| &c.drop_send_error);
                Err(error.to_string())
            }
        }
    }
}

fn delivery(parcel: &Parcel, to: SocketAddr, server_name: Option<String>) -> Delivery {
    Delivery {
        payload: parcel.payload.clone(),
        to,
        transport: parcel.transport,
        server_name: server_name.filter(|_| parcel.transport == Transport::Tls),
        connection: parcel.connection,
        socket: parcel.socket,
    }
}

impl Carrier for Courier {
    fn cache_size(&self) -> (usize, usize) {
        let resolver = self.shared.resolver.as_ref();
        resolver.map_or((0, 0), Resolver::cache_size)
    }

    fn lookup(&self, target: Target<'_>, transport: Option<Transport>) -> Lookup {
        let Target::Name { host, port, secure } = target else {
            return Lookup::Unknown;
        };
        let Some(resolver) = &self.shared.resolver else {
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

    fn carry(&self, parcel: Parcel) -> Result<(), SendError> {
        let shared = &self.shared;
        if parcel.transport == Transport::Sctp {
            return sctp::carry(&shared.handle, parcel, &shared.counters);
        }
        match &parcel.to {
            Address::Known(to, name) => shared.streams.send(delivery(&parcel, *to, name.clone())),
            Address::Name { .. } => {
                let resolver = shared.resolver.clone().ok_or(SendError::Unresolved)?;
                let place = Arc::clone(&shared.places)
                    .try_acquire_owned()
                    .map_err(|_| SendError::QueueFull)?;
                shared.counters.add(|c| &c.queued);
                let courier = self.clone();
                shared.handle.spawn(async move {
                    let _place = place;
                    courier.deliver(parcel, resolver).await;
                });
                Ok(())
            }
        }
    }
}

impl Courier {
    fn look_ahead(&self, query: &Query<'_>) {
        let Some(resolver) = self.shared.resolver.clone() else {
            return;
        };
        let Ok(place) = Arc::clone(&self.shared.places).try_acquire_owned() else {
            return;
        };
        let host = query.host.to_vec();
        let (port, secure) = (query.port, query.secure);
        self.shared.handle.spawn(async move {
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
}
