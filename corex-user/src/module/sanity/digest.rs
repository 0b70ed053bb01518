//! Credentials of the scheme Digest (RFC 3261 §22.4, RFC 8760).

use corex_sip::strict::FaultKind;
use corex_sip::{Header, SipView};

use super::checks::{Answer, Failed, Outcome, Subject, failed};

/// All credentials must be of the scheme Digest, and whole.
pub(super) fn only_digest(subject: &Subject<'_>) -> Outcome {
    all(subject.message, || {
        Err(Failed {
            kind: FaultKind::Malformed,
            answer: Answer::NONE,
        })
    })
}

/// Those of the scheme Digest must be whole.
pub(super) fn if_digest(subject: &Subject<'_>) -> Outcome {
    all(subject.message, || Ok(()))
}

/// Checks credentials in the order in which Kamailio does: what comes behind one of another scheme
/// isn't looked at.
fn all(message: &SipView<'_>, other_scheme: fn() -> Outcome) -> Outcome {
    for name in [&b"Authorization"[..], b"Proxy-Authorization"] {
        for header in message.headers_named(name) {
            match credentials(&header) {
                Some(credentials) => check(credentials)?,
                None => return other_scheme(),
            }
        }
    }
    Ok(())
}

/// What follows the scheme, if it is Digest.
fn credentials<'m>(header: &Header<'m>) -> Option<&'m [u8]> {
    let (scheme, rest) = header.value.split_at_checked(6)?;
    let is_digest = scheme.eq_ignore_ascii_case(b"Digest");
    (is_digest && rest.first().is_some_and(u8::is_ascii_whitespace)).then_some(rest)
}

fn check(text: &[u8]) -> Outcome {
    const KIND: FaultKind = FaultKind::Malformed;
    let mut found = Found::default();
    if found.read(text).is_none() {
        return failed(KIND, "Bad Auth Header");
    }
    let Found {
        username,
        realm,
        nonce,
        uri,
        response,
        qop,
        cnonce,
        nc,
    } = found;
    let is_empty = |value: Option<&[u8]>| value.is_none_or(<[u8]>::is_empty);
    let needs_count = !is_empty(qop) && (is_empty(cnonce) || is_empty(nc));
    let is_partial = [username, realm, nonce, uri, response].contains(&None);
    if is_partial || needs_count {
        return failed(KIND, "Bad Auth Credentials");
    }
    for (value, reason) in [
        (username, "Auth Empty User"),
        (nonce, "Auth Empty Nonce"),
        (response, "Auth Empty Response"),
    ] {
        if is_empty(value) {
            return failed(KIND, reason);
        }
    }
    Ok(())
}

/// The parameters that matter; of one that occurs twice the last.
#[derive(Default)]
struct Found<'m> {
    username: Option<&'m [u8]>,
    realm: Option<&'m [u8]>,
    nonce: Option<&'m [u8]>,
    uri: Option<&'m [u8]>,
    response: Option<&'m [u8]>,
    qop: Option<&'m [u8]>,
    cnonce: Option<&'m [u8]>,
    nc: Option<&'m [u8]>,
}

impl<'m> Found<'m> {
    /// Reads `name=value, name="value"`. `None`: it is something else.
    fn read(&mut self, text: &'m [u8]) -> Option<()> {
        let mut rest = text.trim_ascii();
        loop {
            let equals = memchr::memchr(b'=', rest)?;
            let (name, after) = rest.split_at(equals);
            let after = after.get(1..)?.trim_ascii_start();
            let (value, after) = match after {
                [b'"', inner @ ..] => {
                    let end = closing_quote(inner)?;
                    (inner.get(..end)?, inner.get(end + 1..)?)
                }
                _ => after.split_at(memchr::memchr(b',', after).unwrap_or(after.len())),
            };
            self.take(name.trim_ascii(), value.trim_ascii());
            rest = match after.trim_ascii_start() {
                [] => return Some(()),
                [b',', rest @ ..] => rest.trim_ascii_start(),
                _ => return None,
            };
        }
    }

    fn take(&mut self, name: &[u8], value: &'m [u8]) {
        let place = match name.to_ascii_lowercase().as_slice() {
            b"username" => &mut self.username,
            b"realm" => &mut self.realm,
            b"nonce" => &mut self.nonce,
            b"uri" => &mut self.uri,
            b"response" => &mut self.response,
            b"qop" => &mut self.qop,
            b"cnonce" => &mut self.cnonce,
            b"nc" => &mut self.nc,
            _ => return,
        };
        *place = Some(value);
    }
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    text.iter().position(|&byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}
