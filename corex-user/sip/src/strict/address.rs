//! From and To (RFC 3261 §20.20, §20.39), and parameters.

use super::uri::has_scheme;
use crate::{Uri, UriError, lex};

/// What is wrong with an address.
pub(super) struct Bad;

/// Checks the value of From or To: one address with at most one tag, which has a value. Returns the
/// tag.
pub(super) fn check(value: &[u8]) -> Result<Option<&[u8]>, Bad> {
    let (uri, params) = split(value).ok_or(Bad)?;
    match Uri::parse(uri) {
        Ok(_) => {}
        // Any scheme will do: nothing is sent there.
        Err(UriError::Scheme) if has_scheme(uri) => {}
        Err(_) => return Err(Bad),
    }
    let mut found = None;
    let is_good = are_params(params, |name, value| match value {
        _ if !name.eq_ignore_ascii_case(b"tag") => value != Some(b""),
        Some(tag) if !tag.is_empty() && !tag.starts_with(b"\"") => found.replace(tag).is_none(),
        _ => false,
    });
    if is_good { Ok(found) } else { Err(Bad) }
}

/// The URI and the parameters behind it.
fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let value = lex::trim(value);
    let mut rest = value;
    if value.first() == Some(&b'"') {
        rest = lex::trim_start(value.get(closed_len(value)?..)?);
        // A quoted string can only be a name.
        if rest.first() != Some(&b'<') {
            return None;
        }
    }
    match memchr::memchr3(b'<', b'"', b';', rest).map(|at| rest.split_at(at)) {
        Some((name, [b'<', rest @ ..])) => {
            // A comma would begin another value for some.
            if memchr::memchr(b',', name).is_some() {
                return None;
            }
            let (uri, params) = rest.split_at(memchr::memchr(b'>', rest)?);
            Some((lex::trim(uri), params.get(1..)?))
        }
        Some((_, [b'"', ..])) => None,
        split => {
            let (uri, params) = split.unwrap_or((rest, &[]));
            // Only in angle brackets may it have these (§20.10).
            let is_plain = memchr::memchr3(b',', b'?', b'>', uri).is_none();
            is_plain.then(|| (lex::trim_end(uri), params))
        }
    }
}

/// The length of the quoted string at the start, if it ends.
fn closed_len(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    for (at, &byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Whether a text is a list of parameters, each behind a semicolon: a name, and perhaps a value that
/// nothing but this list ends, and that `is_good` all of them.
pub(super) fn are_params<'a>(
    text: &'a [u8],
    mut is_good: impl FnMut(&'a [u8], Option<&'a [u8]>) -> bool,
) -> bool {
    let mut rest = lex::trim(text);
    while let [b';', after @ ..] = rest {
        let (name, after) = lex::split_token(lex::trim_start(after));
        rest = lex::trim_start(after);
        let mut value = None;
        if let [b'=', after @ ..] = rest {
            let after = lex::trim_start(after);
            let len = match after.first() {
                Some(b'"') => closed_len(after),
                _ => after
                    .iter()
                    .position(|&byte| !is_value(byte))
                    .or(Some(after.len())),
            };
            let Some((given, after)) = len.and_then(|len| after.split_at_checked(len)) else {
                return false;
            };
            value = Some(given);
            rest = lex::trim_start(after);
        }
        if name.is_empty() || !is_good(name, value) {
            return false;
        }
    }
    rest.is_empty()
}

/// A byte of a value without quotes: rather more than a token has, but none that separates, quotes or
/// comments.
const fn is_value(byte: u8) -> bool {
    (byte.is_ascii_graphic() || byte >= 0x80)
        && !matches!(byte, b',' | b';' | b'"' | b'<' | b'>' | b'(' | b')')
}

/// Whether all quoted strings and angle brackets of a value end.
pub(super) fn is_balanced(mut value: &[u8]) -> bool {
    while let Some(at) = memchr::memchr3(b'"', b'<', b'>', value) {
        let rest = value.get(at..).unwrap_or_default();
        let len = match rest.first() {
            Some(b'"') => closed_len(rest),
            Some(b'<') => memchr::memchr(b'>', rest).map(|end| end + 1),
            _ => None,
        };
        let Some(after) = len.and_then(|len| rest.get(len..)) else {
            return false;
        };
        value = after;
    }
    true
}
