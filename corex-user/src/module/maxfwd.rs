//! The module `maxfwd`: Max-Forwards, counted down by the script.

use corex_script::function::{Function, Module, Parameter, ParameterKind, Routes, value};
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_sip::compose::max_forwards;

pub(super) static MODULE: Module = Module {
    name: "maxfwd",
    doc: "Max-Forwards, counted down by the script instead of by forward().",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    ..Module::NONE
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "mf_process_maxfwd_header",
        aliases: &["process_maxfwd"],
        forms: &[&[value("limit")]],
        routes: Routes::REQUEST,
        doc: "Counts Max-Forwards down, at most to max_limit; adds it with `limit` where there is \
              none. False if it is 0 already: then a 483 reply is due.",
        handler: process,
    },
    Function {
        name: "is_maxfwd_lt",
        aliases: &[],
        forms: &[&[value("limit")]],
        routes: Routes::REQUEST,
        doc: "Whether Max-Forwards is less than a number; -2 where there is none.",
        handler: is_less,
    },
];

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "max_limit",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 255,
        set: |settings, value| settings.max_forwards = value as u32,
    },
    doc: "The most that Max-Forwards may be when a request leaves. Default: 70.",
}];

fn process(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let limit = exec.arg_int(args, 0)?;
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let place = |part: &[u8]| {
        let start = part.as_ptr().addr() - view.message().as_ptr().addr();
        start..start + part.len()
    };
    match (view.header(b"Max-Forwards"), max_forwards(view)) {
        (Some(_), Ok(Some(0))) => return Ok(-1),
        (Some(header), Ok(Some(hops))) => {
            let left = (hops - 1).min(exec.program.max_forwards);
            let edits = &mut exec.changes.edits;
            edits.replace(place(header.value), left.to_string().as_bytes());
        }
        (Some(_), _) => {
            exec.complain(format_args!("Max-Forwards is no number"));
            return Ok(-1);
        }
        (None, _) => {
            let line = format!("Max-Forwards: {}\r\n", limit.clamp(0, 255));
            let first = view.headers().next().map_or(0, |h| place(h.raw).start);
            exec.changes.edits.insert(first, line.as_bytes());
        }
    }
    exec.changes.counted_hop = true;
    Ok(1)
}

fn is_less(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let limit = exec.arg_int(args, 0)?;
    Ok(match exec.view.map(max_forwards) {
        Some(Ok(Some(hops))) if i64::from(hops) < limit => 1,
        Some(Ok(Some(_))) => -1,
        _ => -2,
    })
}
