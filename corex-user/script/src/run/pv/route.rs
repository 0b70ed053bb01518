//! The way of a request through its dialog.

use super::{Names, PvDef};
use crate::run::exec::{Exec, Halt, part_of};
use crate::run::value::{StrRef, Value};

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef::plain("route_uri", |exec| Ok(top_route(exec)), "URI of the topmost Route.").sip(),
    PvDef::plain("fti", |exec| Ok(tag(exec, false)), "Tag in From of the request that began the dialog: in To, where $rdir(name) is upstream.").sip(),
    PvDef::plain("tti", |exec| Ok(tag(exec, true)), "Tag in To of the reply to the request that began the dialog.").sip(),
    PvDef::named("rdir", Names::Words(&["id", "name"]), direction, "$rdir(name): downstream, as the request that began the dialog went, or upstream, by the Route that record_route() left; $rdir(id): 1 or 2.").sip(),
];

fn top_route(exec: &Exec<'_>) -> Value {
    exec.top_route().map_or(Value::Null, |uri| {
        Value::Str(part_of(exec.whole_message(), exec.message, uri))
    })
}

fn tag(exec: &Exec<'_>, is_callee: bool) -> Value {
    let in_to = is_callee != exec.is_upstream();
    exec.of_message(|view| if in_to { view.to() } else { view.from() }?.tag())
}

fn direction(exec: &mut Exec<'_>, field: StrRef, _: i64) -> Result<Value, Halt> {
    let is_upstream = exec.is_upstream();
    if exec.bytes(field).eq_ignore_ascii_case(b"id") {
        return Ok(Value::Int(if is_upstream { 2 } else { 1 }));
    }
    exec.text(if is_upstream {
        b"upstream"
    } else {
        b"downstream"
    })
}
