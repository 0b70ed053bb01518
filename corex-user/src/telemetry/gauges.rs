//! How full things are right now. Each worker writes its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::peers;

macro_rules! gauges {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: AtomicU64,)*
        }

        impl $name {
            /// The fields' names, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
            /// What they say, in order.
            pub const DOCS: &'static [&'static str] = &[$(concat!($($doc),*)),*];

            /// The values, in the order of the names.
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$field.load(Ordering::Relaxed)),*]
            }
        }
    };
}

gauges! {
    /// How full the rings of one AF_XDP socket are, and what they cost.
    QueueGauges {
        /// Packets in the receive ring that the worker hasn't taken yet.
        rx_waiting,
        /// Free frames in the fill ring.
        fill,
        /// Frames handed to the kernel to be sent and not given back yet.
        tx_in_flight,
        /// 1: the NIC sends what it is given here. 0: it only receives, or has sent none of the frames
        /// in flight within a second; messages leave by other queues or by kernel sockets.
        transmits,
        /// Packets dropped so far as the receive ring was full.
        rx_ring_full,
        /// Packets dropped so far for want of a free frame, or as too long.
        rx_dropped,
    }
}

gauges! {
    /// What waits for one worker, and what it has free.
    WorkerGauges {
        /// Messages from streams that wait for the worker.
        inbox,
        /// Frames of the packet memory that no ring holds.
        frames_free,
        /// How full the fullest of its queues is, in percent: receive rings, streams' messages, what
        /// other workers handed over, and with `overload` the receive buffers of kernel sockets.
        pressure,
        /// 0: it keeps up. 1: it sheds requests outside dialogs from unknown sources (`overload`). 2: it
        /// sheds all from unknown sources.
        shedding,
        /// Messages that other workers handed over and that wait for the worker.
        shard,
    }
}

gauges! {
    /// What one worker received for one listen socket by other roads than AF_XDP.
    SocketTally {
        /// Datagrams that came by its kernel socket.
        socket_in,
        /// Their payload bytes.
        socket_in_bytes,
        /// Messages that came by its streams.
        stream_in,
        /// Their bytes.
        stream_in_bytes,
    }
}

impl SocketTally {
    /// The values of all of them together, in the order of the names.
    pub fn sum<'t>(all: impl Iterator<Item = &'t SocketTally>) -> Vec<u64> {
        all.fold(vec![0; SocketTally::NAMES.len()], |sum, tally| {
            let pairs = sum.iter().zip(tally.values());
            pairs.map(|(sum, more)| sum.wrapping_add(more)).collect()
        })
    }
}

/// What a running worker shows of itself, and what it is asked to do.
#[derive(Debug, Default)]
pub struct WorkerLink {
    /// How full things are.
    pub gauges: WorkerGauges,
    /// Rounds that the worker has done.
    pub turns: AtomicU64,
    /// Set: the worker is to log what memory it holds, between two batches.
    pub wants_memory: AtomicBool,
    /// What it received for each listen socket, in order.
    pub sockets: Box<[SocketTally]>,
    /// What it received from and sent to each peer.
    pub peers: Arc<peers::Table>,
}

impl WorkerLink {
    /// For so many listen sockets and at most so many peers.
    pub fn new(sockets: usize, peers: usize) -> WorkerLink {
        WorkerLink {
            sockets: (0..sockets).map(|_| SocketTally::default()).collect(),
            peers: Arc::new(peers::Table::new(peers)),
            ..WorkerLink::default()
        }
    }
}

/// Adds to a count that this thread alone writes.
pub fn add(count: &AtomicU64, more: usize) {
    let sum = count.load(Ordering::Relaxed).wrapping_add(more as u64);
    count.store(sum, Ordering::Relaxed);
}

/// Writes a gauge; 0 where it can't hold the value.
pub fn set(gauge: &AtomicU64, value: impl TryInto<u64>) {
    gauge.store(value.try_into().unwrap_or(0), Ordering::Relaxed);
}
