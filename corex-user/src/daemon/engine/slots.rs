//! Which places of the XSKMAP the queues of each interface have.

use std::{collections::BTreeMap, ops::Range, os::fd::AsRawFd as _};

use corex_common::maps;

use super::units::BoundQueue;
use crate::kernel::object::{Object, ObjectError};

/// The places by interface, each a range that begins with queue 0.
#[derive(Default)]
pub struct Slots {
    ranges: BTreeMap<u32, Range<u32>>,
}

impl Slots {
    /// Packets of an interface's queues are steered to these sockets from now on, without a moment
    /// in which none are. `mode` is [`maps::Queue::mode`]; with `answers` the program may answer what
    /// the interface brings.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open<'q>(
        &mut self,
        object: &mut Object,
        ifindex: u32,
        (mode, answers): (u32, bool),
        queues: impl Iterator<Item = &'q BoundQueue> + Clone,
    ) -> Result<(), ObjectError> {
        let wanted = queues.clone().map(|queue| queue.bound.queue + 1).max();
        let wanted = wanted.unwrap_or(0);
        let range = self.find(wanted);
        if range.len() < wanted as usize {
            tracing::warn!(
                "{} queues of an interface have no place in the XSKMAP: their packets don't go by \
                 AF_XDP directly",
                wanted as usize - range.len()
            );
        }
        for line in queues {
            let slot = range.start + line.bound.queue;
            if !range.contains(&slot) {
                continue;
            }
            let queue = maps::Queue {
                ifindex,
                queue: line.bound.queue,
                worker: line.worker,
                mode,
                zero_copy: line.bound.zero_copy.into(),
            };
            object.add_queue(slot, queue, line.fd.as_raw_fd())?;
        }
        let interface = maps::Interface {
            first_slot: range.start,
            queues: range.len() as u32,
            answers: answers.into(),
        };
        object.add_interface(ifindex, interface)?;
        if let Some(before) = self.ranges.insert(ifindex, range) {
            clear(object, before)?;
        }
        Ok(())
    }

    /// Nothing that comes in by an interface is steered any more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn close(&mut self, object: &mut Object, ifindex: u32) -> Result<(), ObjectError> {
        let Some(range) = self.ranges.remove(&ifindex) else {
            return Ok(());
        };
        object.remove_interface(ifindex)?;
        clear(object, range)
    }

    /// Empties all places. The programs know the interfaces still.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn empty(&self, object: &mut Object) -> Result<(), ObjectError> {
        let mut ranges = self.ranges.values();
        ranges.try_for_each(|range| clear(object, range.clone()))
    }

    /// So many places in a row that nobody has; fewer where there aren't so many.
    fn find(&self, wanted: u32) -> Range<u32> {
        let mut taken: Vec<&Range<u32>> = self.ranges.values().collect();
        taken.sort_by_key(|range| range.start);
        let mut best = 0..0;
        let mut start = 0;
        let ends = taken.iter().map(|range| (range.start, range.end));
        for (end, next) in ends.chain([(maps::MAX_QUEUES, maps::MAX_QUEUES)]) {
            let len = end.saturating_sub(start).min(wanted);
            if len > best.end - best.start {
                best = start..start + len;
            }
            start = next;
        }
        best
    }
}

fn clear(object: &mut Object, mut range: Range<u32>) -> Result<(), ObjectError> {
    range.try_for_each(|slot| object.remove_queue(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_beside_those_taken_and_fewer_where_there_are_no_more() {
        let mut slots = Slots::default();
        assert_eq!(slots.find(4), 0..4);
        slots.ranges = [(7, 0..4), (3, 6..250)].into();
        assert_eq!(slots.find(2), 4..6);
        assert_eq!(slots.find(6), 250..256);
        assert_eq!(slots.find(9), 250..256);
        assert_eq!(slots.find(0), 0..0);
        slots.ranges.insert(9, 4..6);
        slots.ranges.insert(1, 250..256);
        assert_eq!(slots.find(1), 0..0);
    }
}
