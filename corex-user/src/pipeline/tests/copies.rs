//! What a collector gets of the messages that pass: their plain form.

use std::{
    net::{IpAddr, UdpSocket},
    sync::mpsc::Sender,
    time::Duration,
};

use super::codec::encoded;
use super::*;
use crate::hep::{Plan, World};
use crate::pipeline::Intercepted;
use corex_script::Direction;

const PATIENCE: Duration = Duration::from_secs(30);

struct NoNames;

impl World for NoNames {
    fn look_up(&self, _: &str, _: Option<u16>, answer: Sender<Option<SocketAddr>>) {
        answer.send(None).unwrap();
    }

    fn is_local(&self, _: IpAddr) -> bool {
        false
    }
}

/// A copy: source, destination, correlation id, message.
type Copy = (SocketAddr, SocketAddr, String, Vec<u8>);

/// A pipeline whose copies come to a socket of the test.
struct Stage {
    pipeline: Pipeline,
    collector: UdpSocket,
}

impl Stage {
    fn new(configuration: &str) -> Stage {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_read_timeout(Some(PATIENCE)).unwrap();
        let port = collector.local_addr().unwrap().port();
        let module = format!(
            "loadmodule \"siptrace.so\"\nmodparam(\"siptrace\", \"trace_on\", 1)\n\
             modparam(\"siptrace\", \"duplicate_uri\", \"sip:127.0.0.1:{port}\")\n"
        );
        let pipeline = pipeline(&configuration.replace("SIPTRACE", &module));
        let context = pipeline.context();
        context.exporter.follow(Plan {
            settings: context.config.settings.siptrace.clone(),
            send_from: None,
            own: Arc::clone(&context.own),
        });
        context.exporter.start(Arc::new(NoNames)).unwrap();
        Stage {
            pipeline,
            collector,
        }
    }

    /// What the collector got, once nothing is left to come.
    fn copies(&self) -> Vec<Copy> {
        let exporter = &self.pipeline.context().exporter;
        exporter.stop();
        assert_eq!(exporter.counters.imbalance(), 0);
        self.collector.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let mut copies = Vec::new();
        while let Ok(len) = self.collector.recv(&mut buffer) {
            copies.push(read(&buffer[..len]));
        }
        copies
    }

    fn receive(&mut self, message: &[u8]) -> Recorder {
        let mut egress = Recorder::default();
        self.pipeline.receive(inbound(message), &mut egress);
        egress
    }
}

/// Reads a HEP packet of IPv4.
fn read(packet: &[u8]) -> Copy {
    let number = |bytes: &[u8]| u16::from_be_bytes(bytes.try_into().unwrap());
    let mut chunks = std::collections::HashMap::new();
    let mut rest = &packet[6..];
    while !rest.is_empty() {
        let len = usize::from(number(&rest[4..6]));
        chunks.insert(number(&rest[2..4]), rest[6..len].to_vec());
        rest = &rest[len..];
    }
    let address = |ip: u16, port: u16| {
        let ip: [u8; 4] = chunks[&ip].clone().try_into().unwrap();
        SocketAddr::new(ip.into(), number(&chunks[&port]))
    };
    let correlation = chunks.get(&0x11).cloned().unwrap_or_default();
    (
        address(3, 7),
        address(4, 8),
        String::from_utf8(correlation).unwrap(),
        chunks[&0x0f].clone(),
    )
}

fn copy(source: &str, destination: &str, correlation: &str, message: &[u8]) -> Copy {
    let address = |text: &str| text.parse().unwrap();
    let correlation = correlation.to_owned();
    (
        address(source),
        address(destination),
        correlation,
        message.to_vec(),
    )
}

const PEER: &str = "10.0.0.9:5070";
const US: &str = "10.0.0.1:5060";
const NEXT: &str = "10.0.0.8:5060";
const ALL: &str = "SIPTRACEmodparam(\"siptrace\", \"trace_mode\", 1)\n";

#[test]
fn the_plain_form_is_copied_both_ways_whatever_is_on_the_wire() {
    let native = "modparam(\"corex\", \"codec_in\", \"gzip;peer=10.0.0.9\")\n\
        modparam(\"corex\", \"codec_out\", \"base64;peer=10.0.0.8\")\n";
    let hook = format!(
        "{HOOKED}event_route[network:msg] {{
            if (is_incoming()) codec_decode(\"gzip\", $mb, $avp(msg));
            else codec_encode(\"base64\", $mb, $avp(msg)); }}\n"
    );
    for how in [native, &hook] {
        let mut stage = Stage::new(&format!(
            "{HEAD}{ALL}{how}request_route {{ send(\"10.0.0.8\"); }}"
        ));
        let egress = stage.receive(&encoded("gzip", REQUEST));
        assert_eq!(egress.left[0].payload, encoded("base64", REQUEST));
        let expected = [copy(PEER, US, "1", REQUEST), copy(US, NEXT, "1", REQUEST)];
        assert_eq!(stage.copies(), expected);
    }
}

#[test]
fn forwarded_requests_and_our_own_replies_are_copied_as_they_leave() {
    for route in [
        "forward(\"10.0.0.8\");",
        "sl_send_reply(\"404\", \"Gone\");",
    ] {
        let mut stage = Stage::new(&format!(
            "{HEAD}loadmodule \"sl.so\"\n{ALL}request_route {{ {route} }}"
        ));
        let egress = stage.receive(FULL_REQUEST);
        let left = &egress.left[0];
        let to = left.to.to_string();
        let expected = [
            copy(PEER, US, "1", FULL_REQUEST),
            copy(US, &to, "1", &left.payload),
        ];
        assert_eq!(stage.copies(), expected, "{route}");
    }
}

#[test]
fn nothing_is_copied_that_is_no_sip_or_does_not_leave_or_while_it_is_off() {
    let mut stage = Stage::new(&format!(
        "{HEAD}{ALL}request_route {{ send(\"10.0.0.8\"); }}"
    ));
    stage.receive(&[b'x'; 40]);
    let mut egress = Recorder {
        refuse: Some(TransmitError::TooLong),
        ..Recorder::default()
    };
    stage.pipeline.receive(inbound(REQUEST), &mut egress);
    stage.pipeline.context().exporter.set_on(false);
    stage.receive(REQUEST);
    stage.pipeline.context().exporter.set_on(true);
    assert_eq!(stage.copies(), [copy(PEER, US, "1", REQUEST)]);
}

#[test]
fn a_script_copies_what_it_wants_where_and_under_which_id_it_wants() {
    let route = "request_route {
        if (!sip_trace()) exit;
        sip_trace(\"\", \"$ci-leg\", \"m\");
        sip_trace_mode(\"M\");
        hlog(\"line of $ci\");
        hlog(\"other\", \"line\");
        send(\"10.0.0.8\"); }";
    let mut stage = Stage::new(&format!("{HEAD}SIPTRACE{route}"));
    let egress = stage.receive(REQUEST);
    assert_eq!(egress.left.len(), 1);
    let expected = [
        copy(PEER, US, "1", REQUEST),
        copy(PEER, US, "1-leg", REQUEST),
        copy(PEER, US, "1", REQUEST),
        copy(PEER, US, "1", b"line of 1"),
        copy(PEER, US, "other", b"line"),
    ];
    assert_eq!(stage.copies(), expected);
}

#[test]
fn what_is_sent_for_a_message_with_the_flag_is_copied_too() {
    let flag = "SIPTRACEmodparam(\"siptrace\", \"trace_flag\", 22)\n";
    for (route, expected) in [
        (
            "setflag(22); sip_trace(\"\", \"x\"); send(\"10.0.0.8\");",
            vec![copy(PEER, US, "x", REQUEST), copy(US, NEXT, "x", REQUEST)],
        ),
        (
            "setflag(22); send(\"10.0.0.8\");",
            vec![copy(US, NEXT, "1", REQUEST)],
        ),
        ("setflag(21); send(\"10.0.0.8\");", vec![]),
    ] {
        let mut stage = Stage::new(&format!("{HEAD}{flag}request_route {{ {route} }}"));
        stage.receive(REQUEST);
        assert_eq!(stage.copies(), expected, "{route}");
    }
}

#[test]
fn inline_the_plain_form_is_copied_both_ways_with_and_without_a_hook() {
    let mode = "loadmodule \"corex.so\"\nloadmodule \"codec.so\"\n\
        modparam(\"corex\", \"mode\", \"inline\")\n\
        modparam(\"corex\", \"protect\", \"udp:10.0.0.1:5060\")\n";
    let native = "modparam(\"corex\", \"codec_in\", \"gzip\")\n\
        modparam(\"corex\", \"codec_out\", \"gzip\")\n";
    let gzip = encoded("gzip", REQUEST);
    for (how, on_the_wire, expected) in [
        (native, &gzip[..], Intercepted::Replaced),
        ("", REQUEST, Intercepted::Unchanged),
    ] {
        let mut stage = Stage::new(&format!("{mode}{ALL}{how}"));
        let mut replacement = Vec::new();
        let incoming = inbound(on_the_wire);
        let outgoing = Inbound {
            source: incoming.local,
            local: incoming.source,
            ..inbound(REQUEST)
        };
        for (packet, way) in [
            (incoming, Direction::Incoming),
            (outgoing, Direction::Outgoing),
        ] {
            let intercepted = stage.pipeline.intercept(packet, way, &mut replacement);
            assert_eq!(intercepted, expected);
        }
        let expected = [copy(PEER, US, "1", REQUEST), copy(US, PEER, "1", REQUEST)];
        assert_eq!(stage.copies(), expected);
    }
}
