//! Datagrams that leave a kernel socket together: to one peer, all as long as the first, so that the
//! kernel takes them in one call, and its stack or the NIC divides them (udp(7), UDP_SEGMENT).
//!
//! The first one is sent at once, so what is wrong with the way to the peer its script is told. What
//! the kernel refuses of those behind it, the books are told: see [`Segments::flush`].

use std::{io, net::SocketAddr};

use corex_common::counters::WorkerCounters;

use super::{
    departures::{Verdicts, take_back},
    egress::SocketEgress,
    socket::KernelSocket,
};
use crate::pipeline::{Egress, Outbound, TransmitError, same};
use corex_script::SocketId;

/// Datagrams that the kernel takes at a time (UDP_MAX_SEGMENTS in its linux/udp.h was 64 at first).
const MOST: usize = 64;
/// Bytes of them all: what one IP packet carries, and IPv6's headers.
const MOST_BYTES: usize = 65_535 - 48;
/// Longer ones the kernel may have to fragment, which it doesn't for several together: what fits an
/// Ethernet of 1,500 bytes.
const LONGEST: usize = 1_452;
/// Where the kernel has refused, so many datagrams are sent by themselves before it is tried again.
const REST: u32 = 4_096;
/// A datagram whose message has no verdict that could be taken back.
const NONE: u8 = u8::MAX;

/// What datagrams have in common that leave together.
#[derive(Clone, Copy, Debug)]
struct Way {
    socket: SocketId,
    local: SocketAddr,
    to: SocketAddr,
    ttl: u8,
    len: usize,
}

impl Way {
    fn of(out: &Outbound<'_>) -> Self {
        Self {
            socket: out.socket,
            local: out.local,
            to: out.to,
            ttl: out.ttl,
            len: out.payload.len(),
        }
    }

    #[inline]
    fn is_of(&self, out: &Outbound<'_>) -> bool {
        self.len == out.payload.len()
            && self.ttl == out.ttl
            && self.socket == out.socket
            && same(&self.to, &out.to)
            && same(&self.local, &out.local)
    }
}

/// The datagrams of one worker that wait to leave together.
#[derive(Debug, Default)]
pub struct Segments {
    /// That of the last datagram that was sent.
    way: Option<Way>,
    bytes: Vec<u8>,
    /// For each datagram, what its message counts as: see `departures`.
    marks: Vec<u8>,
    /// Of those at hand, the ones of the message that is being handled.
    unmarked: usize,
    /// A datagram of that message has left already: its verdict stays whatever becomes of others.
    has_left: bool,
    before: Verdicts,
    rest: u32,
}

impl Segments {
    /// The way out for one more message.
    pub fn egress<'a>(
        &'a mut self,
        sockets: &'a [KernelSocket],
        counters: &WorkerCounters,
    ) -> SegmentEgress<'a> {
        self.before = Verdicts::of(counters);
        self.has_left = false;
        SegmentEgress {
            segments: self,
            direct: SocketEgress { sockets },
        }
    }

    /// The message has its verdict.
    pub fn settle(&mut self, counters: &WorkerCounters) {
        if self.unmarked == 0 || self.has_left {
            self.unmarked = 0;
            return;
        }
        // A message of several datagrams is judged by its first.
        let first = self.marks.len().saturating_sub(self.unmarked);
        self.unmarked = 0;
        if let Some(mark) = self.before.mark_until(&Verdicts::of(counters))
            && let Some(place) = self.marks.get_mut(first)
        {
            *place = mark;
        }
    }

    /// Hands the kernel what is at hand. Datagrams that it refuses are counted, and their messages
    /// with these, which were taken for sent, as dropped.
    pub fn flush(&mut self, sockets: &[KernelSocket], counters: &mut WorkerCounters) {
        if !self.marks.is_empty() {
            self.send(sockets, counters);
            self.bytes.clear();
            self.marks.clear();
            self.unmarked = 0;
        }
        self.way = None;
    }

    fn send(&mut self, sockets: &[KernelSocket], counters: &mut WorkerCounters) {
        let Some(way) = self.way else { return };
        let socket = sockets.get(usize::from(way.socket.0));
        let send = |bytes: &[u8], segment| match socket {
            Some(socket) => socket.send(bytes, way.to, Some(way.local), way.ttl, segment),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if let Err(error) = send(&self.bytes, Some(way.len)) {
            tracing::debug!(%error, to = %way.to, "datagrams refused together, sent one by one");
            self.rest = REST;
            for (payload, mark) in self.bytes.chunks(way.len.max(1)).zip(&self.marks) {
                let Err(error) = send(payload, None) else {
                    continue;
                };
                tracing::debug!(%error, to = %way.to, "kernel socket refused");
                counters.late_send_errors += 1;
                if take_back(counters, *mark) {
                    counters.drop_send_error += 1;
                }
            }
        }
    }

    /// Whether a datagram may wait for others.
    #[inline]
    fn takes(&self, out: &Outbound<'_>) -> bool {
        let len = out.payload.len();
        self.rest == 0
            && self.way.as_ref().is_some_and(|way| way.is_of(out))
            && (1..=LONGEST).contains(&len)
            && self.marks.len() < MOST
            && self.bytes.len() + len <= MOST_BYTES
    }
}

/// The way out by kernel sockets for one message of a batch.
pub struct SegmentEgress<'a> {
    segments: &'a mut Segments,
    direct: SocketEgress<'a>,
}

impl Egress for SegmentEgress<'_> {
    fn transmit(
        &mut self,
        out: Outbound<'_>,
        counters: &mut WorkerCounters,
    ) -> Result<(), TransmitError> {
        let segments = &mut *self.segments;
        if segments.takes(&out) {
            segments.bytes.extend_from_slice(out.payload);
            segments.marks.push(NONE);
            segments.unmarked += 1;
            counters.out_socket += 1;
            return Ok(());
        }
        segments.rest = segments.rest.saturating_sub(1);
        segments.has_left |= segments.unmarked > 0;
        segments.flush(self.direct.sockets, counters);
        self.direct.transmit(out, counters)?;
        segments.has_left = true;
        segments.way = Some(Way::of(&out));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::socket::ReceiveBuffers;
    use crate::pipeline::{INITIAL_TTL, Listener};
    use corex_script::settings::DatagramSettings;
    use corex_sip::Transport;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn open(address: &str) -> KernelSocket {
        let listener = Listener::new(Transport::Udp, address.parse().unwrap());
        KernelSocket::open(&listener, &DatagramSettings::default()).unwrap()
    }

    /// A message that sends these datagrams: peer, length and TTL; and counts as sent.
    type Message = Vec<(usize, usize, u8)>;

    fn payload(number: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (at + number * 31) as u8).collect()
    }

    /// Datagrams, each with its TTL.
    type Datagrams = Vec<(Vec<u8>, Option<u8>)>;

    /// What each peer gets of messages, and the books.
    fn sent(messages: &[Message], peers: &[KernelSocket]) -> (Vec<Datagrams>, WorkerCounters) {
        let sockets = [open("127.0.0.1:0")];
        let mut segments = Segments::default();
        let mut counters = WorkerCounters::default();
        let mut number = 0;
        for message in messages {
            let mut egress = segments.egress(&sockets, &counters);
            for (peer, len, ttl) in message {
                number += 1;
                let out = Outbound {
                    payload: &payload(number, *len),
                    socket: SocketId(0),
                    local: sockets[0].address(),
                    to: peers[*peer].address(),
                    ttl: *ttl,
                };
                egress.transmit(out, &mut counters).unwrap();
            }
            counters.sent += 1;
            segments.settle(&counters);
        }
        segments.flush(&sockets, &mut counters);
        let mut buffers = ReceiveBuffers::new();
        let all: usize = messages.iter().map(Vec::len).sum();
        let mut got = vec![Vec::new(); peers.len()];
        let until = Instant::now() + Duration::from_secs(60);
        while got.iter().map(Vec::len).sum::<usize>() < all && Instant::now() < until {
            for (peer, got) in peers.iter().zip(&mut got) {
                peer.receive(&mut buffers, |it| got.push((it.payload.to_vec(), it.ttl)));
            }
        }
        (got, counters)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_peer_gets_its_datagrams_in_order_whatever_leaves_together(
            messages in proptest::collection::vec(
                proptest::collection::vec(
                    (0..2_usize, prop_oneof![4 => Just(300_usize), 1 => 0..1600_usize],
                     prop_oneof![6 => Just(INITIAL_TTL), 1 => Just(9)]),
                    0..4,
                ),
                0..90,
            ),
        ) {
            let peers = [open("127.0.0.1:0"), open("127.0.0.1:0")];
            let mut expected = vec![Vec::new(); peers.len()];
            for (number, (peer, len, ttl)) in messages.iter().flatten().enumerate() {
                expected[*peer].push((payload(number + 1, *len), Some(*ttl)));
            }
            let (got, counters) = sent(&messages, &peers);
            prop_assert_eq!(got, expected);
            prop_assert_eq!(counters.out_socket as usize, messages.iter().flatten().count());
            prop_assert_eq!(counters.sent as usize, messages.len());
            prop_assert_eq!((counters.late_send_errors, counters.drop_send_error), (0, 0));
        }
    }

    #[test]
    fn datagrams_of_one_length_to_one_peer_leave_in_one_call() {
        let peers = [open("127.0.0.1:0")];
        let sockets = [open("127.0.0.1:0")];
        let mut segments = Segments::default();
        let mut counters = WorkerCounters::default();
        let mut buffers = ReceiveBuffers::new();
        let mut at_once = 0;
        for number in 0..10 {
            let mut egress = segments.egress(&sockets, &counters);
            let out = Outbound {
                payload: &payload(number, 400),
                socket: SocketId(0),
                local: sockets[0].address(),
                to: peers[0].address(),
                ttl: INITIAL_TTL,
            };
            egress.transmit(out, &mut counters).unwrap();
            peers[0].receive(&mut buffers, |_| at_once += 1);
        }
        assert_eq!((at_once, segments.marks.len()), (1, 9));
        segments.flush(&sockets, &mut counters);
        assert!(segments.marks.is_empty());
        assert_eq!(segments.rest, 0, "the kernel took them together");
    }

    #[test]
    fn a_message_of_which_something_left_keeps_its_verdict() {
        let sockets = [open("127.0.0.1:0")];
        let mut segments = Segments::default();
        let mut counters = WorkerCounters::default();
        let mut egress = segments.egress(&sockets, &counters);
        for number in 0..3 {
            let out = Outbound {
                payload: &payload(number, 400),
                socket: SocketId(0),
                local: sockets[0].address(),
                to: sockets[0].address(),
                ttl: INITIAL_TTL,
            };
            egress.transmit(out, &mut counters).unwrap();
        }
        counters.sent += 1;
        segments.settle(&counters);
        segments.flush(&[], &mut counters);
        assert_eq!((counters.sent, counters.drop_send_error), (1, 0));
        assert_eq!(counters.late_send_errors, 2);
    }

    #[test]
    fn what_the_kernel_refuses_later_takes_the_verdicts_of_its_messages_back() {
        let sockets = [open("127.0.0.1:0")];
        let mut segments = Segments::default();
        let mut counters = WorkerCounters::default();
        for number in 0..3 {
            let mut egress = segments.egress(&sockets, &counters);
            let out = Outbound {
                payload: &payload(number, 400),
                socket: SocketId(0),
                local: sockets[0].address(),
                to: sockets[0].address(),
                ttl: INITIAL_TTL,
            };
            egress.transmit(out, &mut counters).unwrap();
            counters.replied += 1;
            segments.settle(&counters);
        }
        // The socket is gone, as the strictest of refusals.
        segments.flush(&[], &mut counters);
        assert_eq!((counters.replied, counters.drop_send_error), (1, 2));
        assert_eq!((counters.late_send_errors, counters.decided()), (2, 3));
        assert_eq!(segments.rest, REST);
    }
}
