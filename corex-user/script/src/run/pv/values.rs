//! Pseudo-variables that no message has a part in.

use super::{Form, PvDef};
use crate::run::exec::{Exec, Halt};
use crate::run::value::{StrRef, Value};

const fn form(name: &'static str, form: Form, doc: &'static str) -> PvDef {
    PvDef {
        name,
        form,
        is_sip: false,
        doc,
    }
}

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    form("null", Form::Null, "No value; assigning it unsets an AVP."),
    form("$", Form::Dollar, "$$: a dollar sign."),
    form("avp", Form::Avp, "$avp(name): a value that lives as long as the message is handled. Assigning adds one on top of those of the same name; $(avp(name)[i]) reads the i-th, 0 being the newest and -1 the oldest."),
    form("var", Form::Var, "$var(name): a value that lives as long as the worker. It starts as the integer 0."),
    PvDef::plain("pp", |_| pid(), "Process id."),
    PvDef::plain("pid", |_| pid(), "The same as $pp."),
    PvDef::plain("rc", |exec| Ok(Value::Int(exec.code)), "What the last function or route returned."),
    PvDef::plain("retcode", |exec| Ok(Value::Int(exec.code)), "The same as $rc."),
    PvDef::plain("?", |exec| Ok(Value::Int(exec.code)), "The same as $rc."),
    PvDef::plain("codec_error", |exec| exec.rt.codec_error.map_or(Ok(Value::Null), |reason| exec.text(reason.as_bytes())), "Why the last codec_encode(), codec_decode() or chain of codec_in failed on this message: malformed, too_long, unknown_dictionary, unknown_key, unknown_version, not_authentic, replayed, stale or unusable; $null where it didn't."),
    PvDef::named("env", super::Names::Any, environment, "$env(NAME): a variable of the environment."),
    PvDef::named("HN", super::Names::Words(&["n", "f", "d"]), host_name, "$HN(n): this host's name; f: with its domain; d: the domain."),
    PvDef::named("version", super::Names::Words(&["num", "full"]), |exec, _, _| exec.text(env!("CARGO_PKG_VERSION").as_bytes()), "$version(num): corex's version."),
];

fn environment(exec: &mut Exec<'_>, name: StrRef, _: i64) -> Result<Value, Halt> {
    let name = String::from_utf8_lossy(exec.bytes(name)).into_owned();
    // Those are no names, and std would panic.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Ok(Value::Null);
    }
    match std::env::var_os(name) {
        Some(value) => exec.text(value.as_encoded_bytes()),
        None => Ok(Value::Null),
    }
}

fn host_name(exec: &mut Exec<'_>, field: StrRef, _: i64) -> Result<Value, Halt> {
    let Ok(name) = nix::unistd::gethostname() else {
        return Ok(Value::Null);
    };
    let name = name.as_encoded_bytes();
    let (own, domain) = match memchr::memchr(b'.', name) {
        Some(at) => (
            name.get(..at).unwrap_or_default(),
            name.get(at + 1..).unwrap_or_default(),
        ),
        None => (name, &b""[..]),
    };
    let text = match exec.bytes(field) {
        b"n" | b"N" => own,
        b"d" | b"D" => domain,
        _ => name,
    };
    exec.text(text)
}

fn pid() -> Result<Value, Halt> {
    Ok(Value::Int(std::process::id().into()))
}
