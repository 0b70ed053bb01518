//! `shm.*`: the memory that workers share, as Kamailio's module corex shows it since 5.8.

use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, ParamDef, RpcCommand, required,
};
use crate::rpc::fault::Fault;
use crate::rpc::value::{Reply, Value};

/// The same under the names of the module that Kamailio has them in.
pub(super) const INFO: RpcCommand = info("corex.shm.info");
pub(super) const REPORT: RpcCommand = report_by("corex.shm.report");
pub(super) const RPRINT: RpcCommand = rprint("corex.shm.rprint");
pub(super) const STATS: RpcCommand = stats_by("corex.shm.stats");

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "shm",
    doc: "The memory that workers share. As in Kamailio 5.8 and later.",
    commands: &[
        info("shm.info"),
        report_by("shm.report"),
        rprint("shm.rprint"),
        stats_by("shm.stats"),
    ],
};

const fn info(name: &'static str) -> RpcCommand {
    RpcCommand {
        name,
        doc: &["Shows what manages the memory that workers share, and its size in bytes."],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(|call| {
            Ok(Reply::one(Value::fields([
                ("name", "tables".into()),
                ("size", call.daemon.memory().total.into()),
            ])))
        }),
    }
}

const fn report_by(name: &'static str) -> RpcCommand {
    RpcCommand {
        name,
        doc: &[
            "Shows how much memory the workers share, in bytes, and the pieces that it is in.",
            "Kamailio shows also where its largest and smallest pieces were asked for.",
        ],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(report),
    }
}

const FILE_AND_FILTER: &[ParamDef] = &[required("file", Kind::Str), required("filter", Kind::Str)];

const fn rprint(name: &'static str) -> RpcCommand {
    RpcCommand {
        name,
        doc: &["Writes nothing: no command takes a path. `corex.shm_status` logs every part."],
        params: FILE_AND_FILTER,
        result: Answer::Nothing,
        handler: Handler::Now(|_| {
            Err(Fault::failed(
                "No command writes a file: corex.shm_status logs every part",
            ))
        }),
    }
}

const fn stats_by(name: &'static str) -> RpcCommand {
    RpcCommand {
        name,
        doc: &["Shows how much memory the workers share, and how much of it is used, in bytes."],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(stats),
    }
}

fn stats(call: Call<'_>) -> Outcome {
    let memory = call.daemon.memory();
    Ok(Reply::one(Value::fields([
        ("total", memory.total.into()),
        ("free", memory.free.into()),
        ("used", memory.used.into()),
        ("real_used", memory.real_used.into()),
        ("max_used", memory.max_used.into()),
        ("fragments", memory.fragments.into()),
    ])))
}

/// The first fields of Kamailio's, in its order.
fn report(call: Call<'_>) -> Outcome {
    let memory = call.daemon.memory();
    Ok(Reply::one(Value::fields([
        ("total_size", memory.total.into()),
        ("free_size_s", memory.free.into()),
        ("used_size_s", memory.used.into()),
        ("real_used_s", memory.real_used.into()),
        ("max_used_s", memory.max_used.into()),
        ("free_frags", memory.fragments.into()),
    ])))
}
