//! A reply of our own (RFC 3261 §8.2.6, and §8.2.7 for one without state).

use std::net::SocketAddr;

use super::digits::write_decimal;
use super::received::Notes;
use super::{Fingerprint, to_tag};
use crate::{Header, SipView, Vias};

/// A reply.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Status code, 100 to 699.
    pub code: u16,
    /// Reason phrase, without line breaks.
    pub reason: &'a [u8],
    /// Further header lines, each with its line break.
    pub headers: &'a [u8],
    /// The value of Server; empty for none.
    pub server: &'a [u8],
    /// What the To tag is made of.
    pub fingerprint: Fingerprint,
    /// Who sent the request.
    pub source: SocketAddr,
    /// Whether the reply goes to the port that it came from, asked for or not.
    pub force_rport: bool,
}

/// Appends the reply to a request to `out`.
pub fn write_reply(request: &SipView<'_>, reply: &Reply<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"SIP/2.0 ");
    write_decimal(reply.code.into(), out);
    out.push(b' ');
    out.extend_from_slice(reply.reason);
    out.extend_from_slice(b"\r\n");
    let mut is_top = true;
    let takes_routes = matches!(reply.code, 180..=299);
    for header in request.headers() {
        if header.is(b"Via") {
            if is_top {
                top_via(&header, reply, out);
            } else {
                line(&header, out);
            }
            is_top = false;
        } else if header.is(b"To") {
            let tagged = request.to().is_none_or(|to| to.tag().is_some());
            field(&header, out);
            if !tagged && reply.code != 100 {
                out.extend_from_slice(b";tag=");
                to_tag(reply.fingerprint, out);
            }
            out.extend_from_slice(b"\r\n");
        } else if header.is(b"From")
            || header.is(b"Call-ID")
            || header.is(b"CSeq")
            || (takes_routes && header.is(b"Record-Route"))
        {
            line(&header, out);
        }
    }
    out.extend_from_slice(reply.headers);
    if !reply.server.is_empty() {
        out.extend_from_slice(b"Server: ");
        out.extend_from_slice(reply.server);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// A header as it stands there, but for white space at its end.
fn line(header: &Header<'_>, out: &mut Vec<u8>) {
    field(header, out);
    out.extend_from_slice(b"\r\n");
}

/// The same without the line break.
fn field(header: &Header<'_>, out: &mut Vec<u8>) {
    let (name, _) = around_value(header);
    out.extend_from_slice(name);
    out.extend_from_slice(header.value);
}

/// What a header field has in front of its value, and from there on.
fn around_value<'a>(header: &Header<'a>) -> (&'a [u8], &'a [u8]) {
    let start = header.value.as_ptr().addr() - header.raw.as_ptr().addr();
    header
        .raw
        .split_at_checked(start)
        .unwrap_or((header.raw, &[]))
}

/// The sender's Via, with where the request came from at its end, as Kamailio writes it.
fn top_via(header: &Header<'_>, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let Some(Some(via)) = Vias::new(header.value).next() else {
        return line(header, out);
    };
    let notes = Notes::new(&via, reply.source, reply.force_rport);
    let start = via.text.as_ptr().addr() - header.raw.as_ptr().addr();
    let end = start + via.text.len();
    let value_end = around_value(header).0.len() + header.value.len();
    let mut cursor = 0;
    for (range, note) in notes.replaced() {
        out.extend_from_slice(
            header
                .raw
                .get(cursor..start + range.start)
                .unwrap_or_default(),
        );
        note.write(out);
        cursor = start + range.end;
    }
    out.extend_from_slice(header.raw.get(cursor..end).unwrap_or_default());
    for note in notes.added() {
        out.push(b';');
        note.write(out);
    }
    out.extend_from_slice(header.raw.get(end..value_end).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
}
