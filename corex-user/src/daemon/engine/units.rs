//! The workers' AF_XDP sides, made at the start and whenever a NIC is back: by unit, whose queues
//! share packet memory. In inline mode a unit is a NIC with its pair, else all NICs together.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use anyhow::Context as _;
use corex_xdp::{Bound, FramePool, QueueSocket, Umem, UnboundSocket};

use super::nics::{Attached, Nic, Nics};
use crate::{
    daemon::handover::Heir,
    io::{
        inline::{End, Fragments, InlineSide},
        order::NewQueue,
        transmit::TransmitSide,
        xdp_side::XdpSide,
    },
    kernel::{attach::Mode, inline::Heartbeats, routes::NextHops},
    telemetry::gauges::QueueGauges,
};

/// Frames of packet memory for each queue and for sending.
const FRAMES_PER_QUEUE: u32 = 2048;
const FRAMES_TO_SEND: u32 = 2048;

/// A queue with an AF_XDP socket.
pub struct BoundQueue {
    /// The unit that it belongs to.
    pub unit: u32,
    /// The worker that serves it.
    pub worker: u32,
    /// How it is bound.
    pub bound: Bound,
    /// A descriptor of the socket, for the XSKMAP.
    pub fd: OwnedFd,
    /// How full its rings are.
    pub gauges: Arc<QueueGauges>,
}

/// What all sides have in common.
pub struct Builder {
    /// Bytes of a chunk of packet memory.
    pub chunk_size: u32,
    /// Never bind for zero copy.
    pub copy: bool,
    /// Packets that a worker polls from a queue itself, each time; 0: none.
    pub busy_poll: u16,
    /// Where the next hops are.
    pub next_hops: NextHops,
    /// Marks the XDP program's records.
    pub cookie: u32,
    /// What inline mode needs.
    pub inline: Option<InlineParts>,
}

/// What inline mode needs.
pub struct InlineParts {
    /// Incomplete datagrams of all workers.
    pub fragments: Arc<Fragments>,
    /// Whether who sends too much is told by ICMP.
    pub tells_too_big: bool,
    /// The workers' signs of life.
    pub heartbeats: Heartbeats,
}

/// The numbers of all units.
pub fn all(nics: &Nics) -> std::ops::Range<u32> {
    match nics.detours {
        Some(_) => 0..nics.all.len() as u32,
        None => 0..1,
    }
}

/// The unit that a NIC by its number belongs to.
pub fn of_nic(nics: &Nics, number: usize) -> u32 {
    match nics.detours {
        Some(_) => number as u32,
        None => 0,
    }
}

/// The worker that serves a queue of a NIC by its number.
pub fn worker_of(nics: &Nics, number: usize, queue: u32) -> u32 {
    // In inline mode those that have a queue of the pair.
    let pair = nics.detour(number).map(|detour| detour.pair.own.queues);
    queue % pair.unwrap_or(nics.workers).clamp(1, nics.workers.max(1))
}

/// The queues that a worker has of a unit: interface index and number, those of NICs first.
fn queues_of(nics: &Nics, unit: u32, worker: u32) -> Vec<(u32, u32)> {
    let mut queues = Vec::new();
    for (number, nic) in nics.all.iter().enumerate() {
        let Some(on) = nic.on.as_ref().filter(|_| of_nic(nics, number) == unit) else {
            continue;
        };
        let mine = (0..on.interface.queues).filter(|q| worker_of(nics, number, *q) == worker);
        queues.extend(mine.map(|queue| (on.interface.index, queue)));
        if let Some(detour) = nics.detour(number)
            && worker < detour.pair.own.queues
        {
            queues.push((detour.pair.own.index, worker));
        }
    }
    queues
}

/// The end that a queue is, one of a worker's `queues`. `None`: there is no way on.
fn end_of(nics: &Nics, unit: u32, queues: &[(u32, u32)], place: usize) -> Option<End> {
    let number = unit as usize;
    let on: &Attached = nics.all.get(number)?.on.as_ref()?;
    let detour = nics.detour(number)?;
    let own = &detour.pair.own;
    let is_nic = queues.get(place)?.0 == on.interface.index;
    let wanted = if is_nic {
        own.index
    } else {
        on.interface.index
    };
    Some(End {
        place,
        other: queues.iter().position(|queue| queue.0 == wanted)?,
        is_nic,
        mtu: on.mtu.clone(),
        pair_mtu: detour.pair.peer.mtu,
        mac: nics.detours.as_ref()?.mark(on.mode),
    })
}

impl Builder {
    /// Binds what a worker has of a unit, or takes it from an heir, whose predecessor uses it still.
    /// `None`: it has no queue of it.
    ///
    /// # Errors
    /// What the kernel says; what the heir hasn't.
    pub fn side(
        &self,
        nics: &Nics,
        unit: u32,
        worker: u32,
        heir: Option<&mut Heir>,
    ) -> anyhow::Result<Option<(XdpSide, Vec<BoundQueue>)>> {
        let queues = queues_of(nics, unit, worker);
        if queues.is_empty() {
            return Ok(None);
        }
        // Generic XDP never gets packets that the NIC wrote into packet memory.
        let is_generic = |nic: &Nic| nic.on.as_ref().is_some_and(|on| on.mode == Mode::Skb);
        let mut of_unit = nics.all.iter().enumerate();
        let copy = self.copy
            || of_unit.any(|(number, nic)| of_nic(nics, number) == unit && is_generic(nic));
        let (umem, pool, sockets) = match heir {
            Some(heir) => {
                let (umem, sockets) = heir.queues(worker as usize, &queues, self.chunk_size)?;
                (umem, FramePool::empty(), sockets)
            }
            None => self.bind(&queues, copy)?,
        };
        let mut lines = Vec::new();
        for socket in &sockets {
            lines.push(BoundQueue {
                unit,
                worker,
                bound: socket.bound(),
                fd: socket
                    .as_fd()
                    .try_clone_to_owned()
                    .context("duplicate a socket descriptor")?,
                gauges: Arc::default(),
            });
        }
        let inline = self.inline.as_ref().map(|parts| {
            let ends = (0..queues.len()).map(|place| end_of(nics, unit, &queues, place));
            InlineSide::new(
                unit,
                ends.collect(),
                Arc::clone(&parts.fragments),
                parts.tells_too_big,
                parts.heartbeats.clone(),
                self.cookie.rotate_left(worker),
            )
        });
        let side = XdpSide {
            unit,
            umem,
            transmit: TransmitSide::new(
                sockets,
                queues.iter().map(|queue| nics.mtu(queue.0)).collect(),
                pool,
                self.next_hops.clone(),
            ),
            cookie: self.cookie,
            gauges: lines.iter().map(|line| Arc::clone(&line.gauges)).collect(),
            inline,
        };
        Ok(Some((side, lines)))
    }

    /// For zero copy where all drivers can, else in copy mode.
    fn bind(
        &self,
        queues: &[(u32, u32)],
        copy: bool,
    ) -> anyhow::Result<(Umem, FramePool, Vec<QueueSocket>)> {
        let attempt = |copy| -> anyhow::Result<_> {
            let frames = FRAMES_PER_QUEUE * queues.len() as u32 + FRAMES_TO_SEND;
            let (umem, mut pool) = Umem::new(frames, self.chunk_size).context("packet memory")?;
            let sockets = corex_xdp::open(&umem, &mut pool, queues, copy, self.busy_poll)?;
            Ok((umem, pool, sockets))
        };
        match attempt(copy) {
            Err(error) if !copy && queues.len() > 1 => {
                // Sockets that share memory share the mode; one driver may not have zero copy.
                tracing::info!("{error:#}; trying copy mode");
                attempt(true)
            }
            outcome => outcome,
        }
    }
}

/// What a worker is told, that has `lines` of a NIC's unit, when the NIC has another queue.
///
/// # Errors
/// What the kernel says.
pub fn another_queue(
    nics: &Nics,
    number: usize,
    queue: u32,
    lines: &[&BoundQueue],
    busy_poll: u16,
) -> anyhow::Result<NewQueue> {
    let on = nics.all.get(number).and_then(|nic| nic.on.as_ref());
    let ifindex = on.context("the NIC is gone")?.interface.index;
    let mut queues: Vec<(u32, u32)> = lines
        .iter()
        .map(|line| (line.bound.ifindex, line.bound.queue))
        .collect();
    queues.push((ifindex, queue));
    Ok(NewQueue {
        socket: UnboundSocket::new(busy_poll)?,
        ifindex,
        queue,
        mtu: nics.mtu(ifindex),
        gauges: Arc::default(),
        // The worker puts it at its place.
        end: end_of(nics, of_nic(nics, number), &queues, queues.len() - 1),
    })
}
