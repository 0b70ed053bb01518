//! A worker's AF_XDP queues: frames come from them in batches, and go the way of the mode that
//! corex runs in.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use corex_common::counters::WorkerCounters;

use super::{
    egress::FrameEgress,
    inline::{self, InlineSide},
    pressure, proxy,
    shard::Shard,
    socket::KernelSocket,
    transmit::TransmitSide,
};
use crate::{
    keystore::Returned,
    pipeline::{Inbound, Pipeline},
    telemetry::gauges::{QueueGauges, set},
};
use corex_xdp::{Statistics, Umem};

/// Frames taken from a queue before the others get their turn.
const BATCH: usize = 64;
/// Frames of a batch between two looks how many more wait.
const LOOK: usize = 16;
/// How long a stopping worker waits for frames that the NIC still holds.
const DRAIN: Duration = Duration::from_millis(200);
/// Frames kept for sending; the rest waits in fill rings.
const SEND_RESERVE: usize = 512;

/// AF_XDP queues of a worker over one packet memory. In inline mode it has one for each NIC, since
/// nothing goes from NIC to NIC; in proxy mode one for all.
pub struct XdpSide {
    /// Its number, by which it is told apart from the worker's others.
    pub unit: u32,
    /// Rings, free frames, next hops.
    pub transmit: TransmitSide,
    /// Packet memory; behind the rings, so that it goes last.
    pub umem: Umem,
    /// Marks the XDP program's records.
    pub cookie: u32,
    /// How full the queues are, in the order of the transmit side's.
    pub gauges: Vec<Arc<QueueGauges>>,
    /// What inline mode needs; `None` in proxy mode.
    pub inline: Option<InlineSide>,
}

impl XdpSide {
    /// Takes one batch from each queue through `pipeline`, or hands messages over by `shard`, and
    /// sends what comes of it; what AF_XDP can't send leaves by `sockets`. No frame is taken any more once `is_over`. In inline mode it
    /// shows that the worker lives, unless it can't send by these queues or, as `beats` says, by
    /// others. Returns whether there was anything.
    pub fn serve(
        &mut self,
        worker: usize,
        sockets: &[KernelSocket],
        pipeline: &mut Pipeline,
        shard: &mut Shard,
        beats: bool,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let Self {
            transmit,
            umem,
            cookie,
            inline,
            ..
        } = self;
        let mut busy = false;
        transmit.tick();
        if let Some(inline) = inline {
            inline.expire(transmit.now(), &mut pipeline.counters);
        }
        for queue in 0..transmit.queues.len() {
            for taken in 0..BATCH {
                if is_over() {
                    break;
                }
                if taken % LOOK == LOOK - 1 {
                    pipeline.feel_pressure(pressure::of_ring(transmit.queues[queue].waiting()));
                }
                let Some(frame) = transmit.queues[queue].receive(umem) else {
                    break;
                };
                busy = true;
                transmit.begin(&pipeline.counters);
                let left = match inline {
                    None => proxy::serve(
                        transmit,
                        umem,
                        *cookie,
                        sockets,
                        pipeline,
                        shard,
                        (queue, frame),
                    ),
                    Some(inline) => {
                        // A hook may take long: each shows that the worker isn't stuck in the last.
                        if beats && transmit.reaches_all() {
                            inline.beat(worker);
                        }
                        inline.serve(transmit, umem, pipeline, queue, frame)
                    }
                };
                transmit.settle(&pipeline.counters);
                if let Some(frame) = left {
                    transmit.recycle(umem, queue, frame);
                }
            }
            transmit.queues[queue].release_received();
        }
        // A worker that can't send lets the programs take it for hung: what it would get passes
        // without the hook, or is dropped, as on_failure says.
        if let Some(inline) = inline
            && beats
            && transmit.reaches_all()
        {
            inline.beat(worker);
        }
        transmit.flush(umem, &mut pipeline.counters);
        for queue in &mut transmit.queues {
            queue.submit_fill(umem, &mut transmit.pool, SEND_RESERVE);
        }
        busy
    }

    /// How full the fullest receive ring is, in percent.
    pub fn fill(&self) -> u32 {
        let waiting = self.transmit.queues.iter().map(|queue| queue.waiting());
        pressure::of_ring(waiting.max().unwrap_or(0))
    }

    /// Takes a message that another worker has handed over through `pipeline`, and queues what comes
    /// of it.
    pub fn handle(
        &mut self,
        sockets: &[KernelSocket],
        pipeline: &mut Pipeline,
        inbound: Inbound<'_>,
    ) {
        let settings = pipeline.context().config.settings.datagrams;
        self.transmit.begin(&pipeline.counters);
        let mut egress = FrameEgress::apart(&mut self.transmit, &self.umem, sockets, settings);
        pipeline.receive(inbound, &mut egress);
        self.transmit.settle(&pipeline.counters);
    }

    /// Goes on with a packet of inline mode that waited, and came back.
    pub fn resume(&mut self, pipeline: &mut Pipeline, returned: &Returned) {
        let Self {
            transmit,
            umem,
            inline,
            ..
        } = self;
        let Some(inline) = inline else { return };
        transmit.begin(&pipeline.counters);
        inline::resume(inline, transmit, umem, pipeline, returned);
        transmit.settle(&pipeline.counters);
        transmit.flush(umem, &mut pipeline.counters);
    }

    /// Whether there are packets that the kernel didn't take yet.
    pub fn has_backlog(&self) -> bool {
        self.transmit.queues.iter().any(|q| q.has_backlog())
    }

    /// The messages with frames that the kernel has taken and not given back, each told once.
    pub fn take_unknown(&mut self) -> u64 {
        let queues = self.transmit.queues.iter_mut();
        queues.map(|queue| queue.take_marks().count() as u64).sum()
    }

    /// Reads what the kernel dropped at the rings (XDP_STATISTICS), and publishes it by queue.
    pub fn statistics(&self) -> Statistics {
        let mut sum = Statistics::default();
        for (queue, gauges) in self.transmit.queues.iter().zip(&self.gauges) {
            let statistics = queue.statistics();
            set(&gauges.rx_ring_full, statistics.rx_ring_full);
            set(&gauges.rx_dropped, statistics.rx_dropped);
            sum.rx_ring_full += statistics.rx_ring_full;
            sum.rx_dropped += statistics.rx_dropped;
        }
        sum
    }

    /// Publishes how full the rings are.
    pub fn publish(&self) {
        let queues = self.transmit.queues.iter().enumerate();
        for ((at, queue), gauges) in queues.zip(&self.gauges) {
            set(&gauges.rx_waiting, queue.waiting());
            set(&gauges.fill, queue.filled());
            set(&gauges.tx_in_flight, queue.in_flight());
            set(&gauges.transmits, self.transmit.lives(at));
        }
    }

    /// Drops what is left in the rings, and waits for what is being sent.
    pub fn drain(&mut self, counters: &mut WorkerCounters) {
        let deadline = Instant::now() + DRAIN;
        for queue in 0..self.transmit.queues.len() {
            // The fill ring gets nothing more, so this ends.
            while let Some(frame) = self.transmit.queues[queue].receive(&self.umem) {
                counters.xdp_in += 1;
                counters.drop_stopping += 1;
                self.transmit.recycle(&self.umem, queue, frame);
            }
            self.transmit.queues[queue].release_received();
        }
        while self.transmit.queues.iter().any(|q| q.in_flight() > 0) && Instant::now() < deadline {
            self.transmit.flush(&self.umem, counters);
            thread::sleep(Duration::from_millis(1));
        }
        self.transmit.abandon(&self.umem, counters);
    }
}
