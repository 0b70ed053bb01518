//! What messages on roads came to, by peer.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use corex_common::road::{RoadPeer, RoadPeerCounts};

use super::{Action, Inner, Roads};

/// Destinations at most that are told apart over all configurations that there were.
const MAX_DESTINATIONS: usize = 4096;

/// Messages and their payload bytes.
pub type Amount = (u64, u64);

/// What took roads since the start.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// All that was received.
    pub received: Amount,
    /// By source, as far as it is known still.
    pub by_source: HashMap<IpAddr, Amount>,
    /// All that was sent.
    pub sent: Amount,
    /// By destination.
    pub by_destination: HashMap<IpAddr, Amount>,
}

/// Adds messages and bytes.
fn add(sum: &mut Amount, more: Amount) {
    sum.0 = sum.0.wrapping_add(more.0);
    sum.1 = sum.1.wrapping_add(more.1);
}

/// An address as the map has it.
fn address(peer: &RoadPeer) -> IpAddr {
    let [a, b, c, d, ..] = peer.addr;
    match peer.family {
        4 => IpAddr::from([a, b, c, d]),
        _ => IpAddr::V6(Ipv6Addr::from(peer.addr)),
    }
}

impl Roads {
    /// What took roads since the start. By source there is nothing where the kernel lets nobody read
    /// the map any more (before Linux 5.19, with `kernel.unprivileged_bpf_disabled`).
    pub fn traffic(&self) -> Traffic {
        let inner = self.lock();
        let mut traffic = inner.traffic_of_roads();
        for (peer, of_cpus) in inner.maps.peers.iter().flatten() {
            let place = traffic.by_source.entry(address(&peer)).or_default();
            for RoadPeerCounts { messages, bytes } in of_cpus.iter().copied() {
                add(place, (messages, bytes));
            }
        }
        traffic
    }
}

impl Inner {
    /// What roads did, those included that there are no more.
    pub(super) fn traffic_of_roads(&self) -> Traffic {
        let mut traffic = self.former.clone();
        for (number, spec) in self.layout.roads.iter().enumerate() {
            let counters = self.maps.counts.sum(number);
            let amount = (counters.offloaded, counters.offloaded_bytes);
            add(&mut traffic.received, amount);
            let Action::Send(to) = spec.action else {
                continue;
            };
            add(&mut traffic.sent, amount);
            let known = traffic.by_destination.len();
            if known < MAX_DESTINATIONS || traffic.by_destination.contains_key(&to.ip()) {
                add(traffic.by_destination.entry(to.ip()).or_default(), amount);
            }
        }
        traffic
    }
}
