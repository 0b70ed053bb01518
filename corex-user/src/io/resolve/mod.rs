//! Finds the addresses of peers by their host names (RFC 3263 §4), beside the workers.
//!
//! With a port: A and AAAA. With a transport and no port: SRV for it, else A and AAAA with the
//! default port. With neither: NAPTR says the transport, else SRV for each that we have, else UDP
//! (TLS for `sips:`) with the default port. A name in the hosts file has the address that stands
//! there. A worker only looks into the cache; a task asks for names that are not there.
//!
//! A name that is in use is asked for again before its time is over, and its address is used longer
//! where no name server answers (RFC 8767). Names of a stranger's choosing can't use all places up.

mod cache;
mod procedure;
mod shares;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use tokio::time::timeout;

use self::{
    cache::{Cache, Found, Key},
    procedure::Procedure,
    shares::Shares,
};
use crate::telemetry::stream_counters::StreamCounters;
use corex_script::settings::DnsSettings;
use corex_sip::Transport;

/// How long all questions for one name together may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long one name server has for one question.
const SERVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a message waits for a fresh address before it goes to the one that there was before (RFC
/// 8767 §5).
const STALE_PATIENCE: Duration = Duration::from_millis(1800);

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
    /// A name server answered that it can't tell.
    #[error("the name server can't tell")]
    ServerFailed,
    /// Too many names are asked for already.
    #[error("too many names are being looked up (modparam dns_max_lookups)")]
    Busy,
    /// Too many names of its zone are asked for already.
    #[error("too many names of its zone are being looked up (modparam dns_max_lookups)")]
    BusyZone,
    /// Too many names are asked for already for messages of this sender.
    #[error("too many names are being looked up for this sender (modparam dns_max_per_source)")]
    BusySource,
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
    shares: Arc<Shares>,
    counters: Arc<StreamCounters>,
}

/// Removes a flight when it is over, or given up.
struct Flight<'a> {
    resolver: &'a NameResolver,
    key: &'a Key,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.resolver.flights().remove(self.key);
    }
}

impl NameResolver {
    /// Asks the name servers of /etc/resolv.conf and knows the names of /etc/hosts.
    ///
    /// # Errors
    /// When the system's configuration can't be read, or makes no sense.
    pub fn from_system(
        families: Families,
        settings: DnsSettings,
        counters: Arc<StreamCounters>,
    ) -> Result<Self, NoResolver> {
        let (config, options) =
            hickory_resolver::system_conf::read_system_conf().map_err(NoResolver::System)?;
        let hosts = Hosts::from_system().unwrap_or_default();
        Self::new(config, options, hosts, families, settings, counters)
    }

    /// Asks the name servers given.
    ///
    /// # Errors
    /// When the configuration makes no sense.
    pub fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        mut hosts: Hosts,
        families: Families,
        settings: DnsSettings,
        counters: Arc<StreamCounters>,
    ) -> Result<Self, NoResolver> {
        let lines = settings
            .records
            .iter()
            .map(|(name, ip)| format!("{ip} {name}\n"));
        // Reading from memory can't fail, and names were checked.
        let _ = hosts.read_hosts_conf(lines.collect::<String>().as_bytes());
        options.timeout = options.timeout.min(SERVER_PATIENCE);
        options.attempts = options.attempts.min(2);
        // Ours is enough: what is asked for ahead must come from the servers.
        options.cache_size = 0;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let client = builder.build().map_err(NoResolver::Configuration)?;
        Ok(Self {
            inner: Arc::new(ResolverInner {
                procedure: Procedure::new(client, hosts, families),
                cache: Mutex::new(Cache::new(settings.clone())),
                flights: Mutex::default(),
                shares: Arc::new(Shares::new(settings)),
                counters,
            }),
        })
    }

    /// Names in the cache, and the bytes that they take.
    pub fn cache_size(&self) -> (usize, usize) {
        self.cache().size()
    }

    /// What is known already. Never waits for anybody but another reader of the cache.
    pub fn cached(&self, query: &Query<'_>) -> Cached {
        self.look(query).0
    }

    /// The same, and whether the caller is to [`Self::refresh`] it.
    pub fn look(&self, query: &Query<'_>) -> (Cached, bool) {
        let Some(key) = Key::new(query) else {
            return (Cached::Failed, false);
        };
        let found = self.cache().get(&key, Instant::now());
        match found {
            Found::Fresh {
                destination,
                is_due,
            } => (Cached::Hit(destination), is_due),
            Found::Stale(destination) => {
                self.inner.counters.add(|c| &c.dns_stale);
                (Cached::Hit(destination), false)
            }
            Found::Failed => (Cached::Failed, false),
            Found::Expired(_) | Found::Miss => (Cached::Miss, false),
        }
    }

    /// Asks again for a name whose time is nearly over.
    pub async fn refresh(&self, query: &Query<'_>) {
        let Some(key) = Key::new(query) else {
            return;
        };
        self.inner.counters.add(|c| &c.dns_refreshed);
        // What is found, or that nothing is, is in the cache then.
        let _ = self.ask(query, &key, None).await;
    }

    /// Finds a destination, in the cache or by asking; `sender`: for whose message.
    ///
    /// Where no name server answers, it is the one that there was before, if that isn't too long ago
    /// (RFC 8767).
    ///
    /// # Errors
    /// When there is none.
    pub async fn resolve(
        &self,
        query: &Query<'_>,
        sender: Option<IpAddr>,
    ) -> Result<Destination, ResolveError> {
        let key = Key::new(query).ok_or(ResolveError::NotAName)?;
        let stale = match self.known(&key) {
            Ok(result) => return result,
            Err(stale) => stale,
        };
        let fresh = self.fresh(query, &key, sender);
        let Some(stale) = stale else {
            return fresh.await;
        };
        match timeout(STALE_PATIENCE, fresh).await {
            Ok(result @ (Ok(_) | Err(ResolveError::NotFound))) => result,
            Ok(Err(_)) | Err(_) => {
                self.cache().put_off(&key, Instant::now());
                self.inner.counters.add(|c| &c.dns_stale);
                Ok(stale)
            }
        }
    }

    /// What needs no lookup; else the destination that there was before.
    fn known(&self, key: &Key) -> Result<Result<Destination, ResolveError>, Option<Destination>> {
        let found = self.cache().get(key, Instant::now());
        match found {
            Found::Fresh { destination, .. } => Ok(Ok(destination)),
            Found::Stale(destination) => {
                self.inner.counters.add(|c| &c.dns_stale);
                Ok(Ok(destination))
            }
            Found::Failed => Ok(Err(ResolveError::NotFound)),
            Found::Expired(destination) => Err(Some(destination)),
            Found::Miss => Err(None),
        }
    }

    /// Asks, or waits for who asks already.
    async fn fresh(
        &self,
        query: &Query<'_>,
        key: &Key,
        sender: Option<IpAddr>,
    ) -> Result<Destination, ResolveError> {
        let flight = Arc::clone(self.flights().entry(key.clone()).or_default());
        let _leader = flight.lock().await;
        // Who asked before may have found it.
        if let Ok(result) = self.known(key) {
            return result;
        }
        let _flight = Flight {
            resolver: self,
            key,
        };
        self.ask(query, key, sender).await
    }

    async fn ask(
        &self,
        query: &Query<'_>,
        key: &Key,
        sender: Option<IpAddr>,
    ) -> Result<Destination, ResolveError> {
        let is_known = self.cache().has_destination(key);
        let place = self.inner.shares.take(is_known, key.name(), sender);
        let _place = place.inspect_err(|error| {
            self.inner.counters.add(match error {
                ResolveError::BusyZone => |c| &c.dns_refused_zone,
                ResolveError::BusySource => |c| &c.dns_refused_source,
                _ => |c| &c.dns_refused,
            });
        })?;
        let found = match timeout(PATIENCE, self.inner.procedure.run(query)).await {
            Ok(found) => found,
            Err(_) => Err(ResolveError::TimedOut),
        };
        let now = Instant::now();
        let mut cache = self.cache();
        match found {
            Ok((candidates, life)) => {
                cache.put(key.clone(), candidates, life, now);
                match cache.get(key, now) {
                    Found::Fresh { destination, .. } => Ok(destination),
                    _ => Err(ResolveError::NotFound),
                }
            }
            Err(error) => {
                let is_silent =
                    matches!(error, ResolveError::TimedOut | ResolveError::ServerFailed);
                if !is_silent || !cache.put_off(key, now) {
                    cache.put_failure(key.clone(), now);
                }
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
