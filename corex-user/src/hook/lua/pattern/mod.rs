//! Lua's patterns, within a budget.
//!
//! LuaJIT's own matching can't be interrupted, and backtracks: `("a-"):rep(9)` on a few kilobytes
//! takes longer than anybody waits. The language is that of the Lua 5.1 reference manual, §5.4.1.

pub mod matcher;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mlua::{Lua, MultiValue, String as LuaString, Table, Value};

use self::matcher::{Capture, Matcher, item_end};
use super::budget::{Budget, Spent};

/// Why there is no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// An item of the pattern is none.
    #[error("malformed pattern ({0})")]
    Malformed(&'static str),
    /// `)` where no capture is open.
    #[error("invalid pattern capture")]
    Capture,
    /// `%1` and its like for a capture that isn't closed.
    #[error("invalid capture index")]
    Index,
    /// The pattern ends while a capture is open.
    #[error("unfinished capture")]
    Unfinished,
    /// More captures than Lua has.
    #[error("too many captures")]
    Captures,
    /// Items nest deeper than in LuaJIT.
    #[error("pattern too complex")]
    TooComplex,
    /// The budget of steps is spent.
    #[error(transparent)]
    Spent(#[from] Spent),
}

impl From<PatternError> for mlua::Error {
    fn from(error: PatternError) -> mlua::Error {
        match error {
            PatternError::Spent(spent) => mlua::Error::external(spent),
            wrong => mlua::Error::runtime(wrong),
        }
    }
}

/// A match: where it begins and ends, and what its captures hold.
#[derive(PartialEq, Eq, Debug)]
pub struct Found {
    /// The first byte's place.
    pub start: usize,
    /// The place behind the last byte.
    pub end: usize,
    /// What captures hold, in order.
    pub captures: Vec<Capture>,
}

/// The first match at or behind `from`; with `anchored` only there.
fn search(
    subject: &[u8],
    pattern: &[u8],
    from: usize,
    anchored: bool,
    budget: &Budget,
) -> Result<Option<Found>, PatternError> {
    let mut matcher = Matcher::new(subject, pattern, budget.left());
    let found = matcher.search(from, anchored);
    // Also what led to an error counts.
    budget.spend(matcher.steps())?;
    found
}

/// Adds the functions for the sandbox: find, match, scan and longest.
pub(super) fn register(lua: &Lua, rust: &Table, budget: &Arc<Budget>) -> mlua::Result<()> {
    type Args = (LuaString, LuaString, Option<f64>, Value);
    let of_find = Arc::clone(budget);
    rust.set(
        "find",
        lua.create_function(move |lua, (subject, pattern, init, plain): Args| {
            let is_plain = !matches!(plain, Value::Nil | Value::Boolean(false));
            find(lua, &of_find, (&subject, &pattern), init, is_plain)
        })?,
    )?;
    let of_match = Arc::clone(budget);
    rust.set(
        "match",
        lua.create_function(move |lua, (subject, pattern, init, _): Args| {
            let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
            let from = start(init, subject.len());
            let (anchored, pattern) = anchor(&pattern);
            match search(&subject, pattern, from, anchored, &of_match)? {
                None => nil(),
                Some(found) => captures(lua, &subject, &found, true).map(MultiValue::from_vec),
            }
        })?,
    )?;
    let of_scan = Arc::clone(budget);
    type ScanArgs = (LuaString, LuaString, usize, bool);
    rust.set(
        "scan",
        lua.create_function(move |lua, (subject, pattern, at, anchored): ScanArgs| {
            let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
            let from = at.saturating_sub(1);
            match search(&subject, &pattern, from, anchored, &of_scan)? {
                None => nil(),
                Some(found) => with_place(lua, &subject, &found, 1),
            }
        })?,
    )?;
    rust.set(
        "longest",
        lua.create_function(|_, pattern: LuaString| Ok(longest(&pattern.as_bytes())))?,
    )
}

fn find(
    lua: &Lua,
    budget: &Budget,
    (subject, pattern): (&LuaString, &LuaString),
    init: Option<f64>,
    is_plain: bool,
) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let from = start(init, subject.len());
    let is_special = |byte: &u8| b"^$*+?.([%-".contains(byte);
    if is_plain || !pattern.iter().any(is_special) {
        let rest = subject.get(from..).unwrap_or_default();
        budget
            .spend(rest.len() as u64 / 16)
            .map_err(PatternError::from)?;
        return match memchr::memmem::find(rest, &pattern) {
            None => nil(),
            Some(at) => Ok([from + at + 1, from + at + pattern.len()]
                .map(|place| Value::Integer(place as i64))
                .into_iter()
                .collect()),
        };
    }
    let (anchored, pattern) = anchor(&pattern);
    match search(&subject, pattern, from, anchored, budget)? {
        None => nil(),
        Some(found) => with_place(lua, &subject, &found, 0),
    }
}

fn nil() -> mlua::Result<MultiValue> {
    Ok([Value::Nil].into_iter().collect())
}

/// Where a search begins, counted from 0: `init` counts from 1, or with -1 from the end.
fn start(init: Option<f64>, length: usize) -> usize {
    let init = init.unwrap_or(1.0) as i64;
    let at = if init < 0 {
        i64::try_from(length)
            .unwrap_or(i64::MAX)
            .saturating_add(init)
    } else {
        init.saturating_sub(1)
    };
    usize::try_from(at).unwrap_or(0).min(length)
}

fn anchor(pattern: &[u8]) -> (bool, &[u8]) {
    match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    }
}

/// Where a match begins, counted from 1, where it ends and `beyond` that, and its captures.
fn with_place(lua: &Lua, subject: &[u8], found: &Found, beyond: usize) -> mlua::Result<MultiValue> {
    let mut values = vec![
        Value::Integer(found.start as i64 + 1),
        Value::Integer((found.end + beyond) as i64),
    ];
    values.extend(captures(lua, subject, found, false)?);
    Ok(MultiValue::from_vec(values))
}

/// The captures; with `whole` the match where there are none.
fn captures(lua: &Lua, subject: &[u8], found: &Found, whole: bool) -> mlua::Result<Vec<Value>> {
    let text = |start: usize, end: usize| {
        let bytes = subject.get(start..end).unwrap_or_default();
        lua.create_string(bytes).map(Value::String)
    };
    if found.captures.is_empty() && whole {
        return Ok(vec![text(found.start, found.end)?]);
    }
    let value = |capture: &Capture| match *capture {
        Capture::Closed { start, end } => text(start, end),
        Capture::Position(at) => Ok(Value::Integer(at as i64 + 1)),
        Capture::Open(_) => Err(PatternError::Unfinished.into()),
    };
    found.captures.iter().map(value).collect()
}

/// How many steps LuaJIT's own matching may take at most.
const QUICK: f64 = 1_048_576.0;

/// How long a subject may be for LuaJIT's own functions to be done with it in about a million
/// steps, whatever is in it. Each item that takes any number of characters may be tried at each
/// place of the subject, for each place of those before it.
fn longest(pattern: &[u8]) -> usize {
    let (mut unbounded, mut factor) = (1, pattern.len().max(1) as f64);
    let mut at = 0;
    while at < pattern.len() {
        // What is malformed is refused at once.
        let Ok(end) = item_end(pattern, at) else {
            break;
        };
        let item = pattern.get(at..end).unwrap_or_default();
        if matches!(item, [b'%', b'b' | b'0'..=b'9']) {
            unbounded += 1;
        }
        at = end;
        match pattern.get(at) {
            Some(b'*' | b'+' | b'-') => {
                unbounded += 1;
                at += 1;
            }
            Some(b'?') => {
                factor *= 2.0;
                at += 1;
            }
            _ => {}
        }
    }
    // A cast from a float saturates.
    (QUICK / factor).powf(1.0 / f64::from(unbounded)) as usize
}
