//! How full things are right now. Each worker writes its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    /// Of one AF_XDP socket.
    QueueGauges {
        /// Packets in the receive ring that the worker hasn't taken yet.
        rx_waiting,
        /// Free frames in the fill ring.
        fill,
        /// Frames handed to the kernel to be sent and not given back yet.
        tx_in_flight,
        /// Packets dropped so far as the receive ring was full.
        rx_ring_full,
        /// Packets dropped so far for want of a free frame, or as too long.
        rx_dropped,
    }
}

gauges! {
    /// Of one worker.
    WorkerGauges {
        /// Messages from streams that wait for the worker.
        inbox,
        /// Frames of the packet memory that no ring holds.
        frames_free,
    }
}

/// Between a worker and whoever looks at it.
#[derive(Debug, Default)]
pub struct WorkerLink {
    /// How full things are.
    pub gauges: WorkerGauges,
    /// Rounds that the worker has done.
    pub turns: AtomicU64,
    /// Set: the worker is to log what memory it holds, between two batches.
    pub wants_memory: AtomicBool,
}

/// Writes a gauge.
pub fn set(gauge: &AtomicU64, value: impl TryInto<u64>) {
    gauge.store(value.try_into().unwrap_or(0), Ordering::Relaxed);
}
