//! A reply goes back the way that its Via says (RFC 3261 §16.11, §18.2.2).

use super::strict;
use crate::module::destination::{Destination, Unsendable, log_unsent, next_hop};
use corex_script::run::Exec;
use corex_script::{ConnectionId, Outgoing, Purpose};
use corex_sip::compose::{fix_content_length, return_path, strip_top_via, write};
use corex_sip::{SipView, Transport};

/// Returns a reply whose topmost Via is ours, after `reply_route`, if it shows that it answers a
/// request that went the other way. Others are left to the route:
/// where a request went by send(), which adds no Via, only the route knows the way back.
pub(super) fn relay_reply(exec: &mut Exec<'_>) {
    let Some(view) = exec.view.filter(|view| !view.is_request()) else {
        return;
    };
    let Some(via) = view.top_via() else {
        if view.header(b"Via").is_some() {
            strict::admits(exec, view);
        }
        return;
    };
    let Some(transport) = via.transport() else {
        return;
    };
    let port = via.port.unwrap_or(transport.default_port());
    if !exec.host.is_myself(via.host, port, None) {
        return;
    }
    if strict::admits(exec, view).is_none() {
        return;
    }
    let connection = via
        .params
        .value(b"i")
        .and_then(|text| u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok())
        .map(ConnectionId);
    if let Err(reason) = send_back(exec, view, connection) {
        log_unsent(exec, "reply", None, reason);
    }
}

fn send_back(
    exec: &mut Exec<'_>,
    view: &SipView<'_>,
    connection: Option<ConnectionId>,
) -> Result<(), Unsendable> {
    if view.vias().nth(1).is_some() {
        exec.host.check_reply(view)?;
    }
    let mut scratch = std::mem::take(&mut exec.rt.scratch);
    scratch.clear();
    let below = strip_top_via(view, &mut scratch);
    // A client's Via may say UDP and have come by a connection.
    let is_stream = connection.is_some()
        || below
            .and_then(|via| via.transport())
            .is_some_and(|transport| transport != Transport::Udp);
    fix_content_length(view, &exec.changes.edits, is_stream, &mut scratch);
    let mut out = std::mem::take(&mut exec.rt.composed);
    out.clear();
    write(view.message(), &exec.changes.edits, &scratch, &mut out);
    let sent = below
        .as_ref()
        .and_then(return_path)
        .ok_or(Unsendable::Destination(
            "no Via below ours, or one that can't be read",
        ))
        .and_then(|path| Destination::of_return_path(&path))
        .and_then(|destination| {
            let hop = next_hop(exec, &destination, exec.changes.socket)?;
            let outgoing = Outgoing {
                payload: &out,
                purpose: Purpose::Message,
                hop,
                connection,
                is_reply: true,
                is_hop_counted: true,
                flags: exec.changes.flags,
            };
            Ok(exec.send(outgoing)?)
        });
    exec.rt.composed = out;
    exec.rt.scratch = scratch;
    sent
}
