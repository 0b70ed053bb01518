//! Proxy mode's part of a worker: one frame's way from its queue through the pipeline, and out.

use corex_common::meta::FrameMeta;

use super::{
    egress::FrameEgress,
    listen,
    shard::Shard,
    socket::KernelSocket,
    transmit::TransmitSide,
    xdp_datagram::{self, UnreadableFrame},
};
use crate::pipeline::{Inbound, Pipeline};
use corex_sip::Transport;
use corex_xdp::{Frame, Umem};

/// Takes the message in one steered frame through the pipeline and sends what comes of it, or hands
/// it over to another worker. The frame, which is from the queue of that index, is sent itself, or comes back.
pub fn serve(
    side: &mut TransmitSide,
    umem: &Umem,
    cookie: u32,
    sockets: &[KernelSocket],
    pipeline: &mut Pipeline,
    shard: &mut Shard,
    (queue, mut frame): (usize, Frame),
) -> Option<Frame> {
    pipeline.counters.xdp_in += 1;
    let read = xdp_datagram::read(umem, &frame, cookie);
    // A driver without metadata support would hand a later packet's reader this record.
    umem.wipe_before(&mut frame, FrameMeta::LEN);
    let steered = match read {
        Ok(steered) => steered,
        Err(reason) => {
            let counters = &mut pipeline.counters;
            *match reason {
                UnreadableFrame::Frame => &mut counters.drop_frame,
                UnreadableFrame::IpChecksum => &mut counters.drop_ip_checksum,
                UnreadableFrame::UdpChecksum => &mut counters.drop_udp_checksum,
            } += 1;
            return Some(frame);
        }
    };
    let datagram = &steered.datagram;
    let arrived_by = side.queues.get(queue).map_or(0, |q| q.bound().ifindex);
    let source = listen::scoped(datagram.src, arrived_by);
    let local = listen::scoped(datagram.dst, arrived_by);
    let socket = steered.socket.or_else(|| pipeline.context().find(local));
    let Some(socket) = socket else {
        pipeline.counters.drop_frame += 1;
        return Some(frame);
    };
    let packet = umem.packet(&frame);
    let inbound = Inbound {
        payload: datagram.payload(packet),
        source,
        local,
        socket,
        transport: Transport::Udp,
        connection: None,
        ttl: Some(datagram.ttl),
    };
    // What a rate is over goes no further than its route.
    if !steered.is_limited && shard.hand_over(&inbound, &mut pipeline.counters) {
        return Some(frame);
    }
    let settings = pipeline.context().config.settings.datagrams;
    let mut egress = FrameEgress::new(side, umem, sockets, packet, datagram, settings);
    pipeline.is_limited = steered.is_limited;
    pipeline.receive(inbound, &mut egress);
    match egress.finish() {
        Some(in_place) => {
            let counters = &mut pipeline.counters;
            in_place.send(side, umem, sockets, frame, &steered, counters)
        }
        None => Some(frame),
    }
}
