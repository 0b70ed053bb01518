//! A worker: one thread that takes messages from its AF_XDP queues, its kernel sockets and streams,
//! and runs each to completion.

use std::{
    cell::Cell,
    io::Read as _,
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::{
    egress::SocketEgress,
    gate::{Gate, Passage},
    order::Order,
    segments::Segments,
    shard::Shard,
    socket::{Datagram, KernelSocket, ReceiveBuffers},
    stream::StreamMessage,
    xdp_side::XdpSide,
};
use crate::{
    kernel::{heap::HeapUse, poll_set::PollSet, worker_counters::WorkerSlots},
    keystore::Returned,
    pipeline::{Inbound, Pipeline, PipelineContext},
    telemetry::gauges::{WorkerLink, add, set},
};
use corex_script::SocketId;
use corex_sip::Transport;
use corex_xdp::Statistics;

/// Messages taken from streams before queues and sockets get their turn.
const BATCH: usize = 64;
/// Rounds of AF_XDP work between two looks at the kernel sockets, under load.
const ROUNDS: u32 = 16;
/// An idle worker wakes up so often to publish the rings' drop counters.
const IDLE: Duration = Duration::from_millis(500);
/// What the kernel dropped at sockets and rings, which costs a system call for each, is read no more
/// often than this, and so soon after traffic.
const STATISTICS: Duration = Duration::from_millis(10);
/// How long a worker that was told to stop goes on with what was waiting then.
const DRAIN: Duration = Duration::from_secs(1);
/// An idle worker with packets that the kernel didn't take yet offers them again so soon, and looks
/// whether datagrams may pass the gate.
const BACKLOG: Duration = Duration::from_millis(1);

/// A worker, ready to run.
pub struct Worker {
    /// Its number, from 0.
    pub id: usize,
    /// What every message goes through.
    pub pipeline: Pipeline,
    /// The configuration to go by.
    pub latest: Arc<ArcSwap<PipelineContext>>,
    /// One kernel socket for each listener, in order.
    pub sockets: Vec<KernelSocket>,
    /// How full the fullest of them was when they were read last, in percent.
    pub sockets_fill: u32,
    /// What leaves them together.
    pub segments: Segments,
    /// What datagrams that they bring must pass.
    pub gate: Gate,
    /// Messages that came by streams.
    pub inbox: mpsc::Receiver<StreamMessage>,
    /// Messages to other workers, and from them.
    pub shard: Shard,
    /// Messages that waited for keys, and came back.
    pub returns: mpsc::UnboundedReceiver<Returned>,
    /// Its AF_XDP queues; none where it has kernel sockets alone.
    pub xdp: Vec<XdpSide>,
    /// What it is told of them.
    pub orders: Receiver<Order>,
    /// What the kernel dropped at the rings of queues that it has no more.
    pub retired: Statistics,
    /// Where the counters are published.
    pub slots: WorkerSlots,
    /// Where it publishes how full its queues are, and learns what is asked of it.
    pub link: Arc<WorkerLink>,
    /// The worker stops when this is set.
    pub stop: Arc<AtomicBool>,
    /// The worker [parks](Self::run) when this is set.
    pub pause: Arc<AtomicBool>,
    /// A byte here ends the worker's sleep.
    pub wake: UnixStream,
}

/// A datagram of a kernel socket, for the pipeline.
fn inbound<'a>(datagram: &Datagram<'a>, socket: SocketId) -> Inbound<'a> {
    Inbound {
        payload: datagram.payload,
        source: datagram.source,
        local: datagram.local,
        socket,
        transport: Transport::Udp,
        connection: None,
        ttl: datagram.ttl,
    }
}

/// What a worker that is told to stop goes by.
struct StopClock {
    stop: Arc<AtomicBool>,
    /// When it was seen to be told.
    told: Cell<Option<Instant>>,
}

impl StopClock {
    /// Whether the worker is told to stop.
    fn is_told(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether it was told longer than [`DRAIN`] ago.
    fn is_over(&self) -> bool {
        if !self.is_told() {
            return false;
        }
        let now = Instant::now();
        let told = self.told.get().unwrap_or(now);
        self.told.set(Some(told));
        now.saturating_duration_since(told) >= DRAIN
    }
}

impl Worker {
    /// Runs until told to stop, then handles what has already arrived, for `DRAIN` at most.
    ///
    /// Or until told to pause: then it is returned between two messages, with what waits in rings and
    /// sockets left there, for another thread or another process to go on.
    pub fn run(mut self) -> Option<Self> {
        let mut buffers = ReceiveBuffers::new();
        let mut rounds = 0;
        let mut poll_set = PollSet::default();
        self.list_descriptors(&mut poll_set);
        let mut statistics_at = Instant::now();
        let mut has_new_statistics = true;
        let mut awake_since = statistics_at;
        let clock = StopClock {
            stop: Arc::clone(&self.stop),
            told: Cell::new(None),
        };
        let pause = Arc::clone(&self.pause);
        let is_paused = || pause.load(Ordering::Acquire);
        self.shard.begin();
        while !clock.is_told() {
            if is_paused() {
                return Some(self.park(is_paused));
            }
            self.look_at_pressure();
            let busy = self.serve_queues(|| clock.is_told() || is_paused())
                | self.serve_shard(|| false, || clock.is_told() || is_paused());
            has_new_statistics |= busy;
            rounds += 1;
            if busy && rounds < ROUNDS {
                continue;
            }
            rounds = 0;
            if self.take_orders() {
                self.list_descriptors(&mut poll_set);
            }
            self.link.turns.fetch_add(1, Ordering::Relaxed);
            if self.link.wants_memory.swap(false, Ordering::Relaxed) {
                self.log_memory();
            }
            let now = Instant::now();
            let due = match busy {
                false if has_new_statistics => STATISTICS,
                _ => IDLE,
            };
            if now - statistics_at >= due {
                statistics_at = now;
                has_new_statistics = false;
                self.read_statistics();
            }
            self.pipeline.peers.tick(now);
            let counters = &mut self.pipeline.counters;
            counters.busy_ns += (now - awake_since).as_nanos() as u64;
            let context = self.pipeline.context();
            let sharding = context.config.settings.corex.sharding();
            self.shard.look(sharding, &self.pipeline.counters, now);
            // Before the sleep, so that at rest the published counters are the last word.
            self.publish();
            let is_awaited = !self.inbox.is_empty() || !self.returns.is_empty();
            let timeout = if busy || is_awaited || !self.shard.may_sleep() {
                Duration::ZERO
            } else if self.gate.holds_any() || self.xdp.iter().any(XdpSide::has_backlog) {
                BACKLOG
            } else if has_new_statistics {
                STATISTICS
            } else {
                IDLE
            };
            let is_any_ready = poll_set.wait(timeout) > 0;
            awake_since = Instant::now();
            // Here, so that what comes after a configuration was taken goes by that one.
            self.pipeline.follow(&self.latest.load());
            self.sockets_fill = 0;
            self.shard.wake_up();
            if is_any_ready {
                has_new_statistics = true;
                for id in (0..self.sockets.len()).filter(|id| poll_set.is_ready(*id)) {
                    self.serve_socket(id, &mut buffers, || clock.is_over());
                }
                if poll_set.is_ready(self.sockets.len()) {
                    // The byte's only purpose was to wake us.
                    let _ = self.wake.read(&mut [0; 16]);
                }
            }
            self.serve_gate();
            self.serve_inbox(|| clock.is_over());
            self.serve_returns();
            self.shard.flush(&mut self.pipeline.counters);
        }
        self.drain(&mut buffers, &clock);
        None
    }

    /// What streams have brought is in no descriptor, so it is handled; what is to be sent is told
    /// the kernel. What workers hand over is in no descriptor either: all that park wait until nobody
    /// does that any more.
    fn park(mut self, is_paused: impl Fn() -> bool) -> Self {
        while self.serve_inbox(|| false) {}
        self.shard.end(&mut self.pipeline.counters);
        while self.shard.may_get_more() && is_paused() {
            self.serve_shard(|| false, || false);
            thread::sleep(BACKLOG);
        }
        while self.serve_shard(|| false, || false) {}
        self.pipeline.counters.drop_rp_filter += self.gate.give_up();
        for xdp in &mut self.xdp {
            xdp.transmit.flush(&xdp.umem, &mut self.pipeline.counters);
        }
        self.read_statistics();
        self.publish();
        self
    }

    /// Drops and counts what streams brought after it has parked.
    pub fn give_up_inbox(&mut self) {
        self.inbox.close();
        while self.serve_inbox(|| true) {}
        self.pipeline.give_up_waiting();
        self.publish();
    }

    /// One batch from each queue, or less once `is_over`. Returns whether there was anything.
    fn serve_queues(&mut self, is_over: impl Fn() -> bool) -> bool {
        let beats = self.xdp.iter().all(|xdp| xdp.transmit.reaches_all());
        let (sockets, pipeline) = (&self.sockets, &mut self.pipeline);
        let shard = &mut self.shard;
        let busy = self.xdp.iter_mut().fold(false, |busy, xdp| {
            busy | xdp.serve(self.id, sockets, pipeline, shard, beats, &is_over)
        });
        if busy {
            self.shard.flush(&mut self.pipeline.counters);
        }
        busy
    }

    /// A batch of messages that other workers have handed over; once `is_over`, they are dropped. It
    /// ends early when the worker is `called`. Returns whether there was anything.
    fn serve_shard(&mut self, is_over: impl Fn() -> bool, is_called: impl Fn() -> bool) -> bool {
        let mut count = 0;
        while count < BATCH && !is_called() {
            let Some(parcel) = self.shard.take() else {
                break;
            };
            count += parcel.count();
            let pipeline = &mut self.pipeline;
            for inbound in parcel.messages() {
                pipeline.counters.shard_in += 1;
                if is_over() {
                    pipeline.counters.drop_stopping += 1;
                    continue;
                }
                let is_datagram = inbound.transport == Transport::Udp;
                let mut sides = self.xdp.iter_mut();
                match sides.find(|side| is_datagram && side.inline.is_none()) {
                    Some(side) => side.handle(&self.sockets, pipeline, inbound),
                    None => {
                        let mut egress = SocketEgress {
                            sockets: &self.sockets,
                        };
                        pipeline.receive(inbound, &mut egress);
                    }
                }
            }
            self.shard.done(&parcel);
        }
        if count > 0 {
            for xdp in &mut self.xdp {
                xdp.transmit.flush(&xdp.umem, &mut self.pipeline.counters);
            }
        }
        count > 0
    }

    /// Does what it is told of its queues. Returns whether it was told anything.
    fn take_orders(&mut self) -> bool {
        let mut is_told = false;
        while let Ok(order) = self.orders.try_recv() {
            is_told = true;
            match order {
                Order::Serve(side) => self.xdp.push(*side),
                Order::Join {
                    unit,
                    queues,
                    answer,
                } => {
                    let side = self.xdp.iter_mut().find(|side| side.unit == unit);
                    // Who waits may have ended.
                    let _ = answer.send(side.map_or(Vec::new(), |side| side.join(queues)));
                }
                Order::Retire { unit, answer } => {
                    self.retire(unit);
                    // As above.
                    let _ = answer.send(());
                }
            }
        }
        is_told
    }

    /// Lets a unit's queues go. Nothing is steered to them any more.
    fn retire(&mut self, unit: u32) {
        let Some(place) = self.xdp.iter().position(|side| side.unit == unit) else {
            return;
        };
        let mut side = self.xdp.remove(place);
        let until = Instant::now() + DRAIN;
        let is_over = || Instant::now() >= until;
        let (sockets, pipeline, shard) = (&self.sockets, &mut self.pipeline, &mut self.shard);
        while !is_over() && side.serve(self.id, sockets, pipeline, shard, false, is_over) {}
        let counters = &mut self.pipeline.counters;
        side.drain(counters);
        counters.tx_lost += side.take_unknown();
        let statistics = side.statistics();
        self.retired.rx_ring_full += statistics.rx_ring_full;
        self.retired.rx_dropped += statistics.rx_dropped;
        drop(side);
        self.read_statistics();
    }

    /// A batch of datagrams; once `is_over`, they are dropped. Returns whether there may be more.
    fn serve_socket(
        &mut self,
        id: usize,
        buffers: &mut ReceiveBuffers,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let Some(socket) = self.sockets.get(id) else {
            return false;
        };
        let pipeline = &mut self.pipeline;
        let tally = self.link.sockets.get(id);
        if pipeline.sheds_by_priority() {
            let fill = socket.receive_fill();
            self.sockets_fill = self.sockets_fill.max(fill);
            pipeline.feel_pressure(fill);
        }
        let (sockets, segments) = (&self.sockets, &mut self.segments);
        let (gate, shard) = (&mut self.gate, &mut self.shard);
        let socket_id = SocketId(id as u16);
        let is_gated = gate.is_closed();
        let (mut count, mut bytes) = (0, 0);
        let may_be_more = socket.receive(buffers, |datagram| {
            count += 1;
            bytes += datagram.payload.len();
            if is_over() {
                pipeline.counters.drop_stopping += 1;
                return;
            }
            let passage = match is_gated {
                true => gate.judge(&datagram, socket_id),
                false => Passage::Free,
            };
            match passage {
                Passage::Free => {
                    let inbound = inbound(&datagram, socket_id);
                    if !pipeline.refuses(&inbound)
                        && (pipeline.is_limited
                            || !shard.hand_over(&inbound, &mut pipeline.counters))
                    {
                        let mut egress = segments.egress(sockets, &pipeline.counters);
                        pipeline.receive(inbound, &mut egress);
                        segments.settle(&pipeline.counters);
                    }
                }
                Passage::Held => {}
                Passage::Refused => pipeline.counters.drop_rp_filter += 1,
            }
        });
        segments.flush(sockets, &mut pipeline.counters);
        pipeline.counters.socket_in += count as u64;
        if let Some(tally) = tally {
            add(&tally.socket_in, count);
            add(&tally.socket_in_bytes, bytes);
        }
        may_be_more
    }

    /// Goes on with datagrams that were held and may pass, and drops those that may not.
    fn serve_gate(&mut self) {
        if !self.gate.holds_any() {
            return;
        }
        let (pipeline, shard) = (&mut self.pipeline, &mut self.shard);
        let mut egress = SocketEgress {
            sockets: &self.sockets,
        };
        let refused = self.gate.release(Instant::now(), |datagram, socket| {
            let inbound = inbound(&datagram, socket);
            if !pipeline.refuses(&inbound)
                && (pipeline.is_limited || !shard.hand_over(&inbound, &mut pipeline.counters))
            {
                pipeline.receive(inbound, &mut egress);
            }
        });
        pipeline.counters.drop_rp_filter += refused;
    }

    /// A batch of messages from streams; once `is_over`, they are dropped. Returns whether there
    /// may be more.
    fn serve_inbox(&mut self, is_over: impl Fn() -> bool) -> bool {
        for _ in 0..BATCH {
            let Ok(message) = self.inbox.try_recv() else {
                return false;
            };
            self.pipeline.counters.stream_in += 1;
            if let Some(tally) = self.link.sockets.get(usize::from(message.socket.0)) {
                add(&tally.stream_in, 1);
                add(&tally.stream_in_bytes, message.payload.len());
            }
            if is_over() {
                self.pipeline.counters.drop_stopping += 1;
                continue;
            }
            let inbound = Inbound {
                payload: &message.payload,
                source: message.source,
                local: message.local,
                socket: message.socket,
                transport: message.transport,
                connection: Some(message.connection),
                ttl: None,
            };
            if self.pipeline.refuses(&inbound)
                || (!self.pipeline.is_limited
                    && self.shard.hand_over(&inbound, &mut self.pipeline.counters))
            {
                continue;
            }
            let mut egress = SocketEgress {
                sockets: &self.sockets,
            };
            self.pipeline.receive(inbound, &mut egress);
        }
        true
    }

    /// Goes on with a batch of messages that waited for keys.
    fn serve_returns(&mut self) {
        for _ in 0..BATCH {
            let Ok(returned) = self.returns.try_recv() else {
                return;
            };
            match returned.queue() {
                None => {
                    let mut egress = SocketEgress {
                        sockets: &self.sockets,
                    };
                    self.pipeline.resume(&returned, &mut egress);
                }
                Some(queue) => {
                    let side = self.xdp.iter_mut().find(|side| side.unit == queue.unit);
                    match side {
                        Some(side) => side.resume(&mut self.pipeline, &returned),
                        None => self.pipeline.lose(),
                    }
                }
            }
        }
    }

    /// What ends its sleep: the kernel sockets, in order, what wakes it, the queues.
    fn list_descriptors(&self, set: &mut PollSet) {
        let queues = self.xdp.iter().flat_map(|xdp| &xdp.transmit.queues);
        let sockets = self.sockets.iter().map(|socket| socket.as_fd());
        set.set(
            sockets
                .chain([self.wake.as_fd()])
                .chain(queues.map(|queue| queue.as_fd())),
        );
    }

    fn read_statistics(&mut self) {
        let counters = &mut self.pipeline.counters;
        counters.socket_overflow = self.sockets.iter().map(KernelSocket::drops).sum();
        counters.drop_rx_ring_full = self.retired.rx_ring_full;
        counters.drop_rx_dropped = self.retired.rx_dropped;
        for xdp in &self.xdp {
            let statistics = xdp.statistics();
            counters.drop_rx_ring_full += statistics.rx_ring_full;
            counters.drop_rx_dropped += statistics.rx_dropped;
        }
    }

    fn publish(&mut self) {
        self.pipeline.peers.publish();
        let queues = self.xdp.iter().flat_map(|xdp| &xdp.transmit.queues);
        let at_stake: u64 = queues.map(|queue| u64::from(queue.at_stake())).sum();
        let counters = &mut self.pipeline.counters;
        counters.tx_taken = counters.tx_queued.saturating_sub(at_stake);
        self.slots.publish(self.id, &self.pipeline.counters);
        let gauges = &self.link.gauges;
        set(&gauges.inbox, self.inbox.len());
        set(&gauges.pressure, self.pipeline.overload.fill());
        set(&gauges.shedding, self.pipeline.overload.level());
        set(&gauges.shard, self.shard.waiting());
        let free = self.xdp.iter().map(|xdp| xdp.transmit.pool.len());
        set(&gauges.frames_free, free.sum::<usize>());
        self.xdp.iter().for_each(XdpSide::publish);
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
        for xdp in &self.xdp {
            tracing::info!(
                worker,
                bytes = xdp.umem.size(),
                frames_free = xdp.transmit.pool.len(),
                "pkg: packet memory"
            );
        }
    }

    /// Handles what rings, sockets and inbox hold by now, and waits for what is being sent. What
    /// comes meanwhile stays out, and what takes too long is dropped.
    fn drain(&mut self, buffers: &mut ReceiveBuffers, clock: &StopClock) {
        let is_over = || clock.is_over();
        self.shard.end(&mut self.pipeline.counters);
        self.take_orders();
        self.inbox.close();
        let is_closed: Vec<bool> = self
            .sockets
            .iter()
            .map(|socket| match socket.close_intake() {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%error, "stopping: a socket can't be closed to what comes now");
                    false
                }
            })
            .collect();
        while self.serve_queues(is_over) {}
        for (id, is_closed) in is_closed.into_iter().enumerate() {
            while (is_closed || !is_over()) && self.serve_socket(id, buffers, is_over) {}
        }
        while self.serve_inbox(is_over) {}
        while self.shard.may_get_more() && !is_over() {
            self.serve_shard(is_over, || false);
            thread::sleep(BACKLOG);
        }
        self.shard.close();
        while self.serve_shard(is_over, || false) {}
        while self.gate.holds_any() && !is_over() {
            self.serve_gate();
            thread::sleep(BACKLOG);
        }
        self.pipeline.counters.drop_stopping += self.gate.give_up();
        while self.pipeline.is_waited_for() && !is_over() {
            self.serve_returns();
            thread::sleep(BACKLOG);
        }
        self.pipeline.give_up_waiting();
        for xdp in &mut self.xdp {
            xdp.drain(&mut self.pipeline.counters);
        }
        for xdp in &mut self.xdp {
            if let Some(inline) = &mut xdp.inline {
                inline.give_up(&mut self.pipeline.counters);
            }
        }
        let dropped = self.pipeline.counters.drop_stopping;
        if dropped > 0 {
            tracing::warn!(
                worker = self.id,
                dropped,
                "stopping: more was waiting than could be handled in {} s",
                DRAIN.as_secs()
            );
        }
        self.read_statistics();
        self.publish();
    }
}
