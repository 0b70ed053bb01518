//! A reply of our own (RFC 3261 §8.2.6, and §8.2.7 for one without state).

use std::io::Write as _;
use std::net::SocketAddr;

use super::forward::is_elsewhere;
use super::{Fingerprint, to_tag};
use crate::sip::{Header, Rport, SipView, Via, Vias};

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
    // Writing to memory can't fail.
    let _ = write!(out, "SIP/2.0 {} ", reply.code);
    out.extend_from_slice(reply.reason);
    out.extend_from_slice(b"\r\n");
    let mut is_top = true;
    let takes_routes = matches!(reply.code, 180..=299);
    for header in request.headers() {
        if header.is(b"Via") {
            if is_top {
                top_via(&header, reply, out);
            } else {
                line(&header, &[], out);
            }
            is_top = false;
        } else if header.is(b"To") {
            let tagged = request.to().is_none_or(|to| to.tag().is_some());
            if tagged || reply.code == 100 {
                line(&header, &[], out);
            } else {
                let mut tag = Vec::from(&b";tag="[..]);
                to_tag(reply.fingerprint, &mut tag);
                line(&header, &tag, out);
            }
        } else if header.is(b"From")
            || header.is(b"Call-ID")
            || header.is(b"CSeq")
            || (takes_routes && header.is(b"Record-Route"))
        {
            line(&header, &[], out);
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

/// A header with something at the end of its value.
fn line(header: &Header<'_>, more: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(header.name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(header.value);
    out.extend_from_slice(more);
    out.extend_from_slice(b"\r\n");
}

/// The sender's Via, with where the request came from at its end, as Kamailio writes it.
fn top_via(header: &Header<'_>, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let Some(Some(via)) = Vias::new(header.value).next() else {
        return line(header, &[], out);
    };
    let offset = |part: &[u8]| part.as_ptr().addr() - header.value.as_ptr().addr();
    let end = offset(via.text) + via.text.len();
    let (value, rest) = header
        .value
        .split_at_checked(end)
        .unwrap_or((header.value, &[]));
    let asked = via.rport() == Some(Rport::Requested);
    out.extend_from_slice(header.name);
    out.extend_from_slice(b": ");
    match via.params.get(b"rport").filter(|_| asked) {
        Some(param) => {
            let name_end = offset(param.name) + param.name.len();
            let value_end = param.value.map_or(name_end, |v| offset(v) + v.len());
            out.extend_from_slice(value.get(..name_end).unwrap_or_default());
            let _ = write!(out, "={}", reply.source.port());
            out.extend_from_slice(value.get(value_end..).unwrap_or_default());
        }
        None => {
            out.extend_from_slice(value);
            if reply.force_rport && via.params.get(b"rport").is_none() {
                let _ = write!(out, ";rport={}", reply.source.port());
            }
        }
    }
    if needs_received(&via, reply, asked) {
        let _ = write!(out, ";received={}", reply.source.ip().to_canonical());
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}

fn needs_received(via: &Via<'_>, reply: &Reply<'_>, asked: bool) -> bool {
    via.received().is_none() && (asked || is_elsewhere(via, reply.source))
}
