//! The Request-URI (RFC 3261 §16.3 step 2, §19.1.1).

use super::{Fault, FaultKind};
use crate::{Scheme, Uri, UriError};

/// The longest Request-URI that is forwarded, in bytes: what Kamailio takes (MAX_URI_SIZE).
pub const MAX_URI_LEN: usize = 1024;

pub(super) fn check_request_uri(text: &[u8]) -> Result<(), Fault> {
    const KIND: FaultKind = FaultKind::RequestUri;
    let bad = Fault::bad(KIND, "Bad Request-URI");
    if text.len() > MAX_URI_LEN {
        return Err(Fault {
            kind: KIND,
            status: 414,
            reason: "Request-URI Too Long",
        });
    }
    if !text.is_ascii() {
        return Err(bad);
    }
    match Uri::parse(text) {
        // What stands behind a question mark becomes header fields of a new request, and has no
        // place in one (§19.1.1, table 1).
        Ok(uri)
            if uri.scheme != Scheme::Tel
                && memchr::memchr(b'?', behind_host(&uri, text)).is_some() =>
        {
            Err(Fault::bad(KIND, "Header fields in the Request-URI"))
        }
        Ok(_) => Ok(()),
        // Services (RFC 5031) are known by name; where they lead, the script says.
        Err(UriError::Scheme) if starts_with(text, b"urn:") => Ok(()),
        Err(UriError::Scheme) if has_scheme(text) => Err(Fault {
            kind: KIND,
            status: 416,
            reason: "Unsupported URI Scheme",
        }),
        Err(_) => Err(bad),
    }
}

/// What follows the host, where a question mark begins header fields: in front of it, it is part of
/// the user.
fn behind_host<'a>(uri: &Uri<'a>, text: &'a [u8]) -> &'a [u8] {
    let start = uri.host.as_ptr().addr() - text.as_ptr().addr();
    text.get(start..).unwrap_or_default()
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether the text has a scheme (RFC 3986 §3.1), and something behind it.
pub(super) fn has_scheme(text: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', text) else {
        return false;
    };
    let (scheme, rest) = text.split_at(colon);
    let is_scheme = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(is_scheme)
        && rest.len() > 1
}
