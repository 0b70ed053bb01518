//! The request URI and `$du`, by the functions of old.

use corex_script::run::Arg;
use corex_script::run::Value;
use corex_script::run::pv::Part;
use corex_script::run::{Exec, Halt, part_of};
use corex_sip::Uri;

pub(super) fn set_uri(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let uri = exec.arg_str(args, 0)?;
    if Uri::parse(exec.bytes(uri)).is_err() {
        let text = exec.bytes(uri).escape_ascii().to_string();
        exec.complain(format_args!(
            "`{text}` is no SIP URI: the request URI stays as it is"
        ));
        return Ok(-1);
    }
    exec.changes.request_uri = exec.lasting(Value::Str(uri))?;
    Ok(1)
}

pub(super) fn revert(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    exec.changes.request_uri = None;
    Ok(1)
}

/// Replaces one part; false if the request URI is none, or would be none then.
fn set_part(exec: &mut Exec<'_>, part: Part, value: Value) -> Result<i64, Halt> {
    Ok(if exec.replace_part(part, value)? {
        1
    } else {
        -1
    })
}

pub(super) fn set_host(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let host = exec.arg_str(args, 0)?;
    set_part(exec, Part::Host, Value::Str(host))
}

pub(super) fn set_host_port(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let host = exec.arg_str(args, 0)?;
    set_part(exec, Part::HostPort, Value::Str(host))
}

pub(super) fn set_port(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let port = exec.arg_str(args, 0)?;
    let port = if port.len == 0 {
        Value::Null
    } else {
        Value::Str(port)
    };
    set_part(exec, Part::Port, port)
}

pub(super) fn set_user(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let user = exec.arg_str(args, 0)?;
    set_part(exec, Part::User, Value::Str(user))
}

pub(super) fn set_user_info(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let user = exec.arg_str(args, 0)?;
    set_part(exec, Part::UserInfo, Value::Str(user))
}

pub(super) fn prefix(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    let user = exec.request_user();
    let mark = exec.mark();
    exec.push(text)?;
    if let Value::Str(user) = user {
        exec.push(user)?;
    }
    let joined = exec.since(mark);
    set_part(exec, Part::User, joined)
}

pub(super) fn strip(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    cut(exec, args, |user, count| user.get(count..))
}

pub(super) fn strip_tail(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    cut(exec, args, |user, count| {
        user.get(..user.len().checked_sub(count)?)
    })
}

/// Leaves a part of the user. What is longer than it takes all of it away.
fn cut(
    exec: &mut Exec<'_>,
    args: &[Arg],
    part: fn(&[u8], usize) -> Option<&[u8]>,
) -> Result<i64, Halt> {
    let count = usize::try_from(exec.arg_int(args, 0)?).unwrap_or(0);
    let Value::Str(user) = exec.request_user() else {
        return Ok(-1);
    };
    let bytes = exec.bytes(user);
    let left = match part(bytes, count) {
        Some(left) if !left.is_empty() => Value::Str(part_of(user, bytes, left)),
        _ => Value::Null,
    };
    set_part(exec, Part::User, left)
}

pub(super) fn set_destination(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let uri = exec.arg_str(args, 0)?;
    exec.changes.destination = exec.lasting(Value::Str(uri))?;
    Ok(1)
}

pub(super) fn reset_destination(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    exec.changes.destination = None;
    Ok(1)
}

pub(super) fn has_destination(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    Ok(if exec.changes.destination.is_some() {
        1
    } else {
        -1
    })
}

pub(super) fn is_myself(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let uri = exec.arg_str(args, 0)?;
    Ok(if exec.is_myself(uri, true) { 1 } else { -1 })
}

pub(super) fn is_own_host(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    let bytes = exec.bytes(text);
    let host = Uri::parse(bytes).map_or(bytes, |uri| uri.host);
    let is_own = !host.is_empty() && exec.host.is_myself(host, 0, None);
    Ok(if is_own { 1 } else { -1 })
}
