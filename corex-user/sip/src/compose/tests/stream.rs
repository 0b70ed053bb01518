//! Content-Length, and messages that have no end. What Kamailio 5.6.3 does is said where ours is
//! another.

use super::*;

fn with_length(lines: &str, body: &str) -> String {
    format!(
        "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5088\r\nMax-Forwards: 5\r\n{lines}\r\n{body}"
    )
}

/// Content-Length lines and what follows the headers, as sent over `transport`.
fn sent(text: &str, transport: Transport, edits: &Edits) -> (Vec<String>, String) {
    let out = forwarded(text, edits, |f| f.transport = transport);
    let lengths = lines(&out, "Content-Length").into_iter().map(str::to_owned);
    let body = out.split_once("\r\n\r\n").map_or("none", |(_, body)| body);
    (lengths.collect(), body.to_owned())
}

#[test]
fn over_a_stream_a_message_says_how_long_its_body_is() {
    for (lines, over_tcp) in [
        ("", &["Content-Length: 5"][..]),
        ("Content-Length: 5\r\n", &["Content-Length: 5"]),
        ("Content-Length: 2\r\n", &["Content-Length: 5"]),
        ("Content-Length: 50\r\n", &["Content-Length: 5"]),
        // Kamailio doesn't forward these.
        ("Content-Length: many\r\n", &["Content-Length: 5"]),
        ("Content-Length:\r\n", &["Content-Length:5"]),
        (
            "Content-Length: 5\r\nContent-Length: 2\r\n",
            &["Content-Length: 5", "Content-Length: 5"],
        ),
    ] {
        let text = with_length(lines, "hello");
        let tcp = sent(&text, Transport::Tcp, &Edits::default());
        assert_eq!(
            tcp,
            (
                over_tcp.iter().map(|l| l.to_string()).collect(),
                "hello".into()
            )
        );
        // A datagram ends by itself: it stays as it is.
        let udp = sent(&text, Transport::Udp, &Edits::default());
        let as_it_was: Vec<String> = lines.split_terminator("\r\n").map(str::to_owned).collect();
        assert_eq!(udp, (as_it_was, "hello".into()));
    }
}

#[test]
fn a_content_length_that_the_script_took_away_comes_back_over_a_stream() {
    let text = with_length("Content-Length: 5\r\n", "hello");
    let at = text.find("Content-Length").unwrap();
    let mut edits = Edits::default();
    edits.delete(at..at + "Content-Length: 5\r\n".len());
    // Kamailio leaves a message without a length in the stream.
    let tcp = sent(&text, Transport::Tcp, &edits);
    assert_eq!(tcp, (vec!["Content-Length: 5".into()], "hello".into()));
    assert_eq!(sent(&text, Transport::Udp, &edits).0, Vec::<String>::new());
}

#[test]
fn a_content_length_of_the_script_is_the_only_one() {
    let text = with_length("", "hello");
    let mut edits = Edits::default();
    edits.replace(text.len() - 5..text.len(), b"hey");
    edits.insert(text.find("\r\n\r\n").unwrap() + 2, b"X-A: 1\r\nl: 3\r\n");
    // Kamailio writes a second one.
    let (lengths, body) = sent(&text, Transport::Tcp, &edits);
    assert_eq!((lengths, body), (vec![], "hey".into()));
    // In a body it is none.
    edits.clear();
    edits.insert(text.len(), b"Content-Length: 9\r\n");
    let (lengths, body) = sent(&text, Transport::Tcp, &edits);
    assert_eq!(lengths[0], "Content-Length: 24");
    assert_eq!(body, "helloContent-Length: 9\r\n");
}

#[test]
fn headers_without_an_end_get_one_over_a_stream() {
    let start = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5088\r\n";
    for cut in ["X-A: 1\r\n", "X-A: 1", "X-A: 1\r\nno header", ""] {
        let text = format!("{start}{cut}");
        let mut edits = Edits::default();
        let view = SipView::parse(text.as_bytes()).unwrap();
        edits.insert(view.end_of_headers(), b"X-B: 2\r\n");
        let out = forwarded(&text, &edits, |f| f.transport = Transport::Tcp);
        let sent = SipView::parse(out.as_bytes()).unwrap();
        assert!(out.ends_with("\r\n\r\n"), "{out}");
        assert_eq!(sent.content_length(), Some(0), "{out}");
        assert_eq!(sent.header(b"X-B").unwrap().value, b"2");
        assert_eq!(sent.header(b"Max-Forwards").unwrap().value, b"70");
        assert_eq!(sent.header(b"X-A").is_some(), !cut.is_empty(), "{out}");
        assert_eq!(sent.vias().count(), 2, "{out}");
        // As Kamailio forwards it: without an end.
        let udp = forwarded(&text, &edits, |_| {});
        assert!(!udp.contains("\r\n\r\n"), "{udp}");
        assert_eq!(lines(&udp, "Content-Length").len(), 0, "{udp}");
    }
}

#[test]
fn a_request_without_headers_takes_them_in_front_of_the_empty_line() {
    let out = forwarded(
        "OPTIONS sip:a SIP/2.0\r\n\r\nbody",
        &Edits::default(),
        |f| {
            f.transport = Transport::Tcp;
        },
    );
    let view = SipView::parse(out.as_bytes()).unwrap();
    assert_eq!(view.vias().count(), 1);
    assert_eq!(view.header(b"Max-Forwards").unwrap().value, b"70");
    assert_eq!(
        (view.content_length(), view.body()),
        (Some(4), &b"body"[..])
    );
}

proptest! {
    #[test]
    fn two_messages_in_a_stream_stay_two(
        length in proptest::option::of("[0-9a-z]{0,3}"),
        body in "[a-zA-Z:\r\n ]{0,40}",
        end in prop_oneof![Just("\r\n"), Just("\n"), Just("")],
        more in "(X-A: b\r\n)?([a-z ]{0,5}\r\n)?",
    ) {
        let mut text = format!("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{more}");
        if let Some(length) = length {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        text.push_str(end);
        text.push_str(&body);
        let out = forwarded(&text, &Edits::default(), |f| f.transport = Transport::Tcp);
        let view = SipView::parse(out.as_bytes()).unwrap();
        prop_assert!(out.contains("\n\r\n") || out.contains("\n\n"));
        for header in view.headers_named(b"Content-Length") {
            // One with zeros in front is right, too, and stays.
            let len = std::str::from_utf8(header.value).ok().and_then(|len| len.parse().ok());
            prop_assert_eq!(len, Some(view.body().len()));
        }
        prop_assert_eq!(view.content_length(), Some(view.body().len() as u32));
    }
}
