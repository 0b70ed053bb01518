//! A store that instances share, asked with a bound on time, and left alone while it fails.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use corex_script::limiter::SharedLimiter;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::breaker::Breaker;
use super::memcached::Memcached;
use super::place::{ServerKind, ServerPlace};
use super::redis::Redis;
use crate::telemetry::key_counters::KeyCounters;
use crate::tls::Tls;

/// How long a server has to answer, connecting included. Below
/// [`PATIENCE`](super::limits::PATIENCE), so that what waits learns of it.
const ANSWER: Duration = Duration::from_millis(1000);

/// Why a store didn't answer. What it was has been logged and counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the keystore is away")]
pub struct Away;

#[derive(Debug)]
enum Server {
    Redis(Redis),
    Memcached(Memcached),
}

/// A store in a server.
#[derive(Debug)]
pub struct SharedStore {
    server: Server,
    name: String,
    breaker: Breaker,
    counters: Arc<KeyCounters>,
    log: SharedLimiter,
}

impl SharedStore {
    /// The one at this place. `ca`: the authorities that certificates are verified by, instead of
    /// the system's.
    ///
    /// # Errors
    /// When there are no authorities for TLS.
    pub fn new(
        place: &ServerPlace,
        password: Option<Zeroizing<String>>,
        ca: Option<&Path>,
        counters: Arc<KeyCounters>,
    ) -> io::Result<SharedStore> {
        let name = place.to_string();
        let password = password.or_else(|| place.password.clone());
        let server = match place.kind {
            ServerKind::Memcached => Server::Memcached(Memcached::new(place.clone())),
            ServerKind::Redis => Server::Redis(Redis::new(place.clone(), password, None)),
            ServerKind::RedisTls => {
                let tls = Tls::new(ca)?;
                Server::Redis(Redis::new(place.clone(), password, Some(tls)))
            }
        };
        Ok(SharedStore {
            server,
            name,
            breaker: Breaker::default(),
            counters,
            log: SharedLimiter::default(),
        })
    }

    /// Whether it is left alone, as it failed.
    pub fn is_away(&self) -> bool {
        self.breaker.is_open()
    }

    /// The entry of this name.
    ///
    /// # Errors
    /// When the server doesn't answer, or is left alone.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Away> {
        self.ask(async {
            match &self.server {
                Server::Redis(redis) => redis.get(name).await,
                Server::Memcached(memcached) => memcached.get(name).await,
            }
        })
        .await
    }

    /// Writes an entry that lives so many seconds. Returns whether it was written, which with
    /// `is_new` it isn't if there is one.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn put(
        &self,
        name: &str,
        entry: &[u8],
        life: u64,
        is_new: bool,
    ) -> Result<bool, Away> {
        let life = life.max(1);
        self.ask(async {
            match &self.server {
                Server::Redis(redis) => redis.put(name, entry, life, is_new).await,
                Server::Memcached(memcached) => memcached.put(name, entry, life, is_new).await,
            }
        })
        .await
    }

    /// Takes an entry out. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn delete(&self, name: &str) -> Result<bool, Away> {
        self.ask(async {
            match &self.server {
                Server::Redis(redis) => redis.delete(name).await,
                Server::Memcached(memcached) => memcached.delete(name).await,
            }
        })
        .await
    }

    async fn ask<T>(&self, request: impl Future<Output = io::Result<T>>) -> Result<T, Away> {
        let Some(leave) = self.breaker.leave(Instant::now()) else {
            self.counters.add(|c| &c.left_alone);
            return Err(Away);
        };
        let (which, error): (fn(&KeyCounters) -> &AtomicU64, _) =
            match timeout(ANSWER, request).await {
                Ok(Ok(answer)) => {
                    if leave.answered() {
                        self.counters.add(|c| &c.came_back);
                        tracing::info!("the keystore {} is back", self.name);
                    }
                    return Ok(answer);
                }
                Ok(Err(error)) => (|c| &c.failed, error),
                Err(_) => {
                    if let Server::Redis(redis) = &self.server {
                        redis.forget();
                    }
                    (|c| &c.timed_out, io::ErrorKind::TimedOut.into())
                }
            };
        self.counters.add(which);
        if let Some(held_back) = self.log.allow() {
            tracing::warn!(held_back, "the keystore {} is away: {error}", self.name);
        }
        drop(leave);
        Err(Away)
    }
}
