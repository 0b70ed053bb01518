//! What an engine takes from the one before it, and gives to the one behind it.

use std::io;

use anyhow::Context as _;

use super::PacketEngine;
use crate::{
    daemon::handover::{Estate, Item},
    kernel::{attach::Mode, pins::Pins, xdp_link},
};

impl PacketEngine {
    /// Names what the engine holds beside the workers.
    ///
    /// # Errors
    /// When there are no descriptors left; or where what holds the program can't be handed over.
    pub fn add_to(&self, estate: &mut Estate) -> io::Result<()> {
        let Some(xdp) = &self.xdp else {
            return Ok(());
        };
        for attachment in &xdp.attachments {
            let link = attachment.descriptor().ok_or_else(|| {
                io::Error::other("this kernel has no links for XDP (Linux 5.9 has)")
            })?;
            let item = Item::Link {
                ifindex: attachment.interface.index,
                is_native: attachment.mode == Mode::Native,
            };
            estate.add(item, link.try_clone_to_owned()?);
        }
        if let Some(pins) = &xdp.pins {
            estate.add(Item::Name, pins.lock()?);
        }
        Ok(())
    }

    /// Puts the programs in the places of the predecessor's.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn replace_programs(&mut self) -> anyhow::Result<()> {
        let Some(xdp) = &mut self.xdp else {
            return Ok(());
        };
        for attachment in &xdp.attachments {
            let name = &attachment.interface.name;
            attachment
                .replace(xdp.object.program()?)
                .with_context(|| format!("{name}: put the program in the place of the old one"))?;
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
