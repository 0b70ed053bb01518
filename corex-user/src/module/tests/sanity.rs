//! sanity_check() and sanity_reply().

use super::*;

const GOOD: &str = "REGISTER sip:example.org SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bK1\r\nMax-Forwards: 9\r\nTo: <sip:b@x>\r\n\
    From: <sip:a@x>;tag=1\r\nCall-ID: q1\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@b>\r\n\
    Authorization: Digest username=\"u\", realm=\"r\", nonce=\"n\",\r\n uri=\"sip:x\", response=\"0\"\r\n\
    Expires: 60\r\nContent-Length: 0\r\n\r\n";
const ALL: &str = "sanity_check(\"32743\", \"15\")";

/// What a call in request_route led to: `passed`, `failed`, or nothing if the script ended; and what
/// was answered.
fn outcome(parameters: &str, call: &str, message: &str) -> Vec<String> {
    let mut runtime = runtime(&format!(
        "{MODULES}loadmodule \"sl.so\"\nloadmodule \"sanity.so\"\n{parameters}\n\
         request_route {{ if ({call}) send(\"passed\"); else send(\"failed\"); }}\n\
         reply_route {{ if ({call}) send(\"passed\"); else send(\"failed\"); }}"
    ));
    let mut host = TestHost::default();
    run(&mut runtime, message.as_bytes(), &mut host);
    let sent = host.sent.into_iter().map(|sent| match sent.purpose {
        Purpose::Reply => {
            let text = String::from_utf8_lossy(&sent.payload).into_owned();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("SIP/2.0 ").to_owned()
        }
        _ => sent.to.split(':').next().unwrap_or_default().to_owned(),
    });
    sent.collect()
}

#[test]
fn a_good_message_passes_all_checks() {
    assert_eq!(outcome("", ALL, GOOD), ["passed"]);
    assert_eq!(outcome("", "sanity_check()", GOOD), ["passed"]);
    let basic = GOOD.replace("Digest username", "Basic username");
    assert_eq!(outcome("", "sanity_check(8192)", &basic), ["passed"]);
    assert!(outcome("", "sanity_check(2048)", &basic).is_empty());
    let reply = GOOD.replace("REGISTER sip:example.org SIP/2.0", "SIP/2.0 200 OK");
    assert_eq!(outcome("", "sanity_check()", &reply), ["passed"]);
}

#[test]
fn each_check_fails_with_its_reply() {
    for (check, from, to, reply) in [
        ("2", "sip:example.org", "x:y", "400 Bad Request URI"),
        ("4", "Call-ID: q1\r\n", "", ""),
        ("4", "Call-ID: q1\r\n", "Call-ID: q1\r\ni: q1\r\n", ""),
        ("16384", ":5061", ":70000", ""),
        (
            "32",
            "1 REGISTER",
            "1 INVITE",
            "400 CSeq method does not match request method",
        ),
        (
            "64",
            "1 REGISTER",
            "99999999999 REGISTER",
            "400 CSeq number is illegal",
        ),
        (
            "128",
            "Length: 0",
            "Length: 1",
            "400 Content-Length mis-match",
        ),
        (
            "128",
            "Length: 0",
            "Length: x",
            "400 Content-Length Failure",
        ),
        (
            "256",
            "Expires: 60",
            "Expires: soon",
            "400 Expires value is illegal",
        ),
        ("256", "Expires: 60", "Expires:", "400 Bad Expires Header"),
        (
            "512",
            "Expires:",
            "Proxy-Require: a\r\nExpires:",
            "420 Bad Proxy Require Extension",
        ),
        ("1024", "<sip:a@x>", "<sip:a@>", "400 Invalid From Header"),
        ("1024", "<sip:b@x>", "<isbn:1>", "400 Ivalid To Header"),
        ("2048", "nonce=\"n\"", "nonce=\"\"", "400 Auth Empty Nonce"),
        (
            "2048",
            "username=\"u\"",
            "username=\"\"",
            "400 Auth Empty User",
        ),
        (
            "2048",
            "response=\"0\"",
            "response=\"\"",
            "400 Auth Empty Response",
        ),
        ("2048", "realm=\"r\", ", "", "400 Bad Auth Credentials"),
        (
            "2048",
            "uri=\"sip:x\"",
            "uri=\"sip:x\", qop=auth",
            "400 Bad Auth Credentials",
        ),
        ("8192", "realm=\"r\"", "realm=\"r", "400 Bad Auth Header"),
        ("4096", "tag=1", "tag=1;tag=2", "400 Many From Tag Params"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let message = GOOD.replacen(from, to, 1);
        let call = format!("sanity_check(\"{check}\")");
        let replied: Vec<_> = Some(reply)
            .filter(|reply| !reply.is_empty())
            .into_iter()
            .collect();
        assert_eq!(outcome("", &call, &message), replied, "{to}");
        let ack = message.replace("REGISTER", "ACK");
        assert!(outcome("", &call, &ack).is_empty(), "{to}");
    }
    let contact = GOOD.replace("<sip:a@b>", "<a@b>");
    assert_eq!(
        outcome("", "sanity_check(1024, 8)", &contact),
        ["400 Bad Contact URI"]
    );
    assert_eq!(outcome("", "sanity_check(1024, 7)", &contact), ["passed"]);
}

#[test]
fn parameters_say_what_a_failure_does() {
    let bad = GOOD.replace("Length: 0", "Length: 1");
    let lets_go_on = "modparam(\"sanity\", \"autodrop\", 0)";
    assert_eq!(
        outcome(lets_go_on, ALL, &bad),
        ["400 Content-Length mis-match", "failed"]
    );
    let silent = "modparam(\"sanity\", \"autodrop\", 0)\nmodparam(\"sanity\", \"noreply\", 1)";
    assert_eq!(outcome(silent, ALL, &bad), ["failed"]);
    let replies = format!("{ALL} || sanity_reply()");
    assert_eq!(
        outcome(silent, &replies, &bad),
        ["400 Content-Length mis-match", "passed"]
    );
    assert_eq!(
        outcome(silent, "sanity_reply()", GOOD),
        ["500 Server Sanity Failure", "passed"]
    );
    let missing = GOOD.replace("Call-ID: q1\r\n", "");
    assert_eq!(outcome(silent, &replies, &missing), ["passed"]);
    let requires = GOOD.replace("Expires:", "Proxy-Require: a, b\r\nExpires:");
    let known = "modparam(\"sanity\", \"proxy_require\", \"b , a\")";
    assert_eq!(outcome(known, ALL, &requires), ["passed"]);
    let fewer =
        "modparam(\"sanity\", \"default_checks\", 1)\nmodparam(\"sanity\", \"uri_checks\", 1)";
    assert_eq!(outcome(fewer, "sanity_check()", &bad), ["passed"]);
    for call in [
        "sanity_check(0)",
        "sanity_check(32768)",
        "sanity_check(1, 16)",
    ] {
        assert_eq!(outcome("", call, GOOD), ["failed"]);
    }
}
