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

fn counts(counters: &WorkerCounters) -> [u64; 5] {
    verdicts(&mut counters.clone()).map(|count| *count)
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
    before: [u64; 5],
}

impl Departures {
    /// A packet is begun with.
    pub fn begin(&mut self, counters: &WorkerCounters) {
        self.frames.clear();
        self.before = counts(counters);
    }

    /// A frame went out by that queue.
    pub fn note(&mut self, queue: usize, departed: Departed) {
        self.frames.push((queue, departed));
    }

    /// The packet is done with: as many frames as it got verdicts are marked with these. A message
    /// of several frames is judged by its first.
    pub fn settle(&mut self, counters: &WorkerCounters, queues: &mut [QueueSocket]) {
        if self.frames.is_empty() {
            return;
        }
        let mut frames = self.frames.drain(..);
        let after = counts(counters);
        for (mark, (before, after)) in (0..).zip(self.before.into_iter().zip(after)) {
            for _ in before..after {
                let Some((queue, departed)) = frames.next() else {
                    return;
                };
                if let Some(queue) = queues.get_mut(queue) {
                    queue.mark(departed, mark);
                }
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
            let before = counts(&counters);
            *verdicts(&mut counters)[usize::from(mark)] += 2;
            assert!(take_back(&mut counters, mark));
            let after = counts(&counters);
            assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>() + 1);
            assert_eq!(after[usize::from(mark)], 1);
        }
        assert!(!take_back(&mut counters, 5));
        assert_eq!(counters.decided(), 5);
    }
}
