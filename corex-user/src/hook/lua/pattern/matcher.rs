//! One match of a pattern.

use super::super::budget::Spent;
use super::{Found, PatternError};

/// The most captures of a pattern, as in Lua.
const MAX_CAPTURES: usize = 32;

/// How deep items may nest, as in LuaJIT.
const MAX_DEPTH: u32 = 200;

/// What a capture holds: places in the subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capture {
    /// Its end is not reached.
    Open(usize),
    /// `()`.
    Position(usize),
    /// What stands between two places.
    Closed {
        /// The first byte's place.
        start: usize,
        /// The place behind the last byte.
        end: usize,
    },
}

/// A pattern on a subject, and how far it has got.
pub struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    depth: u32,
    steps: u64,
    most: u64,
}

type Reached = Result<Option<usize>, PatternError>;

impl<'a> Matcher<'a> {
    /// `most` steps are allowed.
    pub fn new(subject: &'a [u8], pattern: &'a [u8], most: u64) -> Matcher<'a> {
        Matcher {
            subject,
            pattern,
            captures: Vec::new(),
            depth: 0,
            steps: 0,
            most,
        }
    }

    /// How many were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The first match at or behind `from`; with `anchored` only there.
    ///
    /// # Errors
    /// When the pattern is none, or the steps are spent.
    pub fn search(&mut self, from: usize, anchored: bool) -> Result<Option<Found>, PatternError> {
        for start in from..=self.subject.len() {
            self.captures.clear();
            if let Some(end) = self.deeper(start, 0)? {
                return Ok(Some(Found {
                    start,
                    end,
                    captures: std::mem::take(&mut self.captures),
                }));
            }
            if anchored {
                break;
            }
        }
        Ok(None)
    }

    fn spend(&mut self, steps: usize) -> Result<(), Spent> {
        self.steps = self.steps.saturating_add(steps as u64);
        if self.steps > self.most {
            return Err(Spent);
        }
        Ok(())
    }

    /// [`Self::rest`], one level deeper.
    fn deeper(&mut self, at: usize, item: usize) -> Reached {
        if self.depth >= MAX_DEPTH {
            return Err(PatternError::TooComplex);
        }
        self.depth += 1;
        let end = self.rest(at, item)?;
        self.depth -= 1;
        Ok(end)
    }

    /// Where the match ends of the pattern's items from `item` on, at this place of the subject.
    fn rest(&mut self, mut at: usize, mut item: usize) -> Reached {
        loop {
            self.spend(1)?;
            let Some(&first) = self.pattern.get(item) else {
                return Ok(Some(at));
            };
            let second = self.pattern.get(item + 1).copied();
            match (first, second) {
                (b'(', Some(b')')) => return self.open(Capture::Position(at), at, item + 2),
                (b'(', _) => return self.open(Capture::Open(at), at, item + 1),
                (b')', _) => return self.close(at, item + 1),
                (b'$', None) => return Ok((at == self.subject.len()).then_some(at)),
                (b'%', Some(b'b')) => match self.balanced(at, item + 2)? {
                    Some(end) => (at, item) = (end, item + 4),
                    None => return Ok(None),
                },
                (b'%', Some(b'f')) => match self.frontier(at, item + 2)? {
                    Some(end) => item = end,
                    None => return Ok(None),
                },
                (b'%', Some(digit)) if digit.is_ascii_digit() => match self.again(at, digit)? {
                    Some(end) => (at, item) = (end, item + 2),
                    None => return Ok(None),
                },
                _ => {
                    let end = item_end(self.pattern, item)?;
                    match self.pattern.get(end) {
                        Some(b'*') => return self.most(at, item, end),
                        Some(b'+') => {
                            return if self.fits(at, item, end)? {
                                self.most(at + 1, item, end)
                            } else {
                                Ok(None)
                            };
                        }
                        Some(b'-') => return self.fewest(at, item, end),
                        Some(b'?') => {
                            if self.fits(at, item, end)?
                                && let Some(end) = self.deeper(at + 1, end + 1)?
                            {
                                return Ok(Some(end));
                            }
                            item = end + 1;
                        }
                        _ => {
                            if !self.fits(at, item, end)? {
                                return Ok(None);
                            }
                            (at, item) = (at + 1, end);
                        }
                    }
                }
            }
        }
    }

    /// As many characters as fit, then fewer.
    fn most(&mut self, at: usize, item: usize, end: usize) -> Reached {
        let mut upto = at;
        while self.fits(upto, item, end)? {
            upto += 1;
        }
        for place in (at..=upto).rev() {
            if let Some(end) = self.deeper(place, end + 1)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// No character, then more.
    fn fewest(&mut self, mut at: usize, item: usize, end: usize) -> Reached {
        loop {
            if let Some(end) = self.deeper(at, end + 1)? {
                return Ok(Some(end));
            }
            if !self.fits(at, item, end)? {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn open(&mut self, capture: Capture, at: usize, item: usize) -> Reached {
        if self.captures.len() >= MAX_CAPTURES {
            return Err(PatternError::Captures);
        }
        let number = self.captures.len();
        self.captures.push(capture);
        let end = self.deeper(at, item)?;
        if end.is_none() {
            self.captures.truncate(number);
        }
        Ok(end)
    }

    fn close(&mut self, at: usize, item: usize) -> Reached {
        let is_open = |capture: &Capture| matches!(capture, Capture::Open(_));
        let number = self.captures.iter().rposition(is_open);
        let Some(number) = number else {
            return Err(PatternError::Capture);
        };
        let opened = self.captures.get(number).copied();
        let Some(Capture::Open(start)) = opened else {
            return Err(PatternError::Capture);
        };
        self.set(number, Capture::Closed { start, end: at });
        let end = self.deeper(at, item)?;
        if end.is_none() {
            self.set(number, Capture::Open(start));
        }
        Ok(end)
    }

    fn set(&mut self, number: usize, capture: Capture) {
        if let Some(place) = self.captures.get_mut(number) {
            *place = capture;
        }
    }

    /// `%1`: what the first capture holds, once more.
    fn again(&mut self, at: usize, digit: u8) -> Reached {
        let number = usize::from(digit).checked_sub(usize::from(b'1'));
        let capture = number.and_then(|number| self.captures.get(number));
        let held = match capture {
            Some(&Capture::Closed { start, end }) => self.subject.get(start..end),
            // A place is followed by nothing that is as long.
            Some(Capture::Position(_)) => return Ok(None),
            _ => return Err(PatternError::Index),
        };
        let held = held.unwrap_or_default();
        self.spend(held.len() / 16)?;
        let rest = self.subject.get(at..).unwrap_or_default();
        Ok(rest.starts_with(held).then_some(at + held.len()))
    }

    /// `%b()`: from an opening character to the one that closes it.
    fn balanced(&mut self, at: usize, item: usize) -> Reached {
        let (Some(&open), Some(&close)) = (self.pattern.get(item), self.pattern.get(item + 1))
        else {
            return Err(PatternError::Malformed("%b needs two characters"));
        };
        if self.subject.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        let rest = self.subject.get(at + 1..).unwrap_or_default();
        for (offset, &byte) in rest.iter().enumerate() {
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    self.spend(offset)?;
                    return Ok(Some(at + offset + 2));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        self.spend(rest.len())?;
        Ok(None)
    }

    /// `%f[set]`: the place between a character that isn't in the set and one that is. The end of
    /// the item.
    fn frontier(&mut self, at: usize, item: usize) -> Reached {
        if self.pattern.get(item) != Some(&b'[') {
            return Err(PatternError::Malformed("%f needs a set"));
        }
        let end = item_end(self.pattern, item)?;
        self.spend((end - item) / 4)?;
        let set = self.pattern.get(item..end).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|at| self.subject.get(at));
        let before = before.copied().unwrap_or(0);
        let here = self.subject.get(at).copied().unwrap_or(0);
        Ok((!in_set(before, set) && in_set(here, set)).then_some(end))
    }

    /// Whether there is a character that the item stands for.
    fn fits(&mut self, at: usize, item: usize, end: usize) -> Result<bool, Spent> {
        self.spend(1 + (end - item) / 4)?;
        let Some(&byte) = self.subject.get(at) else {
            return Ok(false);
        };
        let item = self.pattern.get(item..end).unwrap_or_default();
        Ok(match item {
            [b'.'] => true,
            [b'%', class] => in_class(byte, *class),
            [b'[', ..] => in_set(byte, item),
            [literal, ..] => byte == *literal,
            [] => false,
        })
    }
}

/// Where the item ends that begins at `at`: a character, a class or a set.
pub(super) fn item_end(pattern: &[u8], at: usize) -> Result<usize, PatternError> {
    match pattern.get(at) {
        Some(b'%') if at + 1 < pattern.len() => Ok(at + 2),
        Some(b'%') => Err(PatternError::Malformed("ends with '%'")),
        Some(b'[') => {
            let mut at = at + 1;
            if pattern.get(at) == Some(&b'^') {
                at += 1;
            }
            // The first one may be `]`.
            loop {
                match pattern.get(at) {
                    None => return Err(PatternError::Malformed("missing ']'")),
                    Some(b'%') => at += 2,
                    Some(_) => at += 1,
                }
                if pattern.get(at) == Some(&b']') {
                    return Ok(at + 1);
                }
            }
        }
        _ => Ok(at + 1),
    }
}

/// Whether a character is in a set, which is given with its brackets.
fn in_set(byte: u8, set: &[u8]) -> bool {
    let inner = set.get(1..set.len().saturating_sub(1)).unwrap_or_default();
    let (inner, wanted) = match inner.strip_prefix(b"^") {
        Some(rest) => (rest, false),
        None => (inner, true),
    };
    let mut rest = inner;
    loop {
        let is_in;
        (is_in, rest) = match rest {
            [] => return !wanted,
            [b'%', class, rest @ ..] => (in_class(byte, *class), rest),
            [from, b'-', to, rest @ ..] => ((*from..=*to).contains(&byte), rest),
            [literal, rest @ ..] => (byte == *literal, rest),
        };
        if is_in {
            return wanted;
        }
    }
}

/// Whether a character is in a class: `%a` and so on. Other characters stand for themselves.
fn in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in != class.is_ascii_uppercase()
}
