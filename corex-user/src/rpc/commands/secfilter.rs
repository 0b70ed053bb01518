//! `secfilter.*`: lists of the module secfilter, and what was met of them.

use std::sync::Arc;

use corex_script::settings::{RuleKind, RuleList};

use crate::access::Secfilter;
use crate::access::secfilter::{MAX_RULES, Met, Part, rule};
use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, ParamDef, RpcCommand, optional, required,
};
use crate::rpc::fault::Fault;
use crate::rpc::later::Later;
use crate::rpc::value::{Reply, Value};

/// The most texts of a list that are shown.
const MOST: usize = 20_000;

const RULE: &[ParamDef] = &[required("type", Kind::Str), required("value", Kind::Str)];

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "secfilter",
    doc: "Lists of the module secfilter. As in Kamailio.",
    commands: &[
        RpcCommand {
            name: "secfilter.add_bl",
            doc: &[
                "Adds to the blacklist until the next reload: ua, country, domain, ip or user, and what \
                 that begins with.",
            ],
            params: RULE,
            result: Answer::One(Kind::Str),
            handler: Handler::Now(|call| add(call, RuleList::Black, "blacklist")),
        },
        RpcCommand {
            name: "secfilter.add_dst",
            doc: &["Adds to the destinations that are refused until the next reload."],
            params: &[required("number", Kind::Any)],
            result: Answer::One(Kind::Str),
            handler: Handler::Now(add_destination),
        },
        RpcCommand {
            name: "secfilter.add_wl",
            doc: &["Adds to the whitelist until the next reload."],
            params: RULE,
            result: Answer::One(Kind::Str),
            handler: Handler::Now(|call| add(call, RuleList::White, "whitelist")),
        },
        RpcCommand {
            name: "secfilter.print",
            doc: &[
                "Shows the lists, or those of dst, ua, country, domain, ip or user, 20,000 texts of each at \
                 most.",
            ],
            params: &[optional("type", Kind::Str)],
            result: Answer::Many(Kind::Str),
            handler: Handler::Now(print),
        },
        RpcCommand {
            name: "secfilter.reload",
            doc: &[
                "Reads data_file again; what was added by remote control is forgotten. If the file has \
                 mistakes, all stays as it was, and the log has them.",
            ],
            params: &[],
            result: Answer::One(Kind::Str),
            handler: Handler::Wait(reload),
        },
        RpcCommand {
            name: "secfilter.stats",
            doc: &["Shows how many messages were on which list."],
            params: &[],
            result: Answer::Many(Kind::Str),
            handler: Handler::Now(stats),
        },
        RpcCommand {
            name: "secfilter.stats_reset",
            doc: &["Counts from 0."],
            params: &[],
            result: Answer::One(Kind::Str),
            handler: Handler::Now(|call| {
                filter(call)?.reset_counts();
                Ok(Reply::one("The statistics has been reset"))
            }),
        },
    ],
};

fn filter(call: Call<'_>) -> Result<Arc<Secfilter>, Fault> {
    let filter = call.daemon.access().secfilter;
    filter.ok_or(Fault::failed("The module secfilter is not loaded"))
}

/// The kind that a word begins the name of, as in Kamailio.
fn kind(word: &[u8]) -> Option<RuleKind> {
    let mut kinds = RuleKind::ALL.into_iter().filter(|_| !word.is_empty());
    kinds.find(|kind| kind.name().as_bytes().starts_with(word))
}

fn add(call: Call<'_>, list: RuleList, name: &str) -> Outcome {
    let missing = || {
        Fault::failed(format!(
            "Invalid Parameters. Usage: secfilter.add_{} type value",
            if list == RuleList::Black { "bl" } else { "wl" }
        ))
    };
    let word = call.params.opt_str(0).ok_or_else(missing)?;
    let data = call.params.opt_str(1).ok_or_else(missing)?;
    let known = kind(&word).ok_or_else(|| {
        Fault::failed(format!(
            "Error inserting values in the {name}: that is no type"
        ))
    })?;
    insert(call, list, known, &data, name)?;
    let [word, data] = [&word, &data].map(|text| String::from_utf8_lossy(text));
    Ok(Reply::one(format!(
        "Values ({word}, {data}) inserted into {name}"
    )))
}

fn insert(
    call: Call<'_>,
    list: RuleList,
    kind: RuleKind,
    data: &[u8],
    name: &str,
) -> Result<(), Fault> {
    let refused =
        |why: String| Fault::failed(format!("Error inserting values in the {name}: {why}"));
    let rule = rule(list, kind, data).map_err(refused)?;
    match filter(call)?.add(&rule) {
        true => Ok(()),
        false => Err(refused(format!("there are {MAX_RULES} rules already"))),
    }
}

fn add_destination(call: Call<'_>) -> Outcome {
    let number = match call.params.values().first() {
        Some(Value::Int(number)) => number.to_string().into_bytes(),
        Some(Value::Str(text)) => text.clone(),
        _ => {
            let what = "Invalid Parameters. Usage: secfilter.add_dst number";
            return Err(Fault::failed(what));
        }
    };
    let kind = RuleKind::UserAgent;
    insert(call, RuleList::Destination, kind, &number, "blacklist")?;
    let number = String::from_utf8_lossy(&number);
    Ok(Reply::one(format!(
        "Values ({number}) inserted into blacklist destinations"
    )))
}

fn reload(call: Call<'_>) -> Later<'_, Outcome> {
    Box::pin(async move {
        filter(call)?;
        // The log has the reason.
        let reloaded = call.daemon.reload_scripts("secfilter").await;
        reloaded.map_err(|_| Fault::failed("Error loading data"))?;
        Ok(Reply::one("Data reloaded"))
    })
}

fn print(call: Call<'_>) -> Outcome {
    let filter = filter(call)?;
    let wanted = call.params.opt_str(0).unwrap_or_default();
    let is_wanted = |name: &str| name.as_bytes().starts_with(&wanted);
    let mut lines = Vec::new();
    let titles = ["User-agent", "Country", "Domain", "IP Address", "User"];
    if is_wanted("dst") {
        title(&mut lines, "Destinations");
        let all = filter.texts(RuleList::Destination, RuleKind::UserAgent);
        texts(&mut lines, "Blacklisted", &all);
    }
    for (kind, name) in RuleKind::ALL.into_iter().zip(titles) {
        if is_wanted(kind.name()) {
            title(&mut lines, name);
            texts(
                &mut lines,
                "Blacklisted",
                &filter.texts(RuleList::Black, kind),
            );
            lines.push(String::new());
            texts(
                &mut lines,
                "Whitelisted",
                &filter.texts(RuleList::White, kind),
            );
        }
    }
    lines.push(String::new());
    Ok(lines.into_iter().map(Value::from).collect())
}

fn title(lines: &mut Vec<String>, title: &str) {
    lines.push(String::new());
    lines.push(title.to_owned());
    lines.push("=".repeat(title.len()));
}

fn texts(lines: &mut Vec<String>, list: &str, all: &[Box<[u8]>]) {
    lines.push(format!("[+] {list}"));
    lines.push(format!("    {}", "-".repeat(list.len())));
    let numbered = (1..).zip(all).take(MOST);
    lines.extend(
        numbered.map(|(n, text)| format!("    {n:04} -> {}", String::from_utf8_lossy(text))),
    );
}

fn stats(call: Call<'_>) -> Outcome {
    let filter = filter(call)?;
    let mut lines = Vec::new();
    for (list, name) in [
        (RuleList::Black, "Blocked messages (blacklist)"),
        (RuleList::White, "Allowed messages (whitelist)"),
    ] {
        title(&mut lines, name);
        lines.extend(Part::ALL.iter().map(|(part, label)| {
            let count = filter.count(Met::Listed(list, *part));
            format!("[+] By {label}: {count}")
        }));
    }
    title(&mut lines, "Other blocked messages");
    lines.push(format!(
        "[+] Destinations   : {}",
        filter.count(Met::Destination)
    ));
    lines.push(format!(
        "[+] SQL injection  : {}",
        filter.count(Met::Injection)
    ));
    lines.push(String::new());
    Ok(lines.into_iter().map(Value::from).collect())
}
