//! What may be done for those who haven't proved who they are: so much for each source, and so much
//! for all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Sources whose buckets are remembered; twice as many at most.
const MAX_SOURCES: usize = 32_768;

/// One source: an IPv4 address, or an IPv6 /64.
pub fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// A bucket of tokens.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// A bucket of tokens for each source: so many a second, and so many at once.
///
/// Where there are more sources than are remembered, those not seen for longest begin anew: two maps
/// take turns, so that nothing is ever searched.
#[derive(Debug)]
pub struct Rates {
    buckets: Mutex<[HashMap<IpAddr, Bucket>; 2]>,
    max: usize,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates::with_room(MAX_SOURCES)
    }
}

impl Rates {
    fn with_room(max: usize) -> Rates {
        Rates {
            buckets: Mutex::default(),
            max,
        }
    }

    /// Whether a source may have one more; `rate`: so many a second, and as many at once as in
    /// two seconds.
    pub fn allow(&self, ip: IpAddr, rate: u32, now: Instant) -> bool {
        let rate = f64::from(rate);
        let most = (rate * 2.0).max(1.0);
        let source = source_of(ip);
        let mut buckets = lock(&self.buckets);
        let [recent, old] = &mut *buckets;
        let known = recent.get(&source).or_else(|| old.get(&source));
        let mut bucket = known.copied().unwrap_or(Bucket {
            tokens: most,
            at: now,
        });
        let elapsed = now.saturating_duration_since(bucket.at);
        bucket.tokens = (bucket.tokens + elapsed.as_secs_f64() * rate).min(most);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        if recent.len() >= self.max && !recent.contains_key(&source) {
            *old = std::mem::take(recent);
        }
        recent.insert(source, bucket);
        allowed
    }
}

/// What waits, and what it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Messages of one source.
    pub of_source: usize,
}

#[derive(Debug, Default)]
struct Taken {
    messages: usize,
    bytes: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// Places for what waits, bounded in number, in bytes, and for each source.
#[derive(Debug)]
pub struct Places {
    room: Room,
    taken: Mutex<Taken>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    source: IpAddr,
    bytes: usize,
}

impl Places {
    /// So many.
    pub fn new(room: Room) -> Arc<Places> {
        Arc::new(Places {
            room,
            taken: Mutex::default(),
        })
    }

    /// A place for a message of so many bytes; `None`: there is none.
    pub fn take(self: &Arc<Self>, ip: IpAddr, bytes: usize) -> Option<Place> {
        let source = source_of(ip);
        let mut taken = lock(&self.taken);
        let of_source = taken.by_source.get(&source).copied().unwrap_or(0);
        if taken.messages >= self.room.messages
            || taken.bytes + bytes > self.room.bytes
            || of_source >= self.room.of_source
        {
            return None;
        }
        taken.messages += 1;
        taken.bytes += bytes;
        taken.by_source.insert(source, of_source + 1);
        Some(Place {
            places: Arc::clone(self),
            source,
            bytes,
        })
    }

    /// Messages that have a place, and their bytes.
    pub fn taken(&self) -> (usize, usize) {
        let taken = lock(&self.taken);
        (taken.messages, taken.bytes)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.messages -= 1;
        taken.bytes -= self.bytes;
        if let Some(count) = taken.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

/// So long may a message wait that has a place.
pub const PATIENCE: Duration = Duration::from_secs(2);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_so_many_at_once_and_so_many_a_second() {
        let rates = Rates::default();
        let start = Instant::now();
        let allowed = |from: &str, at| (0..9).filter(|_| rates.allow(ip(from), 2, at)).count();
        assert_eq!(allowed("192.0.2.1", start), 4);
        assert_eq!(allowed("192.0.2.2", start), 4);
        assert_eq!(allowed("192.0.2.1", start + Duration::from_secs(1)), 2);
        assert_eq!(allowed("192.0.2.1", start + Duration::from_secs(60)), 4);
    }

    #[test]
    fn the_addresses_of_one_network_of_ipv6_are_one_source() {
        let rates = Rates::default();
        let now = Instant::now();
        let of = |n: u16| ip(&format!("2001:db8::{n:x}"));
        assert_eq!((0..100).filter(|n| rates.allow(of(*n), 2, now)).count(), 4);
        assert!(rates.allow(ip("2001:db8:0:1::1"), 2, now));
    }

    #[test]
    fn what_is_remembered_of_sources_is_bounded() {
        let rates = Rates::with_room(8);
        let now = Instant::now();
        for n in 0..100u32 {
            rates.allow(IpAddr::from(n.to_be_bytes()), 1, now);
        }
        let held = lock(&rates.buckets);
        assert!(held.iter().map(HashMap::len).sum::<usize>() <= 16);
        drop(held);
        // One that goes on is remembered through changes of turn.
        while rates.allow(ip("192.0.2.1"), 1, now) {}
        for n in 0..7u32 {
            rates.allow(IpAddr::from(n.to_be_bytes()), 1, now);
        }
        assert!(!rates.allow(ip("192.0.2.1"), 1, now));
    }

    #[test]
    fn places_are_bounded_in_number_in_bytes_and_by_source() {
        let places = Places::new(Room {
            messages: 3,
            bytes: 100,
            of_source: 2,
        });
        let (a, b, c) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3"));
        let first = places.take(a, 10).unwrap();
        let _second = places.take(a, 10).unwrap();
        assert!(places.take(a, 10).is_none(), "of one source");
        assert!(places.take(b, 81).is_none(), "too many bytes");
        let third = places.take(b, 80).unwrap();
        assert!(places.take(c, 0).is_none(), "too many");
        assert_eq!(places.taken(), (3, 100));
        drop((first, third));
        assert_eq!(places.taken(), (1, 10));
        assert!(places.take(a, 10).is_some());
        assert_eq!(lock(&places.taken).by_source.len(), 1);
    }
}
