//! What isn't forwarded is answered, or counted under the reason.

use super::*;

const FORWARDS: &str = "loadmodule \"sl.so\"\nalias=udp:10.0.0.1:5060\n\
    request_route { forward(\"10.0.0.8\"); }\n";

fn changed(from: &str, to: &str) -> String {
    let good = String::from_utf8_lossy(FULL_REQUEST).into_owned();
    assert!(good.contains(from), "{from}");
    good.replacen(from, to, 1)
}

#[test]
fn each_reason_has_a_counter_and_each_message_one_verdict() {
    type Count = fn(&WorkerCounters) -> u64;
    let cases: [(&str, &str, Count); 8] = [
        ("Call-ID: 1\r\n", "", |c| c.drop_header_missing),
        ("Call-ID: 1\r\n", "Call-ID: 1\r\ni: 2\r\n", |c| {
            c.drop_header_doubled
        }),
        ("<sip:x@b>", "\"", |c| c.drop_header_malformed),
        ("Call-ID: 1\r\n", "Call-ID: 1\r\nl: 7\r\n", |c| {
            c.drop_content_length
        }),
        ("sip:10.0.0.8", "x:10.0.0.8", |c| c.drop_request_uri),
        ("SIP/2.0\r\n", "SIP/7.0\r\n", |c| c.drop_sip_version),
        (
            "Call-ID: 1\r\n",
            "Call-ID: 1\r\nProxy-Require: x\r\n",
            |c| c.drop_proxy_require,
        ),
        ("Forwards: 70", "Forwards: 0", |c| c.drop_hops),
    ];
    for (from, to, count) in cases {
        let message = changed(from, to);
        let drops = format!("{HEAD}{FORWARDS}modparam(\"corex\", \"strict\", \"drop\")\n");
        let mut egress = Recorder::default();
        let counters = pass(&drops, message.as_bytes(), &mut egress);
        assert_eq!((count(&counters), egress.left.len()), (1, 0), "{to}");
        assert_eq!(counters.decided(), 1, "{to}");
        let counters = pass(
            &format!("{HEAD}{FORWARDS}"),
            message.as_bytes(),
            &mut egress,
        );
        let answered = (
            counters.replied,
            counters.strict_answered,
            counters.decided(),
        );
        assert_eq!((answered, egress.left.len()), ((1, 1, 1), 1), "{to}");
        // To the port that rport asks for.
        assert_eq!(egress.left[0].to, "10.0.0.9:5070".parse().unwrap(), "{to}");
    }
}

#[test]
fn what_is_nearly_sip_never_reaches_a_route() {
    let sends = format!("{HEAD}loadmodule \"sl.so\"\nrequest_route {{ send(\"10.0.0.8\"); }}\n");
    for (from, to, answer) in [
        ("SIP/2.0\r\n", "SIP/7.0\r\n", "SIP/2.0 505 "),
        ("OPTIONS sip", "OPTIONS  sip", "SIP/2.0 400 "),
        ("10.0.0.8 SIP", "10.0.0.8; lr SIP", "SIP/2.0 400 "),
    ] {
        let message = changed(from, to);
        let mut egress = Recorder::default();
        let counters = pass(&sends, message.as_bytes(), &mut egress);
        assert_eq!((counters.replied, egress.left.len()), (1, 1), "{to}");
        assert!(
            egress.left[0].payload.starts_with(answer.as_bytes()),
            "{to}"
        );
        let off = format!("{sends}modparam(\"corex\", \"strict\", \"off\")\n");
        assert_eq!(dropped(&off, message.as_bytes()).drop_not_sip, 1, "{to}");
    }
    for reply in ["SIP/2.0 999 Unheard of\r\n\r\n", "SIP/7.0 200 OK\r\n\r\n"] {
        let padded = format!("{reply}{}", "x".repeat(32));
        assert_eq!(
            dropped(&sends, padded.as_bytes()).drop_not_sip,
            1,
            "{reply}"
        );
    }
}

#[test]
fn a_request_that_goes_round_is_answered_the_second_time_it_comes_from_there() {
    let mut pipeline = pipeline(&format!("{HEAD}{FORWARDS}"));
    let mut egress = Recorder::default();
    let request = String::from_utf8_lossy(FULL_REQUEST).replace("x@b", "y@b");
    pipeline.receive(inbound(request.as_bytes()), &mut egress);
    let mut answers = 0;
    for _ in 0..2 {
        // The next hop sends it back.
        let back = egress.left.pop().unwrap();
        let inbound = Inbound {
            source: back.to,
            ..inbound(&back.payload)
        };
        pipeline.receive(inbound, &mut egress);
        let last = egress.left.last().unwrap();
        answers += u32::from(last.payload.starts_with(b"SIP/2.0 482 Loop Detected\r\n"));
    }
    assert_eq!((answers, pipeline.counters.strict_answered), (1, 1));
    assert_eq!((pipeline.counters.sent, pipeline.counters.replied), (2, 1));
}
