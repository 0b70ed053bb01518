//! Addresses in From, To, Contact and their like.

use super::{Params, lex};

/// A name-addr or addr-spec with its header parameters (RFC 3261 §20.10, §20.20).
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'a> {
    /// Display name as written, quotes included; empty if there is none.
    pub display: &'a [u8],
    /// The URI without angle brackets. It isn't looked into: see [`super::Uri::parse`].
    pub uri: &'a [u8],
    /// The header's parameters. Without angle brackets everything from the first semicolon
    /// on is the header's, not the URI's (RFC 3261 §20).
    pub params: Params<'a>,
}

/// The values of a header that has several, with commas between them (RFC 3261 §7.3.1): those in quoted
/// strings and in `<…>` are none.
pub fn values(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let now = rest?;
        let comma = lex::find_outside(now, b',');
        let (first, others) = now.split_at(comma.unwrap_or(now.len()));
        rest = comma.map(|_| others.get(1..).unwrap_or_default());
        Some(lex::trim(first))
    })
}

impl<'a> NameAddr<'a> {
    /// Parses a header value that holds one address. `None` if no URI can be made out.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = lex::trim(value);
        // An angle bracket in front of any parameter makes it a name-addr; one that is
        // quoted or comes later doesn't.
        let stop = lex::find_unquoted(value, b'<', b';');
        match stop.map(|at| (value[at], value.split_at(at))) {
            Some((b'<', (display, rest))) => {
                let end = memchr::memchr(b'>', rest)?;
                let params = &rest[end + 1..];
                Self::checked(display, lex::trim(&rest[1..end]), params)
            }
            Some((_, (uri, params))) => Self::checked(&value[..0], lex::trim_end(uri), params),
            None => Self::checked(&value[..0], value, &value[value.len()..]),
        }
    }

    fn checked(display: &'a [u8], uri: &'a [u8], params: &'a [u8]) -> Option<Self> {
        let clean = |b: u8| !lex::is_control(b) && !matches!(b, b' ' | b'"' | b'<' | b'>');
        (!uri.is_empty() && uri.iter().all(|&b| clean(b))).then(|| Self {
            display: lex::trim(display),
            uri,
            params: Params::new(params),
        })
    }

    /// The `tag` parameter (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.value(b"tag")
    }
}
