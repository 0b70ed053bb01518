//! Which verdict each frame on its way out stands for: a message whose frame the NIC doesn't send is
//! not to stay among those that were sent.

use corex_common::counters::WorkerCounters;
use corex_xdp::{Departed, QueueSocket};

/// The verdicts of messages that leave by AF_XDP; a frame's mark is the index of one.
fn verdicts(counters: &mut WorkerCounters) -> [&mut u64; 5] {
    [
        &mut counters.sent,
        &mut counters.replied,
        &mut counters.consumed,
        &mut counters.delivered,
        &mut counters.handed_back,
    ]
}

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts([u64; 5]);

impl Verdicts {
    /// Those that are counted by now.
    #[inline]
    pub fn of(counters: &WorkerCounters) -> Self {
        Self([
            counters.sent,
            counters.replied,
            counters.consumed,
            counters.delivered,
            counters.handed_back,
        ])
    }

    /// The marks of verdicts that were given since.
    pub fn marks_until(&self, after: &Self) -> impl Iterator<Item = u8> + use<> {
        let pairs = (0..).zip(self.0.into_iter().zip(after.0));
        pairs.flat_map(|(mark, (before, after))| (before..after).map(move |_| mark))
    }

    /// The first of them; `None`: no verdict was given that has a mark.
    #[inline]
    pub fn mark_until(&self, after: &Self) -> Option<u8> {
        let given = self
            .0
            .iter()
            .zip(&after.0)
            .position(|(one, other)| other > one);
        given.and_then(|mark| u8::try_from(mark).ok())
    }
}

/// Takes the verdict of a frame with that mark back.
pub fn take_back(counters: &mut WorkerCounters, mark: u8) -> bool {
    match verdicts(counters).into_iter().nth(mark.into()) {
        Some(count) => {
            *count = count.saturating_sub(1);
            true
        }
        None => false,
    }
}

/// The frames that went out since a packet was begun with.
#[derive(Debug, Default)]
pub struct Departures {
    frames: Vec<(usize, Departed)>,
    before: Verdicts,
}

impl Departures {
    /// A packet is begun with.
    #[inline]
    pub fn begin(&mut self, counters: &WorkerCounters) {
        self.frames.clear();
        self.before = Verdicts::of(counters);
    }

    /// A frame went out by that queue.
    #[inline]
    pub fn note(&mut self, queue: usize, departed: Departed) {
        self.frames.push((queue, departed));
    }

    /// The packet is done with: as many frames as it got verdicts are marked with these. A message
    /// of several frames is judged by its first.
    #[inline]
    pub fn settle(&mut self, counters: &WorkerCounters, queues: &mut [QueueSocket]) {
        if self.frames.is_empty() {
            return;
        }
        let after = Verdicts::of(counters);
        if let [(queue, departed)] = self.frames[..] {
            let (mark, queue) = (self.before.mark_until(&after), queues.get_mut(queue));
            if let (Some(mark), Some(queue)) = (mark, queue) {
                queue.mark(departed, mark);
            }
            return;
        }
        for (mark, (queue, departed)) in self.before.marks_until(&after).zip(&self.frames) {
            if let Some(queue) = queues.get_mut(*queue) {
                queue.mark(*departed, mark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_taken_back_is_the_one_that_was_given() {
        let mut counters = WorkerCounters::default();
        for mark in 0..5 {
            let before = Verdicts::of(&counters).0;
            *verdicts(&mut counters)[usize::from(mark)] += 2;
            assert!(take_back(&mut counters, mark));
            let after = Verdicts::of(&counters).0;
            assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>() + 1);
            assert_eq!(after[usize::from(mark)], 1);
        }
        assert!(!take_back(&mut counters, 5));
        assert_eq!(counters.decided(), 5);
    }
}
