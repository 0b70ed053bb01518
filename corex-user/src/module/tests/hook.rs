//! event_route[network:msg].

use super::*;
use proptest::prelude::*;

fn hook(body: &str) -> Runtime {
    runtime(&format!(
        "{MODULES} modparam(\"corex\", \"network_io_intercept\", 1)
         modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")
         event_route[network:msg] {{ {body} }}"
    ))
}

fn pass(runtime: &mut Runtime, message: &[u8], direction: Direction) -> (HookOutcome, Vec<u8>) {
    let mut out = Vec::new();
    runtime.begin_message();
    let outcome = runtime.run_network_msg(
        &env(),
        message,
        direction,
        &mut TestHost::default(),
        &mut out,
    );
    (outcome, out)
}

#[test]
fn a_string_in_the_avp_replaces_the_message() {
    let mut runtime = hook("$avp(msg) = $mb + \"!\";");
    let result = pass(&mut runtime, b"a\0b", Direction::Incoming);
    assert_eq!(result, (HookOutcome::Replaced, b"a\0b!".to_vec()));
}

#[test]
fn the_untouched_message_in_the_avp_is_unchanged() {
    let mut runtime = hook("$avp(msg) = $mb;");
    assert_eq!(
        pass(&mut runtime, b"bytes", Direction::Outgoing).0,
        HookOutcome::Unchanged
    );
    let mut runtime = hook("$avp(msg) = \"\" + $mb + \"\";");
    assert_eq!(
        pass(&mut runtime, b"bytes", Direction::Outgoing).0,
        HookOutcome::Unchanged
    );
}

#[test]
fn an_unset_avp_and_an_integer_leave_the_message_and_are_told_apart_from_it() {
    let mut runtime = hook("$var(x) = 1;");
    assert_eq!(
        pass(&mut runtime, b"bytes", Direction::Incoming).0,
        HookOutcome::Unset
    );
    let mut runtime = hook("$avp(msg) = 5;");
    assert_eq!(
        pass(&mut runtime, b"bytes", Direction::Incoming).0,
        HookOutcome::Unset
    );
    let mut runtime = hook("$avp(msg) = $mb; $avp(msg) = $null;");
    assert_eq!(
        pass(&mut runtime, b"bytes", Direction::Incoming).0,
        HookOutcome::Unset
    );
}

#[test]
fn the_empty_string_is_its_own_outcome() {
    let mut runtime = hook("$avp(msg) = \"\";");
    assert_eq!(
        pass(&mut runtime, b"bytes", Direction::Incoming).0,
        HookOutcome::Empty
    );
}

#[test]
fn the_result_may_have_65535_bytes_and_no_more() {
    let mut runtime = hook("$avp(msg) = $mb + \"x\";");
    let fits = pass(&mut runtime, &[b'a'; 65_534], Direction::Incoming);
    assert_eq!((fits.0, fits.1.len()), (HookOutcome::Replaced, 65_535));
    let (outcome, out) = pass(&mut runtime, &[b'a'; 65_535], Direction::Incoming);
    assert_eq!((outcome, out.len()), (HookOutcome::TooLong, 0));
}

#[test]
fn a_script_error_is_an_outcome_and_the_next_message_is_fine() {
    let mut runtime = hook("$avp(msg) = \"x\" + 1 / ($ml - 3);");
    assert_eq!(
        pass(&mut runtime, b"abc", Direction::Incoming).0,
        HookOutcome::Failed
    );
    assert_eq!(pass(&mut runtime, b"abcd", Direction::Incoming).1, b"x1");
}

#[test]
fn exit_and_drop_end_the_hook_with_what_the_avp_holds() {
    for end in ["exit;", "drop;", "return;"] {
        let mut runtime = hook(&format!("$avp(msg) = \"x\"; {end} $avp(msg) = \"y\";"));
        assert_eq!(
            pass(&mut runtime, b"bytes", Direction::Incoming).1,
            b"x",
            "{end}"
        );
    }
}

#[test]
fn is_incoming_tells_the_direction() {
    let mut runtime = hook("if (is_incoming()) $avp(msg) = \"in\"; else $avp(msg) = \"out\";");
    assert_eq!(pass(&mut runtime, b"bytes", Direction::Incoming).1, b"in");
    assert_eq!(pass(&mut runtime, b"bytes", Direction::Outgoing).1, b"out");
}

#[test]
fn the_avp_is_cleared_after_each_hook() {
    let mut runtime = hook("if ($mb == \"set\") $avp(msg) = \"old\";");
    let mut out = Vec::new();
    let mut host = TestHost::default();
    runtime.begin_message();
    let mut run = |message: &[u8]| {
        runtime.run_network_msg(&env(), message, Direction::Incoming, &mut host, &mut out)
    };
    assert_eq!(run(b"set"), HookOutcome::Replaced);
    assert_eq!(run(b"not"), HookOutcome::Unset);
}

#[test]
fn without_a_hook_messages_are_unchanged() {
    let mut runtime = runtime("request_route { exit; }");
    assert_eq!(
        pass(&mut runtime, b"bytes", Direction::Incoming).0,
        HookOutcome::Unchanged
    );
}

/// Example 1.14 of the corex documentation, with native codecs in place of Perl.
const EXAMPLE: &str = r#"
    if (is_incoming()) {
        if (codec_decode("gzip", "" + $mb + "", "$avp(msg)")) {
            xlog("L_INFO", "Received message '$avp(msg)' \n");
        } else {
            xlog("L_INFO", "Received message '$mb' \n");
            $avp(msg) = $mb;
        };
    } else {
        xlog("L_INFO", "Sending message '$mb' \n");
        if (!codec_encode("gzip", "" + $mb + "", "$avp(msg)")) {
            $avp(msg) = $mb;
        };
    };
"#;

#[test]
fn the_documented_example_compresses_what_leaves_and_restores_what_comes() {
    let mut runtime = hook(EXAMPLE);
    let (outcome, packed) = pass(&mut runtime, INVITE, Direction::Outgoing);
    assert_eq!(outcome, HookOutcome::Replaced);
    assert!(packed.len() < INVITE.len() && packed.starts_with(b"\x1f\x8b"));
    let (outcome, restored) = pass(&mut runtime, &packed, Direction::Incoming);
    assert_eq!(
        (outcome, restored.as_slice()),
        (HookOutcome::Replaced, INVITE)
    );
    let plain = pass(&mut runtime, INVITE, Direction::Incoming);
    assert_eq!(plain.0, HookOutcome::Unchanged);
}

#[test]
fn a_hook_within_send_shares_avps_and_vars_and_keeps_its_message_to_itself() {
    let mut runtime = runtime(&format!(
        "{MODULES} modparam(\"corex\", \"network_io_intercept\", 1)
         modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")
         event_route[network:msg] {{
            $var(n) += 1;
            $avp(note) = \"from \" + \"the hook\";
            $var(last) = $mb;
            $avp(msg) = \"<\" + $mb + $avp(mark) + \">\";
         }}
         request_route {{
            $avp(mark) = \"#\" + \"1\";
            $du = \"sip:\" + \"192.0.2.9\";
            if (\"a\" + \"b\" + send() == \"ab1\" && $var(n) == 1 && $avp(note) == \"from the hook\"
                && $var(last) == $mb && $du == \"sip:192.0.2.9\" && !(defined $avp(msg)))
                send(\"good\");
         }}"
    ));
    let mut host = TestHost {
        runs_hook: true,
        ..TestHost::default()
    };
    assert_eq!(run(&mut runtime, INVITE, &mut host), RouteEnd::Finished);
    assert_eq!(host.sent.len(), 2);
    assert!(host.sent.iter().all(|sent| sent.in_place));
    assert_eq!(host.sent[0].to, "192.0.2.9:5060");
    assert_eq!(host.sent[1].to, "good:5060 by name");
    let expected = [b"<", INVITE, b"#1>"].concat();
    assert_eq!(host.hooked[0], (HookOutcome::Replaced, expected));
}

#[test]
fn an_avp_keeps_what_it_had_of_a_message_while_another_one_is_run_on() {
    let mut runtime = runtime(&format!(
        "{MODULES} modparam(\"corex\", \"network_io_intercept\", 1)
         modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")
         event_route[network:msg] {{
            if ($avp(first) == $null) {{ $avp(first) = $mb; $avp(head) = $(mb{{s.substr,0,3}}); }}
            $avp(msg) = $avp(first) + $avp(head) + $avp(whole);
         }}
         request_route {{ $avp(whole) = $mb; send_data(\"sip:192.0.2.9\", \"data\"); }}"
    ));
    let mut host = TestHost {
        runs_hook: true,
        ..TestHost::default()
    };
    let mut out = Vec::new();
    runtime.begin_message();
    let mut incoming = |message: &[u8]| {
        let way = Direction::Incoming;
        let outcome = runtime.run_network_msg(&env(), message, way, &mut host, &mut out);
        (outcome, out.clone())
    };
    let first = (HookOutcome::Replaced, b"one more bytesone".to_vec());
    assert_eq!(incoming(b"one more bytes"), first);
    assert_eq!(incoming(b"another message altogether"), first);
    let view = SipView::parse(INVITE).unwrap();
    runtime.run_route(&env(), &view, &mut host);
    let expected = [b"one more bytesone", INVITE].concat();
    assert_eq!(host.hooked, [(HookOutcome::Replaced, expected)]);
}

#[test]
fn avps_may_have_parts_of_the_message() {
    let mut runtime = hook(
        "$avp(a) = $mb; $avp(b) = $(mb{s.substr,2,0}); $avp(a) = $null;
         $avp(msg) = $avp(b) + $avp(b) + $avp(a);",
    );
    let result = pass(&mut runtime, b"12345", Direction::Incoming);
    assert_eq!(result, (HookOutcome::Replaced, b"345345".to_vec()));
}

/// What a hook does that copies `$mb`, which the interpreter is told and doesn't run: the same hook,
/// and one that is not taken for it.
const COPIES: [&str; 2] = ["$avp(msg) = $mb;", "if (1 == 1) { $avp(msg) = $mb; }"];

proptest! {
    #[test]
    fn a_hook_that_needs_not_run_does_what_it_would_do(
        messages in proptest::collection::vec((0usize..5, any::<u8>()), 1..6),
        nested in any::<bool>(),
    ) {
        let results = COPIES.map(|copy| {
            let mut runtime = runtime(&format!(
                "{MODULES} modparam(\"corex\", \"network_io_intercept\", 1)
                 modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")
                 event_route[network:msg] {{ {copy} }}
                 request_route {{
                    $avp(msg) = \"left\";
                    $avp(other) = $mb;
                    send(\"192.0.2.9\");
                    if (!(defined $avp(msg)) && $avp(other) == $mb) send(\"192.0.2.10\");
                 }}"
            ));
            let mut host = TestHost { runs_hook: nested, ..TestHost::default() };
            let mut outcomes = Vec::new();
            for (size, byte) in &messages {
                let len = [0, 1, 700, 65_535, 65_536][*size];
                let mut out = Vec::new();
                let message = vec![*byte; len];
                let way = Direction::Incoming;
                runtime.begin_message();
                let outcome = runtime.run_network_msg(&env(), &message, way, &mut host, &mut out);
                outcomes.push((outcome, out));
                let view = SipView::parse(INVITE).unwrap();
                runtime.run_route(&env(), &view, &mut host);
            }
            (outcomes, host.sent, host.hooked)
        });
        let [copied, run] = results;
        prop_assert_eq!(copied, run);
    }
}

#[test]
fn a_hook_that_needs_not_run_fails_where_it_would() {
    for copy in COPIES {
        // As many AVPs as there may be, so that there is no place for one more.
        let mut runtime = runtime(&format!(
            "max_while_loops=2000
             {MODULES} modparam(\"corex\", \"network_io_intercept\", 1)
             modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")
             event_route[network:msg] {{ {copy} }}
             request_route {{
                $var(i) = 0;
                while ($var(i) < 1024) {{ $avp(x) = 1; $var(i) = $var(i) + 1; }}
                send(\"192.0.2.9\");
             }}"
        ));
        let mut host = TestHost {
            runs_hook: true,
            ..TestHost::default()
        };
        run(&mut runtime, INVITE, &mut host);
        assert_eq!(host.hooked, [(HookOutcome::Failed, Vec::new())], "{copy}");
    }
}
