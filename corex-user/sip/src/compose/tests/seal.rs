//! Which replies show that they answer what we forwarded.

use std::net::SocketAddr;

use super::*;
use crate::compose::{NoKeys, ReplyKeys};

fn keys() -> ReplyKeys {
    ReplyKeys::of_bytes(b"one that nobody knows")
}

/// A request as it was forwarded and sealed.
fn sealed(keys: &ReplyKeys, method: &str, via: &str, with: impl Fn(&mut Forward<'_>)) -> String {
    let text = request(method, via, "");
    let mut out = forwarded(&text, &Edits::default(), |plan| {
        plan.is_sealed = true;
        with(plan);
    })
    .into_bytes();
    let len = out.len();
    keys.seal(&mut out);
    assert_eq!(out.len(), len);
    String::from_utf8(out).unwrap()
}

/// The reply to it.
fn answer(request: &str) -> String {
    let (first, rest) = request.split_once("\r\n").unwrap();
    assert!(first.ends_with(" SIP/2.0"));
    format!("SIP/2.0 200 OK\r\n{rest}")
}

fn opens(keys: &ReplyKeys, reply: &str) -> bool {
    keys.open(&SipView::parse(reply.as_bytes()).unwrap())
}

/// What stands between the two.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).map_or(rest, |(it, _)| it)
}

#[test]
fn a_reply_to_what_was_forwarded_opens_and_no_other_does() {
    let keys = keys();
    let via = "SIP/2.0/UDP client.example:5070;rport;branch=z9hG4bKx";
    let source = "192.0.2.7:5099".parse().unwrap();
    let request = sealed(&keys, "INVITE", via, |plan| {
        plan.source = source;
        plan.connection = Some(0x1f);
    });
    let reply = answer(&request);
    assert!(opens(&keys, &reply), "{reply}");
    // A peer may write the same in another way.
    for (from, to) in [
        ("received=192.0.2.7", "received=::ffff:192.0.2.7"),
        ("Via: SIP/2.0/UDP client", "v: SIP/2.0/UDP client"),
        ("CSeq: 1 INVITE", "CSeq: 1 CANCEL"),
        ("To: <sip:z@y>", "To: <sip:z@y>;tag=2"),
        ("SIP/2.0 200 OK", "SIP/2.0 486 Busy Here"),
    ] {
        let other = reply.replacen(from, to, 1);
        assert!(other != reply && opens(&keys, &other), "{other}");
    }
    let digest = between(&reply, ";k=", "\r\n");
    let branch = between(&reply, ";branch=", ";");
    for (from, to) in [
        ("received=192.0.2.7", "received=192.0.2.8"),
        ("rport=5099", "rport=5098"),
        ("rport=5099", "maddr=192.0.2.8"),
        (";received=192.0.2.7", ""),
        ("SIP/2.0/UDP client", "SIP/2.0/TCP client"),
        ("Call-ID: c1", "Call-ID: c2"),
        ("CSeq: 1", "CSeq: 2"),
        (";i=1f", ";i=20"),
        (";i=1f", ""),
        (branch, "z9hG4bKy"),
        (digest, "0000000000000000"),
        (digest, "+000000000000000"),
        (digest, ""),
        (digest, &digest[1..]),
        (&format!(";k={digest}"), ""),
    ] {
        let other = reply.replacen(from, to, 1);
        assert!(
            other != reply && !opens(&keys, &other),
            "{from} {to}: {other}"
        );
    }
    assert!(!opens(&ReplyKeys::of_bytes(b"another one"), &reply));
    let (first, below) = reply.split_once("\r\nVia: SIP/2.0/UDP client").unwrap();
    assert!(!opens(&keys, &format!("{first}\r\nX: {below}")), "one Via");
}

#[test]
fn cancel_and_ack_have_their_invites_branch_wherever_they_come_from() {
    let keys = keys();
    let via = "SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bKx";
    let of = |method: &str, source: &str| {
        let source = source.parse().unwrap();
        let request = sealed(&keys, method, via, |plan| plan.source = source);
        assert!(opens(&keys, &answer(&request)), "{request}");
        between(&request, ";branch=", ";").to_owned()
    };
    let invite = of("INVITE", "192.0.2.7:5099");
    assert!(invite.starts_with("z9hG4bK"));
    for method in ["INVITE", "CANCEL", "ACK"] {
        assert_eq!(of(method, "192.0.2.7:5099"), invite, "{method}");
        // The NAT forgot the port.
        assert_eq!(of(method, "192.0.2.7:41000"), invite, "{method}");
    }
}

#[test]
fn the_first_key_seals_and_any_opens() {
    let (old, new) = ("the-old-key-is-here", "the-new-key-is-here");
    let parse = |text: &str| ReplyKeys::parse(text.as_bytes()).unwrap();
    let (only_old, only_new) = (parse(old), parse(new));
    let both = parse(&format!("# since spring\n{new}\r\n\n  {old}\n"));
    let of = |keys: &ReplyKeys| answer(&sealed(keys, "INVITE", VIA, |_| {}));
    assert!(opens(&both, &of(&only_old)) && opens(&both, &of(&only_new)));
    assert!(opens(&only_new, &of(&both)) && !opens(&only_old, &of(&both)));
}

#[test]
fn what_is_no_key_is_named_by_its_line() {
    let refused = |text: &str| ReplyKeys::parse(text.as_bytes()).unwrap_err();
    assert_eq!(refused("\n# nothing\n"), NoKeys::Empty);
    assert_eq!(refused("# a key\nshort"), NoKeys::Short(2));
    assert_eq!(refused("a key of many words"), NoKeys::Signs(1));
    assert_eq!(refused(&"0123456789abcdef\n".repeat(9)), NoKeys::Many);
}

proptest! {
    #[test]
    fn whatever_the_senders_via_the_reply_to_it_opens(
        transport in "UDP|TCP|TLS",
        host in "[a-z]{1,9}\\.example|192\\.0\\.2\\.[1-9]|\\[2001:db8::[1-9]\\]",
        port in "|:[1-9][0-9]{1,3}",
        params in "(;rport|;received=10\\.0\\.0\\.1|;maddr=192\\.0\\.2\\.77|;x=\"a,b\"|;branch=z9hG4bK[a-z]{1,5}){0,4}",
        source in any::<SocketAddr>(),
        force_rport in any::<bool>(),
        connection in any::<Option<u64>>(),
        index in 0usize..12,
    ) {
        let keys = keys();
        let via = format!("SIP/2.0/{transport} {host}{port}{params}");
        let request = sealed(&keys, "OPTIONS", &via, |plan| {
            plan.source = source;
            plan.force_rport = force_rport;
            plan.connection = connection;
            plan.index = index;
        });
        prop_assert!(opens(&keys, &answer(&request)), "{}", request);
    }
}
