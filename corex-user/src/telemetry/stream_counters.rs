//! What became of connections and of the messages that were handed over to be sent later.

use super::atomic_counters::{atomic_counters, imbalance};

atomic_counters! {
    /// Counters of connections, names, and messages that were handed over. At rest
    /// `queued = delivered + handed_over + drop_*`.
    StreamCounters {
        /// Connections accepted.
        accepted,
        /// Connections opened by us.
        connected,
        /// Connections refused or not opened, as there are too many.
        refused_limit,
        /// Connections refused or not opened, as there are too many with this peer.
        refused_peer,
        /// Connections refused, as the guard doesn't let the peer in.
        refused_guard,
        /// Connections closed: no traffic, or never a message.
        closed_idle,
        /// Connections closed: for too long nothing but keep-alives.
        closed_keepalive,
        /// Connections closed: a message took too long to arrive whole.
        closed_slow,
        /// Connections closed: what came can't be divided into messages.
        closed_framing,
        /// Connections closed by the peer, or by an error.
        closed_peer,
        /// Connections closed: corex was replaced, and they couldn't go on with its successor (TLS), or
        /// not with this one, for want of room or of their listener.
        closed_takeover,
        /// Connections that a successor goes on with.
        connections_handed_over,
        /// Connections that were a predecessor's.
        connections_taken_over,
        /// Messages received.
        messages_in,
        /// Keep-alives answered.
        pings,
        /// Messages that went to an address whose time was over, as no name server answered.
        dns_stale,
        /// Names asked for again ahead, before their time was over.
        dns_refreshed,
        /// Names not looked up, as there are too many.
        dns_refused,
        /// Names not looked up, as there are too many of their zone.
        dns_refused_zone,
        /// Names not looked up, as there are too many for this sender.
        dns_refused_source,
        /// Messages handed over to be sent.
        queued,
        /// Messages written to a connection, or sent to the address that their name had.
        delivered,
        /// Messages that a successor writes or sends.
        handed_over,
        /// Their name had no address.
        drop_unresolved,
        /// Their name led to where corex itself listens.
        drop_send_self,
        /// Replies to a name whose connection is gone: none is opened for replies.
        drop_no_connection,
        /// The connection didn't come about.
        drop_connect,
        /// The connection ended before they were written.
        drop_closed,
        /// The peer took nothing for too long.
        drop_stuck,
        /// Too much waited for the connection that a name led to.
        drop_queue_full,
        /// The kernel refused the datagram.
        drop_send_error,
        /// Corex stopped before they could be sent.
        drop_stopping,
    }
}

impl StreamCounters {
    /// Messages that were handed over and whose fate isn't known yet: 0 at rest.
    pub fn imbalance(&self) -> i64 {
        let is_fate =
            |name: &str| matches!(name, "delivered" | "handed_over") || name.starts_with("drop_");
        imbalance(&self.snapshot(), "queued", is_fate)
    }
}
