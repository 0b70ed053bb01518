//! One substitution: `"/regular expression/replacement/flags"`.

use regex::bytes::{Captures, Regex, RegexBuilder};
use std::ops::Range;

/// The most memory that one compiled pattern may take, in bytes, and its automaton once more.
const MAX_REGEX_SIZE: usize = 1 << 16;

/// One `"/regular expression/replacement/flags"`.
pub(super) struct Substitution {
    regex: Regex,
    replacement: Vec<Part>,
    global: bool,
}

/// A part of a replacement.
enum Part {
    Bytes(Vec<u8>),
    /// What a group of the pattern matched; 0 is the whole.
    Group(usize),
}

impl Substitution {
    /// The text with what matches replaced; `None` where nothing does.
    pub(super) fn apply(&self, text: &[u8], most: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut copied = 0;
        let mut from = 0;
        while let Some(groups) = self.regex.captures_at(text, from) {
            let whole = groups.get(0)?;
            if whole.is_empty() {
                // As in Kamailio: a pattern that matches nothing replaces nothing.
                return None;
            }
            out.extend_from_slice(text.get(copied..whole.start())?);
            self.replace(&groups, &mut out);
            copied = whole.end();
            from = whole.end();
            if !self.global || out.len() > most {
                break;
            }
        }
        if copied == 0 {
            return None;
        }
        out.extend_from_slice(text.get(copied..)?);
        Some(out)
    }

    fn replace(&self, groups: &Captures<'_>, out: &mut Vec<u8>) {
        for part in &self.replacement {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Group(index) => {
                    out.extend_from_slice(groups.get(*index).map_or(&[], |group| group.as_bytes()));
                }
            }
        }
    }
}

/// A substitution as it was written.
pub(super) struct Written {
    pub(super) substitution: Substitution,
    /// Where the regular expression stands in the text: what `#!substdef` takes for a name.
    pub(super) name: Range<usize>,
    /// The replacement as `#!substdef` takes it for a value.
    pub(super) value: Vec<u8>,
}

/// What is wrong with a substitution, and where in its text.
pub(super) struct Mistake {
    pub(super) range: Range<usize>,
    pub(super) message: String,
    pub(super) label: Option<String>,
    pub(super) help: Option<String>,
}

impl Mistake {
    fn new(range: Range<usize>, message: impl Into<String>) -> Mistake {
        Mistake {
            range,
            message: message.into(),
            label: None,
            help: None,
        }
    }
}

impl Written {
    /// Reads `/regular expression/replacement/flags`; the first character is what separates.
    pub(super) fn read(text: &[u8]) -> Result<Written, Mistake> {
        let form =
            "write \"/regular expression/replacement/\", then g for all matches, i for any case";
        let wrong = |range, message: &str, label: Option<String>| Mistake {
            label,
            help: Some(form.to_owned()),
            ..Mistake::new(range, message)
        };
        let Some(separator) = text.first().copied() else {
            return Err(wrong(0..0, "the substitution is empty", None));
        };
        if !separator.is_ascii_punctuation() || separator == b'\\' {
            let label = Some("expected a sign such as `/`".to_owned());
            return Err(wrong(0..1, "this can't separate the parts", label));
        }
        let sign = char::from(separator);
        let part = |start: usize, what: &str| {
            let label = || Some(format!("expected a further `{sign}` after it"));
            end_of_part(text, start, separator)
                .map(|end| start..end)
                .ok_or_else(|| wrong(0..text.len(), &format!("{what} does not end"), label()))
        };
        let pattern = part(1, "the regular expression")?;
        let replacement = part(pattern.end + 1, "the replacement")?;
        let mut regex = RegexOptions::default();
        let mut global = false;
        for (at, flag) in text.iter().enumerate().skip(replacement.end + 1) {
            match flag {
                b'g' => global = true,
                b'i' => regex.any_case = true,
                b's' => regex.one_line = true,
                _ => {
                    let label = Some("expected g, i or s".to_owned());
                    return Err(wrong(at..at + 1, "there is no such flag", label));
                }
            }
        }
        let (parts, value) = parts(text, replacement, separator)?;
        let regex = regex
            .compile(text.get(pattern.clone()).unwrap_or_default())
            .map_err(|why| Mistake {
                label: Some(why),
                ..Mistake::new(pattern.clone(), "this is no regular expression")
            })?;
        Ok(Written {
            substitution: Substitution {
                regex,
                replacement: parts,
                global,
            },
            name: pattern,
            value,
        })
    }
}

/// The next separator that no backslash stands before.
fn end_of_part(text: &[u8], start: usize, separator: u8) -> Option<usize> {
    let mut at = start;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            byte if *byte == separator => return Some(at),
            _ => at += 1,
        }
    }
}

/// The parts of a replacement, and its text with the separators' backslashes gone.
fn parts(text: &[u8], range: Range<usize>, separator: u8) -> Result<(Vec<Part>, Vec<u8>), Mistake> {
    let mut parts = Vec::new();
    let mut bytes = Vec::new();
    let mut value = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let byte = text.get(at).copied().unwrap_or_default();
        let next = text.get(at + 1).copied().filter(|_| at + 1 < range.end);
        let (here, len) = match (byte, next) {
            (b'\\', Some(digit @ b'0'..=b'9')) => {
                parts.push(Part::Bytes(std::mem::take(&mut bytes)));
                parts.push(Part::Group(usize::from(digit - b'0')));
                (None, 2)
            }
            (b'\\', Some(b'n')) => (Some(b'\n'), 2),
            (b'\\', Some(b'r')) => (Some(b'\r'), 2),
            (b'\\', Some(b't')) => (Some(b'\t'), 2),
            (b'\\', Some(other)) => (Some(other), 2),
            (b'$', Some(b'$')) => (Some(b'$'), 2),
            (b'$', _) => {
                return Err(Mistake {
                    label: Some("a variable has no value here".to_owned()),
                    help: Some("for a dollar sign, write \\$".to_owned()),
                    ..Mistake::new(at..at + 1, "a replacement can't have variables")
                });
            }
            _ => (Some(byte), 1),
        };
        bytes.extend(here);
        match next {
            Some(next) if byte == b'\\' && next == separator => value.push(next),
            _ => value.extend_from_slice(text.get(at..at + len).unwrap_or_default()),
        }
        at += len;
    }
    parts.push(Part::Bytes(bytes));
    Ok((parts, value))
}

/// How a pattern is compiled.
#[derive(Default)]
struct RegexOptions {
    any_case: bool,
    /// Line ends are nothing special.
    one_line: bool,
}

impl RegexOptions {
    fn compile(&self, pattern: &[u8]) -> Result<Regex, String> {
        let pattern =
            std::str::from_utf8(pattern).map_err(|_| "it is not valid UTF-8".to_owned())?;
        RegexBuilder::new(pattern)
            .case_insensitive(self.any_case)
            .dot_matches_new_line(self.one_line)
            .multi_line(!self.one_line)
            .unicode(false)
            .size_limit(MAX_REGEX_SIZE)
            .dfa_size_limit(MAX_REGEX_SIZE)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
                error => {
                    // The last line says what is wrong; those before it draw where.
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    last.trim_start_matches("error: ").to_owned()
                }
            })
    }
}
