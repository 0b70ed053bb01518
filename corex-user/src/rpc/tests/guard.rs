//! `guard.*`: what they do to the lists, what they answer, and what bad parameters get.

use std::sync::Arc;

use super::Fake;
use crate::guard::Which;
use crate::rpc::Rpc;
use crate::rpc::commands;
use crate::rpc::limits::RpcLimits;
use crate::rpc::params::Params;
use crate::rpc::value::Value;

struct Asked {
    fake: Arc<Fake>,
    rpc: Rpc,
}

fn asked() -> Asked {
    let fake = Arc::new(Fake::new());
    Asked {
        rpc: Rpc::new(commands::ALL, fake.clone(), RpcLimits::default()),
        fake,
    }
}

impl Asked {
    fn ask(&self, method: &str, values: &[Value]) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let params = Params::strict(values.to_vec());
        match runtime.unwrap().block_on(self.rpc.call(method, &params)) {
            Ok(reply) => {
                let records = reply.records.iter().map(text);
                records.collect::<Vec<_>>().join(" | ")
            }
            Err(fault) => fault.to_string(),
        }
    }

    fn words(&self, method: &str, words: &[&str]) -> String {
        let values: Vec<Value> = words.iter().copied().map(Value::from).collect();
        self.ask(method, &values)
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", text(value)));
            fields.collect::<Vec<_>>().join(" ")
        }
        Value::Str(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn networks_are_blocked_and_allowed_listed_explained_and_let_go() {
    let asked = asked();
    assert_eq!(
        asked.words("guard.block", &["203.0.113.7/24;udp;5060"]),
        "Ok."
    );
    let for_an_hour = [Value::from("2001:db8::/32"), Value::Int(3600)];
    assert_eq!(asked.ask("guard.block", &for_an_hour), "Ok.");
    assert_eq!(asked.words("guard.allow", &["203.0.113.9"]), "Ok.");
    assert_eq!(
        asked.words("guard.list", &["allow"]),
        "list=allow network=203.0.113.9/32 proto=any port=any by=rpc seconds_left=for ever packets=0 \
         last_seen=never"
    );
    let blocked = asked.words("guard.list", &["block"]);
    assert!(
        blocked.starts_with(
            "list=block network=203.0.113.0/24 proto=udp port=5060 by=rpc seconds_left=for ever"
        ),
        "{blocked}"
    );
    assert!(blocked.contains("network=2001:db8::/32 proto=any port=any by=rpc seconds_left=3"));
    let all = asked.ask("guard.list", &[Value::from("all"), Value::Int(2)]);
    assert_eq!(all.matches("list=").count(), 2, "{all}");
    for (words, verdict) in [
        (&["203.0.113.8"][..], "dropped: block"),
        (
            &["203.0.113.8", "tcp"],
            "dropped: overload, outside of dialogs at least",
        ),
        (&["192.0.2.99", "tcp"], "let in: no rule is against it"),
        (&["203.0.113.9", "udp"], "let in: allow"),
        (&["2001:db8:1::1", "tcp"], "dropped: block"),
        (&["::ffff:203.0.113.8"], "dropped: block"),
        (&["192.0.2.99"], "let in: no rule is against it"),
    ] {
        let explained = asked.words("guard.explain", words);
        assert!(
            explained.contains(&format!("verdict={verdict} ")),
            "{explained}"
        );
        let mut with_word = vec!["explain"];
        with_word.extend(words);
        assert_eq!(asked.words("corex.guard", &with_word), explained);
    }
    let explained = asked.words("guard.explain", &["203.0.113.8"]);
    assert_eq!(
        explained,
        "address=203.0.113.8 proto=udp port=5060 verdict=dropped: block rules=allow=no entry \
         block=203.0.113.0/24; udp; 5060 by rpc, for ever, never found stealth=no entry \
         signature=none are set rate=none are set \
         overload=unknown; requests outside dialogs are shed from who isn't known"
    );
    let other_port = [
        Value::from("192.0.2.99"),
        Value::from("udp"),
        Value::Int(5070),
        Value::from("INVITE"),
    ];
    assert!(
        asked
            .ask("guard.explain", &other_port)
            .contains("verdict=let in")
    );
    assert_eq!(asked.ask("guard.save", &[]), "3");
    assert_eq!(
        asked.words("guard.unblock", &["203.0.113.0/24; udp; 5060"]),
        "Ok."
    );
    assert_eq!(asked.words("guard.disallow", &["203.0.113.9"]), "Ok.");
    assert_eq!(asked.fake.guard.entries(Which::Block).len(), 1);
    assert_eq!(asked.fake.guard.entries(Which::Allow).len(), 0);
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let asked = asked();
    asked.words("guard.allow", &["198.51.100.0/24"]);
    for (method, words, expected) in [
        (
            "guard.block",
            &["name"][..],
            "400 - `name` is no address or network",
        ),
        (
            "guard.block",
            &["192.0.2.1/33"],
            "400 - `192.0.2.1/33`: an address has no so many bits",
        ),
        ("guard.block", &["192.0.2.1;tls"], "400 - `tls` is neither"),
        ("guard.block", &[""], "400 - `` is no address"),
        ("guard.block", &[], "400 - "),
        (
            "guard.block",
            &["198.51.100.7"],
            "500 - the network is allowed",
        ),
        ("guard.block", &["192.0.2.1", "soon"], "400 - "),
        (
            "guard.unblock",
            &["192.0.2.1"],
            "500 - the list has no such entry",
        ),
        (
            "guard.disallow",
            &["198.51.100.7"],
            "500 - the list has no such entry",
        ),
        (
            "guard.list",
            &["others"],
            "400 - expected allow, block, trust or all",
        ),
        (
            "guard.explain",
            &["198.51.100.0/24"],
            "400 - `198.51.100.0/24` is no address",
        ),
        (
            "guard.explain",
            &["192.0.2.1", "sctp"],
            "400 - expected udp or tcp",
        ),
        (
            "corex.guard",
            &["192.0.2.1"],
            "400 - `192.0.2.1`: write explain ADDRESS",
        ),
    ] {
        let answer = asked.words(method, words);
        assert!(answer.starts_with(expected), "{method} {words:?}: {answer}");
    }
    for seconds in [0, -5, i64::from(u32::MAX) + 1] {
        let values = [Value::from("192.0.2.1"), Value::Int(seconds)];
        let answer = asked.ask("guard.block", &values);
        assert!(answer.starts_with("400 - expected 1 to"), "{answer}");
    }
    for most in [0, -1, 1 << 40] {
        let answer = asked.ask("guard.list", &[Value::from("all"), Value::Int(most)]);
        assert!(answer.starts_with("400 - expected 1 to"), "{answer}");
    }
    assert!(asked.fake.guard.entries(Which::Block).is_empty());
}
