//! The workers' counters: in an eBPF array mapped into memory, so that `bpftool map dump`
//! shows what user space counts, or on the heap where there is no eBPF.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use corex_common::counters::WorkerCounters;

const FIELDS: usize = WorkerCounters::LEN;

enum Memory {
    Heap(Box<[AtomicU64]>),
    Mapped {
        start: NonNull<AtomicU64>,
        len: usize,
    },
}

// SAFETY: the mapping holds atomics only and lives until the last owner drops it.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn words(&self) -> &[AtomicU64] {
        match self {
            Self::Heap(words) => words,
            // SAFETY: `len` words were mapped; atomics may be shared with the kernel.
            Self::Mapped { start, len } => unsafe {
                std::slice::from_raw_parts(start.as_ptr(), *len)
            },
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Self::Mapped { start, len } = self {
            // SAFETY: mapped in `of_map` with this length; nobody holds a reference.
            unsafe { libc::munmap(start.as_ptr().cast(), *len * size_of::<AtomicU64>()) };
        }
    }
}

/// All workers' slots. Cloning shares them.
#[derive(Clone)]
pub struct WorkerSlots {
    memory: Arc<Memory>,
}

impl WorkerSlots {
    /// Slots on the heap.
    pub fn on_heap(workers: usize) -> Self {
        let words = (0..workers * FIELDS).map(|_| AtomicU64::new(0)).collect();
        Self {
            memory: Arc::new(Memory::Heap(words)),
        }
    }

    /// Slots in a BPF_F_MMAPABLE array of `workers` [`WorkerCounters`].
    ///
    /// # Errors
    /// What mmap says.
    pub fn of_map(fd: BorrowedFd<'_>, workers: usize) -> io::Result<Self> {
        let len = workers * FIELDS;
        // SAFETY: the kernel chooses the address and checks the length against the map.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len * size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast())
            .ok_or_else(|| io::Error::other("mmap returned address zero"))?;
        Ok(Self {
            memory: Arc::new(Memory::Mapped { start, len }),
        })
    }

    /// Writes a worker's counters; only that worker does. Out of range: nothing happens.
    pub fn publish(&self, worker: usize, counters: &WorkerCounters) {
        let words = self.memory.words().iter().skip(worker * FIELDS);
        for (word, value) in words.zip(counters.values()) {
            word.store(value, Ordering::Relaxed);
        }
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
    }
}
