//! Counters, one structure of named `u64` for each place that decides about a packet.
//!
//! Each counter is marked with what it is in the books' equation ([`Kind`]). At rest the inputs of
//! [`KernelCounters`], [`EgressCounters`] and [`DetourCounters`] equal the verdicts of each. For
//! the workers, the inputs of all [`WorkerCounters`] and what XDP programs steered to them
//! ([`KernelCounters`], in inline mode [`DetourCounters`] too) equal the verdicts of all. Everything
//! that balances, groups or labels counters goes by these marks.

/// What a counter is in the books' equation: `inputs = verdicts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counts what came in and must get a verdict.
    Input,
    /// Counts what was decided in one way: each packet once. Where the name begins with `pass_` or
    /// `drop_`, the rest of it is the reason.
    Verdict,
    /// Counts anything else, also part of what another one counts.
    Plain,
}

/// What is known of a counter beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The field's name.
    pub name: &'static str,
    /// What it counts.
    pub doc: &'static str,
    /// What it is in the books' equation.
    pub kind: Kind,
}

impl Counter {
    /// What was decided and why, as in `("dropped", "probe")`; the reason is empty where a verdict
    /// needs none, as in `("sent", "")`. `None` if it isn't a verdict.
    pub fn verdict(&self) -> Option<(&'static str, &'static str)> {
        (self.kind == Kind::Verdict).then(|| reason(self.name).unwrap_or((self.name, "")))
    }
}

/// The verdict and the reason that a counter's name tells: `drop_probe` is `dropped` and `probe`,
/// `pass_fragment` is `passed` and `fragment`. `None` for other names.
pub fn reason(name: &str) -> Option<(&'static str, &str)> {
    [("drop_", "dropped"), ("pass_", "passed")]
        .into_iter()
        .find_map(|(prefix, verdict)| Some((verdict, name.strip_prefix(prefix)?)))
}

/// A set of counters as it lies in memory: its values in order, and behind them perhaps padding.
pub trait CounterSet: Copy + Default {
    /// Adds values in the order of the fields, wrapping; what is missing is 0.
    fn add_values(&mut self, values: impl Iterator<Item = u64>);
}

macro_rules! kind {
    (input) => {
        Kind::Input
    };
    (verdict) => {
        Kind::Verdict
    };
    (plain) => {
        Kind::Plain
    };
}

macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $field:ident: $kind:ident,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl CounterSet for $name {
            fn add_values(&mut self, mut values: impl Iterator<Item = u64>) {
                $(self.$field = self.$field.wrapping_add(values.next().unwrap_or(0));)*
            }
        }

        impl $name {
            /// How many counters there are.
            pub const LEN: usize = [$(stringify!($field)),*].len();

            /// All of them, in order.
            pub const ALL: [Counter; Self::LEN] = [$(Counter {
                name: stringify!($field),
                doc: concat!($($doc),*),
                kind: kind!($kind),
            }),*];

            /// The fields' names, in order.
            pub const NAMES: [&'static str; Self::LEN] = [$(stringify!($field)),*];

            /// What they count, in order.
            pub const DOCS: [&'static str; Self::LEN] = [$(concat!($($doc),*)),*];

            /// The values, in the order of [`Self::ALL`].
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

            /// What came in: the sum of the inputs.
            pub fn received(&self) -> u64 {
                self.sum(Kind::Input)
            }

            /// What was decided: the sum of the verdicts.
            pub fn decided(&self) -> u64 {
                self.sum(Kind::Verdict)
            }

            fn sum(&self, kind: Kind) -> u64 {
                let all = Self::ALL.iter().zip(self.values());
                all.filter(|(counter, _)| counter.kind == kind)
                    .fold(0, |sum, (_, value)| sum.wrapping_add(value))
            }
        }
    };
}

counters! {
    /// What the XDP program decided; per CPU, map `COUNTERS`.
    #[repr(align(64))]
    KernelCounters {
        /// Packets that entered the program.
        seen: input,
        /// Packets redirected to an AF_XDP socket.
        steered: verdict,
        /// Packets transmitted or redirected by the kernel side alone.
        offloaded: verdict,
        /// STUN Binding requests answered by the program itself.
        stun_answered: verdict,
        /// Keep-alives (CRLF CRLF) answered by the program itself.
        keepalive_answered: verdict,
        /// Their payload bytes.
        offloaded_bytes: plain,
        /// Inline: packets of a queue without an AF_XDP socket, led to a worker by the veth pair:
        /// the detour's XDP counts them once more.
        detoured: verdict,
        /// Payload bytes of the packets steered.
        steered_bytes: plain,
        /// The guard: packets from networks that are allowed, on which no other rule was tried.
        guard_allowed: plain,
        /// The guard, dry run: `drop_guard_block` would have counted it.
        guard_dry_block: plain,
        /// The guard, dry run: `drop_guard_stealth` would have counted it.
        guard_dry_stealth: plain,
        /// The guard, dry run: `drop_guard_signature` would have counted it.
        guard_dry_signature: plain,
        /// The guard, dry run: `drop_guard_rate` would have counted it.
        guard_dry_rate: plain,
        /// Neither IPv4 nor IPv6.
        pass_not_ip: verdict,
        /// More than two VLAN tags.
        pass_vlan_depth: verdict,
        /// IPv4 with options: the kernel's stack handles them.
        pass_ip_options: verdict,
        /// A fragment of IPv4 or IPv6: the kernel's stack reassembles it.
        pass_fragment: verdict,
        /// More IPv6 extension headers than the program walks, or one that it doesn't know.
        pass_ext_header: verdict,
        /// Not UDP.
        pass_not_udp: verdict,
        /// A header that is cut off, or lengths that contradict each other.
        pass_malformed: verdict,
        /// UDP to an address and port that is no listen socket.
        pass_no_socket: verdict,
        /// For a listen socket, but no AF_XDP socket serves the queue.
        pass_no_xsk: verdict,
        /// For a listen socket, but longer than a frame of the packet memory.
        pass_too_long: verdict,
        /// For a listen socket, but the destination MAC is another host's, broadcast or multicast.
        /// Inline, open: another host's.
        pass_foreign_mac: verdict,
        /// For a listen socket, but from a source address that the wire can't have: loopback,
        /// multicast, broadcast, none, or the host's own.
        pass_martian: verdict,
        /// For a listen socket's port, but the address isn't the host's now: to be routed on.
        pass_not_local: verdict,
        /// For a listen socket, but it isn't known yet that the way back to its source is what
        /// `rp_filter` wants: the kernel's stack decides.
        pass_rp_filter: verdict,
        /// Payload shorter than `probe_len`: a probe, discarded as Kamailio does.
        drop_probe: verdict,
        /// A keep-alive that gets no answer (`keepalive`): line breaks or NULs.
        drop_keepalive: verdict,
        /// The worker of the queue is overloaded (`overload`), and this goes first: a request outside
        /// dialogs from an unknown source, or at the second level anything from one.
        drop_overload: verdict,
        /// The guard: from a network that is blocked.
        drop_guard_block: verdict,
        /// The guard: a source or a method that gets no answer (`stealth`).
        drop_guard_stealth: verdict,
        /// The guard: what scanners send, or no SIP.
        drop_guard_signature: verdict,
        /// The guard: more than a rate allows.
        drop_guard_rate: verdict,
        /// A road: the script says `drop`.
        drop_script: verdict,
        /// A road: a request or reply that the script sends nowhere.
        drop_unrouted: verdict,
        /// Inline: what corex itself handed to the stack, and generic XDP sees again.
        pass_injected: verdict,
        /// Inline: payload shorter than `min_msg_len`.
        pass_short: verdict,
        /// Inline, open: the worker of the queue shows no sign of life.
        pass_hung: verdict,
        /// Inline, closed: no AF_XDP socket serves the queue.
        drop_no_xsk: verdict,
        /// Inline, closed: longer than a frame of the packet memory.
        drop_too_long: verdict,
        /// Inline, closed: the worker of the queue shows no sign of life.
        drop_hung: verdict,
        /// Inline, closed: for a protected socket, but the destination MAC is another host's.
        drop_foreign_mac: verdict,
        /// Inline, closed: for a protected socket, but from a source address that the wire can't
        /// have.
        drop_martian: verdict,
        /// Inline, closed: more than two VLAN tags. The stack takes off those that name no VLAN, so the
        /// server might get it past the hook.
        drop_vlan_depth: verdict,
        /// Inline, closed: to a protected address, with more IPv6 extension headers than the
        /// program walks, or one that it doesn't know: the server must not get it past the hook.
        drop_ext_header: verdict,
    }
}

counters! {
    /// What the TC program decided about packets that leave an interface in inline mode; per
    /// CPU, map `EGRESS_COUNTS`.
    #[repr(align(64))]
    EgressCounters {
        /// Packets that entered the program.
        seen: input,
        /// Packets redirected into the detour through corex.
        detoured: verdict,
        /// What came back from the detour, since nobody took it there.
        pass_returned: verdict,
        /// Neither IPv4 nor IPv6.
        pass_not_ip: verdict,
        /// More than two VLAN tags.
        pass_vlan_depth: verdict,
        /// More IPv6 extension headers than the program walks, or one that it doesn't know.
        pass_ext_header: verdict,
        /// Not UDP.
        pass_not_udp: verdict,
        /// A header that is cut off, or lengths that contradict each other.
        pass_malformed: verdict,
        /// UDP from an address and port that is no protected socket.
        pass_no_socket: verdict,
        /// Payload shorter than `min_msg_len`.
        pass_short: verdict,
        /// A later fragment whose first one wasn't from a protected socket.
        pass_fragment: verdict,
        /// Open: several datagrams in one, to be cut by the NIC (UDP_SEGMENT).
        pass_gso: verdict,
        /// Open: longer than a frame of the packet memory.
        pass_too_long: verdict,
        /// Open: the worker shows no sign of life.
        pass_hung: verdict,
        /// Open: the interface has no detour, or nobody serves it.
        pass_no_xsk: verdict,
        /// Closed: several datagrams in one, to be cut by the NIC (UDP_SEGMENT).
        drop_gso: verdict,
        /// Closed: longer than a frame of the packet memory.
        drop_too_long: verdict,
        /// Closed: the worker shows no sign of life.
        drop_hung: verdict,
        /// Closed: the interface has no detour, or nobody serves it.
        drop_no_xsk: verdict,
    }
}

counters! {
    /// What the XDP program on corex's end of a detour decided; per CPU, map `DETOUR_COUNTS`.
    #[repr(align(64))]
    DetourCounters {
        /// Packets that entered the program.
        seen: input,
        /// Packets redirected to an AF_XDP socket.
        steered: verdict,
        /// Open: nobody took the packet, and it went on its way as it was.
        pass_returned: verdict,
        /// Closed: nobody took the packet.
        drop_no_xsk: verdict,
        /// Not from a protected socket: nothing but corex's own TC program sends here.
        drop_stray: verdict,
    }
}

counters! {
    /// What the XDP program decided for one listen socket; per CPU, map `SOCKET_COUNTS`.
    #[repr(align(64))]
    SocketCounters {
        /// Packets steered to AF_XDP.
        steered: verdict,
        /// Their payload bytes.
        steered_bytes: plain,
        /// Of those steered, the ones below `min_msg_len`: the hook is skipped.
        short: plain,
        /// Packets sent on by roads, without user space.
        offloaded: verdict,
        /// Their payload bytes.
        offloaded_bytes: plain,
        /// Passed because no AF_XDP socket serves the queue.
        pass_no_xsk: verdict,
        /// Passed because the frame is too long for the packet memory.
        pass_too_long: verdict,
        /// Dropped as probes.
        drop_probe: verdict,
        /// STUN Binding requests and keep-alives answered by the program itself.
        answered: verdict,
        /// Keep-alives dropped.
        drop_keepalive: verdict,
        /// Dropped as the worker of the queue is overloaded (`overload`).
        drop_overload: verdict,
        /// Dropped by the guard.
        drop_guard: verdict,
        /// Dropped by roads: the script says `drop`.
        drop_script: verdict,
        /// Dropped by roads: the script sends it nowhere.
        drop_unrouted: verdict,
    }
}
counters! {
    /// What one road did; per CPU, map `ROAD_COUNTS`.
    #[repr(align(64))]
    RoadCounters {
        /// Packets that it sent or dropped.
        offloaded: plain,
        /// Their payload bytes.
        offloaded_bytes: plain,
        /// Steered, since no next hop is known.
        steered_no_hop: plain,
        /// Steered now and then, so that the kernel confirms the neighbour.
        steered_sample: plain,
        /// Steered, since the packet is one that only user space judges: its start line, checksum,
        /// TTL, length, headers or interface.
        steered_doubtful: plain,
    }
}

counters! {
    /// What one rule of the guard's rates did; per CPU, map `GUARD_RATE_COUNTS`.
    #[repr(align(64))]
    RateCounters {
        /// Messages above its rate. Those of a rule with `dry-run` went on.
        over: plain,
        /// Those of them that were their source's last one before it was blocked, or would have been.
        blocked: plain,
    }
}

counters! {
    /// What one worker did; map `WORKERS`, written by the worker through a memory mapping.
    WorkerCounters {
        /// Frames taken from AF_XDP receive rings.
        xdp_in: plain,
        /// Datagrams read from kernel sockets.
        socket_in: input,
        /// Datagrams that the kernel dropped before they could be read, as a kernel socket's
        /// buffer was full, or as corex was stopping. Not in `socket_in`, and so outside the
        /// balance.
        socket_overflow: plain,
        /// Messages that came by a stream.
        stream_in: input,
        /// Frames that the XDP program of a predecessor had steered, and that were in the rings when
        /// this corex took over.
        taken_over: input,
        /// Messages sent at least once.
        sent: verdict,
        /// Messages that weren't sent on and got a reply of ours.
        replied: verdict,
        /// STUN Binding requests answered, some of them with an error, where the XDP program left it
        /// to the worker.
        stun_answered: verdict,
        /// Keep-alives (CRLF CRLF in a datagram) answered, where the XDP program left it to the worker.
        keepalive_answered: verdict,
        /// Messages that were neither sent on nor replied to and are done with: an ACK to a
        /// reply of ours, one of which the script sent something else with send_data().
        consumed: verdict,
        /// Frames that were in the rings when a successor took over; it counts them as `taken_over`.
        handed_over: verdict,
        /// Inline: datagrams handed to the protected server's socket.
        delivered: verdict,
        /// Inline: packets that aren't for the hook and went on as they were: fragments of
        /// others' datagrams, and what is damaged, which the stack is to judge.
        handed_back: verdict,
        /// Inline: fragments that became part of a datagram, all but one for each.
        merged: verdict,
        /// Inline: ICMP errors among those handed back, of which the quotation was cut down to
        /// headers, as it was what the hook had made of a message.
        quotes_cut: plain,
        /// Payload bytes received, by either road, before the hook.
        bytes_in: plain,
        /// Payload bytes sent, by either road, after the hook.
        bytes_out: plain,
        /// Transmissions by AF_XDP; one message may be sent more than once.
        out_xdp: plain,
        /// Of these, rewritten in the frame that they came in.
        out_in_place: plain,
        /// Transmissions by a kernel socket.
        out_socket: plain,
        /// Of these, because no next hop was known yet.
        out_socket_no_next_hop: plain,
        /// Of these, because the payload didn't fit the frame or the MTU.
        out_socket_too_big: plain,
        /// Of these, because the AF_XDP transmit ring or the frame pool was exhausted.
        out_socket_ring_full: plain,
        /// Of these, because the worker has no queue that transmits on the interface that the route
        /// names: without XDP there, or a bridge, bond or VLAN device above its NIC.
        out_socket_no_queue: plain,
        /// Transmissions handed over: by a stream, or to a name that must be looked up.
        out_carried: plain,
        /// Hook runs on received messages.
        hook_in: plain,
        /// Hook runs on messages about to be sent.
        hook_out: plain,
        /// Bytes of the messages received that the hook ran on.
        hook_in_before: plain,
        /// Bytes of what it made of them.
        hook_in_after: plain,
        /// Bytes of the messages about to be sent that the hook ran on.
        hook_out_before: plain,
        /// Bytes of what it made of them.
        hook_out_after: plain,
        /// Messages that skipped the hook: shorter than `min_msg_len`.
        hook_skipped: plain,
        /// Hook runs that replaced the message.
        hook_replaced: plain,
        /// Hook runs that left `msg_avp` unset or an integer: the original went on.
        hook_unset: plain,
        /// Hook runs that failed: the original went on.
        hook_failed: plain,
        /// Messages received that a chain of `codec_in` decoded.
        codec_in: plain,
        /// Their bytes as they came.
        codec_in_before: plain,
        /// Their bytes when they were decoded.
        codec_in_after: plain,
        /// Messages about to be sent that a chain of `codec_out` encoded.
        codec_out: plain,
        /// Their bytes before that.
        codec_out_before: plain,
        /// Their bytes when they were encoded.
        codec_out_after: plain,
        /// Messages that a chain of `codec_in` couldn't decode, and that went on as they came:
        /// `on_error` of the module codec.
        codec_passed: plain,
        /// Messages that began to wait for a device's key, or to be verified as its enrolment.
        key_waits: plain,
        /// Those that came back to their worker.
        key_returns: plain,
        /// Enrolments that were acknowledged.
        enrolled: plain,
        /// What codec_encode(), codec_decode() or a chain couldn't transform: not what the codec
        /// makes, damaged, or cut off.
        codec_malformed: plain,
        /// The same: the result would be longer than `max_output`.
        codec_too_long: plain,
        /// The same: made with a dictionary that isn't here.
        codec_unknown_dictionary: plain,
        /// The same: made with a key that isn't here.
        codec_unknown_key: plain,
        /// The same: of another version of a format.
        codec_unknown_version: plain,
        /// The same: made or changed by somebody without the key, or for the other direction.
        codec_not_authentic: plain,
        /// The same: received before.
        codec_replayed: plain,
        /// The same: older, or from further in the future, than replays are told from.
        codec_stale: plain,
        /// The same: of a device, or for one, of whom no key is known.
        codec_unknown_device: plain,
        /// The same: the device's key is being asked for.
        codec_key_pending: plain,
        /// The same: the device's key has expired.
        codec_key_expired: plain,
        /// The same: no message, but part of a device's enrolment.
        codec_enrolment: plain,
        /// The same: the system has no memory or no random numbers.
        codec_unusable: plain,
        /// The guard: messages from networks that are allowed, on which no other rule was tried.
        guard_allowed: plain,
        /// The guard, dry run: `drop_guard_block` would have counted it.
        guard_dry_block: plain,
        /// The guard, dry run: `drop_guard_stealth` would have counted it.
        guard_dry_stealth: plain,
        /// The guard, dry run: `drop_guard_signature` would have counted it.
        guard_dry_signature: plain,
        /// The guard, dry run: `drop_guard_rate` would have counted it.
        guard_dry_rate: plain,
        /// OPTIONS to an address of ours that were answered before the script (`options_ping`); they
        /// are among `replied`.
        options_answered: plain,
        /// Messages that would have been shed, but for `overload_dry_run`.
        overload_dry: plain,
        /// Messages that were shed with 503 (`overload_reply`); they are among `replied`.
        overload_answered: plain,
        /// Times that the worker began to shed.
        overload_begun: plain,
        /// Times that a peer became known, or was seen to be still there.
        peers_learned: plain,
        /// Requests that `strict` had answered with 400 and its like, as they can't be forwarded; they
        /// are among `replied`.
        strict_answered: plain,
        /// Route runs that stopped with an error.
        route_failed: plain,
        /// Transmissions that were accepted and then refused by ring, kernel or device, as without
        /// a carrier. Where the message had been counted as sent, it is so no more.
        late_send_errors: plain,
        /// Messages with frames that a NIC hadn't given back when it went away: whether it had sent
        /// them isn't known, and they count as sent.
        tx_lost: plain,
        /// Times that a NIC was found to hold on to all frames of a transmit queue for a second.
        tx_faults: plain,
        /// Wake-ups of the transmit side.
        tx_kicks: plain,
        /// Nanoseconds that the worker didn't sleep.
        busy_ns: plain,
        /// Messages handed over to another worker by their Call-ID (`shard`), which gives them their
        /// verdicts.
        shard_out: plain,
        /// Messages that another worker handed over.
        shard_in: plain,
        /// Too much waits for the worker that its Call-ID belongs to (`shard`).
        drop_shard_full: verdict,
        /// Waited when corex was told to stop, and was still waiting when the time for that was over.
        drop_stopping: verdict,
        /// AF_XDP: a steered frame whose headers can't be read.
        drop_frame: verdict,
        /// AF_XDP: IPv4 header checksum wrong.
        drop_ip_checksum: verdict,
        /// AF_XDP: UDP checksum wrong, or missing over IPv6.
        drop_udp_checksum: verdict,
        /// AF_XDP: receive ring full (XDP_STATISTICS rx_ring_full).
        drop_rx_ring_full: verdict,
        /// AF_XDP: no free frame or frame too long (XDP_STATISTICS rx_dropped).
        drop_rx_dropped: verdict,
        /// Kernel socket: payload shorter than `probe_len`.
        drop_probe: verdict,
        /// The guard, where no XDP program judged: from a network that is blocked.
        drop_guard_block: verdict,
        /// The guard, where no XDP program judged: a source or a method that gets no answer (`stealth`).
        drop_guard_stealth: verdict,
        /// The guard, where no XDP program judged: what scanners send, or no SIP.
        drop_guard_signature: verdict,
        /// The guard, where no XDP program judged: more than a rate allows.
        drop_guard_rate: verdict,
        /// A keep-alive in a datagram that gets no answer (`keepalive`): line breaks or NULs.
        drop_keepalive: verdict,
        /// A STUN message that gets no answer: no Binding request, or a damaged one.
        drop_stun: verdict,
        /// The worker is overloaded (`overload`), and this goes first: a request outside dialogs from
        /// an unknown source, or at the second level anything from one.
        drop_overload: verdict,
        /// `rp_filter` 1 or 2: the way back to its source isn't by the interface that it came by, or
        /// there is none, or it wasn't known within a second.
        drop_rp_filter: verdict,
        /// A chain of `codec_in` or `codec_out` couldn't transform it; `codec_malformed` and its
        /// like say why.
        drop_codec: verdict,
        /// It needs the key of a device, and too much waits for keys already, of its source or of
        /// all.
        drop_key_queue_full: verdict,
        /// It needs the key of a device, and the keystore was away, or slow.
        drop_key_away: verdict,
        /// An enrolment that was refused; `enrol_malformed` and its like in the group `keys` have
        /// the reasons.
        drop_enrolment: verdict,
        /// An enrolment of a source that sends too many, or more than are looked at.
        drop_enrolment_limited: verdict,
        /// The hook set `msg_avp` to the empty string: nothing to parse or send.
        drop_hook_empty: verdict,
        /// The hook's result exceeds 65,535 bytes.
        drop_hook_too_long: verdict,
        /// After the hook, not a SIP message.
        drop_not_sip: verdict,
        /// `strict`: a request without Call-ID, From, To, CSeq or Via that gets no answer (an ACK, or
        /// one without Via; `strict` is "drop"), or such a reply.
        drop_header_missing: verdict,
        /// `strict`: the same with a second header field where there may be one.
        drop_header_doubled: verdict,
        /// `strict`: the same with a line or a value that doesn't follow the grammar.
        drop_header_malformed: verdict,
        /// `strict`: the same with a Content-Length that doesn't fit the body.
        drop_content_length: verdict,
        /// `strict`: a request, not answered, whose Request-URI is malformed, too long, or of an
        /// unknown scheme.
        drop_request_uri: verdict,
        /// `strict`: a request, not answered, of another version of SIP.
        drop_sip_version: verdict,
        /// `strict`: a request, not answered, whose Proxy-Require asks for what isn't here.
        drop_proxy_require: verdict,
        /// `strict`: a request, not answered, whose Max-Forwards is 0.
        drop_hops: verdict,
        /// `strict`: a request, not answered, that was forwarded from here before.
        drop_loop: verdict,
        /// The script said `drop`.
        drop_script: verdict,
        /// A request that the script didn't send anywhere.
        drop_request_unrouted: verdict,
        /// A reply that the script didn't send anywhere.
        drop_reply_unrouted: verdict,
        /// A reply with our Via on top, but not with the key of a request that we forwarded.
        drop_reply_forged: verdict,
        /// The script failed before it sent the message.
        drop_route_failed: verdict,
        /// A destination that isn't an address, or a name that couldn't be resolved.
        drop_send_unresolved: verdict,
        /// No listen socket of the destination's address family.
        drop_send_no_socket: verdict,
        /// A destination where corex itself listens: the message would come back.
        drop_send_self: verdict,
        /// A message to be sent as it is that came with a TTL (hop limit) of 1 or 0.
        drop_send_ttl: verdict,
        /// The message exceeds what one UDP datagram carries.
        drop_send_too_long: verdict,
        /// Too much waits to be sent by a stream, or to be looked up.
        drop_send_queue_full: verdict,
        /// A reply whose connection is gone: none is opened for replies.
        drop_send_no_connection: verdict,
        /// The transport can't be had.
        drop_send_no_transport: verdict,
        /// The kernel refused the datagram.
        drop_send_error: verdict,
        /// AF_XDP: handed to a NIC that didn't send it within a second (and so not among those
        /// sent), or inline: to be sent by a NIC that doesn't send.
        drop_tx_stuck: verdict,
        /// The hook failed, and `on_hook_failure` is "drop"; inline: `on_failure` is "closed".
        drop_hook_failed: verdict,
        /// Inline: the transmit ring or the packet memory is full.
        drop_ring_full: verdict,
        /// Inline: a fragment that overlaps another (RFC 5722).
        drop_fragment_overlap: verdict,
        /// Inline: fragments of a datagram that isn't complete in time.
        drop_fragment_timeout: verdict,
        /// Inline: a fragment beyond what is kept, or older ones that made room for it.
        drop_fragment_full: verdict,
        /// Inline: a fragment that was there already.
        drop_fragment_duplicate: verdict,
        /// Inline: a fragment that is malformed, or a datagram that would be too long.
        drop_fragment_malformed: verdict,
        /// Inline, closed: a datagram that came in fragments, with IPv6 extension headers that
        /// aren't walked.
        drop_ext_header: verdict,
        /// Inline: too long for the path after the hook, and not to be fragmented: the sender
        /// was told by ICMP.
        drop_too_big: verdict,
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
        // Padded, so that no two CPUs write into one line of the cache.
        let padded = |len: usize| (len * 8).next_multiple_of(64);
        assert_eq!(size_of::<KernelCounters>(), padded(KernelCounters::LEN));
        assert_eq!(size_of::<EgressCounters>(), padded(EgressCounters::LEN));
        assert_eq!(size_of::<DetourCounters>(), padded(DetourCounters::LEN));
        assert_eq!(size_of::<SocketCounters>(), padded(SocketCounters::LEN));
    }

    #[test]
    fn values_are_added_in_the_order_of_the_fields_and_padding_is_left_out() {
        let mut c = KernelCounters::default();
        let words = (1..).take(size_of::<KernelCounters>() / 8);
        c.add_values(words.clone());
        c.add_values(words);
        let values = c.values();
        assert_eq!((c.seen, c.steered), (2, 4));
        assert_eq!(
            values[KernelCounters::LEN - 1],
            2 * KernelCounters::LEN as u64
        );
    }

    #[test]
    fn a_name_that_tells_a_reason_is_a_verdicts() {
        let all = [
            &KernelCounters::ALL[..],
            &EgressCounters::ALL,
            &DetourCounters::ALL,
            &SocketCounters::ALL,
            &WorkerCounters::ALL,
        ];
        for counter in all.into_iter().flatten() {
            let is_verdict = counter.kind == Kind::Verdict;
            assert!(
                is_verdict || reason(counter.name).is_none(),
                "{}",
                counter.name
            );
        }
    }

    #[test]
    fn a_verdict_is_told_with_its_reason() {
        let verdict = |name| {
            let mut all = KernelCounters::ALL.iter();
            all.find(|counter| counter.name == name)?.verdict()
        };
        assert_eq!(verdict("drop_probe"), Some(("dropped", "probe")));
        assert_eq!(verdict("pass_not_udp"), Some(("passed", "not_udp")));
        assert_eq!(verdict("steered"), Some(("steered", "")));
        assert_eq!(verdict("seen"), None);
        assert_eq!(verdict("steered_bytes"), None);
    }

    #[test]
    fn inputs_and_verdicts_are_summed_and_nothing_else_is() {
        let c = WorkerCounters {
            socket_in: 1,
            stream_in: 2,
            merged: 10,
            drop_script: 20,
            bytes_in: 400,
            ..WorkerCounters::default()
        };
        assert_eq!((c.received(), c.decided()), (3, 30));
    }
}
