//! What a message must be before it is forwarded (RFC 3261 §16.3, and §8.1.1, §18.3, §20, §25).
//!
//! A view takes whatever can be made sense of. What is passed on is read by another parser, which
//! may make another sense of it, or none: so a message is refused whose parts that a proxy goes by
//! can be read in two ways. Parts that only the far ends read are their affair (§16.3).

mod address;
mod field;
mod head;
mod uri;

#[cfg(test)]
mod tests;

use std::hash::{Hash as _, Hasher as _};

use rustc_hash::FxHasher;

use self::field::{Field, Seen};
use crate::compose::Circle;
use crate::{CSeq, Header, NotSip, SipView, Via, lex};

pub use self::uri::MAX_URI_LEN;

/// What kind of mistake a message has: what it is counted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A header field is missing that every message has (§8.1.1, §20 table 2).
    Missing,
    /// A header field that there is one of occurs twice, or its value is a list (§7.3.1).
    Doubled,
    /// A line or a value that doesn't follow the grammar (§25).
    Malformed,
    /// Content-Length doesn't fit the body (§18.3).
    Length,
    /// The Request-URI, or the line that it stands in.
    RequestUri,
    /// Another version of SIP (§21.5.6).
    Version,
    /// Proxy-Require asks for what isn't here (§16.3 step 5).
    Extension,
    /// Max-Forwards is used up (§16.3 step 3).
    Hops,
    /// The request was forwarded from here before, and nothing about it has changed (§16.3 step 4).
    Loop,
}

/// Why a message is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The kind.
    pub kind: FaultKind,
    /// The status code that a request is answered with.
    pub status: u16,
    /// The reason phrase of that answer: what is wrong.
    pub reason: &'static str,
}

impl Fault {
    /// A fault that is answered with 400.
    const fn bad(kind: FaultKind, reason: &'static str) -> Fault {
        Fault {
            kind,
            status: 400,
            reason,
        }
    }

    const fn malformed(reason: &'static str) -> Fault {
        Fault::bad(FaultKind::Malformed, reason)
    }

    /// Max-Forwards is 0.
    pub const HOPS: Fault = Fault {
        kind: FaultKind::Hops,
        status: 483,
        reason: "Too Many Hops",
    };

    /// The request goes in circles.
    pub const LOOP: Fault = Fault {
        kind: FaultKind::Loop,
        status: 482,
        reason: "Loop Detected",
    };

    /// What Proxy-Require names isn't here.
    pub const EXTENSION: Fault = Fault {
        kind: FaultKind::Extension,
        status: 420,
        reason: "Bad Extension",
    };
}

/// What is asked of a message beside its form.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'r> {
    /// Whether it came by a stream: then Content-Length says exactly how long the body is. In a
    /// datagram more may follow (§18.3).
    pub is_stream: bool,
    /// Whether the Request-URI is replaced: then it may be anything.
    pub replaces_uri: bool,
    /// Whether Max-Forwards was seen to already.
    pub keeps_hops: bool,
    /// The option tags that Proxy-Require may have.
    pub extensions: &'r [String],
}

/// What is known of a message that may be forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passed {
    /// A digest of what decides where a request goes, but for who sent it.
    pub digest: u64,
    /// Whether a Via says what was forwarded, as those of ours do.
    pub is_marked: bool,
}

/// Checks a message.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(message: &SipView<'_>, rules: &Rules<'_>) -> Result<Passed, Fault> {
    match message.refused() {
        None => {}
        Some(NotSip::Version) => {
            return Err(Fault {
                kind: FaultKind::Version,
                status: 505,
                reason: "Version Not Supported",
            });
        }
        Some(_) => {
            return Err(Fault::bad(FaultKind::RequestUri, "Malformed Request-Line"));
        }
    }
    // First the fields, by the pass that finds where the body begins; what is said first is what
    // comes first.
    let found = fields(message, rules);
    head::check_bytes(message)?;
    let found = found?;
    let passed = Passed {
        digest: found.hash.finish(),
        is_marked: found.is_marked,
    };
    let (Some(method), Some(uri)) = (message.method(), message.request_uri()) else {
        return Ok(passed);
    };
    if !rules.replaces_uri {
        uri::check_request_uri(uri)?;
    }
    if found.hops == Some(0) && !rules.keeps_hops {
        return Err(Fault::HOPS);
    }
    // In these it is to be ignored (§8.2.2.3).
    let is_exempt = matches!(method, b"ACK" | b"CANCEL");
    if found.requires && !is_exempt && unsupported(message, rules.extensions).next().is_some() {
        return Err(Fault::EXTENSION);
    }
    Ok(passed)
}

/// The option tags of Proxy-Require that aren't among `known`, as written.
pub fn unsupported<'a>(request: &SipView<'a>, known: &[String]) -> impl Iterator<Item = &'a [u8]> {
    request
        .headers_named(b"Proxy-Require")
        .flat_map(|header| header.value.split(|byte| *byte == b','))
        .map(lex::trim)
        .filter(|tag| {
            !tag.is_empty() && !known.iter().any(|k| k.as_bytes().eq_ignore_ascii_case(tag))
        })
}

/// What a walk over the header fields found.
#[derive(Default)]
struct Found {
    hops: Option<u32>,
    requires: bool,
    is_marked: bool,
    hash: FxHasher,
}

fn fields(message: &SipView<'_>, rules: &Rules<'_>) -> Result<Found, Fault> {
    let mut found = Found::default();
    message.method().hash(&mut found.hash);
    message.request_uri().hash(&mut found.hash);
    let mut seen = Seen::default();
    let mut length = None;
    let mut lines = head::Lines::new(message, &message.headers());
    let walk = message.try_headers(|header| {
        lines.next(header)?;
        let Some(field) = Field::of(header.name) else {
            return Ok(());
        };
        let is_first = seen.insert(field);
        if !is_first && field.is_single() {
            return Err(Fault::bad(FaultKind::Doubled, field.doubled()));
        }
        let value = header.value;
        match field {
            Field::Via => found.is_marked |= check_vias(value, is_first)?,
            Field::From | Field::To => {
                let what = if field == Field::From {
                    "Bad From"
                } else {
                    "Bad To"
                };
                let tag = address::check(value).map_err(|_| Fault::malformed(what))?;
                (field as u8, tag).hash(&mut found.hash);
            }
            Field::CallId if value.is_empty() || !value.iter().all(|&byte| is_call_id(byte)) => {
                return Err(Fault::malformed("Bad Call-ID"));
            }
            Field::CallId => value.hash(&mut found.hash),
            Field::CSeq => check_cseq(message, value)?.hash(&mut found.hash),
            Field::MaxForwards => match lex::decimal(value) {
                Some(hops @ 0..=255) => found.hops = Some(hops),
                _ if message.is_request() => return Err(Fault::malformed("Bad Max-Forwards")),
                _ => {}
            },
            Field::ContentLength => length = Some(*header),
            Field::ProxyRequire => found.requires = true,
            Field::Addresses if !address::is_balanced(value) => {
                return Err(Fault::malformed("A quote or bracket that is not closed"));
            }
            Field::Addresses if header.is(b"Route") => value.hash(&mut found.hash),
            _ => {}
        }
        Ok(())
    });
    // It stands in front of whatever was found behind it, and is asked about behind the pass that finds
    // the body.
    if let Some(header) = length {
        check_length(message, rules, &header)?;
    }
    lines.end(&walk?)?;
    for (field, reason) in [
        (Field::Via, "Missing Via"),
        (Field::From, "Missing From"),
        (Field::To, "Missing To"),
        (Field::CallId, "Missing Call-ID"),
        (Field::CSeq, "Missing CSeq"),
    ] {
        if !seen.has(field) {
            return Err(Fault::bad(FaultKind::Missing, reason));
        }
    }
    Ok(found)
}

/// A byte of Call-ID. Rather more than a `word` has, as people use more; not what separates values.
const fn is_call_id(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b',' | b';')
}

/// The number.
fn check_cseq(message: &SipView<'_>, value: &[u8]) -> Result<u32, Fault> {
    // Less than 2^31 (§8.1.1.5).
    const MOST: u32 = i32::MAX as u32;
    let Some(cseq) = CSeq::parse(value).filter(|cseq| cseq.number <= MOST) else {
        return Err(Fault::malformed("Bad CSeq"));
    };
    if message.method().is_some_and(|method| method != cseq.method) {
        return Err(Fault::malformed("CSeq names another method"));
    }
    Ok(cseq.number)
}

fn check_length(
    message: &SipView<'_>,
    rules: &Rules<'_>,
    header: &Header<'_>,
) -> Result<(), Fault> {
    let Header { raw, value, .. } = *header;
    const KIND: FaultKind = FaultKind::Length;
    // Who reads line by line sees another value, or none.
    let is_folded = memchr::memchr(b'\n', raw).is_some_and(|at| at + 1 < raw.len());
    let Some(len) = lex::decimal(value).filter(|_| !is_folded) else {
        return Err(Fault::bad(KIND, "Bad Content-Length"));
    };
    let (len, there) = (len as usize, message.body().len());
    if len > there {
        return Err(Fault::bad(KIND, "Content-Length exceeds the body"));
    }
    if rules.is_stream && len != there {
        return Err(Fault::bad(KIND, "Content-Length is not the body's"));
    }
    Ok(())
}

/// Checks the values of a Via field: whether one of them is marked. By the topmost one the answer goes
/// back: its transport must be one that we know.
fn check_vias(value: &[u8], has_top: bool) -> Result<bool, Fault> {
    let mut rest = value;
    let mut is_top = has_top;
    let mut is_marked = false;
    loop {
        let end = lex::find_outside(rest, b',').unwrap_or(rest.len());
        let (one, after) = rest.split_at(end);
        let via = Via::parse(one).filter(|via| via.port != Some(0));
        let is_whole = via.is_some_and(|via| {
            address::are_params(via.params.as_bytes(), |name, value| {
                is_marked |= name.eq_ignore_ascii_case(Circle::NAME);
                // One that people write with nothing behind its `=`.
                value != Some(b"") || name.eq_ignore_ascii_case(b"rport")
            })
        });
        let Some(via) = via.filter(|_| is_whole) else {
            return Err(Fault::malformed("Bad Via"));
        };
        if is_top && via.transport().is_none() {
            return Err(Fault::malformed("Unknown transport in the topmost Via"));
        }
        is_top = false;
        match after {
            [] => return Ok(is_marked),
            [_, after @ ..] => rest = after,
        }
    }
}
