//! What `corex top` knows, and what keys do to it. Nothing here knows of a terminal.

use std::{cmp::Reverse, collections::VecDeque, time::Duration};

use super::sample::{Sample, Series, Unread};
use corex_script::latency::Histogram;

/// Readings that are kept: as many as the widest curve shows.
const KEPT: usize = 256;
/// Percentiles are of the hooks that ran within so many readings.
const WINDOW: usize = 10;

/// What can be asked by a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Stop.
    Quit,
    /// Hold the picture, or go on.
    Pause,
    /// Count from here.
    Reset,
    /// Sort by the next column.
    Sort,
}

impl Action {
    /// The keys, as the last line of the screen shows them.
    pub const KEYS: [(char, &'static str, Action); 4] = [
        ('q', "quit", Action::Quit),
        ('p', "pause", Action::Pause),
        ('r', "reset", Action::Reset),
        ('s', "sort", Action::Sort),
    ];

    /// What this key asks for.
    pub fn of(key: char) -> Option<Action> {
        if key == ' ' {
            return Some(Action::Pause);
        }
        let mut keys = Action::KEYS.into_iter();
        keys.find_map(|(known, _, action)| (known == key.to_ascii_lowercase()).then_some(action))
    }
}

/// What lists are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// As corex lists them.
    #[default]
    Listed,
    /// The most per second first.
    Rate,
    /// The most since the reset first.
    Count,
    /// By name, A first.
    Name,
}

impl Order {
    /// As the first line of the screen shows it.
    pub fn name(self) -> &'static str {
        match self {
            Order::Listed => "list",
            Order::Rate => "rate",
            Order::Count => "count",
            Order::Name => "name",
        }
    }

    fn next(self) -> Order {
        match self {
            Order::Listed => Order::Rate,
            Order::Rate => Order::Count,
            Order::Count => Order::Name,
            Order::Name => Order::Listed,
        }
    }
}

/// Whether corex answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// It answers.
    Up,
    /// It doesn't answer, and why.
    Down(String),
}

/// A row of a list.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// What its events are: a road, a socket, a peer, a reason.
    pub name: String,
    /// Events per second, now.
    pub rate: f64,
    /// Events since the reset.
    pub count: u64,
    /// Events per second over time, the newest last.
    pub curve: Vec<u64>,
}

/// A row of the list of workers.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkerRow {
    /// The worker's number, from 0.
    pub worker: usize,
    /// The share of time that it didn't sleep, 0 to 1.
    pub load: f64,
    /// How full the fullest of its queues is, in percent.
    pub pressure: u64,
    /// Whether it sheds what matters least.
    pub sheds: bool,
    /// Messages received per second.
    pub received: f64,
    /// Messages sent per second.
    pub sent: f64,
    /// Messages dropped since the reset.
    pub dropped: u64,
    /// The load over time in thousandths, the newest last.
    pub curve: Vec<u64>,
}

/// A row of the list of hooks.
#[derive(Clone, PartialEq, Debug)]
pub struct HookRow {
    /// Kind and way, as in `route in`.
    pub name: String,
    /// Runs per second.
    pub rate: f64,
    /// The times that 50, 90 and 99 percent of the runs stayed within, in nanoseconds; `None`:
    /// there were none lately.
    pub within: [Option<u64>; 3],
}

/// The readings, and how they are to be shown.
#[derive(Clone, Debug)]
pub struct Model {
    /// The address of the control socket.
    pub address: String,
    /// Whether corex answers.
    pub link: Link,
    /// Whether the picture is held.
    pub is_paused: bool,
    /// What lists are sorted by.
    pub order: Order,
    /// How often corex was seen to have started anew.
    pub restarts: u32,
    samples: VecDeque<Sample>,
    base: Sample,
}

impl Model {
    /// What is known after the first reading.
    pub fn new(address: String, first: Sample) -> Model {
        Model {
            address,
            link: Link::Up,
            is_paused: false,
            order: Order::default(),
            restarts: 0,
            base: first.clone(),
            samples: VecDeque::from([first]),
        }
    }

    /// Takes what was read, or why nothing was. While paused, only whether corex answers.
    pub fn take(&mut self, read: Result<Sample, Unread>) {
        let sample = match read {
            Ok(sample) => sample,
            Err(unread) => {
                self.link = Link::Down(unread.reason);
                return;
            }
        };
        self.link = Link::Up;
        if self.is_paused {
            return;
        }
        if is_another(&sample, self.latest()) {
            // Counters began at 0 with it.
            self.restarts += 1;
            self.samples.clear();
            self.base = Sample {
                at: sample.at,
                started: sample.started,
                ..Sample::default()
            };
        }
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Does what a key asks for. False: stop.
    pub fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Quit => return false,
            Action::Pause => self.is_paused = !self.is_paused,
            Action::Reset => self.base = self.latest().clone(),
            Action::Sort => self.order = self.order.next(),
        }
        true
    }

    /// The last reading.
    pub fn latest(&self) -> &Sample {
        self.samples.back().unwrap_or(&self.base)
    }

    /// How long ago the counts began.
    pub fn counted_for(&self) -> Duration {
        self.latest().at.saturating_sub(self.base.at)
    }

    /// Packets by road, always in the same order.
    pub fn roads(&self) -> Vec<Row> {
        self.rows(|sample| &sample.roads)
    }

    /// Packets by listen socket, sorted.
    pub fn sockets(&self) -> Vec<Row> {
        self.sorted(self.rows(|sample| &sample.sockets))
    }

    /// Messages by peer, sorted.
    pub fn peers(&self) -> Vec<Row> {
        self.sorted(self.rows(|sample| &sample.peers))
    }

    /// What codecs did, sorted.
    pub fn codecs(&self) -> Vec<Row> {
        self.sorted(self.rows(|sample| &sample.codecs))
    }

    /// What is shown of codecs beside that: what is left of messages on the wire, and devices with
    /// keys; empty where no chain runs.
    pub fn codec_line(&self) -> String {
        let latest = self.latest();
        let (plain, wire) = latest.wire;
        let mut parts = Vec::new();
        if plain > 0 {
            let percent = wire as f64 * 100.0 / plain as f64;
            parts.push(format!("{percent:.0} % on the wire"));
        }
        if latest.sessions > 0 {
            parts.push(format!("{} sessions", latest.sessions));
        }
        parts.join(", ")
    }

    /// Drops by reason, sorted.
    pub fn drops(&self) -> Vec<Row> {
        self.sorted(self.rows(|sample| &sample.drops))
    }

    /// Who is blocked and sends most, sorted.
    pub fn offenders(&self) -> Vec<Row> {
        self.sorted(self.rows(|sample| &sample.offenders))
    }

    /// The workers, sorted: by load where others are by rate, by drops where others by count.
    pub fn workers(&self) -> Vec<WorkerRow> {
        let of = |sample: &Sample, id: usize| sample.workers.get(id).copied().unwrap_or_default();
        let mut rows: Vec<WorkerRow> = (0..self.latest().workers.len())
            .map(|id| {
                let busy = self.curve(|sample| of(sample, id).busy_ns);
                WorkerRow {
                    worker: id,
                    load: (self.rate(|sample| of(sample, id).busy_ns) / 1e9).min(1.0),
                    pressure: of(self.latest(), id).pressure,
                    sheds: of(self.latest(), id).sheds,
                    received: self.rate(|sample| of(sample, id).received),
                    sent: self.rate(|sample| of(sample, id).sent),
                    dropped: since(of(self.latest(), id).dropped, of(&self.base, id).dropped),
                    curve: busy.into_iter().map(|ns| ns / 1_000_000).collect(),
                }
            })
            .collect();
        match self.order {
            Order::Rate => rows.sort_by(|a, b| b.load.total_cmp(&a.load)),
            Order::Count => rows.sort_by_key(|row| Reverse(row.dropped)),
            Order::Listed | Order::Name => {}
        }
        rows
    }

    /// How long hooks took lately.
    pub fn hooks(&self) -> Vec<HookRow> {
        let of = |sample: &Sample, name: &str| -> Histogram {
            let found = sample.hooks.iter().find(|hook| hook.name == name);
            found.map_or_else(Histogram::default, |hook| hook.histogram)
        };
        let earlier = self.samples.len().saturating_sub(WINDOW + 1);
        let earlier = self.samples.get(earlier).unwrap_or(&self.base);
        let row = |hook: &super::sample::Hook| {
            let lately = hook.histogram.since(&of(earlier, &hook.name));
            HookRow {
                name: hook.name.clone(),
                rate: self.rate(|sample| of(sample, &hook.name).count()),
                within: [0.5, 0.9, 0.99].map(|share| lately.quantile(share)),
            }
        };
        self.latest().hooks.iter().map(row).collect()
    }

    fn rows(&self, list: impl Fn(&Sample) -> &Vec<Series>) -> Vec<Row> {
        let row = |(at, series): (usize, &Series)| {
            let total = |sample: &Sample| find(list(sample), at, &series.name);
            Row {
                name: series.name.clone(),
                rate: self.rate(total),
                count: since(series.total, total(&self.base)),
                curve: self.curve(total),
            }
        };
        list(self.latest()).iter().enumerate().map(row).collect()
    }

    fn sorted(&self, mut rows: Vec<Row>) -> Vec<Row> {
        match self.order {
            Order::Listed => {}
            Order::Rate => rows.sort_by(|a, b| b.rate.total_cmp(&a.rate)),
            Order::Count => rows.sort_by_key(|row| Reverse(row.count)),
            Order::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        rows
    }

    /// Growth per second between the last two readings.
    fn rate(&self, total: impl Fn(&Sample) -> u64) -> f64 {
        let mut newest = self.samples.iter().rev();
        match (newest.next(), newest.next()) {
            (Some(now), Some(before)) => per_second(now, before, &total),
            _ => 0.0,
        }
    }

    /// Growth per second between all readings.
    fn curve(&self, total: impl Fn(&Sample) -> u64) -> Vec<u64> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs
            .map(|(before, now)| per_second(now, before, &total).round() as u64)
            .collect()
    }
}

/// Whether another process counted this.
fn is_another(now: &Sample, before: &Sample) -> bool {
    let pairs = now.roads.iter().zip(&before.roads);
    now.started != before.started
        || pairs
            .into_iter()
            .any(|(now, before)| now.total < before.total)
}

/// The total of this name: mostly at the same place as last time.
fn find(list: &[Series], at: usize, name: &str) -> u64 {
    let here = list.get(at).filter(|series| series.name == name);
    let found = here.or_else(|| list.iter().find(|series| series.name == name));
    found.map_or(0, |series| series.total)
}

/// What was added; 0 where a counter went backwards.
fn since(now: u64, before: u64) -> u64 {
    now.saturating_sub(before)
}

fn per_second(now: &Sample, before: &Sample, total: impl Fn(&Sample) -> u64) -> f64 {
    let seconds = now.at.saturating_sub(before.at).as_secs_f64();
    if seconds <= 0.0 {
        return 0.0;
    }
    since(total(now), total(before)) as f64 / seconds
}
