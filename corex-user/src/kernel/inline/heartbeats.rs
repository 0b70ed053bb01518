//! The workers' signs of life, which the programs look at.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use corex_common::maps::MAX_WORKERS;
use nix::time::{ClockId, clock_gettime};

use crate::kernel::memory::Memory;

/// All workers' places in the map HEARTBEATS. Cloning shares them.
#[derive(Clone)]
pub struct Heartbeats(Arc<Memory<AtomicU64>>);

impl Heartbeats {
    /// Those in the map.
    ///
    /// # Errors
    /// What mmap says.
    pub fn of_map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(Arc::new(Memory::of_map(fd, MAX_WORKERS as usize)?)))
    }

    /// A worker shows that it lives.
    pub fn beat(&self, worker: usize) {
        if let Some(word) = self.0.words().get(worker) {
            word.store(now(), Ordering::Relaxed);
        }
    }
}

/// Nanoseconds of the clock that bpf_ktime_get_ns() reads.
fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        (time.tv_sec() as u64)
            .wrapping_mul(1_000_000_000)
            .wrapping_add(time.tv_nsec() as u64)
    })
}
