//! The peers that are known: all of them while the predecessor serves on, and those that were learned since
//! once its workers have stopped. Their ends are times of CLOCK_MONOTONIC, which both processes read.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::kernel::overload::{KnownPeers, now};

/// Peers, and the seconds at which they are forgotten.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersCopy(Vec<(IpAddr, u64)>);

impl PeersCopy {
    /// All there are.
    pub fn all(peers: &KnownPeers) -> Self {
        Self(peers.entries(now()))
    }

    /// Those that are forgotten at this second or later.
    pub fn until(peers: &KnownPeers, second: u64) -> Self {
        let mut entries = peers.entries(now());
        entries.retain(|(_, until)| *until >= second);
        Self(entries)
    }

    /// Has them known.
    pub fn write(&self, peers: &KnownPeers) {
        for (ip, until) in &self.0 {
            peers.learn(*ip, *until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::overload::OverloadMaps;

    #[test]
    fn a_copy_and_what_was_learned_since_are_the_same_peers() {
        // Each load of the programs has a seed of its own.
        let (old, new) = (OverloadMaps::on_heap(7), OverloadMaps::on_heap(8));
        let sent = |copy: &PeersCopy| -> PeersCopy {
            serde_json::from_slice(&serde_json::to_vec(copy).unwrap()).unwrap()
        };
        let (looked, age) = (now(), 1000);
        let ips: Vec<IpAddr> = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        old.peers().learn(ips[0], looked + 500);
        old.peers().learn(ips[1], looked + 600);
        old.peers().learn(ips[3], looked);
        let all = sent(&PeersCopy::all(old.peers()));
        assert_eq!(all.0.len(), 2, "who is forgotten by now isn't handed over");
        all.write(new.peers());
        old.peers().learn(ips[1], looked + age);
        old.peers().learn(ips[2], looked + age + 1);
        let since = sent(&PeersCopy::until(old.peers(), looked + age));
        assert_eq!(since.0.len(), 2);
        since.write(new.peers());
        let known = |maps: &OverloadMaps| {
            let mut all = maps.peers().entries(looked);
            all.sort();
            all
        };
        assert_eq!(known(&new).len(), 3);
        assert_eq!(known(&new), known(&old));
    }
}
