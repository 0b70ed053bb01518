//! Functions of modules.

use super::*;
use crate::module::xlog_line;

fn sent(statements: &str) -> Vec<Sent> {
    let mut runtime = runtime(&format!("{MODULES} request_route {{ {statements} }}"));
    let mut host = TestHost::default();
    assert_eq!(run(&mut runtime, INVITE, &mut host), RouteEnd::Finished);
    host.sent
}

#[test]
fn send_hands_over_the_message_itself() {
    let all = sent("send(\"192.0.2.9\");");
    assert!(all[0].in_place);
    assert_eq!((all[0].payload.as_slice(), all[0].socket), (INVITE, None));
}

#[test]
fn send_takes_host_and_port() {
    for (argument, to) in [
        ("192.0.2.9", "192.0.2.9:5060"),
        ("192.0.2.9:5070", "192.0.2.9:5070"),
        ("[2001:db8::1]", "[2001:db8::1]:5060"),
        ("[2001:db8::1]:5070", "[2001:db8::1]:5070"),
        ("sip.example.com:5070", "sip.example.com:5070 by name"),
        ("sip.example.com", "sip.example.com:5060 by name"),
        ("$rd", "example.com:5060 by name"),
        ("$rd:$rp", "example.com:5070 by name"),
    ] {
        let script = format!("if (send(\"{argument}\") != 1) drop;");
        let all = sent(&script);
        assert_eq!(all.len(), 1, "{argument}");
        assert_eq!(all[0].to, to, "{argument}");
    }
    assert_eq!(sent("send_udp(\"192.0.2.\" + 9);")[0].to, "192.0.2.9:5060");
}

#[test]
fn send_without_a_parameter_goes_to_du_else_to_the_request_uri() {
    assert_eq!(sent("send();")[0].to, "example.com:5070 by name");
    assert_eq!(sent("send(\"\");")[0].to, "example.com:5070 by name");
    assert_eq!(
        sent("$ru = \"sip:a@192.0.2.9\"; send();")[0].to,
        "192.0.2.9:5060"
    );
    assert_eq!(
        sent("$du = \"sip:[2001:db8::1]:99\"; send();")[0].to,
        "[2001:db8::1]:99"
    );
}

#[test]
fn a_destination_that_is_none_makes_send_false() {
    for statement in [
        "$var(r) = send(\"a b\");",
        "$var(r) = send(\"host:\");",
        "$var(r) = send(\"host:0\");",
        "$var(r) = send(\"host:65536\");",
        "$var(r) = send(\"host:12x\");",
        "$var(r) = send(\":5060\");",
        "$var(r) = send(\"[::1\");",
        "$var(r) = send(\"[::1]x\");",
        "$du = \"http:a\"; $var(r) = send();",
        "$du = \"sip:a@b;transport=ipx\"; $var(r) = send();",
        "$du = \"tel:+12345\"; $var(r) = send();",
    ] {
        let script = format!("{statement} if ($var(r) == -1) send(\"right\");");
        let all = sent(&script);
        assert_eq!(all.len(), 1, "{statement}");
        assert_eq!(all[0].to, "right:5060 by name", "{statement}");
    }
    let script = "if (!send()) send(\"right\");";
    assert_eq!(says_on(OK, "", script), ["right"]);
}

#[test]
fn what_the_host_refuses_makes_send_false() {
    let mut runtime = runtime(&format!(
        "{MODULES} request_route {{ if (send(\"192.0.2.9\")) exit; drop; }}"
    ));
    let mut host = TestHost {
        refuses: Some(SendError::NoSocket),
        ..TestHost::default()
    };
    assert_eq!(run(&mut runtime, INVITE, &mut host), RouteEnd::Drop);
}

#[test]
fn codecs_survive_any_bytes_and_reuse_their_output_variable() {
    let before = "codec_encode(\"gzip\", $mb, $avp(x)); codec_decode(\"gzip\", $avp(x), $avp(x)); \
                  codec_encode(\"gzip\", $avp(x) + \"+\", $var(y)); \
                  codec_decode(\"gzip\", $var(y), \"$var(y)\");";
    let expected = format!("{}+", String::from_utf8_lossy(INVITE));
    assert_eq!(route_value(INVITE, before, "$var(y)"), expected);
}

#[test]
fn a_codec_that_fails_is_false_and_leaves_its_output_alone() {
    let before = "$var(y) = \"old\"; $var(r) = codec_decode(\"gzip\", $mb, $var(y));";
    assert_eq!(route_value(INVITE, before, "$var(y) + $var(r)"), "old-1");
}

#[test]
fn max_output_bounds_what_a_codec_yields() {
    let mut runtime = runtime(&format!(
        "{MODULES} modparam(\"codec\", \"max_output\", 100)
         request_route {{
            $var(long) = \"{}\";
            if (codec_encode(\"gzip\", $var(long), $var(z))) {{
                if (codec_decode(\"gzip\", $var(z), $var(y))) exit;
                drop;
            }}
         }}",
        "a".repeat(101)
    ));
    let end = run(&mut runtime, INVITE, &mut TestHost::default());
    assert_eq!(end, RouteEnd::Drop);
}

#[test]
fn log_lines_escape_what_is_not_printable_and_lose_their_line_end() {
    for (bytes, line) in [
        (&b"plain\n"[..], "plain"),
        (b"plain\r\n", "plain"),
        (b"a\r\nb\n\n", "a\\r\\nb\\n"),
        (b"\x00\x1b[31m\x7f", "\\x00\\x1b[31m\\x7f"),
        (b"gr\xc3\xbc\xc3\x9f", "gr\u{fc}\u{df}"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"\xc2\x9b", "\\xc2\\x9b"),
        (b"back\\slash", "back\\\\slash"),
    ] {
        assert_eq!(xlog_line(bytes), line);
    }
}

#[test]
fn xlog_takes_levels_and_any_bytes_and_returns_true() {
    let script = "if (xlog(\"L_INFO\", \"$mb $avp(none) $$\\n\") && xlog(\"$ru\") && xlog(\"L_DBG\", \
                  \"a\" + 1) && xerr(\"e\") && xwarn(\"w\") && xnotice(\"n\") && xinfo(\"i\") && xdbg(\"d\") \
                  && xlog(L_WARN, \"w\") && xlog(-1, \"e\")) send(\"yes\");";
    assert_eq!(says(script), ["yes"]);
}

#[test]
fn text_in_arguments_replaces_pseudo_variables() {
    for (text, host) in [
        ("h$var(x)-$cs", "h0-7"),
        ("$(rU)x", "bobx"),
        ("$rU$rU", "bobbob"),
        ("$si.x", "192.0.2.1.x"),
        ("x$sp$(avp(a)[-1])", "x5062v"),
    ] {
        let said = says(&format!("$avp(a) = \"v\"; send(\"{text}\");"));
        assert_eq!(said, [host], "{text}");
    }
    // A variable without a value reads `<null>`: that is no host.
    assert_eq!(says("if (!send(\"$avp(a)x\")) send(\"right\");"), ["right"]);
}

#[test]
fn extended_flags_are_0_to_63_and_no_others() {
    let all = sent(
        "setxflag(63); setxflag(\"0\"); resetxflag(0);
         if (isxflagset(63) && !isxflagset(0) && !isflagset(31)) send(\"192.0.2.9\");
         if (setxflag(64) || setxflag(-1) || isxflagset(64)) send(\"192.0.2.10\");",
    );
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].to, "192.0.2.9:5060");
}

#[test]
fn what_means_nothing_here_is_refused_with_the_reason() {
    for (call, reason) in [
        (
            "set_recv_socket(\"udp:192.0.2.3:5060\")",
            "what the packet says",
        ),
        (
            "set_source_address(\"udp:192.0.2.3:5060\")",
            "what the packet says",
        ),
        ("set_recv_socket_name(\"edge\")", "what the packet says"),
        ("via_add_srvid(\"1\")", "no server_id"),
        ("via_add_xavp_params(\"1\")", "find the way back"),
        ("via_use_xavp_fields(\"1\")", "find the way back"),
        ("via_reply_add_xavp_params(\"1\")", "find the way back"),
        ("forward_uac()", "siptrace"),
        ("forward_uac_uri(\"sip:192.0.2.3\")", "siptrace"),
        ("forward_reply()", "goes back by the next one"),
        ("msg_vbflag_set(\"1\")", "Kamailio's own code"),
        ("msg_vbflag_is_set(\"1\")", "Kamailio's own code"),
        ("msg_vbflag_reset(\"1\")", "Kamailio's own code"),
        ("msg_vbflag_parse(\"1\")", "Kamailio's own code"),
        ("add_tcp_alias(\"5062\")", "used for replies"),
    ] {
        let text = format!("{MODULES} request_route {{ {call}; }}");
        let loaded = load_str("test.cfg", &text);
        let report = loaded.report.render(false);
        assert!(report.contains("there is no function"), "{report}");
        assert!(report.contains(reason), "{call}: {report}");
        assert!(loaded.config.is_none());
    }
    let text = format!(
        "{MODULES} modparam(\"corex\", \"evcb_reply_out\", \"ksr_reply\")\nrequest_route {{ drop; }}"
    );
    let report = load_str("test.cfg", &text).report.render(false);
    assert!(report.contains("event_route[corex:reply-out]"), "{report}");
}
