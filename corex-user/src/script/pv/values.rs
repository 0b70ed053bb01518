//! Pseudo-variables that no message has a part in.

use super::{Form, PvDef};
use crate::script::value::Value;

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
];

fn pid() -> Result<Value, crate::script::exec::Halt> {
    Ok(Value::Int(std::process::id().into()))
}
