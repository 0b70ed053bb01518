//! What an engine takes from the one before it, and gives to the one behind it.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use anyhow::Context as _;

use super::PacketEngine;
use crate::{
    daemon::handover::{Estate, Item},
    kernel::{attach::Mode, guard_rates, pins::Pins, xdp_link},
};

impl PacketEngine {
    /// Names what the engine holds beside the workers.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn add_to(&self, estate: &mut Estate) -> io::Result<()> {
        let Some(xdp) = &self.xdp else {
            return Ok(());
        };
        for on in xdp.nics.all.iter().filter_map(|nic| nic.on.as_ref()) {
            let Some(link) = &on.link else { continue };
            let item = Item::Link {
                ifindex: on.interface.index,
                is_native: on.mode == Mode::Native,
            };
            estate.add(item, link.as_fd().try_clone_to_owned()?);
        }
        match xdp.object.buckets() {
            Ok((rates, buckets)) => {
                let rates = format!("{rates:?}");
                estate.add(Item::Buckets { rates }, buckets);
            }
            Err(error) => tracing::warn!("buckets of rates aren't handed over: {error}"),
        }
        if let Some(pins) = &xdp.pins {
            estate.add(Item::Name, pins.lock()?);
        }
        Ok(())
    }

    /// Goes on with the buckets of the predecessor's programs, if they are of the same rules. What its
    /// programs let through from now on until these are in their places, they may once more.
    pub fn take_buckets(&self, rates: &str, buckets: BorrowedFd<'_>) {
        let Some(xdp) = &self.xdp else { return };
        let taken = match xdp.object.buckets() {
            Ok((own, _)) if format!("{own:?}") != rates => return,
            Ok((_, own)) => guard_rates::copy_buckets(buckets, own.as_fd()),
            Err(error) => Err(io::Error::other(error)),
        };
        match taken {
            Ok(0) => {}
            Ok(sources) => tracing::info!(sources, "guard: buckets of rates are taken over"),
            Err(error) => tracing::warn!("guard: buckets of rates begin anew: {error}"),
        }
    }

    /// Nothing is changed any more, as a successor is about to have it; or that may be done again.
    pub fn freeze(&mut self, is_frozen: bool) {
        if let Some(xdp) = &mut self.xdp {
            xdp.is_frozen = is_frozen;
            if let Some(roads) = &xdp.roads {
                roads.hold(is_frozen);
            }
        }
    }

    /// Puts the programs in the places of the predecessor's.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn replace_programs(&mut self) -> anyhow::Result<()> {
        let Some(xdp) = &mut self.xdp else {
            return Ok(());
        };
        for on in xdp.nics.all.iter().filter_map(|nic| nic.on.as_ref()) {
            let Some(link) = &on.link else { continue };
            let program = xdp.object.program()?.fd()?;
            link.update(program.as_fd()).with_context(|| {
                let name = &on.interface.name;
                format!("{name}: put the program in the place of the old one")
            })?;
        }
        Ok(())
    }

    /// Takes the name that the predecessor had, and pins the maps in place of its own.
    pub fn adopt(&mut self, pins: Pins) {
        let Some(xdp) = &mut self.xdp else { return };
        pins.clear();
        match xdp.object.pin(&pins) {
            Ok(()) => tracing::info!("maps pinned in {}", pins.path().display()),
            Err(error) => tracing::warn!("maps are not pinned: {error}"),
        }
        xdp.pins = Some(pins);
    }

    /// Counts what is left in the rings for the successor, whose programs are attached by now; the
    /// workers are parked.
    pub fn count_handed_over(&mut self) -> u64 {
        let Some(xdp) = &mut self.xdp else { return 0 };
        xdp_link::wait_for_running_programs();
        let steered = xdp.object.counters().steered;
        let user = self.slots.total();
        let seen = user.xdp_in + user.drop_rx_ring_full + user.drop_rx_dropped;
        self.handed_over = (steered + self.taken_over).saturating_sub(seen);
        self.handed_over
    }

    /// The number of packets that the workers find in the rings and that the predecessor's program
    /// had steered there.
    pub fn took_over(&mut self, packets: u64) {
        self.taken_over = packets;
    }
}
