//! A worker: one thread that takes messages from its AF_XDP queues and its kernel sockets
//! and runs each to completion. It shares no lock with anybody.

use std::{
    io::Read as _,
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use corex_common::meta::FrameMeta;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;

use super::{
    egress::{FrameEgress, SocketEgress, TransmitSide},
    inline::{self, InlineSide},
    socket::{KernelSocket, ReceiveBuffers},
    steered::{self, Unreadable},
    stream::StreamMessage,
};
use crate::{
    kernel::{heap::HeapUse, worker_counters::WorkerSlots},
    pipeline::{Inbound, Pipeline, Shared},
    script::SocketId,
    telemetry::gauges::{QueueGauges, WorkerLink, add, set},
};
use corex_sip::Transport;
use corex_xdp::{Frame, Umem};

/// Frames taken from a queue before the others get their turn.
const BATCH: usize = 64;
/// Rounds of AF_XDP work between two looks at the kernel sockets, under load.
const ROUNDS: u32 = 16;
/// An idle worker wakes up so often to publish the rings' drop counters.
const IDLE: Duration = Duration::from_millis(500);
/// An idle worker with packets that the kernel didn't take yet offers them again so soon.
const BACKLOG: Duration = Duration::from_millis(1);
/// How long a stopping worker waits for frames that the NIC still holds.
const DRAIN: Duration = Duration::from_millis(200);
/// Frames kept for sending; the rest waits in fill rings.
const SEND_RESERVE: usize = 512;

/// The AF_XDP part of a worker.
pub struct XdpSide {
    /// Rings, free frames, next hops.
    pub transmit: TransmitSide,
    /// Packet memory; behind the rings, so that it goes last.
    pub umem: Umem,
    /// Marks the XDP program's records.
    pub cookie: u32,
    /// How full the queues are, in the order of the transmit side's.
    pub gauges: Vec<Arc<QueueGauges>>,
    /// What is added in inline mode.
    pub inline: Option<InlineSide>,
}

/// A worker, ready to run.
pub struct Worker {
    /// Its number, from 0.
    pub id: usize,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The configuration to go by.
    pub latest: Arc<ArcSwap<Shared>>,
    /// One kernel socket for each listener, in order.
    pub sockets: Vec<KernelSocket>,
    /// Messages that came by streams.
    pub inbox: mpsc::Receiver<StreamMessage>,
    /// AF_XDP, where it is used.
    pub xdp: Option<XdpSide>,
    /// Where the counters are published.
    pub slots: WorkerSlots,
    /// How full things are, and what is asked of the worker.
    pub link: Arc<WorkerLink>,
    /// Set: stop.
    pub stop: Arc<AtomicBool>,
    /// A byte here ends the worker's sleep.
    pub wake: UnixStream,
}

impl Worker {
    /// Runs until told to stop, then handles what has already arrived.
    pub fn run(mut self) {
        let mut buffers = ReceiveBuffers::new();
        let mut rounds = 0;
        let mut statistics_at = Instant::now();
        let mut awake_since = statistics_at;
        while !self.stop.load(Ordering::Relaxed) {
            let busy = self.serve_queues();
            rounds += 1;
            if busy && rounds < ROUNDS {
                continue;
            }
            rounds = 0;
            self.pipeline.follow(&self.latest.load());
            self.link.turns.fetch_add(1, Ordering::Relaxed);
            if self.link.wants_memory.swap(false, Ordering::Relaxed) {
                self.log_memory();
            }
            if !busy || statistics_at.elapsed() > IDLE {
                statistics_at = Instant::now();
                self.read_statistics();
            }
            let now = Instant::now();
            self.pipeline.peers.tick(now);
            let counters = &mut self.pipeline.counters;
            counters.busy_ns += (now - awake_since).as_nanos() as u64;
            // Before the sleep, so that at rest the published counters are the last word.
            self.publish();
            let timeout = if busy || !self.inbox.is_empty() {
                Duration::ZERO
            } else if self.has_backlog() {
                BACKLOG
            } else {
                IDLE
            };
            let ready = self.wait(timeout);
            awake_since = Instant::now();
            for id in ready {
                self.serve_socket(id, &mut buffers);
            }
            self.serve_inbox();
        }
        self.drain(&mut buffers);
    }

    /// One batch from each queue. Returns whether there was anything.
    fn serve_queues(&mut self) -> bool {
        let Some(xdp) = &mut self.xdp else {
            return false;
        };
        let mut busy = false;
        xdp.transmit.tick();
        // Taken, since the rest is used with it.
        let mut inline = xdp.inline.take();
        if let Some(inline) = &mut inline {
            inline.expire(xdp.transmit.now(), &mut self.pipeline.counters);
        }
        for queue in 0..xdp.transmit.queues.len() {
            for _ in 0..BATCH {
                let Some(frame) = xdp.transmit.queues[queue].receive(&xdp.umem) else {
                    break;
                };
                busy = true;
                let Some(inline) = &mut inline else {
                    serve_frame(xdp, &self.sockets, &mut self.pipeline, queue, frame);
                    continue;
                };
                // A hook may take long: each shows that the worker isn't stuck in the last.
                inline.beat(self.id);
                let left = inline::serve(xdp, inline, &mut self.pipeline, queue, frame);
                if let Some(frame) = left {
                    recycle(xdp, queue, frame);
                }
            }
            xdp.transmit.queues[queue].release_received();
        }
        if let Some(inline) = &inline {
            inline.beat(self.id);
        }
        xdp.inline = inline;
        let counters = &mut self.pipeline.counters;
        xdp.transmit.flush(&xdp.umem, counters);
        let side = &mut xdp.transmit;
        for queue in &mut side.queues {
            queue.submit_fill(&xdp.umem, &mut side.pool, SEND_RESERVE);
        }
        busy
    }

    fn has_backlog(&self) -> bool {
        self.xdp
            .as_ref()
            .is_some_and(|x| x.transmit.queues.iter().any(|q| q.has_backlog()))
    }

    fn serve_socket(&mut self, id: usize, buffers: &mut ReceiveBuffers) -> bool {
        let Some(socket) = self.sockets.get(id) else {
            return false;
        };
        let pipeline = &mut self.pipeline;
        let tally = self.link.sockets.get(id);
        let mut egress = SocketEgress {
            sockets: &self.sockets,
        };
        socket.receive(buffers, |datagram| {
            pipeline.counters.socket_in += 1;
            if let Some(tally) = tally {
                add(&tally.socket_in, 1);
                add(&tally.socket_in_bytes, datagram.payload.len());
            }
            let inbound = Inbound {
                payload: datagram.payload,
                source: datagram.source,
                local: datagram.local,
                socket: SocketId(id as u16),
                transport: Transport::Udp,
                connection: None,
            };
            pipeline.receive(inbound, &mut egress);
        })
    }

    /// A batch of messages from streams. Returns whether there may be more.
    fn serve_inbox(&mut self) -> bool {
        for _ in 0..BATCH {
            let Ok(message) = self.inbox.try_recv() else {
                return false;
            };
            self.pipeline.counters.stream_in += 1;
            if let Some(tally) = self.link.sockets.get(usize::from(message.socket.0)) {
                add(&tally.stream_in, 1);
                add(&tally.stream_in_bytes, message.payload.len());
            }
            let inbound = Inbound {
                payload: &message.payload,
                source: message.source,
                local: message.local,
                socket: message.socket,
                transport: message.transport,
                connection: Some(message.connection),
            };
            let mut egress = SocketEgress {
                sockets: &self.sockets,
            };
            self.pipeline.receive(inbound, &mut egress);
        }
        true
    }

    /// Sleeps until something arrives; returns the kernel sockets that have something.
    fn wait(&mut self, timeout: Duration) -> Vec<usize> {
        let xdp = self.xdp.as_ref();
        let queues = xdp.map_or(&[][..], |x| &x.transmit.queues);
        let mut fds: Vec<PollFd<'_>> = self
            .sockets
            .iter()
            .map(|s| s.as_fd())
            .chain(queues.iter().map(|q| q.as_fd()))
            .chain([self.wake.as_fd()])
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        if poll(&mut fds, timeout).is_err() {
            // EINTR; the next round asks again.
            return Vec::new();
        }
        let readable = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let woken = fds.last().is_some_and(readable);
        let ready = fds
            .iter()
            .take(self.sockets.len())
            .enumerate()
            .filter(|(_, fd)| readable(fd))
            .map(|(id, _)| id)
            .collect();
        if woken {
            // The byte's only purpose was to wake us.
            let _ = self.wake.read(&mut [0; 16]);
        }
        ready
    }

    fn read_statistics(&mut self) {
        let counters = &mut self.pipeline.counters;
        counters.socket_overflow = self.sockets.iter().map(KernelSocket::drops).sum();
        let Some(xdp) = &self.xdp else { return };
        counters.drop_rx_ring_full = 0;
        counters.drop_rx_dropped = 0;
        for (queue, gauges) in xdp.transmit.queues.iter().zip(&xdp.gauges) {
            let statistics = queue.statistics();
            set(&gauges.rx_ring_full, statistics.rx_ring_full);
            set(&gauges.rx_dropped, statistics.rx_dropped);
            counters.drop_rx_ring_full += statistics.rx_ring_full;
            counters.drop_rx_dropped += statistics.rx_dropped;
        }
    }

    fn publish(&self) {
        self.slots.publish(self.id, &self.pipeline.counters);
        let gauges = &self.link.gauges;
        set(&gauges.inbox, self.inbox.len());
        let Some(xdp) = &self.xdp else { return };
        set(&gauges.frames_free, xdp.transmit.pool.len());
        for (queue, gauges) in xdp.transmit.queues.iter().zip(&xdp.gauges) {
            set(&gauges.rx_waiting, queue.waiting());
            set(&gauges.fill, queue.filled());
            set(&gauges.tx_in_flight, queue.in_flight());
        }
    }

    /// Logs what this thread holds: what `corex.pkg_summary` asks for.
    fn log_memory(&self) {
        let heap = HeapUse::of_this_thread();
        let worker = self.id;
        tracing::info!(
            worker,
            in_use = heap.in_use(),
            peak = heap.peak,
            allocations = heap.allocations,
            "pkg: heap, in bytes"
        );
        for (part, bytes) in self.pipeline.memory() {
            tracing::info!(worker, bytes, "pkg: {part}");
        }
        if let Some(xdp) = &self.xdp {
            tracing::info!(
                worker,
                bytes = xdp.umem.size(),
                frames_free = xdp.transmit.pool.len(),
                "pkg: packet memory"
            );
        }
    }

    /// Handles what the rings and sockets hold already, and waits for what is being sent.
    fn drain(&mut self, buffers: &mut ReceiveBuffers) {
        while self.serve_queues() {}
        for id in 0..self.sockets.len() {
            while self.serve_socket(id, buffers) {}
        }
        while self.serve_inbox() {}
        let deadline = Instant::now() + DRAIN;
        if let Some(xdp) = &mut self.xdp {
            if let Some(inline) = &mut xdp.inline {
                inline.give_up(&mut self.pipeline.counters);
            }
            while xdp.transmit.queues.iter().any(|q| q.in_flight() > 0) && Instant::now() < deadline
            {
                xdp.transmit.flush(&xdp.umem, &mut self.pipeline.counters);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.read_statistics();
        self.publish();
    }
}

fn serve_frame(
    xdp: &mut XdpSide,
    sockets: &[KernelSocket],
    pipeline: &mut Pipeline,
    queue: usize,
    mut frame: Frame,
) {
    pipeline.counters.xdp_in += 1;
    let umem = &xdp.umem;
    let side = &mut xdp.transmit;
    let read = steered::read(umem, &frame, xdp.cookie);
    // A driver without metadata support would hand a later packet's reader this record.
    umem.wipe_before(&mut frame, FrameMeta::LEN);
    let steered = match read {
        Ok(steered) => steered,
        Err(reason) => {
            let counters = &mut pipeline.counters;
            *match reason {
                Unreadable::Frame => &mut counters.drop_frame,
                Unreadable::IpChecksum => &mut counters.drop_ip_checksum,
                Unreadable::UdpChecksum => &mut counters.drop_udp_checksum,
            } += 1;
            recycle(xdp, queue, frame);
            return;
        }
    };
    let datagram = steered.datagram;
    let socket = steered
        .socket
        .or_else(|| pipeline.shared().find(datagram.dst));
    let Some(socket) = socket else {
        pipeline.counters.drop_frame += 1;
        recycle(xdp, queue, frame);
        return;
    };
    let packet = umem.packet(&frame);
    let inbound = Inbound {
        payload: datagram.payload(packet),
        source: datagram.src,
        local: datagram.dst,
        socket,
        transport: Transport::Udp,
        connection: None,
    };
    let mut egress = FrameEgress::new(side, umem, sockets, packet, &datagram);
    pipeline.receive(inbound, &mut egress);
    let in_place = egress.finish();
    let left = match in_place {
        Some(in_place) => {
            let counters = &mut pipeline.counters;
            in_place.send(side, umem, sockets, frame, &steered, counters)
        }
        None => Some(frame),
    };
    if let Some(frame) = left {
        recycle(xdp, queue, frame);
    }
}

/// Gives a frame back to the queue that it came from.
fn recycle(xdp: &mut XdpSide, queue: usize, frame: Frame) {
    let side = &mut xdp.transmit;
    if let Some(socket) = side.queues.get_mut(queue) {
        socket.refill(&xdp.umem, &mut side.pool, frame);
    }
}
