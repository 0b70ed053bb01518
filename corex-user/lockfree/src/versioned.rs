//! Numbers that belong together.

use std::array;

use crate::sync::{AtomicU64, Ordering, fence, spin_loop};

/// So many numbers of one writer. Readers see them as they were at one moment between two
/// replacements; each grows by itself meanwhile. The writer never waits.
#[derive(Debug)]
pub struct Versioned<const N: usize> {
    /// Odd while the numbers are replaced.
    version: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Default for Versioned<N> {
    fn default() -> Self {
        Self {
            version: AtomicU64::new(0),
            words: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl<const N: usize> Versioned<N> {
    /// All numbers. Waits while they are replaced.
    pub fn read(&self) -> [u64; N] {
        self.read_with(|| ()).0
    }

    /// All numbers, and what `others` reads elsewhere: all of it before a replacement, or behind it, with what
    /// the writer changes elsewhere in [`Self::replace_with`]. `others` may be called several times.
    pub fn read_with<R>(&self, mut others: impl FnMut() -> R) -> ([u64; N], R) {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let others = others();
                let words = self
                    .words
                    .each_ref()
                    .map(|word| word.load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return (words, others);
                }
            }
            spin_loop();
        }
    }

    /// Puts others in their place. Only the writer may.
    pub fn replace(&self, words: [u64; N]) {
        self.replace_with(words, || ());
    }

    /// The same, and what `others` changes elsewhere.
    pub fn replace_with(&self, words: [u64; N], others: impl FnOnce()) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (place, word) in self.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        others();
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// Adds to one of them; nothing where there is no such. Only the writer may, so that no exchange is
    /// needed.
    #[inline]
    pub fn add(&self, at: usize, more: u64) {
        if let Some(word) = self.words.get(at) {
            let sum = word.load(Ordering::Relaxed).wrapping_add(more);
            word.store(sum, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_replaced_together_and_grow_one_by_one() {
        let numbers = Versioned::<3>::default();
        assert_eq!(numbers.read(), [0; 3]);
        numbers.replace([7, u64::MAX, 1]);
        numbers.add(1, 2);
        numbers.add(2, 5);
        numbers.add(3, 1);
        assert_eq!(numbers.read(), [7, 1, 6]);
        numbers.replace([8, 0, 0]);
        assert_eq!(numbers.read(), [8, 0, 0]);
    }

    #[test]
    fn readers_beside_the_writer_never_see_a_mixture() {
        const ROUNDS: u64 = if cfg!(miri) { 50 } else { 100_000 };
        let numbers = Versioned::<4>::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    numbers.replace([round; 4]);
                }
            });
            let mut last = 0;
            while last < ROUNDS {
                let [first, rest @ ..] = numbers.read();
                assert_eq!(rest, [first; 3]);
                assert!(first >= last);
                last = first;
                std::thread::yield_now();
            }
        });
    }
}
