//! The engine's part of the books.

use super::PacketEngine;
use crate::{
    access::Access,
    guard::{Guard, Which},
    kernel::heap::ProcessHeap,
    pipeline::PipelineContext,
    telemetry::{
        books::{
            Books, GuardLine, HeapLine, KeyLine, LatencyLine, PredecessorLine, SocketLine,
            WorkerLine,
        },
        gauges::SocketTally,
        log::Log,
        peers,
        stream_counters::StreamCounters,
    },
};
use corex_script::{
    latency,
    run::tables::{Tables, Use},
};

/// The guard's lists, by the names that people have for them.
const LISTS: [(&str, Which); 3] = [
    ("allow", Which::Allow),
    ("block", Which::Block),
    ("trust", Which::Trust),
];

impl PacketEngine {
    /// All counters as they are now.
    pub fn books(
        &mut self,
        context: &PipelineContext,
        log: &Log,
        streams: &StreamCounters,
        keys: KeyLine,
    ) -> Books {
        let listeners = &context.listeners;
        let languages = &context.config.program.languages;
        let mut kernel = None;
        let mut inline = None;
        let mut predecessor = None;
        let mut interfaces = Vec::new();
        let mut sockets: Vec<SocketLine> = listeners
            .iter()
            .enumerate()
            .map(|(id, l)| SocketLine {
                name: l.to_string(),
                counters: Default::default(),
                tally: SocketTally::sum(self.links.iter().filter_map(|link| link.sockets.get(id))),
            })
            .collect();
        if let Some(xdp) = &mut self.xdp {
            kernel = Some(xdp.object.counters());
            if let Some(detours) = &xdp.nics.detours {
                predecessor = detours.predecessor.map(|left| PredecessorLine {
                    kernel: left.kernel,
                    egress: left.egress,
                    detour: left.detour,
                    in_hand: left.in_hand(),
                });
                inline = Some(xdp.object.inline_counters());
            }
            for (id, line) in sockets.iter_mut().enumerate() {
                line.counters = xdp.object.socket_counters(id);
            }
            interfaces = xdp.nics.lines(&xdp.queues);
        }
        let mut user = self.slots.total();
        user.taken_over = self.taken_over;
        user.handed_over = self.handed_over;
        let roads = self.road_lines(listeners);
        let latencies = latency::Kind::ALL.into_iter().flat_map(|kind| {
            latency::WAYS.into_iter().enumerate().map(move |(at, way)| {
                let histogram = context.config.program.latencies.total(kind, at);
                LatencyLine {
                    kind,
                    way,
                    histogram,
                }
            })
        });
        Books {
            workers: self
                .links
                .iter()
                .enumerate()
                .map(|(id, link)| WorkerLine {
                    counters: self.slots.of(id),
                    gauges: link.gauges.values(),
                })
                .collect(),
            queues: self.queue_lines(),
            latencies: latencies.filter(|l| l.histogram.count() > 0).collect(),
            peers: self.peers(context),
            offenders: Vec::new(),
            guard: guard_lines(&context.guard),
            started: context.config.program.started,
            engine: self.name(),
            interfaces,
            sockets,
            kernel,
            inline,
            predecessor,
            roads,
            user,
            streams: streams.snapshot(),
            streams_imbalance: streams.imbalance(),
            keys,
            hep: context.exporter.counters.snapshot(),
            hep_imbalance: context.exporter.counters.imbalance(),
            languages: [
                ("lua", languages.lua.snapshot()),
                ("perl", languages.perl.snapshot()),
            ],
            tables: tables(&context.config.program.tables),
            access: Access::of(&context.config.program).counters(),
            log_lines_dropped: log.dropped(),
            heap: ProcessHeap::now().map(|heap| HeapLine {
                in_use: heap.in_use,
                held: heap.held,
            }),
        }
    }
}

impl PacketEngine {
    /// Messages by peer: those that workers handled, and those that took roads.
    pub fn peers(&self, context: &PipelineContext) -> peers::Summary {
        let mut summary = peers::Summary::of(self.links.iter().map(|link| &*link.peers));
        let most = context.config.settings.corex.max_peers as usize;
        if let Some(roads) = self.roads().filter(|_| most > 0) {
            let traffic = roads.traffic();
            summary.add(
                &(traffic.received, traffic.by_source),
                &(traffic.sent, traffic.by_destination),
                most,
            );
        }
        summary
    }
}

/// How much of each table is used, by name.
fn guard_lines(guard: &Guard) -> Vec<GuardLine> {
    let lines = |(list, which)| {
        [("ipv4", true), ("ipv6", false)].map(|(family, is_v4)| {
            let (entries, most) = guard.filled(which, is_v4);
            GuardLine {
                list,
                family,
                entries,
                most,
            }
        })
    };
    match guard.is_on() {
        true => LISTS.into_iter().flat_map(lines).collect(),
        false => Vec::new(),
    }
}

fn tables(tables: &Tables) -> Vec<(String, Use)> {
    let lines = tables
        .all()
        .map(|(name, table)| (name.to_owned(), table.used()));
    let mut lines: Vec<_> = lines.collect();
    lines.sort_by(|(one, _), (other, _)| one.cmp(other));
    lines
}
