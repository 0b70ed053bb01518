//! Nothing that a corex may answer, or not answer, and no size makes it fail.

use proptest::{collection::vec, prelude::*};
use ratatui::{Terminal, backend::TestBackend};
use serde_json::{Value, json};

use super::*;
use crate::top::sample::{Fill, Hook, Series, Worker};
use corex_script::latency::Histogram;

/// What happens to a model.
#[derive(Clone, Debug)]
enum Event {
    /// It is read. Counters may have gone back, and time may stand still.
    Reading(Box<Sample>),
    /// Nobody answers.
    Silence(String),
    /// A key.
    Key(Action),
    /// The terminal has another size.
    Size(u16, u16),
}

/// Any number, often one at an end.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..2_000u64,
        2 => any::<u64>(),
        1 => Just(u64::MAX),
        1 => (0..64u32).prop_map(|bit| 1 << bit),
    ]
}

/// Names of what there is, and any text.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["AF_XDP in", "udp:[2001:db8::1]:5060", "route in", ""])
            .prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[\\u{300}\\u{200d}コ\\u{1f468}\\u{1b}\\n\\ta]{0,60}",
    ]
}

fn list() -> impl Strategy<Value = Vec<Series>> {
    let series = (name(), number()).prop_map(|(name, total)| Series { name, total });
    vec(series, 0..20)
}

fn worker() -> impl Strategy<Value = Worker> {
    (number(), number(), number(), number()).prop_map(|(received, sent, dropped, busy_ns)| Worker {
        received,
        sent,
        dropped,
        busy_ns,
        pressure: busy_ns,
        sheds: busy_ns > received,
    })
}

fn hook() -> impl Strategy<Value = Hook> {
    let buckets = vec(number(), Histogram::default().buckets.len());
    (name(), buckets, number()).prop_map(|(name, counts, sum)| {
        let mut histogram = Histogram {
            sum,
            ..Histogram::default()
        };
        histogram.buckets.copy_from_slice(&counts);
        Hook { name, histogram }
    })
}

fn fill() -> impl Strategy<Value = Fill> {
    (name(), number(), number()).prop_map(|(name, entries, percent)| Fill {
        name,
        entries,
        percent,
    })
}

fn reading() -> impl Strategy<Value = Sample> {
    let time = prop_oneof![
        4 => (0..10_000u64).prop_map(Duration::from_millis),
        1 => (0..100u64).prop_map(Duration::from_nanos),
        1 => any::<u64>().prop_map(Duration::from_secs),
    ];
    let started = prop_oneof![4 => 1_000..1_003i64, 1 => any::<i64>()];
    (
        (time, started, name()),
        (list(), list(), list(), list(), list(), list()),
        (any::<u64>(), any::<u64>(), any::<u64>()),
        (vec(fill(), 0..5), vec(worker(), 0..20), vec(hook(), 0..6)),
    )
        .prop_map(
            |((at, started, engine), lists, (plain, wire, sessions), (guard, workers, hooks))| {
                let (roads, sockets, peers, drops, codecs, offenders) = lists;
                Sample {
                    codecs,
                    wire: (plain, wire),
                    sessions,
                    at,
                    started,
                    engine,
                    roads,
                    sockets,
                    peers,
                    drops,
                    guard,
                    offenders,
                    workers,
                    hooks,
                }
            },
        )
}

fn event() -> impl Strategy<Value = Event> {
    let keys = vec![Action::Pause, Action::Reset, Action::Sort];
    prop_oneof![
        6 => reading().prop_map(|sample| Event::Reading(Box::new(sample))),
        1 => name().prop_map(Event::Silence),
        1 => prop::sample::select(keys).prop_map(Event::Key),
        3 => (1..=200u16, 1..=70u16).prop_map(|(width, height)| Event::Size(width, height)),
    ]
}

/// Any JSON, with the names that books have.
fn books() -> impl Strategy<Value = Value> {
    let names = vec![
        "user",
        "kernel",
        "inline",
        "egress",
        "detour",
        "dropped",
        "passed",
        "workers",
        "hooks",
        "buckets",
        "peers",
        "sockets",
        "started",
        "engine",
        "streams",
        "xdp_in",
        "steered",
        "socket_in",
        "offloaded",
        "busy_ns",
        "out_xdp",
        "guard",
        "entries",
        "most",
        "offenders",
        "network",
        "packets",
    ];
    let leaf = prop_oneof![
        number().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        name().prop_map(|text| json!(text)),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 60, 12, move |inner| {
        let name = prop::sample::select(names.clone()).prop_map(str::to_owned);
        prop_oneof![
            3 => prop::collection::btree_map(name, inner.clone(), 0..12)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            1 => vec(inner, 0..12).prop_map(Value::Array),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn no_readings_keys_or_sizes_make_it_fail(
        first in reading(),
        events in vec(event(), 1..30),
        has_colour: bool,
        has_unicode: bool,
    ) {
        let look = Look { has_colour, has_unicode };
        let mut model = Model::new("unixs:/run/corex/ctl".to_owned(), first);
        // One terminal for all, as pictures are drawn over each other.
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        for event in events {
            match event {
                Event::Reading(sample) => model.take(Ok(*sample)),
                Event::Silence(reason) => model.take(Err(unread(&reason))),
                Event::Key(action) => {
                    model.act(action);
                }
                Event::Size(width, height) => terminal.backend_mut().resize(width, height),
            }
            let now = Duration::from_secs(4_723);
            terminal.draw(|frame| view::draw(frame, &model, look, now)).unwrap();
            plain::text(&model);
        }
    }

    #[test]
    fn no_answer_makes_it_fail(answers in vec(books(), 1..6), width in 80..120u16) {
        let samples = answers.iter().enumerate().filter_map(|(at, books)| {
            Sample::read(books.to_string().as_bytes(), Duration::from_secs(at as u64))
        });
        let mut model = Model::new(String::new(), Sample::default());
        for sample in samples {
            model.take(Ok(sample));
            drawn(&model, width, 30, PLAIN);
        }
    }
}

#[test]
fn every_size_is_drawn() {
    let model = model([1, 3, 8].map(super::books));
    for height in 1..=60 {
        for width in (1..=81).chain([99, 120, 160, 200]) {
            drawn(&model, width, height, PLAIN);
        }
    }
}
