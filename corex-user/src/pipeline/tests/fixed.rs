//! Messages for which no route is run, since the configuration alone says what becomes of them: the
//! same as if it were.

use super::*;
use proptest::prelude::*;

/// Configurations of which some messages have a fixed fate and others none.
fn bodies() -> Vec<String> {
    let routes = [
        "request_route { send(\"10.0.0.8\"); exit; }",
        "request_route { send_udp(\"10.0.0.8:5080\"); } reply_route { drop; }",
        "request_route { drop; } reply_route { send(\"10.0.0.7\"); drop; }",
        "request_route { if (is_method(\"INVITE|ACK\")) { send(\"10.0.0.8\"); exit; }\n\
         if (src_ip == 10.0.0.9) { send(\"10.0.0.7\"); } else { drop; } }",
        "request_route { if (method == \"OPTIONS\") { send(\"10.0.0.8\"); }\n\
         if ($rU == \"a\") { send(\"10.0.0.7\"); } }",
        "request_route { if (!send(\"10.0.0.7\")) { send(\"10.0.0.8\"); } }",
        "request_route { if (send(\"[fd00::8]\")) { exit; } send(\"10.0.0.8\"); }",
        "request_route { $var(n) = $var(n) + 1; if ($var(n) > 3) send(\"10.0.0.8\"); }",
        "request_route { if (src_ip == 10.0.0.0/24) { if (src_ip == 10.0.0.9) drop;\n\
         send(\"10.0.0.8\"); } }",
        "reply_route { send(\"10.0.0.8\"); }",
    ];
    let hooks = [
        String::new(),
        format!("{HOOKED}event_route[network:msg] {{ $avp(msg) = $mb; }}\n"),
        format!("{HOOKED}event_route[network:msg] {{ $avp(msg) = $mb + \"x\"; }}\n"),
        format!(
            "{HOOKED}modparam(\"corex\", \"min_msg_len\", 60)\n\
             event_route[network:msg] {{ $var(h) = $var(h) + 1; $avp(msg) = \"OPTIONS sip:h$var(h) \
             SIP/2.0\\r\\nX: 1\\r\\n\\r\\n\"; }}\n"
        ),
    ];
    let modules = "loadmodule \"textops.so\"\nloadmodule \"pv.so\"\n";
    let text = |(hook, route): (&String, &&str)| format!("{HEAD}{modules}{hook}{route}\n");
    let hooks = hooks.iter();
    hooks
        .flat_map(|hook| routes.iter().map(move |route| (hook, route)))
        .map(text)
        .collect()
}

/// What a message says first, and where it comes from.
fn messages() -> impl Strategy<Value = Vec<(String, [u8; 4], u8)>> {
    let line = proptest::sample::select(vec![
        "INVITE sip:a@b SIP/2.0",
        "ACK sip:a@b SIP/2.0",
        "OPTIONS sip:b SIP/2.0",
        "options sip:a@b SIP/2.0",
        "PUBLISHED sip:a@b SIP/2.0",
        "AVERYVERYLONGMETHOD sip:a@b SIP/2.0",
        "SIP/2.0 200 OK",
        "NONSENSE",
    ]);
    let source = proptest::sample::select(vec![[10, 0, 0, 9], [10, 0, 0, 5], [192, 0, 2, 1]]);
    let ttl = prop_oneof![9 => Just(64_u8), 1 => Just(1)];
    let message =
        (line, proptest::bool::ANY, source, ttl).prop_map(|(line, is_long, source, ttl)| {
            let fill = if is_long {
                "X: 0123456789012345678901234567890123456789\r\n"
            } else {
                ""
            };
            (format!("{line}\r\n{fill}\r\n"), source, ttl)
        });
    proptest::collection::vec(message, 1..12)
}

/// What left, and the books, but for how long things took. With `fails` the kernel refuses some.
fn outcome(
    mut pipeline: Pipeline,
    messages: &[(String, [u8; 4], u8)],
    fails: bool,
) -> (Vec<Left>, Vec<u64>) {
    let mut egress = Recorder::default();
    for (number, (message, source, ttl)) in messages.iter().enumerate() {
        egress.refuse = (fails && number % 3 == 0)
            .then_some(TransmitError::Kernel(std::io::ErrorKind::PermissionDenied));
        let inbound = Inbound {
            source: (*source, 5060).into(),
            ttl: Some(*ttl),
            ..inbound(message.as_bytes())
        };
        pipeline.receive(inbound, &mut egress);
    }
    (egress.left, pipeline.counters.values().to_vec())
}

#[test]
fn some_messages_have_a_fixed_fate_and_it_shows_in_nothing() {
    let text = request_route("send(\"10.0.0.8\"); exit;");
    let is_fixed = |fixed: &Fixed| {
        let line = corex_sip::StartLine::parse(REQUEST).unwrap();
        let outcome = fixed.outcome(SocketId(0), [10, 0, 0, 9].into(), &line);
        outcome.is_some()
    };
    let with = pipeline(&text);
    assert!(is_fixed(&with.context().fixed));
    assert!(!is_fixed(&Fixed::default()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_leaves_and_the_books_are_the_same_with_and_without_running_the_route(
        text in proptest::sample::select(bodies()),
        messages in messages(),
        fails: bool,
    ) {
        let with = outcome(pipeline(&text), &messages, fails);
        let without = outcome(pipeline_with(&text, |_, _| Fixed::default()), &messages, fails);
        prop_assert_eq!(with, without, "{}", text);
    }
}
