//! From a message to what a collector gets, over real sockets.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGE: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 17@host\r\n\r\n";

/// Knows one name.
struct OneName(SocketAddr);

impl World for OneName {
    fn look_up(&self, host: &str, port: Option<u16>, answer: mpsc::Sender<Option<SocketAddr>>) {
        let found = (host == "homer").then(|| match port {
            Some(port) => SocketAddr::new(self.0.ip(), port),
            None => self.0,
        });
        answer.send(found).unwrap();
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback()
    }
}

fn collector() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn settings(uri: &str) -> Siptrace {
    Siptrace {
        is_on: true,
        is_automatic: true,
        collector: Some(Collector::parse(uri.as_bytes()).unwrap()),
        ..Siptrace::default()
    }
}

fn exporter(settings: Siptrace, own: OwnSockets) -> Arc<Exporter> {
    let exporter = Arc::<Exporter>::default();
    exporter.follow(Plan {
        settings,
        send_from: None,
        own: Arc::new(own),
    });
    let world = OneName((Ipv4Addr::LOCALHOST, 9).into());
    exporter.start(Arc::new(world)).unwrap();
    exporter
}

fn record(payload: &[u8]) -> Record<'_> {
    Record {
        payload,
        kind: Copied::Message,
        way: Direction::Incoming,
        transport: Transport::Udp,
        source: "192.0.2.1:5060".parse().unwrap(),
        destination: "192.0.2.2:5080".parse().unwrap(),
        to: None,
        correlation: None,
    }
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

fn holds(packet: &[u8], part: &[u8]) -> bool {
    packet.windows(part.len()).any(|window| window == part)
}

/// What is counted once every copy's fate is known, without what is 0.
fn at_rest(exporter: &Exporter) -> Vec<(&'static str, u64)> {
    let counters = &exporter.counters;
    while counters.imbalance() != 0 {
        thread::sleep(Duration::from_millis(2));
    }
    let all = counters.snapshot().into_iter();
    all.filter(|(name, value)| *value > 0 && *name != "exported_bytes")
        .collect()
}

#[test]
fn a_message_arrives_with_its_call_id_or_what_is_given_instead() {
    let (socket, port) = collector();
    for host in ["127.0.0.1", "homer"] {
        let exporter = exporter(
            settings(&format!("sip:{host}:{port}")),
            OwnSockets::default(),
        );
        exporter.copy(&record(MESSAGE));
        let packet = received(&socket);
        assert!(packet.starts_with(b"HEP3"));
        assert!(packet.ends_with(MESSAGE));
        assert!(holds(&packet, b"\0\0\0\x11\0\x0d17@host"), "{packet:?}");
        exporter.copy(&Record {
            correlation: Some(b"leg 1"),
            ..record(MESSAGE)
        });
        assert!(holds(&received(&socket), b"\0\0\0\x11\0\x0bleg 1"));
        assert_eq!(at_rest(&exporter), [("copied", 2), ("exported", 2)]);
        assert_eq!(exporter.waiting.load(Ordering::Relaxed), 0);
        exporter.stop();
    }
}

#[test]
fn our_own_address_is_what_trace_local_ip_says() {
    let (socket, port) = collector();
    let local = Siptrace {
        local: Some("203.0.113.7:5555".parse().unwrap()),
        ..settings(&format!("sip:127.0.0.1:{port}"))
    };
    let exporter = exporter(local, OwnSockets::default());
    for (way, source, destination) in [
        (Direction::Incoming, [192, 0, 2, 1], [203, 0, 113, 7]),
        (Direction::Outgoing, [203, 0, 113, 7], [192, 0, 2, 2]),
    ] {
        exporter.copy(&Record {
            way,
            ..record(MESSAGE)
        });
        let packet = received(&socket);
        assert!(holds(
            &packet,
            &[&[0, 0, 0, 3, 0, 10][..], &source].concat()
        ));
        assert!(holds(
            &packet,
            &[&[0, 0, 0, 4, 0, 10][..], &destination].concat()
        ));
    }
    exporter.stop();
}

#[test]
fn what_can_not_be_exported_is_counted_by_its_reason() {
    let (_socket, port) = collector();
    let mut own = OwnSockets::default();
    own.add(Transport::Udp, "0.0.0.0", port);
    let long = [MESSAGE, &[b'x'; 65_500]].concat();
    let uri = format!("sip:127.0.0.1:{port}");
    let none = OwnSockets::default();
    let cases = [
        ("sip:nowhere:9", none.clone(), MESSAGE, "drop_unresolved"),
        (&*uri, own, MESSAGE, "drop_send_self"),
        (&*uri, none.clone(), &long, "drop_too_long"),
        // Only a socket that may is let near a broadcast address.
        ("sip:255.255.255.255:9", none, MESSAGE, "drop_send_error"),
    ];
    for (uri, own, message, reason) in cases {
        let exporter = exporter(settings(uri), own);
        exporter.copy(&record(message));
        assert_eq!(at_rest(&exporter), [("copied", 1), (reason, 1)]);
        exporter.stop();
    }
}

#[test]
fn what_is_no_sip_is_not_copied_but_a_line_of_a_log_is() {
    let (socket, port) = collector();
    let exporter = exporter(
        settings(&format!("sip:127.0.0.1:{port}")),
        OwnSockets::default(),
    );
    exporter.copy(&record(b"\x1f\x8b no SIP"));
    exporter.copy(&Record {
        kind: Copied::Log,
        correlation: Some(b"x"),
        ..record(b"a line")
    });
    assert!(received(&socket).ends_with(b"a line"));
    let counted = [("copied", 1), ("exported", 1), ("not_sip", 1)];
    assert_eq!(at_rest(&exporter), counted);
    exporter.stop();
}

#[test]
fn a_collector_that_is_gone_is_noticed_and_one_that_comes_back_is_found() {
    let (socket, port) = collector();
    let exporter = exporter(
        settings(&format!("sip:127.0.0.1:{port}")),
        OwnSockets::default(),
    );
    drop(socket);
    let refused = |exporter: &Exporter| exporter.counters.refused.load(Ordering::Relaxed);
    while refused(&exporter) == 0 {
        exporter.copy(&record(MESSAGE));
        at_rest(&exporter);
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    exporter.copy(&record(MESSAGE));
    assert!(received(&socket).ends_with(MESSAGE));
    exporter.stop();
    assert_eq!(exporter.counters.imbalance(), 0);
}

#[test]
fn what_waits_is_bounded_in_count_and_bytes_and_a_copy_that_did_not_pass_counts_for_nothing() {
    let exporter = Arc::<Exporter>::default();
    // Nobody takes anything out.
    let (queue, items) = mpsc::sync_channel(MOST);
    exporter.queue.set(queue).unwrap();
    drop(exporter.hold(&record(MESSAGE)).unwrap());
    assert_eq!(exporter.waiting.load(Ordering::Relaxed), 0);
    for _ in 0..MOST + 3 {
        exporter.copy(&record(MESSAGE));
    }
    assert_eq!(
        at_rest_but(&exporter, MOST),
        [("copied", 4099), ("drop_full", 3)]
    );
    assert_eq!(
        exporter.waiting.load(Ordering::Relaxed),
        MOST * MESSAGE.len()
    );
    while items.try_recv().is_ok() {}
    exporter.waiting.store(0, Ordering::Relaxed);
    let large = [MESSAGE, &vec![b'x'; MOST_BYTES / 4]].concat();
    for _ in 0..5 {
        exporter.copy(&record(&large));
    }
    assert_eq!(exporter.waiting.load(Ordering::Relaxed), 3 * large.len());
    assert_eq!(exporter.counters.drop_full.load(Ordering::Relaxed), 5);
}

fn at_rest_but(exporter: &Exporter, waiting: usize) -> Vec<(&'static str, u64)> {
    assert_eq!(exporter.counters.imbalance(), waiting as i64);
    let all = exporter.counters.snapshot().into_iter();
    all.filter(|(_, value)| *value > 0).collect()
}

#[test]
fn a_collector_of_the_scripts_gets_its_own_and_most_ways_are_kept() {
    let (socket, port) = collector();
    let (other, other_port) = collector();
    let exporter = exporter(
        settings(&format!("sip:127.0.0.1:{port}")),
        OwnSockets::default(),
    );
    let to = |port| {
        Some(Collector {
            host: "127.0.0.1".to_owned(),
            port: Some(port),
        })
    };
    for port in (20_000..20_040).chain([other_port]) {
        exporter.copy(&Record {
            to: to(port),
            ..record(MESSAGE)
        });
    }
    exporter.copy(&record(MESSAGE));
    assert!(received(&other).ends_with(MESSAGE));
    assert!(received(&socket).ends_with(MESSAGE));
    exporter.stop();
    assert_eq!(exporter.counters.imbalance(), 0);
}

#[test]
fn what_waits_is_sent_when_it_stops_and_what_comes_later_is_counted() {
    let (socket, port) = collector();
    let exporter = exporter(
        settings(&format!("sip:127.0.0.1:{port}")),
        OwnSockets::default(),
    );
    for _ in 0..20 {
        exporter.copy(&record(MESSAGE));
    }
    exporter.stop();
    for _ in 0..20 {
        assert!(received(&socket).ends_with(MESSAGE));
    }
    exporter.copy(&record(MESSAGE));
    let counted = [("copied", 21), ("exported", 20), ("drop_stopping", 1)];
    assert_eq!(at_rest(&exporter), counted);
}
