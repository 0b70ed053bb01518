//! forward(): a request goes on without state (RFC 3261 §16.11).

use super::strict::{self, Admitted};
use crate::module::destination::{Destination, Unsendable, log_unsent, next_hop};
use crate::module::loops::text;
use crate::module::sl;
use corex_script::function::{Constant, ConstantCall};
use corex_script::run::Arg;
use corex_script::run::Branch;
use corex_script::run::{Exec, Halt};
use corex_script::run::{StrRef, Value};
use corex_script::{NextHop, Outgoing, Purpose, Target};
use corex_sip::SipView;
use corex_sip::compose::{
    Fingerprint, Forward, HopLimit, Own, OwnLines, Side, max_forwards, write_request,
};

pub(super) fn forward(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let Some(admitted) = strict::admits(exec, view) else {
        // It is dealt with: what the script would do about one that couldn't be sent is not for it.
        return Ok(0);
    };
    // As in Kamailio: without it no reply finds back.
    if view.top_via().is_none() {
        exec.complain(format_args!("forward(): the request has no Via"));
        return Ok(-1);
    }
    if !exec.changes.counted_hop && max_forwards(view) == Ok(Some(0)) {
        sl::reply(exec, 483, b"Too Many Hops");
        return Ok(-1);
    }
    let given = exec.arg_str(args, 0)?;
    let port = exec.arg_int(args, 1)?;
    let given = (given.len > 0).then_some((given, port));

    let own = Branch {
        uri: exec.request_uri().unwrap_or(StrRef::EMPTY),
        quality: None,
        destination: exec.changes.destination,
        path: exec.changes.path,
        socket: exec.changes.socket,
        flags: exec.changes.branch_flags,
    };
    let mut sent = send_to(exec, view, admitted, &own, given, 0);
    for index in 0..exec.changes.branches.len() {
        let Some(branch) = exec.changes.branches.get(index).copied() else {
            break;
        };
        sent |= send_to(exec, view, admitted, &branch, None, index + 1);
    }
    Ok(if sent { 1 } else { -1 })
}

/// Where a call leads, if that is a constant.
pub(super) fn constant_destination(call: &ConstantCall) -> Option<Destination> {
    if call.function != "forward" {
        return None;
    }
    let port = match call.arguments.get(1) {
        None => 0,
        Some(Some((Constant::Int(port), _))) => *port,
        Some(_) => return None,
    };
    Destination::of_parts(text(call, 0)?, port).ok()
}

/// Sends the request to one of its destinations; `given` is what the script says instead.
fn send_to(
    exec: &mut Exec<'_>,
    view: &SipView<'_>,
    admitted: Admitted,
    branch: &Branch,
    given: Option<(StrRef, i64)>,
    index: usize,
) -> bool {
    let outcome = try_send_to(exec, view, admitted, branch, given, index);
    if let Err(reason) = outcome {
        let to = given
            .map(|(host, _)| host)
            .or(branch.destination)
            .unwrap_or(branch.uri);
        log_unsent(exec, "forward", Some(to), reason);
    }
    outcome.is_ok()
}

fn try_send_to(
    exec: &mut Exec<'_>,
    view: &SipView<'_>,
    admitted: Admitted,
    branch: &Branch,
    given: Option<(StrRef, i64)>,
    index: usize,
) -> Result<(), Unsendable> {
    let destination = match given {
        Some((host, port)) => Destination::of_parts(exec.bytes(host), port)?,
        None => Destination::of_uri(exec.bytes(branch.destination.unwrap_or(branch.uri)))?,
    };
    let hop = next_hop(exec, &destination, branch.socket)?;
    let mut out = std::mem::take(&mut exec.rt.composed);
    let mut scratch = std::mem::take(&mut exec.rt.scratch);
    out.clear();
    let is_changed = index > 0 || exec.changes.request_uri.is_some();
    let mut routes = Vec::new();
    if let Some(path) = branch.path {
        routes.extend_from_slice(b"Route: ");
        routes.extend_from_slice(exec.bytes(path));
        routes.extend_from_slice(b"\r\n");
    }
    let lines = &exec.changes.routing.lines;
    let own = (!lines.is_empty()).then(|| own_lines(exec, lines, &hop));
    let forward = Forward {
        own,
        request_uri: is_changed.then(|| exec.bytes(branch.uri)),
        routes: &routes,
        transport: hop.transport,
        sent_by: exec.host.sent_by(&hop),
        fingerprint: Fingerprint::of(view),
        index,
        connection: exec.env.connection.map(|connection| connection.0),
        is_sealed: exec.host.reply_keys().is_some(),
        local_rport: exec.changes.local_rport,
        circle: admitted.circle,
        source: exec.env.src,
        force_rport: exec.changes.force_rport,
        hop_limit: if exec.changes.counted_hop {
            HopLimit::Keep
        } else {
            HopLimit::CountDown
        },
    };
    write_request(view, &exec.changes.edits, &forward, &mut scratch, &mut out);
    if let Some(keys) = exec.host.reply_keys() {
        keys.seal(&mut out);
    }
    let outgoing = Outgoing {
        payload: &out,
        purpose: Purpose::Message,
        hop,
        connection: None,
        is_reply: false,
        is_hop_counted: true,
        flags: exec.changes.flags,
    };
    let sent = exec.send(outgoing);
    exec.rt.composed = out;
    exec.rt.scratch = scratch;
    Ok(sent?)
}

/// Record-Route and Path, with the two sockets that the request passes.
fn own_lines<'e>(exec: &'e Exec<'_>, lines: &'e OwnLines, hop: &NextHop<'e>) -> Own<'e> {
    let came = NextHop {
        to: Target::Addr(exec.env.src),
        transport: exec.env.transport,
        socket: exec.env.socket,
        local: exec.env.dst,
    };
    let side = |hop: &NextHop<'_>| Side {
        sent_by: exec.host.sent_by(hop),
        transport: hop.transport,
        socket: hop.socket.0,
        name: exec.program.socket_name(hop.socket),
    };
    Own {
        lines,
        received: side(&came),
        sent: side(hop),
    }
}

pub(super) fn force_rport(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    exec.changes.force_rport = true;
    Ok(1)
}

pub(super) fn local_rport(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    exec.changes.local_rport = true;
    Ok(1)
}

pub(in crate::module) fn force_socket(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let socket = exec.arg_str(args, 0)?;
    let before = exec.changes.socket.take();
    exec.force_socket(Value::Str(socket))?;
    if exec.changes.socket.is_none() {
        exec.changes.socket = before;
        return Ok(-1);
    }
    Ok(1)
}
