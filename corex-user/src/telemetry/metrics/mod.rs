//! The books as OpenMetrics text, which Prometheus reads.

mod writer;

#[cfg(test)]
mod tests;

use std::fmt;

use corex_common::counters::{
    DetourCounters, EgressCounters, KernelCounters, SocketCounters, WorkerCounters,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::writer::{Counted, Labels, Writer, labels, plain, seconds};
use super::{
    books::{Books, GuardLine},
    gauges::{QueueGauges, SocketTally, WorkerGauges},
    peers::Counts,
};
use corex_script::run::tables::Use;

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
                    (
                        "zero_copy_refusal",
                        interface.zero_copy_refusal.as_deref().unwrap_or_default(),
                    ),
                ]);
                (labels, f64::from(interface.queues))
            }),
        )?;
        out.counters(
            "interface_reattached",
            "How often the XDP program was attached to an interface again",
            books.interfaces.iter().map(|interface| {
                (
                    labels([("interface", &interface.name)]),
                    interface.reattached,
                )
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
            "key_events",
            "Keys of devices, enrolments, and messages to devices that waited, by what became of them",
            books
                .keys
                .counters
                .iter()
                .map(|(event, value)| (labels([("event", event)]), *value)),
        )?;
        for (name, help, value) in [
            (
                "sessions",
                "Devices' keys that this instance knows",
                books.keys.sessions,
            ),
            (
                "key_waiting",
                "Messages that wait for a device's key, or to be looked at as an enrolment",
                books.keys.waiting,
            ),
            ("key_waiting_bytes", "Their bytes", books.keys.waiting_bytes),
            (
                "keystore_away",
                "Whether the keystore is left alone, as it failed",
                books.keys.is_away.into(),
            ),
        ] {
            out.gauges(name, help, [(Labels::new(), value as f64)])?;
        }
        out.counters(
            "hep_events",
            "Copies of messages for a collector, by what became of them",
            books
                .hep
                .iter()
                .map(|(event, value)| (labels([("event", event)]), *value)),
        )?;
        self.tables(&mut out)?;
        self.guard(&mut out)?;
        out.counters(
            "access_events",
            "What the modules pike and secfilter counted, by module and by what it was",
            books.access.iter().map(|(module, event, value)| {
                (labels([("module", *module), ("event", *event)]), *value)
            }),
        )?;
        out.counters(
            "log_lines_dropped",
            "Log lines that a full queue cost",
            [(Labels::new(), books.log_lines_dropped as u64)],
        )?;
        out.gauges(
            "heap_bytes",
            "What the process has on the heap; held: what its allocator has from the kernel",
            books.heap.iter().flat_map(|heap| {
                let gauges = heap.gauges().into_iter();
                gauges.map(|(state, value)| (labels([("state", state)]), value as f64))
            }),
        )?;
        out.histograms(
            "hook_duration_seconds",
            "How long hooks took, by kind and by where they ran; of those in the configuration that take \
             less than 8 microseconds one in `latency_sample` (8) is measured, and stands for the others",
            books.latencies.iter().map(|line| {
                let labels = labels([("kind", line.kind.name()), ("way", line.way)]);
                (labels, &line.histogram)
            }),
        )
    }
}

impl Scrape {
    fn guard(&self, out: &mut Writer<'_>) -> fmt::Result {
        for (name, help, value) in [
            (
                "guard_entries",
                "Entries of a list of the guard, by family of addresses",
                (|line| line.entries) as fn(&GuardLine) -> usize,
            ),
            ("guard_entries_limit", "The most that it may have", |line| {
                line.most
            }),
        ] {
            let lines = self.0.guard.iter();
            let values = lines.map(|line| {
                let labels = labels([("list", line.list), ("family", line.family)]);
                (labels, value(line) as f64)
            });
            out.gauges(name, help, values)?;
        }
        Ok(())
    }

    fn tables(&self, out: &mut Writer<'_>) -> fmt::Result {
        let tables = &self.0.tables;
        let of = |table: &str| labels([("table", table)]);
        for (name, help, value) in [
            (
                "htable_entries",
                "Entries of a table that workers share",
                (|used| used.entries) as fn(&Use) -> usize,
            ),
            ("htable_bytes", "Bytes that they take", |used| used.bytes),
        ] {
            let values = tables
                .iter()
                .map(|(table, used)| (of(table), value(used) as f64));
            out.gauges(name, help, values)?;
        }
        out.counters(
            "htable_refused",
            "Writes to a table that found no room",
            tables.iter().map(|(table, used)| (of(table), used.refused)),
        )
    }

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
        out.counters(
            "guard_offender_packets",
            "Packets of the networks that the guard blocks, the ten that send most",
            self.0
                .offenders
                .iter()
                .map(|(network, packets)| (labels([("network", network)]), *packets)),
        )
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
                &KernelCounters::ALL,
                &[Counted {
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
                &EgressCounters::ALL,
                &[Counted {
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
                &DetourCounters::ALL,
                &[Counted {
                    values: detour.values().to_vec(),
                    whose: Labels::new(),
                }],
            )?;
        }
        if books.kernel.is_some() {
            let sockets: Vec<Counted> = books
                .sockets
                .iter()
                .map(|socket| Counted {
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
                &SocketCounters::ALL,
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
        let workers: Vec<Counted> = books
            .workers
            .iter()
            .enumerate()
            .map(|(id, worker)| Counted {
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
            &WorkerCounters::ALL,
            &workers,
        )?;
        out.counters(
            "worker_busy_seconds",
            "Time that a worker didn't sleep",
            books.workers.iter().enumerate().map(|(id, worker)| {
                let labels = labels([("worker", &id.to_string())]);
                (labels, seconds(worker.counters.busy_ns))
            }),
        )
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
                (labels([("where", "keys")]), books.keys.imbalance as f64),
                (labels([("where", "hep")]), books.hep_imbalance as f64),
            ],
        )
    }
}
