//! `corex.*`: the commands of the module's documentation, and those that only corex has.

use super::sessions::{SESSIONS, SESSIONS_DROP};
use super::{guard::GUARD, shm, trace::TRACE};
use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, RpcCommand, optional, required,
};
use crate::rpc::daemon::{Alias, HostInterface, MemoryReport, Setting, Socket, Worker};
use crate::rpc::fault::Fault;
use crate::rpc::later::Later;
use crate::rpc::value::{Fields, Name, Reply, Value};
use crate::telemetry::{books::RoadLine, peers::Counts};
use corex_script::quarantine::HeldSender;

/// What Kamailio prints where there is nothing.
const NONE: &str = "-";

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "corex",
    doc: "What the module corex of Kamailio has, and what only corex has.",
    commands: ALL,
};

const ALL: &[RpcCommand] = &[
    RpcCommand {
        name: "corex.books",
        doc: &["Shows everything that is counted, as one line of JSON."],
        params: &[],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| Ok(Reply::one(call.daemon.books().as_str()))),
    },
    RpcCommand {
        name: "corex.counters",
        doc: &[
            "Shows the counters by group.",
            "Its parameters are names of groups; without one, all groups.",
        ],
        params: &[optional("groups", Kind::Str)],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(counters),
    },
    RpcCommand {
        name: "corex.debug",
        doc: &[
            "Shows or sets the log level.",
            "Its parameter is the new level; without it, the level is shown.",
        ],
        params: &[optional("level", Kind::Int)],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(debug),
    },
    GUARD,
    RpcCommand {
        name: "corex.host",
        doc: &[
            "Shows the interfaces that XDP programs are on as they are now: link, MTU, MAC, queues, and by which road packets to which addresses go.",
        ],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(|call| Ok(call.daemon.host().into_iter().map(interface).collect())),
    },
    RpcCommand {
        name: "corex.list_aliases",
        doc: &[
            "Lists the hosts that are `myself`: aliases, and domains of alias_subdomains, which \
             have SUBDOMAINS.",
        ],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(|call| Ok(call.daemon.aliases().into_iter().map(alias).collect())),
    },
    RpcCommand {
        name: "corex.list_sockets",
        doc: &["Lists the listen sockets."],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(|call| Ok(call.daemon.sockets().into_iter().map(socket).collect())),
    },
    RpcCommand {
        name: "corex.peers",
        doc: &[
            "Shows messages and bytes by peer, the busiest first.",
            "Its parameter is how many peers are shown; without it, all.",
            "The last may be `other`, peers beyond max_peers, and `former`, those that fell silent.",
        ],
        params: &[optional("most", Kind::Int)],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(peers),
    },
    RpcCommand {
        name: "corex.pkg_summary",
        doc: &[
            "Has a thread log the memory that it uses.",
            "Its parameters are what chooses the thread (pid or idx) and the value of that.",
        ],
        params: &[
            required("selector", Kind::Str),
            required("value", Kind::Int),
        ],
        result: Answer::Nothing,
        handler: Handler::Now(pkg_summary),
    },
    RpcCommand {
        name: "corex.quarantine",
        doc: &[
            "Lists the senders whose messages skip Lua or Perl, since they cost too much (the parameter \
             hook_quarantine), the longest held first.",
        ],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(quarantine),
    },
    RpcCommand {
        name: "corex.quarantine_release",
        doc: &[
            "Lets all senders go that corex.quarantine lists, and forgets what they did.",
            "Shows how many senders it had noted.",
        ],
        params: &[],
        result: Answer::One(Kind::Int),
        handler: Handler::Now(|call| {
            let count = call.daemon.release_quarantine();
            Ok(Reply::one(i64::try_from(count).unwrap_or(i64::MAX)))
        }),
    },
    RpcCommand {
        name: "corex.reload",
        doc: &["Reads the configuration anew. If it has errors, the old one stays."],
        params: &[],
        result: Answer::One(Kind::Str),
        handler: Handler::Wait(reload),
    },
    RpcCommand {
        name: "corex.roads",
        doc: &[
            "Shows what the kernel sends on or drops by itself (the parameter offload): from which \
             socket to where, and what took each road since the configuration was read.",
            "`corex check --explain` shows which messages these are.",
        ],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(|call| Ok(call.daemon.roads().into_iter().map(road).collect())),
    },
    SESSIONS,
    SESSIONS_DROP,
    shm::INFO,
    shm::REPORT,
    shm::RPRINT,
    shm::STATS,
    RpcCommand {
        name: "corex.shm_status",
        doc: &["Logs every part of the memory that workers share."],
        params: &[],
        result: Answer::Nothing,
        handler: Handler::Now(|call| {
            call.daemon.log_shared_memory(MemoryReport::Status);
            Ok(Reply::empty())
        }),
    },
    RpcCommand {
        name: "corex.shm_summary",
        doc: &["Logs the sums of the memory that workers share."],
        params: &[],
        result: Answer::Nothing,
        handler: Handler::Now(|call| {
            call.daemon.log_shared_memory(MemoryReport::Summary);
            Ok(Reply::empty())
        }),
    },
    TRACE,
    RpcCommand {
        name: "corex.workers",
        doc: &["Shows each worker's queues: packets, rings, drops by reason, load."],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(|call| Ok(call.daemon.workers().into_iter().map(worker).collect())),
    },
];

/// The fields of Kamailio 5.6.3 in its order, with three more that later releases know.
fn socket(socket: Socket) -> Value {
    let addresses = socket
        .addresses
        .into_iter()
        .map(|address| (Name::from("ADDR"), address.into()))
        .collect();
    let or_none = |text: Option<String>| Value::from(text.unwrap_or_else(|| NONE.to_owned()));
    Value::fields([
        ("AF", if socket.ipv6 { "INET6" } else { "INET" }.into()),
        ("PROTO", socket.proto.into()),
        ("NAME", socket.name.into()),
        ("ADDRLIST", Value::Struct(addresses)),
        ("PORT", socket.port.to_string().into()),
        ("SOCKSTR", socket.sockstr.into()),
        ("AGNAME", or_none(socket.agname)),
        ("MCAST", Value::yes_no(socket.mcast)),
        ("MHOMED", Value::yes_no(socket.mhomed)),
        ("VIRTUAL", Value::yes_no(socket.is_virtual)),
        ("SOCKNAME", or_none(socket.sockname)),
        ("ADVERTISE", or_none(socket.advertise)),
    ])
}

fn interface(interface: HostInterface) -> Value {
    let addresses = interface.addresses.into_iter();
    let addresses = addresses.map(|(address, road)| (Name::Owned(address), road.into()));
    Value::fields([
        ("interface", interface.name.into()),
        ("index", interface.index.into()),
        ("state", interface.state.into()),
        ("mtu", interface.mtu.into()),
        (
            "mac",
            interface.mac.unwrap_or_else(|| NONE.to_owned()).into(),
        ),
        ("queues", interface.queues.into()),
        ("mode", interface.mode.into()),
        ("addresses", Value::Struct(addresses.collect())),
    ])
}

fn road(road: RoadLine) -> Value {
    let interface = match road.interface.as_str() {
        "" => NONE,
        name => name,
    };
    Value::fields([
        ("road", (road.number as u64).into()),
        ("socket", road.socket.into()),
        ("to", road.to.into()),
        ("state", road.state.into()),
        ("interface", interface.into()),
        ("messages", road.messages.into()),
        ("bytes", road.bytes.into()),
        ("steered", road.steered.into()),
    ])
}

fn alias(alias: Alias) -> Value {
    let mut fields: Fields = vec![
        (
            Name::from("PROTO"),
            alias.proto.as_deref().unwrap_or("*").into(),
        ),
        (Name::from("ADDR"), alias.host.into()),
        (Name::from("PORT"), Value::Int(alias.port.into())),
    ];
    if alias.subdomains {
        fields.push((Name::from("SUBDOMAINS"), Value::yes_no(true)));
    }
    Value::Struct(fields)
}

fn worker(worker: Worker) -> Value {
    let rings = worker.rings.into_iter().map(|(name, used, size)| {
        let fill = Value::fields([("used", used.into()), ("size", size.into())]);
        (Name::Owned(name), fill)
    });
    let drops = worker.drops.into_iter();
    let drops = drops.map(|(reason, count)| (Name::Owned(reason), count.into()));
    Value::fields([
        ("worker", worker.worker.into()),
        ("pid", worker.pid.into()),
        ("cpu", worker.cpu.map_or(NONE.into(), Value::from)),
        (
            "interface",
            match worker.interface.as_str() {
                "" => NONE.into(),
                name => name.into(),
            },
        ),
        (
            "link",
            match worker.link.as_str() {
                "" => NONE.into(),
                state => state.into(),
            },
        ),
        ("queue", worker.queue.into()),
        ("engine", worker.engine.into()),
        ("mode", worker.mode.into()),
        ("rx", worker.rx.into()),
        ("tx", worker.tx.into()),
        ("busy", Value::Double(worker.busy)),
        ("rings", Value::Struct(rings.collect())),
        ("drops", Value::Struct(drops.collect())),
    ])
}

fn counters(call: Call<'_>) -> Outcome {
    let wanted: Vec<_> = (0..call.params.values().len())
        .map(|at| call.params.text(at))
        .collect::<Result<_, _>>()?;
    let mut groups: Vec<(String, Fields)> = Vec::new();
    for counter in call.daemon.counters() {
        if !wanted.is_empty() && !wanted.contains(&counter.group) {
            continue;
        }
        let field = (Name::Owned(counter.name), counter.value.into());
        match groups.iter_mut().find(|(name, _)| *name == counter.group) {
            Some((_, fields)) => fields.push(field),
            None => groups.push((counter.group, vec![field])),
        }
    }
    let groups = groups
        .into_iter()
        .map(|(name, fields)| (Name::Owned(name), Value::Struct(fields)));
    Ok(Reply::one(Value::Struct(groups.collect())))
}

fn peers(call: Call<'_>) -> Outcome {
    let mut summary = call.daemon.peers();
    if let Some(most) = call.params.opt_int(0) {
        let most = usize::try_from(most).map_err(|_| Fault::bad("expected a number"))?;
        summary.peers.truncate(most);
    }
    let row = |(name, counts): (String, Counts)| {
        Value::fields([
            ("peer", name.into()),
            ("packets_in", counts.packets_in.into()),
            ("bytes_in", counts.bytes_in.into()),
            ("packets_out", counts.packets_out.into()),
            ("bytes_out", counts.bytes_out.into()),
        ])
    };
    Ok(summary.rows().into_iter().map(row).collect())
}

fn quarantine(call: Call<'_>) -> Outcome {
    let row = |held: HeldSender| {
        Value::fields([
            ("sender", held.sender.as_str().into()),
            ("language", held.language.into()),
            ("failures", u64::from(held.failures).into()),
            ("seconds_left", Value::Double(held.left.as_secs_f64())),
        ])
    };
    Ok(call.daemon.quarantine().into_iter().map(row).collect())
}

fn debug(call: Call<'_>) -> Outcome {
    let level = call
        .daemon
        .variables()
        .into_iter()
        .find(|variable| variable.group == "core" && variable.name == "debug")
        .map(|variable| variable.value);
    let Some(Setting::Int(old)) = level else {
        return Err(Fault::failed("the log level is not known"));
    };
    let Some(new) = call.params.opt_int(0) else {
        return Ok(Reply::one(Value::fields([("debug", old.into())])));
    };
    let set = call.daemon.set_variable("core", "debug", Setting::Int(new));
    set.map_err(|not_set| Fault::failed(not_set.to_string()))?;
    Ok(Reply::one(Value::fields([
        ("old", old.into()),
        ("new", new.into()),
    ])))
}

fn pkg_summary(call: Call<'_>) -> Outcome {
    let (Some(selector), Some(value)) = (call.params.opt_str(0), call.params.opt_int(1)) else {
        return Err(Fault::bad("Selector and value not provided"));
    };
    let processes = call.daemon.processes();
    let chosen = match selector.as_slice() {
        b"idx" => {
            let found = processes.iter().find(|p| i64::from(p.index) == value);
            Some(found.ok_or_else(|| Fault::failed("Index value out of range"))?)
        }
        // Kamailio says nothing about a process that there isn't.
        b"pid" => processes.iter().find(|p| i64::from(p.pid) == value),
        _ => return Err(Fault::failed("Unsupported selector type")),
    };
    if let Some(process) = chosen {
        call.daemon.log_worker_memory(process);
    }
    Ok(Reply::empty())
}

fn reload(call: Call<'_>) -> Later<'_, Outcome> {
    Box::pin(async move {
        match call.daemon.reload().await {
            Ok(()) => Ok(Reply::one("Ok. Configuration reloaded.")),
            Err(not_reloaded) => Err(Fault::failed(not_reloaded.to_string())),
        }
    })
}
