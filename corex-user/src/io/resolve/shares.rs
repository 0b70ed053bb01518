//! Places for lookups that are under way: neither one zone whose servers are silent nor one sender can
//! hold all, and some are for names that had an address before.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ResolveError;
use corex_script::settings::DnsSettings;

/// The part of a name that one owner has, as a rule: its last two labels, or three where the last but
/// one is as short as in `example.co.uk`.
pub(super) fn zone_of(name: &[u8]) -> &[u8] {
    const SHORT: usize = 3;
    let dots: Vec<usize> = memchr::memrchr_iter(b'.', name).take(3).collect();
    let from = |dot: Option<&usize>| dot.map_or(name, |at| name.get(at + 1..).unwrap_or(name));
    match dots[..] {
        [last, second, ..] if last - second - 1 <= SHORT => from(dots.get(2)),
        _ => from(dots.get(1)),
    }
}

/// One sender: an IPv4 address, or an IPv6 /64.
fn sender_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of these, by names that had no address so far.
    new: usize,
    by_zone: HashMap<Box<[u8]>, usize>,
    by_sender: HashMap<IpAddr, usize>,
}

/// The places.
#[derive(Debug)]
pub(super) struct Shares {
    settings: DnsSettings,
    taken: Mutex<Taken>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shares: Arc<Shares>,
    /// Where the name had no address so far: its zone, and who wants it.
    new: Option<(Box<[u8]>, Option<IpAddr>)>,
}

impl Shares {
    pub fn new(settings: DnsSettings) -> Shares {
        Shares {
            settings,
            taken: Mutex::default(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a name; `is_known`: it had an address before, and there is a bound on such
    /// names.
    ///
    /// # Errors
    /// Of what there are too many.
    pub fn take(
        self: &Arc<Self>,
        is_known: bool,
        name: &[u8],
        sender: Option<IpAddr>,
    ) -> Result<Place, ResolveError> {
        let mut taken = self.taken();
        if taken.all >= self.settings.max_lookups {
            return Err(ResolveError::Busy);
        }
        let mut new = None;
        if !is_known {
            if taken.new >= self.settings.max_new() {
                return Err(ResolveError::Busy);
            }
            let zone = zone_of(name);
            if taken.by_zone.get(zone).copied().unwrap_or(0) >= self.settings.max_per_zone() {
                return Err(ResolveError::BusyZone);
            }
            let sender = sender.map(sender_of);
            if let Some(sender) = sender {
                let of_sender = taken.by_sender.entry(sender).or_default();
                if *of_sender >= self.settings.max_per_source {
                    return Err(ResolveError::BusySource);
                }
                *of_sender += 1;
            }
            taken.new += 1;
            *taken.by_zone.entry(zone.into()).or_default() += 1;
            new = Some((zone.into(), sender));
        }
        taken.all += 1;
        Ok(Place {
            shares: Arc::clone(self),
            new,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all = taken.all.saturating_sub(1);
        let Some((zone, sender)) = self.new.take() else {
            return;
        };
        taken.new = taken.new.saturating_sub(1);
        give_back(&mut taken.by_zone, &zone);
        if let Some(sender) = sender {
            give_back(&mut taken.by_sender, &sender);
        }
    }
}

fn give_back<K, Q>(counts: &mut HashMap<K, usize>, key: &Q)
where
    K: std::borrow::Borrow<Q> + std::hash::Hash + Eq,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_what_one_owner_has() {
        for (name, zone) in [
            ("x1.evil.example", "evil.example"),
            ("a.b.c.evil.example", "evil.example"),
            ("evil.example", "evil.example"),
            ("sip.firm.co.uk", "firm.co.uk"),
            ("a.sip.firm.co.uk", "firm.co.uk"),
            ("co.uk", "co.uk"),
            ("localhost", "localhost"),
            ("", ""),
        ] {
            let found = zone_of(name.as_bytes());
            assert_eq!(String::from_utf8_lossy(found), zone, "{name}");
        }
    }

    #[test]
    fn nobody_can_hold_all_places_and_they_are_given_back() {
        let settings = DnsSettings {
            max_lookups: 32,
            max_per_source: 4,
            ..DnsSettings::default()
        };
        let shares = Arc::new(Shares::new(settings));
        let one: Option<IpAddr> = "192.0.2.1".parse().ok();
        let take = |name: &str, sender| shares.take(false, name.as_bytes(), sender);
        let mut held = Vec::new();
        for number in 0..4 {
            held.push(take(&format!("x.zone{number}.example"), one).unwrap());
        }
        let refused = take("y.another.example", one).unwrap_err();
        assert_eq!(refused, ResolveError::BusySource);
        // Others have places, but not all for one zone.
        for number in 0..6 {
            held.push(take(&format!("x{number}.evil.example"), None).unwrap());
        }
        let refused = take("x7.evil.example", None).unwrap_err();
        assert_eq!(refused, ResolveError::BusyZone);
        for number in 0..14 {
            held.push(take(&format!("x.many{number}.example"), None).unwrap());
        }
        assert_eq!(take("new.example", None).unwrap_err(), ResolveError::Busy);
        // What was known before has places of its own.
        for _ in 0..8 {
            held.push(shares.take(true, b"x.evil.example", one).unwrap());
        }
        let full = shares.take(true, b"good.example", None).unwrap_err();
        assert_eq!(full, ResolveError::Busy);
        held.clear();
        assert!(take("x7.evil.example", one).is_ok());
        let taken = shares.taken();
        assert_eq!((taken.all, taken.new), (0, 0));
        assert!(taken.by_zone.is_empty() && taken.by_sender.is_empty());
    }
}
