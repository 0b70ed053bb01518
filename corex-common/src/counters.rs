//! Counters, one structure of named `u64` for each place that decides about a packet.
//!
//! A name that begins with `pass_` or `drop_` is a verdict with its reason. The books:
//! `seen = steered + offloaded + pass_* + drop_*` in [`KernelCounters`], and over all
//! [`WorkerCounters`]
//! `steered + socket_in + stream_in = sent + replied + consumed + delivered + handed_back +
//! merged + drop_*`, where in inline mode what [`DetourCounters`] steered is steered too.

macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $field:ident,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl $name {
            /// How many counters there are.
            pub const LEN: usize = [$(stringify!($field)),*].len();

            /// The fields' names, in order.
            pub const NAMES: [&'static str; Self::LEN] = [$(stringify!($field)),*];

            /// What they count, in order.
            pub const DOCS: [&'static str; Self::LEN] = [$(concat!($($doc),*)),*];

            /// The values, in the order of [`Self::NAMES`].
            pub const fn values(&self) -> [u64; Self::LEN] {
                [$(self.$field),*]
            }

            /// The inverse of [`Self::values`].
            pub const fn from_values(values: [u64; Self::LEN]) -> Self {
                let [$($field),*] = values;
                Self { $($field),* }
            }

            /// Adds another set of counters field by field, wrapping.
            pub fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.wrapping_add(other.$field);)*
            }
        }
    };
}

counters! {
    /// What the XDP program decided; per CPU, map `COUNTERS`.
    KernelCounters {
        /// Packets that entered the program.
        seen,
        /// Packets redirected to an AF_XDP socket.
        steered,
        /// Packets transmitted or redirected by the kernel side alone.
        offloaded,
        /// Payload bytes of the packets steered.
        steered_bytes,
        /// Neither IPv4 nor IPv6.
        pass_not_ip,
        /// More than two VLAN tags.
        pass_vlan_depth,
        /// IPv4 with options: the kernel's stack handles them.
        pass_ip_options,
        /// A fragment of IPv4 or IPv6: the kernel's stack reassembles it.
        pass_fragment,
        /// More IPv6 extension headers than the program walks, or one that it doesn't know.
        pass_ext_header,
        /// Not UDP.
        pass_not_udp,
        /// A header that is cut off, or lengths that contradict each other.
        pass_malformed,
        /// UDP to an address and port that is no listen socket.
        pass_no_socket,
        /// For a listen socket, but no AF_XDP socket serves the queue.
        pass_no_xsk,
        /// For a listen socket, but longer than a frame of the packet memory.
        pass_too_long,
        /// Payload shorter than `probe_len`: a probe, discarded as Kamailio does.
        drop_probe,
        /// Inline: what corex itself handed to the stack, and generic XDP sees again.
        pass_injected,
        /// Inline: payload shorter than `min_msg_len`.
        pass_short,
        /// Inline, open: the worker of the queue shows no sign of life.
        pass_hung,
        /// Inline, closed: no AF_XDP socket serves the queue.
        drop_no_xsk,
        /// Inline, closed: longer than a frame of the packet memory.
        drop_too_long,
        /// Inline, closed: the worker of the queue shows no sign of life.
        drop_hung,
        /// Inline, closed: to a protected address, with more IPv6 extension headers than the
        /// program walks, or one that it doesn't know: the server must not get it past the hook.
        drop_ext_header,
    }
}

counters! {
    /// What the TC program decided about packets that leave an interface in inline mode; per
    /// CPU, map `EGRESS_COUNTS`.
    EgressCounters {
        /// Packets that entered the program.
        seen,
        /// Packets redirected into the detour through corex.
        detoured,
        /// What came back from the detour, since nobody took it there.
        pass_returned,
        /// Neither IPv4 nor IPv6.
        pass_not_ip,
        /// More than two VLAN tags.
        pass_vlan_depth,
        /// More IPv6 extension headers than the program walks, or one that it doesn't know.
        pass_ext_header,
        /// Not UDP.
        pass_not_udp,
        /// A header that is cut off, or lengths that contradict each other.
        pass_malformed,
        /// UDP from an address and port that is no protected socket.
        pass_no_socket,
        /// Payload shorter than `min_msg_len`.
        pass_short,
        /// A later fragment whose first one wasn't from a protected socket.
        pass_fragment,
        /// Open: several datagrams in one, to be cut by the NIC (UDP_SEGMENT).
        pass_gso,
        /// Open: longer than a frame of the packet memory.
        pass_too_long,
        /// Open: the worker shows no sign of life.
        pass_hung,
        /// Open: the interface has no detour, or nobody serves it.
        pass_no_xsk,
        /// Closed: several datagrams in one, to be cut by the NIC (UDP_SEGMENT).
        drop_gso,
        /// Closed: longer than a frame of the packet memory.
        drop_too_long,
        /// Closed: the worker shows no sign of life.
        drop_hung,
        /// Closed: the interface has no detour, or nobody serves it.
        drop_no_xsk,
    }
}

counters! {
    /// What the XDP program on corex's end of a detour decided; per CPU, map `DETOUR_COUNTS`.
    DetourCounters {
        /// Packets that entered the program.
        seen,
        /// Packets redirected to an AF_XDP socket.
        steered,
        /// Open: nobody took the packet, and it went on its way as it was.
        pass_returned,
        /// Closed: nobody took the packet.
        drop_no_xsk,
        /// Not from a protected socket: nothing but corex's own TC program sends here.
        drop_stray,
    }
}

counters! {
    /// What the XDP program decided for one listen socket; per CPU, map `SOCKET_COUNTS`.
    SocketCounters {
        /// Packets steered to AF_XDP.
        steered,
        /// Their payload bytes.
        steered_bytes,
        /// Of those steered, the ones below `min_msg_len`: the hook is skipped.
        short,
        /// Passed because no AF_XDP socket serves the queue.
        pass_no_xsk,
        /// Passed because the frame is too long for the packet memory.
        pass_too_long,
        /// Dropped as probes.
        drop_probe,
    }
}

counters! {
    /// What one worker did; map `WORKERS`, written by the worker through a memory mapping.
    WorkerCounters {
        /// Frames taken from AF_XDP receive rings.
        xdp_in,
        /// Datagrams read from kernel sockets.
        socket_in,
        /// Datagrams that the kernel dropped before they could be read, as a kernel socket's
        /// buffer was full. Not in `socket_in`, and so outside the balance.
        socket_overflow,
        /// Messages that came by a stream.
        stream_in,
        /// Messages sent at least once.
        sent,
        /// Messages that weren't sent on and got a reply of ours.
        replied,
        /// Messages that were neither sent on nor replied to and are done with: an ACK to a
        /// reply of ours, one of which the script sent something else with send_data().
        consumed,
        /// Inline: datagrams handed to the protected server's socket.
        delivered,
        /// Inline: packets that aren't for the hook and went on as they were: fragments of
        /// others' datagrams, and what is damaged, which the stack is to judge.
        handed_back,
        /// Inline: fragments that became part of a datagram, all but one for each.
        merged,
        /// Inline: ICMP errors among those handed back, of which the quotation was cut down to
        /// headers, as it was what the hook had made of a message.
        quotes_cut,
        /// Payload bytes received, by either road, before the hook.
        bytes_in,
        /// Payload bytes sent, by either road, after the hook.
        bytes_out,
        /// Transmissions by AF_XDP; one message may be sent more than once.
        out_xdp,
        /// Of these, rewritten in the frame that they came in.
        out_in_place,
        /// Transmissions by a kernel socket.
        out_socket,
        /// Of these, because no next hop was known yet.
        out_socket_no_next_hop,
        /// Of these, because the payload didn't fit the frame or the MTU.
        out_socket_too_big,
        /// Of these, because the AF_XDP transmit ring or the frame pool was exhausted.
        out_socket_ring_full,
        /// Transmissions handed over: by a stream, or to a name that must be looked up.
        out_carried,
        /// Hook runs on received messages.
        hook_in,
        /// Hook runs on messages about to be sent.
        hook_out,
        /// Bytes of the messages received that the hook ran on.
        hook_in_before,
        /// Bytes of what it made of them.
        hook_in_after,
        /// Bytes of the messages about to be sent that the hook ran on.
        hook_out_before,
        /// Bytes of what it made of them.
        hook_out_after,
        /// Messages that skipped the hook: shorter than `min_msg_len`.
        hook_skipped,
        /// Hook runs that replaced the message.
        hook_replaced,
        /// Hook runs that left `msg_avp` unset or an integer: the original went on.
        hook_unset,
        /// Hook runs that failed: the original went on.
        hook_failed,
        /// Route runs that stopped with an error.
        route_failed,
        /// Transmissions that were accepted and then refused by ring and kernel: none is
        /// expected, and the message counts as sent.
        late_send_errors,
        /// Wake-ups of the transmit side.
        tx_kicks,
        /// Nanoseconds that the worker didn't sleep.
        busy_ns,
        /// AF_XDP: a steered frame whose headers can't be read.
        drop_frame,
        /// AF_XDP: IPv4 header checksum wrong.
        drop_ip_checksum,
        /// AF_XDP: UDP checksum wrong, or missing over IPv6.
        drop_udp_checksum,
        /// AF_XDP: receive ring full (XDP_STATISTICS rx_ring_full).
        drop_rx_ring_full,
        /// AF_XDP: no free frame or frame too long (XDP_STATISTICS rx_dropped).
        drop_rx_dropped,
        /// Kernel socket: payload shorter than `probe_len`.
        drop_probe,
        /// The hook set `msg_avp` to the empty string: nothing to parse or send.
        drop_hook_empty,
        /// The hook's result exceeds 65,535 bytes.
        drop_hook_too_long,
        /// After the hook, not a SIP message.
        drop_not_sip,
        /// The script said `drop`.
        drop_script,
        /// A request that the script didn't send anywhere.
        drop_request_unrouted,
        /// A reply that the script didn't send anywhere.
        drop_reply_unrouted,
        /// The script failed before it sent the message.
        drop_route_failed,
        /// A destination that isn't an address, or a name that couldn't be resolved.
        drop_send_unresolved,
        /// No listen socket of the destination's address family.
        drop_send_no_socket,
        /// The message exceeds what one UDP datagram carries.
        drop_send_too_long,
        /// Too much waits to be sent by a stream, or to be looked up.
        drop_send_queue_full,
        /// The transport can't be had.
        drop_send_no_transport,
        /// The kernel refused the datagram.
        drop_send_error,
        /// Inline, closed: the hook failed.
        drop_hook_failed,
        /// Inline: the transmit ring or the packet memory is full.
        drop_ring_full,
        /// Inline: a fragment that overlaps another (RFC 5722).
        drop_fragment_overlap,
        /// Inline: fragments of a datagram that isn't complete in time.
        drop_fragment_timeout,
        /// Inline: a fragment beyond what is kept, or older ones that made room for it.
        drop_fragment_full,
        /// Inline: a fragment that was there already.
        drop_fragment_duplicate,
        /// Inline: a fragment that is malformed, or a datagram that would be too long.
        drop_fragment_malformed,
        /// Inline, closed: a datagram that came in fragments, with IPv6 extension headers that
        /// aren't walked.
        drop_ext_header,
        /// Inline: too long for the path after the hook, and not to be fragmented: the sender
        /// was told by ICMP.
        drop_too_big,
    }
}

impl WorkerCounters {
    /// Messages and packets with a verdict: what has been steered to a worker or read by it, at
    /// rest.
    pub fn decided(&self) -> u64 {
        let dropped = Self::NAMES
            .iter()
            .zip(self.values())
            .filter(|(name, _)| name.starts_with("drop_"));
        self.sent
            + self.replied
            + self.consumed
            + self.delivered
            + self.handed_back
            + self.merged
            + dropped.map(|(_, value)| value).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_in_the_same_order() {
        let c = WorkerCounters {
            sent: 7,
            ..WorkerCounters::default()
        };
        let at = WorkerCounters::NAMES
            .iter()
            .position(|n| *n == "sent")
            .unwrap();
        assert_eq!(c.values()[at], 7);
        assert_eq!(c.values().iter().sum::<u64>(), 7);
        assert_eq!(WorkerCounters::from_values(c.values()), c);
    }

    #[test]
    fn a_structure_is_nothing_but_its_counters() {
        assert_eq!(size_of::<WorkerCounters>(), WorkerCounters::LEN * 8);
        assert_eq!(size_of::<KernelCounters>(), KernelCounters::LEN * 8);
    }
}
