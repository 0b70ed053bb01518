//! Bounds for clients: how many, how fast, how long.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bounds for every client of a front end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Stream connections at a time, of all listeners together.
    pub connections: usize,
    /// Requests that one client may send at once.
    pub burst: u32,
    /// Requests a second that one client may go on sending.
    pub rate: u32,
    /// How long a request may take to arrive whole.
    pub request: Duration,
    /// How long a client may take to accept a reply.
    pub reply: Duration,
    /// A connection without a request is closed after.
    pub idle: Duration,
    /// The most bytes of a binrpc request's payload.
    pub binrpc_request: usize,
    /// The most bytes of a JSON document.
    pub json_request: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 64,
            burst: 500,
            rate: 200,
            request: Duration::from_secs(5),
            reply: Duration::from_secs(5),
            idle: Duration::from_secs(600),
            binrpc_request: 1 << 20,
            json_request: 64 << 10,
        }
    }
}

/// Who sends requests, as far as limits tell clients apart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Client {
    /// The user of a local stream; `u32::MAX` where the kernel doesn't say.
    User(u32),
    /// The path of a local datagram socket; `None` for one without.
    Path(Option<PathBuf>),
    /// An IP address.
    Ip(IpAddr),
    /// Whoever writes to the FIFO.
    Fifo,
}

/// Clients that are remembered at a time.
const CLIENTS: usize = 4096;

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Token buckets, one for each client.
#[derive(Debug)]
pub struct Rates<K> {
    buckets: HashMap<K, Bucket>,
    burst: f64,
    rate: f64,
}

impl<K: Hash + Eq> Rates<K> {
    /// Every client has `burst` requests to begin with, and gains `rate` a second.
    pub fn new(limits: &Limits) -> Rates<K> {
        Rates {
            buckets: HashMap::new(),
            burst: f64::from(limits.burst.max(1)),
            rate: f64::from(limits.rate.max(1)),
        }
    }

    /// Takes a request's token; how long to wait if there is none, which then isn't taken.
    ///
    /// # Errors
    /// The time until there will be one.
    pub fn take(&mut self, client: K, now: Instant) -> Result<(), Duration> {
        if self.buckets.len() >= CLIENTS && !self.buckets.contains_key(&client) {
            let (burst, rate) = (self.burst, self.rate);
            self.buckets
                .retain(|_, bucket| bucket.after(now, burst, rate) < burst);
            if self.buckets.len() >= CLIENTS {
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = self.buckets.entry(client).or_insert(Bucket {
            tokens: self.burst,
            filled: now,
        });
        bucket.tokens = bucket.after(now, self.burst, self.rate);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.rate))
        }
    }
}

impl Bucket {
    /// The tokens that there are by now.
    fn after(&self, now: Instant, burst: f64, rate: f64) -> f64 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.tokens + passed * rate).min(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            burst: 3,
            rate: 2,
            ..Limits::default()
        }
    }

    #[test]
    fn a_client_that_asks_too_fast_waits_and_others_do_not() {
        let mut rates = Rates::new(&limits());
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(rates.take("a", start), Ok(()));
        }
        assert_eq!(rates.take("a", start), Err(Duration::from_millis(500)));
        assert_eq!(rates.take("b", start), Ok(()));
        let later = start + Duration::from_millis(500);
        assert_eq!(rates.take("a", later), Ok(()));
        assert!(rates.take("a", later).is_err());
    }

    #[test]
    fn memory_for_clients_is_bounded_and_freed_once_they_rest() {
        let mut rates = Rates::new(&limits());
        let start = Instant::now();
        for client in 0..CLIENTS {
            assert_eq!(rates.take(client, start), Ok(()));
        }
        assert!(rates.take(CLIENTS, start).is_err());
        assert_eq!(rates.buckets.len(), CLIENTS);
        let later = start + Duration::from_secs(60);
        assert_eq!(rates.take(CLIENTS, later), Ok(()));
        assert_eq!(rates.buckets.len(), 1);
    }
}
