//! What a worker is told of its AF_XDP queues while it runs, as NICs come, go, and get more queues.
//! It comes between two batches; who sends it has the privileges that a worker hasn't.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, mpsc::Sender},
};

use corex_xdp::{Bound, UnboundSocket, XskError};

use super::{inline::End, xdp_side::XdpSide};
use crate::{kernel::host::LiveMtu, telemetry::gauges::QueueGauges};

/// One order.
pub enum Order {
    /// Serve this, too.
    Serve(Box<XdpSide>),
    /// Serve more queues over the packet memory of that unit.
    Join {
        /// The unit.
        unit: u32,
        /// The queues.
        queues: Vec<NewQueue>,
        /// Where those are told that could be bound.
        answer: Sender<Vec<Joined>>,
    },
    /// Take what waits in a unit's rings, and let the unit go.
    Retire {
        /// The unit.
        unit: u32,
        /// Told when it is gone.
        answer: Sender<()>,
    },
}

/// A queue to be bound.
pub struct NewQueue {
    /// The socket.
    pub socket: UnboundSocket,
    /// The interface's index.
    pub ifindex: u32,
    /// The queue.
    pub queue: u32,
    /// The interface's MTU now.
    pub mtu: LiveMtu,
    /// How full its rings are.
    pub gauges: Arc<QueueGauges>,
    /// Inline mode: where packets go that come from it, but for its own place.
    pub end: Option<End>,
}

/// A queue that was bound.
pub struct Joined {
    /// How.
    pub bound: Bound,
    /// A descriptor of its socket.
    pub fd: OwnedFd,
    /// How full its rings are.
    pub gauges: Arc<QueueGauges>,
}

impl XdpSide {
    /// Binds more queues, each with an equal share of half of what the pool has. One that can't be
    /// bound is logged and left out.
    pub fn join(&mut self, queues: Vec<NewQueue>) -> Vec<Joined> {
        let share = self.transmit.pool.len() / 2 / queues.len().max(1);
        let mut joined = Vec::new();
        for new in queues {
            let (ifindex, queue) = (new.ifindex, new.queue);
            match self.join_one(new, share) {
                Ok(one) => joined.extend(one),
                Err(error) => tracing::warn!(
                    ifindex,
                    queue,
                    error = &error as &dyn std::error::Error,
                    "a queue of the NIC has no AF_XDP socket"
                ),
            }
        }
        joined
    }

    fn join_one(&mut self, new: NewQueue, share: usize) -> Result<Option<Joined>, XskError> {
        let transmit = &mut self.transmit;
        corex_xdp::join(
            &mut transmit.queues,
            &self.umem,
            &mut transmit.pool,
            new.socket,
            (new.ifindex, new.queue),
            share,
        )?;
        transmit.joined(new.mtu);
        self.gauges.push(Arc::clone(&new.gauges));
        let place = transmit.queues.len() - 1;
        if let Some(inline) = &mut self.inline {
            inline.extend([new.end.map(|end| End { place, ..end })]);
        }
        Ok(transmit.queues.last().and_then(|socket| {
            Some(Joined {
                bound: socket.bound(),
                // Without a descriptor for the kernel's map it only sends.
                fd: socket.as_fd().try_clone_to_owned().ok()?,
                gauges: new.gauges,
            })
        }))
    }
}
