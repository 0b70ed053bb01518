//! A socket that goes from one process to another: the descriptor is sent, and the rings, which
//! belong to the socket, are mapped again.

use std::os::fd::OwnedFd;

use super::{Bound, QueueSocket, RING_SIZE, Statistics, XskError};
use crate::Umem;

/// What the process that had a socket knows of it beside the rings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingLedger {
    /// Entries of each ring.
    pub ring_size: u32,
    /// Chunks of the frames handed to the kernel to be sent and not given back yet.
    pub out: Vec<u32>,
    /// What the kernel had dropped on the socket so far.
    pub dropped: Statistics,
}

impl QueueSocket {
    /// What another process must know to go on with the socket: it is used by nobody from here on,
    /// or until that process has given up. `counted`: the last [`Self::statistics`] that this
    /// process counts; what is dropped from then on is the other one's to count.
    pub fn ledger(&self, counted: Statistics) -> RingLedger {
        RingLedger {
            ring_size: RING_SIZE,
            out: self.flight.chunks(),
            dropped: Statistics {
                rx_dropped: self.before.rx_dropped + counted.rx_dropped,
                rx_ring_full: self.before.rx_ring_full + counted.rx_ring_full,
            },
        }
    }

    /// Maps the rings of a socket that another process has bound, and uses still: before it says
    /// that it has stopped, and [`Self::resume`] is called, nothing else may be done with this.
    ///
    /// # Errors
    /// What the kernel says; EBUSY where it maps no rings of a bound socket (before Linux 6.4).
    pub fn attach(fd: OwnedFd, bound: Bound, umem: &Umem) -> Result<Self, XskError> {
        Self::map(fd, bound, umem)
    }

    /// Goes on where the other process has stopped. False: its rings aren't like ours.
    pub fn resume(&mut self, ledger: &RingLedger) -> bool {
        self.rx.resume();
        self.tx.resume();
        self.fill.resume();
        self.completion.resume();
        self.flight.restore(&ledger.out);
        self.before = ledger.dropped;
        ledger.ring_size == RING_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::*;
    use std::os::fd::AsFd as _;

    /// Needs privileges: without them no socket opens, and there is nothing to see.
    #[test]
    fn a_socket_that_is_attached_again_has_the_rings_that_it_had() {
        let (umem, mut pool) = Umem::new(64, 2048).unwrap();
        // `lo` has index 1 in every network namespace.
        let Ok(mut sockets) = open(&umem, &mut pool, &[(1, 0)], true, 0) else {
            eprintln!("skipped: AF_XDP needs CAP_NET_RAW");
            return;
        };
        let mut first = sockets.remove(0);
        let before = (first.filled(), pool.len());
        let mut frame = pool.take().unwrap();
        umem.room_mut(&mut frame)[..60].fill(0);
        umem.set_packet(&mut frame, 60);
        first.transmit(&umem, frame).unwrap();
        let ledger = first.ledger(first.statistics());
        assert_eq!(ledger.out.len(), 1);
        let fd = first.as_fd().try_clone_to_owned().unwrap();
        let mut second = match QueueSocket::attach(fd, first.bound(), &umem) {
            Ok(second) => second,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        first.tx.submit();
        drop(first);
        assert!(second.resume(&ledger));
        assert_eq!((second.filled(), second.waiting()), (before.0, 0));
        assert!(second.has_backlog(), "what was queued is still to be sent");
        assert_eq!(second.in_flight(), 1);
        assert_eq!(second.statistics(), Statistics::default());
        assert_eq!(pool.len(), before.1 - 1);
    }
}
