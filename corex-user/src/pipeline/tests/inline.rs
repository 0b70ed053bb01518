//! Inline mode: one message, and what goes on.

use regex::bytes::Regex;

use super::*;
use crate::pipeline::Intercepted::{self, Dropped, Replaced, Unchanged};
use corex_script::Direction::{self, Incoming, Outgoing};

const INLINE: &str = "loadmodule \"corex.so\"\n\
    modparam(\"corex\", \"mode\", \"inline\")\n\
    modparam(\"corex\", \"protect\", \"udp:10.0.0.1:5060\")\n";
const CLOSED: &str = "modparam(\"corex\", \"on_failure\", \"closed\")\n";

/// What becomes of a message, the bytes that go on instead, and what was counted.
struct Passed {
    outcome: Intercepted,
    replacement: Vec<u8>,
    counters: WorkerCounters,
}

fn inbound(message: &[u8], direction: Direction) -> Inbound<'_> {
    let peer = "192.0.2.9:5070".parse().unwrap();
    let server = "10.0.0.1:5060".parse().unwrap();
    let (source, local) = match direction {
        Incoming => (peer, server),
        Outgoing => (server, peer),
    };
    Inbound {
        payload: message,
        source,
        local,
        socket: SocketId(0),
        transport: Transport::Udp,
        connection: None,
        ttl: None,
    }
}

fn intercept(pipeline: &mut Pipeline, message: &[u8], direction: Direction) -> Passed {
    pipeline.counters = WorkerCounters::default();
    // What is in the buffer already isn't part of the replacement.
    let mut replacement = b"old".to_vec();
    let outcome = pipeline.intercept(inbound(message, direction), direction, &mut replacement);
    Passed {
        outcome,
        replacement,
        counters: pipeline.counters,
    }
}

fn protected(params: &str, hook: &str) -> Pipeline {
    pipeline(&format!(
        "{INLINE}{HOOKED}{params}event_route[network:msg] {{ {hook} }}\n"
    ))
}

/// Names and values of the counters that aren't zero.
fn counted(counters: &WorkerCounters) -> Vec<(&'static str, u64)> {
    let values = counters.values();
    let all = WorkerCounters::NAMES.iter().copied().zip(values);
    all.filter(|(_, value)| *value != 0).collect()
}

/// The counters, in their order, of a hook that ran on a message of `before` bytes.
#[track_caller]
fn assert_counted(
    passed: &Passed,
    direction: Direction,
    before: u64,
    rest: &[(&'static str, u64)],
) {
    let (runs, bytes) = match direction {
        Incoming => ("hook_in", "hook_in_before"),
        Outgoing => ("hook_out", "hook_out_before"),
    };
    let mut expected = vec![("bytes_in", before), (runs, 1), (bytes, before)];
    expected.extend(rest);
    let mut seen = counted(&passed.counters);
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

fn after(direction: Direction) -> &'static str {
    match direction {
        Incoming => "hook_in_after",
        Outgoing => "hook_out_after",
    }
}

const LEN: u64 = REQUEST.len() as u64;

#[test]
fn what_the_hook_makes_goes_on_both_ways() {
    let mut pipeline = protected(
        "",
        "if (is_incoming()) $avp(msg) = \"in\"; else $avp(msg) = \"out:\" + $mb;",
    );
    let passed = intercept(&mut pipeline, REQUEST, Incoming);
    assert_eq!(
        (passed.outcome.clone(), &passed.replacement[..]),
        (Replaced, &b"in"[..])
    );
    assert_counted(
        &passed,
        Incoming,
        LEN,
        &[("hook_replaced", 1), (after(Incoming), 2)],
    );

    let passed = intercept(&mut pipeline, REQUEST, Outgoing);
    assert_eq!(passed.outcome, Replaced);
    assert_eq!(passed.replacement, [b"out:", REQUEST].concat());
    assert_counted(
        &passed,
        Outgoing,
        LEN,
        &[("hook_replaced", 1), (after(Outgoing), LEN + 4)],
    );
}

#[test]
fn the_route_knows_both_ends_both_ways() {
    let hook = "$avp(msg) = $si + \" \" + $sp + \" \" + $Ri + \" \" + $Rp;";
    let mut pipeline = protected("", hook);
    for (direction, expected) in [
        (Incoming, "192.0.2.9 5070 10.0.0.1 5060"),
        (Outgoing, "10.0.0.1 5060 192.0.2.9 5070"),
    ] {
        let passed = intercept(&mut pipeline, REQUEST, direction);
        assert_eq!(passed.replacement, expected.as_bytes());
    }
}

#[test]
fn what_is_no_sip_goes_through_the_hook_too() {
    let mut pipeline = protected("", "$avp(msg) = \"plain\";");
    let passed = intercept(&mut pipeline, &[0xff; 100], Incoming);
    assert_eq!(
        (passed.outcome.clone(), &passed.replacement[..]),
        (Replaced, &b"plain"[..])
    );
}

#[test]
fn a_message_that_the_hook_leaves_goes_on_as_it_came() {
    let mut pipeline = protected(CLOSED, "$avp(msg) = $mb;");
    for direction in [Incoming, Outgoing] {
        let passed = intercept(&mut pipeline, REQUEST, direction);
        assert_eq!(passed.outcome, Unchanged);
        assert_counted(&passed, direction, LEN, &[(after(direction), LEN)]);
    }
}

#[test]
fn an_unset_avp_leaves_the_message_even_where_failure_is_closed() {
    for params in ["", CLOSED] {
        for hook in ["$var(x) = 1;", "$avp(msg) = 7;"] {
            let passed = intercept(&mut protected(params, hook), REQUEST, Outgoing);
            assert_eq!(passed.outcome, Unchanged);
            assert_counted(
                &passed,
                Outgoing,
                LEN,
                &[("hook_unset", 1), (after(Outgoing), LEN)],
            );
        }
    }
}

#[test]
fn a_hook_that_fails_lets_the_message_pass_if_open_and_drops_it_if_closed() {
    let hook = "$avp(msg) = \"x\" + 1 / ($ml - 44); $avp(msg) = \"other\";";
    let message = &[b'a'; 44];
    for direction in [Incoming, Outgoing] {
        let mut open = protected("", hook);
        let passed = intercept(&mut open, message, direction);
        assert_eq!(passed.outcome, Unchanged);
        assert_counted(
            &passed,
            direction,
            44,
            &[("hook_failed", 1), (after(direction), 44)],
        );
        // The next one is none the worse.
        let passed = intercept(&mut open, &[b'a'; 45], direction);
        assert_eq!(passed.outcome, Replaced);

        let passed = intercept(&mut protected(CLOSED, hook), message, direction);
        assert_eq!(passed.outcome, Dropped);
        let counted = &[("hook_failed", 1), ("drop_hook_failed", 1)];
        assert_counted(&passed, direction, 44, counted);
    }
}

#[test]
fn an_empty_message_is_dropped() {
    for params in ["", CLOSED] {
        let passed = intercept(
            &mut protected(params, "$avp(msg) = \"\";"),
            REQUEST,
            Incoming,
        );
        assert_eq!(passed.outcome, Dropped);
        assert_counted(&passed, Incoming, LEN, &[("drop_hook_empty", 1)]);
    }
}

#[test]
fn a_message_that_becomes_too_long_is_dropped() {
    let message = [b'a'; 60_000];
    let mut pipeline = protected("", "$avp(msg) = $mb + $mb;");
    let passed = intercept(&mut pipeline, &message, Outgoing);
    assert_eq!(passed.outcome, Dropped);
    assert_counted(&passed, Outgoing, 60_000, &[("drop_hook_too_long", 1)]);
}

#[test]
fn a_message_below_min_msg_len_skips_the_hook() {
    let len = REQUEST.len();
    for (min, outcome) in [(len, Replaced), (len + 1, Unchanged)] {
        let min = format!("modparam(\"corex\", \"min_msg_len\", {min})\n");
        for direction in [Incoming, Outgoing] {
            let mut pipeline = protected(&min, "$avp(msg) = \"x\";");
            let passed = intercept(&mut pipeline, REQUEST, direction);
            assert_eq!(passed.outcome, outcome);
            if outcome == Unchanged {
                let skipped = [("bytes_in", LEN), ("hook_skipped", 1)];
                assert_eq!(counted(&passed.counters), skipped);
            }
        }
    }
}

#[test]
fn without_network_io_intercept_everything_goes_on_as_it_came() {
    let text = format!(
        "{INLINE}modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")\n\
         event_route[network:msg] {{ $avp(msg) = \"x\"; }}\n"
    );
    let mut pipeline = pipeline(&text);
    for direction in [Incoming, Outgoing] {
        let passed = intercept(&mut pipeline, REQUEST, direction);
        assert_eq!(passed.outcome, Unchanged);
        assert_eq!(counted(&passed.counters), [("bytes_in", LEN)]);
    }
}

#[test]
fn nothing_is_left_of_one_message_for_the_next() {
    let hook = "if ($avp(kept) == \"yes\") $avp(msg) = \"leak\"; \
        $avp(kept) = \"yes\"; \
        if (is_incoming()) $avp(msg) = \"secret\";";
    let mut pipeline = protected("", hook);
    assert_eq!(
        intercept(&mut pipeline, REQUEST, Incoming).outcome,
        Replaced
    );
    let passed = intercept(&mut pipeline, REQUEST, Outgoing);
    assert_eq!((passed.outcome, passed.counters.hook_unset), (Unchanged, 1));
}

#[test]
fn who_looks_sees_messages_before_and_after_the_hook() {
    let mut pipeline = protected(
        "",
        "if (is_incoming()) $avp(msg) = \"x\"; else $avp(msg) = $mb;",
    );
    let mut seen = pipeline.context().tap.open(Regex::new("").unwrap(), 10);
    for direction in [Incoming, Outgoing] {
        intercept(&mut pipeline, REQUEST, direction);
        let traced = seen.try_recv().unwrap();
        let packet = inbound(REQUEST, direction);
        assert_eq!(
            (traced.direction, traced.transport),
            (direction, Transport::Udp)
        );
        assert_eq!((traced.src, traced.dst), (packet.source, packet.local));
        assert_eq!(traced.before, REQUEST);
        let after = (direction == Incoming).then(|| b"x".to_vec());
        assert_eq!(traced.after, after);
    }
}
