//! How hard pressed workers are, and the peers that they know: maps that the XDP programs read and
//! workers write through a memory mapping, or memory where there is no eBPF.

use std::{
    io,
    net::IpAddr,
    os::fd::BorrowedFd,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use corex_common::{
    maps::MAX_WORKERS,
    overload::{KnownPeer, MAX_KNOWN_PEERS, Pressure, WAYS, peer_key_v4, peer_key_v6, peer_set},
};
use nix::time::{ClockId, clock_gettime};

use super::memory::Memory;

/// Words of a [`Pressure`].
const PRESSURE_WORDS: usize = size_of::<Pressure>() / size_of::<u32>();
/// Words of a [`KnownPeer`]: two of the key, and the time.
const PEER_WORDS: usize = size_of::<KnownPeer>() / size_of::<u64>();

/// Seconds of the clock that bpf_ktime_get_ns() reads.
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec() as u64)
}

/// What workers and XDP programs go by under load. Cloning shares it.
#[derive(Clone)]
pub struct OverloadMaps {
    pressure: Arc<Memory<AtomicU32>>,
    peers: KnownPeers,
}

impl OverloadMaps {
    /// For user space alone. `seed` is a random number.
    pub fn on_heap(seed: u32) -> Self {
        Self {
            pressure: Arc::new(Memory::on_heap(MAX_WORKERS as usize * PRESSURE_WORDS)),
            peers: KnownPeers {
                memory: Arc::new(Memory::on_heap(MAX_KNOWN_PEERS as usize * PEER_WORDS)),
                seed,
            },
        }
    }

    /// The maps PRESSURE and KNOWN_PEERS, of programs with this cookie.
    ///
    /// # Errors
    /// What mmap says.
    pub fn of_maps(
        pressure: BorrowedFd<'_>,
        peers: BorrowedFd<'_>,
        cookie: u32,
    ) -> io::Result<Self> {
        let pressure = Memory::of_map(pressure, MAX_WORKERS as usize * PRESSURE_WORDS)?;
        let memory = Memory::of_map(peers, MAX_KNOWN_PEERS as usize * PEER_WORDS)?;
        Ok(Self {
            pressure: Arc::new(pressure),
            peers: KnownPeers {
                memory: Arc::new(memory),
                seed: cookie,
            },
        })
    }

    /// Says how hard pressed a worker is; only that worker does. Out of range: nothing happens.
    pub fn publish(&self, worker: u32, pressure: Pressure) {
        let at = worker as usize * PRESSURE_WORDS;
        if let Some([level, credit, ..]) = self.pressure.words().get(at..) {
            credit.store(pressure.credit, Relaxed);
            level.store(pressure.level, Relaxed);
        }
    }

    /// The level of the worker that is pressed hardest.
    pub fn level(&self) -> u32 {
        let workers = self.pressure.words().chunks_exact(PRESSURE_WORDS);
        let levels = workers.filter_map(|words| words.first());
        levels.map(|level| level.load(Relaxed)).max().unwrap_or(0)
    }

    /// The peers that are known.
    pub fn peers(&self) -> &KnownPeers {
        &self.peers
    }
}

/// The peers that are known: a table of bounded size, in which those that were seen last stay.
#[derive(Clone)]
pub struct KnownPeers {
    memory: Arc<Memory<AtomicU64>>,
    seed: u32,
}

impl KnownPeers {
    fn key(ip: IpAddr) -> [u64; 2] {
        match ip.to_canonical() {
            IpAddr::V4(ip) => peer_key_v4(ip.octets()),
            IpAddr::V6(ip) => peer_key_v6(ip.octets()),
        }
    }

    /// The entries that an address may be in.
    fn set(&self, key: [u64; 2]) -> impl Iterator<Item = &[AtomicU64]> {
        let first = peer_set(key, self.seed) as usize * PEER_WORDS;
        let words = self.memory.words();
        let set = words.get(first..first + WAYS as usize * PEER_WORDS);
        set.unwrap_or_default().chunks_exact(PEER_WORDS)
    }

    /// Whether a peer is known at this second.
    pub fn is_known(&self, ip: IpAddr, now: u64) -> bool {
        let key = Self::key(ip);
        self.set(key)
            .any(|entry| has(entry, key) && entry[2].load(Relaxed) > now)
    }

    /// A peer is known from now on, or still, until that second.
    ///
    /// Workers may do so at once: what two of them write into one entry is at worst an address that
    /// nobody has, and a peer that must be learned anew.
    pub fn learn(&self, ip: IpAddr, until: u64) {
        let key = Self::key(ip);
        // Its own entry, or the one that was seen longest ago.
        let entry = self
            .set(key)
            .min_by_key(|entry| (!has(entry, key), entry[2].load(Relaxed)));
        if let Some([first, second, time]) = entry {
            if !(first.load(Relaxed) == key[0] && second.load(Relaxed) == key[1]) {
                time.store(0, Relaxed);
                first.store(key[0], Relaxed);
                second.store(key[1], Relaxed);
            }
            time.store(until, Relaxed);
        }
    }

    /// Those that are known at this second, and until when.
    pub fn entries(&self, now: u64) -> Vec<(IpAddr, u64)> {
        let entries = self.memory.words().chunks_exact(PEER_WORDS);
        let known = entries.filter_map(|entry| {
            let [high, low, until] = entry else {
                return None;
            };
            let until = until.load(Relaxed);
            let words = [high, low].map(|word| word.load(Relaxed).to_ne_bytes());
            let mut octets = [0; 16];
            for (to, from) in octets.iter_mut().zip(words.as_flattened()) {
                *to = *from;
            }
            let ip = IpAddr::from(octets).to_canonical();
            (until > now).then_some((ip, until))
        });
        known.collect()
    }

    /// How many are known at this second.
    pub fn count(&self, now: u64) -> usize {
        let entries = self.memory.words().chunks_exact(PEER_WORDS);
        entries.filter(|entry| entry[2].load(Relaxed) > now).count()
    }
}

/// Whether an entry is that of a key.
fn has(entry: &[AtomicU64], key: [u64; 2]) -> bool {
    matches!(entry, [first, second, ..] if first.load(Relaxed) == key[0] && second.load(Relaxed) == key[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn peers() -> KnownPeers {
        OverloadMaps::on_heap(7).peers
    }

    #[test]
    fn a_peer_is_known_until_its_time_is_over_and_may_be_learned_again() {
        let peers = peers();
        for ip in ["192.0.2.1", "2001:db8::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(!peers.is_known(ip, 100));
            peers.learn(ip, 200);
            assert!(peers.is_known(ip, 199) && !peers.is_known(ip, 200));
            peers.learn(ip, 300);
            assert!(peers.is_known(ip, 299));
        }
        assert_eq!(peers.count(100), 2);
        assert!(!peers.is_known("192.0.2.2".parse().unwrap(), 100));
    }

    #[test]
    fn an_ipv4_address_is_the_same_peer_in_both_forms() {
        let peers = peers();
        let ip = Ipv4Addr::new(192, 0, 2, 1);
        peers.learn(ip.into(), 200);
        assert!(peers.is_known(ip.to_ipv6_mapped().into(), 100));
    }

    #[test]
    fn a_full_set_forgets_who_was_seen_longest_ago() {
        let peers = peers();
        let first = peer_set(KnownPeers::key(Ipv6Addr::LOCALHOST.into()), 7);
        let same_set = (0u32..)
            .map(|host| IpAddr::from(Ipv4Addr::from(host)))
            .filter(|ip| peer_set(KnownPeers::key(*ip), 7) == first);
        let all: Vec<_> = same_set.take(WAYS as usize + 1).collect();
        for (at, ip) in all.iter().enumerate() {
            if at == WAYS as usize {
                // The first one is seen again before the last one comes.
                peers.learn(all[0], 200);
            }
            peers.learn(*ip, 101 + at as u64);
        }
        let known = all.iter().filter(|ip| peers.is_known(**ip, 100)).count();
        assert_eq!(known, WAYS as usize);
        assert!(peers.is_known(all[0], 100) && !peers.is_known(all[1], 100));
    }

    #[test]
    fn any_number_of_peers_takes_bounded_room() {
        let peers = peers();
        for host in 0..4 * MAX_KNOWN_PEERS {
            peers.learn(Ipv4Addr::from(host).into(), 200);
        }
        assert!(peers.count(100) <= MAX_KNOWN_PEERS as usize);
        assert!(peers.is_known(Ipv4Addr::from(4 * MAX_KNOWN_PEERS - 1).into(), 100));
    }

    #[test]
    fn a_pressure_of_no_worker_goes_nowhere() {
        let maps = OverloadMaps::on_heap(7);
        let pressure = Pressure {
            level: 2,
            credit: 9,
        };
        maps.publish(MAX_WORKERS, pressure);
        assert!(
            maps.pressure
                .words()
                .iter()
                .all(|word| word.load(Relaxed) == 0)
        );
        maps.publish(1, pressure);
        let of_one: Vec<u32> = maps.pressure.words()[2..4]
            .iter()
            .map(|word| word.load(Relaxed))
            .collect();
        assert_eq!(of_one, [2, 9]);
        assert_eq!(maps.level(), 2);
    }
}
