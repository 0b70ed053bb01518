//! The URI in Contact.

use crate::module::path::source;
use crate::module::place::place;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_sip::{Elements, NameAddr, SipView, Transport, Uri};

/// The first address in Contact.
pub(super) struct Contact<'a> {
    /// As written.
    pub uri: &'a [u8],
    /// Whether it stands in angle brackets.
    pub is_bracketed: bool,
    pub parsed: Uri<'a>,
}

/// Why there is none.
pub(super) enum NoContact {
    /// No Contact, or `*`.
    None,
    /// One that can't be read.
    Malformed,
}

pub(super) fn contact<'a>(view: &SipView<'a>) -> Result<Contact<'a>, NoContact> {
    let header = view.header(b"Contact").ok_or(NoContact::None)?;
    let first = Elements::new(header.value)
        .next()
        .ok_or(NoContact::Malformed)?;
    if first == b"*" {
        return Err(NoContact::None);
    }
    let address = NameAddr::parse(first).ok_or(NoContact::Malformed)?;
    let parsed = Uri::parse(address.uri).map_err(|_| NoContact::Malformed)?;
    if parsed.host.is_empty() {
        return Err(NoContact::Malformed);
    }
    let at = place(view, address.uri).start;
    let before = at.checked_sub(1).and_then(|at| view.message().get(at));
    Ok(Contact {
        uri: address.uri,
        is_bracketed: before == Some(&b'<'),
        parsed,
    })
}

/// Whether the script has replaced the URI already: two replacements at one place would be written
/// one behind the other.
pub(super) fn is_replaced(
    exec: &mut Exec<'_>,
    view: &SipView<'_>,
    uri: &[u8],
    function: &str,
) -> bool {
    let is_replaced = exec.changes.edits.deletes(place(view, uri).start);
    if is_replaced {
        exec.complain(format_args!("{function}(): Contact is changed already"));
    }
    is_replaced
}

pub(super) fn fix(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let Ok(Contact { uri, parsed, .. }) = contact(view) else {
        return Ok(-1);
    };
    if is_replaced(exec, view, uri, "fix_nated_contact") {
        return Ok(-1);
    }
    let (host, port) = source(exec);
    let whole = place(view, uri);
    let old = place(view, parsed.host);
    let end = match parsed.port {
        // The port is digits behind a colon.
        Some(_) => {
            let rest = view
                .message()
                .get(old.end + 1..whole.end)
                .unwrap_or_default();
            old.end + 1 + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
        }
        None => old.end,
    };
    let message = view.message();
    let mut made = message
        .get(whole.start..old.start)
        .unwrap_or_default()
        .to_vec();
    made.extend_from_slice(format!("{host}:{port}").as_bytes());
    let rest = end..whole.end;
    match parsed.params.get(b"maddr") {
        // It would lead to where the user agent can't be reached.
        Some(maddr) => {
            let name = place(view, maddr.name);
            let behind = maddr.value.map_or(name.end, |value| place(view, value).end);
            let before = message.get(rest.start..name.start).unwrap_or_default();
            made.extend_from_slice(before.strip_suffix(b";").unwrap_or(before));
            made.extend_from_slice(message.get(behind..rest.end).unwrap_or_default());
        }
        None => made.extend_from_slice(message.get(rest).unwrap_or_default()),
    }
    exec.changes.edits.replace(whole, &made);
    Ok(1)
}

pub(super) fn add_received(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let in_uri = exec.arg_int(args, 0)? != 0;
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let transport = exec.env.transport;
    if in_uri && transport != Transport::Udp {
        exec.complain(format_args!("add_rcv_param(1): that works by UDP only"));
        return Ok(-1);
    }
    let (host, port) = source(exec);
    let uri = match transport {
        Transport::Udp => format!("sip:{host}:{port}"),
        _ => format!("sip:{host}:{port};transport={transport}"),
    };
    let param = if in_uri {
        format!(";received={uri}")
    } else {
        format!(";received=\"{uri}\"")
    };
    let mut found = false;
    for header in view.headers_named(b"Contact") {
        for text in Elements::new(header.value) {
            let Some(address) = NameAddr::parse(text).filter(|_| text != b"*") else {
                continue;
            };
            let end = if in_uri { address.uri } else { text };
            exec.changes
                .edits
                .insert(place(view, end).end, param.as_bytes());
            found = true;
        }
    }
    Ok(if found { 1 } else { -1 })
}
