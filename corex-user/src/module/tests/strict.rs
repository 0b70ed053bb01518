//! `strict`: what RFC 3261 forbids to forward.

use super::*;
use corex_sip::strict::FaultKind;

const SL: &str = "loadmodule \"sl.so\"\n";
const GOOD: &str = "OPTIONS sip:bob@example.org SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bK1\r\nMax-Forwards: 9\r\nTo: <sip:b@x>\r\n\
    From: <sip:a@x>;tag=1\r\nCall-ID: q1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// What a message led to: first lines and destinations of what was sent, and why it wasn't forwarded.
fn outcome(parameter: &str, message: &str) -> (Vec<(String, String)>, Option<FaultKind>) {
    let mut runtime = runtime(&format!(
        "{MODULES}{SL}{parameter}\nlisten=udp:192.0.2.2:5060\n\
         request_route {{ if (!forward(\"192.0.2.9\")) send(\"192.0.2.10\"); }}"
    ));
    let message = message.as_bytes();
    let view = SipView::parse(message).or_else(|why| SipView::parse_refused(message).ok_or(why));
    let mut host = TestHost::default();
    runtime.begin_message();
    runtime.run_route(&env(), &view.unwrap(), &mut host);
    let line = |sent: &Sent| {
        let text = String::from_utf8_lossy(&sent.payload).into_owned();
        (
            text.lines().next().unwrap_or_default().to_owned(),
            sent.to.clone(),
        )
    };
    (host.sent.iter().map(line).collect(), host.refused)
}

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn line(text: &str, to: &str) -> Vec<(String, String)> {
    vec![(text.to_owned(), to.to_owned())]
}

#[test]
fn a_request_that_must_not_be_forwarded_is_answered_and_the_script_ends() {
    for (message, answer, to, kind) in [
        (
            changed("Call-ID: q1\r\n", ""),
            "400 Missing Call-ID",
            "192.0.2.1:5061",
            FaultKind::Missing,
        ),
        (
            changed("sip:bob", "x:bob"),
            "416 Unsupported URI Scheme",
            "192.0.2.1:5061",
            FaultKind::RequestUri,
        ),
        (
            changed("Forwards: 9", "Forwards: 0"),
            "483 Too Many Hops",
            "192.0.2.1:5061",
            FaultKind::Hops,
        ),
        (
            changed("SIP/2.0\r\n", "SIP/7.0\r\n"),
            "505 Version Not Supported",
            "192.0.2.1:5061",
            FaultKind::Version,
        ),
        (
            changed("OPTIONS sip", "OPTIONS  sip"),
            "400 Malformed Request-Line",
            "192.0.2.1:5061",
            FaultKind::RequestUri,
        ),
        // A Via that can't be read leads to who sent it.
        (
            changed(":5061", ":70000"),
            "400 Bad Via",
            "192.0.2.1:5062",
            FaultKind::Malformed,
        ),
        (
            changed("UDP 192", "FOO 192"),
            "400 Unknown transport in the topmost Via",
            "192.0.2.1:5061",
            FaultKind::Malformed,
        ),
    ] {
        let expected = line(&format!("SIP/2.0 {answer}"), to);
        assert_eq!(outcome("", &message), (expected, Some(kind)), "{message}");
    }
}

#[test]
fn a_bad_extension_is_named_in_the_answer() {
    let mut runtime = runtime(&format!(
        "{MODULES}{SL}request_route {{ forward(\"192.0.2.9\"); }}"
    ));
    let message = changed("Max-", "Proxy-Require: foo,\r\n bar\r\nMax-");
    let mut host = TestHost::default();
    run(&mut runtime, message.as_bytes(), &mut host);
    let text = String::from_utf8_lossy(&host.sent[0].payload).into_owned();
    assert!(text.starts_with("SIP/2.0 420 Bad Extension\r\n"), "{text}");
    assert!(
        text.contains("\r\nUnsupported: foo\r\nUnsupported: bar\r\n"),
        "{text}"
    );
    let known = "loadmodule \"sanity.so\"\nmodparam(\"sanity\", \"proxy_require\", \"foo, bar\")";
    assert_eq!(outcome(known, &message).1, None);
}

#[test]
fn what_gets_no_answer_is_dropped_under_its_reason() {
    for (message, kind) in [
        (changed("Via: ", "X: "), FaultKind::Missing),
        (
            changed("Call-ID: q1\r\n", "").replace("OPTIONS", "ACK"),
            FaultKind::Missing,
        ),
        (
            changed("To: ", "To: <sip:x@y>\r\nt: ").replace("OPTIONS", "ACK"),
            FaultKind::Doubled,
        ),
        (
            changed("SIP/2.0\r\n", "SIP/7.0\r\n").replace("OPTIONS", "ACK"),
            FaultKind::Version,
        ),
    ] {
        assert_eq!(outcome("", &message), (Vec::new(), Some(kind)), "{message}");
    }
    let drops = "modparam(\"corex\", \"strict\", \"drop\")";
    let message = changed("Length: 0", "Length: 1");
    assert_eq!(
        outcome(drops, &message),
        (Vec::new(), Some(FaultKind::Length))
    );
}

#[test]
fn switched_off_it_forwards_all_but_what_has_no_hops_left() {
    let off = "modparam(\"corex\", \"strict\", \"off\")";
    let message = changed("To: ", "To: \"\r\nTo: ");
    let forwarded = line("OPTIONS sip:bob@example.org SIP/2.0", "192.0.2.9:5060");
    assert_eq!(outcome(off, &message), (forwarded, None));
    let (sent, refused) = outcome(off, &changed("Forwards: 9", "Forwards: 0"));
    assert_eq!(
        (sent[0].0.as_str(), refused),
        ("SIP/2.0 483 Too Many Hops", None)
    );
}

#[test]
fn what_is_sent_as_it_came_is_not_looked_at() {
    let mut runtime = runtime(&format!(
        "{MODULES}request_route {{ send(\"192.0.2.9\"); }}"
    ));
    let message = changed("Call-ID: q1\r\n", "To: \"\r\n");
    let mut host = TestHost::default();
    run(&mut runtime, message.as_bytes(), &mut host);
    assert_eq!(host.sent[0].payload, message.as_bytes());
    assert!(host.sent[0].in_place);
}

/// The request as it is forwarded, and again as that is forwarded once more.
fn come_back(change: impl Fn(String) -> String) -> (Vec<(String, String)>, Option<FaultKind>) {
    // The host that stands in our Via is `myself`.
    let config = format!(
        "{MODULES}{SL}listen=udp:192.0.2.2:5060\nrequest_route {{ forward(\"192.0.2.9\"); }}"
    );
    let mut runtime = runtime(&config);
    let mut host = TestHost {
        named: Some("example.com"),
        ..TestHost::default()
    };
    run(&mut runtime, GOOD.as_bytes(), &mut host);
    let back = change(String::from_utf8(host.sent.remove(0).payload).unwrap());
    run(&mut runtime, back.as_bytes(), &mut host);
    let text = String::from_utf8_lossy(&host.sent[0].payload).into_owned();
    let first = text.lines().next().unwrap_or_default().to_owned();
    (vec![(first, host.sent[0].to.clone())], host.refused)
}

#[test]
fn a_request_that_comes_again_unchanged_goes_in_circles() {
    let (sent, refused) = come_back(|text| text);
    assert_eq!(
        (sent[0].0.as_str(), refused),
        ("SIP/2.0 482 Loop Detected", Some(FaultKind::Loop))
    );
    // One that has changed is another matter, and so is a Via that isn't ours.
    for (from, to) in [
        ("sip:bob@", "sip:carol@"),
        ("Max-", "Route: <sip:r>\r\nMax-"),
        ("Call-ID: q1", "Call-ID: q2"),
        ("UDP example.com:5070", "UDP example.net:5070"),
    ] {
        let (sent, refused) = come_back(|text| text.replacen(from, to, 1));
        assert_eq!(
            (sent[0].1.as_str(), refused),
            ("192.0.2.9:5060", None),
            "{to}"
        );
    }
}

#[test]
fn a_broken_reply_with_our_via_on_top_is_dropped() {
    let good = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP example.com:5070;branch=z9hG4bKours\r\n\
        Via: SIP/2.0/UDP 192.0.2.1:5099;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:c@d>;tag=2\r\nCall-ID: 1\r\nCSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(outcome("", good).0[0].1, "192.0.2.1:5099");
    for (from, to, kind) in [
        ("From: <sip:a@b>;tag=1\r\n", "", FaultKind::Missing),
        ("tag=2", "tag=2;tag=3", FaultKind::Malformed),
        ("Length: 0", "Length: 10", FaultKind::Length),
        (
            "Call-ID: 1\r\n",
            "Call-ID: 1\r\ni: 2\r\n",
            FaultKind::Doubled,
        ),
        (
            "example.com:5070",
            "example.com:70000",
            FaultKind::Malformed,
        ),
    ] {
        let reply = good.replacen(from, to, 1);
        assert_eq!(outcome("", &reply), (Vec::new(), Some(kind)), "{to}");
        let off = "modparam(\"corex\", \"strict\", \"off\")";
        assert_eq!(outcome(off, &reply).1, None, "{to}");
    }
}
