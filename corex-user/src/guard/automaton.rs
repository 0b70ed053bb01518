//! The automaton of all signatures: a table of transitions over lines and headers, with one of
//! aho-corasick's inside the first line and another one inside User-Agent.

use std::collections::HashMap;

use aho_corasick::{
    Anchored, StartKind,
    automaton::{Automaton as _, StateID},
    dfa::{Builder, DFA},
};
use corex_common::guard::signatures::{
    Automaton, CLASSES, FOUND, MALFORMED, MAX_STATES, PATTERNS, VIA,
};
use corex_script::settings::{SignaturePattern, SignaturePlace, SignatureSettings};

/// Why there is no automaton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// It has too many states.
    #[error("the signatures are too many or too long; some hundreds of characters fit in all")]
    States,
    /// It tells too many bytes apart.
    #[error("the signatures have too many different characters")]
    Classes,
    /// The search for one place can't be made.
    #[error("the signatures can't be searched for at once")]
    Search,
}

/// Where in a message a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Before the first line.
    Begin,
    /// In the first line.
    First(StateID),
    /// At the beginning of a header.
    Line,
    /// A CR is the first character of a line: the headers may end here.
    Blank,
    /// In a name that so far is so much of this one.
    Name(usize, usize),
    /// Behind it, in front of the colon.
    Colon(usize),
    /// In front of User-Agent's value.
    Value,
    /// In that value.
    Agent(StateID),
    /// In another header.
    Other,
    /// Behind the headers.
    Body,
}

/// Names of headers that are known, in small letters, the compact form of Via among them.
const NAMES: [&[u8]; 3] = [b"user-agent", b"via", b"v"];
const USER_AGENT: usize = 0;

/// What patterns are looked for by in one place.
struct Search {
    dfa: DFA,
    start: StateID,
    /// At the beginning of the place.
    anchor: StateID,
}

/// Stands in front of patterns that begin where the place does: no line has it inside.
const ANCHOR: u8 = b'\n';

impl Search {
    fn new(patterns: &[SignaturePattern], place: SignaturePlace) -> Option<Self> {
        let texts = patterns
            .iter()
            .filter(|pattern| pattern.place == place)
            .map(|pattern| {
                let anchor = pattern.is_anchored.then_some(ANCHOR);
                anchor
                    .into_iter()
                    .chain(pattern.text.iter().copied())
                    .collect::<Vec<u8>>()
            });
        let dfa = Builder::new()
            .ascii_case_insensitive(true)
            .start_kind(StartKind::Unanchored)
            .build(texts)
            .ok()?;
        let start = dfa.start_state(Anchored::No).ok()?;
        let anchor = dfa.next_state(Anchored::No, start, ANCHOR);
        Some(Self { dfa, start, anchor })
    }

    /// One byte on, and whether a pattern ends with it.
    fn next(&self, state: StateID, byte: u8) -> (StateID, u16) {
        let next = self.dfa.next_state(Anchored::No, state, byte);
        if self.dfa.is_match(next) {
            // Once is enough.
            (self.start, FOUND)
        } else {
            (next, 0)
        }
    }
}

/// Where a byte leads, and what is known by it.
fn next(first: &Search, agent: &Search, at: At, byte: u8) -> (At, u16) {
    let in_value = |(state, flags)| (At::Agent(state), flags);
    let in_first = |(state, flags)| (At::First(state), flags);
    let small = byte.to_ascii_lowercase();
    match (at, byte) {
        (At::Begin, b'\r' | b'\n') => (At::Begin, 0),
        (At::Begin, _) => in_first(first.next(first.anchor, byte)),
        (At::Body, _) | (At::Blank, b'\n') => (At::Body, 0),
        (At::Line, b'\n') => (At::Body, 0),
        (_, b'\n') => (At::Line, 0),
        (At::First(state), _) => in_first(first.next(state, byte)),
        (At::Line, b'\r') => (At::Blank, 0),
        (At::Line, _) => {
            let named = NAMES.iter().position(|name| name.first() == Some(&small));
            (named.map_or(At::Other, |name| At::Name(name, 1)), 0)
        }
        (At::Name(name, len), _) => in_name(name, len, small),
        (At::Colon(name), _) => behind_name(name, byte),
        (At::Value, b' ' | b'\t') => (At::Value, 0),
        (At::Value, _) => in_value(agent.next(agent.anchor, byte)),
        (At::Agent(state), _) => in_value(agent.next(state, byte)),
        (At::Blank | At::Other, _) => (At::Other, 0),
    }
}

/// One byte on in a name, of which `len` bytes are those of `NAMES[name]`, and of every other name
/// that begins so.
fn in_name(name: usize, len: usize, small: u8) -> (At, u16) {
    let so_far = NAMES[name].get(..len).unwrap_or_default();
    let alike = |other: &&[u8]| other.starts_with(so_far);
    let longer = NAMES
        .iter()
        .position(|other| alike(other) && other.get(len) == Some(&small));
    if let Some(longer) = longer {
        return (At::Name(longer, len + 1), 0);
    }
    let whole = NAMES
        .iter()
        .position(|other| alike(other) && other.len() == len);
    whole.map_or((At::Other, 0), |name| behind_name(name, small))
}

/// What stands behind a name: blanks, and a colon.
fn behind_name(name: usize, byte: u8) -> (At, u16) {
    match byte {
        b' ' | b'\t' => (At::Colon(name), 0),
        b':' if name == USER_AGENT => (At::Value, 0),
        b':' => (At::Other, VIA),
        _ => (At::Other, 0),
    }
}

/// The automaton of a configuration; `is_plain`: messages come as SIP, and aren't decoded first.
///
/// # Errors
/// When the signatures are too many.
pub fn compile(settings: &SignatureSettings, is_plain: bool) -> Result<Box<Automaton>, TooLarge> {
    let mut automaton = empty();
    if !settings.patterns.is_empty() {
        automaton.active |= PATTERNS;
    }
    if settings.drops_malformed && is_plain {
        automaton.active |= MALFORMED;
    }
    let search = |place| Search::new(&settings.patterns, place).ok_or(TooLarge::Search);
    let first = search(SignaturePlace::FirstLine)?;
    let agent = search(SignaturePlace::UserAgent)?;
    let mut numbers = HashMap::from([(At::Begin, 0_u16)]);
    let mut states = vec![At::Begin];
    let mut rows: Vec<Vec<u16>> = Vec::new();
    while let Some(at) = states.get(rows.len()).copied() {
        let mut row = Vec::with_capacity(256);
        for byte in 0..=u8::MAX {
            let (to, flags) = next(&first, &agent, at, byte);
            let fresh = states.len();
            let number = *numbers.entry(to).or_insert_with(|| {
                states.push(to);
                fresh as u16
            });
            row.push(number | flags);
        }
        if states.len() > MAX_STATES {
            return Err(TooLarge::States);
        }
        rows.push(row);
    }
    let mut classes: HashMap<Vec<u16>, u8> = HashMap::new();
    for byte in 0..=u8::MAX {
        let at = usize::from(byte);
        let column: Vec<u16> = rows.iter().filter_map(|row| row.get(at).copied()).collect();
        let fresh = classes.len();
        if fresh >= CLASSES && !classes.contains_key(&column) {
            return Err(TooLarge::Classes);
        }
        let class = *classes.entry(column).or_insert(fresh as u8);
        automaton.class_of[at] = class;
    }
    for (column, class) in classes {
        for (state, next) in column.into_iter().enumerate() {
            automaton.next[state * CLASSES + usize::from(class)] = next;
        }
    }
    Ok(automaton)
}

/// One that finds nothing.
pub fn empty() -> Box<Automaton> {
    Box::new(Automaton {
        active: 0,
        ones: u32::MAX,
        class_of: [0; 256],
        next: [0; MAX_STATES * CLASSES],
    })
}

#[cfg(test)]
mod tests;
