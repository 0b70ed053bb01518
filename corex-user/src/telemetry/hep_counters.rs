//! What became of copies for collectors.

use super::atomic_counters::{atomic_counters, imbalance};

atomic_counters! {
    /// Counters of copies for collectors. At rest `copied = exported + drop_*`.
    HepCounters {
        /// Messages and log lines to be copied to a collector.
        copied,
        /// HEP packets that the kernel has taken.
        exported,
        /// Their bytes.
        exported_bytes,
        /// Messages that are no SIP, and so not copied.
        not_sip,
        /// Packets that the collector's host has sent back: nobody listens there.
        refused,
        /// Too many wait already, or too many bytes.
        drop_full,
        /// Longer, as a HEP packet, than a datagram carries.
        drop_too_long,
        /// The collector's name has no address.
        drop_unresolved,
        /// The collector is where corex itself listens: the copy would come back.
        drop_send_self,
        /// The kernel refused the datagram, or has no way to the collector.
        drop_send_error,
        /// Corex stopped before they could be sent.
        drop_stopping,
    }
}

impl HepCounters {
    /// Copies whose fate isn't known yet: 0 at rest.
    pub fn imbalance(&self) -> i64 {
        let is_fate = |name: &str| name == "exported" || name.starts_with("drop_");
        imbalance(&self.snapshot(), "copied", is_fate)
    }
}
