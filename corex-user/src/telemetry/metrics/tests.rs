//! The OpenMetrics text.

use super::super::{
    books::{GuardLine, InterfaceLine, LatencyLine, QueueLine, SocketLine, WorkerLine},
    peers::Summary,
};
use super::*;
use corex_script::Direction;
use corex_script::latency::{BOUNDS, Kind, Latencies};
use std::time::Duration;

fn counts(packets: u64) -> Counts {
    Counts {
        packets_in: packets,
        bytes_in: packets * 100,
        packets_out: packets * 2,
        bytes_out: packets * 200,
    }
}

fn books() -> Books {
    let latencies = Latencies::default();
    for nanos in [400, 900, 2_000_000_000] {
        let took = Duration::from_nanos(nanos);
        latencies.record(0, Kind::Route, Some(Direction::Incoming), took);
    }
    Books {
        engine: "xdp",
        interfaces: Vec::new(),
        sockets: vec![SocketLine {
            name: "udp:[fd00::1]:5060".to_owned(),
            counters: SocketCounters {
                steered: 3,
                drop_probe: 1,
                ..SocketCounters::default()
            },
            tally: vec![11, 1_100, 0, 0],
        }],
        kernel: Some(KernelCounters {
            seen: 5,
            steered: 3,
            pass_not_udp: 1,
            drop_probe: 1,
            ..KernelCounters::default()
        }),
        inline: None,
        predecessor: None,
        roads: Vec::new(),
        user: WorkerCounters::default(),
        workers: vec![WorkerLine {
            counters: WorkerCounters {
                sent: 2,
                drop_not_sip: 1,
                bytes_in: 99,
                busy_ns: 1_500_000_000,
                ..WorkerCounters::default()
            },
            gauges: vec![7, 8],
        }],
        queues: Vec::new(),
        latencies: vec![LatencyLine {
            kind: Kind::Route,
            way: "incoming",
            histogram: latencies.total(Kind::Route, 0),
        }],
        offenders: vec![("203.0.113.0/24".to_owned(), 9)],
        guard: vec![GuardLine {
            list: "block",
            family: "ipv4",
            entries: 4,
            most: 1_000_000,
        }],
        peers: Summary {
            peers: vec![("192.0.2.7".parse().unwrap(), counts(5))],
            others: counts(1),
            former: Counts::default(),
        },
        started: 1_700_000_000,
        streams: vec![("queued", 4)],
        streams_imbalance: 0,
        keys: crate::telemetry::books::KeyLine::default(),
        hep: vec![("exported", 3)],
        hep_imbalance: 0,
        languages: [("lua", vec![("runs", 6)]), ("perl", Vec::new())],
        access: vec![("pike", "blocked_ips", 3)],
        tables: vec![(
            "seen".to_owned(),
            Use {
                entries: 3,
                bytes: 400,
                refused: 1,
            },
        )],
        log_lines_dropped: 0,
        heap: Some(crate::telemetry::books::HeapLine {
            in_use: 5000,
            held: 8000,
        }),
    }
}

#[test]
fn every_counter_is_there_with_its_verdict_and_reason() {
    let text = render(books()).unwrap();
    for line in [
        "corex_kernel_seen_total 5",
        "corex_heap_bytes{state=\"in_use\"} 5000.0",
        "corex_heap_bytes{state=\"held\"} 8000.0",
        "corex_kernel_packets_total{verdict=\"steered\",reason=\"\"} 3",
        "corex_kernel_packets_total{verdict=\"passed\",reason=\"not_udp\"} 1",
        "corex_kernel_packets_total{verdict=\"dropped\",reason=\"probe\"} 1",
        "corex_socket_packets_total{socket=\"udp:[fd00::1]:5060\",verdict=\"steered\",reason=\"\"} 3",
        "corex_worker_messages_total{worker=\"0\",verdict=\"sent\",reason=\"\"} 2",
        "corex_worker_messages_total{worker=\"0\",verdict=\"dropped\",reason=\"not_sip\"} 1",
        "corex_worker_bytes_in_total{worker=\"0\"} 99",
        "corex_worker_busy_seconds_total{worker=\"0\"} 1.5",
        "corex_worker_inbox{worker=\"0\"} 7.0",
        "corex_language_calls_total{language=\"lua\",event=\"runs\"} 6",
        "corex_stream_events_total{event=\"queued\"} 4",
        "corex_hep_events_total{event=\"exported\"} 3",
        "corex_htable_entries{table=\"seen\"} 3.0",
        "corex_htable_bytes{table=\"seen\"} 400.0",
        "corex_htable_refused_total{table=\"seen\"} 1",
        "corex_access_events_total{module=\"pike\",event=\"blocked_ips\"} 3",
        "corex_start_time_seconds 1700000000.0",
        "corex_socket_socket_in_total{socket=\"udp:[fd00::1]:5060\"} 11",
        "corex_socket_socket_in_bytes_total{socket=\"udp:[fd00::1]:5060\"} 1100",
        "corex_peer_packets_total{peer=\"192.0.2.7\",direction=\"in\"} 5",
        "corex_peer_bytes_total{peer=\"192.0.2.7\",direction=\"out\"} 1000",
        "corex_guard_offender_packets_total{network=\"203.0.113.0/24\"} 9",
        "corex_guard_entries{list=\"block\",family=\"ipv4\"} 4.0",
        "corex_guard_entries_limit{list=\"block\",family=\"ipv4\"} 1000000.0",
        "corex_peer_packets_total{peer=\"other\",direction=\"out\"} 2",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn buckets_are_cumulative_and_the_last_one_holds_all() {
    let text = render(books()).unwrap();
    let buckets: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("corex_hook_duration_seconds_bucket"))
        .collect();
    assert_eq!(buckets.len(), BOUNDS.len() + 1);
    assert!(
        buckets[0].contains("le=\"5e-7\"") && buckets[0].ends_with(" 1"),
        "{buckets:?}"
    );
    assert!(buckets[1].ends_with(" 2"), "{buckets:?}");
    let last = buckets[buckets.len() - 1];
    assert!(
        last.contains("le=\"+Inf\"") && last.ends_with(" 3"),
        "{last}"
    );
    assert!(text.contains("corex_hook_duration_seconds_count{kind=\"route\",way=\"incoming\"} 3"));
}

#[test]
fn the_dashboard_asks_for_nothing_that_is_not_there() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/grafana-dashboard.json"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut books = books();
    books.interfaces.push(InterfaceLine {
        index: 1,
        name: "eth0".to_owned(),
        mode: "native".to_owned(),
        queues: 1,
        zero_copy: false,
        zero_copy_refusal: None,
        reattached: 2,
    });
    books.queues.push(QueueLine {
        interface: "eth0".to_owned(),
        queue: 0,
        worker: 0,
        mode: "native".to_owned(),
        zero_copy: false,
        gauges: vec![0; QueueGauges::NAMES.len()],
    });
    let text = render(books).unwrap();
    let names: std::collections::HashSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let name = regex::Regex::new("corex_[a-z_]+").unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            for found in name.find_iter(target["expr"].as_str().unwrap()) {
                assert!(names.contains(found.as_str()), "{}", found.as_str());
                asked += 1;
            }
        }
    }
    assert!(asked > 20);
}
