//! Pseudo-variables: `$name`, `$name(inner)`, `$(name(inner)[index]{transformation,…}…)`.
//!
//! They stand in the configuration's text and in strings. In both they are read here; what stands
//! between their parentheses is kept as it is, because what it means depends on the name.

use super::ast::{Name, Node, Pv, PvIndex, Str, Text, Transformation};
use super::diag::Diagnostic;
use super::span::{FileId, Span};
use std::ops::Range;

/// How deep parentheses and braces may nest within a pseudo-variable, and variables in indexes.
const MAX_DEPTH: usize = 32;

/// Reads the pseudo-variable of which the `$` is at byte `at` of a string's value. Returns it and the
/// offset after it.
///
/// A name that is followed by `(` always takes the parentheses as its own, as in Kamailio.
///
/// # Errors
/// What is wrong with it, with its place.
pub fn parse_pv(text: &Str, at: usize) -> Result<(Pv, usize), Diagnostic> {
    let scanner = Scanner {
        bytes: &text.kind.value,
        ground: Ground::Text(text),
    };
    scanner.pv(at, 0)
}

/// The same in a source text.
pub(super) fn parse_pv_in_source(
    file: FileId,
    source: &str,
    at: usize,
) -> Result<(Pv, usize), Diagnostic> {
    let scanner = Scanner {
        bytes: source.as_bytes(),
        ground: Ground::Source(file),
    };
    scanner.pv(at, 0)
}

enum Ground<'a> {
    Text(&'a Str),
    Source(FileId),
}

struct Scanner<'a> {
    bytes: &'a [u8],
    ground: Ground<'a>,
}

impl Scanner<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        match self.ground {
            Ground::Text(text) => text.kind.locate(range, text.span),
            Ground::Source(file) => Span::new(file, range),
        }
    }

    fn text(&self, range: Range<usize>) -> Str {
        let span = self.span(range.clone());
        let text = match self.ground {
            Ground::Text(text) => text.kind.slice(range),
            Ground::Source(_) => {
                let anchor = u32::try_from(range.start).unwrap_or(u32::MAX);
                let value = self.bytes.get(range).unwrap_or_default().to_vec();
                Text::with_anchors(value, vec![(0, anchor)])
            }
        };
        Node::new(text, span)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn pv(&self, at: usize, depth: usize) -> Result<(Pv, usize), Diagnostic> {
        match self.byte(at + 1) {
            Some(b'(') => self.full(at, depth),
            Some(b'$') => {
                let span = self.span(at..at + 2);
                let pv = self.bare(Node::new("$".to_owned(), span), span);
                Ok((pv, at + 2))
            }
            _ => {
                let (name, after) = self.name(at + 1, at)?;
                let (inner, after) = self.inner(after)?;
                let mut pv = self.bare(name, self.span(at..after));
                pv.inner = inner;
                Ok((pv, after))
            }
        }
    }

    fn bare(&self, name: Name, span: Span) -> Pv {
        Pv {
            name,
            inner: None,
            index: None,
            transformations: Vec::new(),
            span,
        }
    }

    fn full(&self, at: usize, depth: usize) -> Result<(Pv, usize), Diagnostic> {
        let (name, mut after) = self.name(at + 2, at)?;
        let mut pv = self.bare(name, Span::NONE);
        (pv.inner, after) = self.inner(after)?;
        loop {
            match self.byte(after) {
                Some(b')') => break,
                Some(b'[') if pv.index.is_none() => {
                    let (index, next) = self.index(after, depth)?;
                    pv.index = Some(index);
                    after = next;
                }
                Some(b'{') => {
                    let end = self.closing(after, b'{', b'}')?;
                    pv.transformations
                        .push(self.transformation(after + 1..end)?);
                    after = end + 1;
                }
                _ => {
                    let shown = self.span(after..(after + 1).min(self.bytes.len()));
                    return Err(
                        Diagnostic::error(shown, "this pseudo-variable does not end")
                            .label("expected `)`, `[` or `{`")
                            .related(self.span(at..at + 2), "it begins here"),
                    );
                }
            }
        }
        pv.span = self.span(at..after + 1);
        Ok((pv, after + 1))
    }

    fn name(&self, from: usize, dollar: usize) -> Result<(Name, usize), Diagnostic> {
        let rest = self.bytes.get(from..).unwrap_or_default();
        let len = match rest.first() {
            Some(b'?') => 1,
            Some(first) if first.is_ascii_alphabetic() || *first == b'_' => rest
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
                .count(),
            _ => 0,
        };
        let name = rest.get(..len).and_then(|name| str::from_utf8(name).ok());
        match name {
            Some(name) if !name.is_empty() => {
                let span = self.span(from..from + len);
                Ok((Node::new(name.to_owned(), span), from + len))
            }
            _ => Err(
                Diagnostic::error(self.span(dollar..from), "a pseudo-variable has no name")
                    .label("expected a name after `$`")
                    .help("in a string, write a dollar sign itself as `$$`"),
            ),
        }
    }

    fn inner(&self, at: usize) -> Result<(Option<Str>, usize), Diagnostic> {
        if self.byte(at) != Some(b'(') {
            return Ok((None, at));
        }
        let end = self.closing(at, b'(', b')')?;
        Ok((Some(self.text(at + 1..end)), end + 1))
    }

    /// The offset of the sign that closes the one at `at`. A pseudo-variable ends on its line.
    fn closing(&self, at: usize, open: u8, close: u8) -> Result<usize, Diagnostic> {
        let mut depth = 0;
        let rest = self.bytes.get(at..).unwrap_or_default();
        for (offset, byte) in rest.iter().enumerate() {
            if *byte == open {
                depth += 1;
                if depth > MAX_DEPTH {
                    let place = self.span(at + offset..at + offset + 1);
                    return Err(Diagnostic::error(
                        place,
                        format!("a pseudo-variable nests deeper than {MAX_DEPTH} levels"),
                    ));
                }
            } else if *byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + offset);
                }
            } else if *byte == b'\n' && matches!(self.ground, Ground::Source(_)) {
                break;
            }
        }
        let place = self.span(at..at + 1);
        Err(
            Diagnostic::error(place, format!("`{}` is never closed", char::from(open)))
                .label(format!("expected `{}` on the same line", char::from(close))),
        )
    }

    fn index(&self, at: usize, depth: usize) -> Result<(Node<PvIndex>, usize), Diagnostic> {
        let wrong = |place: Span| {
            Diagnostic::error(place, "this is not an index")
                .label("expected a number, `*` or a pseudo-variable, then `]`")
                .help("the first value is [0], the last one [-1], all of them [*]")
        };
        if self.byte(at + 1) == Some(b'$') {
            if depth >= MAX_DEPTH {
                return Err(wrong(self.span(at..at + 1)));
            }
            let (pv, after) = self.pv(at + 1, depth + 1)?;
            if self.byte(after) != Some(b']') {
                return Err(wrong(self.span(at..after)));
            }
            let span = self.span(at..after + 1);
            return Ok((Node::new(PvIndex::Pv(Box::new(pv)), span), after + 1));
        }
        let rest = self.bytes.get(at + 1..).unwrap_or_default();
        let len = rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'*' | b' '))
            .count();
        let span = self.span(at..at + 1 + len);
        let text = rest.get(..len).and_then(|text| str::from_utf8(text).ok());
        let index = match text.map(str::trim) {
            Some("*") => PvIndex::All,
            Some(number) => match number.parse() {
                Ok(number) => PvIndex::At(number),
                Err(_) => return Err(wrong(span)),
            },
            None => return Err(wrong(span)),
        };
        if rest.get(len) != Some(&b']') {
            return Err(wrong(span));
        }
        let span = self.span(at..at + 2 + len);
        Ok((Node::new(index, span), at + 2 + len))
    }

    /// `range` is what stands between the braces.
    fn transformation(&self, range: Range<usize>) -> Result<Transformation, Diagnostic> {
        let whole = self.bytes.get(range.clone()).unwrap_or_default();
        let comma = whole.iter().position(|byte| *byte == b',');
        let len = comma.unwrap_or(whole.len());
        let raw = whole.get(..len).unwrap_or_default();
        let lead = raw.iter().take_while(|byte| **byte == b' ').count();
        let name = str::from_utf8(raw).unwrap_or("").trim_matches(' ');
        let span = self.span(range.start + lead..range.start + lead + name.len());
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        if name.is_empty() || !name.chars().all(fits) {
            return Err(Diagnostic::error(
                self.span(range.clone()),
                "this is not a transformation",
            )
            .label("expected a name, as in {s.len} or {s.substr,0,3}"));
        }
        Ok(Transformation {
            name: Node::new(name.to_owned(), span),
            args: comma.map(|comma| self.text(range.start + comma + 1..range.end)),
        })
    }
}
