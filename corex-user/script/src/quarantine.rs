//! Who sends messages that scripts in other languages choke on. Such a message costs the worker all
//! the time that a call may take, so its sender's next ones are kept from these scripts for a
//! while, and only when many senders do so all are.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limiter::SharedLimiter;

/// How long a sender is held after the first failure that counts, and how much longer after each
/// that follows.
const SHORTEST: Duration = Duration::from_millis(100);
const GROWTH: u32 = 2;
/// A sender that has behaved for so long begins anew.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Entries at most; beyond, the one whose last failure is longest ago makes room.
const MAX_ENTRIES: usize = 4096;
/// So many ports of an address (IPv6: of a /64) that failed are held as one.
const PORTS: usize = 4;
/// So many addresses that failed lately are many: then it isn't the senders.
const MANY: usize = 8;
const LATELY: Duration = Duration::from_secs(10);

/// Whom an entry is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    /// A sender: its address and port. Behind a NAT others have the same address.
    Port(SocketAddr),
    /// All ports of an IPv4 address, or of an IPv6 /64.
    Net(IpAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Port(sender) => write!(f, "{sender}"),
            Place::Net(IpAddr::V4(ip)) => write!(f, "{ip}/32"),
            Place::Net(IpAddr::V6(ip)) => write!(f, "{ip}/64"),
        }
    }
}

/// The address, or for IPv6 the first one of its /64: who has one of these has them all.
fn net_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    /// The last hold; zero: there was none.
    length: Duration,
    until: Instant,
    last: Instant,
}

impl Entry {
    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.until.max(self.last)) >= FORGOTTEN
    }
}

/// How widely failures are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// To few senders, who are held.
    Few,
    /// To so many that holding them helps nobody.
    Many,
}

/// A sender that is held, for reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldSender {
    /// Its address and port; or the address with its prefix length, where all its ports are held.
    pub sender: String,
    /// The language that its messages are kept from, as in `perl`.
    pub language: &'static str,
    /// Failures since it last behaved.
    pub failures: u32,
    /// How long it is held yet.
    pub left: Duration,
}

/// The senders that are held, for all workers.
#[derive(Debug, Default)]
pub struct Quarantine {
    /// The longest hold in milliseconds; 0: nobody is held.
    longest: AtomicU64,
    /// Entries in the table: with none nobody locks it.
    count: AtomicUsize,
    entries: Mutex<HashMap<(&'static str, Place), Entry>>,
    limiter: SharedLimiter,
}

impl Quarantine {
    /// Sets the longest hold, and lets everybody go. Zero: nobody is held from here on.
    pub fn set_longest(&self, longest: Duration) {
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        self.longest.store(millis, Ordering::Relaxed);
        self.release();
    }

    /// Lets everybody go. Returns how many entries there were.
    pub fn release(&self) -> usize {
        let mut entries = self.lock();
        let count = entries.len();
        entries.clear();
        self.count.store(0, Ordering::Release);
        count
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(&'static str, Place), Entry>> {
        // Held for some look-ups, and for a pass over the table after a failure.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a sender's messages are kept from a language at `now`.
    pub fn holds(&self, language: &'static str, sender: SocketAddr, now: Instant) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let entries = self.lock();
        let places = [Place::Port(sender), Place::Net(net_of(sender.ip()))];
        places.into_iter().any(|place| {
            let entry = entries.get(&(language, place));
            entry.is_some_and(|entry| now < entry.until)
        })
    }

    /// Notes that a sender's message cost all that a call may cost, or the process that ran it.
    /// The first `forgiven` such messages have no consequence.
    pub fn failed(
        &self,
        language: &'static str,
        sender: SocketAddr,
        forgiven: u32,
        now: Instant,
    ) -> Spread {
        let longest = Duration::from_millis(self.longest.load(Ordering::Relaxed));
        if longest.is_zero() {
            return Spread::Many;
        }
        let net = net_of(sender.ip());
        let mut entries = self.lock();
        entries.retain(|_, entry| !entry.is_forgotten(now));
        let mut held = note(
            &mut entries,
            (language, Place::Port(sender)),
            forgiven,
            longest,
            now,
        );
        let of_net = |(by, place): &(&str, Place)| {
            *by == language && matches!(place, Place::Port(it) if net_of(it.ip()) == net)
        };
        if entries.keys().filter(|key| of_net(key)).count() >= PORTS {
            let key = (language, Place::Net(net));
            held = note(&mut entries, key, 0, longest, now).or(held);
        }
        let mut nets: Vec<IpAddr> = entries
            .iter()
            .filter(|((by, _), entry)| {
                *by == language && now.saturating_duration_since(entry.last) < LATELY
            })
            .filter_map(|((_, place), _)| match place {
                Place::Port(sender) => Some(net_of(sender.ip())),
                Place::Net(_) => None,
            })
            .collect();
        nets.sort_unstable();
        nets.dedup();
        self.count.store(entries.len(), Ordering::Release);
        drop(entries);
        if let Some((place, length)) = held
            && let Some(held_back) = self.limiter.allow()
        {
            tracing::warn!(
                held_back,
                "{place} sends what {language} chokes on: its next messages skip {language} for {} \
                 ms, and longer each time; corex.quarantine lists who is held",
                length.as_millis()
            );
        }
        if nets.len() >= MANY {
            Spread::Many
        } else {
            Spread::Few
        }
    }

    /// Who is held at `now`, the longest first.
    pub fn senders(&self, now: Instant) -> Vec<HeldSender> {
        let entries = self.lock();
        let mut held: Vec<HeldSender> = entries
            .iter()
            .filter(|(_, entry)| now < entry.until)
            .map(|((language, place), entry)| HeldSender {
                sender: place.to_string(),
                language,
                failures: entry.failures,
                left: entry.until.saturating_duration_since(now),
            })
            .collect();
        held.sort_by(|a, b| (b.left, &a.sender).cmp(&(a.left, &b.sender)));
        held
    }
}

/// Notes a failure. Returns whom it has held for the first time, and how long.
fn note(
    entries: &mut HashMap<(&'static str, Place), Entry>,
    key: (&'static str, Place),
    forgiven: u32,
    longest: Duration,
    now: Instant,
) -> Option<(Place, Duration)> {
    if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
        let oldest = entries.iter().min_by_key(|(_, entry)| entry.last);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            entries.remove(&key);
        }
    }
    let entry = entries.entry(key).or_insert(Entry {
        failures: 0,
        length: Duration::ZERO,
        until: now,
        last: now,
    });
    entry.last = now;
    // A message that was at work already when its sender was held.
    if now < entry.until {
        return None;
    }
    entry.failures = entry.failures.saturating_add(1);
    if entry.failures <= forgiven {
        return None;
    }
    let is_first = entry.length.is_zero();
    entry.length = (entry.length * GROWTH).max(SHORTEST).min(longest);
    entry.until = now.checked_add(entry.length).unwrap_or(now);
    is_first.then_some((key.1, entry.length))
}

#[cfg(test)]
mod tests;
