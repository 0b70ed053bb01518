//! Where in the configuration something was written.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest source text in bytes that is read: 4 MiB. It keeps every offset in 32 bits and
/// bounds what a mistaken path (a core dump, a log) can cost.
pub const MAX_SOURCE_LEN: usize = 4 << 20;

/// Names one source text of a [`Sources`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(u16);

impl FileId {
    /// Stands for "no file": what a thing without a place in a file carries.
    pub const NONE: FileId = FileId(u16::MAX);

    /// Its place in [`Sources::names`].
    pub fn index(self) -> u16 {
        self.0
    }
}

/// A run of bytes in a source text: `start..end`, byte offsets from the text's beginning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    /// The text that the offsets count in.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte; equal to `start` for a place between two bytes.
    pub end: u32,
}

impl Span {
    /// The span of something that was written nowhere.
    pub const NONE: Span = Span {
        file: FileId::NONE,
        start: 0,
        end: 0,
    };

    /// A span of `range` in `file`. Offsets beyond [`MAX_SOURCE_LEN`] are cut to it.
    pub fn new(file: FileId, range: Range<usize>) -> Span {
        let cut = |at: usize| at.min(MAX_SOURCE_LEN) as u32;
        Span {
            file,
            start: cut(range.start),
            end: cut(range.end.max(range.start)),
        }
    }

    /// Whether it names no place.
    pub fn is_none(self) -> bool {
        self.file == FileId::NONE
    }

    /// The smallest span that covers both. Of spans in different files, or when one is
    /// [`Span::NONE`], the one that names a place, else `self`.
    pub fn to(self, other: Span) -> Span {
        if self.is_none() {
            return other;
        }
        if self.file != other.file {
            return self;
        }
        Span {
            file: self.file,
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The empty span at its end.
    pub fn after(self) -> Span {
        Span {
            start: self.end,
            ..self
        }
    }
}

/// A place as people read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location<'a> {
    /// The file's name as it was given.
    pub file: &'a str,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

impl std::fmt::Display for Location<'_> {
    /// Writes `file:line:column`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How a text came to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The words before the place, as "included from".
    pub how: &'static str,
    /// The line that asked for it.
    pub place: Span,
}

/// One source text with its name.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: Arc<str>,
    path: Option<PathBuf>,
    origin: Option<Origin>,
    /// Offset of the first byte of each line; the first is 0.
    line_starts: Vec<u32>,
}

impl Source {
    pub(super) fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Source {
        let text = text.into();
        let mut line_starts = vec![0];
        line_starts.extend(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at as u32 + 1),
        );
        Source {
            name: name.into(),
            text,
            path: None,
            origin: None,
            line_starts,
        }
    }

    /// The same, read from a file.
    pub(super) fn with_path(self, path: PathBuf) -> Source {
        Source {
            path: Some(path),
            ..self
        }
    }

    /// The same, asked for by another text.
    pub(super) fn asked_for(self, how: &'static str, place: Span) -> Source {
        Source {
            origin: Some(Origin { how, place }),
            ..self
        }
    }

    /// The file that it was read from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// How it came to be read; `None` for the configuration itself.
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// The name it was given, a path as a rule.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Index from 0 of the line that holds the byte at `offset`.
    pub fn line_index(&self, offset: u32) -> usize {
        self.line_starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }

    /// The bytes of a line, its line end included; empty beyond the last line.
    pub fn line_range(&self, index: usize) -> Range<usize> {
        let len = self.text.len();
        let start = self.line_starts.get(index).map_or(len, |at| *at as usize);
        let end = self
            .line_starts
            .get(index + 1)
            .map_or(len, |at| *at as usize);
        start..end
    }

    /// The line and column of a byte. An offset inside a character counts as the character's.
    pub fn location(&self, offset: u32) -> Location<'_> {
        let index = self.line_index(offset);
        let line = self.line_range(index);
        let upto = char_boundary_before(&self.text, offset as usize);
        let before = self.text.get(line.start..upto).unwrap_or("");
        Location {
            file: &self.name,
            line: index + 1,
            column: before.chars().count() + 1,
        }
    }
}

/// The nearest offset that is not after `at` and lies between two characters.
pub(super) fn char_boundary_before(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The source texts that spans point into.
#[derive(Clone, Default, Debug)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Takes a text in. Returns `None`, and takes nothing, when the text is longer than
    /// [`MAX_SOURCE_LEN`] or there are 65,535 texts already.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> Option<FileId> {
        self.add_source(Source::new(name, text)).ok()
    }

    /// The same for a text of which more is known.
    ///
    /// # Errors
    /// The text itself where it isn't taken.
    pub(super) fn add_source(&mut self, source: Source) -> Result<FileId, Source> {
        let id = match u16::try_from(self.files.len()) {
            Ok(id) if id != u16::MAX && source.text.len() <= MAX_SOURCE_LEN => id,
            _ => return Err(source),
        };
        self.files.push(source);
        Ok(FileId(id))
    }

    /// Forgets all texts that came after this one.
    pub(super) fn forget_after(&mut self, file: FileId) {
        self.files.truncate(usize::from(file.0) + 1);
    }

    /// The names of all texts, in the order in which they were taken in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(Source::name)
    }

    /// The files that were read, in the order in which they were; a file that was included twice, twice.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().filter_map(Source::path)
    }

    /// How the text of that number came to be read, the nearest cause first; empty for the configuration itself.
    pub fn origins(&self, file: FileId) -> impl Iterator<Item = Origin> {
        let origin = move |file| self.get(file)?.origin();
        std::iter::successors(origin(file), move |cause| origin(cause.place.file))
    }

    /// The text of that number, if there is one.
    pub fn get(&self, file: FileId) -> Option<&Source> {
        self.files.get(usize::from(file.0))
    }

    /// What was written at `span`; empty when the span names no place in these texts.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.file)
            .and_then(|source| source.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }

    /// Where `span` begins, if it names a place in these texts.
    pub fn location(&self, span: Span) -> Option<Location<'_>> {
        Some(self.get(span.file)?.location(span.start))
    }
}
