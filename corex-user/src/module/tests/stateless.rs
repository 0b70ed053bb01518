//! forward(), replies, the destination set, flags and files.

use super::*;

const SL: &str = "loadmodule \"sl.so\"\n";

/// Runs statements in request_route on a message; what they sent.
fn sent_on(message: &[u8], statements: &str) -> (Vec<Sent>, TestHost) {
    let mut runtime = runtime(&format!(
        "{MODULES}{SL} listen=udp:192.0.2.2:5060\n listen=udp:192.0.2.3:5060 name \"second\"\n
         request_route {{ {statements} }}"
    ));
    let mut host = TestHost::default();
    let end = run(&mut runtime, message, &mut host);
    assert_ne!(end, RouteEnd::Failed, "{statements}");
    (std::mem::take(&mut host.sent), host)
}

fn sent(statements: &str) -> Vec<Sent> {
    sent_on(INVITE, statements).0
}

fn text(sent: &Sent) -> String {
    String::from_utf8(sent.payload.clone()).unwrap()
}

fn start_line(sent: &Sent) -> String {
    text(sent).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn forward_goes_to_du_else_to_the_request_uri_or_where_it_is_told() {
    for (statements, to) in [
        ("forward();", "example.com:5070 by name"),
        ("$du = \"sip:192.0.2.9:5080\"; forward();", "192.0.2.9:5080"),
        ("$ru = \"sip:a@192.0.2.8\"; forward();", "192.0.2.8:5060"),
        ("forward(\"192.0.2.7\");", "192.0.2.7:5060"),
        ("forward(\"192.0.2.7:99\");", "192.0.2.7:99"),
        ("forward(\"192.0.2.7\", 98);", "192.0.2.7:98"),
        ("forward(192.0.2.7, 97);", "192.0.2.7:97"),
        (
            "$ru = \"sip:a@b;maddr=192.0.2.6\"; forward();",
            "192.0.2.6:5060",
        ),
    ] {
        let all = sent(statements);
        assert_eq!(all.len(), 1, "{statements}");
        assert_eq!(all[0].to, to, "{statements}");
        assert_eq!(all[0].purpose, Purpose::Message);
        let text = text(&all[0]);
        let via = "\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK";
        assert!(text.contains(via), "{text}");
        assert!(text.contains("\r\nMax-Forwards: 70\r\n"), "{text}");
        assert!(
            text.contains("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n"),
            "{text}"
        );
    }
    assert!(sent("$ru = \"tel:+123\"; if (!forward()) exit; send(\"x\");").is_empty());
}

#[test]
fn forward_takes_the_request_uri_and_the_socket_from_the_script() {
    let all = sent("rewritehost(\"192.0.2.9\"); setport(\"7000\"); $fs = \"second\"; forward();");
    assert_eq!(
        start_line(&all[0]),
        "INVITE sip:bob:pw@192.0.2.9:7000;transport=udp SIP/2.0"
    );
    assert_eq!(all[0].socket, Some(SocketId(1)));
    assert_eq!(all[0].to, "192.0.2.9:7000");
    let all = sent("force_send_socket(udp:192.0.2.3:5060); force_rport(); forward();");
    assert_eq!(all[0].socket, Some(SocketId(1)));
    assert!(text(&all[0]).contains("192.0.2.1:5060;rport=5062;branch=z9hG4bK1"));
}

#[test]
fn forward_forks_to_every_branch_with_a_branch_parameter_each() {
    let all = sent(
        "append_branch(\"sip:a@192.0.2.10\"); $du = \"sip:192.0.2.66\"; \
         append_branch(\"sip:b@192.0.2.11\"); $du = $null; $ru = \"sip:c@192.0.2.12\"; forward();",
    );
    let lines: Vec<_> = all.iter().map(|s| (start_line(s), s.to.clone())).collect();
    let line = |user: &str, host: &str, to: &str| {
        (format!("INVITE sip:{user}@{host} SIP/2.0"), to.to_owned())
    };
    assert_eq!(
        lines,
        [
            line("c", "192.0.2.12", "192.0.2.12:5060"),
            line("a", "192.0.2.10", "192.0.2.10:5060"),
            line("b", "192.0.2.11", "192.0.2.66:5060"),
        ]
    );
    for (index, sent) in all.iter().enumerate() {
        let view = SipView::parse(&sent.payload).unwrap();
        let branch = view.top_via().unwrap().branch().unwrap().to_vec();
        assert!(branch.ends_with(format!(".{index}").as_bytes()));
    }
}

#[test]
fn a_request_out_of_hops_gets_a_483_and_goes_nowhere() {
    let request = String::from_utf8(INVITE.to_vec())
        .unwrap()
        .replace("User-Agent", "Max-Forwards: 0\r\nUser-Agent");
    let (all, _) = sent_on(request.as_bytes(), "if (!forward()) exit; send(\"x\");");
    assert_eq!(all.len(), 1);
    assert_eq!(start_line(&all[0]), "SIP/2.0 483 Too Many Hops");
    assert_eq!(all[0].purpose, Purpose::Reply);
}

#[test]
fn a_reply_goes_to_the_port_in_via_or_to_the_source_where_rport_says_so() {
    let all = sent("sl_send_reply(\"404\", \"Not here\");");
    assert_eq!(all[0].to, "192.0.2.1:5060");
    assert_eq!(all[0].purpose, Purpose::Reply);
    let reply = text(&all[0]);
    assert!(reply.starts_with(
        "SIP/2.0 404 Not here\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n"
    ));
    assert!(reply.contains("\r\nServer: corex ("), "{reply}");
    assert!(!reply.contains("Contact"), "{reply}");
    let all = sent("force_rport(); send_reply(486, \"Busy\r\nX: y\");");
    assert_eq!(all[0].to, "192.0.2.1:5062");
    assert!(text(&all[0]).starts_with("SIP/2.0 486 Busy  X: y\r\n"));
    assert!(sent("if (sl_send_reply(\"99\", \"x\")) send(\"x\");").is_empty());
    assert_eq!(
        start_line(&sent("sl_reply_error();")[0])[..12],
        *"SIP/2.0 500 "
    );
}

#[test]
fn a_reply_that_was_sent_is_shown_to_its_event_route() {
    let text = format!(
        "{MODULES}{SL} listen=udp:192.0.2.2:5060
         event_route[corex:reply-out] {{
             $avp(seen) = \"\" + $rs + \" \" + $rm + \" \" + $rr;
             $ru = \"sip:nobody\"; setflag(3);
             while (1) {{ $var(x) = 1; }}
         }}
         request_route {{
             $avp(before) = $rU;
             sl_send_reply(\"404\", \"Not here\");
             if (!isflagset(3) && $rU == \"bob\" && $avp(before) == \"bob\") send_data(\"sip:192.0.2.9\", \"$avp(seen)\");
         }}"
    );
    let mut runtime = runtime(&text);
    let mut host = TestHost::default();
    let end = run(&mut runtime, INVITE, &mut host);
    assert_eq!(end, RouteEnd::Finished);
    assert_eq!(host.sent.len(), 2);
    assert_eq!(host.sent[1].payload, b"404 INVITE Not here");
    // One that wasn't sent is none.
    let mut host = TestHost {
        refuses: Some(SendError::NoSocket),
        ..TestHost::default()
    };
    run(&mut runtime, INVITE, &mut host);
    assert!(host.sent.is_empty());
}

#[test]
fn a_redirect_lists_the_destination_set_the_highest_q_first() {
    let contact = |statements: &str| {
        let all = sent(&format!(
            "{statements} sl_send_reply(\"300\", \"Multiple\");"
        ));
        let text = text(&all[0]);
        let line = text.lines().find(|line| line.starts_with("Contact: "));
        line.unwrap_or_default()
            .trim_start_matches("Contact: ")
            .to_owned()
    };
    assert_eq!(
        contact(
            "append_branch(\"sip:a@b\", \"0.5\"); append_branch(\"sip:c@d\", \"0.75\");
             append_branch(\"sip:e@f\"); append_branch(\"sip:g@h\", \"0.125\");"
        ),
        "<sip:e@f>, <sip:c@d>;q=0.75, <sip:a@b>;q=0.5, <sip:g@h>;q=0.125"
    );
    assert_eq!(contact(""), "");
    assert_eq!(contact("$ru = \"sip:x@y\";"), "<sip:x@y>");
    assert_eq!(
        contact("append_branch();"),
        "<sip:bob:pw@example.com:5070;transport=udp>"
    );
    assert_eq!(contact("append_branch(\"sip:a@b\", \"1.5\");"), "");
    assert_eq!(contact("append_branch(\"nonsense\");"), "");
    assert_eq!(
        contact("$var(i) = 0; while ($var(i) < 20) { append_branch(\"sip:a@b\"); $var(i) = $var(i) + 1; }")
            .matches("sip:a@b")
            .count(),
        11
    );
}

#[test]
fn a_branch_of_the_request_uri_takes_its_attributes_along() {
    let all = sent(
        "$du = \"sip:192.0.2.77\"; $fs = \"second\"; append_branch(); \
         if ($du != $null or $fs != $null) drop; $du = \"sip:192.0.2.78\"; forward();",
    );
    let to: Vec<_> = all.iter().map(|s| (s.to.as_str(), s.socket)).collect();
    assert_eq!(
        to,
        [
            ("192.0.2.78:5060", None),
            ("192.0.2.77:5060", Some(SocketId(1)))
        ]
    );
}

#[test]
fn the_ack_to_a_reply_of_ours_never_reaches_the_script() {
    let all = sent("sl_send_reply(\"404\", \"Not here\");");
    let view = SipView::parse(&all[0].payload).unwrap();
    let tag = String::from_utf8(view.to().unwrap().tag().unwrap().to_vec()).unwrap();
    let ack = |tag: &str| {
        String::from_utf8(INVITE.to_vec())
            .unwrap()
            .replace("INVITE", "ACK")
            .replace(
                "To: <sip:bob@example.com>",
                &format!("To: <sip:bob@example.com>;tag={tag}"),
            )
    };
    let (all, host) = sent_on(ack(&tag).as_bytes(), "send(\"x\");");
    assert_eq!((all.len(), host.consumed), (0, 1));
    let (all, host) = sent_on(ack("other").as_bytes(), "send(\"x\");");
    assert_eq!((all.len(), host.consumed), (1, 0));
}

/// A reply with our Via on top.
const RELAYED: &[u8] = b"SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP example.com:5070;branch=z9hG4bKours\r\n\
    Via: SIP/2.0/UDP 10.0.0.1:5060;received=192.0.2.1;rport=5099;branch=z9hG4bK1\r\n\
    From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: 1\r\nCSeq: 7 INVITE\r\n\r\n";

fn relayed(message: &[u8], reply_route: &str) -> (RouteEnd, Vec<Sent>) {
    let mut runtime = runtime(&format!("{MODULES}{reply_route}"));
    let mut host = TestHost::default();
    let end = run(&mut runtime, message, &mut host);
    (end, host.sent)
}

#[test]
fn a_reply_with_our_via_goes_back_by_the_next_one_unless_the_route_drops_it() {
    for route in ["", "reply_route { exit; }", "reply_route { $var(x) = 1; }"] {
        let (_, all) = relayed(RELAYED, route);
        assert_eq!(all.len(), 1, "{route}");
        assert_eq!(all[0].to, "192.0.2.1:5099");
        assert_eq!(
            text(&all[0]),
            "SIP/2.0 200 OK\r\n\
             Via: SIP/2.0/UDP 10.0.0.1:5060;received=192.0.2.1;rport=5099;branch=z9hG4bK1\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: 1\r\nCSeq: 7 INVITE\r\n\r\n"
        );
    }
    assert!(relayed(RELAYED, "reply_route { drop; }").1.is_empty());
    // Not ours on top: only the route knows where it goes.
    assert!(relayed(OK, "").1.is_empty());
}

#[test]
fn internal_flags_and_message_flags_are_set_reset_and_asked_for() {
    let holds = |condition: &str| !sent(&format!("if ({condition}) send(\"x\");")).is_empty();
    assert!(!holds("msg_iflag_is_set(\"USE_UAC_TO\")"));
    assert!(holds(
        "msg_iflag_set(\"USE_UAC_TO\") and msg_iflag_is_set(\"USE_UAC_TO\")"
    ));
    assert!(!holds(
        "msg_iflag_set(\"USE_UAC_TO\") and msg_iflag_is_set(\"UAC_AUTH\")"
    ));
    assert!(!holds(
        "msg_iflag_set(\"UAC_AUTH\") and msg_iflag_reset(\"UAC_AUTH\") and msg_iflag_is_set(\"UAC_AUTH\")"
    ));
    assert!(!holds("msg_iflag_set(\"$var(x)\")"));
    assert!(holds("setflag(31) and isflagset(31)"));
    assert!(!holds("isflagset(31)"));
    assert!(!holds("setflag(1) and resetflag(1) and isflagset(1)"));
    assert!(!holds("setflag(32)"));
    assert!(holds("setbflag(3) and isbflagset(3) and !isflagset(3)"));
}

#[test]
fn files_are_read_into_variables_and_written() {
    assert_eq!(
        route_value(INVITE, "file_read(\"greeting\", \"$avp(t)\");", "$avp(t)"),
        "hello"
    );
    let before = "$var(t) = \"kept\"; $var(r) = file_read(\"absent\", $var(t));";
    assert_eq!(route_value(INVITE, before, "$var(t) + $var(r)"), "kept-1");
    assert_eq!(
        says("if (file_write(\"out\", \"hello\")) send(\"x\");"),
        ["x"]
    );
    assert_eq!(
        says("if (!file_write(\"elsewhere\", \"hello\")) send(\"x\");"),
        ["x"]
    );
}

#[test]
fn the_functions_of_old_change_the_request_uri() {
    for (statements, uri) in [
        ("rewriteuri(\"sip:x@y\");", "sip:x@y"),
        (
            "rewriteuri(\"nonsense\");",
            "sip:bob:pw@example.com:5070;transport=udp",
        ),
        ("sethost(\"h\");", "sip:bob:pw@h:5070;transport=udp"),
        ("sethostport(\"h:1\");", "sip:bob:pw@h:1;transport=udp"),
        ("sethostport(\"h\");", "sip:bob:pw@h;transport=udp"),
        (
            "setuser(\"alice\");",
            "sip:alice:pw@example.com:5070;transport=udp",
        ),
        (
            "setuserpass(\"a:b\");",
            "sip:a:b@example.com:5070;transport=udp",
        ),
        ("setport(\"\");", "sip:bob:pw@example.com;transport=udp"),
        (
            "prefix(\"00\");",
            "sip:00bob:pw@example.com:5070;transport=udp",
        ),
        ("strip(1);", "sip:ob:pw@example.com:5070;transport=udp"),
        ("strip_tail(2);", "sip:b:pw@example.com:5070;transport=udp"),
        ("strip(9);", "sip:example.com:5070;transport=udp"),
        (
            "$ru = \"sip:a@b\"; revert_uri();",
            "sip:bob:pw@example.com:5070;transport=udp",
        ),
    ] {
        let all = sent(&format!("{statements} forward(\"192.0.2.9\");"));
        assert_eq!(start_line(&all[0]), format!("INVITE {uri} SIP/2.0"));
    }
    let du = "setdsturi(\"sip:d\"); if (!isdsturiset() or $du != \"sip:d\") drop; resetdsturi(); if (isdsturiset()) drop;";
    let all = sent(&format!("{du} send(\"192.0.2.9\");"));
    assert_eq!(all.len(), 1);
}

#[test]
fn data_is_sent_by_the_transport_of_the_uri_and_past_the_hook() {
    let all = sent("send_data(\"sip:192.0.2.9:5080;transport=tcp\", \"a$rU\");");
    assert_eq!(all[0].to, "192.0.2.9:5080");
    assert_eq!(all[0].transport, Transport::Tcp);
    assert_eq!(all[0].purpose, Purpose::Data);
    assert_eq!(all[0].payload, b"abob");
    assert_eq!(
        sent("send_data(\"sip:a;transport=tls\", \"x\");")[0].transport,
        Transport::Tls
    );
    let all = sent("sendx(\"sip:192.0.2.9\", \"second\", \"x\");");
    assert_eq!(
        (all[0].socket, all[0].transport),
        (Some(SocketId(1)), Transport::Udp)
    );
    assert!(sent("if (sendx(\"sip:192.0.2.9\", \"third\", \"x\")) send(\"x\");").is_empty());
    assert_eq!(
        sent("send_tcp(\"192.0.2.9\");")[0].transport,
        Transport::Tcp
    );
}

#[test]
fn the_socket_to_send_from_is_set_by_address_or_by_name_and_only_if_there_is_one() {
    for (call, socket) in [
        ("set_send_socket(\"udp:192.0.2.3:5060\")", Some(SocketId(1))),
        ("set_send_socket(\"udp:192.0.2.99:5060\")", None),
        ("set_send_socket_name(\"second\")", Some(SocketId(1))),
        ("set_send_socket_name(\"udp:192.0.2.3:5060\")", None),
        ("set_send_socket_name(\"third\")", None),
    ] {
        let expected = if socket.is_some() { 1 } else { -1 };
        let all = sent(&format!(
            "$var(r) = {call}; if ($var(r) == {expected}) send(\"192.0.2.9\");"
        ));
        assert_eq!(all.len(), 1, "{call}");
        assert_eq!(all[0].socket, socket, "{call}");
    }
    let all = sent(
        "if (is_socket_name(\"second\") && !is_socket_name(\"third\") && !is_faked_msg())
            send(\"192.0.2.9\");",
    );
    assert_eq!(all.len(), 1);
}
