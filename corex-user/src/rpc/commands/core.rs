//! `core.*`: the daemon itself.

use std::time::SystemTime;

use super::time::{ctime, seconds_since};
use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, RpcCommand, optional,
};
use crate::rpc::fault::Fault;
use crate::rpc::value::{Fields, Name, Reply, Value};

/// The signal that `core.kill` means without a parameter.
const SIGTERM: i64 = 15;

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "core",
    doc: "The daemon itself: version, times, threads, sockets, signals. As in Kamailio.",
    commands: ALL,
};

const ALL: &[RpcCommand] = &[
    RpcCommand {
        name: "core.aliases_list",
        doc: &["Lists the hosts that are `myself` beside the listen sockets."],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(aliases),
    },
    RpcCommand {
        name: "core.echo",
        doc: &["Answers with its parameters, as strings."],
        params: &[optional("values", Kind::Any)],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(|call| Ok(call.params.values().iter().filter_map(echo).collect())),
    },
    RpcCommand {
        name: "core.flags",
        doc: &["Shows what the program was built and started with."],
        params: &[],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| Ok(Reply::one(flags(&call)))),
    },
    RpcCommand {
        name: "core.info",
        doc: &["Shows version, build and flags."],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(info),
    },
    RpcCommand {
        name: "core.kill",
        doc: &[
            "Sends the daemon a signal.",
            "Its parameter is the signal's number; without it, 15 (SIGTERM).",
        ],
        params: &[optional("signal", Kind::Int)],
        result: Answer::Nothing,
        handler: Handler::Now(kill),
    },
    RpcCommand {
        name: "core.modules",
        doc: &["Lists the loaded modules."],
        params: &[],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(|call| {
            Ok(call.daemon.modules().into_iter().map(Value::from).collect())
        }),
    },
    RpcCommand {
        name: "core.printi",
        doc: &["Answers with its integer parameter."],
        params: &[optional("number", Kind::Int)],
        result: Answer::Many(Kind::Int),
        handler: Handler::Now(|call| match call.params.values() {
            [] => Ok(Reply::empty()),
            _ => Ok(Reply::one(call.params.int(0)?)),
        }),
    },
    RpcCommand {
        name: "core.prints",
        doc: &["Answers with its string parameter."],
        params: &[optional("text", Kind::Str)],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(|call| match call.params.values() {
            [] => Ok(Reply::empty()),
            _ => Ok(Reply::one(Value::Str(call.params.str(0)?))),
        }),
    },
    RpcCommand {
        name: "core.ps",
        doc: &["Lists the daemon's threads: id and what it does, in turn."],
        params: &[],
        result: Answer::Many(Kind::Any),
        handler: Handler::Now(|call| {
            let processes = call.daemon.processes().into_iter();
            Ok(processes
                .flat_map(|process| [Value::from(process.pid), process.description.into()])
                .collect())
        }),
    },
    RpcCommand {
        name: "core.psa",
        doc: &["Lists the daemon's threads as structs, with all that is known."],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(|call| {
            let processes = call.daemon.processes().into_iter();
            Ok(processes
                .map(|process| {
                    Value::fields([
                        ("index", process.index.into()),
                        ("pid", process.pid.into()),
                        ("status", Value::Int(1)),
                        ("rank", process.index.into()),
                        ("description", process.description.into()),
                    ])
                })
                .collect())
        }),
    },
    RpcCommand {
        name: "core.psx",
        doc: &["Lists the daemon's threads as structs."],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(|call| {
            let processes = call.daemon.processes().into_iter();
            Ok(processes
                .map(|process| {
                    Value::fields([
                        ("IDX", process.index.into()),
                        ("PID", process.pid.into()),
                        ("DSC", process.description.into()),
                    ])
                })
                .collect())
        }),
    },
    RpcCommand {
        name: "core.runinfo",
        doc: &["Shows version, build and times."],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(runinfo),
    },
    RpcCommand {
        name: "core.shmmem",
        doc: &[
            "Shows how much memory the workers share, and how much of it is used.",
            "Its parameter is the unit: b (bytes), k, m or g; without it, bytes.",
        ],
        params: &[optional("unit", Kind::Str)],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(shmmem),
    },
    RpcCommand {
        name: "core.sockets_list",
        doc: &["Lists the listen sockets."],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(sockets),
    },
    RpcCommand {
        name: "core.uptime",
        doc: &["Shows when the daemon started and how long it has been running."],
        params: &[],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(|call| {
            let started = call.daemon.identity().started;
            Ok(Reply::one(Value::fields([
                ("now", ctime(SystemTime::now()).into()),
                ("up_since", ctime(started).into()),
                ("uptime", seconds_since(started).into()),
            ])))
        }),
    },
    RpcCommand {
        name: "core.version",
        doc: &["Shows the version."],
        params: &[],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| {
            let who = call.daemon.identity();
            let text = format!("{} {} ({})", who.name, who.version, who.platform);
            Ok(Reply::one(text))
        }),
    },
];

/// A parameter as a string; structs and lists are left out.
fn echo(value: &Value) -> Option<Value> {
    match value {
        Value::Int(number) => Some(number.to_string().into()),
        Value::Double(number) => Some(number.to_string().into()),
        Value::Str(text) => Some(Value::Str(text.clone())),
        Value::Struct(_) | Value::Array(_) | Value::Named(_) => None,
    }
}

fn flags(call: &Call<'_>) -> String {
    call.daemon.identity().flags.join(", ")
}

fn info(call: Call<'_>) -> Outcome {
    let who = call.daemon.identity();
    Ok(Reply::one(Value::fields([
        ("version", format!("{} {}", who.name, who.version).into()),
        ("id", who.id.into()),
        ("compiler", who.compiler.into()),
        ("compiled", who.compiled.into()),
        ("flags", who.flags.join(", ").into()),
    ])))
}

fn runinfo(call: Call<'_>) -> Outcome {
    let who = call.daemon.identity();
    let up = seconds_since(who.started);
    let days = format!(
        "{}d {}h {}m {}s",
        up / 86_400,
        up / 3600 % 24,
        up / 60 % 60,
        up % 60
    );
    Ok(Reply::one(Value::fields([
        ("name", who.name.into()),
        ("version", who.version.into()),
        ("sourceid", who.id.into()),
        ("compiler", who.compiler.into()),
        ("compiled", who.compiled.into()),
        ("time_now", ctime(SystemTime::now()).into()),
        ("time_started", ctime(who.started).into()),
        ("uptime_secs", up.into()),
        ("utime_days", days.into()),
    ])))
}

fn kill(call: Call<'_>) -> Outcome {
    let signal = match call.params.values() {
        [] => SIGTERM,
        _ => call.params.int(0)?,
    };
    let signal = i32::try_from(signal)
        .ok()
        .filter(|signal| (0..=64).contains(signal))
        .ok_or_else(|| Fault::bad("there is no such signal"))?;
    call.daemon.kill(signal);
    Ok(Reply::empty())
}

fn shmmem(call: Call<'_>) -> Outcome {
    let unit = match call.params.values() {
        [] => 0,
        _ => match call.params.str(0)?.to_ascii_lowercase().as_slice() {
            b"b" => 0,
            b"k" => 10,
            b"m" => 20,
            b"g" => 30,
            _ => return Err(Fault::failed("bad param, (use b|k|m|g)")),
        },
    };
    let memory = call.daemon.memory();
    let sized = |bytes: u64| Value::from(bytes >> unit);
    Ok(Reply::one(Value::fields([
        ("total", sized(memory.total)),
        ("free", sized(memory.free)),
        ("used", sized(memory.used)),
        ("real_used", sized(memory.real_used)),
        ("max_used", sized(memory.max_used)),
        ("fragments", memory.fragments.into()),
    ])))
}

fn sockets(call: Call<'_>) -> Outcome {
    let mut list = Fields::new();
    for socket in call.daemon.sockets() {
        let mut fields: Fields = vec![(Name::from("proto"), socket.proto.into())];
        match socket.addresses.as_slice() {
            [] | [_] => {
                let address = socket.addresses.into_iter().next().unwrap_or(socket.name);
                fields.push((Name::from("address"), address.into()));
            }
            several => fields.push((
                Name::from("addrlist"),
                Value::Named(
                    several
                        .iter()
                        .map(|address| (Name::from("addr"), address.as_str().into()))
                        .collect(),
                ),
            )),
        }
        // Kamailio sends the port as a string here, too.
        let port = socket.port.to_string();
        fields.push((Name::from("port"), port.into()));
        fields.push((Name::from("mcast"), Value::yes_no(socket.mcast)));
        fields.push((Name::from("mhomed"), Value::yes_no(socket.mhomed)));
        fields.push((Name::from("virtual"), Value::yes_no(socket.is_virtual)));
        list.push((Name::from("socket"), Value::Struct(fields)));
    }
    Ok(Reply::one(Value::Named(list)))
}

fn aliases(call: Call<'_>) -> Outcome {
    let aliases = call.daemon.aliases();
    let callbacks = aliases.iter().any(|alias| alias.subdomains);
    let list = aliases
        .into_iter()
        .filter(|alias| !alias.subdomains)
        .map(|alias| {
            let port = match alias.port {
                0 => "*".to_owned(),
                port => port.to_string(),
            };
            let fields = Value::fields([
                ("proto", alias.proto.as_deref().unwrap_or("*").into()),
                ("address", alias.host.into()),
                ("port", port.into()),
            ]);
            (Name::from("alias"), fields)
        })
        .collect();
    Ok(Reply::one(Value::fields([
        ("myself_callbacks", Value::yes_no(callbacks)),
        ("aliases", Value::Named(list)),
    ])))
}
