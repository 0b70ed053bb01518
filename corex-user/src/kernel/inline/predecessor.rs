//! What the instance before counted, to its end and after it: the programs that it left went on
//! until those of its successor took their places.

use aya::maps::{Array, Map, MapData, MapError};
use corex_common::{
    counters::{DetourCounters, EgressCounters, KernelCounters, WorkerCounters},
    inline, maps,
};

use crate::kernel::pins::Pins;

/// The counters of an instance that has ended.
pub struct Predecessor {
    kernel: MapData,
    egress: MapData,
    detour: MapData,
    workers: MapData,
}

/// What its programs decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// XDP on the NICs.
    pub kernel: KernelCounters,
    /// TC on the NICs' egress.
    pub egress: EgressCounters,
    /// XDP on the detours.
    pub detour: DetourCounters,
    /// Its workers.
    pub user: WorkerCounters,
}

impl Left {
    /// Packets that were in its hands when it died: those that were steered to it and that it had no
    /// verdict about, and those that it had put into transmit rings, where the kernel hadn't taken
    /// them. What its workers hadn't published yet is among them.
    pub fn in_hand(&self) -> u64 {
        let steered = self.kernel.steered + self.detour.steered;
        let at_stake = self.user.tx_queued.saturating_sub(self.user.tx_taken);
        steered.saturating_sub(self.user.decided()) + at_stake
    }

    /// Packets that passed, and that were dropped, as nobody served their queue.
    pub fn unserved(&self) -> (u64, u64) {
        (
            self.kernel.pass_no_xsk
                + self.kernel.pass_hung
                + self.egress.pass_no_xsk
                + self.egress.pass_hung
                + self.detour.pass_returned,
            self.kernel.drop_no_xsk
                + self.kernel.drop_hung
                + self.egress.drop_no_xsk
                + self.egress.drop_hung
                + self.detour.drop_no_xsk,
        )
    }
}

impl Predecessor {
    /// Opens its maps, while they are still pinned. `None`: there was none in inline mode.
    pub fn open(pins: &Pins) -> Option<Self> {
        let open = |name| MapData::from_pin(pins.place(name)).ok();
        Some(Self {
            kernel: open(maps::COUNTERS)?,
            egress: open(inline::EGRESS_COUNTS)?,
            detour: open(inline::DETOUR_COUNTS)?,
            workers: open(maps::WORKERS)?,
        })
    }

    /// Reads them, when its programs are gone.
    ///
    /// # Errors
    /// What the kernel says; an instance of another version may have counted otherwise.
    pub fn read(self) -> Result<Left, MapError> {
        let mut left = Left::default();
        for cpu in values::<KernelCounters>(self.kernel)? {
            left.kernel.add(&cpu);
        }
        for cpu in values::<EgressCounters>(self.egress)? {
            left.egress.add(&cpu);
        }
        for cpu in values::<DetourCounters>(self.detour)? {
            left.detour.add(&cpu);
        }
        for worker in values::<WorkerCounters>(self.workers)? {
            left.user.add(&worker);
        }
        Ok(left)
    }
}

fn values<V: aya::Pod>(data: MapData) -> Result<Vec<V>, MapError> {
    let array: Array<MapData, V> = Map::Array(data).try_into()?;
    array.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_in_transmit_rings_is_in_hand_though_it_has_a_verdict() {
        let mut left = Left::default();
        left.kernel.steered = 70;
        left.detour.steered = 30;
        left.user.delivered = 60;
        left.user.sent = 30;
        assert_eq!(left.in_hand(), 10);
        left.user.tx_queued = 90;
        left.user.tx_taken = 42;
        assert_eq!(left.in_hand(), 58);
    }
}
