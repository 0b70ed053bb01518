//! The workers' counters: in an eBPF array mapped into memory, so that `bpftool map dump`
//! shows what user space counts, or on the heap where there is no eBPF.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use corex_common::counters::WorkerCounters;

use super::memory::Memory;

const FIELDS: usize = WorkerCounters::LEN;

/// All workers' slots. Cloning shares them.
#[derive(Clone)]
pub struct WorkerSlots {
    memory: Arc<Memory<AtomicU64>>,
}

impl WorkerSlots {
    /// Slots on the heap.
    pub fn on_heap(workers: usize) -> Self {
        Self {
            memory: Arc::new(Memory::on_heap(workers * FIELDS)),
        }
    }

    /// Slots in a BPF_F_MMAPABLE array of `workers` [`WorkerCounters`].
    ///
    /// # Errors
    /// What mmap says.
    pub fn of_map(fd: BorrowedFd<'_>, workers: usize) -> io::Result<Self> {
        Ok(Self {
            memory: Arc::new(Memory::of_map(fd, workers * FIELDS)?),
        })
    }

    /// Writes a worker's counters; only that worker does. Out of range: nothing happens.
    pub fn publish(&self, worker: usize, counters: &WorkerCounters) {
        let Some(words) = self.memory.words().get(worker * FIELDS..) else {
            return;
        };
        for (word, value) in words.iter().zip(&counters.values()) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    /// What one worker has published last; zero out of range.
    pub fn of(&self, worker: usize) -> WorkerCounters {
        let mut values = [0u64; FIELDS];
        let words = self.memory.words().iter().skip(worker * FIELDS);
        for (value, word) in values.iter_mut().zip(words) {
            *value = word.load(Ordering::Relaxed);
        }
        WorkerCounters::from_values(values)
    }

    /// The sum over all workers.
    pub fn total(&self) -> WorkerCounters {
        let mut values = [0u64; FIELDS];
        for slot in self.memory.words().chunks_exact(FIELDS) {
            for (sum, word) in values.iter_mut().zip(slot) {
                *sum = sum.wrapping_add(word.load(Ordering::Relaxed));
            }
        }
        WorkerCounters::from_values(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_of_what_the_workers_published() {
        let slots = WorkerSlots::on_heap(2);
        let counters = |sent| WorkerCounters {
            sent,
            ..WorkerCounters::default()
        };
        slots.publish(0, &counters(3));
        slots.publish(1, &counters(4));
        slots.publish(0, &counters(5));
        slots.publish(2, &counters(100));
        assert_eq!(slots.total(), counters(9));
        assert_eq!(slots.of(1), counters(4));
        assert_eq!(slots.of(2), counters(0));
    }
}
