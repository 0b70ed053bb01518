//! One message in, what leaves, and the one verdict that it gets.

mod answers;
mod codec;
mod copies;
mod fixed;
mod guard;
mod inline;
mod overload;
mod replies;
mod strict;

use std::{net::SocketAddr, sync::Arc};

use super::{
    Egress, Inbound, Listener, Outbound, Pipeline, PipelineContext, TransmitError, WorkerCounters,
    files::Files, fixed::Fixed, outbox::NoOutbox, own_sockets, set_knobs,
};
use crate::kernel::knobs::Knobs;
use corex_script::{Config, SocketId};
use corex_sip::{Transport, alias, compose::ReplyKeys};

const REQUEST: &[u8] = b"OPTIONS sip:10.0.0.8 SIP/2.0\r\nCall-ID: 1\r\n\r\n";
const FULL_REQUEST: &[u8] = b"OPTIONS sip:10.0.0.8 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\n\
    From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
const REPLY: &[u8] = b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
const HEAD: &str = "listen=udp:10.0.0.1:5060\nlisten=udp:[fd00::1]:5060\n\
    loadmodule \"corex.so\"\nloadmodule \"codec.so\"\n";
const HOOKED: &str = "modparam(\"corex\", \"network_io_intercept\", 1)\n\
    modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")\n";

/// What left: from which address, to which, and the bytes.
#[derive(Debug, PartialEq)]
struct Left {
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
    ttl: u8,
}

#[derive(Default)]
struct Recorder {
    left: Vec<Left>,
    /// Address and length of what left.
    slices: Vec<(usize, usize)>,
    refuse: Option<TransmitError>,
}

impl Egress for Recorder {
    fn transmit(
        &mut self,
        out: Outbound<'_>,
        _counters: &mut WorkerCounters,
    ) -> Result<(), TransmitError> {
        if let Some(error) = self.refuse {
            return Err(error);
        }
        self.slices
            .push((out.payload.as_ptr().addr(), out.payload.len()));
        self.left.push(Left {
            from: out.local,
            to: out.to,
            payload: out.payload.to_vec(),
            ttl: out.ttl,
        });
        Ok(())
    }
}

fn pipeline(text: &str) -> Pipeline {
    pipeline_with(text, Fixed::new)
}

/// A pipeline that goes by what `fixed` says of the configuration.
fn pipeline_with(text: &str, fixed: impl Fn(&Config, &[Listener]) -> Fixed) -> Pipeline {
    let loaded = corex_script::load_str("test.cfg", text, crate::module::MODULES);
    let report = loaded.report.render(false);
    let config = loaded.config.unwrap_or_else(|| panic!("{report}"));
    let listeners: Vec<Listener> = config
        .settings
        .listen
        .iter()
        .map(|l| Listener {
            advertise: l.advertise.clone(),
            ..Listener::new(
                l.transport,
                SocketAddr::new(l.host.parse().unwrap(), l.port),
            )
        })
        .collect();
    let knobs = Knobs::on_heap();
    set_knobs(&knobs, &config.settings.corex);
    let context = PipelineContext {
        own: Arc::new(own_sockets(&listeners)),
        aliases: alias::Table::new(&config.settings.alias, []),
        reply_keys: (config.settings.corex.reply_check)
            .then(|| ReplyKeys::of_bytes(b"the key of these tests")),
        fixed: fixed(&config, &listeners),
        config,
        listeners,
        knobs,
        guard: crate::guard::Guard::default(),
        tap: Arc::default(),
        exporter: Arc::default(),
        outbox: Box::new(NoOutbox),
        files: Files::start(super::files::FileRoots::default(), 0).unwrap(),
    };
    Pipeline::new(Arc::new(context), 0)
}

fn inbound(message: &[u8]) -> Inbound<'_> {
    Inbound {
        payload: message,
        source: "10.0.0.9:5070".parse().unwrap(),
        local: "10.0.0.1:5060".parse().unwrap(),
        socket: SocketId(0),
        transport: Transport::Udp,
        connection: None,
        ttl: Some(17),
    }
}

fn pass(text: &str, message: &[u8], egress: &mut Recorder) -> WorkerCounters {
    let mut pipeline = pipeline(text);
    pipeline.receive(inbound(message), egress);
    let counters = pipeline.counters;
    let verdicts: u64 = WorkerCounters::NAMES
        .iter()
        .zip(counters.values())
        .filter(|(name, _)| {
            matches!(
                **name,
                "sent" | "replied" | "consumed" | "stun_answered" | "keepalive_answered"
            ) || name.starts_with("drop_")
        })
        .map(|(_, value)| value)
        .sum();
    assert_eq!(verdicts, 1, "one verdict: {counters:?}");
    counters
}

/// Passes a message that must be dropped.
fn dropped(text: &str, message: &[u8]) -> WorkerCounters {
    let mut egress = Recorder::default();
    let counters = pass(text, message, &mut egress);
    assert_eq!(egress.left, []);
    counters
}

fn request_route(body: &str) -> String {
    format!("{HEAD}request_route {{ {body} }}")
}

fn hooked(hook: &str) -> String {
    format!(
        "{HEAD}{HOOKED}event_route[network:msg] {{ {hook} }}\n\
         request_route {{ send(\"10.0.0.8\"); }}"
    )
}

#[test]
fn an_unchanged_message_leaves_as_the_very_slice_that_came_in() {
    for text in [
        request_route("send(\"10.0.0.8\");"),
        hooked("$avp(msg) = $mb;"),
    ] {
        let mut egress = Recorder::default();
        let counters = pass(&text, REQUEST, &mut egress);
        assert_eq!(counters.sent, 1);
        assert_eq!(egress.slices, [(REQUEST.as_ptr().addr(), REQUEST.len())]);
        let left = &egress.left[0];
        assert_eq!(left.from, "10.0.0.1:5060".parse().unwrap());
        assert_eq!(left.to, "10.0.0.8:5060".parse().unwrap());
    }
}

#[test]
fn a_message_sent_twice_counts_as_one_message() {
    let mut egress = Recorder::default();
    let text = request_route("send(\"10.0.0.8\"); send(\"10.0.0.7:5080\");");
    let counters = pass(&text, REQUEST, &mut egress);
    assert_eq!((counters.sent, egress.left.len()), (1, 2));
    assert_eq!(counters.bytes_out, 2 * REQUEST.len() as u64);
}

#[test]
fn an_ipv6_destination_leaves_from_the_ipv6_socket() {
    let mut egress = Recorder::default();
    pass(
        &request_route("send(\"[fd00::8]:5060\");"),
        REQUEST,
        &mut egress,
    );
    assert_eq!(egress.left[0].from, "[fd00::1]:5060".parse().unwrap());
}

#[test]
fn without_a_socket_of_the_family_the_message_is_dropped() {
    let text = "listen=udp:10.0.0.1:5060\nloadmodule \"corex.so\"\n\
        request_route { send(\"[fd00::8]:5060\"); }";
    assert_eq!(dropped(text, REQUEST).drop_send_no_socket, 1);
}

#[test]
fn what_would_come_back_to_a_listener_of_ours_is_not_sent() {
    let head = "listen=udp:10.0.0.1:5060 advertise sip.example.org:5080\n\
        listen=udp:[fd00::1]:5060 advertise 203.0.113.1\nlisten=udp:0.0.0.0:5090\n\
        listen=tcp:10.0.0.1:5070\nloadmodule \"corex.so\"\nloadmodule \"sl.so\"\n";
    for (to, is_own) in [
        ("10.0.0.1:5060", true),
        // As the message came in, and from another socket of ours.
        ("[fd00::1]:5060", true),
        ("[::ffff:10.0.0.1]:5060", true),
        ("0.0.0.0:5060", true),
        ("127.3.2.1:5090", true),
        ("203.0.113.1:5060", true),
        ("SIP.example.org:5080", true),
        ("10.0.0.1:5061", false),
        ("10.0.0.1:5070", false),
        ("10.0.0.8:5060", false),
        ("127.3.2.1:5060", false),
        ("192.0.2.7:5090", false),
    ] {
        let urls = [
            format!("$var(to) = \"{to}\"; $var(ok) = send(\"$var(to)\");"),
            format!("$var(to) = \"sip:{to}\"; $var(ok) = send_data(\"$var(to)\", \"hello\");"),
            format!("$du = \"sip:{to}\"; $var(ok) = send();"),
            format!("$du = \"sip:{to}\"; $var(ok) = forward();"),
            format!("$ru = \"sip:{to}\"; $var(ok) = forward();"),
        ];
        for url in urls {
            let text =
                format!("{head}request_route {{ {url} if ($var(ok) < 0) send(\"10.0.0.99\"); }}");
            let mut egress = Recorder::default();
            pass(&text, FULL_REQUEST, &mut egress);
            let to: Vec<_> = egress.left.iter().map(|left| left.to.to_string()).collect();
            let refused = ["10.0.0.99:5060"];
            assert_eq!(to == refused, is_own, "{url}: {to:?}");
            let text = format!("{head}request_route {{ {url} }}");
            let mut egress = Recorder::default();
            let counters = pass(&text, FULL_REQUEST, &mut egress);
            assert_eq!(counters.drop_send_self, u64::from(is_own), "{url}");
        }
    }
}

#[test]
fn a_reply_to_a_request_that_claims_to_come_from_us_is_not_sent() {
    let text =
        format!("{HEAD}loadmodule \"sl.so\"\nrequest_route {{ sl_send_reply(\"200\", \"OK\"); }}");
    let mut pipeline = pipeline(&text);
    let mut egress = Recorder::default();
    let inbound = |source: &str| Inbound {
        source: source.parse().unwrap(),
        ..inbound(FULL_REQUEST)
    };
    pipeline.receive(inbound("10.0.0.1:5060"), &mut egress);
    assert_eq!(
        (pipeline.counters.drop_send_self, egress.left.len()),
        (1, 0)
    );
    pipeline.receive(inbound("10.0.0.9:5060"), &mut egress);
    assert_eq!((pipeline.counters.replied, egress.left.len()), (1, 1));
}

#[test]
fn what_is_sent_as_it_is_has_a_hop_less_and_what_sip_counts_begins_anew() {
    let ttl_of = |body: &str, ttl: Option<u8>| {
        let mut pipeline = pipeline(&format!(
            "{HEAD}loadmodule \"sl.so\"\nrequest_route {{ {body} }}"
        ));
        let mut egress = Recorder::default();
        let inbound = Inbound {
            ttl,
            ..inbound(FULL_REQUEST)
        };
        pipeline.receive(inbound, &mut egress);
        let ttls: Vec<u8> = egress.left.iter().map(|left| left.ttl).collect();
        (ttls, pipeline.counters.drop_send_ttl)
    };
    let kept = [
        "send(\"10.0.0.8\");",
        "send_data(\"sip:10.0.0.8\", \"$mb\");",
        "sendx(\"sip:10.0.0.8\", \"\", \"$mb\");",
    ];
    for body in kept {
        assert_eq!(ttl_of(body, Some(17)), (vec![16], 0), "{body}");
        assert_eq!(ttl_of(body, Some(255)), (vec![254], 0), "{body}");
        assert_eq!(ttl_of(body, Some(2)), (vec![1], 0), "{body}");
        assert_eq!(ttl_of(body, Some(1)), (vec![], 1), "{body}");
        assert_eq!(ttl_of(body, Some(0)), (vec![], 1), "{body}");
        // By a stream.
        assert_eq!(ttl_of(body, None), (vec![64], 0), "{body}");
    }
    for body in ["forward(\"10.0.0.8\");", "sl_send_reply(\"200\", \"OK\");"] {
        for ttl in [Some(17), Some(1), None] {
            assert_eq!(ttl_of(body, ttl), (vec![64], 0), "{body}");
        }
    }
}

#[test]
fn what_the_hook_replaces_has_a_hop_less_too() {
    let mut egress = Recorder::default();
    pass(&hooked("$avp(msg) = $mb + \"x\";"), REQUEST, &mut egress);
    assert_eq!(egress.left[0].ttl, 16);
}

#[test]
fn a_host_name_is_a_counted_drop() {
    let counters = dropped(&request_route("send(\"sip.example.com\");"), REQUEST);
    assert_eq!(counters.drop_send_unresolved, 1);
}

#[test]
fn what_no_route_sends_is_dropped_by_kind() {
    let nothing = request_route("exit;");
    assert_eq!(dropped(&nothing, REQUEST).drop_request_unrouted, 1);
    assert_eq!(dropped(&nothing, REPLY).drop_reply_unrouted, 1);
    let drop = request_route("drop;");
    assert_eq!(dropped(&drop, REQUEST).drop_script, 1);
}

#[test]
fn a_reply_takes_the_reply_route() {
    let mut egress = Recorder::default();
    let text = format!("{HEAD}reply_route {{ send(\"10.0.0.9:5070\"); }}");
    let counters = pass(&text, REPLY, &mut egress);
    assert_eq!((counters.sent, &egress.left[0].payload[..]), (1, REPLY));
}

#[test]
fn what_is_not_sip_after_the_hook_is_dropped() {
    let noise = [b'z'; 100];
    let send = request_route("send(\"10.0.0.8\");");
    assert_eq!(dropped(&send, &noise).drop_not_sip, 1);
    let counters = dropped(&hooked("$avp(msg) = \"no SIP at all\";"), REQUEST);
    assert_eq!((counters.hook_replaced, counters.drop_not_sip), (1, 1));
}

#[test]
fn a_message_below_probe_len_never_reaches_the_hook() {
    let counters = dropped(&hooked("$avp(msg) = $mb;"), &REQUEST[..31]);
    assert_eq!((counters.drop_probe, counters.hook_in), (1, 0));
}

#[test]
fn the_hook_runs_from_min_msg_len_on() {
    let text = |min: usize| {
        format!(
            "{}modparam(\"corex\", \"min_msg_len\", {min})\n",
            hooked("$avp(msg) = $mb;")
        )
    };
    for (min, runs) in [
        (REQUEST.len() - 1, 1),
        (REQUEST.len(), 1),
        (REQUEST.len() + 1, 0),
    ] {
        let counters = pass(&text(min), REQUEST, &mut Recorder::default());
        assert_eq!((counters.hook_in, counters.hook_out), (runs, runs));
        assert_eq!(counters.hook_skipped, 2 * (1 - runs));
        assert_eq!(counters.sent, 1);
    }
}

#[test]
fn an_unset_or_integer_avp_leaves_the_message_as_it_was() {
    for hook in ["$var(x) = 1;", "$avp(msg) = 7;"] {
        let mut egress = Recorder::default();
        let counters = pass(&hooked(hook), REQUEST, &mut egress);
        assert_eq!((counters.hook_unset, counters.sent), (2, 1));
        assert_eq!(egress.left[0].payload, REQUEST);
    }
}

/// A hook that fails on what comes in, or on what goes out.
fn failing(direction: &str) -> String {
    let fails = format!("if ({direction}is_incoming()) {{ $var(z) = 1 / $var(none); }}");
    hooked(&format!("{fails} $avp(msg) = $mb;"))
}

#[test]
fn what_the_hook_fails_on_goes_on_or_is_dropped_as_on_hook_failure_says() {
    let drops = "modparam(\"corex\", \"on_hook_failure\", \"drop\")\n";
    let passes = "modparam(\"corex\", \"on_hook_failure\", \"pass\")\n";
    for direction in ["", "!"] {
        let text = failing(direction);
        for parameter in ["", passes] {
            let mut egress = Recorder::default();
            let counters = pass(&format!("{text}{parameter}"), REQUEST, &mut egress);
            let counts = (
                counters.sent,
                counters.hook_failed,
                counters.drop_hook_failed,
            );
            assert_eq!((counts, egress.left.len()), ((1, 1, 0), 1), "{direction}");
        }
        let counters = dropped(&format!("{text}{drops}"), REQUEST);
        let counts = (counters.hook_failed, counters.drop_hook_failed);
        assert_eq!(counts, (1, 1), "{direction}");
    }
}

#[test]
fn an_avp_that_the_script_leaves_unset_is_its_decision() {
    let drops = "modparam(\"corex\", \"on_hook_failure\", \"drop\")\n";
    let mut egress = Recorder::default();
    let counters = pass(
        &format!("{}{drops}", hooked("$var(x) = 1;")),
        REQUEST,
        &mut egress,
    );
    assert_eq!((counters.hook_unset, counters.sent), (2, 1));
}

#[test]
fn an_empty_avp_drops_the_message_on_either_side() {
    let counters = dropped(&hooked("$avp(msg) = \"\";"), REQUEST);
    assert_eq!(
        (
            counters.drop_hook_empty,
            counters.hook_in,
            counters.hook_out
        ),
        (1, 1, 0)
    );
    let outgoing = "if (is_incoming()) $avp(msg) = $mb; else $avp(msg) = \"\";";
    let counters = dropped(&hooked(outgoing), REQUEST);
    assert_eq!((counters.drop_hook_empty, counters.hook_out), (1, 1));
}

#[test]
fn the_outgoing_hook_sees_and_replaces_what_leaves() {
    let hook = "if (is_incoming()) $avp(msg) = $mb; else $avp(msg) = $mb + \"tail\";";
    let mut egress = Recorder::default();
    let counters = pass(&hooked(hook), REQUEST, &mut egress);
    assert_eq!(counters.hook_replaced, 1);
    assert_eq!(egress.left[0].payload, [REQUEST, b"tail"].concat());
    assert_eq!(counters.bytes_out, REQUEST.len() as u64 + 4);
}

#[test]
fn with_intercept_send_0_the_outgoing_hook_is_bypassed_as_in_kamailio() {
    let text = format!(
        "{}modparam(\"corex\", \"intercept_send\", 0)\n",
        hooked("if (is_incoming()) $avp(msg) = $mb; else $avp(msg) = \"\";")
    );
    let counters = pass(&text, REQUEST, &mut Recorder::default());
    assert_eq!((counters.hook_out, counters.sent), (0, 1));
}

#[test]
fn what_comes_in_compressed_is_routed_plain() {
    let compressed = codec::encoded("gzip", REQUEST);
    let hook = "if (is_incoming()) codec_decode(\"gzip\", \"$mb\", \"$avp(msg)\"); \
        else $avp(msg) = $mb;";
    let mut egress = Recorder::default();
    let counters = pass(&hooked(hook), &compressed, &mut egress);
    assert_eq!((counters.hook_replaced, counters.sent), (1, 1));
    assert_eq!(egress.left[0].payload, REQUEST);
}

#[test]
fn a_refused_transmission_is_a_counted_drop() {
    for (error, dropped_as) in [
        (TransmitError::TooLong, "drop_send_too_long"),
        (
            TransmitError::Kernel(std::io::ErrorKind::PermissionDenied),
            "drop_send_error",
        ),
    ] {
        let mut egress = Recorder {
            refuse: Some(error),
            ..Recorder::default()
        };
        let counters = pass(&request_route("send(\"10.0.0.8\");"), REQUEST, &mut egress);
        let at = WorkerCounters::NAMES
            .iter()
            .position(|n| *n == dropped_as)
            .unwrap();
        assert_eq!(counters.values()[at], 1, "{error}");
    }
}
