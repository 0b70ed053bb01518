//! Puts fragmented datagrams together, and bounds what incomplete ones may hold.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use corex_common::counters::WorkerCounters;

use corex_packet::{Limits, Lost, Reassembler, View, Whole};
use corex_script::Direction;

/// How long a datagram may take to be complete. Linux waits 30 s; SIP over UDP has sent the
/// request seven times by then (RFC 3261 §17.1.1.2).
const FRAGMENT_LIFETIME: Duration = Duration::from_secs(5);
/// What is kept of incomplete datagrams, each way.
const FRAGMENT_BYTES: usize = 4 << 20;
const FRAGMENT_DATAGRAMS: usize = 1_024;
const FRAGMENT_DATAGRAMS_OF_SOURCE: usize = 256;
/// Of a datagram: 65,535 bytes in pieces of the smallest MTU for IPv4 (RFC 791) and some.
const FRAGMENT_PIECES: usize = 128;

/// Incomplete datagrams of all workers: a NIC may spread the fragments of one over its queues.
pub struct Fragments {
    incoming: Mutex<Reassembler>,
    outgoing: Mutex<Reassembler>,
    started: Instant,
}

impl Default for Fragments {
    fn default() -> Self {
        let limits = Limits {
            max_bytes: FRAGMENT_BYTES,
            max_datagrams: FRAGMENT_DATAGRAMS,
            max_of_source: FRAGMENT_DATAGRAMS_OF_SOURCE,
            max_pieces: FRAGMENT_PIECES,
            lifetime: FRAGMENT_LIFETIME,
        };
        Self {
            incoming: Mutex::new(Reassembler::new(limits)),
            outgoing: Mutex::new(Reassembler::new(limits)),
            started: Instant::now(),
        }
    }
}

impl Fragments {
    /// Takes a fragment; returns the datagram that it completes.
    pub(super) fn push(
        &self,
        way: Direction,
        packet: &[u8],
        view: &View,
        now: Instant,
        counters: &mut WorkerCounters,
    ) -> Option<Whole> {
        let reassembler = match way {
            Direction::Incoming => &self.incoming,
            Direction::Outgoing => &self.outgoing,
        };
        let age = now.saturating_duration_since(self.started);
        let mut lost = Lost::default();
        let whole = lock(reassembler).push(packet, view, age, &mut lost);
        count(&lost, counters);
        whole
    }

    /// Gives up what has taken too long by `now`.
    pub(super) fn expire(&self, now: Instant, counters: &mut WorkerCounters) {
        self.expire_at(now.saturating_duration_since(self.started), counters);
    }

    /// Gives up everything.
    pub(super) fn give_up(&self, counters: &mut WorkerCounters) {
        self.expire_at(Duration::MAX, counters);
    }

    fn expire_at(&self, age: Duration, counters: &mut WorkerCounters) {
        let mut lost = Lost::default();
        lock(&self.incoming).expire(age, &mut lost);
        lock(&self.outgoing).expire(age, &mut lost);
        count(&lost, counters);
    }
}

fn count(lost: &Lost, counters: &mut WorkerCounters) {
    counters.drop_fragment_overlap += lost.overlap;
    counters.drop_fragment_duplicate += lost.duplicate;
    counters.drop_fragment_malformed += lost.malformed;
    counters.drop_fragment_full += lost.full;
    counters.drop_fragment_timeout += lost.timeout;
}

/// A worker that panicked leaves what was whole before and after each fragment.
fn lock(reassembler: &Mutex<Reassembler>) -> MutexGuard<'_, Reassembler> {
    reassembler.lock().unwrap_or_else(PoisonError::into_inner)
}
