//! The books: every packet that came in, and what became of it.

use corex_common::counters::{
    DetourCounters, EgressCounters, KernelCounters, SocketCounters, WorkerCounters, reason,
};
use serde_json::{Map, Value, json};

use super::{
    gauges::{QueueGauges, SocketTally, WorkerGauges},
    peers,
};
use corex_script::{
    latency::{self, Histogram},
    run::tables::Use,
};

/// What an earlier corex left in inline mode.
#[derive(Clone, Copy, Debug)]
pub struct PredecessorLine {
    /// Its XDP program on NICs.
    pub kernel: KernelCounters,
    /// Its TC program.
    pub egress: EgressCounters,
    /// Its XDP program on detours.
    pub detour: DetourCounters,
    /// Packets that it had taken and not sent on when it died.
    pub in_hand: u64,
}

/// An interface as the books show it.
#[derive(Clone, Debug)]
pub struct InterfaceLine {
    /// Its index, as in `ip link`.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `native` or `skb`; `none` while it is gone.
    pub mode: String,
    /// Queues that are served by AF_XDP.
    pub queues: u32,
    /// Whether all of them are bound for zero copy.
    pub zero_copy: bool,
    /// Why not, where the kernel was asked and refused.
    pub zero_copy_refusal: Option<String>,
    /// How often the program was attached to it again, as it had been removed and made anew.
    pub reattached: u64,
}

/// A listen socket as the books show it.
#[derive(Clone, Debug)]
pub struct SocketLine {
    /// `udp:1.2.3.4:5060`.
    pub name: String,
    /// What the XDP program counted for it; zero without XDP.
    pub counters: SocketCounters,
    /// What the workers received for it by other roads: the values of [`SocketTally`], summed.
    pub tally: Vec<u64>,
}

/// A worker as the books show it.
#[derive(Clone, Debug)]
pub struct WorkerLine {
    /// What it counted.
    pub counters: WorkerCounters,
    /// The values of [`WorkerGauges`].
    pub gauges: Vec<u64>,
}

/// A queue with an AF_XDP socket as the books show it.
#[derive(Clone, Debug)]
pub struct QueueLine {
    /// The interface's name.
    pub interface: String,
    /// The receive queue.
    pub queue: u32,
    /// The worker that serves it.
    pub worker: u32,
    /// `native` or `skb`.
    pub mode: String,
    /// Whether it is bound for zero copy.
    pub zero_copy: bool,
    /// The values of [`QueueGauges`].
    pub gauges: Vec<u64>,
}

impl QueueLine {
    /// Whether the NIC sends what it is given here, by the gauge of that name.
    pub fn transmits(&self) -> bool {
        let mut gauges = QueueGauges::NAMES.iter().zip(&self.gauges);
        gauges.any(|(name, value)| *name == "transmits" && *value > 0)
    }
}

/// Messages that the kernel sends on or drops by itself, as the books show them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoadLine {
    /// Its number in the map ROADS.
    pub number: usize,
    /// The listen socket that it leads from.
    pub socket: String,
    /// Where it leads: an address and port, or `drop`.
    pub to: String,
    /// `open`, or why its messages go by user space.
    pub state: &'static str,
    /// The interface that it leaves by; empty where that isn't known.
    pub interface: String,
    /// Messages that took it since the configuration was read.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that were steered instead.
    pub steered: u64,
}

/// How long the hooks of a kind took, on one way.
#[derive(Clone, Debug)]
pub struct LatencyLine {
    /// The kind.
    pub kind: latency::Kind,
    /// One of [`latency::WAYS`].
    pub way: &'static str,
    /// How long they took.
    pub histogram: Histogram,
}

/// The keys of devices as the books show them.
#[derive(Clone, Debug, Default)]
pub struct KeyLine {
    /// Counters by name.
    pub counters: Vec<(&'static str, u64)>,
    /// Messages handed over whose fate isn't known: 0 at rest.
    pub imbalance: i64,
    /// Sessions that this process knows.
    pub sessions: u64,
    /// Messages that wait for a key, or to be looked at as an enrolment.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Whether the keystore is left alone, as it failed.
    pub is_away: bool,
}

impl KeyLine {
    /// Names and values of what rises and falls.
    pub fn gauges(&self) -> [(&'static str, u64); 4] {
        [
            ("sessions", self.sessions),
            ("waiting", self.waiting),
            ("waiting_bytes", self.waiting_bytes),
            ("away", self.is_away.into()),
        ]
    }
}

/// What the process has on the heap, as the books show it.
#[derive(Clone, Copy, Debug)]
pub struct HeapLine {
    /// Bytes in use.
    pub in_use: u64,
    /// Bytes that the allocator has from the kernel.
    pub held: u64,
}

impl HeapLine {
    /// Names and values.
    pub fn gauges(&self) -> [(&'static str, u64); 2] {
        [("in_use", self.in_use), ("held", self.held)]
    }
}

/// A snapshot of all counters.
#[derive(Clone, Debug)]
pub struct Books {
    /// `xdp` or `socket`.
    pub engine: &'static str,
    /// Interfaces with the program.
    pub interfaces: Vec<InterfaceLine>,
    /// Listen sockets.
    pub sockets: Vec<SocketLine>,
    /// The XDP program's counters; `None` without XDP.
    pub kernel: Option<KernelCounters>,
    /// What the programs of inline mode counted beside: packets that leave, and those on
    /// detours. `None` in proxy mode.
    pub inline: Option<(EgressCounters, DetourCounters)>,
    /// What the programs counted that an earlier corex had left, to their end. Not in the balance.
    pub predecessor: Option<PredecessorLine>,
    /// What the kernel handles by itself.
    pub roads: Vec<RoadLine>,
    /// The workers' counters, summed.
    pub user: WorkerCounters,
    /// The workers, in order.
    pub workers: Vec<WorkerLine>,
    /// The queues with an AF_XDP socket.
    pub queues: Vec<QueueLine>,
    /// Hooks that ran.
    pub latencies: Vec<LatencyLine>,
    /// Messages by peer.
    pub peers: peers::Summary,
    /// The networks that the guard blocks which send most: packets by network.
    pub offenders: Vec<(String, u64)>,
    /// How full the guard's lists are; none where there is no guard.
    pub guard: Vec<GuardLine>,
    /// When corex started, in seconds since 1970.
    pub started: i64,
    /// Streams and looked-up names: counters by name.
    pub streams: Vec<(&'static str, u64)>,
    /// Messages handed over whose fate isn't known: 0 at rest.
    pub streams_imbalance: i64,
    /// Keys of devices.
    pub keys: KeyLine,
    /// Copies for collectors: counters by name.
    pub hep: Vec<(&'static str, u64)>,
    /// Copies whose fate isn't known: 0 at rest.
    pub hep_imbalance: i64,
    /// Calls into scripts of other languages: counters by language and name.
    pub languages: [(&'static str, Vec<(&'static str, u64)>); 2],
    /// What workers share: how much of each table is used, by name.
    pub tables: Vec<(String, Use)>,
    /// What modules count of whom they let in: module, name, value.
    pub access: Vec<(&'static str, &'static str, u64)>,
    /// Log lines that a full queue cost.
    pub log_lines_dropped: usize,
    /// The heap; `None` where the C library doesn't tell.
    pub heap: Option<HeapLine>,
}

/// A list of the guard, and a family of addresses.
#[derive(Clone, Copy, Debug)]
pub struct GuardLine {
    /// `allow`, `block` or `trust`.
    pub list: &'static str,
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// How many entries it has.
    pub entries: usize,
    /// How many it may have at most.
    pub most: usize,
}

/// Counters by name; those whose names tell a reason, by reason in the groups `passed` and
/// `dropped`.
fn group(names: &[&str], values: &[u64]) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in names.iter().zip(values) {
        let Some((verdict, reason)) = reason(name) else {
            all.insert((*name).to_owned(), json!(value));
            continue;
        };
        let group = all.entry(verdict).or_insert_with(|| json!({}));
        if let Some(group) = group.as_object_mut() {
            group.insert(reason.to_owned(), json!(value));
        }
    }
    all
}

impl Books {
    /// Packets that the kernel's programs saw but gave no verdict: 0 at rest.
    pub fn kernel_imbalance(&self) -> i64 {
        let ingress = self.kernel.unwrap_or_default();
        let (egress, detour) = self.inline.unwrap_or_default();
        let seen = ingress.received() + egress.received() + detour.received();
        let decided = ingress.decided() + egress.decided() + detour.decided();
        seen.wrapping_sub(decided) as i64
    }

    /// Packets that the kernel's programs steered to the workers.
    pub fn steered(&self) -> u64 {
        self.kernel.map_or(0, |k| k.steered) + self.inline.map_or(0, |(_, d)| d.steered)
    }

    /// Messages sent, by user space and by the kernel alone.
    pub fn sent(&self) -> u64 {
        self.user.sent + self.kernel.map_or(0, |kernel| kernel.offloaded)
    }

    /// Messages that came to user space without a verdict: 0 at rest.
    pub fn user_imbalance(&self) -> i64 {
        let arrived = self.steered() + self.user.received();
        arrived.wrapping_sub(self.user.decided()) as i64
    }

    /// Every counter: its group, its name and its value.
    pub fn rows(&self) -> Vec<(String, &'static str, u64)> {
        let mut rows = Vec::new();
        let mut add = |group: &str, names: &[&'static str], values: &[u64]| {
            let counters = names.iter().zip(values);
            rows.extend(counters.map(|(name, value)| (group.to_owned(), *name, *value)));
        };
        if let Some(kernel) = &self.kernel {
            add("kernel", &KernelCounters::NAMES, &kernel.values());
            for socket in &self.sockets {
                add(
                    &socket.name,
                    &SocketCounters::NAMES,
                    &socket.counters.values(),
                );
            }
        }
        for socket in &self.sockets {
            add(&socket.name, SocketTally::NAMES, &socket.tally);
        }
        if let Some((egress, detour)) = &self.inline {
            add("egress", &EgressCounters::NAMES, &egress.values());
            add("detour", &DetourCounters::NAMES, &detour.values());
        }
        add("workers", &WorkerCounters::NAMES, &self.user.values());
        let lists = self.languages.iter().map(|(name, list)| (*name, list));
        let own = [
            ("streams", &self.streams),
            ("hep", &self.hep),
            ("keys", &self.keys.counters),
        ];
        for (group, list) in own.into_iter().chain(lists) {
            let (names, values): (Vec<_>, Vec<_>) = list.iter().copied().unzip();
            add(group, &names, &values);
        }
        let (names, values): (Vec<_>, Vec<_>) = self.keys.gauges().into_iter().unzip();
        add("keys", &names, &values);
        for (table, used) in &self.tables {
            let (names, values): (Vec<_>, Vec<_>) = used.rows().into_iter().unzip();
            add(&format!("htable.{table}"), &names, &values);
        }
        for (module, name, value) in &self.access {
            add(module, &[*name], &[*value]);
        }
        rows
    }

    /// The books as JSON: `kernel` and `user` each with their counters, verdicts grouped
    /// under `passed` and `dropped` by reason.
    pub fn to_json(&self) -> Value {
        let grouped = |list: &[(&'static str, u64)]| {
            let (names, values): (Vec<&str>, Vec<u64>) = list.iter().copied().unzip();
            group(&names, &values)
        };
        let mut user = group(&WorkerCounters::NAMES, &self.user.values());
        user.insert("steered".into(), json!(self.steered()));
        let (key_names, key_values): (Vec<&str>, Vec<u64>) = self
            .keys
            .counters
            .iter()
            .copied()
            .chain(self.keys.gauges())
            .unzip();
        let keys = group(&key_names, &key_values);
        json!({
            "engine": self.engine,
            "interfaces": self.interfaces.iter().map(|i| json!({
                "name": i.name,
                "mode": i.mode,
                "queues": i.queues,
                "zero_copy": i.zero_copy,
                "zero_copy_refusal": i.zero_copy_refusal,
                "reattached": i.reattached,
            })).collect::<Vec<_>>(),
            "sockets": self.sockets.iter().map(|s| {
                let mut line = group(&SocketCounters::NAMES, &s.counters.values());
                line.extend(group(SocketTally::NAMES, &s.tally));
                line.insert("name".into(), json!(s.name));
                Value::Object(line)
            }).collect::<Vec<_>>(),
            "kernel": self.kernel.map(|k| group(&KernelCounters::NAMES, &k.values())),
            "inline": self.inline.map(|(egress, detour)| json!({
                "egress": group(&EgressCounters::NAMES, &egress.values()),
                "detour": group(&DetourCounters::NAMES, &detour.values()),
            })),
            "predecessor": self.predecessor.map(|line| json!({
                "kernel": group(&KernelCounters::NAMES, &line.kernel.values()),
                "egress": group(&EgressCounters::NAMES, &line.egress.values()),
                "detour": group(&DetourCounters::NAMES, &line.detour.values()),
                "in_hand": line.in_hand,
            })),
            "user": user,
            "sent": self.sent(),
            "roads": self.roads.iter().map(|road| json!({
                "socket": road.socket,
                "to": road.to,
                "state": road.state,
                "messages": road.messages,
                "bytes": road.bytes,
                "steered": road.steered,
            })).collect::<Vec<_>>(),
            "streams": grouped(&self.streams),
            "hep": grouped(&self.hep),
            "keys": keys,
            "started": self.started,
            "workers": self.workers.iter().map(|w| {
                let mut line = group(&WorkerCounters::NAMES, &w.counters.values());
                line.extend(group(WorkerGauges::NAMES, &w.gauges));
                Value::Object(line)
            }).collect::<Vec<_>>(),
            "queues": self.queues.iter().map(|q| {
                let mut line = group(QueueGauges::NAMES, &q.gauges);
                line.insert("interface".into(), json!(q.interface));
                line.insert("queue".into(), json!(q.queue));
                line.insert("worker".into(), json!(q.worker));
                line.insert("mode".into(), json!(q.mode));
                line.insert("zero_copy".into(), json!(q.zero_copy));
                Value::Object(line)
            }).collect::<Vec<_>>(),
            "hooks": self.latencies.iter().map(|l| json!({
                "kind": l.kind.name(),
                "way": l.way,
                "count": l.histogram.count(),
                "sum_ns": l.histogram.sum,
                "buckets": l.histogram.buckets,
                "p50_ns": l.histogram.quantile(0.5),
                "p90_ns": l.histogram.quantile(0.9),
                "p99_ns": l.histogram.quantile(0.99),
            })).collect::<Vec<_>>(),
            "peers": self.peers.rows().into_iter().map(|(name, counts)| json!({
                "peer": name,
                "packets_in": counts.packets_in,
                "bytes_in": counts.bytes_in,
                "packets_out": counts.packets_out,
                "bytes_out": counts.bytes_out,
            })).collect::<Vec<_>>(),
            "languages": Value::Object(self.languages.iter().map(|(language, counters)| {
                let counters = counters.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
                ((*language).to_owned(), Value::Object(counters.collect()))
            }).collect()),
            "tables": Value::Object(self.tables.iter().map(|(table, used)| {
                let used = used.rows().into_iter();
                let used = used.map(|(name, value)| (name.to_owned(), json!(value)));
                (table.clone(), Value::Object(used.collect()))
            }).collect()),
            "guard": self.guard.iter().map(|line| json!({
                "list": line.list,
                "family": line.family,
                "entries": line.entries,
                "most": line.most,
            })).collect::<Vec<_>>(),
            "offenders": self.offenders.iter().map(|(network, packets)| json!({
                "network": network,
                "packets": packets,
            })).collect::<Vec<_>>(),
            "access": self.access.iter().map(|(module, name, value)| json!({
                "module": module,
                "name": name,
                "value": value,
            })).collect::<Vec<_>>(),
            "imbalance": {
                "kernel": self.kernel_imbalance(),
                "user": self.user_imbalance(),
                "streams": self.streams_imbalance,
                "keys": self.keys.imbalance,
                "hep": self.hep_imbalance,
            },
            "log_lines_dropped": self.log_lines_dropped,
            "heap": self.heap.map(|heap| Value::Object(
                heap.gauges().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect(),
            )),
        })
    }

    /// The JSON as text, to be read by a person, too.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.to_json())
    }

    /// One line for the log: what came, what went, and every drop by its reason.
    pub fn summary(&self) -> String {
        let user = &self.user;
        let mut line = if self.inline.is_some() {
            format!(
                "in: {} by AF_XDP; {} delivered to the server, {} sent for it, {} handed back; dropped:",
                user.xdp_in, user.delivered, user.sent, user.handed_back
            )
        } else {
            format!(
                "in: {} by AF_XDP, {} by kernel socket; sent: {} messages, {} by AF_XDP, {} by kernel socket; dropped:",
                user.xdp_in, user.socket_in, user.sent, user.out_xdp, user.out_socket
            )
        };
        let kernel = self.kernel.unwrap_or_default();
        if kernel.offloaded > 0 {
            let place = line.rfind("; dropped:").unwrap_or(line.len());
            line.insert_str(
                place,
                &format!(", {} by the kernel alone", kernel.offloaded),
            );
        }
        let mut drops = 0u64;
        let (egress, detour) = self.inline.unwrap_or_default();
        let all = KernelCounters::NAMES
            .iter()
            .copied()
            .zip(kernel.values())
            .chain(EgressCounters::NAMES.iter().copied().zip(egress.values()))
            .chain(DetourCounters::NAMES.iter().copied().zip(detour.values()))
            .chain(
                WorkerCounters::NAMES
                    .iter()
                    .copied()
                    .zip(self.user.values()),
            );
        for (name, value) in all {
            if let Some(("dropped", reason)) = reason(name)
                && value > 0
            {
                line.push_str(&format!(" {value} {reason}"));
                drops += value;
            }
        }
        if drops == 0 {
            line.push_str(" none");
        }
        if self.user.socket_overflow > 0 {
            line.push_str(&format!(
                "; {} lost by the kernel as a socket's buffer was full (raise net.core.rmem_max)",
                self.user.socket_overflow
            ));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books() -> Books {
        Books {
            engine: "xdp",
            interfaces: Vec::new(),
            sockets: Vec::new(),
            kernel: Some(KernelCounters {
                seen: 10,
                steered: 6,
                pass_not_udp: 3,
                drop_probe: 1,
                ..KernelCounters::default()
            }),
            inline: None,
            predecessor: None,
            roads: Vec::new(),
            user: WorkerCounters {
                xdp_in: 5,
                sent: 4,
                drop_not_sip: 1,
                drop_rx_ring_full: 1,
                ..WorkerCounters::default()
            },
            workers: Vec::new(),
            queues: Vec::new(),
            latencies: Vec::new(),
            peers: peers::Summary::default(),
            offenders: Vec::new(),
            guard: Vec::new(),
            started: 0,
            streams: Vec::new(),
            streams_imbalance: 0,
            keys: KeyLine::default(),
            hep: Vec::new(),
            hep_imbalance: 0,
            languages: [("lua", Vec::new()), ("perl", Vec::new())],
            tables: Vec::new(),
            access: Vec::new(),
            log_lines_dropped: 0,
            heap: None,
        }
    }

    #[test]
    fn books_with_a_verdict_for_every_packet_balance() {
        let books = books();
        assert_eq!((books.kernel_imbalance(), books.user_imbalance()), (0, 0));
    }

    #[test]
    fn a_packet_without_a_verdict_shows() {
        let mut books = books();
        books.user.sent -= 1;
        assert_eq!(books.user_imbalance(), 1);
    }

    #[test]
    fn reasons_are_grouped_in_the_json() {
        let json = books().to_json();
        assert_eq!(json["kernel"]["passed"]["not_udp"], 3);
        assert_eq!(json["user"]["dropped"]["rx_ring_full"], 1);
        assert_eq!(json["user"]["steered"], 6);
    }

    #[test]
    fn the_summary_names_the_reasons_that_occurred_and_no_other() {
        let line = books().summary();
        assert!(
            line.ends_with("dropped: 1 probe 1 rx_ring_full 1 not_sip"),
            "{line}"
        );
    }
}
