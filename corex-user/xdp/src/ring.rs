//! The four rings: single producer, single consumer, in memory shared with the kernel.
//!
//! Indices are `u32` that wrap; their difference is the fill level. The side that publishes
//! an index stores it with release after the entries, and the other loads it with acquire
//! before them.

use std::ptr::NonNull;

use crate::sync::{AtomicU32, Entry, Ordering};

/// Where a ring's fields are. The memory is owned elsewhere and outlives the ring.
pub struct RingMemory<T> {
    /// Index of the next entry that the producer writes.
    pub producer: NonNull<AtomicU32>,
    /// Index of the next entry that the consumer reads.
    pub consumer: NonNull<AtomicU32>,
    /// XDP_RING_NEED_WAKEUP.
    pub flags: NonNull<AtomicU32>,
    /// The first entry.
    pub entries: NonNull<Entry<T>>,
    /// How many; a power of two.
    pub size: u32,
}

impl<T> RingMemory<T> {
    #[inline]
    fn index(&self, field: NonNull<AtomicU32>) -> &AtomicU32 {
        // SAFETY: the constructor's caller vouched for the fields; an atomic may be shared
        // with the kernel.
        unsafe { field.as_ref() }
    }

    #[inline]
    fn entry(&self, index: u32) -> &Entry<T> {
        // SAFETY: masked, so within `size` entries, which the constructor's caller vouched for.
        unsafe {
            self.entries
                .add((index & (self.size - 1)) as usize)
                .as_ref()
        }
    }

    /// Whether the kernel asks to be woken for this ring.
    #[inline]
    pub fn needs_wakeup(&self) -> bool {
        self.index(self.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// Our end of a ring that the kernel consumes: fill and transmit.
pub struct Producer<T> {
    memory: RingMemory<T>,
    next: u32,
    consumed: u32,
}

// SAFETY: the pointers lead to memory of the process; one thread at a time uses the ring.
unsafe impl<T: Send> Send for Producer<T> {}

impl<T: Copy> Producer<T> {
    /// # Safety
    /// The fields of `memory` point into a live mapping that outlives the ring, `size` is a
    /// power of two and the number of entries there, and nobody else produces.
    pub unsafe fn new(memory: RingMemory<T>) -> Self {
        let next = memory.index(memory.producer).load(Ordering::Relaxed);
        let consumed = memory.index(memory.consumer).load(Ordering::Acquire);
        Self {
            memory,
            next,
            consumed,
        }
    }

    /// Goes on where the ring is now: another process had this end meanwhile.
    pub fn resume(&mut self) {
        let memory = &self.memory;
        self.next = memory.index(memory.producer).load(Ordering::Acquire);
        self.consumed = memory.index(memory.consumer).load(Ordering::Acquire);
    }

    /// Free entries, asking the kernel's index only when the known ones don't suffice.
    #[inline]
    pub fn free(&mut self, wanted: u32) -> u32 {
        let free = self.memory.size - self.next.wrapping_sub(self.consumed);
        if free >= wanted {
            return free;
        }
        self.consumed = self
            .memory
            .index(self.memory.consumer)
            .load(Ordering::Acquire);
        self.memory.size - self.next.wrapping_sub(self.consumed)
    }

    /// Writes an entry; the kernel sees it after [`Self::submit`]. Gives it back when full.
    #[inline]
    pub fn push(&mut self, entry: T) -> Result<(), T> {
        if self.free(1) == 0 {
            return Err(entry);
        }
        self.memory.entry(self.next).with_mut(|place| {
            // SAFETY: the entry is free, so the kernel doesn't read it.
            unsafe { place.write(entry) };
        });
        self.next = self.next.wrapping_add(1);
        Ok(())
    }

    /// Entries published and not yet taken by the kernel.
    pub fn pending(&self) -> u32 {
        let taken = self
            .memory
            .index(self.memory.consumer)
            .load(Ordering::Acquire);
        self.next.wrapping_sub(taken)
    }

    /// Entries that were pushed since the last [`Self::submit`].
    pub fn unsubmitted(&self) -> u32 {
        let submitted = self
            .memory
            .index(self.memory.producer)
            .load(Ordering::Relaxed);
        self.next.wrapping_sub(submitted)
    }

    /// The entries that the kernel has not taken, in order.
    pub fn untaken(&self) -> impl Iterator<Item = T> + '_ {
        let pending = self.pending();
        (0..pending).map(move |back| self.look(self.next.wrapping_sub(pending).wrapping_add(back)))
    }

    /// The last entry that the kernel has taken, if it has not been overwritten.
    pub fn last_taken(&self) -> Option<T> {
        let pending = self.pending();
        (pending < self.memory.size)
            .then(|| self.look(self.next.wrapping_sub(pending).wrapping_sub(1)))
    }

    fn look(&self, index: u32) -> T {
        self.memory.entry(index).with(|place| {
            // SAFETY: an entry of this ring, written by us or zero; the kernel doesn't write it.
            unsafe { place.read() }
        })
    }

    /// Publishes what was pushed.
    pub fn submit(&mut self) {
        self.memory
            .index(self.memory.producer)
            .store(self.next, Ordering::Release);
    }

    /// Whether the kernel asks to be woken for this ring.
    #[inline]
    pub fn needs_wakeup(&self) -> bool {
        self.memory.needs_wakeup()
    }
}

/// Our end of a ring that the kernel produces: receive and completion.
pub struct Consumer<T> {
    memory: RingMemory<T>,
    next: u32,
    produced: u32,
}

// SAFETY: as for `Producer`.
unsafe impl<T: Send> Send for Consumer<T> {}

impl<T: Copy> Consumer<T> {
    /// # Safety
    /// As [`Producer::new`], and nobody else consumes.
    pub unsafe fn new(memory: RingMemory<T>) -> Self {
        let next = memory.index(memory.consumer).load(Ordering::Relaxed);
        let produced = memory.index(memory.producer).load(Ordering::Acquire);
        Self {
            memory,
            next,
            produced,
        }
    }

    /// Goes on where the ring is now: another process had this end meanwhile.
    pub fn resume(&mut self) {
        let memory = &self.memory;
        self.next = memory.index(memory.consumer).load(Ordering::Acquire);
        self.produced = memory.index(memory.producer).load(Ordering::Acquire);
    }

    /// The next entry; the kernel may reuse its place after [`Self::release`].
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.next == self.produced {
            self.produced = self
                .memory
                .index(self.memory.producer)
                .load(Ordering::Acquire);
            if self.next == self.produced {
                return None;
            }
        }
        let entry = self.memory.entry(self.next).with(|place| {
            // SAFETY: published by the producer and not yet released by us.
            unsafe { place.read() }
        });
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// How many entries wait to be taken.
    pub fn waiting(&self) -> u32 {
        let producer = self.memory.index(self.memory.producer);
        producer.load(Ordering::Acquire).wrapping_sub(self.next)
    }

    /// Gives the popped entries' places back.
    pub fn release(&mut self) {
        self.memory
            .index(self.memory.consumer)
            .store(self.next, Ordering::Release);
    }
}

#[cfg(all(test, feature = "loom"))]
mod models;

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::cell::UnsafeCell;

    use super::*;

    /// A ring in plain memory; the test plays the kernel through the other end.
    struct Fake {
        indices: Box<[AtomicU32; 3]>,
        entries: Box<[UnsafeCell<u64>]>,
    }

    impl Fake {
        fn new(size: usize, start: u32) -> Self {
            Self {
                indices: Box::new([
                    AtomicU32::new(start),
                    AtomicU32::new(start),
                    AtomicU32::new(0),
                ]),
                entries: (0..size).map(|_| UnsafeCell::new(0)).collect(),
            }
        }

        fn ends(&self) -> (Producer<u64>, Consumer<u64>) {
            let size = self.entries.len() as u32;
            let entries = NonNull::from(&*self.entries).cast();
            let memory = || RingMemory {
                producer: NonNull::from(&self.indices[0]),
                consumer: NonNull::from(&self.indices[1]),
                flags: NonNull::from(&self.indices[2]),
                entries,
                size,
            };
            // SAFETY: the boxes outlive the ends within each test; one of each end.
            unsafe { (Producer::new(memory()), Consumer::new(memory())) }
        }
    }

    #[test]
    fn entries_come_out_in_order_across_the_wrap_of_the_index() {
        let fake = Fake::new(8, u32::MAX - 3);
        let (mut producer, mut consumer) = fake.ends();
        let mut expected = 0;
        for round in 0..10u64 {
            for i in 0..5 {
                producer.push(round * 5 + i).unwrap();
            }
            producer.submit();
            while let Some(entry) = consumer.pop() {
                assert_eq!(entry, expected);
                expected += 1;
            }
            consumer.release();
        }
        assert_eq!(expected, 50);
    }

    #[test]
    fn a_full_ring_gives_the_entry_back_and_takes_it_after_release() {
        let fake = Fake::new(4, 7);
        let (mut producer, mut consumer) = fake.ends();
        for i in 0..4 {
            producer.push(i).unwrap();
        }
        assert_eq!(producer.push(4), Err(4));
        producer.submit();
        assert_eq!(consumer.pop(), Some(0));
        assert_eq!(producer.push(4), Err(4), "popped, but not released yet");
        consumer.release();
        assert_eq!(producer.push(4), Ok(()));
    }

    #[test]
    fn what_is_taken_and_what_is_not_can_be_looked_at() {
        let fake = Fake::new(4, u32::MAX - 1);
        let (mut producer, mut consumer) = fake.ends();
        for entry in 1..=4 {
            producer.push(entry).unwrap();
        }
        producer.submit();
        assert_eq!(producer.last_taken(), None, "the ring is full of others");
        assert_eq!((consumer.pop(), consumer.pop()), (Some(1), Some(2)));
        consumer.release();
        assert_eq!(producer.last_taken(), Some(2));
        assert_eq!(producer.untaken().collect::<Vec<_>>(), [3, 4]);
        producer.push(5).unwrap();
        assert_eq!(producer.untaken().collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn nothing_is_seen_before_submit() {
        let fake = Fake::new(4, 0);
        let (mut producer, mut consumer) = fake.ends();
        producer.push(1).unwrap();
        assert_eq!(consumer.pop(), None);
        producer.submit();
        assert_eq!(consumer.pop(), Some(1));
    }

    #[test]
    fn another_end_goes_on_where_the_first_one_stopped() {
        let fake = Fake::new(8, u32::MAX - 1);
        let (mut late_producer, mut late_consumer) = fake.ends();
        let (mut producer, mut consumer) = fake.ends();
        for i in 0..5 {
            producer.push(i).unwrap();
        }
        producer.submit();
        assert_eq!([consumer.pop(), consumer.pop()], [Some(0), Some(1)]);
        consumer.release();
        late_producer.resume();
        late_consumer.resume();
        assert_eq!((late_producer.pending(), late_consumer.waiting()), (3, 3));
        late_producer.push(5).unwrap();
        late_producer.submit();
        let rest: Vec<u64> = std::iter::from_fn(|| late_consumer.pop()).collect();
        assert_eq!(rest, [2, 3, 4, 5]);
    }

    #[test]
    fn two_threads_exchange_every_entry_once() {
        let fake = Fake::new(16, u32::MAX - 100);
        let (mut producer, mut consumer) = fake.ends();
        const COUNT: u64 = if cfg!(miri) { 300 } else { 100_000 };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for i in 0..COUNT {
                    while producer.push(i).is_err() {
                        std::thread::yield_now();
                    }
                    producer.submit();
                }
            });
            for i in 0..COUNT {
                let entry = loop {
                    match consumer.pop() {
                        Some(entry) => break entry,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(entry, i);
                consumer.release();
            }
        });
    }
}
