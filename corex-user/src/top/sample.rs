//! One reading of a running corex's books.

use std::time::Duration;

use serde_json::{Map, Value};

use corex_script::latency::Histogram;

/// Counters as they were at one moment. What the books lack is 0: another version of corex may
/// have written them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sample {
    /// When they were read, from any fixed moment on.
    pub at: Duration,
    /// When corex started, in seconds since 1970.
    pub started: i64,
    /// `xdp` or `socket`.
    pub engine: String,
    /// Packets by the road that they took.
    pub roads: Vec<Series>,
    /// Packets for each listen socket.
    pub sockets: Vec<Series>,
    /// Messages by peer.
    pub peers: Vec<Series>,
    /// What codecs did: messages by way, failures and enrolments by reason; only what occurred.
    pub codecs: Vec<Series>,
    /// Bytes plain and on the wire, of messages that went through chains.
    pub wire: (u64, u64),
    /// Devices whose keys are known.
    pub sessions: u64,
    /// Packets dropped, by where and why; only reasons that occurred.
    pub drops: Vec<Series>,
    /// How full the guard's lists are.
    pub guard: Vec<Fill>,
    /// Networks that the guard blocks and that send most, with their packets.
    pub offenders: Vec<Series>,
    /// The workers, in order.
    pub workers: Vec<Worker>,
    /// How long hooks took, by kind and way.
    pub hooks: Vec<Hook>,
}

/// Why there is no reading.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unread {
    /// The exit status, if corex top ends with it.
    pub status: u8,
    /// What people read.
    pub reason: String,
}

/// A counter and its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Series {
    /// What it counts: a road, a socket, a peer, a place and reason.
    pub name: String,
    /// What was counted since corex started.
    pub total: u64,
}

/// How full a list is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fill {
    /// Its name.
    pub name: String,
    /// Its entries.
    pub entries: u64,
    /// How full it is for the family of addresses that it has most of, in percent.
    pub percent: u64,
}

/// What one worker did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Worker {
    /// Messages received, by all roads.
    pub received: u64,
    /// Messages sent, by all roads.
    pub sent: u64,
    /// Messages dropped.
    pub dropped: u64,
    /// Nanoseconds that it didn't sleep.
    pub busy_ns: u64,
    /// How full the fullest of its queues is, in percent.
    pub pressure: u64,
    /// Whether it sheds what matters least.
    pub sheds: bool,
}

/// The hooks of one kind on one way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hook {
    /// Kind and way, as in `route in`.
    pub name: String,
    /// How long they took.
    pub histogram: Histogram,
}

/// The value at a path of names.
fn number(value: &Value, path: &[&str]) -> u64 {
    path.iter()
        .try_fold(value, |value, name| value.get(name))
        .and_then(Value::as_u64)
        .unwrap_or(0)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn group<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Map<String, Value>> {
    path.iter()
        .try_fold(value, |value, name| value.get(name))?
        .as_object()
}

fn sum(value: &Value, path: &[&str]) -> u64 {
    let values = group(value, path).into_iter().flat_map(Map::values);
    total(values.filter_map(Value::as_u64))
}

/// A sum, or the most that there is: what another process wrote may be any number.
fn total(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0, u64::saturating_add)
}

fn series(name: impl Into<String>, total: u64) -> Series {
    Series {
        name: name.into(),
        total,
    }
}

/// Where packets are dropped, and the path to the counters by reason.
const DROPS: [(&str, &[&str]); 7] = [
    ("xdp", &["kernel", "dropped"]),
    ("egress", &["inline", "egress", "dropped"]),
    ("detour", &["inline", "detour", "dropped"]),
    ("worker", &["user", "dropped"]),
    ("stream", &["streams", "dropped"]),
    ("keys", &["keys", "dropped"]),
    ("copies", &["hep", "dropped"]),
];

impl Sample {
    /// Reads what `corex.books` answers. `None`: it is no JSON object.
    pub fn read(books: &[u8], at: Duration) -> Option<Sample> {
        let books: Value = serde_json::from_slice(books).ok()?;
        books.is_object().then(|| Sample {
            at,
            started: books.get("started").and_then(Value::as_i64).unwrap_or(0),
            engine: text(&books, "engine").to_owned(),
            roads: roads(&books),
            sockets: sockets(&books),
            peers: list(&books, "peers").iter().map(peer).collect(),
            codecs: codecs(&books),
            wire: wire(&books),
            sessions: number(&books, &["keys", "sessions"]),
            drops: drops(&books),
            guard: fills(&books),
            offenders: list(&books, "offenders").iter().map(offender).collect(),
            workers: list(&books, "workers").iter().map(worker).collect(),
            hooks: list(&books, "hooks").iter().map(hook).collect(),
        })
    }
}

fn roads(books: &Value) -> Vec<Series> {
    let user = |name| number(books, &["user", name]);
    let mut roads = vec![
        series("AF_XDP in", user("xdp_in")),
        series("kernel socket in", user("socket_in")),
        series("stream in", user("stream_in")),
        series("AF_XDP out", user("out_xdp")),
        series("kernel socket out", user("out_socket")),
        series("stream out", user("out_carried")),
    ];
    if group(books, &["inline"]).is_some() {
        roads.push(series("to the server", user("delivered")));
        roads.push(series("handed back", user("handed_back")));
    }
    let passed = [
        sum(books, &["kernel", "passed"]),
        sum(books, &["inline", "egress", "passed"]),
        sum(books, &["inline", "detour", "passed"]),
    ];
    let dropped = DROPS.iter().map(|(_, path)| sum(books, path));
    roads.push(series("offloaded", number(books, &["kernel", "offloaded"])));
    roads.push(series("passed by XDP", total(passed)));
    roads.push(series("dropped", total(dropped)));
    roads
}

/// The listen sockets, and behind them what leaves them by the kernel alone.
fn sockets(books: &Value) -> Vec<Series> {
    let road = |line: &Value| {
        let name = format!("{} > {}", text(line, "socket"), text(line, "to"));
        series(name, number(line, &["messages"]))
    };
    let sockets = list(books, "sockets").iter().map(socket);
    sockets
        .chain(list(books, "roads").iter().map(road))
        .collect()
}

fn socket(line: &Value) -> Series {
    let roads = ["steered", "offloaded", "socket_in", "stream_in"];
    let packets = roads.iter().map(|road| number(line, &[road]));
    series(text(line, "name"), total(packets))
}

fn peer(line: &Value) -> Series {
    let ways = ["packets_in", "packets_out"];
    let messages = ways.iter().map(|way| number(line, &[way]));
    series(text(line, "peer"), total(messages))
}

fn offender(line: &Value) -> Series {
    series(text(line, "network"), number(line, &["packets"]))
}

fn codecs(books: &Value) -> Vec<Series> {
    let mut codecs = Vec::new();
    for (name, path) in [
        ("decoded", ["user", "codec_in"]),
        ("encoded", ["user", "codec_out"]),
        ("waited for a key", ["user", "key_waits"]),
        ("enrolled", ["keys", "enrolled"]),
    ] {
        codecs.push(series(name, number(books, &path)));
    }
    let known = |name: &str| matches!(name, "codec_in" | "codec_out");
    let is_size = |name: &str| name.ends_with("_before") || name.ends_with("_after");
    for (path, prefix) in [("user", "codec_"), ("keys", "enrol_")] {
        for (name, count) in group(books, &[path]).into_iter().flatten() {
            let Some(reason) = name.strip_prefix(prefix) else {
                continue;
            };
            if !known(name) && !is_size(name) {
                let what = if prefix == "enrol_" { "enrolment " } else { "" };
                codecs.push(series(
                    format!("{what}{reason}"),
                    count.as_u64().unwrap_or(0),
                ));
            }
        }
    }
    codecs.retain(|series| series.total > 0);
    codecs
}

fn wire(books: &Value) -> (u64, u64) {
    let user = |name| number(books, &["user", name]);
    (
        total([user("codec_in_after"), user("codec_out_before")]),
        total([user("codec_in_before"), user("codec_out_after")]),
    )
}

fn drops(books: &Value) -> Vec<Series> {
    let mut drops = Vec::new();
    for (place, path) in DROPS {
        for (reason, count) in group(books, path).into_iter().flatten() {
            let count = count.as_u64().unwrap_or(0);
            if count > 0 {
                drops.push(series(format!("{place} {reason}"), count));
            }
        }
    }
    drops
}

/// The guard's lists, each with both families.
fn fills(books: &Value) -> Vec<Fill> {
    let mut fills: Vec<Fill> = Vec::new();
    for line in list(books, "guard") {
        let name = text(line, "list");
        let entries = number(line, &["entries"]);
        let most = number(line, &["most"]).max(1);
        let percent = u128::from(entries) * 100 / u128::from(most);
        let percent = u64::try_from(percent).unwrap_or(u64::MAX);
        match fills.iter_mut().find(|fill| fill.name == name) {
            Some(fill) => {
                fill.entries = fill.entries.saturating_add(entries);
                fill.percent = fill.percent.max(percent);
            }
            None => fills.push(Fill {
                name: name.to_owned(),
                entries,
                percent,
            }),
        }
    }
    fills
}

fn worker(line: &Value) -> Worker {
    let all = |names: &[&str]| total(names.iter().map(|name| number(line, &[name])));
    Worker {
        received: all(&["xdp_in", "socket_in", "stream_in"]),
        sent: all(&["out_xdp", "out_socket", "out_carried"]),
        dropped: sum(line, &["dropped"]),
        busy_ns: number(line, &["busy_ns"]),
        pressure: number(line, &["pressure"]),
        sheds: number(line, &["shedding"]) > 0,
    }
}

fn hook(line: &Value) -> Hook {
    let mut histogram = Histogram {
        sum: number(line, &["sum_ns"]),
        ..Histogram::default()
    };
    for (bucket, count) in histogram.buckets.iter_mut().zip(list(line, "buckets")) {
        *bucket = count.as_u64().unwrap_or(0);
    }
    let way = match text(line, "way") {
        "incoming" => "in",
        "outgoing" => "out",
        other => other,
    };
    Hook {
        name: format!("{} {way}", text(line, "kind")),
        histogram,
    }
}
