//! `;alias=address~port~transport`: how a contact can be reached, in its own URI.

use super::contact::{Contact, NoContact, contact, is_replaced};
use crate::module::path::{long_form, number_text, source};
use crate::module::place::place;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_sip::{SipView, Transport, Uri, host_ip};

/// `;alias=address~port~transport` of the source.
fn parameter(exec: &Exec<'_>) -> String {
    let (host, port) = source(exec);
    let transport = char::from(number_text(exec.env.transport));
    let name = &exec.program.settings().nat.alias_name;
    format!(";{name}={host}~{port}~{transport}")
}

pub(super) fn set(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let trims = exec.arg_int(args, 0)? > 0;
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let Ok(Contact {
        uri,
        is_bracketed,
        parsed,
    }) = contact(view)
    else {
        return Ok(-1);
    };
    if is_replaced(exec, view, uri, "set_contact_alias") {
        return Ok(-1);
    }
    let name = exec.program.settings().nat.alias_name.as_bytes();
    let kept = match last_alias(&parsed, name).filter(|_| trims) {
        Some(alias) => without(uri, alias),
        None => uri.to_vec(),
    };
    // In front of `?headers`.
    let headers = match parsed.headers.len() {
        0 => 0,
        len => len + 1,
    };
    let (front, back) = kept
        .split_at_checked(kept.len().saturating_sub(headers))
        .unwrap_or((&kept, &[]));
    let made = [front, parameter(exec).as_bytes(), back].concat();
    let made = if is_bracketed {
        made
    } else {
        [b"<", made.as_slice(), b">"].concat()
    };
    exec.changes.edits.replace(place(view, uri), &made);
    Ok(1)
}

/// The last parameter of this name, from its semicolon on.
fn last_alias<'a>(uri: &Uri<'a>, name: &[u8]) -> Option<&'a [u8]> {
    all_aliases(uri, name).last()
}

/// Parameters of this name as they are written, each from its semicolon on.
fn all_aliases<'a>(uri: &Uri<'a>, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let list = uri.params.as_bytes();
    uri.params
        .into_iter()
        .filter(move |param| param.name == name)
        .filter_map(move |param| {
            let offset = |part: &[u8]| part.as_ptr().addr() - list.as_ptr().addr();
            let start = offset(param.name).checked_sub(1)?;
            let end = param
                .value
                .map_or(offset(param.name) + param.name.len(), |value| {
                    offset(value) + value.len()
                });
            list.get(start..end)
        })
}

/// A URI without a part of it.
fn without(uri: &[u8], part: &[u8]) -> Vec<u8> {
    let start = part.as_ptr().addr() - uri.as_ptr().addr();
    let front = uri.get(..start).unwrap_or_default();
    [front, uri.get(start + part.len()..).unwrap_or_default()].concat()
}

/// What a script says of where a contact is.
fn given(exec: &mut Exec<'_>, args: &[Arg]) -> Result<Option<String>, Halt> {
    let host = exec.arg_str(args, 0)?;
    let port = exec.arg_int(args, 1)?;
    let transport = exec.arg_str(args, 2)?;
    let ip = host_ip(exec.bytes(host));
    let port = u16::try_from(port).ok().filter(|port| *port != 0);
    let transport = Transport::from_bytes(exec.bytes(transport));
    let (Some(ip), Some(port), Some(transport)) = (ip, port, transport) else {
        exec.complain(format_args!(
            "add_contact_alias(): an IP address, a port, and udp, tcp, tls or sctp"
        ));
        return Ok(None);
    };
    let name = &exec.program.settings().nat.alias_name;
    let transport = char::from(number_text(transport));
    Ok(Some(match ip {
        std::net::IpAddr::V4(ip) => format!(";{name}={ip}~{port}~{transport}"),
        std::net::IpAddr::V6(ip) => format!(";{name}=[{ip}]~{port}~{transport}"),
    }))
}

pub(super) fn add(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let Contact {
        uri,
        is_bracketed,
        parsed,
    } = match contact(view) {
        Ok(contact) => contact,
        Err(NoContact::None) => return Ok(2),
        Err(NoContact::Malformed) => return Ok(-1),
    };
    let parameter = if args.is_empty() {
        if names_source(exec, &parsed) {
            return Ok(2);
        }
        parameter(exec)
    } else {
        match given(exec, args)? {
            Some(parameter) => parameter,
            None => return Ok(-1),
        }
    };
    if is_replaced(exec, view, uri, "add_contact_alias") {
        return Ok(-1);
    }
    let at = behind_host(view, uri, &parsed);
    let edits = &mut exec.changes.edits;
    if is_bracketed {
        edits.insert(at, parameter.as_bytes());
    } else {
        let whole = place(view, uri);
        edits.insert(whole.start, b"<");
        edits.insert(at, parameter.as_bytes());
        edits.insert(whole.end, b">");
    }
    Ok(1)
}

/// Where host and port of a URI end.
fn behind_host(view: &SipView<'_>, uri: &[u8], parsed: &Uri<'_>) -> usize {
    match parsed.params.as_bytes() {
        [] if parsed.headers.is_empty() => place(view, uri).end,
        [] => place(view, parsed.headers).start - 1,
        params => place(view, params).start,
    }
}

fn names_source(exec: &Exec<'_>, contact: &Uri<'_>) -> bool {
    let source = exec.env.src;
    contact.host_ip() == Some(source.ip().to_canonical())
        && contact.port.unwrap_or(Transport::Udp.default_port()) == source.port()
        && contact.transport() == Some(exec.env.transport)
}

pub(super) fn handle(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let takes_last = exec.arg_int(args, 0)? != 0;
    let Some(string) = exec.request_uri() else {
        return Ok(-1);
    };
    let uri = exec.bytes(string).to_vec();
    let Ok(parsed) = Uri::parse(&uri) else {
        exec.complain(format_args!(
            "handle_ruri_alias(): the request URI is no SIP URI"
        ));
        return Ok(-1);
    };
    let name = exec.program.settings().nat.alias_name.as_bytes();
    let mut aliases = all_aliases(&parsed, name);
    let found = if takes_last {
        aliases.last()
    } else {
        aliases.next()
    };
    let Some(alias) = found else {
        return Ok(2);
    };
    let value = alias.split(|byte| *byte == b'=').nth(1).unwrap_or_default();
    let Some(destination) = long_form(value).filter(|uri| Uri::parse(uri).is_ok()) else {
        let shown = alias.escape_ascii().to_string();
        exec.complain(format_args!(
            "handle_ruri_alias(): `{shown}` names no address"
        ));
        return Ok(-1);
    };
    let rest = without(&uri, alias);
    let destination = exec.text(&destination)?;
    exec.changes.destination = exec.lasting(destination)?;
    let rest = exec.text(&rest)?;
    exec.changes.request_uri = exec.lasting(rest)?;
    Ok(1)
}
