//! Finds the addresses of peers by their host names (RFC 3263 §4), beside the workers.
//!
//! With a port: A and AAAA. With a transport and no port: SRV for it, else A and AAAA with the
//! default port. With neither: NAPTR says the transport, else SRV for each that we have, else UDP
//! (TLS for `sips:`) with the default port. A name in the hosts file has the address that stands
//! there. A worker only looks into the cache; a task asks for names that are not there.

mod cache;
mod procedure;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use tokio::{sync::Semaphore, time::timeout};

use self::{
    cache::{Cache, Key},
    procedure::Procedure,
};
use corex_sip::Transport;

/// How long all questions for one name together may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long one name server has for one question.
const SERVER_PATIENCE: Duration = Duration::from_secs(2);
/// Names that are asked for at a time.
const AT_A_TIME: usize = 256;
/// A failure that no record gives a time for is remembered for so long.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// A question to the resolver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// The name; case doesn't matter.
    pub host: &'a [u8],
    /// The port, where one is given.
    pub port: Option<u16>,
    /// The transport, where one is given.
    pub transport: Option<Transport>,
    /// `sips:`: only TLS will do.
    pub secure: bool,
}

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The address to send to.
    pub address: SocketAddr,
    /// The transport to send by.
    pub transport: Transport,
}

/// What the cache knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cached {
    /// A destination. Several are taken by priority and weight (RFC 2782).
    Hit(Destination),
    /// The name is known to have no destination.
    Failed,
    /// The cache knows nothing of the name.
    Miss,
}

/// Why a name has no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not a host name.
    #[error("not a host name")]
    NotAName,
    /// There are no records.
    #[error("no address records")]
    NotFound,
    /// No name server answered.
    #[error("no name server answered in time")]
    TimedOut,
    /// Too many names are asked for already.
    #[error("too many names are being looked up")]
    Busy,
}

/// Why names can't be looked up at all.
#[derive(Debug, thiserror::Error)]
pub enum NoResolver {
    /// The system's configuration can't be read.
    #[error("/etc/resolv.conf: {0}")]
    System(#[source] NetError),
    /// The configuration makes no sense.
    #[error("{0}")]
    Configuration(#[source] NetError),
}

/// Which addresses our sockets reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// Finds destinations by name, over one cache. Cheap to clone.
#[derive(Clone)]
pub struct NameResolver {
    inner: Arc<ResolverInner>,
}

struct ResolverInner {
    procedure: Procedure,
    cache: Mutex<Cache>,
    /// One task asks, the others wait for it.
    flights: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    places: Semaphore,
}

impl NameResolver {
    /// Asks the name servers of /etc/resolv.conf and knows the names of /etc/hosts.
    ///
    /// # Errors
    /// When the system's configuration can't be read, or makes no sense.
    pub fn from_system(families: Families) -> Result<Self, NoResolver> {
        let (config, options) =
            hickory_resolver::system_conf::read_system_conf().map_err(NoResolver::System)?;
        let hosts = Hosts::from_system().unwrap_or_default();
        Self::new(config, options, hosts, families)
    }

    /// Asks the name servers given.
    ///
    /// # Errors
    /// When the configuration makes no sense.
    pub fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        hosts: Hosts,
        families: Families,
    ) -> Result<Self, NoResolver> {
        options.timeout = options.timeout.min(SERVER_PATIENCE);
        options.attempts = options.attempts.min(2);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let client = builder.build().map_err(NoResolver::Configuration)?;
        Ok(Self {
            inner: Arc::new(ResolverInner {
                procedure: Procedure::new(client, hosts, families),
                cache: Mutex::default(),
                flights: Mutex::default(),
                places: Semaphore::new(AT_A_TIME),
            }),
        })
    }

    /// Names in the cache, and the bytes that they take.
    pub fn cache_size(&self) -> (usize, usize) {
        self.cache().size()
    }

    /// What is known already. Never waits for anybody but another reader of the cache.
    pub fn cached(&self, query: &Query<'_>) -> Cached {
        match Key::new(query) {
            Some(key) => self.cache().get(&key),
            None => Cached::Failed,
        }
    }

    /// Finds a destination, in the cache or by asking.
    ///
    /// # Errors
    /// When there is none.
    pub async fn resolve(&self, query: &Query<'_>) -> Result<Destination, ResolveError> {
        let key = Key::new(query).ok_or(ResolveError::NotAName)?;
        match self.cache().get(&key) {
            Cached::Hit(destination) => return Ok(destination),
            Cached::Failed => return Err(ResolveError::NotFound),
            Cached::Miss => {}
        }
        let flight = Arc::clone(self.flights().entry(key.clone()).or_default());
        let _leader = flight.lock().await;
        // Who asked before may have found it.
        match self.cache().get(&key) {
            Cached::Hit(destination) => return Ok(destination),
            Cached::Failed => return Err(ResolveError::NotFound),
            Cached::Miss => {}
        }
        let result = self.ask(query, &key).await;
        self.flights().remove(&key);
        result
    }

    async fn ask(&self, query: &Query<'_>, key: &Key) -> Result<Destination, ResolveError> {
        let _place = self
            .inner
            .places
            .try_acquire()
            .map_err(|_| ResolveError::Busy)?;
        let found = match timeout(PATIENCE, self.inner.procedure.run(query)).await {
            Ok(found) => found,
            Err(_) => Err((ResolveError::TimedOut, FAILED_FOR)),
        };
        let mut cache = self.cache();
        match found {
            Ok((candidates, life)) => {
                cache.put(key.clone(), candidates, life);
                match cache.get(key) {
                    Cached::Hit(destination) => Ok(destination),
                    Cached::Failed | Cached::Miss => Err(ResolveError::NotFound),
                }
            }
            Err((error, life)) => {
                cache.put(key.clone(), Vec::new(), life);
                Err(error)
            }
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        let cache = &self.inner.cache;
        cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        let flights = &self.inner.flights;
        flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
