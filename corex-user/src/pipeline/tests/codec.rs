//! Chains that run on messages without a script, in both modes.

use super::*;
use crate::chain::{ChainId, Chains, Codecs};
use crate::pipeline::Intercepted;
use corex_script::Direction::{self, Incoming, Outgoing};

/// What `codec_encode` makes of a message by a codec's name.
pub(super) fn encoded(codec: &str, message: &[u8]) -> Vec<u8> {
    let settings = corex_script::settings::Settings::default();
    let mut codecs = Codecs::new(Arc::new(Chains::load(&settings).unwrap()));
    let id = ChainId::find(&settings, codec.as_bytes()).unwrap();
    let mut out = Vec::new();
    codecs.encode(id, None, message, &mut out).unwrap();
    out
}

const NATIVE: &str = "modparam(\"corex\", \"codec_in\", \"gzip;peer=10.0.0.9\")\n\
    modparam(\"corex\", \"codec_out\", \"base64;peer=10.0.0.8\")\n";

fn routed(more: &str) -> String {
    format!("{HEAD}{NATIVE}{more}request_route {{ send(\"10.0.0.8\"); }}\n")
}

#[test]
fn a_message_is_decoded_routed_and_encoded_without_a_hook() {
    let mut egress = Recorder::default();
    let compressed = encoded("gzip", REQUEST);
    let counters = pass(&routed(""), &compressed, &mut egress);
    assert_eq!(egress.left[0].payload, encoded("base64", REQUEST));
    assert_eq!((counters.codec_in, counters.codec_out), (1, 1));
    assert_eq!((counters.hook_in, counters.hook_out), (0, 0));
    assert_eq!(counters.bytes_in, compressed.len() as u64);
    assert_eq!(counters.bytes_out, egress.left[0].payload.len() as u64);
}

#[test]
fn the_hook_sees_the_plain_form_both_ways() {
    let hook = "event_route[network:msg] {
        if (is_incoming()) $avp(msg) = $(mb{s.replace,Call-ID: 1,Call-ID: 2});
        else $avp(msg) = $(mb{s.replace,Call-ID: 2,Call-ID: 3}); }\n";
    let mut egress = Recorder::default();
    let text = routed(&format!("{HOOKED}{hook}"));
    let counters = pass(&text, &encoded("gzip", REQUEST), &mut egress);
    let text = String::from_utf8(REQUEST.to_vec()).unwrap();
    let text = text.replace("Call-ID: 1", "Call-ID: 3");
    assert_eq!(egress.left[0].payload, encoded("base64", text.as_bytes()));
    assert_eq!((counters.hook_in, counters.hook_out), (1, 1));
}

#[test]
fn what_cannot_be_decoded_is_dropped_or_passed_with_a_reason() {
    let mut egress = Recorder::default();
    let counters = pass(&routed(""), REQUEST, &mut egress);
    assert_eq!((counters.drop_codec, counters.codec_malformed), (1, 1));
    assert!(egress.left.is_empty());
    let passes = "modparam(\"codec\", \"on_error\", \"pass\")\n";
    let route = "request_route {
        if ($codec_error == \"malformed\") send(\"10.0.0.7\"); else send(\"10.0.0.6\"); }\n";
    let text = format!("{HEAD}{NATIVE}{passes}{route}");
    let counters = pass(&text, REQUEST, &mut egress);
    assert_eq!((counters.codec_passed, counters.sent), (1, 1));
    assert_eq!(egress.left[0].to, "10.0.0.7:5060".parse().unwrap());
    let mut egress = Recorder::default();
    pass(&text, &encoded("gzip", REQUEST), &mut egress);
    assert_eq!(egress.left[0].to, "10.0.0.6:5060".parse().unwrap());
}

#[test]
fn what_cannot_be_encoded_is_a_counted_drop() {
    let text = routed("modparam(\"codec\", \"max_output\", 60)\n");
    let long = [&REQUEST[..REQUEST.len() - 2], b"X: y\r\n\r\n"].concat();
    assert!(encoded("base64", &long).len() > 60);
    let mut pipeline = pipeline(&text);
    let mut egress = Recorder::default();
    let mut message = inbound(&long);
    message.source = "10.0.0.99:5060".parse().unwrap();
    pipeline.receive(message, &mut egress);
    assert_eq!(pipeline.counters.drop_codec, 1);
    assert_eq!(pipeline.counters.codec_too_long, 1);
    assert!(egress.left.is_empty());
}

#[test]
fn short_messages_and_other_peers_are_left_alone() {
    let short = routed("modparam(\"corex\", \"min_msg_len\", 1000)\n");
    let mut egress = Recorder::default();
    let counters = pass(&short, REQUEST, &mut egress);
    assert_eq!(
        (counters.codec_in, counters.codec_out, counters.sent),
        (0, 0, 1)
    );
    assert_eq!(egress.left[0].payload, REQUEST);
    let mut pipeline = pipeline(&routed(""));
    let mut message = inbound(REQUEST);
    message.source = "10.0.0.99:5060".parse().unwrap();
    pipeline.receive(message, &mut egress);
    assert_eq!((pipeline.counters.codec_in, pipeline.counters.sent), (0, 1));
}

#[test]
fn functions_of_routes_know_chains_and_count_by_reason() {
    let text = format!(
        "{HEAD}modparam(\"codec\", \"chain\", \"edge=xor(text=k) | hex\")
         request_route {{
            codec_encode(\"edge\", $mb, $var(wire));
            codec_decode(\"edge\", $var(wire), $var(back));
            if ($var(back) != $mb || $codec_error != $null) {{ drop; }}
            if (codec_decode(\"edge\", \"xyz\", $var(back))) {{ drop; }}
            if ($codec_error == \"malformed\" && $var(back) == $mb) {{ send(\"10.0.0.8\"); }}
         }}\n"
    );
    let counters = pass(&text, REQUEST, &mut Recorder::default());
    assert_eq!((counters.codec_malformed, counters.sent), (1, 1));
    assert_eq!(counters.drop_codec, 0);
}

const INLINE: &str = "loadmodule \"corex.so\"\nloadmodule \"codec.so\"\n\
    modparam(\"corex\", \"mode\", \"inline\")\n\
    modparam(\"corex\", \"protect\", \"udp:10.0.0.1:5060\")\n\
    modparam(\"corex\", \"codec_in\", \"gzip;socket=10.0.0.1:5060\")\n\
    modparam(\"corex\", \"codec_out\", \"gzip;peer=192.0.2.0/24\")\n";

fn intercept(
    text: &str,
    message: &[u8],
    direction: Direction,
) -> (Intercepted, Vec<u8>, WorkerCounters) {
    let mut pipeline = pipeline(text);
    let peer = "192.0.2.9:5070".parse().unwrap();
    let server = "10.0.0.1:5060".parse().unwrap();
    let (source, local) = match direction {
        Incoming => (peer, server),
        Outgoing => (server, peer),
    };
    let packet = Inbound {
        source,
        local,
        ttl: None,
        ..inbound(message)
    };
    let mut replacement = b"old".to_vec();
    let outcome = pipeline.intercept(packet, direction, &mut replacement);
    (outcome, replacement, pipeline.counters)
}

#[test]
fn inline_mode_runs_chains_without_a_hook_and_around_one() {
    let packed = encoded("gzip", REQUEST);
    let upper = "$avp(msg) = $(mb{s.toupper});";
    let nothing = "$avp(msg) = $mb;";
    let hook = |what: &str| format!("{INLINE}{HOOKED}event_route[network:msg] {{ {what} }}\n");
    let shouted = REQUEST.to_ascii_uppercase();
    for (text, plain_in, plain_out) in [
        (INLINE.to_owned(), REQUEST, REQUEST),
        (hook(nothing), REQUEST, REQUEST),
        (hook(upper), &shouted[..], &shouted[..]),
    ] {
        let (outcome, out, counters) = intercept(&text, &packed, Incoming);
        assert_eq!(
            (outcome, &out[..]),
            (Intercepted::Replaced, plain_in),
            "{text}"
        );
        assert_eq!(counters.codec_in, 1);
        let (outcome, out, counters) = intercept(&text, REQUEST, Outgoing);
        assert_eq!(outcome, Intercepted::Replaced, "{text}");
        assert_eq!(out, encoded("gzip", plain_out), "{text}");
        assert_eq!(counters.codec_out, 1);
    }
}

#[test]
fn inline_mode_drops_what_does_not_decode_or_passes_it() {
    let (outcome, _, counters) = intercept(INLINE, REQUEST, Incoming);
    assert_eq!(outcome, Intercepted::Dropped);
    assert_eq!((counters.drop_codec, counters.codec_malformed), (1, 1));
    let passes = format!("{INLINE}modparam(\"codec\", \"on_error\", \"pass\")\n");
    let (outcome, _, counters) = intercept(&passes, REQUEST, Incoming);
    assert_eq!(outcome, Intercepted::Unchanged);
    assert_eq!((counters.drop_codec, counters.codec_passed), (0, 1));
}
