//! What each thread has on the heap: the system's allocator, with a count beside it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The allocator to name as `#[global_allocator]`.
pub struct CountingHeap;

/// What a thread has asked of the heap since it began. What one thread allocates another may
/// free: then it is in the one's `allocated` and in the other's `freed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapUse {
    /// Bytes allocated.
    pub allocated: u64,
    /// Bytes given back.
    pub freed: u64,
    /// Number of allocations.
    pub allocations: u64,
    /// The most that was allocated and not given back at any time, in bytes.
    pub peak: u64,
}

impl HeapUse {
    /// Bytes in use.
    pub fn in_use(&self) -> i64 {
        self.allocated.wrapping_sub(self.freed) as i64
    }

    /// Of the thread that asks. All zero where [`CountingHeap`] isn't the allocator.
    pub fn of_this_thread() -> HeapUse {
        HERE.try_with(Cell::get).unwrap_or_default()
    }

    fn add(&mut self, bytes: usize) {
        self.allocated = self.allocated.wrapping_add(bytes as u64);
        self.allocations = self.allocations.wrapping_add(1);
        let in_use = u64::try_from(self.in_use()).unwrap_or(0);
        self.peak = self.peak.max(in_use);
    }
}

thread_local! {
    // Neither made on the heap nor dropped: the allocator itself may use it at any time.
    static HERE: Cell<HeapUse> = const {
        Cell::new(HeapUse { allocated: 0, freed: 0, allocations: 0, peak: 0 })
    };
}

fn count(change: impl FnOnce(&mut HeapUse)) {
    // Refused only at the very end of a thread.
    let _ = HERE.try_with(|here| {
        let mut used = here.get();
        change(&mut used);
        here.set(used);
    });
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting
// touches nothing that the caller has.
unsafe impl GlobalAlloc for CountingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|used| used.add(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(|used| used.add(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(|used| used.freed = used.freed.wrapping_add(layout.size() as u64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(|used| {
            used.freed = used.freed.wrapping_add(layout.size() as u64);
            used.add(size);
        });
        // SAFETY: the caller's promise.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// What the whole process has on the heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProcessHeap {
    /// Bytes that are in use, with what threads keep at hand of what was given back.
    pub in_use: u64,
    /// Bytes that the allocator has from the kernel.
    pub held: u64,
}

impl ProcessHeap {
    /// As it is now, by mallinfo2(3). It locks one arena after the other for some microseconds: for
    /// who asks now and then. `None` where the C library doesn't tell (musl).
    pub fn now() -> Option<ProcessHeap> {
        #[cfg(target_env = "gnu")]
        {
            // SAFETY: it takes nothing, and returns a structure of numbers.
            let info = unsafe { libc::mallinfo2() };
            // What is mapped by itself, being large, is in no arena.
            Some(ProcessHeap {
                in_use: (info.uordblks + info.hblkhd) as u64,
                held: (info.arena + info.hblkhd) as u64,
            })
        }
        #[cfg(not(target_env = "gnu"))]
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_and_given_back_is_counted() {
        let mut used = HeapUse::default();
        used.add(100);
        used.add(50);
        used.freed += 100;
        used.add(20);
        assert_eq!((used.in_use(), used.allocations, used.peak), (70, 3, 150));
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn the_process_has_what_its_threads_allocated_in_arenas_and_beside() {
        // Small enough for an arena, and large enough for a mapping of its own; other tests' memory
        // comes and goes, but not as much.
        for (pieces, size) in [(20_000, 1 << 10), (1, 32 << 20)] {
            let before = ProcessHeap::now().unwrap();
            let held: Vec<Vec<u8>> = (0..pieces).map(|_| vec![1; size]).collect();
            let after = ProcessHeap::now().unwrap();
            let least = before.in_use + (pieces * size) as u64 / 2;
            assert!(after.in_use > least, "{before:?} {after:?}");
            assert!(after.held >= after.in_use, "{after:?}");
            drop(held);
        }
    }
}
