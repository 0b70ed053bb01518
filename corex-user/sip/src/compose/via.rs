//! Via on the way back (RFC 3261 §18.2.2, RFC 3581).

use super::Edits;
use crate::{Param, Rport, SipView, Transport, Via, Vias};

/// Where a reply goes by the Via that is on top of it then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReturnPath<'a> {
    /// `received`, else `maddr`, else the host of sent-by; IPv6 with or without brackets.
    pub host: &'a [u8],
    /// `rport`, else the port of sent-by, else the transport's default. `None`: sent-by is a name
    /// without a port, to be looked up by SRV.
    pub port: Option<u16>,
    /// The transport.
    pub transport: Transport,
}

/// The way back by a Via.
pub fn return_path<'a>(via: &Via<'a>) -> Option<ReturnPath<'a>> {
    let transport = via.transport()?;
    let [received, maddr, rport] = via.params.first([b"received", b"maddr", b"rport"]);
    let host = |param: Param<'a>| Some(param.unquoted()).filter(|host| !host.is_empty());
    let (received, maddr) = (received.and_then(host), maddr.and_then(host));
    // maddr goes before what was noted on receipt, with the port of sent-by (§18.2.2).
    let maddr = maddr.filter(|_| transport == Transport::Udp);
    // A port that was noted counts without `received` too: force_rport() adds none where sent-by
    // is the address that the request came from.
    let rport = match rport.and_then(Rport::of) {
        Some(Rport::Port(port)) if maddr.is_none() => Some(port),
        _ => None,
    };
    let host = maddr.or(received);
    let is_literal = host.is_some() || via.host_ip().is_some();
    Some(ReturnPath {
        host: host.unwrap_or(via.host),
        port: rport
            .or(via.port)
            .or(is_literal.then_some(transport.default_port())),
        transport,
    })
}

/// Takes the topmost Via off a message. Returns the one below it; `None` if there is none, or it
/// is malformed.
pub fn strip_top_via<'a>(reply: &SipView<'a>, edits: &mut Edits) -> Option<Via<'a>> {
    let offset = |part: &[u8]| part.as_ptr().addr() - reply.message().as_ptr().addr();
    let header = reply.headers_named(b"Via").next()?;
    let mut values = Vias::new(header.value);
    let top = values.next()?;
    match values.next() {
        Some(second) => {
            let second = second?;
            let start = top.map_or_else(|| offset(header.value), |top| offset(top.text));
            edits.delete(start..offset(second.text));
            Some(second)
        }
        None => {
            let start = offset(header.raw);
            edits.delete(start..start + header.raw.len());
            reply.vias().nth(1).flatten()
        }
    }
}
