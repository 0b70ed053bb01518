//! Which replies go back by the Via below ours.

use super::*;

const FORWARDS: &str = "alias=udp:10.0.0.1:5060\nrequest_route { forward(); }\n";

/// What a proxy that forwards got and sent: a reply to what it forwarded, changed by `change`.
fn answered(parameters: &str, change: impl Fn(String) -> String) -> (WorkerCounters, Vec<Left>) {
    let mut pipeline = pipeline(&format!("{HEAD}{parameters}\n{FORWARDS}"));
    let mut egress = Recorder::default();
    pipeline.receive(inbound(FULL_REQUEST), &mut egress);
    let request = egress.left.remove(0);
    let text = String::from_utf8(request.payload).unwrap();
    let reply = change(text.replacen("OPTIONS sip:10.0.0.8 SIP/2.0", "SIP/2.0 200 OK", 1));
    let inbound = Inbound {
        source: request.to,
        ..inbound(reply.as_bytes())
    };
    pipeline.receive(inbound, &mut egress);
    (pipeline.counters, egress.left)
}

#[test]
fn a_reply_goes_back_where_its_request_came_from() {
    let (counters, left) = answered("", |reply| reply);
    assert_eq!((counters.sent, counters.drop_reply_forged), (2, 0));
    let [reply] = &left[..] else {
        panic!("{left:?}");
    };
    assert_eq!(reply.to, "10.0.0.9:5070".parse().unwrap());
    let text = String::from_utf8_lossy(&reply.payload);
    assert!(!text.contains("10.0.0.1:5060") && text.contains("Via: SIP/2.0/UDP 10.0.0.9:5060"));
}

#[test]
fn a_reply_that_names_somebody_else_is_dropped_and_counted() {
    for (from, to) in [
        ("10.0.0.9:5060", "10.0.0.77:9999;maddr=10.0.0.77"),
        ("received=10.0.0.9", "received=10.0.0.77"),
        ("rport=5070", "rport=9999"),
        (";k=", ";j="),
    ] {
        let forged = |reply: String| reply.replacen(from, to, 1);
        let (counters, left) = answered("", forged);
        let found = (counters.sent, counters.drop_reply_forged, left.len());
        assert_eq!(found, (1, 1, 0), "{to}: {left:?}");
    }
}

#[test]
fn without_the_check_any_reply_goes_and_the_via_has_no_key() {
    let (counters, left) = answered("modparam(\"corex\", \"reply_check\", 0)", |reply| {
        assert!(!reply.contains(";k="), "{reply}");
        reply.replacen("received=10.0.0.9", "received=10.0.0.77", 1)
    });
    assert_eq!((counters.sent, counters.drop_reply_forged), (2, 0));
    assert_eq!(left[0].to, "10.0.0.77:5070".parse().unwrap());
}

#[test]
fn what_reply_route_sends_itself_needs_no_key() {
    let sends = "reply_route { send(\"10.0.0.5\"); }";
    let (counters, left) = answered(sends, |reply| reply.replacen(";k=", ";j=", 1));
    assert_eq!((counters.sent, counters.drop_reply_forged), (2, 0));
    assert_eq!(left[0].to, "10.0.0.5:5060".parse().unwrap());
    assert_eq!(left.len(), 1);
}
