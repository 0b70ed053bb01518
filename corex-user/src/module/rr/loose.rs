//! loose_route(): where a request goes by its Route headers (RFC 3261 §16.4, §16.12).

use super::route::{Route, keep, routes};
use crate::module::path;
use corex_script::run::Arg;
use corex_script::run::Value;
use corex_script::run::{Exec, Halt, part_of};
use corex_script::settings::DoubleRecordRoute;
use corex_sip::{SipView, Transport, Uri};

/// What loose_route() returns: Kamailio's numbers.
const DRIVEN: i64 = 1;
const FAILED: i64 = -1;
const PRELOADED: i64 = -3;

/// Bit of the mode: what strict routers in front of us did is left as it is.
const LOOSE_ONLY: i64 = 1;

pub(super) fn route(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let is_loose_only = exec.program.settings().record_route.loose_only;
    by_routes(exec, is_loose_only)
}

pub(super) fn route_mode(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let mode = exec.arg_int(args, 0)?;
    by_routes(exec, mode & LOOSE_ONLY != 0)
}

pub(super) fn route_preloaded(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let code = by_routes(exec, false)?;
    Ok(if code == PRELOADED { DRIVEN } else { FAILED })
}

pub(super) fn has_next_hop(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let has = exec.changes.routing.has_next_hop;
    Ok(if has { 1 } else { -1 })
}

fn by_routes(exec: &mut Exec<'_>, is_loose_only: bool) -> Result<i64, Halt> {
    let Some(view) = exec.view.filter(|view| view.header(b"Route").is_some()) else {
        return Ok(FAILED);
    };
    let Some(routes) = routes(view).filter(|routes| !routes.is_empty()) else {
        exec.complain(format_args!(
            "loose_route(): a Route can't be read, or there are more than 64"
        ));
        return Ok(FAILED);
    };
    if let Some(first) = routes.first()
        && exec.changes.edits.deletes(place_of(view, first.uri))
    {
        exec.complain(format_args!(
            "loose_route(): the topmost Route is gone already"
        ));
        return Ok(FAILED);
    }
    let uris_fit = routes.iter().all(|route| Uri::parse(route.uri).is_ok());
    let request_uri = exec.request_uri();
    let request_uri_fits = request_uri.is_some_and(|uri| Uri::parse(exec.bytes(uri)).is_ok());
    if !uris_fit || !request_uri_fits {
        exec.complain(format_args!(
            "loose_route(): a Route or the request URI is no SIP URI"
        ));
        return Ok(FAILED);
    }
    let Some(to) = view.to() else {
        return Ok(FAILED);
    };
    let is_preloaded = to.tag().is_none_or(<[u8]>::is_empty);
    let is_ours = request_uri.is_some_and(|uri| exec.is_myself(uri, true));
    if !is_preloaded && !is_loose_only && is_ours {
        after_strict(exec, view, &routes)
    } else {
        after_loose(exec, view, &routes, is_preloaded)
    }
}

fn place_of(view: &SipView<'_>, part: &[u8]) -> usize {
    crate::module::place::place(view, part).start
}

/// The router in front of us is a loose one.
fn after_loose(
    exec: &mut Exec<'_>,
    view: &SipView<'_>,
    routes: &[Route<'_>],
    is_preloaded: bool,
) -> Result<i64, Halt> {
    let Some(first) = routes.first() else {
        return Ok(FAILED);
    };
    let mut at = 0;
    let mut parameters = None;
    if exec.is_own_uri(first.uri) {
        parameters = parameters_of(exec, first.uri);
        exec.changes.routing.own_parameters = parameters;
        at = 1;
        let is_double = is_double(exec, first.uri);
        if exec.program.settings().record_route.force_send_socket && !is_double {
            leave_by(exec, first.uri)?;
        }
        if is_double && let Some(second) = routes.get(1) {
            leave_by(exec, second.uri)?;
            at = 2;
        }
    } else {
        exec.changes.routing.own_parameters = None;
    }
    let Some(next) = routes.get(at) else {
        keep(view, routes, 0..0, &mut exec.changes.edits);
        call_back(exec, parameters)?;
        return Ok(if is_preloaded { PRELOADED } else { DRIVEN });
    };
    exec.changes.routing.has_next_hop = at > 0;
    if is_loose(next.uri) {
        set_destination(exec, next.uri)?;
        keep(view, routes, at..routes.len(), &mut exec.changes.edits);
    } else {
        // A strict router takes the request URI for its own, and the last Route for the target
        // (§16.6 step 6).
        save_request_uri(exec, view);
        set_request_uri(exec, next.uri)?;
        keep(view, routes, at + 1..routes.len(), &mut exec.changes.edits);
    }
    call_back(exec, parameters)?;
    Ok(DRIVEN)
}

/// The router in front of us is a strict one: it put our URI into the request URI, and what was
/// there behind the last Route (§16.4).
fn after_strict(
    exec: &mut Exec<'_>,
    view: &SipView<'_>,
    routes: &[Route<'_>],
) -> Result<i64, Halt> {
    let (Some(first), Some(last)) = (routes.first(), routes.last()) else {
        return Ok(FAILED);
    };
    let mut at = 0;
    if is_double(exec, first.uri) && exec.is_own_uri(first.uri) {
        leave_by(exec, first.uri)?;
        at = 1;
    }
    let Some(next) = routes.get(at) else {
        keep(view, routes, 0..0, &mut exec.changes.edits);
        return Ok(FAILED);
    };
    let parameters = exec.request_uri().and_then(|uri| {
        let bytes = exec.bytes(uri);
        let params = Uri::parse(bytes).ok()?.params.as_bytes();
        Some(part_of(uri, bytes, params)).filter(|text| text.len > 0)
    });
    exec.changes.routing.own_parameters = parameters;
    if is_loose(next.uri) {
        set_destination(exec, next.uri)?;
        set_request_uri(exec, last.uri)?;
        keep(view, routes, at..routes.len() - 1, &mut exec.changes.edits);
    } else {
        // We do as a strict router does.
        set_request_uri(exec, next.uri)?;
        keep(view, routes, at + 1..routes.len(), &mut exec.changes.edits);
    }
    call_back(exec, parameters)?;
    Ok(DRIVEN)
}

fn is_loose(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.params.get(b"lr").is_some())
}

/// Whether this is the first of two Routes of ours.
fn is_double(exec: &Exec<'_>, uri: &[u8]) -> bool {
    exec.program.settings().record_route.double != DoubleRecordRoute::Off
        && Uri::parse(uri).is_ok_and(|uri| uri.params.value(b"r2") == Some(b"on"))
}

/// The parameters of a Route's URI; `None` without any.
fn parameters_of(exec: &Exec<'_>, uri: &[u8]) -> Option<corex_script::run::StrRef> {
    let params = Uri::parse(uri).ok()?.params.as_bytes();
    Some(part_of(exec.whole_message(), exec.message, params)).filter(|text| text.len > 0)
}

/// Leaves it to the module path what the parameters of our Route say beyond.
fn call_back(
    exec: &mut Exec<'_>,
    parameters: Option<corex_script::run::StrRef>,
) -> Result<(), Halt> {
    match parameters {
        Some(parameters) => path::on_route(exec, parameters),
        None => Ok(()),
    }
}

fn set_destination(exec: &mut Exec<'_>, uri: &[u8]) -> Result<(), Halt> {
    let uri = part_of(exec.whole_message(), exec.message, uri);
    exec.changes.destination = exec.lasting(Value::Str(uri))?;
    Ok(())
}

fn set_request_uri(exec: &mut Exec<'_>, uri: &[u8]) -> Result<(), Halt> {
    let uri = part_of(exec.whole_message(), exec.message, uri);
    exec.changes.request_uri = exec.lasting(Value::Str(uri))?;
    Ok(())
}

/// Puts the request URI as it came behind the last Route.
fn save_request_uri(exec: &mut Exec<'_>, view: &SipView<'_>) {
    let Some(uri) = view.request_uri() else {
        return;
    };
    let line = [b"Route: <", uri, b">\r\n"].concat();
    exec.changes.edits.insert(view.end_of_headers(), &line);
}

/// Sets `$fs` to the listen socket that a Route of ours names.
fn leave_by(exec: &mut Exec<'_>, uri: &[u8]) -> Result<(), Halt> {
    let Ok(uri) = Uri::parse(uri) else {
        return Ok(());
    };
    let is_named = exec.program.settings().record_route.socket_names;
    let name = uri.params.value(b"sn").filter(|_| is_named);
    if let Some(socket) = name.and_then(|name| exec.program.socket(name)) {
        exec.changes.socket = Some(socket);
        return Ok(());
    }
    let transport = uri.transport().unwrap_or(Transport::Udp);
    let port = uri.port.filter(|port| *port != 0);
    let port = port.unwrap_or(transport.default_port());
    if let Some(socket) = exec.program.socket_at(uri.host, port, transport) {
        exec.changes.socket = Some(socket);
    }
    Ok(())
}
