//! The two ways out for a message: by kernel socket, or by AF_XDP with the kernel socket
//! behind it.

use std::{io, net::SocketAddr};

use corex_common::{
    counters::WorkerCounters,
    ip::{ETHERNET_LEN, MAX_UDP_PAYLOAD},
};

use super::{
    socket::KernelSocket,
    transmit::{TransmitSide, Way},
    xdp_datagram::XdpDatagram,
};
use crate::pipeline::{Egress, Outbound, TransmitError};
use corex_packet as packet;
use corex_packet::{Envelope, UdpFrame};
use corex_script::{SocketId, settings::DatagramSettings};
use corex_xdp::{Frame, Umem};

/// The way out by kernel sockets.
pub struct SocketEgress<'a> {
    /// One for each listener, in order.
    pub sockets: &'a [KernelSocket],
}

impl Egress for SocketEgress<'_> {
    fn transmit(
        &mut self,
        out: Outbound<'_>,
        counters: &mut WorkerCounters,
    ) -> Result<(), TransmitError> {
        if out.payload.len() > MAX_UDP_PAYLOAD {
            return Err(TransmitError::TooLong);
        }
        let kernel = |error: io::Error| {
            if error.raw_os_error() == Some(libc::EMSGSIZE) {
                return TransmitError::TooLong;
            }
            tracing::debug!(%error, to = %out.to, "kernel socket refused");
            TransmitError::Kernel(error.kind())
        };
        let socket = self
            .sockets
            .get(usize::from(out.socket.0))
            .ok_or(TransmitError::Kernel(io::ErrorKind::NotFound))?;
        socket
            .send(out.payload, out.to, Some(out.local), out.ttl, None)
            .map_err(kernel)?;
        counters.out_socket += 1;
        Ok(())
    }
}

/// A message that leaves in the frame that it came in, once its handling ends. There is a
/// place in the ring for it, and room for the headers.
pub struct InPlace {
    queue: usize,
    envelope: Envelope,
    socket: SocketId,
    local: SocketAddr,
}

/// One received frame's way out by AF_XDP.
pub struct FrameEgress<'a> {
    side: &'a mut TransmitSide,
    umem: &'a Umem,
    sockets: SocketEgress<'a>,
    /// The payload in the received frame.
    original: &'a [u8],
    /// Offset of the payload in that frame.
    offset: usize,
    settings: DatagramSettings,
    pending: Option<InPlace>,
}

impl<'a> FrameEgress<'a> {
    /// The way out while `received`, a datagram in `packet`, is handled.
    #[inline]
    pub fn new(
        side: &'a mut TransmitSide,
        umem: &'a Umem,
        sockets: &'a [KernelSocket],
        packet: &'a [u8],
        received: &UdpFrame,
        settings: DatagramSettings,
    ) -> Self {
        Self {
            side,
            umem,
            sockets: SocketEgress { sockets },
            original: received.payload(packet),
            offset: received.payload_range().start,
            settings,
            pending: None,
        }
    }

    /// The way out for a message that is in no received frame.
    pub fn apart(
        side: &'a mut TransmitSide,
        umem: &'a Umem,
        sockets: &'a [KernelSocket],
        settings: DatagramSettings,
    ) -> Self {
        Self {
            side,
            umem,
            sockets: SocketEgress { sockets },
            // No room for headers: nothing leaves in place.
            original: &[],
            offset: 0,
            settings,
            pending: None,
        }
    }

    /// Ends the handling: the last unchanged message takes the received frame.
    #[inline]
    pub fn finish(self) -> Option<InPlace> {
        self.pending
    }

    /// Sends what waits for the received frame by copy, since another message follows.
    fn send_pending(&mut self, counters: &mut WorkerCounters) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let original = self.original;
        if !self.copy(pending.queue, &pending.envelope, original, counters) {
            pending.send_by_socket(&mut self.sockets, original, counters);
        }
    }

    /// Builds the message in a fresh frame. False: no frame or no place in the ring.
    fn copy(
        &mut self,
        queue: usize,
        envelope: &Envelope,
        payload: &[u8],
        counters: &mut WorkerCounters,
    ) -> bool {
        if !self.side.has_room(queue, self.umem, counters) {
            return false;
        }
        let Some(mut frame) = self.side.take_frame(self.umem, counters) else {
            return false;
        };
        let built = packet::build_udp(self.umem.room_mut(&mut frame), envelope, payload);
        let Ok(len) = built else {
            self.side.pool.put(frame);
            return false;
        };
        self.umem.set_packet(&mut frame, len);
        let sent = self.side.push(queue, self.umem, frame);
        counters.out_xdp += u64::from(sent);
        sent
    }
}

impl Egress for FrameEgress<'_> {
    fn transmit(
        &mut self,
        out: Outbound<'_>,
        counters: &mut WorkerCounters,
    ) -> Result<(), TransmitError> {
        if self.pending.is_some() {
            self.send_pending(counters);
        }
        let mut src = out.local;
        let (src_mac, dst_mac, hop_mtu, queue) = match self.side.way(&out) {
            Way::Queue(hop, queue) => {
                if src.ip().is_unspecified() {
                    src.set_ip(hop.preferred_source);
                }
                (hop.source_mac, hop.destination_mac, hop.mtu, queue)
            }
            Way::Unknown => {
                counters.out_socket_no_next_hop += 1;
                return self.sockets.transmit(out, counters);
            }
            Way::NoQueue => {
                counters.out_socket_no_queue += 1;
                return self.sockets.transmit(out, counters);
            }
        };
        let envelope = Envelope {
            src_mac,
            dst_mac,
            src,
            dst: out.to,
            ttl: out.ttl,
            identification: (!self.settings.dont_fragment).then(|| self.side.identify()),
            traffic_class: self.settings.traffic_class,
        };
        let frame_len = envelope.headers_len() + out.payload.len();
        let mtu = self.side.mtu(queue);
        if frame_len - ETHERNET_LEN > hop_mtu.min(mtu) as usize || frame_len > self.umem.capacity()
        {
            counters.out_socket_too_big += 1;
            return self.sockets.transmit(out, counters);
        }
        if std::ptr::eq(out.payload, self.original)
            && envelope.headers_len() <= self.offset
            && self.side.has_room(queue, self.umem, counters)
        {
            self.pending = Some(InPlace {
                queue,
                envelope,
                socket: out.socket,
                local: out.local,
            });
            return Ok(());
        }
        if self.copy(queue, &envelope, out.payload, counters) {
            return Ok(());
        }
        counters.out_socket_ring_full += 1;
        self.sockets.transmit(out, counters)
    }
}

impl InPlace {
    /// Rewrites the headers around the payload and queues the frame. `None`: it is on its
    /// way; else the frame, to be used again.
    #[inline]
    pub fn send(
        self,
        side: &mut TransmitSide,
        umem: &Umem,
        sockets: &[KernelSocket],
        mut frame: Frame,
        steered: &XdpDatagram,
        counters: &mut WorkerCounters,
    ) -> Option<Frame> {
        let received = &steered.datagram;
        let able = side.able(self.queue);
        let Some(queue) = able.filter(|queue| side.has_room(*queue, umem, counters)) else {
            let payload = received.payload(umem.packet(&frame));
            self.send_by_socket(&mut SocketEgress { sockets }, payload, counters);
            return Some(frame);
        };
        let rewritten = packet::rewrite_in_place(
            umem.packet_mut(&mut frame),
            received.payload_range(),
            &self.envelope,
            steered.payload_sum,
        );
        let Ok(range) = rewritten else {
            // Room was checked, so this says that a check and its use have drifted apart.
            let payload = received.payload(umem.packet(&frame));
            self.send_by_socket(&mut SocketEgress { sockets }, payload, counters);
            return Some(frame);
        };
        umem.advance(&mut frame, range.start);
        umem.set_packet(&mut frame, range.len());
        if side.push(queue, umem, frame) {
            counters.out_xdp += 1;
            counters.out_in_place += 1;
        } else {
            counters.late_send_errors += 1;
        }
        None
    }

    fn send_by_socket(
        &self,
        sockets: &mut SocketEgress<'_>,
        payload: &[u8],
        counters: &mut WorkerCounters,
    ) {
        counters.out_socket_ring_full += 1;
        let out = Outbound {
            payload,
            socket: self.socket,
            local: self.local,
            to: self.envelope.dst,
            ttl: self.envelope.ttl,
        };
        if sockets.transmit(out, counters).is_err() {
            counters.late_send_errors += 1;
        }
    }
}
