//! A request on its way to the next hop (RFC 3261 §16.6, RFC 3581).

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::digits::{write_decimal, write_ip};
use super::received::Notes;
use super::seal::write_room;
use super::{Circle, Edits, Fingerprint, OwnLines, Side, branch, fix_content_length, write};
use crate::{SipView, Transport, lex};

/// Max-Forwards where there is none (RFC 3261 §16.6 step 3).
const INITIAL: u32 = 70;
/// The most that Max-Forwards may be (RFC 3261 §20.22).
const MOST: u32 = 255;

/// sent-by of our Via.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentBy<'a> {
    /// A name or an address as text; `None`: `ip`.
    pub host: Option<&'a str>,
    /// Our address.
    pub ip: IpAddr,
    /// Our port.
    pub port: u16,
}

/// What happens to Max-Forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HopLimit {
    /// It is counted down, or added with 70 (RFC 3261 §16.6 step 3). One that is no number
    /// becomes 70, one above 255 becomes 255.
    CountDown,
    /// It stays as it is: the script saw to it.
    Keep,
}

/// Lines with addresses of ours, for a request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// The lines.
    pub lines: &'a OwnLines,
    /// The socket that the request came in on.
    pub received: Side<'a>,
    /// The one that it leaves by.
    pub sent: Side<'a>,
}

/// How a request is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// What replaces the request URI.
    pub request_uri: Option<&'a [u8]>,
    /// Route headers to go in front, whole lines; empty for none.
    pub routes: &'a [u8],
    /// Lines with addresses of ours.
    pub own: Option<Own<'a>>,
    /// The transport to the next hop.
    pub transport: Transport,
    /// Our name.
    pub sent_by: SentBy<'a>,
    /// What the branch is made of.
    pub fingerprint: Fingerprint,
    /// Which of the request's destinations this is.
    pub index: usize,
    /// The connection that the request came on, for the way back.
    pub connection: Option<u64>,
    /// Whether our Via has room for the digest of [`super::ReplyKeys::seal`].
    pub is_sealed: bool,
    /// Whether our Via asks for rport.
    pub local_rport: bool,
    /// What tells the request, should it come again; `None`: nothing will.
    pub circle: Option<Circle>,
    /// Who sent the request.
    pub source: SocketAddr,
    /// Whether replies go to the port that it came from, asked for or not.
    pub force_rport: bool,
    /// Max-Forwards.
    pub hop_limit: HopLimit,
}

/// The value of Max-Forwards; `None` without one, an error if it is no number.
///
/// # Errors
/// The value as it stands there.
pub fn max_forwards<'a>(request: &SipView<'a>) -> Result<Option<u32>, &'a [u8]> {
    match request.header(b"Max-Forwards") {
        None => Ok(None),
        Some(header) => lex::decimal(header.value).map(Some).ok_or(header.value),
    }
}

/// Appends the request with all changes to `out`; `own` is scratch space.
pub fn write_request(
    request: &SipView<'_>,
    edits: &Edits,
    forward: &Forward<'_>,
    own: &mut Edits,
    out: &mut Vec<u8>,
) {
    own.clear();
    let message = request.message();
    let offset = |part: &[u8]| part.as_ptr().addr() - message.as_ptr().addr();
    let place = |part: &[u8]| offset(part)..offset(part) + part.len();
    if let (Some(new), Some(old)) = (forward.request_uri, request.request_uri()) {
        own.replace(place(old), new);
    }
    let end_of_headers = request.end_of_headers();
    let above = request
        .header(b"Via")
        .or_else(|| request.headers().next())
        .map_or(end_of_headers, |header| offset(header.raw));
    if let Some(Own {
        lines,
        received,
        sent,
    }) = &forward.own
    {
        lines.write(received, sent, own);
    }
    own.replace_with(above..above, |out| write_via(forward, out));
    if let Some(via) = request.top_via() {
        let notes = Notes::new(&via, forward.source, forward.force_rport);
        let start = offset(via.text);
        for (range, note) in notes.replaced() {
            let range = start + range.start..start + range.end;
            own.replace_with(range, |out| note.write(out));
        }
        let behind = start + notes.behind_sent_by();
        for note in notes.added() {
            own.replace_with(behind..behind, |out| {
                out.push(b';');
                note.write(out);
            });
        }
    }
    if !forward.routes.is_empty() {
        let route = request.header(b"Route").map(|h| offset(h.raw));
        own.insert(route.unwrap_or(end_of_headers), forward.routes);
    }
    if forward.hop_limit == HopLimit::CountDown {
        match request.header(b"Max-Forwards") {
            Some(header) => {
                // One that can't be read would let a loop run for ever.
                let hops = lex::decimal(header.value)
                    .map_or(INITIAL, |hops| hops.saturating_sub(1).min(MOST));
                own.replace_with(place(header.value), |out| write_decimal(hops, out));
            }
            None => own.replace_with(end_of_headers..end_of_headers, |out| {
                out.extend_from_slice(b"Max-Forwards: ");
                write_decimal(INITIAL, out);
                out.extend_from_slice(b"\r\n");
            }),
        }
    }
    fix_content_length(request, edits, forward.transport != Transport::Udp, own);
    write(message, edits, own, out);
}

fn write_via(forward: &Forward<'_>, out: &mut Vec<u8>) {
    let SentBy { host, ip, port } = forward.sent_by;
    out.extend_from_slice(b"Via: SIP/2.0/");
    out.extend_from_slice(forward.transport.as_via().as_bytes());
    out.push(b' ');
    match (host, ip) {
        (Some(host), _) => out.extend_from_slice(host.as_bytes()),
        (None, IpAddr::V4(_)) => write_ip(ip, out),
        (None, IpAddr::V6(_)) => {
            out.push(b'[');
            write_ip(ip, out);
            out.push(b']');
        }
    }
    if port != forward.transport.default_port() {
        out.push(b':');
        write_decimal(port.into(), out);
    }
    out.extend_from_slice(b";branch=");
    branch(forward.fingerprint, forward.index, out);
    if let Some(connection) = forward.connection {
        // Writing to memory can't fail.
        let _ = write!(out, ";i={connection:x}");
    }
    if let Some(circle) = forward.circle {
        circle.write(out);
    }
    if forward.is_sealed {
        write_room(out);
    }
    if forward.local_rport {
        out.extend_from_slice(b";rport");
    }
    out.extend_from_slice(b"\r\n");
}
