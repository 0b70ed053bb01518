//! Who isn't let in, before anything answers.

use corex_script::guard::{Guard as _, GuardError, Offence};
use corex_script::{Direction, settings::GuardSettings};
use corex_sip::Transport;

use super::{FULL_REQUEST, HEAD, Recorder, WorkerCounters, inbound, pipeline};
use crate::{
    guard::{Guard, Listings, Which},
    pipeline::{Inbound, Intercepted, Pipeline},
};

/// A pipeline with the guard that its configuration asks for.
pub(super) fn guarded(text: &str) -> Pipeline {
    guarded_by(&format!("{HEAD}{text}"))
}

/// The same of a whole configuration.
fn guarded_by(text: &str) -> Pipeline {
    let mut pipeline = pipeline(text);
    let mut context = std::sync::Arc::into_inner(std::mem::replace(
        &mut pipeline.context,
        super::pipeline(HEAD).context,
    ))
    .unwrap();
    let listings = context.config.program.shared::<Listings>().unwrap();
    let settings = &context.config.settings.corex.guard;
    context.guard = Guard::start(settings, &listings, None).unwrap();
    pipeline.context = std::sync::Arc::new(context);
    pipeline
}

/// What leaves for a message, and what is counted.
fn admitted(pipeline: &mut Pipeline, inbound: Inbound<'_>) -> (usize, WorkerCounters) {
    let mut egress = Recorder::default();
    pipeline.counters = WorkerCounters::default();
    if !pipeline.refuses(&inbound) {
        pipeline.receive(inbound, &mut egress);
    }
    assert_eq!(pipeline.counters.decided(), 1, "{:?}", pipeline.counters);
    assert_eq!(
        pipeline.counters.bytes_in,
        inbound.payload.len() as u64,
        "{:?}",
        pipeline.counters
    );
    (egress.left.len(), pipeline.counters)
}

#[test]
fn who_is_blocked_gets_no_answer_and_who_is_allowed_does() {
    let mut pipeline = guarded(
        "modparam(\"corex\", \"block\", \"10.0.0.0/24\")\n\
         modparam(\"corex\", \"keepalive\", \"pong\")\nmodparam(\"corex\", \"stun\", 1)\n\
         modparam(\"corex\", \"options_ping\", 1)\nloadmodule \"sl.so\"\n\
         request_route { sl_send_reply(\"404\", \"No\"); }",
    );
    let options = FULL_REQUEST.to_vec();
    let stun = b"\0\x01\0\0\x21\x12\xa4\x42transaction!";
    for message in [&options[..], b"\r\n\r\n", stun] {
        let (left, counters) = admitted(&mut pipeline, inbound(message));
        assert_eq!((left, counters.drop_guard_block), (0, 1));
    }
    let guard = pipeline.context.guard.clone();
    guard
        .allow(
            corex_script::settings::guard::network("10.0.0.9").unwrap(),
            None,
        )
        .unwrap();
    for message in [&options[..], b"\r\n\r\n", stun] {
        let (left, counters) = admitted(&mut pipeline, inbound(message));
        assert_eq!((left, counters.guard_allowed), (1, 1), "{counters:?}");
    }
}

#[test]
fn a_method_that_gets_no_answer_gets_none_by_tcp_either_nor_when_it_was_encoded() {
    let mut pipeline = guarded(
        "modparam(\"corex\", \"stealth\", \"options\")\n\
         modparam(\"codec\", \"chain\", \"edge=base64\")\n\
         modparam(\"corex\", \"codec_in\", \"edge;peer=10.0.0.77\")\n\
         request_route { send(\"10.0.0.8\"); }",
    );
    for transport in [Transport::Udp, Transport::Tcp] {
        let message = Inbound {
            transport,
            ..inbound(FULL_REQUEST)
        };
        let (left, counters) = admitted(&mut pipeline, message);
        assert_eq!((left, counters.drop_guard_stealth), (0, 1), "{transport}");
    }
    let invite = String::from_utf8_lossy(FULL_REQUEST).replace("OPTIONS", "INVITE");
    let (left, counters) = admitted(&mut pipeline, inbound(invite.as_bytes()));
    assert_eq!((left, counters.drop_guard_stealth), (1, 0));
    let encoded = base64(FULL_REQUEST);
    let message = Inbound {
        source: "10.0.0.77:5060".parse().unwrap(),
        ..inbound(encoded.as_bytes())
    };
    let (left, counters) = admitted(&mut pipeline, message);
    assert_eq!((left, counters.drop_guard_stealth), (0, 1), "{counters:?}");
    assert_eq!(counters.codec_in, 1);
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let number = (0..3).fold(0_usize, |all, at| {
            all << 8 | usize::from(bytes.get(at).copied().unwrap_or(0))
        });
        let letter = |at: usize| match at <= bytes.len() {
            true => char::from(LETTERS[number >> (18 - 6 * at) & 63]),
            false => '=',
        };
        [letter(0), letter(1), letter(2), letter(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[test]
fn dry_run_lets_all_in_and_counts_what_it_would_have_done() {
    let mut pipeline = guarded(
        "modparam(\"corex\", \"block\", \"10.0.0.9\")\n\
         modparam(\"corex\", \"stealth\", \"10.0.0.0/8; udp\")\n\
         modparam(\"corex\", \"stealth\", \"OPTIONS\")\n\
         modparam(\"corex\", \"guard_dry_run\", \"block, stealth\")\n\
         request_route { send(\"10.0.0.8\"); }",
    );
    let (left, counters) = admitted(&mut pipeline, inbound(FULL_REQUEST));
    assert_eq!((left, counters.drop_guard_block), (1, 0));
    // The entry that names a transport is the closer one.
    assert_eq!(
        (counters.guard_dry_block, counters.guard_dry_stealth),
        (0, 1)
    );
    let by_tcp = Inbound {
        transport: Transport::Tcp,
        ..inbound(FULL_REQUEST)
    };
    let (left, counters) = admitted(&mut pipeline, by_tcp);
    assert_eq!(left, 1);
    assert_eq!(
        (counters.guard_dry_block, counters.guard_dry_stealth),
        (1, 1)
    );
}

#[test]
fn scripts_block_and_ask_and_unblock() {
    let mut pipeline = guarded(
        "modparam(\"corex\", \"guard\", 1)\nmodparam(\"corex\", \"allow\", \"10.9.0.0/16\")\n\
         request_route {\n\
         if (guard_blocked(\"192.0.2.1\")) { send(\"10.0.0.1:1\"); }\n\
         if (!guard_block(\"192.0.2.0/24\", 60)) { send(\"10.0.0.1:2\"); }\n\
         if (!guard_blocked(\"192.0.2.1\")) { send(\"10.0.0.1:3\"); }\n\
         if (!guard_unblock(\"192.0.2.0/24\")) { send(\"10.0.0.1:4\"); }\n\
         if (guard_unblock(\"192.0.2.0/24\")) { send(\"10.0.0.1:5\"); }\n\
         if (guard_block(\"10.9.1.1\")) { send(\"10.0.0.1:6\"); }\n\
         if (!guard_allowed(\"10.9.1.1\")) { send(\"10.0.0.1:7\"); }\n\
         if (guard_block(\"nobody\")) { send(\"10.0.0.1:8\"); }\n\
         if (guard_block(\"192.0.2.9\", 0)) { send(\"10.0.0.1:9\"); }\n\
         if (!guard_block(\"$si\")) { send(\"10.0.0.1:10\"); }\n\
         if (!guard_allow(\"2001:db8::/32\", \"60\")) { send(\"10.0.0.1:11\"); }\n\
         send(\"10.0.0.8\"); }",
    );
    let (left, counters) = admitted(&mut pipeline, inbound(FULL_REQUEST));
    assert_eq!((left, counters.sent), (1, 1));
    let (left, counters) = admitted(&mut pipeline, inbound(FULL_REQUEST));
    assert_eq!((left, counters.drop_guard_block), (0, 1));
    assert_eq!(pipeline.context.guard.entries(Which::Block).len(), 1);
    assert_eq!(pipeline.context.guard.entries(Which::Allow).len(), 2);
}

#[test]
fn without_a_guard_functions_are_false_and_all_is_let_in() {
    let mut pipeline =
        guarded("request_route { if (guard_block(\"$si\")) { drop; } send(\"10.0.0.8\"); }");
    for _ in 0..2 {
        let (left, counters) = admitted(&mut pipeline, inbound(FULL_REQUEST));
        assert_eq!((left, counters.guard_allowed), (1, 0));
    }
}

#[test]
fn a_guard_is_switched_on_and_off_and_keeps_what_was_put_in() {
    let mut pipeline = guarded("request_route { send(\"10.0.0.8\"); }");
    let guard = pipeline.context.guard.clone();
    let source = corex_script::settings::guard::network("10.0.0.9").unwrap();
    assert_eq!(guard.block(source, None, "test"), Err(GuardError::Off));
    let (on, off) = (
        GuardSettings {
            is_on: true,
            ..GuardSettings::default()
        },
        GuardSettings::default(),
    );
    let nothing = Listings::default();
    guard.follow(&on, &nothing);
    guard.block(source, None, "test").unwrap();
    for (settings, left) in [(&on, 0), (&off, 1), (&on, 0)] {
        guard.follow(settings, &nothing);
        assert_eq!(guard.is_on(), left == 0);
        assert_eq!(guard.entries(Which::Block).len(), 1 - left);
        let (found, counters) = admitted(&mut pipeline, inbound(FULL_REQUEST));
        assert_eq!((found, counters.drop_guard_block), (left, 1 - left as u64));
    }
    // What was kept is read when the guard is switched on for the first time, too.
    let kept = Listings {
        kept: vec![crate::guard::kept_line("block by=rpc 10.0.0.0/8").unwrap()],
        ..Listings::default()
    };
    let guard = Guard::start(&off, &nothing, None).unwrap();
    guard.follow(&on, &kept);
    assert!(guard.is_blocked("10.0.0.9".parse().unwrap()));
}

#[test]
fn who_is_trusted_is_not_blocked_after_offences() {
    let mut pipeline = guarded(
        "modparam(\"corex\", \"rate\", \"src: 1/h burst 1\")\n\
         modparam(\"corex\", \"rate_block\", \"2 in 1h for 1h\")\n\
         request_route { send(\"10.0.0.8\"); }",
    );
    let guard = pipeline.context.guard.clone();
    let settings = pipeline.context.config.settings.corex.guard.clone();
    let source = "10.0.0.9".parse().unwrap();
    let trusting = Listings {
        trust: vec![corex_script::settings::guard::network("10.0.0.0/28").unwrap()],
        ..Listings::default()
    };
    guard.follow(&settings, &trusting);
    for left in [1, 0, 0, 0] {
        let (found, counters) = admitted(&mut pipeline, inbound(FULL_REQUEST));
        assert_eq!((found, counters.drop_guard_rate), (left, 1 - left as u64));
        assert_eq!(guard.offence(source), Offence::Allowed);
    }
    assert!(!guard.is_blocked(source));
    // Who names it blocks it nevertheless.
    guard
        .block(corex_common::guard::Network::host(source), None, "test")
        .unwrap();
    let (found, counters) = admitted(&mut pipeline, inbound(FULL_REQUEST));
    assert_eq!((found, counters.drop_guard_block), (0, 1));
    assert!(guard.unblock(corex_common::guard::Network::host(source)));
    guard.follow(&settings, &Listings::default());
    for _ in 0..2 {
        admitted(&mut pipeline, inbound(FULL_REQUEST));
    }
    assert!(guard.is_blocked(source), "as one that nobody trusts");
}

#[test]
fn what_inline_mode_decodes_is_judged_for_what_it_says() {
    const INLINE: &str = "loadmodule \"corex.so\"\nloadmodule \"codec.so\"\n\
         modparam(\"corex\", \"mode\", \"inline\")\n\
         modparam(\"corex\", \"protect\", \"udp:10.0.0.1:5060\")\n\
         modparam(\"codec\", \"chain\", \"edge=base64\")\n\
         modparam(\"corex\", \"codec_in\", \"edge\")\n";
    let scanner = String::from_utf8_lossy(FULL_REQUEST)
        .replace("Call-ID:", "User-Agent: friendly-scanner\r\nCall-ID:");
    assert!(scanner.contains("friendly"));
    let junk = "no SIP at all, as long as it may be";
    for (parameter, dropped, passed) in [
        ("\"stealth\", \"OPTIONS\"", FULL_REQUEST, junk.as_bytes()),
        (
            "\"signatures\", \"default\"",
            scanner.as_bytes(),
            FULL_REQUEST,
        ),
        ("\"malformed\", 1", junk.as_bytes(), FULL_REQUEST),
    ] {
        for (dry, refused) in [("", 1), ("all", 0)] {
            let dry = match dry {
                "" => String::new(),
                rules => format!("modparam(\"corex\", \"guard_dry_run\", \"{rules}\")\n"),
            };
            let mut pipeline =
                guarded_by(&format!("{INLINE}modparam(\"corex\", {parameter})\n{dry}"));
            let mut seen = |message: &[u8]| {
                pipeline.counters = WorkerCounters::default();
                let encoded = base64(message);
                let packet = inbound(encoded.as_bytes());
                let outcome = pipeline.intercept(packet, Direction::Incoming, &mut Vec::new());
                let counters = pipeline.counters;
                let drops = counters.drop_guard_stealth + counters.drop_guard_signature;
                let would = counters.guard_dry_stealth + counters.guard_dry_signature;
                assert_eq!(outcome == Intercepted::Dropped, drops == 1, "{parameter}");
                (drops, would)
            };
            assert_eq!(seen(dropped), (refused, 1 - refused), "{parameter}");
            assert_eq!(seen(passed), (0, 0), "{parameter}");
        }
    }
}
