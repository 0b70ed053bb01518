//! The books as OpenMetrics text, which Prometheus reads.

use std::fmt;

use corex_common::counters::{
    DetourCounters, EgressCounters, KernelCounters, SocketCounters, WorkerCounters,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{
    books::Books,
    gauges::{QueueGauges, SocketTally, WorkerGauges},
    peers::Counts,
};
use corex_script::latency::{BOUNDS, Histogram};

/// Media type of what [`render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The books as OpenMetrics text. Counters' names end in `_total`, times are in seconds.
///
/// # Errors
/// None in practice: text is written to memory.
pub fn render(books: Books) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("corex");
    registry.register_collector(Box::new(Scrape(books)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape(Books);

type Labels = Vec<(&'static str, String)>;

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    let own = |(name, value): (&'static str, &str)| (name, value.to_owned());
    labels.into_iter().map(own).collect()
}

/// A verdict and its reason, as counters' names tell them.
fn verdict(name: &str) -> Option<(&'static str, &str)> {
    if let Some(reason) = name.strip_prefix("drop_") {
        return Some(("dropped", reason));
    }
    if let Some(reason) = name.strip_prefix("pass_") {
        return Some(("passed", reason));
    }
    const WITHOUT_REASON: [&str; 9] = [
        "steered",
        "offloaded",
        "detoured",
        "sent",
        "replied",
        "consumed",
        "delivered",
        "handed_back",
        "merged",
    ];
    let known = WITHOUT_REASON
        .into_iter()
        .find(|verdict| *verdict == name)?;
    Some((known, ""))
}

/// One set of counters with the labels that say whose they are.
struct Counted<'a> {
    names: &'a [&'static str],
    values: Vec<u64>,
    whose: Labels,
}

/// Writes families of metrics.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        family(
            encoder,
            values
                .into_iter()
                .map(|(labels, value)| (labels, ConstCounter::new(value))),
        )
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        family(
            encoder,
            values
                .into_iter()
                .map(|(labels, value)| (labels, ConstGauge::new(value))),
        )
    }

    /// Sets of the same counters: verdicts become one family with the labels `verdict` and
    /// `reason`, every other counter a family of its own.
    fn sets(
        &mut self,
        prefix: &str,
        verdicts: (&str, &str),
        docs: &[&'static str],
        sets: &[Counted<'_>],
    ) -> fmt::Result {
        let Some(first) = sets.first() else {
            return Ok(());
        };
        let of_verdict = sets.iter().flat_map(|set| {
            set.names
                .iter()
                .zip(&set.values)
                .filter_map(|(name, value)| {
                    let (verdict, reason) = verdict(name)?;
                    let mut labels = set.whose.clone();
                    labels.push(("verdict", verdict.to_owned()));
                    labels.push(("reason", reason.to_owned()));
                    Some((labels, *value))
                })
        });
        self.counters(verdicts.0, verdicts.1, of_verdict)?;
        for (at, (name, doc)) in first.names.iter().zip(docs).enumerate() {
            if verdict(name).is_some() || *name == "busy_ns" {
                continue;
            }
            let values = sets.iter().map(|set| {
                let value = set.values.get(at).copied().unwrap_or(0);
                (set.whose.clone(), value)
            });
            self.counters(&format!("{prefix}_{name}"), plain(doc).as_str(), values)?;
        }
        Ok(())
    }

    fn histograms<'h>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = (Labels, &'h Histogram)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in histograms {
            let bounds = BOUNDS
                .iter()
                .map(|bound| seconds(*bound))
                .chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets).collect();
            let labels = labels.as_slice();
            family
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    seconds(histogram.sum),
                    histogram.count(),
                    &buckets,
                    None,
                )?;
        }
        Ok(())
    }
}

/// All values of a family.
fn family<M: EncodeMetric>(
    mut encoder: MetricEncoder<'_>,
    values: impl IntoIterator<Item = (Labels, M)>,
) -> fmt::Result {
    let values: Vec<(Labels, M)> = values.into_iter().collect();
    match &values[..] {
        // Without labels there are no braces either.
        [(labels, value)] if labels.is_empty() => value.encode(encoder),
        values => values.iter().try_for_each(|(labels, value)| {
            value.encode(encoder.encode_family(&labels.as_slice())?)
        }),
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// A docstring as help: one line, without links and the full stop.
fn plain(doc: &str) -> String {
    let text = doc
        .trim()
        .replace("[`", "")
        .replace("`]", "")
        .replace('`', "");
    text.trim_end_matches('.').to_owned()
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let books = &self.0;
        let mut out = Writer(encoder);
        out.gauges(
            "build_info",
            "The version that runs, and the engine that it runs on",
            [(
                labels([
                    ("version", env!("CARGO_PKG_VERSION")),
                    ("engine", books.engine),
                ]),
                1.0,
            )],
        )?;
        out.gauges(
            "start_time_seconds",
            "When corex started, in seconds since 1970",
            [(Labels::new(), books.started as f64)],
        )?;
        out.gauges(
            "interface_queues",
            "Receive queues with an AF_XDP socket",
            books.interfaces.iter().map(|interface| {
                let labels = labels([
                    ("interface", &interface.name),
                    ("mode", &interface.mode),
                    ("zero_copy", if interface.zero_copy { "yes" } else { "no" }),
                ]);
                (labels, f64::from(interface.queues))
            }),
        )?;
        self.counted(&mut out)?;
        self.gauged(&mut out)?;
        self.peers(&mut out)?;
        out.counters(
            "language_calls",
            "Calls into scripts of other languages, by what became of them",
            books.languages.iter().flat_map(|(language, counters)| {
                counters.iter().map(move |(event, value)| {
                    (labels([("language", language), ("event", event)]), *value)
                })
            }),
        )?;
        out.counters(
            "stream_events",
            "Connections, and messages handed over to be sent later, by what became of them",
            books
                .streams
                .iter()
                .map(|(event, value)| (labels([("event", event)]), *value)),
        )?;
        out.counters(
            "log_lines_dropped",
            "Log lines that a full queue cost",
            [(Labels::new(), books.log_lines_dropped as u64)],
        )?;
        out.histograms(
            "hook_duration_seconds",
            "How long hooks took, by kind and by where they ran",
            books.latencies.iter().map(|line| {
                let labels = labels([("kind", line.kind.name()), ("way", line.way)]);
                (labels, &line.histogram)
            }),
        )
    }
}

impl Scrape {
    fn peers(&self, out: &mut Writer<'_>) -> fmt::Result {
        let rows = self.0.peers.rows();
        for (name, help, of) in [
            (
                "peer_packets",
                "Messages by peer and direction; other: peers beyond max_peers; former: peers \
                 that fell silent",
                (|counts| [counts.packets_in, counts.packets_out]) as fn(&Counts) -> [u64; 2],
            ),
            (
                "peer_bytes",
                "Their bytes: received before the hook, sent after it",
                |counts| [counts.bytes_in, counts.bytes_out],
            ),
        ] {
            let values = rows.iter().flat_map(|(peer, counts)| {
                let [received, sent] = of(counts);
                [("in", received), ("out", sent)]
                    .map(|(way, value)| (labels([("peer", peer), ("direction", way)]), value))
            });
            out.counters(name, help, values)?;
        }
        Ok(())
    }

    fn counted(&self, out: &mut Writer<'_>) -> fmt::Result {
        let books = &self.0;
        if let Some(kernel) = &books.kernel {
            out.sets(
                "kernel",
                (
                    "kernel_packets",
                    "Packets that the XDP program decided about, by verdict and reason",
                ),
                &KernelCounters::DOCS,
                &[Counted {
                    names: &KernelCounters::NAMES,
                    values: kernel.values().to_vec(),
                    whose: Labels::new(),
                }],
            )?;
        }
        if let Some((egress, detour)) = &books.inline {
            out.sets(
                "egress",
                (
                    "egress_packets",
                    "Packets that the TC program decided about, by verdict and reason",
                ),
                &EgressCounters::DOCS,
                &[Counted {
                    names: &EgressCounters::NAMES,
                    values: egress.values().to_vec(),
                    whose: Labels::new(),
                }],
            )?;
            out.sets(
                "detour",
                (
                    "detour_packets",
                    "Packets that the XDP program of detours decided about, by verdict and reason",
                ),
                &DetourCounters::DOCS,
                &[Counted {
                    names: &DetourCounters::NAMES,
                    values: detour.values().to_vec(),
                    whose: Labels::new(),
                }],
            )?;
        }
        if books.kernel.is_some() {
            let sockets: Vec<Counted<'_>> = books
                .sockets
                .iter()
                .map(|socket| Counted {
                    names: &SocketCounters::NAMES,
                    values: socket.counters.values().to_vec(),
                    whose: labels([("socket", &socket.name)]),
                })
                .collect();
            out.sets(
                "socket",
                (
                    "socket_packets",
                    "Packets for a listen socket that the XDP program decided about, by verdict \
                     and reason",
                ),
                &SocketCounters::DOCS,
                &sockets,
            )?;
        }
        for (at, (name, doc)) in SocketTally::NAMES.iter().zip(SocketTally::DOCS).enumerate() {
            let values = books.sockets.iter().map(|socket| {
                let value = socket.tally.get(at).copied().unwrap_or(0);
                (labels([("socket", &socket.name)]), value)
            });
            out.counters(&format!("socket_{name}"), &plain(doc), values)?;
        }
        let workers: Vec<Counted<'_>> = books
            .workers
            .iter()
            .enumerate()
            .map(|(id, worker)| Counted {
                names: &WorkerCounters::NAMES,
                values: worker.counters.values().to_vec(),
                whose: labels([("worker", &id.to_string())]),
            })
            .collect();
        out.sets(
            "worker",
            (
                "worker_messages",
                "Messages that a worker decided about, by verdict and reason",
            ),
            &WorkerCounters::DOCS,
            &workers,
        )?;
        let busy = out.0.encode_descriptor(
            "worker_busy_seconds",
            "Time that a worker didn't sleep",
            None,
            MetricType::Counter,
        )?;
        let values = books.workers.iter().enumerate().map(|(id, worker)| {
            let labels = labels([("worker", &id.to_string())]);
            (labels, ConstCounter::new(seconds(worker.counters.busy_ns)))
        });
        family(busy, values)
    }

    fn gauged(&self, out: &mut Writer<'_>) -> fmt::Result {
        let books = &self.0;
        for (at, (name, doc)) in WorkerGauges::NAMES
            .iter()
            .zip(WorkerGauges::DOCS)
            .enumerate()
        {
            let values = books.workers.iter().enumerate().map(|(id, worker)| {
                let value = worker.gauges.get(at).copied().unwrap_or(0);
                (labels([("worker", &id.to_string())]), value as f64)
            });
            out.gauges(&format!("worker_{name}"), &plain(doc), values)?;
        }
        for (at, (name, doc)) in QueueGauges::NAMES.iter().zip(QueueGauges::DOCS).enumerate() {
            let values = books.queues.iter().map(|queue| {
                let labels = labels([
                    ("interface", &queue.interface),
                    ("queue", &queue.queue.to_string()),
                    ("worker", &queue.worker.to_string()),
                ]);
                (labels, queue.gauges.get(at).copied().unwrap_or(0) as f64)
            });
            out.gauges(&format!("queue_{name}"), &plain(doc), values)?;
        }
        out.gauges(
            "imbalance",
            "Packets and messages without a verdict, by where: 0 at rest",
            [
                (
                    labels([("where", "kernel")]),
                    books.kernel_imbalance() as f64,
                ),
                (labels([("where", "user")]), books.user_imbalance() as f64),
                (
                    labels([("where", "streams")]),
                    books.streams_imbalance as f64,
                ),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        books::{InterfaceLine, LatencyLine, QueueLine, SocketLine, WorkerLine},
        peers::Summary,
    };
    use super::*;
    use corex_script::Direction;
    use corex_script::latency::{Kind, Latencies};
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
            peers: Summary {
                peers: vec![("192.0.2.7".parse().unwrap(), counts(5))],
                others: counts(1),
                former: Counts::default(),
            },
            started: 1_700_000_000,
            streams: vec![("queued", 4)],
            streams_imbalance: 0,
            languages: [("lua", vec![("runs", 6)]), ("perl", Vec::new())],
            log_lines_dropped: 0,
        }
    }

    #[test]
    fn every_counter_is_there_with_its_verdict_and_reason() {
        let text = render(books()).unwrap();
        for line in [
            "corex_kernel_seen_total 5",
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
            "corex_start_time_seconds 1700000000.0",
            "corex_socket_socket_in_total{socket=\"udp:[fd00::1]:5060\"} 11",
            "corex_socket_socket_in_bytes_total{socket=\"udp:[fd00::1]:5060\"} 1100",
            "corex_peer_packets_total{peer=\"192.0.2.7\",direction=\"in\"} 5",
            "corex_peer_bytes_total{peer=\"192.0.2.7\",direction=\"out\"} 1000",
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
        assert!(
            text.contains("corex_hook_duration_seconds_count{kind=\"route\",way=\"incoming\"} 3")
        );
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
}
