//! `pike.*`: who sends how much.

use std::time::Instant;

use crate::access::pike::Level;
use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, ParamDef, RpcCommand, optional,
};
use crate::rpc::fault::Fault;
use crate::rpc::value::{Reply, Value};

/// The most addresses that are shown.
const MOST: usize = 20_000;

const DOC: &[&str] = &[
    "Shows the addresses that send too much (HOT), a quarter of it (WARM), or all that have a node in the \
     tree (ALL), 20,000 at most: requests of the last sampling_time_unit and of this one, and the seconds \
     until they are forgotten. Default: HOT.",
];
const PARAMS: &[ParamDef] = &[optional("status", Kind::Str)];

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "pike",
    doc: "Who sends how much, as the module pike counts it. As in Kamailio.",
    commands: &[
        RpcCommand {
            name: "pike.list",
            doc: DOC,
            params: PARAMS,
            result: Answer::One(Kind::Struct),
            handler: Handler::Now(top),
        },
        RpcCommand {
            name: "pike.top",
            doc: DOC,
            params: PARAMS,
            result: Answer::One(Kind::Struct),
            handler: Handler::Now(top),
        },
    ],
};

fn top(call: Call<'_>) -> Outcome {
    let pike = call.daemon.access().pike;
    let pike = pike.ok_or(Fault::failed("The module pike is not loaded"))?;
    let wanted = call.params.opt_text(0).unwrap_or_else(|| "HOT".to_owned());
    let wanted = wanted.to_ascii_uppercase();
    let level = if wanted.contains("ALL") {
        None
    } else if wanted.contains("HOT") {
        Some(Level::Hot)
    } else if wanted.contains("WARM") {
        Some(Level::Warm)
    } else {
        return Err(Fault::failed("Bad argument. Select: ALL, HOT or WARM"));
    };
    let leaves = pike.leaves(level, MOST, Instant::now());
    let rows: Vec<Value> = leaves
        .into_iter()
        .map(|(ip, leaf)| {
            let status = match leaf.level {
                Level::Cold => "",
                Level::Warm => "WARM",
                Level::Hot => "HOT",
            };
            Value::fields([
                ("ip_addr", ip.to_string().into()),
                ("leaf_hits_prev", Value::Int(leaf.previous.into())),
                ("leaf_hits_curr", Value::Int(leaf.current.into())),
                ("expires", leaf.expires.into()),
                ("status", status.into()),
            ])
        })
        .collect();
    let count = rows.len() as u64;
    Ok(Reply::one(Value::fields([
        ("max_hits", Value::Int(pike.settings.density.into())),
        ("list", Value::Array(rows)),
        ("number_of_rows", count.into()),
    ])))
}
