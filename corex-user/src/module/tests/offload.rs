//! Roads: what the kernel is told to do is what the interpreter does.

use std::net::IpAddr;

use corex_common::road::{KINDS, METHODS, OTHER, REPLY, hash_end, hash_group, source_hash};
use corex_script::offload::{
    Fate, Listener, ListenerPlan, Obstacle, Outcome, SourceClass, explain,
};
use proptest::prelude::*;

use super::*;

const TEXTOPS: &str = "loadmodule \"textops.so\"\n";

fn listener() -> Listener {
    Listener {
        name: "udp:192.0.2.2:5060".to_owned(),
        transport: Transport::Udp,
        address: Some(env().dst),
    }
}

fn plan_of(config: &Config) -> ListenerPlan {
    let mut plans = config.offload.plan(&config.settings, &[listener()]);
    plans.remove(0)
}

fn plan(text: &str) -> ListenerPlan {
    plan_of(&config(&format!("{MODULES}{TEXTOPS}{text}")))
}

/// The class that the longest prefix finds.
fn class(plan: &ListenerPlan, source: IpAddr) -> &SourceClass {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(_) => panic!("{ip}"),
    };
    let is_in = |class: &&SourceClass| {
        let (network, len) = class.network;
        (bits(network) ^ bits(source))
            .checked_shr(32 - u32::from(len))
            .unwrap_or(0)
            == 0
    };
    let found = plan.classes.iter().filter(is_in);
    found.max_by_key(|class| class.network.1).unwrap()
}

fn fate<'p>(plan: &'p ListenerPlan, source: &str, kind: usize) -> &'p Result<Fate, Obstacle> {
    &class(plan, source.parse().unwrap()).fates[kind]
}

fn to(address: &str) -> Outcome {
    Outcome::Send(address.parse().unwrap())
}

const INVITE_KIND: usize = 1;
const OPTIONS_KIND: usize = 5;

#[test]
fn a_constant_destination_is_a_road_for_requests_of_all_methods() {
    let plan = plan("request_route { send(\"192.0.2.9:5080\"); }");
    assert!(plan.obstacle.is_none() && plan.hook.is_none());
    for kind in 1..KINDS {
        assert_eq!(
            fate(&plan, "10.0.0.1", kind),
            &Ok(Fate::One(to("192.0.2.9:5080")))
        );
    }
    // What a Via names us is sent back, whatever the route did.
    let obstacle = fate(&plan, "10.0.0.1", REPLY).as_ref().unwrap_err();
    assert!(obstacle.reason.contains("Via"), "{obstacle:?}");
}

#[test]
fn a_reply_has_a_road_where_its_route_ends_with_drop() {
    let dropped = plan("reply_route { drop; }");
    assert_eq!(
        fate(&dropped, "10.0.0.1", REPLY),
        &Ok(Fate::One(Outcome::Drop))
    );
    let sent = plan("reply_route { send(\"192.0.2.9\"); drop; }");
    let fate = fate(&sent, "10.0.0.1", REPLY);
    assert_eq!(fate, &Ok(Fate::One(to("192.0.2.9:5060"))));
}

#[test]
fn sources_and_methods_choose_between_roads() {
    let plan = plan(
        "request_route {
            if (src_ip == 10.0.0.0/8 && !(src_ip == 10.1.0.0/16)) send(\"192.0.2.9:1\");
            else if ($si == \"198.51.100.7\" || is_method(\"OPTIONS|PING\")) send(\"192.0.2.9:2\");
            else drop;
        }",
    );
    for (source, kind, expected) in [
        ("10.9.9.9", INVITE_KIND, to("192.0.2.9:1")),
        ("10.1.9.9", INVITE_KIND, Outcome::Drop),
        ("10.1.9.9", OPTIONS_KIND, to("192.0.2.9:2")),
        ("198.51.100.7", INVITE_KIND, to("192.0.2.9:2")),
        ("198.51.100.8", INVITE_KIND, Outcome::Drop),
        ("198.51.100.8", OPTIONS_KIND, to("192.0.2.9:2")),
        ("10.9.9.9", OTHER, to("192.0.2.9:1")),
    ] {
        assert_eq!(
            fate(&plan, source, kind),
            &Ok(Fate::One(expected)),
            "{source} {kind}"
        );
    }
    // PING may be the method.
    assert!(fate(&plan, "198.51.100.8", OTHER).is_err());
}

#[test]
fn a_hash_of_the_source_chooses_one_of_constant_destinations() {
    let plan = plan(
        "request_route {
            switch ($(si{s.corehash,4})) {
                case 0: send(\"192.0.2.9:1\"); break;
                case \"1\": send(\"192.0.2.9:2\"); break;
                default: send(\"192.0.2.9:3\");
            }
        }",
    );
    let choices = ["1", "2", "3", "3"].map(|port| to(&format!("192.0.2.9:{port}")));
    assert_eq!(
        fate(&plan, "10.0.0.1", INVITE_KIND),
        &Ok(Fate::BySource(choices.to_vec()))
    );
}

#[test]
fn a_hash_of_the_call_id_chooses_one_of_constant_destinations() {
    let text = "request_route {
            if ($(ci{s.corehash,2}) == 1) send(\"192.0.2.9:1\"); else send(\"192.0.2.9:2\");
        }";
    let by_call_id = plan(text);
    let choices = ["2", "1"].map(|port| to(&format!("192.0.2.9:{port}")));
    let expected = Ok(Fate::ByCallId(choices.to_vec()));
    assert_eq!(fate(&by_call_id, "10.0.0.1", INVITE_KIND), &expected);
    let text = explain(&[by_call_id], 0);
    assert!(text.contains("in the kernel, by a hash of the Call-ID:\n    0: send to 192.0.2.9:2"));
    // Not by both at once, nor by the Call-ID itself.
    for text in [
        "request_route { if ($(ci{s.corehash,2}) == $(si{s.corehash,2})) drop; }",
        "request_route { if ($(ci{s.corehash,2}) == $(ci{s.corehash,4})) drop; }",
        "request_route { if ($(ci{s.corehash,3}) == 1) drop; }",
        "request_route { if ($ci == \"1@x\") drop; }",
    ] {
        let plan = plan(text);
        assert!(fate(&plan, "10.0.0.1", INVITE_KIND).is_err(), "{text}");
    }
}

#[test]
fn what_needs_the_message_or_user_space_is_in_the_way_with_its_place() {
    for (statements, at, reason) in [
        (
            "if ($rU == \"bob\") drop; send(\"192.0.2.9\");",
            "4:21",
            "$rU",
        ),
        ("send(\"192.0.2.9\"); xlog(\"x\");", "4:36", "xlog()"),
        ("send(\"proxy.example.com\");", "4:17", "constant address"),
        (
            "send(\"192.0.2.9\"); send(\"192.0.2.8\");",
            "4:36",
            "more than once",
        ),
        (
            "send(\"[2001:db8::1]:5060\");",
            "4:17",
            "other address family",
        ),
        ("send(\"255.255.255.255\");", "4:17", "one other host"),
        ("$var(a) = 1; send(\"192.0.2.9\");", "4:17", "variables"),
        ("while (1) { drop; }", "4:17", "loop"),
        ("if (msg:len > 9) drop;", "4:20", "msg:len"),
        ("forward();", "4:17", "forward()"),
        (
            "if ($(si{s.corehash,3}) == 0) drop;",
            "4:21",
            "another size",
        ),
    ] {
        // The statements are in the fourth line.
        let text = format!("{MODULES}request_route {{ {statements} }}");
        let plan = plan_of(&config(&text));
        let obstacle = fate(&plan, "10.0.0.1", INVITE_KIND).as_ref().unwrap_err();
        assert_eq!(obstacle.place, format!("test.cfg:{at}"), "{statements}");
        assert!(obstacle.reason.contains(reason), "{obstacle:?}");
        assert!(!obstacle.remedy.is_empty());
    }
}

#[test]
fn what_looks_at_acks_keeps_them() {
    let plan = plan("loadmodule \"sl.so\" request_route { send(\"192.0.2.9\"); }");
    assert!(fate(&plan, "10.0.0.1", INVITE_KIND).is_ok());
    let ack = METHODS
        .iter()
        .position(|method| *method == b"ACK ")
        .unwrap();
    assert!(fate(&plan, "10.0.0.1", REPLY + 1 + ack).is_err());
}

#[test]
fn what_answers_options_keeps_them_and_what_copies_messages_keeps_all() {
    let pinged =
        plan("modparam(\"corex\", \"options_ping\", 1) request_route { send(\"192.0.2.9\"); }");
    assert!(fate(&pinged, "10.0.0.1", INVITE_KIND).is_ok());
    assert!(fate(&pinged, "10.0.0.1", OPTIONS_KIND).is_err());
    let text =
        format!("{MODULES}loadmodule \"siptrace.so\"\nrequest_route {{ send(\"192.0.2.9\"); }}");
    // Its collector may be missing, which is worth a warning.
    if let Some(config) = load_str("test.cfg", &text).config {
        assert!(plan_of(&config).obstacle.is_some());
    }
}

#[test]
fn a_hook_leaves_roads_to_short_messages() {
    let plan = plan(
        "modparam(\"corex\", \"network_io_intercept\", 1)
         modparam(\"corex\", \"min_msg_len\", 200)
         modparam(\"corex\", \"msg_avp\", \"$avp(m)\")
         event_route[network:msg] { $avp(m) = $mb; }
         request_route { send(\"192.0.2.9\"); }",
    );
    assert!(plan.hook.is_some());
    assert!(fate(&plan, "10.0.0.1", INVITE_KIND).is_ok());
    let text = explain(&[plan], 200);
    assert!(
        text.contains("messages of 200 bytes or more: in user space, test.cfg:8:10"),
        "{text}"
    );
    assert!(text.contains("shorter messages"), "{text}");
}

#[test]
fn listeners_without_a_certain_address_or_datagrams_have_no_roads() {
    let config = config(&format!(
        "{MODULES}request_route {{ send(\"192.0.2.9\"); }}"
    ));
    let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
    for (transport, address) in [
        (Transport::Udp, address("0.0.0.0:5060")),
        (Transport::Udp, address("[fe80::1]:5060")),
        (Transport::Udp, None),
        (Transport::Tcp, address("192.0.2.2:5060")),
    ] {
        let listener = Listener {
            transport,
            address,
            ..listener()
        };
        let plans = config.offload.plan(&config.settings, &[listener]);
        assert!(
            plans[0].obstacle.is_some() && plans[0].classes.is_empty(),
            "{address:?}"
        );
    }
}

#[test]
fn people_are_told_what_becomes_of_messages_and_what_is_in_the_way() {
    let plan = plan(
        "request_route {
            if (src_ip == 10.0.0.0/8) { send(\"192.0.2.9:1\"); exit; }
            if (method == \"OPTIONS\") drop;
            forward();
        }",
    );
    let text = explain(&[plan], 0);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for expected in [
        "udp:192.0.2.2:5060",
        "from 10.0.0.0/8",
        "from elsewhere",
        "OPTIONS: in the kernel, drop",
        "remedy: send, exit or drop before this, or call it for fewer messages",
    ] {
        assert!(lines.contains(&expected), "{expected}: {text}");
    }
    assert!(
        text.contains("test.cfg:8:13: forward() runs in user space"),
        "{text}"
    );
}

/// Conditions, of which the kernel can decide most.
fn condition() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(
        &[
            "src_ip == 10.0.0.0/8",
            "src_ip != 10.1.0.0/16",
            "$si == \"10.1.2.3\"",
            "$si != \"198.51.100.7\"",
            "src_ip == 0.0.0.0/0",
            "method == \"INVITE\"",
            "$rm != \"OPTIONS\"",
            "$rm == \"FOO\"",
            "is_method(\"bye|ack | OPTIONS\")",
            "is_method(\"FOO\")",
            "dst_port == 5060",
            "$Ri == \"192.0.2.2\"",
            "$Ri == 192.0.2.0/24",
            "proto == UDP",
            "$(si{s.corehash,4}) == 2",
            "$(si{s.corehash,4}) == \"0\"",
            "$(si{s.corehash,2}) == 1",
            "$retcode == 1",
            "route(INNER)",
            "$ua == \"test/1\"",
            "5",
            "0",
            "-1",
            "\"7\"",
            "send(\"192.0.2.9:7\")",
        ][..],
    )
    .prop_map(str::to_owned);
    plain.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("!({inner})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) || ({b})")),
        ]
    })
}

fn statements() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(
        &[
            "send(\"192.0.2.9:1\");",
            "send(\"192.0.2.9\");",
            "send(\"192.0.2.9:2\"); exit;",
            "send(\"192.0.2.9:3\"); drop;",
            "exit;",
            "drop;",
            "return;",
            "return -1;",
            "return 0;",
            "route(INNER);",
            "$var(x) = 1;",
            "xlog(\"L_DBG\", \"x\");",
            "",
        ][..],
    )
    .prop_map(str::to_owned);
    plain.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} {b}")),
            (condition(), inner.clone(), inner.clone())
                .prop_map(|(c, a, b)| format!("if ({c}) {{ {a} }} else {{ {b} }}")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!(
                "switch ($rm) {{ case \"INVITE\": {a} case \"BYE\": {b} break; default: {c} }}"
            )),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!(
                "if ($(ci{{s.corehash,8}}) == 5 || $(ci{{s.corehash,8}}) == \"2\") {{ {a} }} {b}"
            )),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!(
                "switch ($(si{{s.corehash,4}})) {{ case 0: {a} break; case \"3\": {b} default: {c} }}"
            )),
        ]
    })
}

/// Kamailio's hash of a text of ASCII.
fn hash_of(text: &str) -> u32 {
    let groups = text.as_bytes().chunks(4);
    let groups = groups.map(|group| {
        group
            .iter()
            .fold(0, |word, byte| word << 8 | u32::from(*byte))
    });
    hash_end(groups.fold(0, hash_group))
}

/// A message of a kind.
fn message(kind: usize, call_id: &str) -> Vec<u8> {
    let rest = format!(
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nUser-Agent: test/1\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    );
    let line = match kind {
        REPLY => "SIP/2.0 200 OK".to_owned(),
        OTHER => "FOO sip:bob@example.com SIP/2.0".to_owned(),
        kind => {
            let method = String::from_utf8_lossy(METHODS[kind - 1]);
            format!("{method}sip:bob@example.com SIP/2.0")
        }
    };
    format!("{line}\r\n{rest}").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_is_told_what_the_interpreter_does(
        request in statements(),
        reply in statements(),
        inner in prop::sample::select(&[
            "return 1;", "return -1;", "if (src_ip == 10.0.0.0/8) return 2; return -2;", "drop;",
            "send(\"192.0.2.9:4\");",
        ][..]),
        sources in prop::collection::vec(
            prop::sample::select(&["10.1.2.3", "10.1.2.4", "10.200.0.1", "198.51.100.7", "9.9.9.9"][..]),
            2,
        ),
        kinds in prop::collection::vec(0..KINDS, 4),
        call_id in "[a-z0-9@.]{1,12}",
    ) {
        let text = format!(
            "{MODULES}{TEXTOPS} request_route {{ {request} }} reply_route {{ {reply} }}
             route[INNER] {{ {inner} }}"
        );
        // A computed label or the like may be refused: then there is nothing to compare.
        let Some(config) = load_str("test.cfg", &text).config else { return Ok(()) };
        let plan = plan_of(&config);
        prop_assert!(plan.obstacle.is_none());
        let mut runtime = Runtime::new(Arc::clone(&config.program), 0);
        for source in sources {
            for kind in &kinds {
                let source: std::net::Ipv4Addr = source.parse().unwrap();
                let told = match &class(&plan, source.into()).fates[*kind] {
                    Err(_) => continue,
                    Ok(Fate::One(outcome)) => *outcome,
                    Ok(Fate::BySource(outcomes)) => {
                        outcomes[source_hash(source.octets(), outcomes.len() as u32 - 1) as usize]
                    }
                    Ok(Fate::ByCallId(outcomes)) => {
                        outcomes[hash_of(&call_id) as usize % outcomes.len()]
                    }
                };
                let bytes = message(*kind, &call_id);
                let view = SipView::parse(&bytes).unwrap();
                let mut host = TestHost {
                    message: Some((bytes.as_ptr() as usize, bytes.len())),
                    ..TestHost::default()
                };
                let mut env = env();
                env.src.set_ip(source.into());
                runtime.begin_message();
                let end = runtime.run_route(&env, &view, &mut host);
                let does = match (host.sent.as_slice(), end) {
                    ([sent], _) => {
                        prop_assert!(sent.in_place && sent.purpose == Purpose::Message);
                        to(&sent.to)
                    }
                    ([], RouteEnd::Drop) => Outcome::Drop,
                    ([], RouteEnd::Finished) => Outcome::Unrouted,
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(told, does, "{} from {}: {}", kind, source, text);
            }
        }
    }
}
