//! Inline mode's part of a worker: packets of a protected server, on their way in or out, with
//! the hook between.
//!
//! A packet that comes from the NIC goes on to the detour's end, and the other way round. What came
//! in by a queue of the NIC that has no AF_XDP socket comes from the detour's end, and goes back
//! there.
//! Packets that the hook doesn't want pass unchanged.

mod answer;
mod ends;
mod fragments;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use corex_common::counters::WorkerCounters;

use self::ends::Leg;
pub use self::{ends::End, fragments::Fragments};
use super::transmit::TransmitSide;
use crate::{
    kernel::inline::Heartbeats,
    keystore::{Held, QueueId, Returned},
    pipeline::{Inbound, Intercepted, Pipeline, Resumed, Shed},
};
use corex_packet as packet;
use corex_packet::{Manner, RewriteError, Rewriter, UdpChecksum, UdpFrame, View, Whole};
use corex_script::Direction;
use corex_sip::Transport;
use corex_xdp::{Frame, Umem};

/// How often incomplete datagrams are looked through for those that have taken too long.
const EXPIRE: Duration = Duration::from_millis(100);

/// What a worker has for inline mode, beside its queues: where each leads, and what is kept
/// between packets.
pub struct InlineSide {
    /// The number of its queues' unit.
    unit: u32,
    ends: Vec<Option<End>>,
    fragments: Arc<Fragments>,
    /// Whether who sends too much is told by ICMP.
    tells_too_big: bool,
    heartbeats: Heartbeats,
    expired: Instant,
    rewriter: Rewriter,
    /// An ICMP error.
    error: Vec<u8>,
    /// What the hook made of a message.
    replacement: Vec<u8>,
    /// The next identification for fragments of ours.
    identification: u32,
}

/// What is to be done with a packet.
enum Verdict {
    /// Nothing of it is ours to change.
    HandBack,
    /// It goes on as it is, but for a checksum that was left to hardware.
    Unchanged(UdpFrame),
    /// It has been sent or dropped, and counted.
    Done,
}

impl InlineSide {
    /// For a worker's queues, in their order. `identification`: where to begin; unlike that of
    /// other workers.
    pub fn new(
        unit: u32,
        ends: Vec<Option<End>>,
        fragments: Arc<Fragments>,
        tells_too_big: bool,
        heartbeats: Heartbeats,
        identification: u32,
    ) -> Self {
        Self {
            unit,
            ends,
            fragments,
            tells_too_big,
            heartbeats,
            expired: Instant::now(),
            rewriter: Rewriter::default(),
            error: Vec::new(),
            replacement: Vec::new(),
            identification,
        }
    }

    /// Adds the ends of queues that were added to the worker's.
    pub fn extend(&mut self, ends: impl IntoIterator<Item = Option<End>>) {
        self.ends.extend(ends);
    }

    /// Shows that worker `id` lives.
    pub fn beat(&self, id: usize) {
        self.heartbeats.beat(id);
    }

    /// Gives up what has taken too long to be complete.
    pub fn expire(&mut self, now: Instant, counters: &mut WorkerCounters) {
        if now.saturating_duration_since(self.expired) < EXPIRE {
            return;
        }
        self.expired = now;
        self.fragments.expire(now, counters);
    }

    /// Drops what is incomplete, as the worker ends.
    pub fn give_up(&mut self, counters: &mut WorkerCounters) {
        self.fragments.give_up(counters);
    }

    /// Takes one packet through the hook and sends it on. The frame itself is sent, or comes back.
    pub fn serve(
        &mut self,
        side: &mut TransmitSide,
        umem: &Umem,
        pipeline: &mut Pipeline,
        queue: usize,
        mut frame: Frame,
    ) -> Option<Frame> {
        pipeline.counters.xdp_in += 1;
        let Some(end) = self.ends.get(queue).and_then(Option::as_ref) else {
            pipeline.counters.drop_frame += 1;
            return Some(frame);
        };
        let packet = umem.packet(&frame);
        let view = View::parse(packet).ok();
        let mut end = end.leg(pipeline.context(), packet, view.as_ref());
        let Some(to) = side.able(end.to) else {
            pipeline.counters.drop_tx_stuck += 1;
            return Some(frame);
        };
        end.to = to;
        let mut road = Road { side, umem, end };
        if let Some(view) = &view
            && view.fragment.is_some()
        {
            serve_fragment(&mut road, self, pipeline, packet, view);
            return Some(frame);
        }
        let verdict = match &view {
            Some(view) => judge(&mut road, self, pipeline, (packet, view), false),
            None => Verdict::HandBack,
        };
        let counters = &mut pipeline.counters;
        if matches!(verdict, Verdict::Done) {
            return Some(frame);
        }
        if !road.side.has_room(end.to, umem, counters) {
            counters.drop_ring_full += 1;
            return Some(frame);
        }
        let packet = umem.packet_mut(&mut frame);
        if let Some(mac) = end.source_mac
            && let Some(to) = packet.get_mut(6..12)
        {
            to.copy_from_slice(&mac);
        }
        let mut cut = None;
        match (verdict, view) {
            (Verdict::Unchanged(datagram), _) => {
                packet::complete_checksum(packet, &datagram);
                counters.bytes_out += datagram.payload_len as u64;
                *road.arrived(counters) += 1;
            }
            (_, view) => {
                if let Some(view) = view {
                    if let Ok(datagram) = view.udp(packet) {
                        packet::complete_checksum(packet, &datagram);
                    } else if end.way == Direction::Outgoing {
                        cut = packet::cut_quote(packet, &view);
                    }
                }
                counters.handed_back += 1;
            }
        }
        if let Some(len) = cut {
            umem.set_packet(&mut frame, len);
            counters.quotes_cut += 1;
        }
        if road.side.push(end.to, umem, frame) {
            counters.out_xdp += 1;
            counters.out_in_place += 1;
        } else {
            counters.late_send_errors += 1;
        }
        None
    }
}

/// A way out for the packets of one queue.
struct Road<'a> {
    side: &'a mut TransmitSide,
    umem: &'a Umem,
    end: Leg,
}

impl Road<'_> {
    /// The counter of packets that were sent on.
    fn arrived<'c>(&self, counters: &'c mut WorkerCounters) -> &'c mut u64 {
        match self.end.way {
            Direction::Incoming => &mut counters.delivered,
            Direction::Outgoing => &mut counters.sent,
        }
    }

    /// Sends a frame on as it is.
    fn copy(&mut self, packet: &[u8], counters: &mut WorkerCounters) -> bool {
        let sent = match self.end.source_mac {
            None => self
                .side
                .send_copy(self.end.to, self.umem, packet, counters),
            Some(mac) => {
                let mut marked = packet.to_vec();
                if let Some(to) = marked.get_mut(6..12) {
                    to.copy_from_slice(&mac);
                }
                self.side
                    .send_copy(self.end.to, self.umem, &marked, counters)
            }
        };
        counters.out_xdp += u64::from(sent);
        sent
    }
}

/// Goes on with a packet that waited, and came back.
pub fn resume(
    inline: &mut InlineSide,
    side: &mut TransmitSide,
    umem: &Umem,
    pipeline: &mut Pipeline,
    returned: &Returned,
) {
    let Held::Arrival(arrival) = &returned.held else {
        return;
    };
    let packet = &arrival.bytes[..];
    let place = arrival.queue.map_or(0, |queue| queue.place);
    let end = inline.ends.get(place).and_then(Option::as_ref);
    let view = View::parse(packet).ok();
    let leg = end.map(|end| end.leg(pipeline.context(), packet, view.as_ref()));
    let Some(resumed) = pipeline.come_back(&returned.outcome) else {
        return;
    };
    let ready = leg.zip(view).and_then(|(leg, view)| {
        let datagram = view.udp(packet).ok()?;
        Some((leg, view, datagram, side.able(leg.to)?))
    });
    let Some((mut end, view, datagram, to)) = ready else {
        // The queue that it goes on by is gone, or stuck.
        pipeline.counters.drop_tx_stuck += 1;
        return;
    };
    end.to = to;
    let mut road = Road { side, umem, end };
    let original = Original {
        packet,
        view: &view,
        datagram: &datagram,
        was_fragmented: true,
    };
    match resumed {
        Resumed::Again => {
            let verdict = pipeline
                .again(|pipeline| judge(&mut road, inline, pipeline, (packet, &view), true));
            if !matches!(verdict, Verdict::Done) {
                let payload = datagram.payload(packet);
                replace(
                    &mut road,
                    inline,
                    &original,
                    payload,
                    &mut pipeline.counters,
                );
            }
        }
        Resumed::Enrolled(enrolled) => {
            let source = arrival.source;
            if let Some(acknowledgement) = pipeline.acknowledge(enrolled) {
                let datagram = (packet, &datagram);
                answer(&mut road, inline, datagram, &acknowledgement, pipeline);
            }
            match pipeline.first_message(enrolled, source) {
                Some(message) => {
                    replace(
                        &mut road,
                        inline,
                        &original,
                        &message,
                        &mut pipeline.counters,
                    );
                }
                None => pipeline.counters.replied += 1,
            }
        }
    }
}

/// Sends a datagram to who sent one to the server, by the NIC. Returns whether it could.
fn answer(
    road: &mut Road<'_>,
    inline: &mut InlineSide,
    (packet, datagram): (&[u8], &UdpFrame),
    payload: &[u8],
    pipeline: &mut Pipeline,
) -> bool {
    let end = inline.ends.get(road.end.from).and_then(Option::as_ref);
    let Some(end) = end.filter(|_| road.end.way == Direction::Incoming) else {
        return false;
    };
    let nic = if end.is_nic { end.place } else { end.other };
    inline.identification = inline.identification.wrapping_add(1);
    let settings = &pipeline.context().config.settings.datagrams;
    let frame = &mut inline.error;
    let made = answer::frame(
        packet,
        datagram,
        payload,
        settings,
        inline.identification,
        frame,
    );
    let counters = &mut pipeline.counters;
    let is_sent = made.is_ok()
        && road
            .side
            .able(nic)
            .is_some_and(|nic| road.side.send_copy(nic, road.umem, frame, counters));
    counters.out_xdp += u64::from(is_sent);
    is_sent
}

fn serve_fragment(
    road: &mut Road<'_>,
    inline: &mut InlineSide,
    pipeline: &mut Pipeline,
    packet: &[u8],
    view: &View,
) {
    let now = road.side.now();
    let fragments = &inline.fragments;
    let whole = fragments.push(road.end.way, packet, view, now, &mut pipeline.counters);
    let Some(whole) = whole else { return };
    let verdict = match View::parse(&whole.frame) {
        Ok(view) => judge(road, inline, pipeline, (&whole.frame, &view), true),
        // As the XDP program does with one that isn't fragmented.
        Err(_) if pipeline.context().config.settings.corex.inline.is_closed => {
            pipeline.counters.drop_ext_header += 1;
            Verdict::Done
        }
        Err(_) => Verdict::HandBack,
    };
    let counters = &mut pipeline.counters;
    match verdict {
        Verdict::Done => counters.merged += whole.pieces.len() as u64 - 1,
        Verdict::HandBack => {
            for piece in &whole.pieces {
                if road.copy(piece, counters) {
                    counters.handed_back += 1;
                } else {
                    counters.drop_ring_full += 1;
                }
            }
        }
        Verdict::Unchanged(datagram) => {
            send_pieces(road, &whole, datagram.payload_len, counters);
        }
    }
}

/// The hook has nothing to change: the datagram goes on in the pieces that it came in.
fn send_pieces(
    road: &mut Road<'_>,
    whole: &Whole,
    payload_len: usize,
    counters: &mut WorkerCounters,
) {
    counters.merged += whole.pieces.len() as u64 - 1;
    if whole.pieces.iter().all(|piece| road.copy(piece, counters)) {
        counters.bytes_out += payload_len as u64;
        *road.arrived(counters) += 1;
    } else {
        counters.drop_ring_full += 1;
    }
}

/// Looks whether a packet is for the hook, and runs it.
fn judge(
    road: &mut Road<'_>,
    inline: &mut InlineSide,
    pipeline: &mut Pipeline,
    (packet, view): (&[u8], &View),
    was_fragmented: bool,
) -> Verdict {
    let Ok(datagram) = view.udp(packet) else {
        return Verdict::HandBack;
    };
    let own = match road.end.way {
        Direction::Incoming => datagram.dst,
        Direction::Outgoing => datagram.src,
    };
    let Some(socket) = pipeline.context().find(own) else {
        return Verdict::HandBack;
    };
    // What is damaged isn't decoded: the server's stack drops it, and counts that as ever.
    if !packet::verify_ipv4_header(packet, &datagram)
        || packet::verify_udp(packet, &datagram) == UdpChecksum::Bad
    {
        return Verdict::HandBack;
    }
    let inbound = Inbound {
        payload: datagram.payload(packet),
        source: datagram.src,
        local: datagram.dst,
        socket,
        transport: Transport::Udp,
        connection: None,
        ttl: None,
    };
    // The program has judged what came whole.
    if was_fragmented && road.end.way == Direction::Incoming && pipeline.refuses(&inbound) {
        return Verdict::Done;
    }
    if road.end.way == Direction::Incoming {
        match pipeline.shed(&inbound) {
            Shed::No => {}
            // Its sender is answered where the packet came from, or not at all.
            Shed::Replied(to) if to == inbound.source => {
                let reply = pipeline.overload.reply().to_vec();
                let is_sent = answer(road, inline, (packet, &datagram), &reply, pipeline);
                let counters = &mut pipeline.counters;
                counters.overload_answered += u64::from(is_sent);
                *match is_sent {
                    true => &mut counters.replied,
                    false => &mut counters.drop_overload,
                } += 1;
                return Verdict::Done;
            }
            Shed::Silently | Shed::Replied(_) => {
                pipeline.counters.drop_overload += 1;
                return Verdict::Done;
            }
        }
    }
    // Taken, since its owner is used while it is read.
    let mut replacement = std::mem::take(&mut inline.replacement);
    let intercepted = pipeline.intercept(inbound, road.end.way, &mut replacement);
    let verdict = match intercepted {
        Intercepted::Unchanged => Verdict::Unchanged(datagram),
        Intercepted::Dropped => {
            if let Some(notice) = pipeline.take_notice() {
                answer(road, inline, (packet, &datagram), &notice, pipeline);
            }
            Verdict::Done
        }
        Intercepted::Waits(wait) => {
            let queue = QueueId {
                unit: inline.unit,
                place: road.end.from,
            };
            pipeline.hold(wait, &inbound, Some((packet, queue)));
            Verdict::Done
        }
        Intercepted::Replaced => {
            let original = Original {
                packet,
                view,
                datagram: &datagram,
                was_fragmented,
            };
            replace(
                road,
                inline,
                &original,
                &replacement,
                &mut pipeline.counters,
            );
            Verdict::Done
        }
    };
    inline.replacement = replacement;
    verdict
}

/// A datagram as it came.
struct Original<'a> {
    packet: &'a [u8],
    view: &'a View,
    datagram: &'a UdpFrame,
    was_fragmented: bool,
}

/// Sends what the hook made of a datagram, and counts it.
fn replace(
    road: &mut Road<'_>,
    inline: &mut InlineSide,
    original: &Original<'_>,
    payload: &[u8],
    counters: &mut WorkerCounters,
) {
    let end = road.end;
    inline.identification = inline.identification.wrapping_add(1);
    let manner = Manner {
        src_mac: end.source_mac,
        mtu: end.mtu,
        identification: inline.identification,
        // The stack that gets it takes fragments of any kind; one that has sent fragments has
        // heeded an MTU already.
        may_fragment: end.way == Direction::Incoming
            || !inline.tells_too_big
            || original.was_fragmented,
    };
    let (side, umem) = (&mut *road.side, road.umem);
    let result = inline.rewriter.replace_payload(
        original.packet,
        original.view,
        original.datagram,
        payload,
        &manner,
        &mut |frame| side.send_copy(end.to, umem, frame, counters),
    );
    match result {
        Ok(sent) => {
            counters.out_xdp += sent.frames as u64;
            counters.bytes_out += payload.len() as u64;
            *road.arrived(counters) += 1;
        }
        Err(RewriteError::Refused { sent }) => {
            counters.out_xdp += sent as u64;
            counters.drop_ring_full += 1;
        }
        Err(RewriteError::TooLong(_)) => counters.drop_send_too_long += 1,
        Err(RewriteError::TooBig) => {
            counters.drop_too_big += 1;
            tell(road, inline, original, payload.len(), counters);
        }
        Err(RewriteError::OtherFrame) => counters.drop_frame += 1,
    }
}

/// Tells the server's stack that its datagram is too long for the path (RFC 1191, RFC 8201).
/// What the hook added is taken off the MTU that it is told.
fn tell(
    road: &mut Road<'_>,
    inline: &mut InlineSide,
    original: &Original<'_>,
    len: usize,
    counters: &mut WorkerCounters,
) {
    let added = len.saturating_sub(original.datagram.payload_len);
    let mtu = road.end.mtu.saturating_sub(added);
    let from = original.datagram.dst.ip();
    let error = &mut inline.error;
    if !packet::too_big(original.packet, original.view, mtu, from, error) {
        return;
    }
    if let (Some(mac), Some(to)) = (road.end.back_mac, error.get_mut(6..12)) {
        to.copy_from_slice(&mac);
    }
    // Back the way that it came: into the stack.
    if road
        .side
        .send_copy(road.end.from, road.umem, error, counters)
    {
        counters.out_xdp += 1;
    }
}
