//! A part of a table: what is behind one of its locks. Nothing here takes longer the more entries
//! there are, but for the growth of the map.

use std::hash::RandomState;
use std::time::Instant;

use indexmap::IndexMap;

use crate::settings::SharedValue;

/// Bytes that an entry takes beside its key and a string: its own fields, its places in the index,
/// where half may be free, and what the allocator adds.
pub const PER_ENTRY: usize = 128;

/// An entry.
pub struct Entry {
    /// Its value.
    pub value: SharedValue,
    /// When its time is over; `None`: never.
    pub expires: Option<Instant>,
}

impl Entry {
    /// Whether its time is over.
    pub fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// Bytes that an entry takes.
pub fn cost(key: &[u8], value: &SharedValue) -> usize {
    let text = match value {
        SharedValue::Int(_) => 0,
        SharedValue::Str(text) => text.len(),
    };
    PER_ENTRY + key.len() + text
}

/// What was taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Freed {
    /// Entries.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Freed {
    fn add(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes;
    }
}

/// All that was in a part. To be looked at and dropped without the lock.
pub struct Taken(Entries);

impl Taken {
    /// How much it was.
    pub fn freed(&self) -> Freed {
        let mut freed = Freed::default();
        for (key, entry) in &self.0 {
            freed.add(cost(key, &entry.value));
        }
        freed
    }
}

type Entries = IndexMap<Box<[u8]>, Entry, RandomState>;

/// Entries by key. They have positions, too, so that a sweep can go on where it stopped.
#[derive(Default)]
pub struct Shard {
    entries: Entries,
    /// Where the next sweep begins.
    cursor: usize,
}

impl Shard {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// A key's entry, its time over or not.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    /// Puts an entry in where there is none of this key.
    pub fn insert(&mut self, key: &[u8], entry: Entry) {
        self.entries.insert(key.into(), entry);
    }

    /// Takes a key's entry out.
    pub fn remove(&mut self, key: &[u8]) -> Freed {
        let mut freed = Freed::default();
        if let Some((key, entry)) = self.entries.swap_remove_entry(key) {
            freed.add(cost(&key, &entry.value));
        }
        freed
    }

    /// Looks at `most` entries at least, from where the last sweep stopped, and takes those out whose
    /// time is over.
    pub fn sweep(&mut self, now: Instant, most: usize) -> Freed {
        let mut freed = Freed::default();
        for _ in 0..most.min(self.entries.len()) {
            if self.cursor >= self.entries.len() {
                self.cursor = 0;
            }
            match self.entries.get_index(self.cursor) {
                Some((_, entry)) if entry.is_over(now) => {
                    // The last one takes its position, and is next.
                    freed.add(self.remove_at(self.cursor));
                }
                _ => self.cursor += 1,
            }
        }
        self.shrink();
        freed
    }

    /// Takes those out of the `count` entries below position `end` that `keep` doesn't want, or whose
    /// time is over. The next ones end at what this returns. Whoever goes from the end down to 0 so
    /// has looked at every entry that was there all the time, whatever was taken out meanwhile: the
    /// last one, which takes the position of one that goes, was looked at.
    pub fn retain_below(
        &mut self,
        end: usize,
        count: usize,
        now: Instant,
        keep: &mut impl FnMut(&[u8], &Entry) -> bool,
    ) -> (usize, Freed) {
        let mut freed = Freed::default();
        let end = end.min(self.entries.len());
        let begin = end.saturating_sub(count);
        for at in (begin..end).rev() {
            if let Some((key, entry)) = self.entries.get_index(at)
                && (entry.is_over(now) || !keep(key, entry))
            {
                freed.add(self.remove_at(at));
            }
        }
        self.shrink();
        (begin, freed)
    }

    /// Takes all out, at once.
    pub fn take_all(&mut self) -> Taken {
        self.cursor = 0;
        Taken(std::mem::take(&mut self.entries))
    }

    fn remove_at(&mut self, at: usize) -> usize {
        let removed = self.entries.swap_remove_index(at);
        removed.map_or(0, |(key, entry)| cost(&key, &entry.value))
    }

    /// Gives memory back when most of it has become free.
    fn shrink(&mut self) {
        const LEAST: usize = 64;
        if self.entries.capacity() > LEAST && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to((self.entries.len() * 2).max(LEAST));
        }
    }
}
