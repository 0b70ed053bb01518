//! The module `siputils`: what is often asked of a message.

use super::sl;
use corex_script::function::{Function, Module, Param, Routes, function, value};
use corex_script::run::Arg;
use corex_script::run::Value;
use corex_script::run::{Exec, Halt};
use corex_sip::{Elements, NameAddr, Transport, Uri};

pub(super) static MODULE: Module = Module {
    name: "siputils",
    doc: "What is often asked of a message and of URIs.",
    functions: FUNCTIONS,
    parameters: &[],
    ..Module::NONE
};

const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);
const TEXT: &[Param] = &[value("text")];

#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    function("has_totag", &[&[]], SIP, |exec, _| truth(exec.view.and_then(|view| view.to()?.tag()).is_some()), "Whether To has a tag: the message belongs to a dialog."),
    function("is_request", &[&[]], Routes::ANY, |exec, _| truth(exec.view.is_some_and(|view| view.is_request())), "Whether the message is a request."),
    function("is_reply", &[&[]], Routes::ANY, |exec, _| truth(exec.view.is_some_and(|view| !view.is_request())), "Whether the message is a reply."),
    function("is_first_hop", &[&[]], SIP, is_first_hop, "Whether this proxy is the first behind the sender: a request has one Via only; a reply has our Record-Route on top, and comes from elsewhere."),
    function("is_user", &[&[value("user")]], Routes::REQUEST, is_user, "Whether the user in From is this one."),
    function("is_numeric", &[TEXT], Routes::ANY, |exec, args| all(exec, args, |b, _| b.is_ascii_digit()), "Whether a string has digits only."),
    function("is_alphanum", &[TEXT], Routes::ANY, |exec, args| all(exec, args, |b, _| b.is_ascii_alphanumeric()), "Whether a string has letters and digits only."),
    function("is_alphanumex", &[&[value("text"), value("extra")]], Routes::ANY, |exec, args| all(exec, args, |b, extra| b.is_ascii_alphanumeric() || extra.contains(&b)), "Whether a string has letters, digits and the extra characters only."),
    function("is_e164", &[TEXT], Routes::ANY, is_e164, "Whether a string is + and 3 to 15 digits."),
    function("is_tel_number", &[TEXT], Routes::ANY, is_telephone_number, "Whether a string is digits, with a + in front or not."),
    function("is_uri_user_e164", &[&[value("uri")]], Routes::ANY, is_uri_user_e164, "Whether the user of a URI is + and 3 to 15 digits."),
    function("uri_param", &[&[value("name")], &[value("name"), value("value")]], Routes::REQUEST, uri_param, "Whether the request URI has a parameter, with a value."),
    function("add_uri_param", &[&[value("param")]], Routes::REQUEST, add_uri_param, "Adds a parameter to the request URI."),
    function("options_reply", &[&[]], Routes::REQUEST, |exec, _| truth(sl::reply(exec, 200, b"OK")), "Replies 200 to an OPTIONS request."),
];

fn truth(holds: bool) -> Result<i64, Halt> {
    Ok(if holds { 1 } else { -1 })
}

/// Whether every byte of the first argument fits; the second one is given too.
fn all(exec: &mut Exec<'_>, args: &[Arg], fits: fn(u8, &[u8]) -> bool) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    let extra = exec.arg_str(args, 1)?;
    let (text, extra) = (exec.bytes(text), exec.bytes(extra));
    truth(!text.is_empty() && text.iter().all(|byte| fits(*byte, extra)))
}

fn e164(text: &[u8]) -> bool {
    match text {
        [b'+', digits @ ..] => {
            (3..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

fn is_e164(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    truth(e164(exec.bytes(text)))
}

fn is_telephone_number(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    let text = exec.bytes(text);
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    truth(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

fn is_uri_user_e164(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let uri = exec.arg_str(args, 0)?;
    let uri = Uri::parse(exec.bytes(uri)).ok();
    truth(uri.and_then(|uri| uri.user).is_some_and(e164))
}

fn is_user(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let wanted = exec.arg_str(args, 0)?;
    let user = exec
        .view
        .and_then(|view| Uri::parse(view.from()?.uri).ok()?.user);
    truth(user.is_some_and(|user| user == exec.bytes(wanted)))
}

fn is_first_hop(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let Some(view) = exec.view else {
        return truth(false);
    };
    if view.is_request() {
        return truth(view.vias().nth(1).is_none());
    }
    let top = view
        .header(b"Record-Route")
        .and_then(|header| NameAddr::parse(Elements::new(header.value).next()?));
    let is_elsewhere = |uri: &[u8]| {
        let source = exec.env.src;
        Uri::parse(uri).is_ok_and(|uri| {
            let port = uri.port.unwrap_or(Transport::Udp.default_port());
            uri.host_ip() != Some(source.ip().to_canonical()) || port != source.port()
        })
    };
    truth(top.is_some_and(|top| exec.is_own_uri(top.uri) && is_elsewhere(top.uri)))
}

fn uri_param(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let name = exec.arg_str(args, 0)?;
    let value = exec.arg_str(args, 1)?;
    let uri = exec
        .request_uri()
        .and_then(|uri| Uri::parse(exec.bytes(uri)).ok());
    let found = uri.and_then(|uri| uri.params.get(exec.bytes(name)));
    truth(found.is_some_and(|param| {
        args.len() < 2
            || param
                .value
                .unwrap_or_default()
                .eq_ignore_ascii_case(exec.bytes(value))
    }))
}

fn add_uri_param(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let param = exec.arg_str(args, 0)?;
    let Some(uri) = exec.request_uri() else {
        return Ok(-1);
    };
    let bytes = exec.bytes(uri);
    let Ok(parsed) = Uri::parse(bytes) else {
        return Ok(-1);
    };
    // In front of `?headers`.
    let headers = if parsed.headers.is_empty() {
        0
    } else {
        parsed.headers.len() + 1
    };
    let (head, tail) = bytes
        .split_at_checked(bytes.len() - headers)
        .unwrap_or((bytes, &[]));
    let made = [head, b";", exec.bytes(param), tail].concat();
    if Uri::parse(&made).is_err() {
        return Ok(-1);
    }
    let value = exec.text(&made)?;
    exec.changes.request_uri = exec.lasting(value)?;
    truth(value != Value::Null)
}
