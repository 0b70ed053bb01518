//! `{re.subst,/pattern/replacement/flags}`.

use regex::bytes::{CaptureLocations, Regex};

use super::call::{Call, Sink};
use super::posix::{self, Flags};
use super::{Arg, Argument, Error, Input, MAX_ARGS, Output};
use crate::syntax::ast::Str;
use crate::syntax::diag::Diagnostic;

/// A compiled expression.
pub(super) struct Subst {
    regex: Regex,
    replacement: Vec<Piece>,
    all: bool,
    /// Whether the replacement names a group other than the whole match.
    has_groups: bool,
}

enum Piece {
    Text(Vec<u8>),
    /// `\0` is what was matched, `\1` its first group.
    Group(usize),
    /// The argument at this place.
    Arg(usize),
}

/// Reads a pseudo-variable that begins at a byte; with the offset after it.
pub(super) type ReadVariable<'a> = dyn FnMut(usize) -> Result<(Arg, usize), Diagnostic> + 'a;

/// Compiles an expression; with the pseudo-variables of its replacement.
///
/// As in Kamailio the first byte is what divides; in the pattern one behind a backslash doesn't, not
/// even behind two, in the replacement a backslash takes the byte after it along. Without the flag
/// `s` the value is taken as several lines.
pub(super) fn compile(
    text: &Str,
    variable: &mut ReadVariable<'_>,
) -> Result<(Subst, Vec<Arg>), Diagnostic> {
    const USAGE: &str = "it is written {re.subst,/pattern/replacement/flags}";
    let bytes = &text.kind.value;
    let wrong = |from: usize, to: usize, message: &str| {
        Diagnostic::error(text.kind.locate(from..to, text.span), message)
    };
    let delimiter = match bytes.first() {
        Some(byte) if !byte.is_ascii_whitespace() && *byte != b'\\' => *byte,
        _ => {
            return Err(wrong(0, bytes.len().min(1), "this is no substitution")
                .label("expected a `/`")
                .help(USAGE));
        }
    };
    let endless = || {
        let sign = char::from(delimiter);
        wrong(bytes.len(), bytes.len(), "this substitution does not end")
            .label(format!("expected `{sign}`"))
            .help(USAGE)
    };
    let middle = (1..bytes.len())
        .find(|at| {
            bytes.get(*at) == Some(&delimiter) && bytes.get(at.wrapping_sub(1)) != Some(&b'\\')
        })
        .ok_or_else(endless)?;
    let mut escaped = false;
    let end = (middle + 1..bytes.len())
        .find(|at| {
            let byte = bytes.get(*at).copied().unwrap_or(delimiter);
            if escaped {
                escaped = false;
                return false;
            }
            escaped = byte == b'\\';
            byte == delimiter
        })
        .ok_or_else(endless)?;

    let mut flags = Flags::default();
    let mut all = false;
    for (at, flag) in bytes.iter().enumerate().skip(end + 1) {
        match flag {
            b'i' => flags.ignore_case = true,
            b's' => flags.single_line = true,
            b'g' => all = true,
            _ => {
                return Err(wrong(at, at + 1, "this is no flag")
                    .label("expected one of i, s, g")
                    .help(USAGE));
            }
        }
    }

    let pattern = bytes.get(1..middle).unwrap_or_default();
    let regex = posix::compile(pattern, flags).map_err(|fault| {
        let from = 1 + fault.at;
        wrong(from, middle.max(from), "this pattern can't be used")
            .label("expected a POSIX extended regular expression")
            .help(fault.message)
    })?;

    let mut args = Vec::new();
    let mut replacement = Replacement::default();
    let mut at = middle + 1;
    while let Some(byte) = bytes.get(at).filter(|_| at < end) {
        at += 1;
        match (byte, bytes.get(at).filter(|_| at < end)) {
            (b'\\', None) => {
                return Err(wrong(at - 1, at, "nothing follows the backslash")
                    .label("expected a digit or a character"));
            }
            (b'\\', Some(next)) => {
                at += 1;
                match next {
                    b'0'..=b'9' => replacement.push(Piece::Group(usize::from(next - b'0'))),
                    b'n' => replacement.byte(b'\n'),
                    b'r' => replacement.byte(b'\r'),
                    b't' => replacement.byte(b'\t'),
                    byte => replacement.byte(*byte),
                }
            }
            (b'$', _) => {
                let start = at - 1;
                let (arg, after) = variable(start)?;
                if after > end {
                    return Err(wrong(start, end, "this pseudo-variable does not end")
                        .label("expected its end before the sign that divides"));
                }
                at = after;
                match arg {
                    Arg::Text(text) => text.iter().for_each(|byte| replacement.byte(*byte)),
                    arg if args.len() < MAX_ARGS => {
                        replacement.push(Piece::Arg(args.len()));
                        args.push(arg);
                    }
                    _ => {
                        let message = format!("more than {MAX_ARGS} pseudo-variables");
                        return Err(wrong(start, after, &message)
                            .label("expected no further pseudo-variable"));
                    }
                }
            }
            (byte, _) => replacement.byte(*byte),
        }
    }
    let replacement = replacement.pieces;
    let named = |piece: &Piece| matches!(piece, Piece::Group(1..));
    let subst = Subst {
        regex,
        has_groups: replacement.iter().any(named),
        replacement,
        all,
    };
    Ok((subst, args))
}

#[derive(Default)]
struct Replacement {
    pieces: Vec<Piece>,
}

impl Replacement {
    fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    fn byte(&mut self, byte: u8) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(byte),
            _ => self.push(Piece::Text(vec![byte])),
        }
    }
}

impl Subst {
    /// An empty value yields `$null`, as in Kamailio; so does a match of nothing, with a reason.
    pub fn run(&self, call: &mut Call<'_>) -> Result<Output, Error> {
        let text = call.text;
        if text.is_empty() {
            return Ok(Output::Null);
        }
        let mut locations = self.has_groups.then(|| self.regex.capture_locations());
        let mut done = 0;
        let mut is_changed = false;
        while let Some((start, end)) = self.find(text, done, &mut locations) {
            if start == end {
                return Err(Error::EmptyMatch);
            }
            is_changed = true;
            call.out.push(text.get(done..start).unwrap_or_default())?;
            self.replace(call, (start, end), locations.as_ref())?;
            done = end;
            if !self.all {
                break;
            }
        }
        if !is_changed {
            return Ok(call.whole());
        }
        call.out.push(text.get(done..).unwrap_or_default())?;
        Ok(Output::Appended)
    }

    /// Calls `edit` with each place that changes and what comes there.
    pub fn each(
        &self,
        text: &[u8],
        literals: &[Arg],
        args: &[Argument<'_>],
        out: &mut Vec<u8>,
        edit: &mut dyn FnMut(std::ops::Range<usize>, &[u8]),
    ) -> Result<(), Error> {
        let mut locations = self.has_groups.then(|| self.regex.capture_locations());
        let mut done = 0;
        while let Some((start, end)) = self.find(text, done, &mut locations) {
            if start == end {
                return Err(Error::EmptyMatch);
            }
            out.clear();
            let mut call = Call {
                input: Input::Str(text),
                text,
                literals,
                args,
                out: Sink::new(out),
            };
            self.replace(&mut call, (start, end), locations.as_ref())?;
            edit(start..end, call.out.bytes());
            done = end;
            if !self.all {
                break;
            }
        }
        Ok(())
    }

    fn find(
        &self,
        text: &[u8],
        from: usize,
        locations: &mut Option<CaptureLocations>,
    ) -> Option<(usize, usize)> {
        let found = match locations {
            Some(locations) => self.regex.captures_read_at(locations, text, from),
            None => self.regex.find_at(text, from),
        }?;
        Some((found.start(), found.end()))
    }

    fn replace(
        &self,
        call: &mut Call<'_>,
        whole: (usize, usize),
        locations: Option<&CaptureLocations>,
    ) -> Result<(), Error> {
        for piece in &self.replacement {
            match piece {
                Piece::Text(text) => call.out.push(text)?,
                Piece::Group(group) => {
                    let range = match group {
                        0 => Some(whole),
                        group => locations.and_then(|locations| locations.get(*group)),
                    };
                    let part = range.and_then(|(start, end)| call.text.get(start..end));
                    call.out.push(part.unwrap_or_default())?;
                }
                // Here, and only here, $null is the empty string.
                Piece::Arg(at) => match call.argument(*at) {
                    Ok(text) => call.out.push(text.bytes())?,
                    Err(_) => continue,
                },
            }
        }
        Ok(())
    }
}
