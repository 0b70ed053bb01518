//! Models of the rings: what holds in whatever order both ends run, and see what the other one wrote.
//! The kernel's end is played by ours of the other kind, which has the same protocol.

use std::sync::Arc;

use loom::thread;

use super::*;

/// Indices near the wrap, and two entries.
struct Shared {
    indices: [AtomicU32; 3],
    entries: Box<[Entry<u64>]>,
}

// SAFETY: the entries are accessed by the rings' protocol only, which is what models try.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

const SIZE: u32 = 2;

impl Shared {
    fn new() -> Arc<Self> {
        let index = |value| AtomicU32::new(value);
        Arc::new(Self {
            indices: [index(u32::MAX), index(u32::MAX), index(0)],
            entries: (0..SIZE).map(|_| Entry::new(0)).collect(),
        })
    }

    fn memory(&self) -> RingMemory<u64> {
        RingMemory {
            producer: NonNull::from(&self.indices[0]),
            consumer: NonNull::from(&self.indices[1]),
            flags: NonNull::from(&self.indices[2]),
            entries: NonNull::from(&self.entries[0]),
            size: SIZE,
        }
    }

    /// One of the ends; each thread keeps what it is made of.
    fn producer(&self) -> Producer<u64> {
        // SAFETY: the caller keeps `self` longer, and makes one of each end.
        unsafe { Producer::new(self.memory()) }
    }

    fn consumer(&self) -> Consumer<u64> {
        // SAFETY: as above.
        unsafe { Consumer::new(self.memory()) }
    }
}

#[test]
fn every_entry_arrives_once_whole_and_in_order() {
    const COUNT: u64 = 3;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(|| {
        let shared = Shared::new();
        let sender = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut producer = sender.producer();
            for entry in 1..=COUNT {
                while producer.push(entry).is_err() {
                    thread::yield_now();
                }
                producer.submit();
            }
        });
        let mut consumer = shared.consumer();
        for expected in 1..=COUNT {
            let entry = loop {
                match consumer.pop() {
                    Some(entry) => break entry,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(entry, expected);
            consumer.release();
        }
        assert_eq!(consumer.pop(), None);
        thread.join().unwrap();
    });
}

#[test]
fn entries_that_are_submitted_together_are_seen_together_or_in_part_but_never_unwritten() {
    loom::model(|| {
        let shared = Shared::new();
        let sender = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut producer = sender.producer();
            producer.push(7).unwrap();
            producer.push(8).unwrap();
            producer.submit();
            // What the other end hasn't taken can be looked at meanwhile.
            let untaken: Vec<u64> = producer.untaken().collect();
            assert!([&[][..], &[7, 8]].contains(&&untaken[..]));
            producer.push(9).is_ok()
        });
        let mut consumer = shared.consumer();
        let seen: Vec<u64> = std::iter::from_fn(|| consumer.pop()).collect();
        assert!(seen.is_empty() || seen == [7, 8]);
        consumer.release();
        let is_pushed = thread.join().unwrap();
        assert!(!is_pushed || !seen.is_empty());
    });
}

#[test]
fn another_end_goes_on_where_the_first_one_stopped() {
    loom::model(|| {
        let shared = Shared::new();
        let sender = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut producer = sender.producer();
            producer.push(1).unwrap();
            producer.submit();
            let mut successor = sender.producer();
            successor.resume();
            successor.push(2).unwrap();
            successor.submit();
        });
        let mut consumer = shared.consumer();
        let first = consumer.pop();
        consumer.release();
        let mut successor = shared.consumer();
        successor.resume();
        thread.join().unwrap();
        let rest: Vec<u64> = std::iter::from_fn(|| successor.pop()).collect();
        let all: Vec<u64> = first.into_iter().chain(rest).collect();
        assert_eq!(all, [1, 2]);
    });
}
