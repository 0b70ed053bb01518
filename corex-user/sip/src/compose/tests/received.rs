//! What is noted in the sender's Via, and where replies go by it. All of it is what Kamailio
//! 5.6.3 was seen to write, but for the cases that say otherwise.

use std::net::SocketAddr;

use super::*;
use crate::host_ip;

const SOURCE: &str = "127.0.7.2:5088";

/// The sender's Via in a forwarded request and in a reply of ours.
fn noted(via: &str, force_rport: bool) -> (String, String) {
    let text = request("OPTIONS", via, "Max-Forwards: 9\r\n");
    let out = forwarded(&text, &Edits::default(), |f| {
        f.source = SOURCE.parse().unwrap();
        f.force_rport = force_rport;
    });
    let answer = reply(&text, 200, |r| {
        r.source = SOURCE.parse().unwrap();
        r.force_rport = force_rport;
    });
    let via = |text: &str, at: usize| {
        let line = lines(text, "Via: ")[at];
        line["Via: SIP/2.0/UDP ".len()..].to_owned()
    };
    (via(&out, 1), via(&answer, 0))
}

fn check(cases: &[(&str, bool, &str, &str)]) {
    for (via, force_rport, sent_on, replied) in cases {
        let (request, reply) = noted(&format!("SIP/2.0/UDP {via}"), *force_rport);
        assert_eq!(request, *sent_on, "request of {via}, {force_rport}");
        assert_eq!(reply, *replied, "reply to {via}, {force_rport}");
    }
}

#[test]
fn what_a_sender_claims_about_its_address_is_overwritten() {
    check(&[
        (
            "127.0.7.2:5088;branch=z9hG4bKa;rport=99",
            false,
            "127.0.7.2:5088;received=127.0.7.2;branch=z9hG4bKa;rport=5088",
            "127.0.7.2:5088;branch=z9hG4bKa;rport=5088;received=127.0.7.2",
        ),
        (
            "127.0.7.2:5088;branch=z9hG4bKa;rport=99",
            true,
            "127.0.7.2:5088;received=127.0.7.2;branch=z9hG4bKa;rport=5088",
            "127.0.7.2:5088;branch=z9hG4bKa;rport=5088;received=127.0.7.2",
        ),
        (
            "127.0.7.2:5088;branch=z9hG4bKa;rport=",
            false,
            "127.0.7.2:5088;received=127.0.7.2;branch=z9hG4bKa;rport=5088",
            "127.0.7.2:5088;branch=z9hG4bKa;rport=5088;received=127.0.7.2",
        ),
        // In a reply Kamailio appends a second `received`.
        (
            "127.0.7.2:5088;received=127.0.7.3;branch=z9hG4bKa",
            false,
            "127.0.7.2:5088;received=127.0.7.2;branch=z9hG4bKa",
            "127.0.7.2:5088;received=127.0.7.2;branch=z9hG4bKa",
        ),
        (
            "127.0.7.2:5088;branch=z9hG4bKa;rport=99;received=127.0.7.3",
            false,
            "127.0.7.2:5088;branch=z9hG4bKa;rport=5088;received=127.0.7.2",
            "127.0.7.2:5088;branch=z9hG4bKa;rport=5088;received=127.0.7.2",
        ),
        // Kamailio corrects the last of several and leaves a quote of `"1.1.1.1"`.
        (
            "127.0.7.2:5088;received=1.1.1.1;rport;received=\"2.2.2.2\";rport = 7;x",
            false,
            "127.0.7.2:5088;received=127.0.7.2;rport=5088;received=127.0.7.2;rport=5088;x",
            "127.0.7.2:5088;received=127.0.7.2;rport=5088;received=127.0.7.2;rport=5088;x",
        ),
        // Kamailio doesn't parse it.
        (
            "127.0.7.2:5088;received;branch=z9hG4bKa",
            false,
            "127.0.7.2:5088;received=127.0.7.2;branch=z9hG4bKa",
            "127.0.7.2:5088;received=127.0.7.2;branch=z9hG4bKa",
        ),
    ]);
}

#[test]
fn a_forced_rport_wants_no_received_and_a_name_does() {
    check(&[
        (
            "127.0.7.2:5060;branch=z9hG4bKa",
            true,
            "127.0.7.2:5060;rport=5088;branch=z9hG4bKa",
            "127.0.7.2:5060;branch=z9hG4bKa;rport=5088",
        ),
        (
            "foo.example:5088;branch=z9hG4bKa",
            true,
            "foo.example:5088;rport=5088;received=127.0.7.2;branch=z9hG4bKa",
            "foo.example:5088;branch=z9hG4bKa;rport=5088;received=127.0.7.2",
        ),
        (
            "foo.example",
            true,
            "foo.example;rport=5088;received=127.0.7.2",
            "foo.example;rport=5088;received=127.0.7.2",
        ),
        (
            "foo.example:5088;branch=z9hG4bKa;RPORT",
            false,
            "foo.example:5088;received=127.0.7.2;branch=z9hG4bKa;rport=5088",
            "foo.example:5088;branch=z9hG4bKa;rport=5088;received=127.0.7.2",
        ),
        (
            "127.0.7.2:5088;branch=z9hG4bKa;maddr=127.0.7.3",
            false,
            "127.0.7.2:5088;branch=z9hG4bKa;maddr=127.0.7.3",
            "127.0.7.2:5088;branch=z9hG4bKa;maddr=127.0.7.3",
        ),
        (
            "127.0.7.2:5088;branch=z9hG4bKa;rport , SIP/2.0/UDP 9.9.9.9",
            false,
            "127.0.7.2:5088;received=127.0.7.2;branch=z9hG4bKa;rport=5088 , SIP/2.0/UDP 9.9.9.9",
            "127.0.7.2:5088;branch=z9hG4bKa;rport=5088;received=127.0.7.2 , SIP/2.0/UDP 9.9.9.9",
        ),
    ]);
}

#[test]
fn our_reply_goes_to_the_source_at_the_port_that_it_asks_for() {
    let source: SocketAddr = SOURCE.parse().unwrap();
    for (via, transport, force_rport, expected) in [
        ("127.0.7.2:99", Transport::Udp, false, "127.0.7.2:99"),
        ("127.0.7.2", Transport::Udp, false, "127.0.7.2:5060"),
        (
            "foo:99;maddr=1.1.1.1",
            Transport::Udp,
            false,
            "127.0.7.2:99",
        ),
        (
            "foo:99;received=1.1.1.1",
            Transport::Udp,
            false,
            "127.0.7.2:99",
        ),
        ("127.0.7.2:99;rport", Transport::Udp, false, SOURCE),
        ("127.0.7.2:99;rport=99", Transport::Udp, false, SOURCE),
        ("127.0.7.2:99", Transport::Udp, true, SOURCE),
        ("127.0.7.2:99", Transport::Tcp, false, SOURCE),
    ] {
        let text = format!("SIP/2.0/UDP {via}");
        let via = Via::parse(text.as_bytes()).unwrap();
        let to = reply_address(&via, source, transport, force_rport);
        assert_eq!(to, expected.parse().unwrap(), "{text}");
    }
}

#[test]
fn a_reply_repeats_its_headers_as_they_were_written() {
    let text = request("OPTIONS", VIA, "")
        .replace("From: ", "From  :\t ")
        .replace("To: ", "t:   ")
        .replace(";tag=f1", "\r\n ;tag=f1  ");
    let answer = reply(&text, 100, |_| {});
    assert_eq!(
        answer,
        format!(
            "SIP/2.0 100 Reason\r\nVia: {VIA}\r\nFrom  :\t <sip:x@y>\r\n ;tag=f1\r\nt:   <sip:z@y>\r\n\
             Call-ID: c1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
    );
}

#[test]
fn a_cookie_without_anything_behind_it_tells_nothing() {
    let of = |more: &str, via: &str| {
        let text = request("OPTIONS", via, "").replace("Call-ID: c1", more);
        Fingerprint::of(&SipView::parse(text.as_bytes()).unwrap())
    };
    let bare = "SIP/2.0/UDP 127.0.0.1:5088;branch=z9hG4bK";
    assert_ne!(of("Call-ID: c1", bare), of("Call-ID: c2", bare));
    assert_eq!(of("Call-ID: c1", bare), of("Call-ID: c1", bare));
    assert_eq!(of("Call-ID: c1", VIA), of("Call-ID: c2", VIA));
}

/// A sender's Via: sent-by, and parameters of which some are lies.
fn sender() -> impl Strategy<Value = String> {
    "SIP/2\\.0/UDP ([a-z]{1,9}|127\\.0\\.7\\.[23]|\\[::1\\])(:[1-9][0-9]{1,3})?\
     (;branch=z9hG4bK[a-z0-9]{1,9})?(;rport(=[0-9]{1,4})?)?(;received=10\\.0\\.0\\.1)?(;[a-z]=\"[;,]\")?"
}

proptest! {
    #[test]
    fn the_reply_to_a_forwarded_request_goes_to_its_sender_with_its_vias(
        top in sender(),
        below in proptest::collection::vec(sender(), 0..4),
        in_one_header: bool,
        force: bool,
    ) {
        let separator = if in_one_header { ", " } else { "\r\nVia: " };
        let all: Vec<&str> = std::iter::once(&top).chain(&below).map(String::as_str).collect();
        let text = request("INVITE", &all.join(separator), "");
        let view = SipView::parse(text.as_bytes()).unwrap();
        let source: SocketAddr = SOURCE.parse().unwrap();
        let sent = forwarded(&text, &Edits::default(), |f| {
            f.source = source;
            f.force_rport = force;
        });
        let answer = reply(&sent, 200, |r| r.source = "127.0.0.9:5060".parse().unwrap());
        let answer = SipView::parse(answer.as_bytes()).unwrap();
        let mut edits = Edits::default();
        let path = return_path(&strip_top_via(&answer, &mut edits).unwrap()).unwrap();
        // The same place that a reply of our own goes to.
        let client = view.top_via().unwrap();
        let to = reply_address(&client, source, Transport::Udp, force);
        let ip = host_ip(path.host);
        prop_assert_eq!((ip, path.port), (Some(to.ip()), Some(to.port())));
        let mut out = Vec::new();
        write(answer.message(), &edits, &Edits::default(), &mut out);
        let back = SipView::parse(&out).unwrap();
        let texts = |view: &SipView<'_>| -> Vec<String> {
            view.vias().map(|via| String::from_utf8_lossy(via.unwrap().text).into_owned()).collect()
        };
        let got = texts(&back);
        prop_assert_eq!(&got[1..], &texts(&view)[1..]);
        let top = back.top_via().unwrap();
        prop_assert_eq!((top.host, top.port, top.branch()), (client.host, client.port, client.branch()));
    }
}
