//! How often a client may ask: token buckets.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

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
    /// Every client has `burst` requests to begin with, and gains `rate` a second; of each at
    /// least one.
    pub fn new(burst: u32, rate: u32) -> Rates<K> {
        Rates {
            buckets: HashMap::new(),
            burst: f64::from(burst.max(1)),
            rate: f64::from(rate.max(1)),
        }
    }

    /// Takes a token for a request of this client.
    ///
    /// # Errors
    /// The time until there will be one; none is taken then.
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

    #[test]
    fn a_client_that_asks_too_fast_waits_and_others_do_not() {
        let mut rates = Rates::new(3, 2);
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
        let mut rates = Rates::new(3, 2);
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
