//! The transmit side of a worker's AF_XDP sockets: next hops, queues that send, free frames, and
//! what becomes of frames that a NIC doesn't send.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    sync::Arc,
    time::Instant,
};

use arc_swap::{ArcSwap, Cache};
use corex_common::counters::WorkerCounters;

use super::departures::{Departures, take_back};
use crate::{
    kernel::{
        host::LiveMtu,
        interfaces::Interface,
        routes::{LinkNextHop, NextHopTable, NextHops, Path},
    },
    pipeline::Outbound,
};
use corex_xdp::{Change, Frame, FramePool, QueueSocket, Umem};

/// The transmit side of a worker's AF_XDP sockets.
pub struct TransmitSide {
    /// One for each interface and queue that the worker serves.
    pub queues: Vec<QueueSocket>,
    /// The MTUs of their interfaces, in their order. Next hops have them too, but know of a change
    /// a little later.
    mtus: Vec<LiveMtu>,
    /// Frames that no ring holds.
    pub pool: FramePool,
    /// In the order of the queues: whether the NIC can send from there.
    has_transmit: Vec<bool>,
    departures: Departures,
    next_hops: NextHops,
    table: Cache<Arc<ArcSwap<NextHopTable>>, Arc<NextHopTable>>,
    /// The identification of the next datagram that may be fragmented.
    identification: u16,
    /// The last next hop that was found for a packet of this batch, and a queue towards it that sent
    /// then: mostly they are the next one's, too.
    last: Option<(Path, LinkNextHop, usize)>,
    /// The batch's time; reading the clock for each packet would cost more than it tells.
    now: Instant,
}

impl TransmitSide {
    /// A transmit side that resolves its next hops by `next_hops`.
    pub fn new(
        queues: Vec<QueueSocket>,
        mtus: Vec<LiveMtu>,
        pool: FramePool,
        next_hops: NextHops,
    ) -> Self {
        let has_transmit = queues.iter().map(has_transmit).collect();
        queues.iter().for_each(tell_of_copying);
        Self {
            queues,
            mtus,
            pool,
            has_transmit,
            departures: Departures::default(),
            table: Cache::new(next_hops.table()),
            next_hops,
            last: None,
            // Two workers, or two runs, shall not begin with the same ones.
            identification: RandomState::new().hash_one(0) as u16,
            now: Instant::now(),
        }
    }

    /// The last of the queues was added: on an interface with that MTU.
    pub fn joined(&mut self, mtu: LiveMtu) {
        self.has_transmit
            .extend(self.queues.last().map(has_transmit));
        self.mtus.push(mtu);
    }

    /// Largest IP packet that leaves by a queue.
    #[inline]
    pub fn mtu(&self, queue: usize) -> u32 {
        self.mtus.get(queue).map_or(0, LiveMtu::get)
    }

    /// Takes the time for the packets of a batch.
    pub fn tick(&mut self) {
        self.now = Instant::now();
        self.last = None;
    }

    /// The next hop, and the index of a queue socket on its interface that sends.
    #[inline]
    pub fn way(&mut self, out: &Outbound<'_>) -> Way<'_> {
        let path = Path::new(out.local, out.to);
        let is_last = matches!(
            &self.last,
            Some((known, _, queue)) if *known == path && self.sends(*queue)
        );
        if !is_last && let Err(NoWay { is_known }) = self.find(path) {
            return if is_known { Way::NoQueue } else { Way::Unknown };
        }
        match &self.last {
            Some((_, hop, queue)) => Way::Queue(hop, *queue),
            None => Way::Unknown,
        }
    }

    /// Makes this the last next hop that was found.
    fn find(&mut self, path: Path) -> Result<(), NoWay> {
        let found = self.table.load().get(&path).copied();
        let Some(hop) = found.filter(|hop| hop.fresh_until >= self.now) else {
            self.next_hops.request(path);
            return Err(NoWay { is_known: false });
        };
        let queue = self
            .of_interface(hop.ifindex)
            .find(|at| self.sends(*at))
            .ok_or(NoWay { is_known: true })?;
        self.last = Some((path, hop, queue));
        Ok(())
    }

    fn of_interface(&self, ifindex: u32) -> impl Iterator<Item = usize> + '_ {
        let queues = self.queues.iter().enumerate();
        queues.filter_map(move |(at, queue)| (queue.bound().ifindex == ifindex).then_some(at))
    }

    #[inline]
    fn sends(&self, queue: usize) -> bool {
        self.has_transmit.get(queue).is_some_and(|has| *has)
            && self.queues.get(queue).is_some_and(QueueSocket::takes_more)
    }

    /// The queue, or another one on the same interface if it doesn't send. `None`: none does.
    #[inline]
    pub fn able(&self, queue: usize) -> Option<usize> {
        if self.sends(queue) {
            return Some(queue);
        }
        let ifindex = self.queues.get(queue)?.bound().ifindex;
        self.of_interface(ifindex).find(|at| self.sends(*at))
    }

    /// Whether the NIC sends what the queue is given, as far as is known: short of being stuck, a
    /// queue may recover at any time.
    pub fn lives(&self, queue: usize) -> bool {
        let is_stuck = self.queues.get(queue).is_none_or(QueueSocket::is_stuck);
        !is_stuck && self.has_transmit.get(queue).is_some_and(|has| *has)
    }

    /// Whether every interface can be sent to by one of its queues.
    pub fn reaches_all(&self) -> bool {
        self.queues.iter().all(|queue| {
            let ifindex = queue.bound().ifindex;
            let mut of_interface = self.of_interface(ifindex);
            of_interface.any(|at| self.lives(at))
        })
    }

    /// A packet is begun with: what is sent from here to [`Self::settle`] is sent for it.
    #[inline]
    pub fn begin(&mut self, counters: &WorkerCounters) {
        self.departures.begin(counters);
    }

    /// The packet has its verdict.
    #[inline]
    pub fn settle(&mut self, counters: &WorkerCounters) {
        self.departures.settle(counters, &mut self.queues);
    }

    /// An identification that was not used for the longest time.
    #[inline]
    pub fn identify(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    /// Publishes what was queued, wakes the kernel where it asks, and takes sent frames back. What a
    /// NIC doesn't send is dropped, and takes its verdict back.
    pub fn flush(&mut self, umem: &Umem, counters: &mut WorkerCounters) {
        for queue in &mut self.queues {
            counters.tx_queued += u64::from(queue.unsubmitted());
            let kicked = queue.flush_transmit(umem, |mark| {
                if mark.is_some_and(|mark| take_back(counters, mark)) {
                    counters.drop_send_error += 1;
                }
                counters.late_send_errors += 1;
            });
            counters.tx_kicks += u64::from(kicked);
            match queue.complete(umem, &mut self.pool) {
                None => {}
                Some(Change::Stuck) => {
                    counters.tx_faults += 1;
                    let frames = queue.in_flight();
                    let marks = queue.take_marks();
                    let messages = give_up(marks, counters);
                    tell_stuck(queue, frames, messages);
                }
                Some(Change::Flows) => {
                    let (name, number) = (name_of(queue), queue.bound().queue);
                    tracing::info!("{name} queue {number}: the NIC sends again");
                }
            }
        }
    }

    /// The messages whose frames the kernel hasn't taken yet are dropped: nobody will wake it any
    /// more.
    pub fn abandon(&mut self, umem: &Umem, counters: &mut WorkerCounters) {
        for queue in &mut self.queues {
            give_up(queue.take_untaken_marks(umem), counters);
        }
    }

    /// The time that [`Self::tick`] took.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sends a copy of a whole frame. False: there is no place for it.
    pub fn send_copy(
        &mut self,
        queue: usize,
        umem: &Umem,
        packet: &[u8],
        counters: &mut WorkerCounters,
    ) -> bool {
        if !self.has_room(queue, umem, counters) {
            return false;
        }
        let Some(mut frame) = self.take_frame(umem, counters) else {
            return false;
        };
        let Some(room) = umem.room_mut(&mut frame).get_mut(..packet.len()) else {
            self.pool.put(frame);
            return false;
        };
        room.copy_from_slice(packet);
        umem.set_packet(&mut frame, packet.len());
        self.push(queue, umem, frame)
    }

    /// Whether the queue's ring takes another packet, after a flush if need be.
    #[inline]
    pub fn has_room(&mut self, queue: usize, umem: &Umem, counters: &mut WorkerCounters) -> bool {
        if self
            .queues
            .get_mut(queue)
            .is_some_and(QueueSocket::has_room)
        {
            return true;
        }
        self.flush(umem, counters);
        self.queues
            .get_mut(queue)
            .is_some_and(QueueSocket::has_room)
    }

    /// Queues a frame for transmission, or puts it back into the pool where the ring has no place.
    /// Returns whether it was queued.
    #[inline]
    pub fn push(&mut self, queue: usize, umem: &Umem, frame: Frame) -> bool {
        let outcome = match self.queues.get_mut(queue) {
            Some(socket) => socket.transmit(umem, frame),
            None => Err(frame),
        };
        match outcome {
            Ok(departed) => {
                self.departures.note(queue, departed);
                true
            }
            Err(frame) => {
                self.pool.put(frame);
                false
            }
        }
    }

    /// Gives a frame back to the queue that it came from.
    pub fn recycle(&mut self, umem: &Umem, queue: usize, frame: Frame) {
        if let Some(socket) = self.queues.get_mut(queue) {
            socket.refill(umem, &mut self.pool, frame);
        }
    }

    /// A free frame, after taking sent ones back if need be.
    pub fn take_frame(&mut self, umem: &Umem, counters: &mut WorkerCounters) -> Option<Frame> {
        if self.pool.is_empty() {
            self.flush(umem, counters);
        }
        self.pool.take()
    }
}

/// Why there is no way out by AF_XDP.
struct NoWay {
    /// The next hop is known.
    is_known: bool,
}

/// A message's way out.
pub enum Way<'t> {
    /// By that queue.
    Queue(&'t LinkNextHop, usize),
    /// The next hop isn't known yet.
    Unknown,
    /// None of the worker's queues on the interface sends.
    NoQueue,
}

/// Whether the NIC transmits from the queue. With zero copy the driver has seen to it; in copy mode
/// a queue above those that transmit takes frames and sends none (xsk_generic_xmit()).
fn has_transmit(queue: &QueueSocket) -> bool {
    let bound = queue.bound();
    if bound.zero_copy {
        return true;
    }
    let name = name_of(queue);
    let Ok(interface) = Interface::by_name(&name) else {
        return true;
    };
    let transmits = bound.queue < interface.transmit_queues;
    if !transmits {
        tracing::info!(
            "{name} queue {}: receives only, the NIC transmits by {} queues",
            bound.queue,
            interface.transmit_queues
        );
    }
    transmits
}

/// Says why packets are copied although zero copy was asked for.
fn tell_of_copying(queue: &QueueSocket) {
    let bound = queue.bound();
    if let Some(errno) = bound.refusal {
        tracing::info!(
            "{} queue {}: no zero copy, packets are copied; the kernel says: {}",
            name_of(queue),
            bound.queue,
            refusal(errno)
        );
    }
}

/// Why there is no zero copy, in words.
pub fn refusal(errno: i32) -> String {
    match errno {
        libc::EOPNOTSUPP => "the driver has none".to_owned(),
        libc::EINVAL => "the driver has it, but not as the NIC is set up now (EINVAL)".to_owned(),
        errno => io::Error::from_raw_os_error(errno).to_string(),
    }
}

/// Drops the messages with these marks, and returns how many.
fn give_up(marks: impl Iterator<Item = u8>, counters: &mut WorkerCounters) -> u64 {
    let before = counters.drop_tx_stuck;
    for mark in marks {
        counters.drop_tx_stuck += u64::from(take_back(counters, mark));
    }
    counters.drop_tx_stuck - before
}

fn tell_stuck(queue: &QueueSocket, frames: u32, messages: u64) {
    let (name, number) = (name_of(queue), queue.bound().queue);
    tracing::error!(
        "{name} queue {number}: the NIC has sent none of {frames} frames in a second; {messages} \
         messages are dropped (tx_stuck), and this queue sends nothing more until it has given all \
         frames back. `ethtool -l {name}` and `ls /sys/class/net/{name}/queues` show which queues \
         transmit, `corex.workers` what is in flight"
    );
}

fn name_of(queue: &QueueSocket) -> String {
    let ifindex = queue.bound().ifindex;
    Interface::name_of(ifindex).unwrap_or_else(|_| format!("interface {ifindex}"))
}
