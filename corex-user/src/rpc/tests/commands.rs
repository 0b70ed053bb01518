//! What commands do to the daemon, and what they answer where clients show too little of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Fake;
use crate::rpc::Rpc;
use crate::rpc::command::Answer;
use crate::rpc::commands;
use crate::rpc::daemon::{Daemon as _, Setting};
use crate::rpc::fault::Fault;
use crate::rpc::limits::RpcLimits;
use crate::rpc::params::Params;
use crate::rpc::value::{Reply, Value};

pub(super) struct Asked {
    pub(super) fake: Arc<Fake>,
    rpc: Rpc,
}

pub(super) fn asked() -> Asked {
    let fake = Arc::new(Fake::new());
    Asked {
        rpc: Rpc::new(commands::ALL, fake.clone(), RpcLimits::default()),
        fake,
    }
}

impl Asked {
    pub(super) fn ask(&self, method: &str, values: &[Value]) -> Result<Reply, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let params = Params::strict(values.to_vec());
        runtime.unwrap().block_on(self.rpc.call(method, &params))
    }

    pub(super) fn text(&self, method: &str, values: &[Value]) -> String {
        match self.ask(method, values) {
            Ok(reply) => format!("{:?}", reply.records),
            Err(fault) => fault.to_string(),
        }
    }
}

#[test]
fn every_command_is_documented_and_named_once_in_order() {
    let asked = asked();
    let mut names = Vec::new();
    for command in asked.rpc.commands.iter() {
        names.push(command.name);
        assert!(command.name.contains('.'), "{}", command.name);
        assert!(!command.doc.is_empty(), "{}", command.name);
        let optional = command.params.iter().skip_while(|param| !param.optional);
        for param in optional {
            assert!(param.optional, "{}: {}", command.name, param.name);
        }
    }
    for group in asked.rpc.commands.0 {
        let of_group = format!("{}.", group.name);
        let mut commands = group.commands.iter();
        assert!(commands.all(|command| command.name.starts_with(&of_group)));
        assert!(!group.doc.is_empty(), "{}", group.name);
    }
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    assert!(names.len() > 40, "{names:?}");
}

#[test]
fn memory_is_logged_by_the_daemon_and_not_answered() {
    let asked = asked();
    for (method, values) in [
        ("corex.shm_status", vec![]),
        ("corex.shm_summary", vec![]),
        ("corex.pkg_summary", vec!["idx".into(), Value::Int(1)]),
        ("corex.pkg_summary", vec!["pid".into(), Value::Int(4711)]),
    ] {
        assert_eq!(asked.ask(method, &values), Ok(Reply::empty()), "{method}");
        assert_eq!(asked.rpc.answer(method), Answer::Nothing);
    }
    assert_eq!(
        asked.fake.take_told(),
        ["Status", "Summary", "memory of 1", "memory of 0"]
    );
}

#[test]
fn devices_are_listed_up_to_a_bound_and_forgotten_by_their_id() {
    let asked = asked();
    let first = Value::fields([
        ("device", "00000000-0000-4000-8000-000000000001".into()),
        ("generation", Value::Int(1)),
        ("peer", "192.0.2.1:5060".into()),
        ("since", Value::Int(1_800_000_000)),
        ("expires", Value::Int(1_800_086_400)),
        ("messages", Value::Int(20)),
        ("bytes", Value::Int(8_000)),
    ]);
    let one = asked.ask("corex.sessions", &[Value::Int(1)]);
    assert_eq!(one, Ok(Reply::one(first)));
    let count = |values: &[Value]| {
        asked
            .ask("corex.sessions", values)
            .map(|it| it.records.len())
    };
    assert_eq!(count(&[]), Ok(2));
    assert_eq!(count(&[Value::Int(1)]), Ok(1));
    assert!(count(&[Value::Int(0)]).is_err() && count(&[Value::Int(10_001)]).is_err());
    let id = "00000000-0000-4000-8000-000000000001";
    let dropped = asked.ask("corex.sessions_drop", &[id.into()]);
    assert_eq!(dropped, Ok(Reply::one(1_u64)));
    let refused = asked.text("corex.sessions_drop", &["x".into()]);
    assert_eq!(refused, "400 - a device's id is a UUID");
    assert_eq!(
        asked.fake.take_told(),
        [format!("drop {id}"), "drop x".to_owned()]
    );
}

#[test]
fn variables_are_set_with_their_type() {
    let asked = asked();
    let set = |method: &str, name: &str, value: Value| {
        asked.text(method, &["corex".into(), name.into(), value])
    };
    for method in ["cfg.set", "cfg.seti", "cfg.set_now_int"] {
        assert_eq!(set(method, "min_msg_len", Value::Int(40)), "[]", "{method}");
    }
    assert_eq!(set("cfg.set", "min_msg_len", "41".into()), "[]");
    assert_eq!(set("cfg.set", "label", Value::Int(5)), "[]");
    for method in ["cfg.set", "cfg.sets", "cfg.set_now_string"] {
        assert_eq!(set(method, "label", "core".into()), "[]", "{method}");
    }
    let values: Vec<_> = asked
        .fake
        .variables()
        .into_iter()
        .map(|v| v.value)
        .collect();
    assert_eq!(
        values,
        [
            Setting::Int(2),
            Setting::Int(41),
            Setting::Str(b"core".to_vec())
        ]
    );
    let not_set = "400 - Failed to set the variable";
    assert_eq!(set("cfg.set", "min_msg_len", "x".into()), not_set);
    assert_eq!(set("cfg.sets", "min_msg_len", "1".into()), not_set);
    assert_eq!(set("cfg.seti", "none", Value::Int(1)), not_set);
}

#[test]
fn variables_are_shown_by_name_and_by_group() {
    let asked = asked();
    let get = |values: &[Value]| asked.ask("cfg.get", values);
    assert_eq!(get(&["core".into(), "debug".into()]), Ok(Reply::one(2_i64)));
    assert_eq!(
        get(&["corex".into()]),
        Ok(Reply::one(Value::fields([
            ("min_msg_len", Value::Int(32)),
            ("label", "edge".into())
        ])))
    );
    let unknown = Err(Fault::bad("Failed to get the variable"));
    assert_eq!(get(&["none".into(), "debug".into()]), unknown);
    assert_eq!(get(&["none".into()]), unknown);
    assert_eq!(get(&[]), Err(Fault::failed("Failed to get the parameters")));
}

#[test]
fn the_log_level_is_shown_and_set() {
    let asked = asked();
    let level = |values: &[Value]| asked.ask("corex.debug", values).unwrap();
    assert_eq!(
        level(&[]),
        Reply::one(Value::fields([("debug", Value::Int(2))]))
    );
    assert_eq!(
        level(&[Value::Int(3)]),
        Reply::one(Value::fields([
            ("old", Value::Int(2)),
            ("new", Value::Int(3))
        ]))
    );
    // As in Kamailio, what is no number asks for the level.
    assert_eq!(
        level(&["abc".into()]),
        Reply::one(Value::fields([("debug", Value::Int(3))]))
    );
}

#[test]
fn a_reload_that_fails_says_why() {
    let asked = asked();
    assert_eq!(
        asked.ask("corex.reload", &[]),
        Ok(Reply::one("Ok. Configuration reloaded."))
    );
    assert_eq!(
        asked.ask("corex.reload", &[]),
        Err(Fault::failed("corex.cfg:3:1: expected a statement"))
    );
}

#[test]
fn scripts_are_read_again_where_a_module_brings_some() {
    let asked = asked();
    for index in [&[][..], &[Value::Int(0)]] {
        assert_eq!(asked.ask("app_lua.reload", index), Ok(Reply::empty()));
    }
    assert!(asked.ask("app_lua.reload", &["x".into()]).is_err());
    assert_eq!(
        asked.text("app_perl.reload", &[]),
        "500 - the module app_perl is not loaded"
    );
}

#[test]
fn a_signal_is_passed_on_only_if_there_is_one() {
    let asked = asked();
    assert_eq!(asked.ask("core.kill", &[]), Ok(Reply::empty()));
    assert_eq!(
        asked.ask("core.kill", &[Value::Int(10)]),
        Ok(Reply::empty())
    );
    for signal in [
        Value::Int(65),
        Value::Int(-1),
        Value::Int(1 << 40),
        "x".into(),
    ] {
        assert_eq!(asked.ask("core.kill", &[signal]).unwrap_err().code, 400);
    }
    assert_eq!(asked.fake.take_told(), ["signal 15", "signal 10"]);
}

#[test]
fn counters_are_chosen_by_group_and_name_and_never_come_twice() {
    let asked = asked();
    let lines = |names: &[&str]| {
        let values: Vec<_> = names.iter().map(|name| Value::from(*name)).collect();
        let reply = asked.ask("stats.get_statistics", &values).unwrap();
        let texts = reply.records.into_iter().map(|record| match record {
            Value::Str(text) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        });
        texts.collect::<Vec<_>>()
    };
    let all = [
        "worker:sent = 7",
        "xdp:dropped = 18446744073709551615",
        "xdp:seen = 1099511627776",
    ];
    assert_eq!(lines(&["all"]), all);
    assert_eq!(lines(&["all", "xdp:", "all"]), all);
    assert_eq!(
        lines(&["seen", "worker:"]),
        ["xdp:seen = 1099511627776", all[0]]
    );
    assert_eq!(lines(&["none", "none:"]), [""; 0]);
    assert_eq!(
        asked.ask("stats.fetch", &["sent".into()]),
        Ok(Reply::one(Value::fields([("worker.sent", "7".into())])))
    );
    assert_eq!(
        asked.text("stats.fetch", &[]),
        "400 - Please provide which stats to retrieve"
    );
    assert_eq!(
        asked.ask("corex.counters", &["worker".into()]),
        Ok(Reply::one(Value::fields([(
            "worker",
            Value::fields([("sent", Value::Int(7))])
        )])))
    );
}

#[test]
fn tables_are_written_and_read() {
    let asked = asked();
    let table = |method: &str, values: &[Value]| {
        let mut all = vec![Value::from("a")];
        all.extend_from_slice(values);
        asked.text(method, &all)
    };
    assert!(table("htable.seti", &["n".into(), Value::Int(7)]).contains("Str("));
    assert_eq!(
        asked.ask("htable.setex", &["a".into(), "n".into(), Value::Int(90)]),
        Ok(Reply::one("Ok"))
    );
    let shown = asked.ask("htable.get", &["a".into(), "n".into()]).unwrap();
    assert_eq!(
        shown,
        Reply::one(Value::fields([(
            "item",
            Value::fields([
                ("name", "n".into()),
                ("value", Value::Int(7)),
                ("flags", Value::Int(0)),
                ("expire", "90".into()),
            ])
        )]))
    );
    assert_eq!(
        table("htable.get", &["none".into()]),
        "500 - Key name doesn't exist in htable."
    );
    assert_eq!(
        table("htable.seti", &["n".into(), "x".into()]),
        "500 - Not enough parameters (htable name, key name and value)"
    );
    assert_eq!(
        table("htable.setex", &["n".into(), Value::Int(-1)]),
        "400 - The time is negative"
    );
    assert_eq!(
        asked.ask("htable.flush", &["a".into()]),
        Ok(Reply::one("Ok. Htable flushed."))
    );
    assert_eq!(table("htable.dump", &[]), "[]");
    assert_eq!(asked.text("htable.dump", &[]), "500 - No htable name given");
    assert_eq!(
        asked.ask("htable.stats", &[]).unwrap().records[1],
        Value::fields([
            ("name", "a".into()),
            ("slots", Value::Int(4)),
            ("all", Value::Int(2)),
            ("min", Value::Int(0)),
            ("max", Value::Int(1)),
        ])
    );
}

#[test]
fn requests_and_faults_are_counted() {
    let asked = asked();
    let _ = asked.ask("core.version", &[]);
    let _ = asked.ask("no.such", &[]);
    let counters = &asked.rpc.fronts.counters;
    assert_eq!(counters.requests.load(Ordering::Relaxed), 2);
    assert_eq!(counters.faults.load(Ordering::Relaxed), 1);
}

#[test]
fn as_many_peers_as_asked_for_are_shown_and_the_others_always() {
    let asked = asked();
    let names = |values: &[Value]| -> Vec<Value> {
        let records = asked.ask("corex.peers", values).unwrap().records;
        let first = |record: Value| match record {
            Value::Struct(fields) => fields[0].1.clone(),
            other => other,
        };
        records.into_iter().map(first).collect()
    };
    assert_eq!(
        names(&[]),
        ["192.0.2.1", "2001:db8::1", "other"].map(Value::from)
    );
    assert_eq!(
        names(&[Value::Int(1)]),
        ["192.0.2.1", "other"].map(Value::from)
    );
    assert!(asked.ask("corex.peers", &[Value::Int(-1)]).is_err());
}

#[test]
fn siptrace_is_switched_and_asked_as_in_kamailio() {
    let asked = asked();
    let answer = |word: &str| asked.text("siptrace.status", &[Value::from(word)]);
    let [enabled, disabled] =
        ["Enabled", "Disabled"].map(|word| format!("{:?}", Reply::one(word).records));
    for (word, expected) in [
        ("check", &disabled),
        ("on", &enabled),
        ("CHECK", &enabled),
        ("Off", &disabled),
        ("check", &disabled),
    ] {
        assert_eq!(answer(word), *expected, "{word}");
    }
    assert_eq!(answer("maybe"), "500 - Bad parameter (on, off or check)");
    assert_eq!(
        asked.text("siptrace.status", &[]),
        "500 - Not enough parameters (on, off or check)"
    );
}
