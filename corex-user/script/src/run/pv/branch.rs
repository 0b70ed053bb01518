//! The destination set.

use super::{Names, PvDef};
use crate::run::exec::{Exec, Halt};
use crate::run::value::{StrRef, Value};

const FIELDS: Names = Names::Words(&[
    "uri",
    "q",
    "dst_uri",
    "path",
    "send_socket",
    "flags",
    "count",
]);

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef::named("branch", FIELDS, read, "$(branch(field)[i]): a field of the i-th branch that append_branch() added; $branch(count): how many there are.").indexed().sip(),
    PvDef::plain("br", read_uri, "Request URI of the first branch.").sip(),
    PvDef::plain("bf", |exec| Ok(Value::Int(exec.changes.branch_flags.into())), "Flags of the request URI's branch.").sip(),
    PvDef::plain("mf", |exec| Ok(Value::Int(exec.changes.flags.into())), "Flags of the message."),
    PvDef::plain("mF", |exec| { let flags = exec.changes.flags; exec.display(format_args!("{flags:08x}")) }, "Flags of the message, in hexadecimal."),
];

fn read_uri(exec: &mut Exec<'_>) -> Result<Value, Halt> {
    let first = exec.changes.branches.first();
    Ok(first.map_or(Value::Null, |branch| Value::Str(branch.uri)))
}

fn read(exec: &mut Exec<'_>, field: StrRef, index: i64) -> Result<Value, Halt> {
    let field = exec.bytes(field).to_ascii_lowercase();
    let branches = &exec.changes.branches;
    if field == b"count" {
        return Ok(Value::Int(branches.len() as i64));
    }
    let at = match usize::try_from(index) {
        Ok(at) => Some(at),
        Err(_) => branches.len().checked_sub(index.unsigned_abs() as usize),
    };
    let Some(branch) = at.and_then(|at| branches.get(at)).copied() else {
        return Ok(Value::Null);
    };
    let text = match field.as_slice() {
        b"uri" => Some(branch.uri),
        b"dst_uri" => branch.destination,
        b"path" => branch.path,
        b"send_socket" => {
            let id = branch.socket.map(|id| usize::from(id.0));
            id.and_then(|id| exec.program.sockets.get(id))
                .map(|socket| socket.text)
        }
        b"flags" => return Ok(Value::Int(branch.flags.into())),
        b"q" => {
            return Ok(branch
                .quality
                .map_or(Value::Null, |quality| Value::Int(quality.into())));
        }
        _ => None,
    };
    Ok(text.map_or(Value::Null, Value::Str))
}
