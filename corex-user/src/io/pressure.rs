//! How full a worker's queues are.

use corex_xdp::RING_SIZE;

use super::{shard, worker::Worker, xdp_side::XdpSide};

/// A part of a whole in percent.
fn percent(part: usize, whole: usize) -> u32 {
    u32::try_from(part.saturating_mul(100) / whole.max(1)).unwrap_or(100)
}

/// How full a receive ring is in which so many packets wait.
pub fn of_ring(waiting: u32) -> u32 {
    percent(waiting as usize, RING_SIZE as usize)
}

impl Worker {
    /// Looks how full its queues are; kernel sockets, as they were when they were read last.
    pub(super) fn look_at_pressure(&mut self) {
        let rings = self.xdp.iter().map(XdpSide::fill);
        let inbox = percent(self.inbox.len(), self.inbox.max_capacity());
        let shard = percent(self.shard.waiting(), shard::MAX_MESSAGES);
        let fullest = rings.chain([inbox, shard, self.sockets_fill]).max();
        self.pipeline.look_at_pressure(fullest.unwrap_or(0));
    }
}
