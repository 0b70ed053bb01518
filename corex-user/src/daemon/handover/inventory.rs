//! What a parked worker has, and how its successor goes on with it.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Context as _, bail};
use corex_xdp::{FramePool, QueueSocket, RingLedger, Statistics};

use super::estate::{Estate, Frozen, Item, QueueLedger, WorkerLedger};
use crate::{
    io::{worker::Worker, xdp_side::XdpSide},
    telemetry::gauges::QueueGauges,
};

/// Names what a parked worker has.
///
/// # Errors
/// When there are no descriptors left.
pub fn add_worker(worker: &Worker, estate: &mut Estate) -> io::Result<()> {
    for socket in &worker.sockets {
        let item = Item::Datagrams {
            worker: worker.id,
            address: socket.address(),
        };
        estate.add(item, socket.as_fd().try_clone_to_owned()?);
    }
    let side = match &worker.xdp[..] {
        [] => return Ok(()),
        [side] => side,
        _ => return Err(io::Error::other("queues in several packet memories")),
    };
    let item = Item::PacketMemory {
        worker: worker.id,
        chunks: side.umem.chunks(),
        chunk_size: side.umem.chunk_size(),
    };
    estate.add(item, side.umem.file().try_clone_to_owned()?);
    for queue in &side.transmit.queues {
        let bound = queue.bound();
        let item = Item::Queue {
            worker: worker.id,
            ifindex: bound.ifindex,
            queue: bound.queue,
            zero_copy: bound.zero_copy,
        };
        estate.add(item, queue.as_fd().try_clone_to_owned()?);
    }
    Ok(())
}

/// Who has which of a parked worker's frames. `None`: it has no packet memory.
pub fn ledger(worker: &Worker) -> Option<WorkerLedger> {
    let side = worker.xdp.first()?;
    let queues = side.transmit.queues.iter().zip(&side.gauges);
    let of_queue = |(queue, gauges): (&QueueSocket, &Arc<QueueGauges>)| {
        // As it has published them.
        let counted = Statistics {
            rx_dropped: gauges.rx_dropped.load(Ordering::Relaxed),
            rx_ring_full: gauges.rx_ring_full.load(Ordering::Relaxed),
        };
        let (ledger, bound) = (queue.ledger(counted), queue.bound());
        QueueLedger {
            ifindex: bound.ifindex,
            queue: bound.queue,
            ring_size: ledger.ring_size,
            out: ledger.out,
            rx_dropped: ledger.dropped.rx_dropped,
            rx_ring_full: ledger.dropped.rx_ring_full,
        }
    };
    Some(WorkerLedger {
        worker: worker.id,
        free: side.transmit.pool.chunks(),
        queues: queues.map(of_queue).collect(),
    })
}

/// Goes on with the frames and rings that the predecessor's worker has stopped using.
///
/// # Errors
/// They aren't those that were attached.
pub fn restore(worker: usize, side: &mut XdpSide, frozen: &Frozen) -> anyhow::Result<()> {
    let ledger = frozen.workers.iter().find(|ledger| ledger.worker == worker);
    let ledger = ledger.with_context(|| format!("nothing is known of worker {worker}'s frames"))?;
    let queues = &mut side.transmit.queues;
    if queues.len() != ledger.queues.len() {
        bail!("the queues are others by now");
    }
    for queue in queues.iter_mut() {
        let bound = queue.bound();
        let is_it =
            |known: &&QueueLedger| (known.ifindex, known.queue) == (bound.ifindex, bound.queue);
        let known = ledger.queues.iter().find(is_it);
        let known = known.context("the queues are others by now")?;
        let rings = RingLedger {
            ring_size: known.ring_size,
            out: known.out.clone(),
            dropped: Statistics {
                rx_dropped: known.rx_dropped,
                rx_ring_full: known.rx_ring_full,
            },
        };
        if !queue.resume(&rings) {
            bail!("the rings have another size");
        }
    }
    // No frame is somewhere twice.
    let out = ledger.queues.iter().flat_map(|queue| &queue.out);
    let all: Vec<u32> = ledger.free.iter().chain(out).copied().collect();
    let pool = side.umem.restore(&all);
    pool.context("the ledger of frames is wrong")?;
    side.transmit.pool = side
        .umem
        .restore(&ledger.free)
        .unwrap_or(FramePool::empty());
    Ok(())
}
