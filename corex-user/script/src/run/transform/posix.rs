//! POSIX extended regular expressions (IEEE Std 1003.1, XBD 9.4), with what the GNU C library adds,
//! in the syntax of the crate `regex`.
//!
//! Two things can't be carried over, since matching has to take linear time on any input: back
//! references, which are refused, and the longest match where alternatives differ in length:
//! in `foo|foobar` the one that stands first is taken.

use regex::bytes::{Regex, RegexBuilder};

/// The most memory that one compiled pattern may take, in bytes.
const MAX_REGEX_SIZE: usize = 4 << 20;

/// The largest number in braces (RE_DUP_MAX of the GNU C library).
const MAX_REPEAT: u32 = 0x7fff;

/// How a pattern is matched.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// The value is one line: `.` and `[^a]` match line ends, `^` and `$` the ends of the whole.
    pub single_line: bool,
}

/// What is wrong with a pattern, and at which byte.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub message: String,
}

/// Compiles a pattern.
pub(super) fn compile(pattern: &[u8], flags: Flags) -> Result<Regex, Fault> {
    let text = Translator::new(pattern, flags).translate()?;
    RegexBuilder::new(&text)
        .unicode(false)
        .case_insensitive(flags.ignore_case)
        .multi_line(!flags.single_line)
        .dot_matches_new_line(flags.single_line)
        .size_limit(MAX_REGEX_SIZE)
        .build()
        .map_err(|error| Fault {
            at: 0,
            message: match error {
                regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
                _ => "it is no regular expression".to_owned(),
            },
        })
}

struct Translator<'a> {
    pattern: &'a [u8],
    flags: Flags,
    at: usize,
    out: String,
    /// Where in the output the last thing begins that can be repeated, and whether it is repeated.
    atom: Option<(usize, bool)>,
    /// Where in the output and in the pattern the open groups begin.
    groups: Vec<(usize, usize)>,
}

impl<'a> Translator<'a> {
    fn new(pattern: &'a [u8], flags: Flags) -> Translator<'a> {
        Translator {
            pattern,
            flags,
            at: 0,
            out: String::with_capacity(pattern.len()),
            atom: None,
            groups: Vec::new(),
        }
    }

    fn fault<T>(&self, at: usize, message: &str) -> Result<T, Fault> {
        Err(Fault {
            at,
            message: message.to_owned(),
        })
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.pattern.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn translate(mut self) -> Result<String, Fault> {
        while let Some(byte) = self.next() {
            match byte {
                b'\\' => self.escape()?,
                b'[' => self.bracket()?,
                b'(' => {
                    self.groups.push((self.out.len(), self.at - 1));
                    self.out.push('(');
                    self.atom = None;
                }
                b')' => match self.groups.pop() {
                    Some((start, _)) => {
                        self.out.push(')');
                        self.atom = Some((start, false));
                    }
                    None => return self.fault(self.at - 1, "this parenthesis closes no group"),
                },
                b'|' | b'^' | b'$' => {
                    self.out.push(char::from(byte));
                    self.atom = None;
                }
                b'*' | b'+' | b'?' => {
                    self.repeat()?;
                    self.out.push(char::from(byte));
                }
                b'{' => self.braces()?,
                b'.' => self.atom("."),
                byte => self.literal(byte),
            }
        }
        match self.groups.last() {
            Some((_, at)) => self.fault(*at, "this parenthesis is never closed"),
            None => Ok(self.out),
        }
    }

    fn atom(&mut self, text: &str) {
        self.atom = Some((self.out.len(), false));
        self.out.push_str(text);
    }

    fn literal(&mut self, byte: u8) {
        self.atom = Some((self.out.len(), false));
        self.byte(byte);
    }

    fn byte(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() {
            self.out.push(char::from(byte));
        } else {
            self.out.push_str(&format!("\\x{byte:02x}"));
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.next() {
            None => return self.fault(self.at - 1, "nothing follows the backslash"),
            Some(b'1'..=b'9') => {
                return self.fault(
                    self.at - 2,
                    "back references in a pattern are not supported",
                );
            }
            Some(b'w') => self.atom("\\w"),
            Some(b'W') => self.atom("\\W"),
            Some(b's') => self.atom("\\s"),
            Some(b'S') => self.atom("\\S"),
            Some(b'b') => self.atom("\\b"),
            Some(b'B') => self.atom("\\B"),
            Some(b'<') => self.atom("\\b{start}"),
            Some(b'>') => self.atom("\\b{end}"),
            Some(b'`') => self.atom("\\A"),
            Some(b'\'') => self.atom("\\z"),
            Some(byte) => self.literal(byte),
        }
        Ok(())
    }

    /// Before a sign that repeats. What is repeated already becomes a group: two such signs in a row
    /// mean something else to the crate.
    fn repeat(&mut self) -> Result<(), Fault> {
        match self.atom {
            None => self.fault(self.at - 1, "there is nothing to repeat"),
            Some((start, repeated)) => {
                if repeated {
                    self.out.insert_str(start, "(?:");
                    self.out.push(')');
                }
                self.atom = Some((start, true));
                Ok(())
            }
        }
    }

    /// `{2}`, `{2,}`, `{,3}`, `{2,3}`.
    fn braces(&mut self) -> Result<(), Fault> {
        let start = self.at - 1;
        self.repeat()?;
        let rest = self.pattern.get(self.at..).unwrap_or_default();
        let wrong = "this is no number of repetitions";
        let Some(len) = memchr::memchr(b'}', rest) else {
            return self.fault(start, wrong);
        };
        let inner = rest.get(..len).unwrap_or_default();
        let number = |text: &[u8]| -> Option<u32> {
            let text = std::str::from_utf8(text).ok()?;
            text.parse().ok().filter(|number| *number <= MAX_REPEAT)
        };
        let bounds = match memchr::memchr(b',', inner) {
            None => number(inner).map(|times| (times, Some(times))),
            Some(comma) => {
                let (low, high) = inner.split_at(comma);
                let high = high.get(1..).unwrap_or_default();
                let low = if low.is_empty() { Some(0) } else { number(low) };
                let open = high.is_empty();
                match (low, number(high)) {
                    (Some(low), None) if open => Some((low, None)),
                    (Some(low), Some(high)) if low <= high => Some((low, Some(high))),
                    _ => None,
                }
            }
        };
        match bounds {
            Some((low, Some(high))) => self.out.push_str(&format!("{{{low},{high}}}")),
            Some((low, None)) => self.out.push_str(&format!("{{{low},}}")),
            None => return self.fault(start, wrong),
        }
        self.at += len + 1;
        Ok(())
    }

    /// `[abc]`, `[^a-z]`, `[[:alpha:]]`. A backslash is a character like any other, `]` is one where
    /// it comes first.
    fn bracket(&mut self) -> Result<(), Fault> {
        let start = self.at - 1;
        self.atom = Some((self.out.len(), false));
        self.out.push('[');
        let negated = self.pattern.get(self.at) == Some(&b'^');
        if negated {
            self.at += 1;
            self.out.push('^');
            if !self.flags.single_line {
                self.out.push_str("\\n");
            }
        }
        let first = self.at;
        loop {
            let at = self.at;
            match self.next() {
                None => return self.fault(start, "this bracket is never closed"),
                Some(b']') if at > first => break,
                Some(b'[') if self.pattern.get(self.at) == Some(&b':') => self.class(at)?,
                Some(byte) => {
                    let low = self.element(byte, at)?;
                    let rest = self.pattern.get(self.at..).unwrap_or_default();
                    let is_range = matches!(rest, [b'-', next, ..] if *next != b']');
                    self.byte(low);
                    if !is_range {
                        continue;
                    }
                    self.at += 1;
                    let high_at = self.at;
                    let Some(byte) = self.next() else {
                        return self.fault(start, "this bracket is never closed");
                    };
                    let high = self.element(byte, high_at)?;
                    if high < low {
                        return self.fault(at, "this range is empty");
                    }
                    self.out.push('-');
                    self.byte(high);
                }
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// `[:alpha:]`, of which the bracket was read.
    fn class(&mut self, at: usize) -> Result<(), Fault> {
        const CLASSES: [&str; 12] = [
            "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "xdigit",
        ];
        let rest = self.pattern.get(self.at + 1..).unwrap_or_default();
        let name = CLASSES.iter().find(|name| {
            rest.strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.starts_with(b":]"))
        });
        match name {
            Some(name) => {
                self.out.push_str(&format!("[:{name}:]"));
                self.at += name.len() + 3;
                Ok(())
            }
            None => self.fault(at, "there is no such class of characters"),
        }
    }

    /// The character of which `byte` is the first: itself, or that of `[.x.]` and `[=x=]`.
    fn element(&mut self, byte: u8, at: usize) -> Result<u8, Fault> {
        let rest = self.pattern.get(self.at..).unwrap_or_default();
        match (byte, rest) {
            (b'[', [open @ (b'.' | b'='), element, close, b']', ..]) if open == close => {
                self.at += 4;
                Ok(*element)
            }
            (b'[', [b'.' | b'=', ..]) => self.fault(at, "this is no single character"),
            _ => Ok(byte),
        }
    }
}
