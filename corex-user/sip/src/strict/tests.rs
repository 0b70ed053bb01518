//! Which messages are refused, with what.

use proptest::prelude::*;

use super::*;

const GOOD: &str = "OPTIONS sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\n\
    Max-Forwards: 9\r\nTo: <sip:b@x>\r\nFrom: \"A \\\" B\" <sip:a@x>;tag=1\r\n\
    Call-ID: q1@x\r\nCSeq: 1 OPTIONS\r\nContact: <sip:a@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";

const RULES: Rules<'static> = Rules {
    is_stream: false,
    replaces_uri: false,
    keeps_hops: false,
    extensions: &[],
};

fn checked_by(rules: &Rules<'_>, message: &[u8]) -> Result<(), Fault> {
    let view =
        SipView::parse(message).or_else(|error| SipView::parse_refused(message).ok_or(error));
    check(&view.unwrap(), rules).map(|_| ())
}

/// The status and kind that the good message is refused with after a change.
fn changed(from: &str, to: &str) -> Option<(u16, FaultKind)> {
    assert!(GOOD.contains(from), "{from}");
    let message = GOOD.replacen(from, to, 1);
    let outcome = checked_by(&RULES, message.as_bytes());
    outcome.err().map(|fault| (fault.status, fault.kind))
}

#[test]
fn a_good_message_is_taken_and_so_is_what_only_the_far_ends_read() {
    for (from, to) in [
        ("", ""),
        ("Max-Forwards: 9\r\n", ""),
        ("Max-Forwards: 9", "MAX-forwards : 009"),
        ("Content-Length: 0\r\n", ""),
        ("\r\n\r\n", "\r\n\r\nmore than Content-Length says"),
        (
            "Contact",
            "Expires: never\r\nDate: yesterday\r\nX: ;;,,\"\r\nContact",
        ),
        ("<sip:b@x>", "sip:b@x;tag = 7"),
        ("<sip:b@x>", "<http://www.example.com>"),
        ("<sip:b@x>", "Bob of x < sip:b@x > ; a=\"q;,\\\"\" ;tag=x"),
        ("<sip:b@x>", "<sip:b,c;d@x>"),
        ("<sip:b@x>", "<sip:b@[2001:db8:::192.0.2.1]>"),
        ("To:", "t\t:"),
        ("\r\nFrom: ", "\r\nFROM:\r\n\t"),
        ("A \\\" B", "A \\\0 \\\x7f é"),
        ("Call-ID: q1@x", "i: word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
        (
            "Via: ",
            "Via: SIP / 2.0\r\n /UDP 192.0.2.9 ;branch\r\n = x , ",
        ),
        (
            "192.0.2.1:5060;",
            "host;received=2001:db8::9;ttl=1;x=\"a;,b\";",
        ),
        (
            "rport\r\n",
            "rport=\r\nVia: SIP/2.0/UNKNOWN h;branch=z9hG4bK2\r\n",
        ),
        ("sip:bob@example.com", "sip:a;b?c=%40@[2001:db8::1]:5060;lr"),
        ("sip:bob@example.com", "tel:+1?2"),
        ("sip:bob@example.com", "urn:service:sos"),
        ("SIP/2.0", "SIP/2.0  "),
        (
            "Via: ",
            "Via: SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK0\r\nVia: ",
        ),
    ] {
        assert_eq!(changed(from, to), None, "{to}");
    }
}

#[test]
fn what_is_missing_doubled_or_malformed_is_refused_with_400() {
    use FaultKind::*;
    for (kind, from, to) in [
        (Missing, "Call-ID: q1@x\r\n", ""),
        (Missing, "To: <sip:b@x>\r\n", ""),
        (Missing, "From: ", "X-From: "),
        (Missing, "CSeq: 1 OPTIONS\r\n", ""),
        (Missing, "Via: ", "X-Via: "),
        (Doubled, "Call-ID:", "i: other\r\nCall-ID:"),
        (Doubled, "To:", "t: <sip:c@x>\r\nTo:"),
        (Doubled, "Max-Forwards:", "Max-Forwards: 9\r\nMax-Forwards:"),
        (Doubled, "Contact:", "Subject: a\r\ns: b\r\nContact:"),
        (Doubled, "Content-Length:", "l: 0\r\nContent-Length:"),
        (Malformed, "1 OPTIONS", "1 INVITE"),
        (Malformed, "1 OPTIONS", "1 options"),
        (Malformed, "1 OPTIONS", "2147483648 OPTIONS"),
        (Malformed, "1 OPTIONS", "36893488147419103232 OPTIONS"),
        (Malformed, "1 OPTIONS", "1 OPTIONS, 2 OPTIONS"),
        (Malformed, "1 OPTIONS", "OPTIONS"),
        (Malformed, "Max-Forwards: 9", "Max-Forwards: 256"),
        (Malformed, "Max-Forwards: 9", "Max-Forwards: nine"),
        (Malformed, "Max-Forwards: 9", "Max-Forwards: 9, 8"),
        (Malformed, "Max-Forwards: 9", "Max-Forwards:"),
        (Malformed, "Call-ID: q1@x", "Call-ID:"),
        (Malformed, "Call-ID: q1@x", "Call-ID: q1, q2"),
        (Malformed, "Call-ID: q1@x", "Call-ID: q1 q2"),
        (Malformed, "<sip:b@x>", "\""),
        (Malformed, "<sip:b@x>", ";;"),
        (Malformed, "<sip:b@x>", "<sip:b@x"),
        (Malformed, "<sip:b@x>", "\"Mr. B <sip:b@x>"),
        (Malformed, "<sip:b@x>", "\"B\" sip:b@x"),
        (Malformed, "<sip:b@x>", "<sip:b@x>;tag"),
        (Malformed, "<sip:b@x>", "<sip:b@x>;tag="),
        (Malformed, "<sip:b@x>", "<sip:b@x>;tag=\"\""),
        (Malformed, "<sip:b@x>", "<sip:b@x>;tag=1;TAG=2"),
        (Malformed, "<sip:b@x>", "<sip:b@x>;;tag=1"),
        (Malformed, "<sip:b@x>", "<sip:b@x>;tag=1;"),
        (Malformed, "<sip:b@x>", "<sip:b@x> tag=1"),
        (Malformed, "<sip:b@x>", "<sip:b@x>, <sip:c@x>"),
        (Malformed, "<sip:b@x>", "sip:b@x, sip:c@x"),
        (Malformed, "<sip:b@x>", "B, the <sip:b@x>"),
        (Malformed, "<sip:b@x>", "<sip:b@>"),
        (Malformed, "<sip:b@x>", "<b>"),
        (Malformed, "<sip:b@x>", ""),
        (Malformed, "192.0.2.1:5060", "192.0.2.1:65536"),
        (Malformed, "192.0.2.1:5060", "192.0.2.1:0"),
        (Malformed, "192.0.2.1:5060", "192.0.2.1:"),
        (Malformed, "SIP/2.0/UDP 192", "SIP/2.0/FOO 192"),
        (Malformed, "SIP/2.0/UDP 192", "SIP/3.0/UDP 192"),
        (Malformed, ";rport", ";rport (a comment)"),
        (Malformed, ";rport", ";;,;,,"),
        (Malformed, ";rport", ";branch="),
        (Malformed, ";rport", ";x=\"a"),
        (Malformed, ";rport", ","),
        (Malformed, "Via: ", "Via:\r\nVia: "),
        (
            Malformed,
            "Contact: <sip:a@192.0.2.1>",
            "m: <sip:a@192.0.2.1",
        ),
        (
            Malformed,
            "Contact: <sip:a@192.0.2.1>",
            "Contact: \"a <sip:a@192.0.2.1>",
        ),
        (
            Malformed,
            "Contact: <sip:a@192.0.2.1>",
            "Contact <sip:a@192.0.2.1>",
        ),
        (Malformed, "SIP/2.0\r\n", "SIP/2.0\r\n folded: at once\r\n"),
        (Malformed, "\r\n\r\n", "\r\nno field\r\n\r\n"),
        (Malformed, "\r\n\r\n", "\r\n"),
        (Malformed, "q1@x", "q1\0"),
        (Malformed, "A \\\" B", "A \0 B"),
        (Malformed, "A \\\" B", "A \\\\\0 B"),
        (Malformed, "\r\nCall-ID", "\rX: y\r\nCall-ID"),
        (Length, "Content-Length: 0", "Content-Length: -5"),
        (Length, "Content-Length: 0", "Content-Length: +0"),
        (Length, "Content-Length: 0", "Content-Length: 2147483648"),
        (Length, "Content-Length: 0", "Content-Length: 4294967296"),
        (Length, "Content-Length: 0", "Content-Length: 1"),
        (Length, "Content-Length: 0", "Content-Length: 0, 0"),
        (Length, "Content-Length: 0", "Content-Length: x"),
        (Length, "Content-Length: 0", "Content-Length:"),
        (Length, "Content-Length: 0", "Content-Length:\r\n 0"),
        (Length, "Content-Length: 0", "l: 0\r\n 0"),
        (RequestUri, "sip:bob@example.com", "<sip:bob@example.com>"),
        (RequestUri, "sip:bob@example.com", "sip:bob@example.com; lr"),
        (RequestUri, "sip:bob@example.com", " sip:bob@example.com"),
        (
            RequestUri,
            "sip:bob@example.com",
            "sip:bob@example.com?Route=%3Csip:x%3E",
        ),
        (RequestUri, "sip:bob@example.com", "sip:bob@example.com?"),
        (RequestUri, "sip:bob@example.com", "sip:2001:db8::10"),
        (RequestUri, "sip:bob@example.com", "sip:bob@é.example"),
        (RequestUri, "sip:bob@example.com", "bob"),
        (RequestUri, "sip:bob@example.com", "sip:"),
    ] {
        assert_eq!(changed(from, to), Some((400, kind)), "{to:?}");
    }
    let message = [
        GOOD.as_bytes()[..GOOD.len() - 2].as_ref(),
        b"X: \xff\r\n\r\n",
    ]
    .concat();
    let fault = checked_by(&RULES, &message).unwrap_err();
    assert_eq!((fault.status, fault.reason), (400, "Not UTF-8"));
}

#[test]
fn other_mistakes_have_codes_of_their_own() {
    use FaultKind::*;
    let long = format!("sip:{}@example.com", "a".repeat(MAX_URI_LEN));
    for (status, kind, from, to) in [
        (414, RequestUri, "sip:bob@example.com", long.as_str()),
        (
            416,
            RequestUri,
            "sip:bob@example.com",
            "nobodyKnowsThisScheme:totallyopaquecontent",
        ),
        (
            416,
            RequestUri,
            "sip:bob@example.com",
            "soap.beep://192.0.2.103:3002",
        ),
        (505, Version, "SIP/2.0\r\n", "SIP/7.0\r\n"),
        (505, Version, "SIP/2.0\r\n", "SIP/2.1\r\n"),
        (483, Hops, "Max-Forwards: 9", "Max-Forwards: 00"),
        (
            420,
            Extension,
            "Contact:",
            "Proxy-Require: a, b\r\nContact:",
        ),
    ] {
        assert_eq!(changed(from, to), Some((status, kind)), "{to}");
    }
    let fits = format!("sip:{}@b", "a".repeat(MAX_URI_LEN - 6));
    assert_eq!(changed("sip:bob@example.com", &fits), None);
}

#[test]
fn rules_say_what_else_is_allowed() {
    let requires = GOOD.replace(
        "Contact",
        "Proxy-Require: A, b\r\nProxy-Require: c\r\nContact",
    );
    let known = ["a", "B", "c"].map(str::to_owned);
    let rules = |extensions| Rules {
        extensions,
        ..RULES
    };
    assert_eq!(checked_by(&rules(&known), requires.as_bytes()), Ok(()));
    let fault = checked_by(&rules(&known[..1]), requires.as_bytes());
    assert_eq!(fault, Err(Fault::EXTENSION));
    let view = SipView::parse(requires.as_bytes()).unwrap();
    let tags: Vec<_> = unsupported(&view, &known[..1]).collect();
    assert_eq!(tags, [b"b", b"c"]);
    // In these it is ignored.
    for method in ["ACK", "CANCEL"] {
        let message = requires.replace("OPTIONS", method);
        assert_eq!(checked_by(&RULES, message.as_bytes()), Ok(()));
    }
    let spent = GOOD.replace("Max-Forwards: 9", "Max-Forwards: 0");
    let keeps = Rules {
        keeps_hops: true,
        ..RULES
    };
    assert_eq!(checked_by(&keeps, spent.as_bytes()), Ok(()));
    let unknown = GOOD.replace("sip:bob", "x:bob");
    let replaces = Rules {
        replaces_uri: true,
        ..RULES
    };
    assert_eq!(checked_by(&replaces, unknown.as_bytes()), Ok(()));
    let more = format!("{GOOD}more");
    let stream = Rules {
        is_stream: true,
        ..RULES
    };
    assert_eq!(checked_by(&stream, GOOD.as_bytes()), Ok(()));
    let fault = checked_by(&stream, more.as_bytes()).unwrap_err();
    assert_eq!((fault.status, fault.kind), (400, FaultKind::Length));
}

#[test]
fn a_reply_is_asked_for_the_same_but_what_only_requests_have() {
    let reply = GOOD
        .replace("OPTIONS sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK")
        .replace("Max-Forwards: 9", "Max-Forwards: x\r\nProxy-Require: a");
    assert_eq!(checked_by(&RULES, reply.as_bytes()), Ok(()));
    for (from, to) in [
        ("Call-ID: q1@x\r\n", ""),
        ("1 OPTIONS", "9292394834772304023312 OPTIONS"),
        ("<sip:b@x>", "<sip:b@x>;tag=1;tag=2"),
        ("Content-Length: 0", "Content-Length: 7"),
    ] {
        let reply = reply.replace(from, to);
        assert!(checked_by(&RULES, reply.as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn only_requests_that_nearly_are_some_can_be_refused() {
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "OPTIONS sip:a SIP/2\r\n\r\n",
        "OPTIONS sip:a\r\n\r\n",
        "OPTIONS SIP/2.0\r\n\r\n",
        "OPTIONS sip:\x01a SIP/2.0\r\n\r\n",
        "OPTIONS sip:a SIP/7.0",
        "SIP/7.0 200 OK\r\n\r\n",
        "OPTIONS sip:a SIP/2.0\r\n\r\n",
    ] {
        assert!(SipView::parse_refused(text.as_bytes()).is_none(), "{text}");
    }
    let view = SipView::parse_refused(b"\r\nA  sip:a  b \tSIP/2.0 \r\nX: y\r\n\r\n").unwrap();
    assert_eq!(
        (view.method(), view.request_uri()),
        (Some(&b"A"[..]), Some(&b"sip:a  b"[..]))
    );
    assert_eq!(view.refused(), Some(NotSip::RequestUri));
    assert_eq!(view.headers().count(), 1);
}

proptest! {
    #[test]
    fn what_is_taken_can_be_read(
        parts in proptest::collection::vec(prop::sample::select(vec![
            "\"", "<", ">", ";", ",", " ", "\r\n ", "=", "tag", "tag=1", "sip:", "a", "@", "b", "\\", "[", "]", "?",
            ":", "é", "\0", "SIP/2.0/UDP ", "h", "branch=x",
        ]), 0..12),
    ) {
        let text = parts.concat();
        let message = GOOD.replace("To: <sip:b@x>", &format!("To: {text}"));
        if checked_by(&RULES, message.as_bytes()).is_ok() {
            let view = SipView::parse(message.as_bytes()).unwrap();
            let to = view.to().expect("an address");
            let has_tag = to.params.get(b"tag").is_some();
            prop_assert_eq!(has_tag, to.tag().is_some_and(|tag| !tag.is_empty()));
        }
        let message = GOOD.replace("Via: ", &format!("Via: {text}"));
        if checked_by(&RULES, message.as_bytes()).is_ok() {
            let view = SipView::parse(message.as_bytes()).unwrap();
            prop_assert!(view.vias().all(|via| via.is_some()));
            prop_assert!(view.top_via().is_some_and(|via| via.transport().is_some()));
        }
    }
}
