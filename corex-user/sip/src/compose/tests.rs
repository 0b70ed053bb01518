//! What is written, against RFC 3261 and what Kamailio 5.6.3 was seen to write.

use proptest::prelude::*;

use super::*;
use crate::{SipView, Transport, Via};

fn request(method: &str, via: &str, more: &str) -> String {
    format!(
        "{method} sip:bob@example.com SIP/2.0\r\nVia: {via}\r\nFrom: <sip:x@y>;tag=f1\r\n\
         To: <sip:z@y>\r\nCall-ID: c1\r\nCSeq: 1 {method}\r\n{more}Subject: hello\r\n\
         Content-Length: 5\r\n\r\nhello"
    )
}

mod received;
mod seal;
mod stream;

const VIA: &str = "SIP/2.0/UDP 127.0.0.1:5088;branch=z9hG4bKx";

fn forward<'a>(view: &SipView<'_>) -> Forward<'a> {
    Forward {
        own: None,
        circle: None,
        is_sealed: false,
        request_uri: None,
        routes: b"",
        transport: Transport::Udp,
        sent_by: SentBy {
            host: None,
            ip: "127.0.0.1".parse().unwrap(),
            port: 5066,
        },
        fingerprint: Fingerprint::of(view),
        index: 0,
        connection: None,
        local_rport: false,
        source: "127.0.0.1:5088".parse().unwrap(),
        force_rport: false,
        hop_limit: HopLimit::CountDown,
    }
}

/// The request as forwarded; `with` sets it up.
fn forwarded(text: &str, edits: &Edits, with: impl Fn(&mut Forward<'_>)) -> String {
    let view = SipView::parse(text.as_bytes()).unwrap();
    let mut plan = forward(&view);
    with(&mut plan);
    let mut out = Vec::new();
    write_request(&view, edits, &plan, &mut Edits::default(), &mut out);
    String::from_utf8(out).unwrap()
}

fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.split("\r\n")
        .filter(|l| l.starts_with(start))
        .collect()
}

#[test]
fn our_via_goes_on_top_and_the_senders_gets_what_it_asked_for() {
    for (via, source, force_rport, expected) in [
        (VIA, "127.0.0.1:5088", false, VIA),
        (
            "SIP/2.0/UDP 127.0.0.1:5088;branch=z9hG4bKx;rport",
            "127.0.0.1:5088",
            false,
            "SIP/2.0/UDP 127.0.0.1:5088;received=127.0.0.1;branch=z9hG4bKx;rport=5088",
        ),
        (
            "SIP/2.0/UDP foo.example:5088;branch=z9hG4bKx;rport",
            "127.0.0.1:5099",
            false,
            "SIP/2.0/UDP foo.example:5088;received=127.0.0.1;branch=z9hG4bKx;rport=5099",
        ),
        (
            VIA,
            "127.0.0.1:5099",
            true,
            "SIP/2.0/UDP 127.0.0.1:5088;rport=5099;branch=z9hG4bKx",
        ),
        (
            VIA,
            "192.0.2.7:5099",
            false,
            "SIP/2.0/UDP 127.0.0.1:5088;received=192.0.2.7;branch=z9hG4bKx",
        ),
        (
            "SIP/2.0/UDP 127.0.0.1:5088;received=1.2.3.4;branch=z9hG4bKx",
            "192.0.2.7:5099",
            false,
            "SIP/2.0/UDP 127.0.0.1:5088;received=192.0.2.7;branch=z9hG4bKx",
        ),
        (
            "SIP/2.0/UDP [2001:db8::1]",
            "[2001:db8::2]:5060",
            false,
            "SIP/2.0/UDP [2001:db8::1];received=2001:db8::2",
        ),
        (
            "SIP/2.0/UDP 127.0.0.1, SIP/2.0/UDP 9.9.9.9",
            "127.0.0.2:5060",
            false,
            "SIP/2.0/UDP 127.0.0.1;received=127.0.0.2, SIP/2.0/UDP 9.9.9.9",
        ),
    ] {
        let text = request("OPTIONS", via, "Max-Forwards: 10\r\n");
        let out = forwarded(&text, &Edits::default(), |f| {
            f.source = source.parse().unwrap();
            f.force_rport = force_rport;
        });
        let vias = lines(&out, "Via:");
        assert_eq!(vias.len(), 2, "{out}");
        assert!(
            vias[0].starts_with("Via: SIP/2.0/UDP 127.0.0.1:5066;branch=z9hG4bK"),
            "{out}"
        );
        assert_eq!(vias[1], format!("Via: {expected}"));
        let view = SipView::parse(out.as_bytes()).unwrap();
        assert!(view.vias().all(|via| via.is_some()));
    }
}

#[test]
fn sent_by_leaves_the_default_port_out_and_takes_the_advertised_name() {
    let text = request("OPTIONS", VIA, "");
    let top = |with: &dyn Fn(&mut Forward<'_>)| {
        let out = forwarded(&text, &Edits::default(), with);
        let via = lines(&out, "Via:")[0].to_owned();
        via.split(";branch").next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        top(&|f| f.sent_by.port = 5060),
        "Via: SIP/2.0/UDP 127.0.0.1"
    );
    assert_eq!(
        top(&|f| f.sent_by.ip = "2001:db8::1".parse().unwrap()),
        "Via: SIP/2.0/UDP [2001:db8::1]:5066"
    );
    assert_eq!(
        top(&|f| {
            f.sent_by.host = Some("edge.example");
            f.transport = Transport::Tls;
            f.sent_by.port = 5061;
        }),
        "Via: SIP/2.0/TLS edge.example"
    );
}

#[test]
fn max_forwards_is_counted_down_or_added() {
    let hops = |more: &str| {
        let out = forwarded(&request("OPTIONS", VIA, more), &Edits::default(), |_| {});
        lines(&out, "Max-Forwards:").join(" ")
    };
    assert_eq!(hops("Max-Forwards: 70\r\n"), "Max-Forwards: 69");
    assert_eq!(hops("Max-Forwards:   1\r\n"), "Max-Forwards:   0");
    assert_eq!(hops(""), "Max-Forwards: 70");
    // Kamailio 5.6.3 doesn't look at it in forward(), but without a limit a loop has no end.
    for odd in ["many", "+5", "4294967296", "-1"] {
        assert_eq!(
            hops(&format!("Max-Forwards: {odd}\r\n")),
            "Max-Forwards: 70",
            "{odd}"
        );
    }
    assert_eq!(hops("Max-Forwards: \r\n"), "Max-Forwards:70 ");
    assert_eq!(hops("Max-Forwards: 4294967295\r\n"), "Max-Forwards: 255");
}

#[test]
fn changes_are_made_and_the_length_of_the_body_stays_right() {
    let text = request("OPTIONS", VIA, "");
    let at = |part: &str| text.find(part).unwrap();
    let mut edits = Edits::default();
    let body = text.len() - 5;
    edits.replace(body..body + 5, b"goodbye");
    edits.delete(at("Subject")..at("Content-Length"));
    edits.insert(at("\r\n\r\n") + 2, b"X-Q: 2\r\n");
    edits.insert(at("Via"), b"X-I: 1\r\n");
    let out = forwarded(&text, &edits, |f| {
        f.request_uri = Some(b"sip:carol@example.net");
    });
    assert!(out.starts_with("OPTIONS sip:carol@example.net SIP/2.0\r\nX-I: 1\r\nVia: "));
    assert!(
        out.ends_with("\r\nContent-Length: 7\r\nX-Q: 2\r\nMax-Forwards: 70\r\n\r\ngoodbye"),
        "{out}"
    );
    assert!(!out.contains("Subject"));
}

#[test]
fn a_stream_gets_a_content_length_where_there_is_none() {
    let text = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1\r\nMax-Forwards: 5\r\n\r\nabc";
    let tcp = forwarded(text, &Edits::default(), |f| f.transport = Transport::Tcp);
    assert!(
        tcp.ends_with("Max-Forwards: 4\r\nContent-Length: 3\r\n\r\nabc"),
        "{tcp}"
    );
    let udp = forwarded(text, &Edits::default(), |_| {});
    assert!(udp.ends_with("Max-Forwards: 4\r\n\r\nabc"), "{udp}");
}

#[test]
fn a_branch_is_the_same_for_one_transaction_and_another_for_every_other() {
    let of = |method: &str, via: &str, more: &str| {
        let text = request(method, via, more);
        Fingerprint::of(&SipView::parse(text.as_bytes()).unwrap())
    };
    let invite = of("INVITE", VIA, "");
    for method in ["INVITE", "ACK", "CANCEL"] {
        assert_eq!(of(method, VIA, "X: 1\r\n"), invite, "{method}");
    }
    assert_ne!(
        of("INVITE", "SIP/2.0/UDP 127.0.0.1:5088;branch=z9hG4bKy", ""),
        invite
    );
    assert_ne!(
        of("INVITE", "SIP/2.0/UDP 127.0.0.1:5089;branch=z9hG4bKx", ""),
        invite
    );
    let old = "SIP/2.0/UDP 127.0.0.1:5088;branch=1";
    let of_old = of("INVITE", old, "");
    assert_ne!(of_old, invite);
    assert_eq!(of("ACK", old, ""), of_old);
    let without = "INVITE sip:a SIP/2.0\r\n\r\n";
    let _ = Fingerprint::of(&SipView::parse(without.as_bytes()).unwrap());
}

fn reply(text: &str, code: u16, with: impl Fn(&mut Reply<'_>)) -> String {
    let view = SipView::parse(text.as_bytes()).unwrap();
    let mut plan = Reply {
        code,
        reason: b"Reason",
        headers: b"",
        server: b"",
        fingerprint: Fingerprint::of(&view),
        source: "127.0.0.1:5088".parse().unwrap(),
        force_rport: false,
    };
    with(&mut plan);
    let mut out = Vec::new();
    write_reply(&view, &plan, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_reply_has_what_rfc_3261_wants_in_it() {
    let text = request(
        "OPTIONS",
        "SIP/2.0/UDP 127.0.0.1:5088;branch=z9hG4bKx;rport, SIP/2.0/UDP 9.9.9.9",
        "v: SIP/2.0/UDP 8.8.8.8\r\nRecord-Route: <sip:rr>\r\n",
    );
    let ok = reply(&text, 200, |r| r.headers = b"X-A: 1\r\n");
    let tag = lines(&ok, "To:")[0].split("tag=").nth(1).unwrap();
    assert_eq!(
        ok,
        format!(
            "SIP/2.0 200 Reason\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:5088;branch=z9hG4bKx;rport=5088;received=127.0.0.1, \
             SIP/2.0/UDP 9.9.9.9\r\n\
             From: <sip:x@y>;tag=f1\r\nTo: <sip:z@y>;tag={tag}\r\nCall-ID: c1\r\n\
             CSeq: 1 OPTIONS\r\nv: SIP/2.0/UDP 8.8.8.8\r\nRecord-Route: <sip:rr>\r\nX-A: 1\r\n\
             Content-Length: 0\r\n\r\n"
        )
    );
    assert_eq!(reply(&text, 200, |r| r.headers = b"X-A: 1\r\n"), ok);
    assert!(!reply(&text, 404, |_| {}).contains("Record-Route"));
    assert!(!reply(&text, 100, |_| {}).contains("tag=f1\r\nTo: <sip:z@y>;"));
    let tagged = text.replace("To: <sip:z@y>", "To: <sip:z@y>;tag=t9");
    assert!(reply(&tagged, 200, |_| {}).contains("To: <sip:z@y>;tag=t9\r\n"));
    let forced = request("OPTIONS", VIA, "");
    assert!(
        reply(&forced, 200, |r| r.force_rport = true).contains("branch=z9hG4bKx;rport=5088\r\n")
    );
}

#[test]
fn a_reply_without_our_via_goes_where_the_next_one_says() {
    for (vias, host, port, transport) in [
        (
            "Via: U\r\nVia: SIP/2.0/UDP 1.2.3.4:5088;received=10.0.0.1;rport=99",
            "10.0.0.1",
            Some(99),
            Transport::Udp,
        ),
        (
            "Via: U, SIP/2.0/TCP 1.2.3.4:5088;received=10.0.0.1",
            "10.0.0.1",
            Some(5088),
            Transport::Tcp,
        ),
        (
            "Via: U\r\nVia: SIP/2.0/UDP 1.2.3.4",
            "1.2.3.4",
            Some(5060),
            Transport::Udp,
        ),
        (
            "Via: U\r\nVia: SIP/2.0/TLS host.example",
            "host.example",
            None,
            Transport::Tls,
        ),
        (
            "Via: U\r\nVia: SIP/2.0/UDP host.example:70;maddr=224.0.1.75;received=1.1.1.1",
            "224.0.1.75",
            Some(70),
            Transport::Udp,
        ),
        (
            "Via: U\r\nVia: SIP/2.0/UDP 1.2.3.4;rport=7",
            "1.2.3.4",
            Some(7),
            Transport::Udp,
        ),
        (
            "Via: U\r\nVia: SIP/2.0/UDP 1.2.3.4:70;maddr=224.0.1.75;rport=7;received=1.1.1.1",
            "224.0.1.75",
            Some(70),
            Transport::Udp,
        ),
        (
            "Via: U\r\nVia: SIP/2.0/UDP host.example;received=10.0.0.1",
            "10.0.0.1",
            Some(5060),
            Transport::Udp,
        ),
    ] {
        let vias = vias
            .replace('U', "SIP/2.0/UDP 127.0.0.1:5066;branch=q")
            .replace(
                "SIP/2.0/SIP/2.0/UDP 127.0.0.1:5066;branch=qDP",
                "SIP/2.0/UDP",
            );
        let text = format!("SIP/2.0 200 OK\r\n{vias}\r\nCall-ID: 1\r\n\r\n");
        let view = SipView::parse(text.as_bytes()).unwrap();
        let mut edits = Edits::default();
        let below = strip_top_via(&view, &mut edits).unwrap();
        let path = return_path(&below).unwrap();
        assert_eq!(
            (path.host, path.port, path.transport),
            (host.as_bytes(), port, transport)
        );
        let mut out = Vec::new();
        write(text.as_bytes(), &edits, &Edits::default(), &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(!out.contains("branch=q"), "{out}");
        assert_eq!(lines(&out, "Via:").len(), 1, "{out}");
    }
    let last = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5066\r\n\r\n";
    let view = SipView::parse(last.as_bytes()).unwrap();
    assert!(strip_top_via(&view, &mut Edits::default()).is_none());
}

/// Applies changes one after the other to single bytes: each byte knows what goes before it.
fn naive(original: &[u8], changes: &[(usize, usize, Vec<u8>)]) -> Vec<u8> {
    let mut before = vec![Vec::new(); original.len() + 1];
    let mut gone = vec![false; original.len()];
    for (start, len, text) in changes {
        before[*start].extend_from_slice(text);
        gone[*start..start + len].fill(true);
    }
    let mut out = Vec::new();
    for (at, byte) in original.iter().enumerate() {
        out.extend_from_slice(&before[at]);
        if !gone[at] {
            out.push(*byte);
        }
    }
    out.extend_from_slice(&before[original.len()]);
    out
}

proptest! {
    #[test]
    fn changes_come_out_as_if_made_one_by_one(
        original in proptest::collection::vec(any::<u8>(), 0..40),
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..4)), 0..12),
        from: prop::sample::Index,
    ) {
        let mut edits = Edits::default();
        let mut changes = Vec::new();
        for (a, b, text) in places {
            let (a, b) = (a.index(original.len() + 1), b.index(original.len() + 1));
            let range = a.min(b)..a.max(b);
            edits.replace(range.clone(), &text);
            changes.push((range.start, range.len(), text));
        }
        let expected = naive(&original, &changes);
        let mut out = Vec::new();
        write(&original, &edits, &Edits::default(), &mut out);
        prop_assert_eq!(&out, &expected);
        out.clear();
        write(&original, &Edits::default(), &edits, &mut out);
        prop_assert_eq!(&out, &expected);
        // In two lists, what the second inserts comes behind what the first does at one place.
        let (mut first, mut second) = (Edits::default(), Edits::default());
        let (early, late): (Vec<_>, Vec<_>) =
            changes.iter().cloned().partition(|(start, ..)| start % 2 == original.len() % 2 || *start < 5);
        for (list, half) in [(&mut first, &early), (&mut second, &late)] {
            for (start, len, text) in half {
                list.replace(*start..start + len, text);
            }
        }
        out.clear();
        write(&original, &first, &second, &mut out);
        prop_assert_eq!(&out, &naive(&original, &[early, late].concat()));
        let from = from.index(original.len() + 1);
        let head: Vec<_> = changes.iter().filter(|(start, ..)| *start < from).cloned()
            .map(|(start, len, text)| (start, len.min(from - start), text)).collect();
        let expected_head = naive(&original[..from], &head);
        prop_assert_eq!(edits.len_of(from..original.len()), expected.len() - expected_head.len());
    }

    #[test]
    fn whatever_is_forwarded_can_be_read_and_its_reply_finds_back(
        via in "SIP/2\\.0/(UDP|TCP) ([a-z.]{1,9}|127\\.0\\.0\\.1)(:[1-9][0-9]{1,3})?(;branch=z9hG4bK[a-z0-9]{1,9})?(;rport)?(;received=10\\.0\\.0\\.1)?",
        force: bool,
    ) {
        let text = request("INVITE", &via, "");
        let out = forwarded(&text, &Edits::default(), |f| f.force_rport = force);
        let view = SipView::parse(out.as_bytes()).unwrap();
        prop_assert!(view.vias().all(|via| via.is_some()));
        let answer = reply(&out, 200, |_| {});
        let view = SipView::parse(answer.as_bytes()).unwrap();
        let below = strip_top_via(&view, &mut Edits::default()).unwrap();
        prop_assert!(return_path(&below).is_some());
    }
}
