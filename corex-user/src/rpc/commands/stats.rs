//! `stats.*`: counters by name, as monitoring of Kamailio asks for them.

use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, RpcCommand, required,
};
use crate::rpc::daemon::Counter;
use crate::rpc::fault::Fault;
use crate::rpc::value::{Name, Reply, Value};

const NAMES: &str =
    "Its parameters are `all`, names of groups with a colon (`core:`), or names of counters.";

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "stats",
    doc: "Counters by name, as monitoring of Kamailio asks for them.",
    commands: ALL,
};

const ALL: &[RpcCommand] = &[
    RpcCommand {
        name: "stats.fetch",
        doc: &["Shows counters as a struct of strings.", NAMES],
        params: &[required("names", Kind::Str)],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(|call| fetch(call, |value| value.to_string().into())),
    },
    RpcCommand {
        name: "stats.fetchn",
        doc: &["Shows counters as a struct of numbers.", NAMES],
        params: &[required("names", Kind::Str)],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(|call| fetch(call, Value::from)),
    },
    RpcCommand {
        name: "stats.get_statistics",
        doc: &["Shows counters, one a line.", NAMES],
        params: &[required("names", Kind::Str)],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(|call| {
            let lines = chosen(call)?.into_iter().map(|counter| {
                format!("{}:{} = {}", counter.group, counter.name, counter.value).into()
            });
            Ok(lines.collect())
        }),
    },
];

fn fetch(call: Call<'_>, show: fn(u64) -> Value) -> Outcome {
    let fields = chosen(call)?.into_iter().map(|counter| {
        let name = format!("{}.{}", counter.group, counter.name);
        (Name::Owned(name), show(counter.value))
    });
    Ok(Reply::one(Value::Struct(fields.collect())))
}

/// The counters that the parameters name, each parameter's by group and name.
fn chosen(call: Call<'_>) -> Result<Vec<Counter>, Fault> {
    let missing = || Fault::bad("Please provide which stats to retrieve");
    let wanted: Vec<_> = (0..call.params.values().len())
        .map(|at| call.params.opt_text(at).ok_or_else(missing))
        .collect::<Result<_, _>>()?;
    if wanted.is_empty() {
        return Err(missing());
    }
    let mut counters = call.daemon.counters();
    counters.sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name)));
    // Each parameter's counters in its turn, but none twice: a request must not multiply them.
    let mut chosen = Vec::new();
    for name in &wanted {
        let (now, later) =
            counters
                .into_iter()
                .partition(|counter: &Counter| match name.strip_suffix(':') {
                    Some(group) => counter.group == group,
                    None => name == "all" || counter.name == *name,
                });
        chosen.extend::<Vec<_>>(now);
        counters = later;
    }
    Ok(chosen)
}
