//! Scripts that go wrong at run time.

use proptest::prelude::*;

use super::*;

fn end(text: &str) -> RouteEnd {
    let mut runtime = runtime(&format!("{MODULES} max_while_loops = 100000\n {text}"));
    run(&mut runtime, INVITE, &mut TestHost::default())
}

#[test]
fn endless_recursion_is_an_error() {
    assert_eq!(
        end("request_route { route(A); } route[A] { route(A); }"),
        RouteEnd::Failed
    );
    let nested = "if (1 + route(A)) { while (1) { switch (1) { case 1: route(A); } } }";
    assert_eq!(
        end(&format!(
            "request_route {{ route(A); }} route[A] {{ {nested} }}"
        )),
        RouteEnd::Failed
    );
}

#[test]
fn memory_for_one_message_is_bounded() {
    let grow = "$var(s) = \"0123456789\"; while (1) { $var(s) = $var(s) + $var(s); }";
    assert_eq!(
        end(&format!("request_route {{ {grow} }}")),
        RouteEnd::Failed
    );
    let grow = "while (1) { $avp(a) = $mb + $mb; $avp(a) = $null; }";
    assert_eq!(
        end(&format!("request_route {{ {grow} }}")),
        RouteEnd::Failed
    );
    let grow = "while (1) { $avp(a) = 1; }";
    assert_eq!(
        end(&format!("request_route {{ {grow} }}")),
        RouteEnd::Failed
    );
}

#[test]
fn a_long_loop_that_keeps_nothing_is_fine() {
    let turn = "while ($var(i) < 50000) { $var(i) += 1; $var(s) = $mb + $var(i); }";
    assert_eq!(
        end(&format!("request_route {{ {turn} }}")),
        RouteEnd::Finished
    );
}

#[test]
fn an_interpreter_that_failed_runs_the_next_message() {
    let mut runtime = runtime(
        "request_route { $var(n) += 1; if ($var(n) == 1) route(A); drop; } route[A] { route(A); }",
    );
    let mut host = TestHost::default();
    assert_eq!(run(&mut runtime, INVITE, &mut host), RouteEnd::Failed);
    assert_eq!(run(&mut runtime, INVITE, &mut host), RouteEnd::Drop);
}

const EVERYTHING: &str = r#"
    xlog("$rm $ru $rU $rd $rp $du $fu $tu $ci $cs $ua $rs $rr $si $sp $Ri $Rp $ml $fs");
    codec_encode("gzip", "$mb $rm $ru $rU $rd $rp $du $fu $tu $ci $cs $ua $rs $rr", $avp(a));
    codec_decode("gzip", $avp(a), $avp(a));
    codec_decode("gzip", $mb, $avp(a));
    $rU = $ua; $rd = $ci; $rp = $cs; $rp = $mb; $du = $fu; send();
    $ru = $fu; $rU = "u"; $rd = "h"; $rp = $ml; $du = $null; send(); send($ua); send("$rd:$rp");
    $fs = $ua;
    if ($mb =~ "a.*b" || $mb =~ $ua || uri == myself || $rd == myself || src_ip == 10.0.0.0/8)
        $var(n) = $mb + $cs * 3 - $ua;
    xlog("$mb");
"#;

proptest! {
    #[test]
    fn no_message_makes_a_script_fail(
        uri in "[ -~]{0,20}|sip:[a-z:@;.0-9\\[\\]]{0,20}",
        headers in "([A-Za-z-]{1,10}: ?[ -~]{0,30}\r\n|(From|To|Call-ID|CSeq|User-Agent): [ -~]{0,20}\r\n){0,6}",
        body in proptest::collection::vec(any::<u8>(), 0..100),
        is_reply: bool,
    ) {
        let mut runtime = runtime(&format!("{MODULES} request_route {{ {EVERYTHING} }} reply_route {{ {EVERYTHING} }}"));
        let start = if is_reply { "SIP/2.0 200 x".to_owned() } else { format!("INVITE {uri} SIP/2.0") };
        let mut message = format!("{start}\r\n{headers}\r\n").into_bytes();
        message.extend(body);
        if SipView::parse(&message).is_ok() {
            let end = run(&mut runtime, &message, &mut TestHost::default());
            prop_assert_eq!(end, RouteEnd::Finished);
        }
    }

    #[test]
    fn no_bytes_make_a_hook_fail(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut runtime = runtime(&format!(
            "{MODULES} modparam(\"corex\", \"nio_intercept\", 1)
             modparam(\"corex\", \"msg_avp\", \"$avp(m)\")
             event_route[network:msg] {{
                if ($mb =~ \"a.b\" && $mb =~ $mb || $mb == $ml || $mb + 1 > $ml)
                    xlog(\"$mb $ml\");
                if (codec_decode(\"gzip\", $mb, $avp(m))) exit;
                $avp(m) = $mb + $si + $mb;
             }}"
        ));
        let mut out = Vec::new();
        let outcome = runtime.run_network_msg(
            &env(), &message, Direction::Incoming, &mut TestHost::default(), &mut out,
        );
        prop_assert_eq!(outcome, HookOutcome::Replaced);
        let expected = [&message[..], b"192.0.2.1", &message[..]].concat();
        prop_assert_eq!(out, expected);
    }
}
