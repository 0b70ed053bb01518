//! Changes to a message that are made when it is written.

use std::ops::Range;

use crate::Headers;

/// One change: bytes that go, and bytes that come in their place.
#[derive(Clone, Copy, Debug)]
struct Edit {
    at: u32,
    delete: u32,
    /// The end of what is inserted, in [`Edits::text`]; the start is in `start`.
    start: u32,
    end: u32,
}

/// Changes to one message, by place. The message itself stays as it is until [`write()`].
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// In order of place, then of time.
    list: Vec<Edit>,
    text: Vec<u8>,
}

impl Edits {
    /// Forgets all changes and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes that all insertions together take.
    pub const fn inserted(&self) -> usize {
        self.text.len()
    }

    /// Puts bytes in front of the byte at `at`, behind what was inserted there before.
    pub fn insert(&mut self, at: usize, text: &[u8]) {
        self.replace(at..at, text);
    }

    /// Takes bytes away. Those that are gone already stay gone.
    pub fn delete(&mut self, range: Range<usize>) {
        self.replace(range, &[]);
    }

    /// Puts other bytes in the place of some.
    pub fn replace(&mut self, range: Range<usize>, text: &[u8]) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        self.put(range, start);
    }

    /// The same with what `with` appends to a buffer.
    pub fn replace_with(&mut self, range: Range<usize>, with: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len() as u32;
        with(&mut self.text);
        self.put(range, start);
    }

    fn put(&mut self, range: Range<usize>, start: u32) {
        // Messages and what is added to them stay far below 4 GiB.
        let edit = Edit {
            at: range.start as u32,
            delete: range.end.saturating_sub(range.start) as u32,
            start,
            end: self.text.len() as u32,
        };
        let place = self.list.partition_point(|known| known.at <= edit.at);
        self.list.insert(place, edit);
    }

    /// Whether the byte at `at` is taken away.
    pub fn deletes(&self, at: usize) -> bool {
        let covers =
            |edit: &Edit| (edit.at as usize) <= at && at < edit.at as usize + edit.delete as usize;
        self.list.iter().any(covers)
    }

    /// Whether a header field of this name is inserted at `end` or before.
    pub fn inserts_header(&self, name: &[u8], end: usize) -> bool {
        let text = |edit: &Edit| edit.start as usize..edit.end as usize;
        self.list
            .iter()
            .take_while(|edit| edit.at as usize <= end)
            .filter_map(|edit| self.text.get(text(edit)))
            .any(|text| Headers::new(text, 0).any(|header| header.is(name)))
    }

    /// How long a part of the message is after the changes. What is inserted at its end counts,
    /// what is inserted at its start as well.
    pub fn len_of(&self, range: Range<usize>) -> usize {
        let mut len = 0;
        let mut cursor = range.start;
        for edit in &self.list {
            let at = edit.at as usize;
            let end = at + edit.delete as usize;
            if end < range.start || at > range.end {
                continue;
            }
            if at >= range.start {
                len += (edit.end - edit.start) as usize;
            }
            len += at.saturating_sub(cursor);
            cursor = cursor.max(end.min(range.end)).max(at.max(range.start));
        }
        len + range.end.saturating_sub(cursor)
    }
}

/// Writes a message with changes out of two lists: those of the first come first where both insert
/// at one place.
pub fn write(original: &[u8], first: &Edits, second: &Edits, out: &mut Vec<u8>) {
    let mut cursor = 0;
    let (mut a, mut b) = (first.list.iter().peekable(), second.list.iter().peekable());
    loop {
        let from_first = match (a.peek(), b.peek()) {
            (None, None) => break,
            (Some(x), Some(y)) => x.at <= y.at,
            (x, _) => x.is_some(),
        };
        let (edit, text) = if from_first {
            (a.next(), &first.text)
        } else {
            (b.next(), &second.text)
        };
        let Some(edit) = edit else { break };
        let at = edit.at as usize;
        if at > cursor {
            out.extend_from_slice(original.get(cursor..at).unwrap_or_default());
            cursor = at;
        }
        let inserted = edit.start as usize..edit.end as usize;
        out.extend_from_slice(text.get(inserted).unwrap_or_default());
        cursor = cursor.max(at + edit.delete as usize);
    }
    out.extend_from_slice(original.get(cursor..).unwrap_or_default());
}
