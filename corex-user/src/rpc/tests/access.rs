//! Commands of permissions, ratelimit, secfilter and pike: what they answer, in Kamailio's words.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use corex_script::settings::{self, Algorithm, Pipe, Queue, RuleKind, RuleList};

use super::commands::{Asked, asked};
use crate::access::permissions::{Permissions, RuleFiles};
use crate::access::ratelimit::LoadSource;
use crate::access::secfilter::{Part, parse_rule};
use crate::access::{Access, Pike, RateLimit, Secfilter};
use crate::rpc::value::Value;

/// The module's part that comes from files: read once, since tests run beside each other.
fn permissions() -> Arc<Permissions> {
    static READ: OnceLock<Arc<Permissions>> = OnceLock::new();
    let read = READ.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("corex-access-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            (
                "address.list",
                "1 10.0.1.2 32 5060 office\n2 10.0.0.0 8\n3 sip.example.com\n",
            ),
            ("trusted.list", "10.0.1.9 udp ^sip:a@ - tag 7\n"),
            ("register.allow", "ALL : \"^sip:1\"\n"),
            ("register.deny", "ALL : ALL\n"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let settings = settings::Permissions {
            address_file: Some("address.list".to_owned()),
            trusted_file: Some("trusted.list".to_owned()),
            reload_delta: Duration::ZERO,
            ..settings::Permissions::default()
        };
        let rules = [RuleFiles::Base(b"register".to_vec())];
        let permissions = Permissions::load(&settings, &folder, &rules).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        Arc::new(permissions)
    });
    Arc::clone(read)
}

/// What a [`super::Fake`] has of each.
pub(super) fn access() -> Access {
    let mut ratelimit = settings::RateLimit::default();
    ratelimit.pipes[0] = Pipe {
        algorithm: Algorithm::TailDrop,
        limit: 5,
    };
    ratelimit.queues = vec![Queue {
        pipe: 0,
        method: b"REGISTER".as_slice().into(),
    }];
    let secfilter = settings::Secfilter {
        rules: vec![
            parse_rule(RuleList::Black, "ua:friendly-scanner").unwrap(),
            parse_rule(RuleList::White, "ip:10.").unwrap(),
        ],
        ..settings::Secfilter::default()
    };
    Access {
        permissions: Some(permissions()),
        ratelimit: Some(Arc::new(RateLimit::new(&ratelimit, LoadSource::default()))),
        secfilter: Some(Arc::new(
            Secfilter::load(&secfilter, Path::new("/")).unwrap(),
        )),
        pike: Some(Arc::new(Pike::new(&settings::Pike {
            density: 4,
            ..settings::Pike::default()
        }))),
    }
}

fn lines(asked: &Asked, method: &str, values: &[Value]) -> Vec<String> {
    let reply = asked.ask(method, values).unwrap();
    let line = |value: Value| match value {
        Value::Str(text) => String::from_utf8(text).unwrap(),
        other => format!("{other:?}"),
    };
    reply.records.into_iter().map(line).collect()
}

#[test]
fn permissions_are_dumped_tested_and_read_again() {
    let asked = asked();
    assert_eq!(
        asked.ask("permissions.addressDump", &[]).unwrap().records,
        [Value::fields([
            ("table", Value::Int(56)),
            ("group", Value::Int(1)),
            (
                "item",
                Value::fields([
                    ("ip", "10.0.1.2".into()),
                    ("port", Value::Int(5060)),
                    ("tag", "office".into()),
                ])
            ),
        ])]
    );
    assert_eq!(
        asked.ask("permissions.subnetDump", &[]).unwrap().records,
        [Value::fields([
            ("id", Value::Int(0)),
            ("group", Value::Int(2)),
            (
                "item",
                Value::fields([
                    ("ip", "10.0.0.0".into()),
                    ("mask", Value::Int(8)),
                    ("port", Value::Int(0)),
                    ("tag", "".into()),
                ])
            ),
        ])]
    );
    let names = asked.text("permissions.domainDump", &[]);
    assert!(names.contains("domain_name"), "{names}");
    let trusted = asked.text("permissions.trustedDump", &[]);
    assert!(trusted.contains("(\"priority\", Int(7))"), "{trusted}");
    let test = |contact: &str| {
        let values = ["register".into(), "sip:a@b".into(), contact.into()];
        asked.text("permissions.testUri", &values)
    };
    assert!(test("sip:1@c").contains("65, 108, 108"), "Allowed");
    assert!(test("sip:2@c").contains("68, 101, 110"), "Denied");
    assert_eq!(
        asked.text("permissions.allowUri", &["register".into()]),
        "500 - Not enough parameters (basename, URI and contact)"
    );
    assert_eq!(
        lines(&asked, "permissions.addressReload", &[]),
        ["Reload OK"]
    );
    assert_eq!(asked.fake.take_told(), ["reload permissions.address"]);
    assert_eq!(
        asked.text("permissions.trustedReload", &[]),
        "500 - Reload failed."
    );
}

#[test]
fn pipes_and_queues_are_shown_and_set() {
    let asked = asked();
    let limit = asked.fake.access.ratelimit.clone().unwrap();
    for _ in 0..3 {
        limit.check_method(b"REGISTER");
    }
    limit.tick();
    limit.check_pipe(0);
    assert_eq!(
        lines(&asked, "rl.get_pipes", &[]),
        ["PIPE[0]: 2:TAILDROP 3/5 (drop rate: 0) [1]"]
    );
    let stats = lines(&asked, "rl.stats", &[]);
    assert_eq!(stats.len(), 32);
    assert_eq!(stats[0], "PIPE[0]: 3/5 (drop rate: 0)");
    assert_eq!(stats[31], "PIPE[31]: 0/0 (drop rate: 0)");
    assert_eq!(
        lines(&asked, "rl.get_queues", &[]),
        ["QUEUE[0]: 0:REGISTER"]
    );
    let set = |method: &str, values: &[Value]| asked.text(method, values);
    assert_eq!(
        set("rl.set_pipe", &[Value::Int(1), "RED".into(), Value::Int(9)]),
        "[]"
    );
    assert_eq!(limit.pipes()[1].algorithm, Algorithm::Red);
    assert_eq!(
        set(
            "rl.set_pipe",
            &[Value::Int(1), "LIFO".into(), Value::Int(9)]
        ),
        "400 - Unknown algorithm"
    );
    assert_eq!(
        set(
            "rl.set_pipe",
            &[Value::Int(32), "RED".into(), Value::Int(9)]
        ),
        "400 - Unknown pipe"
    );
    assert!(
        set(
            "rl.set_pipe",
            &[Value::Int(1), "RED".into(), Value::Int(-9)]
        )
        .starts_with("400")
    );
    assert_eq!(
        set(
            "rl.set_queue",
            &[Value::Int(0), "INVITE".into(), Value::Int(1)]
        ),
        "[]"
    );
    assert_eq!(&*limit.queues()[0].method, b"INVITE");
    assert_eq!(
        set(
            "rl.set_queue",
            &[Value::Int(0), "INVITE".into(), Value::Int(99)]
        ),
        "400 - Invalid pipe number"
    );
    assert_eq!(
        set(
            "rl.set_queue",
            &[Value::Int(7), "INVITE".into(), Value::Int(1)]
        ),
        "400 - MAX_QUEUES reached"
    );
    assert_eq!(
        lines(&asked, "rl.get_pid", &[]),
        ["ki[-25.000000] kp[0.000000] kd[0.000000] "]
    );
    let half = Value::Double(0.5);
    assert_eq!(
        set("rl.set_pid", &[half.clone(), Value::Int(1), half.clone()]),
        "[]"
    );
    assert_eq!(
        lines(&asked, "rl.get_pid", &[]),
        ["ki[0.500000] kp[1.000000] kd[0.500000] "]
    );
    assert_eq!(set("rl.push_load", &[half]), "[]");
    assert_eq!(
        set("rl.push_load", &[Value::Double(1.5)]),
        "400 - Value out of range"
    );
}

#[test]
fn lists_are_shown_added_to_and_counted() {
    let asked = asked();
    let filter = asked.fake.access.secfilter.clone().unwrap();
    filter.check(RuleKind::UserAgent, Part::UserAgent, b"friendly-scanner/1");
    let stats = lines(&asked, "secfilter.stats", &[]);
    assert!(
        stats.contains(&"[+] By user-agent    : 1".to_owned()),
        "{stats:?}"
    );
    assert!(
        stats.contains(&"[+] By contact domain: 0".to_owned()),
        "{stats:?}"
    );
    assert_eq!(
        lines(
            &asked,
            "secfilter.add_bl",
            &["user".into(), "mallory".into()]
        ),
        ["Values (user, mallory) inserted into blacklist"]
    );
    assert_eq!(
        lines(&asked, "secfilter.add_wl", &["ua".into(), "phone".into()]),
        ["Values (ua, phone) inserted into whitelist"]
    );
    assert_eq!(
        lines(&asked, "secfilter.add_dst", &[Value::Int(555_123)]),
        ["Values (555123) inserted into blacklist destinations"]
    );
    for values in [
        vec![],
        vec!["x".into(), "y".into()],
        vec!["ua".into(), "".into()],
    ] {
        let refused = asked.text("secfilter.add_bl", &values);
        assert!(refused.starts_with("500"), "{refused}");
    }
    assert_eq!(
        lines(&asked, "secfilter.print", &["ua".into()]),
        [
            "",
            "User-agent",
            "==========",
            "[+] Blacklisted",
            "    -----------",
            "    0001 -> friendly-scanner",
            "",
            "[+] Whitelisted",
            "    -----------",
            "    0001 -> phone",
            "",
        ]
    );
    let all = lines(&asked, "secfilter.print", &[]);
    assert!(all.contains(&"Destinations".to_owned()) && all.contains(&"User".to_owned()));
    assert_eq!(
        lines(&asked, "secfilter.stats_reset", &[]),
        ["The statistics has been reset"]
    );
    let stats = lines(&asked, "secfilter.stats", &[]);
    assert!(
        stats.contains(&"[+] By user-agent    : 0".to_owned()),
        "{stats:?}"
    );
    assert_eq!(lines(&asked, "secfilter.reload", &[]), ["Data reloaded"]);
    assert_eq!(asked.fake.take_told(), ["reload secfilter"]);
}

#[test]
fn pike_shows_who_sends_too_much() {
    let asked = asked();
    let pike = asked.fake.access.pike.clone().unwrap();
    let flooder = IpAddr::from([192, 0, 2, 1]);
    for _ in 0..20 {
        pike.check(flooder, Instant::now());
    }
    for method in ["pike.top", "pike.list"] {
        let hot = asked.text(method, &[]);
        assert!(hot.contains("(\"max_hits\", Int(4))"), "{hot}");
        assert!(hot.contains("(\"number_of_rows\", Int(1))"), "{hot}");
        assert_eq!(
            hot,
            asked.text(method, &["all".into()]),
            "the only one is hot"
        );
        assert_eq!(
            asked.text(method, &["x".into()]),
            "500 - Bad argument. Select: ALL, HOT or WARM"
        );
    }
}
