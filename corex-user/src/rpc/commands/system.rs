//! `system.*`: the table of commands.

use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, RpcCommand, required,
};
use crate::rpc::fault::Fault;
use crate::rpc::value::{Reply, Value};

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "system",
    doc: "The commands themselves. As in Kamailio.",
    commands: ALL,
};

const ALL: &[RpcCommand] = &[
    RpcCommand {
        name: "system.listMethods",
        doc: &["Lists all commands."],
        params: &[],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(|call| {
            let names = call.commands.iter().map(|command| command.name.into());
            Ok(names.collect())
        }),
    },
    RpcCommand {
        name: "system.methodHelp",
        doc: &["Shows what a command does."],
        params: &[required("method", Kind::Str)],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| {
            let command = named(call)?;
            Ok(Reply::one(command.doc.join("\n")))
        }),
    },
    RpcCommand {
        name: "system.methodSignature",
        doc: &[
            "Lists the ways to call a command: for each, the type of the answer and those of the \
             parameters.",
        ],
        params: &[required("method", Kind::Str)],
        result: Answer::One(Kind::Any),
        handler: Handler::Now(signature),
    },
];

fn named(call: Call<'_>) -> Result<&'static RpcCommand, Fault> {
    let name = call
        .params
        .opt_text(0)
        .ok_or_else(|| Fault::bad("Method Name Expected"))?;
    let found = call.commands.find(&name);
    found.ok_or_else(|| Fault::bad("command not found"))
}

fn signature(call: Call<'_>) -> Outcome {
    let command = named(call)?;
    let needed = command.params.iter().take_while(|p| !p.optional).count();
    let ways = (needed..=command.params.len()).map(|count| {
        let params = command.params.iter().take(count);
        let types = std::iter::once(command.result.name()).chain(params.map(|p| p.kind.name()));
        Value::Array(types.map(Value::from).collect())
    });
    Ok(Reply::one(Value::Array(ways.collect())))
}
