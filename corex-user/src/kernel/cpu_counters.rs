//! What the programs count, CPU by CPU, in eBPF arrays mapped into memory: before Linux 5.19 a process
//! that has given its capabilities up can't read maps any other way (where, as is usual,
//! kernel.unprivileged_bpf_disabled is set).

use std::{
    fs, io,
    marker::PhantomData,
    os::fd::BorrowedFd,
    sync::atomic::{AtomicU64, Ordering},
};

use corex_common::counters::CounterSet;

use super::memory::Memory;

/// One more than the highest number that a CPU of this machine may have.
///
/// # Errors
/// The kernel doesn't tell.
pub fn cpu_numbers() -> io::Result<u32> {
    const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
    let text = fs::read_to_string(POSSIBLE)?;
    highest(&text)
        .map(|cpu| cpu + 1)
        .ok_or_else(|| io::Error::other(format!("{POSSIBLE} has no CPU: {text:?}")))
}

/// The highest number in a list like `0-3,8`.
fn highest(list: &str) -> Option<u32> {
    let numbers = list.trim().split([',', '-']);
    numbers
        .map(|number| number.parse().ok())
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .max()
}

/// Sets of counters in a BPF_F_MMAPABLE array: for each CPU so many.
pub struct CpuCounters<C> {
    memory: Memory<AtomicU64>,
    sets: usize,
    of: PhantomData<C>,
}

impl<C: CounterSet> CpuCounters<C> {
    const WORDS: usize = size_of::<C>() / size_of::<u64>();

    /// Those in the array, which has `sets` for each of `cpus`.
    ///
    /// # Errors
    /// What mmap says.
    pub fn of_map(fd: BorrowedFd<'_>, cpus: u32, sets: u32) -> io::Result<Self> {
        let (cpus, sets) = (cpus as usize, sets as usize);
        Ok(Self {
            memory: Memory::of_map(fd, cpus * sets * Self::WORDS)?,
            sets,
            of: PhantomData,
        })
    }

    /// Begins to count anew. To be called while nobody counts.
    pub fn reset(&self) {
        for word in self.memory.words() {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// One set, summed over CPUs; zero out of range.
    pub fn sum(&self, set: usize) -> C {
        let mut sum = C::default();
        if set < self.sets {
            let words = self.memory.words().chunks_exact(Self::WORDS);
            for values in words.skip(set).step_by(self.sets) {
                sum.add_values(values.iter().map(|word| word.load(Ordering::Relaxed)));
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corex_common::counters::SocketCounters;

    #[test]
    fn the_sum_is_that_of_one_set_over_all_cpus() {
        const WORDS: usize = CpuCounters::<SocketCounters>::WORDS;
        let counters: CpuCounters<SocketCounters> = CpuCounters {
            memory: Memory::on_heap(2 * 3 * WORDS),
            sets: 3,
            of: PhantomData,
        };
        for (cpu, set, steered) in [(0, 1, 5), (1, 1, 7), (0, 2, 100), (1, 0, 1000)] {
            let word = &counters.memory.words()[(cpu * 3 + set) * WORDS];
            word.store(steered, Ordering::Relaxed);
        }
        let sums = [0, 1, 2, 3].map(|set| counters.sum(set).steered);
        assert_eq!(sums, [1000, 12, 100, 0]);
    }

    #[test]
    fn cpus_are_counted_to_the_highest_number() {
        assert_eq!(highest("0\n"), Some(0));
        assert_eq!(highest("0-3\n"), Some(3));
        assert_eq!(highest("0,2-5"), Some(5));
        assert_eq!(highest(""), None);
        assert!(cpu_numbers().is_ok_and(|cpus| cpus > 0));
    }
}
