//! `ctl.*`: the binrpc front end itself.

use crate::rpc::command::{Answer, CommandGroup, Handler, Kind, RpcCommand};
use crate::rpc::fronts::End;
use crate::rpc::value::{Reply, Value};

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "ctl",
    doc: "The control sockets, and who is connected.",
    commands: ALL,
};

const ALL: &[RpcCommand] = &[
    RpcCommand {
        name: "ctl.connections",
        doc: &["Shows the number of open control connections."],
        params: &[],
        result: Answer::One(Kind::Int),
        handler: Handler::Now(|call| Ok(Reply::one(call.fronts.connections().len() as u64))),
    },
    RpcCommand {
        name: "ctl.listen",
        doc: &["Lists the control sockets: protocol, transport, address, port, in turn."],
        params: &[],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(|call| {
            let ends = call.fronts.listeners().into_iter();
            Ok(ends
                .flat_map(|end| {
                    ["binrpc".into(), end.proto.into()]
                        .into_iter()
                        .chain(local(&end))
                })
                .collect())
        }),
    },
    RpcCommand {
        name: "ctl.stats",
        doc: &["Shows what the control sockets counted."],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(|call| {
            let rows = call.fronts.counters.rows();
            Ok(Reply::one(Value::fields(
                rows.map(|(name, count)| (name, count.into())),
            )))
        }),
    },
    RpcCommand {
        name: "ctl.who",
        doc: &[
            "Lists the control connections: protocol, transport, the client's address and port, \
             ours, in turn.",
        ],
        params: &[],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(|call| {
            let ends = call.fronts.connections().into_iter();
            Ok(ends
                .flat_map(|end| {
                    let peer = [end.peer.as_str().into(), end.peer_port.as_str().into()];
                    ["binrpc".into(), Value::from(end.proto)]
                        .into_iter()
                        .chain(peer)
                        .chain(local(&end))
                })
                .collect())
        }),
    },
];

fn local(end: &End) -> [Value; 2] {
    [end.local.as_str().into(), end.local_port.as_str().into()]
}
