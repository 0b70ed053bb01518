//! The checks, in the order in which Kamailio 5.6.3 makes them, with its replies.

use corex_sip::strict::{FaultKind, unsupported};
use corex_sip::{Header, NameAddr, SipView, Uri, UriError};

use super::digest;

/// What is checked.
pub(super) struct Subject<'m> {
    pub message: &'m SipView<'m>,
    /// The request URI as the script has left it.
    pub request_uri: &'m [u8],
    /// Whose URIs are checked, by bit.
    pub uri_checks: u32,
    /// What Proxy-Require may ask for.
    pub extensions: &'m [String],
}

/// What a request that fails gets: code and reason phrase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer(pub u16, pub &'static str);

impl Answer {
    /// Nothing: what a reply needs isn't there.
    pub const NONE: Answer = Answer(0, "");
    pub const EXTENSION: Answer = Answer(420, "Bad Proxy Require Extension");
}

/// Why a check failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Failed {
    pub kind: FaultKind,
    pub answer: Answer,
}

pub(super) type Outcome = Result<(), Failed>;

/// One check.
pub(super) type Check = fn(&Subject<'_>) -> Outcome;

pub(super) fn failed(kind: FaultKind, reason: &'static str) -> Outcome {
    Err(Failed {
        kind,
        answer: Answer(400, reason),
    })
}

const fn unanswered(kind: FaultKind) -> Outcome {
    Err(Failed {
        kind,
        answer: Answer::NONE,
    })
}

/// The checks by their numbers. 1 is passed by what the script sees at all; 8 and 16 do nothing in
/// Kamailio either.
pub(super) const CHECKS: &[(u32, Check)] = &[
    (2, request_uri),
    (4, required),
    (16384, top_via),
    (32, cseq_method),
    (64, cseq_number),
    (128, content_length),
    (256, expires),
    (512, proxy_require),
    (1024, uris),
    (2048, digest::only_digest),
    (8192, digest::if_digest),
    (4096, tags),
];

fn request_uri(subject: &Subject<'_>) -> Outcome {
    let uri = subject.request_uri;
    let is_service = uri
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"urn:"));
    match Uri::parse(uri) {
        Err(UriError::Scheme) if is_service => Ok(()),
        Err(_) if subject.message.is_request() => failed(FaultKind::RequestUri, "Bad Request URI"),
        _ => Ok(()),
    }
}

fn required(subject: &Subject<'_>) -> Outcome {
    let message = subject.message;
    for name in [&b"From"[..], b"To", b"Call-ID", b"CSeq"] {
        let mut all = message.headers_named(name);
        match (all.next(), all.next()) {
            (None, _) => return unanswered(FaultKind::Missing),
            (Some(_), Some(_)) => return unanswered(FaultKind::Doubled),
            (Some(_), None) => {}
        }
    }
    let is_readable = message.to().is_some() && message.top_via().is_some();
    match message.header(b"Via") {
        None => unanswered(FaultKind::Missing),
        Some(_) if !is_readable => unanswered(FaultKind::Malformed),
        Some(_) => Ok(()),
    }
}

fn top_via(subject: &Subject<'_>) -> Outcome {
    match subject.message.top_via() {
        Some(_) => Ok(()),
        None => unanswered(FaultKind::Malformed),
    }
}

/// Number and method of CSeq as written.
fn cseq<'m>(subject: &Subject<'m>) -> Option<(&'m [u8], &'m [u8])> {
    let value = subject.message.header(b"CSeq")?.value;
    let end = value.iter().position(u8::is_ascii_whitespace)?;
    let (number, method) = value.split_at(end);
    Some((number, method.trim_ascii()))
}

fn cseq_method(subject: &Subject<'_>) -> Outcome {
    let Some((_, method)) = cseq(subject) else {
        return unanswered(FaultKind::Malformed);
    };
    if subject
        .message
        .method()
        .is_some_and(|wanted| wanted != method)
    {
        return failed(
            FaultKind::Malformed,
            "CSeq method does not match request method",
        );
    }
    Ok(())
}

fn cseq_number(subject: &Subject<'_>) -> Outcome {
    match cseq(subject) {
        None => unanswered(FaultKind::Malformed),
        Some((number, _)) if number_of(number).is_none() => {
            failed(FaultKind::Malformed, "CSeq number is illegal")
        }
        Some(_) => Ok(()),
    }
}

/// A number of 32 bits, digits only.
fn number_of(text: &[u8]) -> Option<u32> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

fn content_length(subject: &Subject<'_>) -> Outcome {
    const KIND: FaultKind = FaultKind::Length;
    let Some(header) = subject.message.header(b"Content-Length") else {
        return Ok(());
    };
    match number_of(header.value) {
        None => failed(KIND, "Content-Length Failure"),
        Some(len) if len as usize != subject.message.body().len() => {
            failed(KIND, "Content-Length mis-match")
        }
        Some(_) => Ok(()),
    }
}

fn expires(subject: &Subject<'_>) -> Outcome {
    const KIND: FaultKind = FaultKind::Malformed;
    match subject.message.header(b"Expires") {
        Some(Header { value: [], .. }) => failed(KIND, "Bad Expires Header"),
        Some(header) if number_of(header.value).is_none() => {
            failed(KIND, "Expires value is illegal")
        }
        _ => Ok(()),
    }
}

fn proxy_require(subject: &Subject<'_>) -> Outcome {
    let mut missing = unsupported(subject.message, subject.extensions);
    match missing.next() {
        Some(_) => Err(Failed {
            kind: FaultKind::Extension,
            answer: Answer::EXTENSION,
        }),
        None => Ok(()),
    }
}

fn uris(subject: &Subject<'_>) -> Outcome {
    const KIND: FaultKind = FaultKind::Malformed;
    let message = subject.message;
    let wants = |bit: u32| subject.uri_checks & bit != 0;
    if wants(1) {
        request_uri(subject)?;
    }
    // As Kamailio spells it.
    for (bit, name, reason) in [
        (2, &b"From"[..], "Invalid From Header"),
        (4, b"To", "Ivalid To Header"),
    ] {
        if !wants(bit) {
            continue;
        }
        let Some(header) = message.header(name) else {
            return unanswered(FaultKind::Missing);
        };
        let is_good = NameAddr::parse(header.value).is_some_and(|it| Uri::parse(it.uri).is_ok());
        if !is_good {
            return failed(KIND, reason);
        }
    }
    let Some(contact) = message.header(b"Contact").filter(|_| wants(8)) else {
        return Ok(());
    };
    if contact.value == b"*" {
        return Ok(());
    }
    match NameAddr::parse(contact.value) {
        None => failed(KIND, "Bad Contact Header"),
        Some(address) if Uri::parse(address.uri).is_err() => failed(KIND, "Bad Contact URI"),
        Some(_) => Ok(()),
    }
}

fn tags(subject: &Subject<'_>) -> Outcome {
    let message = subject.message;
    for (name, reason) in [
        (&b"From"[..], "Many From Tag Params"),
        (b"To", "Many To Tag Params"),
    ] {
        let Some(address) = message
            .header(name)
            .and_then(|it| NameAddr::parse(it.value))
        else {
            return unanswered(FaultKind::Malformed);
        };
        let tags = address.params.into_iter();
        if tags
            .filter(|it| it.name.eq_ignore_ascii_case(b"tag"))
            .count()
            > 1
        {
            return failed(FaultKind::Doubled, reason);
        }
    }
    Ok(())
}
