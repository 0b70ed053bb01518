//! What became of the keys of devices: how they are looked for, how they come, and of messages that
//! wait for one.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! key_counters {
    ($($(#[doc = $doc:literal])* $field:ident,)*) => {
        /// Counters of keystores, enrolments, and messages that were handed over to be encoded once
        /// the key of the device that they are for is there. At rest `queued = delivered + drop_*`.
        #[derive(Debug, Default)]
        pub struct KeyCounters {
            $($(#[doc = $doc])* pub $field: AtomicU64,)*
        }

        impl KeyCounters {
            /// Names and values, in order.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.load(Ordering::Relaxed))),*]
            }
        }
    };
}

key_counters! {
    /// Looked for in the keystore, and found.
    hits,
    /// Looked for there, and not found.
    misses,
    /// Entries that can't be read: of another format, or sealed with another key.
    unreadable,
    /// The keystore refused, or couldn't be connected to.
    failed,
    /// It didn't answer in time.
    timed_out,
    /// It wasn't asked, as it had failed just before.
    left_alone,
    /// It answered again after it had failed.
    came_back,
    /// Sessions that went to make room, or whose time was over.
    forgotten,
    /// Devices whose messages came from a new address.
    moved,
    /// Devices that enrolled.
    enrolled,
    /// Enrolments with the id of a device that has another key, which they don't prove to be.
    enrol_taken,
    /// Enrolments refused: damaged, or nothing to enrol with is configured.
    enrol_malformed,
    /// Made with a secret or for a key that isn't here.
    enrol_unknown_key,
    /// Not made with that secret, or changed.
    enrol_not_authentic,
    /// Too old, or from the future.
    enrol_stale,
    /// Received before.
    enrol_replayed,
    /// The keystore was away, so that the key couldn't be kept.
    enrol_unstored,
    /// For want of memory.
    enrol_unusable,
    /// Messages to devices handed over until the key is there.
    queued,
    /// Those that were sent.
    delivered,
    /// Too much waited already.
    drop_no_place,
    /// No key is known of the device.
    drop_unknown_device,
    /// The keystore was away, or slow.
    drop_keystore,
    /// They couldn't be encoded.
    drop_codec,
    /// The kernel refused the datagram.
    drop_send_error,
    /// Corex stopped before.
    drop_stopping,
}

impl KeyCounters {
    /// Adds one to a counter.
    pub fn add(&self, which: fn(&Self) -> &AtomicU64) {
        which(self).fetch_add(1, Ordering::Relaxed);
    }

    /// Adds so many to a counter.
    pub fn add_many(&self, which: fn(&Self) -> &AtomicU64, count: usize) {
        which(self).fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Messages that were handed over and whose fate isn't known yet: 0 at rest.
    pub fn imbalance(&self) -> i64 {
        let mut left = 0u64;
        for (name, value) in self.snapshot() {
            if name == "queued" {
                left = left.wrapping_add(value);
            } else if name == "delivered" || name.starts_with("drop_") {
                left = left.wrapping_sub(value);
            }
        }
        left as i64
    }
}
