//! How many connections there may be: in all, of those that peers open, and with one peer.

use std::{collections::HashMap, fmt, net::IpAddr};

use corex_script::settings::StreamSettings;

/// Bits of an IPv6 address that tell hosts from each other; the rest is for one host to choose
/// (RFC 4291 §2.5.1).
const NETWORK: u32 = 64;

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Opener {
    Peer,
    Corex,
}

/// Why there is no place for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoPlace {
    /// There are too many.
    InAll(usize),
    /// There are too many with this peer.
    OfPeer(usize),
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPlace::InAll(most) => {
                write!(f, "too many connections ({most}; see tcp_max_connections")?;
                write!(f, " and modparam tcp_reserve)")
            }
            NoPlace::OfPeer(most) => {
                write!(f, "too many connections with this address ({most}; see")?;
                write!(f, " modparam tcp_max_per_peer)")
            }
        }
    }
}

/// The places that are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: usize,
    by_peer: HashMap<(Opener, u128), usize>,
}

impl Places {
    /// Takes a place for a connection with this address.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(
        &mut self,
        settings: &StreamSettings,
        opener: Opener,
        peer: IpAddr,
    ) -> Result<(), NoPlace> {
        let most = match opener {
            Opener::Peer => settings.max_accepted(),
            Opener::Corex => settings.max_connections,
        };
        if self.taken >= most {
            return Err(NoPlace::InAll(most));
        }
        let most = settings.max_per_peer();
        let key = (opener, host(peer));
        let of_peer = self.by_peer.get(&key).copied().unwrap_or(0);
        if of_peer >= most {
            return Err(NoPlace::OfPeer(most));
        }
        self.by_peer.insert(key, of_peer + 1);
        self.taken += 1;
        Ok(())
    }

    /// Gives a place back.
    pub fn give_back(&mut self, opener: Opener, peer: IpAddr) {
        self.taken = self.taken.saturating_sub(1);
        let key = (opener, host(peer));
        if let Some(count) = self.by_peer.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_peer.remove(&key);
            }
        }
    }
}

/// What tells a host from others.
fn host(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> NETWORK << NETWORK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(max: usize, reserve: usize, per_peer: usize) -> StreamSettings {
        StreamSettings {
            max_connections: max,
            reserve: Some(reserve),
            per_peer: Some(per_peer),
            ..StreamSettings::default()
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_peer_has_its_share_and_others_theirs() {
        let settings = settings(10, 0, 2);
        let mut places = Places::default();
        let mut take = |peer| places.take(&settings, Opener::Peer, address(peer));
        for host in ["192.0.2.1", "192.0.2.2"] {
            assert_eq!(take(host), Ok(()));
            assert_eq!(take(host), Ok(()));
            assert_eq!(take(host), Err(NoPlace::OfPeer(2)), "{host}");
        }
        // A host has its network's addresses to choose from, and no more than that.
        assert_eq!(take("2001:db8::1"), Ok(()));
        assert_eq!(take("2001:db8::ffff:2"), Ok(()));
        assert_eq!(take("2001:db8::3"), Err(NoPlace::OfPeer(2)));
        assert_eq!(take("2001:db8:0:1::3"), Ok(()));
    }

    #[test]
    fn some_places_are_for_corex_itself() {
        let settings = settings(5, 2, 5);
        let mut places = Places::default();
        for host in 1..=3 {
            let peer = IpAddr::from([192, 0, 2, host]);
            assert_eq!(places.take(&settings, Opener::Peer, peer), Ok(()));
        }
        let peer = address("192.0.2.9");
        assert_eq!(
            places.take(&settings, Opener::Peer, peer),
            Err(NoPlace::InAll(3))
        );
        assert_eq!(places.take(&settings, Opener::Corex, peer), Ok(()));
        assert_eq!(places.take(&settings, Opener::Corex, peer), Ok(()));
        assert_eq!(
            places.take(&settings, Opener::Corex, peer),
            Err(NoPlace::InAll(5))
        );
    }

    #[test]
    fn a_place_that_is_given_back_is_free_and_nothing_of_it_is_kept() {
        let settings = settings(2, 0, 1);
        let mut places = Places::default();
        let peer = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(places.take(&settings, Opener::Peer, peer), Ok(()));
            assert!(places.take(&settings, Opener::Peer, peer).is_err());
            places.give_back(Opener::Peer, peer);
        }
        assert_eq!(places.taken, 0);
        assert!(places.by_peer.is_empty());
    }

    #[test]
    fn by_default_a_peer_has_a_quarter_and_corex_an_eighth() {
        let of = |max_connections| StreamSettings {
            max_connections,
            ..StreamSettings::default()
        };
        let shares = |max| (of(max).max_per_peer(), of(max).max_accepted());
        assert_eq!(shares(2048), (512, 1792));
        assert_eq!(shares(1), (1, 1));
        assert_eq!(shares(3), (1, 3));
        // Something is left for those who come.
        assert_eq!(settings(4, 9, 1).max_accepted(), 1);
    }
}
