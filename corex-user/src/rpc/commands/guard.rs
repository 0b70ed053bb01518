//! `guard.*`: who is let in.

use std::net::IpAddr;

use corex_common::counters::RateCounters;
use corex_common::guard::{
    ALLOW, Listed, Network, RULES,
    lists::{BLOCKED, BY_RPC, STEALTHY},
};
use corex_common::ip::{PROTOCOL_TCP, PROTOCOL_UDP};
use corex_common::overload::{CALM, SHED_NEW};
use corex_script::guard::GuardError;
use corex_script::settings::guard::{NETWORK_HELP, network};
use corex_sip::Transport;

use crate::guard::{Clocks, Explanation, Subject, Which, origin_name};
use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, RpcCommand, optional, required,
};
use crate::rpc::daemon::{Load, Socket};
use crate::rpc::fault::Fault;
use crate::rpc::later::Later;
use crate::rpc::value::{Reply, Value};

/// Entries that are shown unless more are asked for.
const SHOWN: i64 = 1000;
/// The most that one answer shows.
const MOST: i64 = 100_000;
/// The port that is meant where none is given.
const SIP_PORT: u16 = 5060;

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "guard",
    doc: "The guard's lists, and what it makes of whom.",
    commands: ALL,
};

const ALL: &[RpcCommand] = &[
    RpcCommand {
        name: "guard.allow",
        doc: &[
            "Allows a network: it is let in whatever the other rules say.",
            "Its parameters are the network, `ADDRESS[/LEN][;PROTO][;PORT]`, and for how many seconds; \
             without these, until guard.disallow.",
        ],
        params: &[
            required("network", Kind::Str),
            optional("seconds", Kind::Int),
        ],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(allow),
    },
    RpcCommand {
        name: "guard.block",
        doc: &[
            "Blocks a network: what comes from there is dropped.",
            "Its parameters are the network, `ADDRESS[/LEN][;PROTO][;PORT]`, and for how many seconds; \
             without these, until guard.unblock.",
        ],
        params: &[
            required("network", Kind::Str),
            optional("seconds", Kind::Int),
        ],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(block),
    },
    RpcCommand {
        name: "guard.disallow",
        doc: &["Takes exactly this network off the list of those allowed."],
        params: &[required("network", Kind::Str)],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| remove(call, Which::Allow)),
    },
    RpcCommand {
        name: "guard.explain",
        doc: &[
            "Shows what would become of a message, and what each rule says of it.",
            "Its parameters are the address that it comes from, udp or tcp, our port, and its \
             method; without these it is one of no method, by UDP, to port 5060.",
        ],
        params: &[
            required("address", Kind::Str),
            optional("proto", Kind::Str),
            optional("port", Kind::Int),
            optional("method", Kind::Str),
        ],
        result: Answer::One(Kind::Struct),
        handler: Handler::Wait(|call| explain(call, 0)),
    },
    RpcCommand {
        name: "guard.list",
        doc: &[
            "Shows entries of the lists, by address.",
            "Its parameters are the list (allow or block; all: both; trust: whom the files of permissions \
             trust) and how many entries are shown (1 to 100000); without these, both, and 1000.",
        ],
        params: &[optional("list", Kind::Str), optional("most", Kind::Int)],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Wait(list),
    },
    RpcCommand {
        name: "guard.rates",
        doc: &[
            "Shows for each rate how many messages were above it, and how often a source was blocked \
             by one of them; or would have been, on dry run.",
        ],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(rates),
    },
    RpcCommand {
        name: "guard.save",
        doc: &[
            "Writes the entries that the configuration doesn't have to the file of the parameter \
             guard_file, which is read at the next start. Shows how many there were.",
        ],
        params: &[],
        result: Answer::One(Kind::Int),
        handler: Handler::Wait(save),
    },
    RpcCommand {
        name: "guard.unblock",
        doc: &["Takes exactly this network off the list of those blocked."],
        params: &[required("network", Kind::Str)],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| remove(call, Which::Block)),
    },
];

/// `corex.guard`: the same under the name that a person tries first.
pub(super) const GUARD: RpcCommand = RpcCommand {
    name: "corex.guard",
    doc: &[
        "Shows what the guard would make of a message: `explain`, then what guard.explain takes.",
    ],
    params: &[
        required("explain", Kind::Str),
        required("address", Kind::Str),
        optional("proto", Kind::Str),
        optional("port", Kind::Int),
        optional("method", Kind::Str),
    ],
    result: Answer::One(Kind::Struct),
    handler: Handler::Wait(|call| {
        Box::pin(async move {
            match call.params.text(0)?.as_str() {
                "explain" => explain(call, 1).await,
                other => Err(Fault::bad(format!(
                    "`{other}`: write explain ADDRESS; guard.list, guard.block and their like do the rest"
                ))),
            }
        })
    }),
};

fn network_of(call: Call<'_>) -> Result<Network, Fault> {
    let text = call.params.text(0)?;
    network(&text).map_err(|mistake| Fault::bad(format!("{}; {NETWORK_HELP}", mistake.what)))
}

fn block(call: Call<'_>) -> Outcome {
    put(call, Which::Block)
}

fn allow(call: Call<'_>) -> Outcome {
    put(call, Which::Allow)
}

fn put(call: Call<'_>, which: Which) -> Outcome {
    let network = network_of(call)?;
    let seconds = match call.params.values().len() {
        0 | 1 => None,
        _ => match u32::try_from(call.params.int(1)?) {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => {
                return Err(Fault::bad(format!("expected 1 to {} seconds", u32::MAX)));
            }
        },
    };
    let put = call
        .daemon
        .guard()
        .put(which, network, seconds, (BY_RPC, BLOCKED));
    put.map_err(failed)?;
    Ok(Reply::one("Ok."))
}

fn failed(error: GuardError) -> Fault {
    Fault::failed(error.to_string())
}

fn remove(call: Call<'_>, which: Which) -> Outcome {
    let network = network_of(call)?;
    let guard = call.daemon.guard();
    if !guard.is_on() {
        return Err(failed(GuardError::Off));
    }
    if !guard.remove(which, network) {
        return Err(Fault::failed(
            "the list has no such entry; guard.list shows what it has",
        ));
    }
    Ok(Reply::one("Ok."))
}

fn list(call: Call<'_>) -> Later<'_, Outcome> {
    Box::pin(async move {
        let lists: &[Which] = match call.params.opt_text(0).as_deref() {
            None | Some("all") => &[Which::Allow, Which::Block],
            Some("allow") => &[Which::Allow],
            Some("block") => &[Which::Block],
            Some("trust") => &[Which::Trust],
            Some(_) => return Err(Fault::bad("expected allow, block, trust or all")),
        };
        let most = call.params.opt_int(1).unwrap_or(SHOWN);
        if !(1..=MOST).contains(&most) {
            return Err(Fault::bad(format!("expected 1 to {MOST}")));
        }
        let guard = call.daemon.guard();
        // A million entries take their time.
        let rows = tokio::task::spawn_blocking(move || {
            let clocks = Clocks::now();
            let entries = lists.iter().flat_map(|which| {
                let entries = guard.entries(*which).into_iter();
                entries.map(|(network, listed)| (*which, network, listed))
            });
            let alive = entries.filter(|(_, _, listed)| listed.is_alive(clocks.monotonic));
            alive
                .take(most.unsigned_abs() as usize)
                .map(|(which, network, listed)| row(which, &network, &listed, &clocks))
                .collect()
        });
        rows.await.map_err(|_| Fault::failed("corex is stopping"))
    })
}

fn row(which: Which, network: &Network, listed: &Listed, clocks: &Clocks) -> Value {
    let list = match (which, listed.action) {
        (Which::Allow, _) => "allow",
        (Which::Block, STEALTHY) => "stealth",
        (Which::Block, _) => "block",
        (Which::Trust, _) => "trust",
    };
    let proto = match network.proto {
        0 => "any",
        PROTOCOL_UDP => "udp",
        PROTOCOL_TCP => "tcp",
        _ => "other",
    };
    let seconds = |nanoseconds: u64| Value::from(nanoseconds / 1_000_000_000);
    Value::fields([
        ("list", list.into()),
        (
            "network",
            format!("{}/{}", network.addr, network.len).into(),
        ),
        ("proto", proto.into()),
        (
            "port",
            match network.port {
                0 => "any".into(),
                port => u64::from(port).into(),
            },
        ),
        ("by", origin_name(listed.origin).into()),
        (
            "seconds_left",
            match listed.expires {
                0 => "for ever".into(),
                expires => seconds(expires.saturating_sub(clocks.monotonic)),
            },
        ),
        ("packets", listed.hits.into()),
        (
            "last_seen",
            match listed.last_seen {
                0 => "never".into(),
                seen => clocks.wall_of(seen).into(),
            },
        ),
    ])
}

fn rates(call: Call<'_>) -> Outcome {
    let guard = call.daemon.guard();
    if !guard.is_on() {
        return Err(failed(GuardError::Off));
    }
    let row = |(name, counts, is_dry): (String, RateCounters, bool)| {
        Value::fields([
            ("rate", name.into()),
            ("dry_run", u64::from(is_dry).into()),
            ("above", counts.over.into()),
            ("blocked", counts.blocked.into()),
        ])
    };
    Ok(guard.rates().into_iter().map(row).collect())
}

/// `at`: where the address stands among the parameters.
fn explain(call: Call<'_>, at: usize) -> Later<'_, Outcome> {
    Box::pin(async move {
        let address = call.params.text(at)?;
        let Ok(source) = address.trim_matches(['[', ']']).parse::<IpAddr>() else {
            return Err(Fault::bad(format!("`{address}` is no address")));
        };
        let transport = match call.params.opt_text(at + 1).as_deref() {
            None | Some("udp") => Transport::Udp,
            Some("tcp") => Transport::Tcp,
            Some(_) => return Err(Fault::bad("expected udp or tcp")),
        };
        let local_port = match call.params.opt_int(at + 2) {
            None => SIP_PORT,
            Some(port) => u16::try_from(port).map_err(|_| Fault::bad("expected a port"))?,
        };
        // As long as what is told by its method.
        let message = call
            .params
            .opt_text(at + 3)
            .map_or(String::new(), |method| {
                format!("{method} sip:x SIP/2.0\r\n")
            });
        let subject = Subject {
            source: source.to_canonical(),
            transport,
            local_port,
            socket: 0,
            message: message.as_bytes(),
        };
        let sockets = call.daemon.sockets();
        let comes_to = |socket: &Socket| {
            socket.port == local_port && (socket.proto == "udp") == (transport == Transport::Udp)
        };
        let numbers = sockets.iter().zip(0..);
        let numbers = numbers.filter_map(|(socket, number)| comes_to(socket).then_some(number));
        let numbers: Vec<u32> = numbers.collect();
        let explanation = call.daemon.guard().explain(&subject, &numbers).await;
        let explanation = explanation.ok_or_else(|| failed(GuardError::Off))?;
        let load = call.daemon.load(subject.source);
        let (overload, is_shed) = under_load(&load, &explanation);
        let verdict = match is_shed {
            true => "dropped: overload, outside of dialogs at least".to_owned(),
            false => verdict(&explanation),
        };
        let rules = RULES.iter().map(|(name, rule)| {
            let of_rule = explanation
                .findings
                .iter()
                .find(|finding| finding.rule == *rule);
            let text = of_rule.map_or(String::new(), |finding| match finding.is_dry {
                true => format!("dry run: {}", finding.why),
                false => finding.why.clone(),
            });
            (crate::rpc::value::Name::from(*name), text.into())
        });
        Ok(Reply::one(Value::fields([
            ("address", subject.source.to_string().into()),
            ("proto", transport.to_string().into()),
            ("port", u64::from(local_port).into()),
            ("verdict", verdict.into()),
            ("rules", Value::Struct(rules.collect())),
            ("overload", overload.into()),
        ])))
    })
}

/// What overload makes of a source's messages now, and whether a request of its that begins something is
/// shed that the rules let in.
fn under_load(load: &Load, explanation: &Explanation) -> (String, bool) {
    let allowed = explanation.findings.iter().find(|finding| finding.fits);
    let is_known = load.is_known || allowed.is_some_and(|finding| finding.rule == ALLOW);
    let who = if is_known { "a known peer" } else { "unknown" };
    if !load.is_on {
        return ("off".to_owned(), false);
    }
    let what = match load.level {
        CALM => "nothing is shed",
        SHED_NEW => "requests outside dialogs are shed from who isn't known",
        _ => "all is shed from who isn't known",
    };
    let dry = if load.is_dry { "dry run: " } else { "" };
    let is_shed = load.level != CALM && !load.is_dry && !is_known && explanation.is_let_in();
    (format!("{dry}{who}; {what}"), is_shed)
}

/// What would become of it, in words.
fn verdict(explanation: &Explanation) -> String {
    let Some(finding) = explanation.settled_by() else {
        return "let in: no rule is against it".to_owned();
    };
    let rule = RULES.iter().find(|(_, rule)| *rule == finding.rule);
    let name = rule.map_or("", |(name, _)| name);
    if explanation.is_let_in() {
        format!("let in: {name}")
    } else {
        format!("dropped: {name}")
    }
}

fn save(call: Call<'_>) -> Later<'_, Outcome> {
    Box::pin(async move {
        let saved = call.daemon.save_guard().await;
        let count = saved.map_err(|not_saved| Fault::failed(not_saved.to_string()))?;
        Ok(Reply::one(count as u64))
    })
}
