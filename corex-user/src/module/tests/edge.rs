//! rr, path, nathelper and kex: what Kamailio isn't asked for.

use proptest::prelude::*;

use super::*;

const EDGE: &str = "loadmodule \"rr.so\"\nloadmodule \"path.so\"\nloadmodule \"nathelper.so\"\n\
                    loadmodule \"kex.so\"\nloadmodule \"textops.so\"\nloadmodule \"siputils.so\"\n\
                    listen=udp:192.0.2.2:5060\nlisten=udp:192.0.2.3:5060 name \"second\" advertise edge.example:5090\n\
                    listen=tcp:192.0.2.2:5060\n";

/// forward() takes what RFC 3261 forbids, too: then these functions see it.
const LENIENT: &str = "modparam(\"corex\", \"strict\", \"off\")\n";

/// A request in a dialog with the proxy that the tests' host is, example.com:5070.
fn request(headers: &str) -> String {
    format!(
        "BYE sip:bob@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n{headers}\
         From: <sip:a@b>;tag=f\r\nTo: <sip:c@d>;tag=t\r\nCall-ID: x\r\nCSeq: 2 BYE\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn sent(parameters: &str, message: &str, statements: &str) -> Vec<Sent> {
    let kind = if message.starts_with("SIP") {
        "reply_route"
    } else {
        "request_route"
    };
    let text = format!("{MODULES}{EDGE}{parameters}\n{kind} {{ {statements} }}");
    let mut runtime = runtime(&text);
    let mut host = TestHost::default();
    let end = run(&mut runtime, message.as_bytes(), &mut host);
    assert_ne!(end, RouteEnd::Failed, "{statements}");
    host.sent
}

/// The header lines of a name in what is forwarded.
fn lines(parameters: &str, message: &str, statements: &str, name: &str) -> Vec<String> {
    let all = sent(parameters, message, &format!("{statements} forward();"));
    let view = SipView::parse(&all[0].payload).unwrap();
    view.headers_named(name.as_bytes())
        .map(|header| String::from_utf8(header.value.to_vec()).unwrap())
        .collect()
}

/// Whether a condition holds in request_route.
fn holds(message: &str, condition: &str) -> bool {
    let statements = format!("if ({condition}) send(\"192.0.2.8\");");
    !sent("", message, &statements).is_empty()
}

#[test]
fn record_route_names_the_transports_and_what_is_advertised() {
    assert_eq!(
        lines(
            "",
            &request(""),
            "$du = \"sip:192.0.2.9;transport=tcp\"; record_route();",
            "Record-Route"
        ),
        [
            "<sip:192.0.2.2;transport=tcp;r2=on;lr;ftag=f>",
            "<sip:192.0.2.2;r2=on;lr;ftag=f>"
        ]
    );
    assert_eq!(
        lines(
            "",
            &request(""),
            "$ru = \"sips:x@192.0.2.9\"; $du = \"sip:192.0.2.9\"; record_route();",
            "Record-Route"
        ),
        ["<sips:192.0.2.2;lr;ftag=f>"]
    );
}

#[test]
fn each_branch_has_a_record_route_with_the_socket_that_it_leaves_by() {
    let all = sent(
        "",
        &request(""),
        "record_route(); $fs = \"second\"; append_branch(\"sip:a@192.0.2.10\"); $fs = $null; forward();",
    );
    let first = String::from_utf8_lossy(&all[0].payload).into_owned();
    let second = String::from_utf8_lossy(&all[1].payload).into_owned();
    assert_eq!(first.matches("Record-Route: ").count(), 1, "{first}");
    assert_eq!(second.matches("Record-Route: ").count(), 2, "{second}");
}

#[test]
fn text_that_would_leave_the_uri_is_refused() {
    for call in [
        "record_route(\";a>\\r\\nX: y\")",
        "record_route_preset(\"a b\")",
        "record_route_preset(\"\")",
        "record_route_advertised_address(\"a<b\")",
        "add_rr_param(\";x=\\\"y\\\"\")",
        "add_path(\"a@b\")",
        "add_path(\"a\", \"b>\")",
    ] {
        assert!(!holds(&request(""), call), "{call}");
        let statements = format!("if (!{call}) $du = \"sip:192.0.2.9\";");
        for name in ["Record-Route", "Path", "X"] {
            assert!(
                lines("", &request(""), &statements, name).is_empty(),
                "{call}"
            );
        }
    }
    // Nor does what the sender says of itself leave it.
    let message = request("").replace("tag=f", "tag=\"a> <b\"");
    assert_eq!(
        lines(LENIENT, &message, "record_route();", "Record-Route"),
        ["<sip:192.0.2.2;lr>"]
    );
}

#[test]
fn lines_and_parameters_are_bounded() {
    let many = "$var(i) = 0; while ($var(i) < 40) { if (!add_path()) $var(no) = 1; \
                $var(i) = $var(i) + 1; }";
    assert_eq!(lines("", &request(""), many, "Path").len(), 32);
    let long = "x".repeat(500);
    let statements = format!(
        "add_rr_param(\";a={long}\"); record_route(); add_rr_param(\";b={long}\"); \
         if (add_rr_param(\";c={long}\")) remove_record_route();"
    );
    let all = lines("", &request(""), &statements, "Record-Route");
    assert!(all[0].contains(";b=") && !all[0].contains(";c="), "{all:?}");
    let statements = format!("add_rr_param(\";a={long}\") && add_rr_param(\";b={long}\")");
    assert!(!holds(&request(""), &statements));
}

#[test]
fn a_request_with_too_many_routes_is_routed_by_none() {
    let routes = |count| format!("Route: {}\r\n", "<sip:example.com:5070;lr>,".repeat(count));
    assert!(holds(&request(&routes(64)), "loose_route()"));
    assert!(!holds(&request(&routes(65)), "loose_route()"));
}

#[test]
fn a_route_is_taken_off_once() {
    let message = request("Route: <sip:example.com:5070;lr>, <sip:192.0.2.7;lr>\r\n");
    assert!(holds(&message, "loose_route()"));
    assert!(!holds(&message, "loose_route() && loose_route()"));
    let all = sent("", &message, "loose_route(); loose_route(); forward();");
    assert_eq!(all[0].to, "192.0.2.7:5060");
    assert_eq!(
        lines("", &message, "loose_route(); loose_route();", "Route"),
        ["<sip:192.0.2.7;lr>"]
    );
}

#[test]
fn a_strict_router_gets_its_uri_whole() {
    let message = request("Route: <sip:192.0.2.7;maddr=192.0.2.6;transport=tcp>\r\n");
    let all = sent("", &message, "loose_route(); forward();");
    let text = String::from_utf8_lossy(&all[0].payload).into_owned();
    assert!(
        text.starts_with("BYE sip:192.0.2.7;maddr=192.0.2.6;transport=tcp SIP/2.0\r\n"),
        "{text}"
    );
    assert!(
        text.contains("\r\nRoute: <sip:bob@192.0.2.9>\r\n"),
        "{text}"
    );
    assert_eq!(
        (all[0].to.as_str(), all[0].transport),
        ("192.0.2.6:5060", Transport::Tcp)
    );
}

#[test]
fn two_routes_of_ours_name_the_socket_by_what_it_is_advertised_as() {
    let message = request(
        "Route: <sip:example.com:5070;r2=on;lr>, <sip:edge.example:5090;r2=on;lr>, <sip:192.0.2.7;lr>\r\n",
    );
    let all = sent("", &message, "loose_route(); forward();");
    assert_eq!(all[0].socket, Some(SocketId(1)));
}

#[test]
fn without_the_record_routes_that_were_there_none_is_written() {
    let statements = "record_route(); remove_record_route(); record_route(); add_path();";
    assert!(lines("", &request(""), statements, "Record-Route").is_empty());
    assert_eq!(
        lines("", &request(""), statements, "Path"),
        ["<sip:192.0.2.2;lr>"]
    );
}

#[test]
fn of_several_contacts_the_first_is_changed() {
    let message = request("Contact: <sip:a@192.0.2.9>, <sip:b@192.0.2.9>\r\n");
    assert_eq!(
        lines("", &message, "fix_nated_contact();", "Contact"),
        ["<sip:a@192.0.2.1:5062>, <sip:b@192.0.2.9>"]
    );
    assert_eq!(
        lines("", &message, "set_contact_alias();", "Contact"),
        ["<sip:a@192.0.2.9;alias=192.0.2.1~5062~1>, <sip:b@192.0.2.9>"]
    );
}

#[test]
fn a_contact_is_changed_once() {
    let message = request("Contact: <sip:a@192.0.2.9>\r\n");
    for (first, then) in [
        ("fix_nated_contact", "set_contact_alias"),
        ("set_contact_alias", "fix_nated_contact"),
        ("fix_nated_contact", "add_contact_alias"),
    ] {
        assert!(holds(&message, &format!("{first}()")));
        assert!(
            !holds(&message, &format!("{first}() && {then}()")),
            "{first} {then}"
        );
    }
}

#[test]
fn replies_lead_to_where_they_come_from_too() {
    let reply = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP example.com:5070;branch=z9hG4bK1\r\n\
                 Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK0\r\nFrom: <sip:a@b>;tag=f\r\n\
                 To: <sip:c@d>;tag=t\r\nCall-ID: x\r\nCSeq: 2 INVITE\r\n\
                 Contact: <sip:a@10.0.0.1?Subject=x>\r\nContent-Length: 0\r\n\r\n";
    let statements = "if (nat_uac_test(\"1\")) set_contact_alias();";
    let all = sent("", reply, statements);
    let text = String::from_utf8_lossy(&all[0].payload).into_owned();
    assert!(
        text.contains("\r\nContact: <sip:a@10.0.0.1;alias=192.0.2.1~5062~1?Subject=x>\r\n"),
        "{text}"
    );
    assert_eq!(all[0].to, "192.0.2.7:5060");
    let from_us = reply.replace("From:", "Record-Route: <sip:example.com:5070;lr>\r\nFrom:");
    let statements = "if (is_first_hop()) send(\"192.0.2.8\");";
    assert_eq!(sent("", &from_us, statements).len(), 2);
    assert_eq!(sent("", reply, statements).len(), 1);
}

#[test]
fn an_alias_that_leads_nowhere_changes_nothing() {
    for alias in [
        "x",
        "192.0.2.1~5060",
        "192.0.2.1~0x~1",
        "192.0.2.1~99999~1",
        "a b~1~1",
    ] {
        let message = request("").replace(
            "sip:bob@192.0.2.9",
            &format!("sip:bob@192.0.2.9;alias={alias}"),
        );
        if SipView::parse(message.as_bytes()).is_err() {
            continue;
        }
        let all = sent("", &message, "if (!handle_ruri_alias()) forward();");
        assert_eq!(all[0].to, "192.0.2.9:5060", "{alias}");
    }
}

#[test]
fn directions_that_are_none_are_mistakes() {
    let text = format!("{EDGE} request_route {{ is_direction(\"sideways\"); }}");
    let report = load_str("test.cfg", &text).report.to_string();
    assert!(report.contains("downstream"), "{report}");
    let without = "modparam(\"rr\", \"append_fromtag\", 0)";
    let statements = "if (is_direction(\"downstream\")) send(\"192.0.2.8\");";
    assert!(sent(without, &request(""), statements).is_empty());
}

#[test]
fn branches_have_flags_of_their_own() {
    let statements = "append_branch(\"sip:a@b\"); setbflag(3, 1); \
                      if (isbflagset(3, 1) && !isbflagset(3) && !setbflag(3, 2) && !setbflag(3, -1)) send(\"192.0.2.8\");";
    assert_eq!(sent("", &request(""), statements).len(), 1);
}

#[test]
fn hosts_of_ours_are_so_on_any_port() {
    for (condition, is_so) in [
        ("is_myhost(\"example.com\")", true),
        ("is_myhost(\"sip:a@example.com:99\")", true),
        ("is_myhost(\"\")", false),
        ("is_myself(\"sip:a@example.com:99\")", false),
        ("is_myself(\"sip:a@example.com:5070\")", true),
    ] {
        assert_eq!(holds(&request(""), condition), is_so, "{condition}");
    }
}

/// Every function, whatever it returns.
const ALL: &str = "loose_route(); check_route_param(\"lr\"); is_direction(\"upstream\"); rr_next_hop_route(); \
     handle_ruri_alias(); nat_uac_test(\"1023\"); fix_nated_contact(); set_contact_alias(\"1\"); add_contact_alias(); \
     add_rcv_param(); add_rr_param(\";a=b\"); record_route(\";c\"); add_rr_param(\";d\"); add_path_received(\"me\"); \
     is_first_hop(); $xavp(a=>b) = $route_uri; $xavp(a[0]=>b) = $fti; \
     $du = \"sip:192.0.2.9\"; forward();";

proptest! {
    #[test]
    fn whatever_headers_say_one_whole_message_is_forwarded(
        uri in "sip:(bob@)?(192\\.0\\.2\\.9|example\\.com:5070)(;(alias|lr|r2|ftag)(=[a-z0-9.~]{1,16})?){0,3}",
        headers in "((Route|Contact|Path|Record-Route|m): [ -~]{0,40}\r\n|(Route|Contact): ((\"x, y\" ?)?<sip:(a@)?(example\\.com:5070|192\\.0\\.2\\.7)(;lr|;r2=on|;ftag=f|;maddr=h){0,3}>(;q=1)?(, ?|\r\n )?){1,4}\r\n){0,5}",
        tag in "[!-~]{0,8}",
        to_tag: bool,
    ) {
        let to_tag = if to_tag { ";tag=t" } else { "" };
        let message = format!(
            "BYE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n{headers}\
             From: <sip:a@b>;tag={tag}\r\nTo: <sip:c@d>{to_tag}\r\nCall-ID: x\r\nCSeq: 2 BYE\r\n\
             Content-Length: 4\r\n\r\nbody"
        );
        let all = sent(&format!("{LENIENT}modparam(\"path\", \"use_received\", 1)"), &message, ALL);
        prop_assert_eq!(all.len(), 1);
        let made = SipView::parse(&all[0].payload).unwrap();
        prop_assert_eq!(made.body(), b"body");
        prop_assert_eq!(made.call_id(), Some(&b"x"[..]));
        prop_assert_eq!(made.vias().count(), 2);
        let first = made.header(b"Record-Route").unwrap();
        prop_assert!(first.value.starts_with(b"<sip:192.0.2.2;lr"), "{:?}", first);
        prop_assert!(first.value.ends_with(b";c;a=b;d>"), "{:?}", first);
    }
}
