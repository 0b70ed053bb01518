//! What a script asks while it is called: log lines, AVPs, parts of the message, functions.

use super::frame::{Item, Kind, Malformed, Writer};
use crate::telemetry::line::Line;
use corex_script::run::Exec;
use corex_script::run::Value;
use corex_script::run::{ByNameError, NamedArg};
use corex_sip::{SipView, StartLine, Uri};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Error {
    Late(ByNameError),
    /// The script has spoken to the socket itself.
    Malformed(Malformed),
}

impl<T: Into<ByNameError>> From<T> for Error {
    fn from(error: T) -> Error {
        Error::Late(error.into())
    }
}

const MALFORMED: Error = Error::Malformed(Malformed::Values);

/// What `getType()` returns.
const SIP_INVALID: i64 = 0;
const SIP_REQUEST: i64 = 1;
const SIP_REPLY: i64 = 2;

/// Writes a log line.
pub(super) fn log(items: &[Item<'_>]) -> Result<(), Malformed> {
    let [Item::Int(level), Item::Str(text)] = items else {
        return Err(Malformed::Values);
    };
    crate::telemetry::log::write(*level, Line(text));
    Ok(())
}

/// Adds a value to an AVP.
pub(super) fn add_avp(exec: &mut Exec<'_>, items: &[Item<'_>]) -> Result<(), Error> {
    let [Item::Str(name), value] = items else {
        return Err(MALFORMED);
    };
    let target = avp(name)?;
    let mark = exec.mark();
    let value = match value {
        // Kamailio adds none either.
        Item::Null => return Ok(()),
        Item::Int(number) => Value::Int(*number),
        Item::Str(text) => exec.text(text)?,
    };
    let result = exec.set_by_name(&target, value);
    exec.release(mark);
    Ok(result?)
}

/// Answers a question. The answer is written behind what `out` has.
pub(super) fn answer(
    exec: &mut Exec<'_>,
    kind: Kind,
    items: &[Item<'_>],
    out: &mut Writer,
) -> Result<(), Error> {
    // Arguments may lie in the arena until the answer is written.
    let mark = exec.mark();
    let result = match (kind, items) {
        (Kind::Function, [Item::Str(name), args @ ..]) => function(exec, name, args, out),
        (Kind::AvpGet, [Item::Str(name)]) => avp(name).and_then(|name| read(exec, &name, out)),
        (Kind::AvpDestroy, [Item::Str(name)]) => {
            avp(name).and_then(|name| destroy_avp(exec, &name, out))
        }
        (Kind::Format, [Item::Str(text)]) => exec
            .format_by_name(text)
            .map(|value| push(exec, value, out))
            .map_err(Error::from),
        (Kind::Uri, []) => {
            request_uri(exec, out);
            Ok(())
        }
        _ => message(exec, kind, items, out),
    };
    exec.release(mark);
    result
}

/// The pseudo-variable of an AVP.
fn avp(name: &[u8]) -> Result<Vec<u8>, Error> {
    let is_plain = |byte: &u8| !byte.is_ascii_control() && !b"()[]{}$= \t".contains(byte);
    if name.is_empty() || !name.iter().all(is_plain) || std::str::from_utf8(name).is_err() {
        return Err(
            ByNameError::Wrong(format!("`{}` can't be the name of an AVP", Line(name))).into(),
        );
    }
    Ok([b"$avp(", name, b")"].concat())
}

fn push(exec: &Exec<'_>, value: Value, out: &mut Writer) {
    out.push(match value {
        Value::Null => Item::Null,
        Value::Int(number) => Item::Int(number),
        Value::Str(string) => Item::Str(exec.bytes(string)),
    });
}

fn read(exec: &mut Exec<'_>, variable: &[u8], out: &mut Writer) -> Result<(), Error> {
    let value = exec.get_by_name(variable)?;
    push(exec, value, out);
    Ok(())
}

fn destroy_avp(exec: &mut Exec<'_>, variable: &[u8], out: &mut Writer) -> Result<(), Error> {
    let was = exec.get_by_name(variable)? != Value::Null;
    if was {
        exec.set_by_name(variable, Value::Null)?;
    }
    out.push(Item::Int(was.into()));
    Ok(())
}

fn function(
    exec: &mut Exec<'_>,
    name: &[u8],
    args: &[Item<'_>],
    out: &mut Writer,
) -> Result<(), Error> {
    let name = String::from_utf8_lossy(name);
    let mut given = Vec::with_capacity(args.len());
    for arg in args {
        given.push(NamedArg::Str(arg.bytes().ok_or(MALFORMED)?));
    }
    let code = exec.call_by_name(None, &name, &given, true)?;
    out.push(Item::Int(code));
    Ok(())
}

/// The parts of the request URI as it is now; nothing where there is none.
fn request_uri(exec: &Exec<'_>, out: &mut Writer) {
    let Some(uri) = exec.request_uri() else {
        return;
    };
    let Ok(uri) = Uri::parse(exec.bytes(uri)) else {
        return;
    };
    let some = |part: &[u8], out: &mut Writer| match part {
        [] => out.push(Item::Null),
        part => out.push(Item::Str(part)),
    };
    some(uri.user.unwrap_or_default(), out);
    some(uri.password.unwrap_or_default(), out);
    some(uri.host, out);
    match uri.port {
        Some(port) => out.push(Item::Str(port.to_string().as_bytes())),
        None => out.push(Item::Null),
    }
    let params = uri.params.as_bytes();
    some(params.strip_prefix(b";").unwrap_or(params), out);
    some(uri.headers, out);
}

fn message(exec: &Exec<'_>, kind: Kind, items: &[Item<'_>], out: &mut Writer) -> Result<(), Error> {
    let bytes = exec.message;
    let parsed = match exec.view {
        Some(_) => None,
        None => SipView::parse(bytes).ok(),
    };
    let view = exec.view.or(parsed.as_ref());
    match (kind, items) {
        (Kind::Message, []) => out.push(Item::Str(bytes)),
        (Kind::FirstLine, []) => first_line(view, out),
        (Kind::FullHeader, []) => out.push(view.map_or(Item::Null, |view| {
            let end = bytes.len().saturating_sub(view.body().len());
            let head = bytes.get(..end).unwrap_or_default();
            Item::Str(without_empty_line(head))
        })),
        (Kind::Body, []) => out.push(view.map_or(Item::Null, |view| Item::Str(view.body()))),
        (Kind::Headers, []) => {
            for header in view.into_iter().flat_map(|view| view.headers()) {
                out.push(Item::Str(header.name));
                out.push(Item::Str(header.value));
            }
        }
        (Kind::Header, [Item::Str(name)]) => {
            let Some(view) = view else { return Ok(()) };
            // Kamailio's script goes by the name as it is written: those come alone.
            let as_written = view.headers().any(|header| header.name == *name);
            for header in view.headers() {
                if header.name == *name || (!as_written && header.is(name)) {
                    out.push(Item::Str(header.value));
                }
            }
        }
        _ => return Err(MALFORMED),
    }
    Ok(())
}

fn first_line(view: Option<&SipView<'_>>, out: &mut Writer) {
    match view.map(SipView::start_line) {
        None => out.push(Item::Int(SIP_INVALID)),
        Some(StartLine::Request {
            method,
            uri,
            version,
        }) => {
            out.push(Item::Int(SIP_REQUEST));
            for part in [version, method, uri] {
                out.push(Item::Str(part));
            }
        }
        Some(StartLine::Reply {
            version,
            status,
            reason,
        }) => {
            out.push(Item::Int(SIP_REPLY));
            out.push(Item::Str(version));
            out.push(Item::Null);
            out.push(Item::Null);
            out.push(Item::Int(status.into()));
            out.push(Item::Str(reason));
        }
    }
}

/// The headers without the line that ends them.
fn without_empty_line(head: &[u8]) -> &[u8] {
    if head.ends_with(b"\r\n\r\n") {
        head.strip_suffix(b"\r\n").unwrap_or(head)
    } else if head.ends_with(b"\n\n") {
        head.strip_suffix(b"\n").unwrap_or(head)
    } else {
        head
    }
}
