//! A request on its way to the next hop (RFC 3261 §16.6, RFC 3581).

use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::{Edits, Fingerprint, branch, write};
use crate::sip::{Rport, SipView, Transport, Via};

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
    /// It is counted down, or added with 70 (RFC 3261 §16.6 step 3).
    CountDown,
    /// It stays as it is: the script saw to it.
    Keep,
}

/// How a request is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// What replaces the request URI.
    pub request_uri: Option<&'a [u8]>,
    /// Route headers to go in front, whole lines; empty for none.
    pub routes: &'a [u8],
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
    /// Whether our Via asks for rport.
    pub local_rport: bool,
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
        Some(header) => std::str::from_utf8(header.value)
            .ok()
            .and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or(header.value),
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
    let end_of_headers = end_of_headers(request);
    let top = request.headers_named(b"Via").next();
    let above = top.map_or_else(
        || {
            request
                .headers()
                .next()
                .map_or(end_of_headers, |h| offset(h.raw))
        },
        |header| offset(header.raw),
    );
    own.replace_with(above..above, |out| write_via(forward, out));
    if let Some(via) = request.top_via() {
        note_source(&via, forward.source, forward.force_rport, &place, own);
    }
    if !forward.routes.is_empty() {
        let route = request.header(b"Route").map(|h| offset(h.raw));
        own.insert(route.unwrap_or(end_of_headers), forward.routes);
    }
    if forward.hop_limit == HopLimit::CountDown {
        match (request.header(b"Max-Forwards"), max_forwards(request)) {
            (Some(header), Ok(Some(hops))) => {
                put(own, place(header.value), hops.saturating_sub(1));
            }
            (Some(_), _) => {}
            (None, _) => own.insert(end_of_headers, b"Max-Forwards: 70\r\n"),
        }
    }
    fix_content_length(request, edits, forward.transport != Transport::Udp, own);
    write(message, edits, own, out);
}

fn put(edits: &mut Edits, range: std::ops::Range<usize>, what: impl Display) {
    edits.replace_with(range, |out| {
        // Writing to memory can't fail.
        let _ = write!(out, "{what}");
    });
}

/// Where the empty line is that ends the headers.
pub fn end_of_headers(message: &SipView<'_>) -> usize {
    let mut headers = message.headers();
    let mut end = None;
    for header in headers.by_ref() {
        let start = header.raw.as_ptr().addr() - message.message().as_ptr().addr();
        end = Some(start + header.raw.len());
    }
    end.unwrap_or(message.message().len() - message.body().len())
}

/// Sets Content-Length right where the body changed, and adds it where a stream needs it.
pub fn fix_content_length(message: &SipView<'_>, edits: &Edits, is_stream: bool, own: &mut Edits) {
    let whole = message.message();
    let body = whole.len() - message.body().len()..whole.len();
    let before = body.len();
    let after = edits.len_of(body);
    match message.header(b"Content-Length") {
        Some(header) => {
            let start = header.value.as_ptr().addr() - whole.as_ptr().addr();
            if after != before && !edits.deletes(start) {
                put(own, start..start + header.value.len(), after);
            }
        }
        None if is_stream => {
            let end = end_of_headers(message);
            put(own, end..end, format_args!("Content-Length: {after}\r\n"));
        }
        None => {}
    }
}

fn write_via(forward: &Forward<'_>, out: &mut Vec<u8>) {
    let SentBy { host, ip, port } = forward.sent_by;
    let transport = match forward.transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
        Transport::Sctp => "SCTP",
    };
    // Writing to memory can't fail.
    let _ = write!(out, "Via: SIP/2.0/{transport} ");
    let _ = match (host, ip) {
        (Some(host), _) => write!(out, "{host}"),
        (None, IpAddr::V4(ip)) => write!(out, "{ip}"),
        (None, IpAddr::V6(ip)) => write!(out, "[{ip}]"),
    };
    if port != forward.transport.default_port() {
        let _ = write!(out, ":{port}");
    }
    out.extend_from_slice(b";branch=");
    branch(forward.fingerprint, forward.index, out);
    if let Some(connection) = forward.connection {
        let _ = write!(out, ";i={connection:x}");
    }
    if forward.local_rport {
        out.extend_from_slice(b";rport");
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether sent-by is not the address that the message came from (RFC 3261 §18.2.1).
pub(super) fn is_elsewhere(via: &Via<'_>, source: SocketAddr) -> bool {
    via.host_ip() != Some(source.ip().to_canonical())
}

/// Writes `received` and `rport` into the sender's Via, as Kamailio places them.
fn note_source(
    via: &Via<'_>,
    source: SocketAddr,
    force_rport: bool,
    place: &impl Fn(&[u8]) -> std::ops::Range<usize>,
    own: &mut Edits,
) {
    let asked = via.rport() == Some(Rport::Requested);
    let after_sent_by = {
        let params = via.params.as_bytes();
        if params.is_empty() {
            place(via.text).end
        } else {
            place(params).start
        }
    };
    if asked || is_elsewhere(via, source) {
        match via.received() {
            Some(old) => put(own, place(old), source.ip().to_canonical()),
            None => put(
                own,
                after_sent_by..after_sent_by,
                format_args!(";received={}", source.ip().to_canonical()),
            ),
        }
    }
    match via.params.get(b"rport") {
        Some(param) if asked => {
            let end = place(param.name).end;
            let old = param.value.map_or(end..end, |value| end..place(value).end);
            put(own, old, format_args!("={}", source.port()));
        }
        None if force_rport => put(
            own,
            after_sent_by..after_sent_by,
            format_args!(";rport={}", source.port()),
        ),
        _ => {}
    }
}
