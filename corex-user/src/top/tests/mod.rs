mod properties;

use std::{sync::Arc, time::Duration};

use corex_common::counters::{KernelCounters, SocketCounters, WorkerCounters};
use ratatui::{Terminal, backend::TestBackend};

use super::{
    model::{Action, Link, Model, Order, Row},
    plain,
    sample::{Sample, Unread},
    view::{self, Look},
};
use crate::telemetry::{
    books::{Books, GuardLine, LatencyLine, SocketLine, WorkerLine},
    peers::{Peers, Summary, Table},
};
use corex_script::Direction;
use corex_script::latency::{Kind, Latencies};

const PLAIN: Look = Look {
    has_colour: false,
    has_unicode: false,
};

/// Books in which everything grows with `n`.
fn books(n: u64) -> Books {
    let latencies = Latencies::default();
    for _ in 0..n {
        let took = Duration::from_micros(30);
        latencies.record(0, Kind::Route, Some(Direction::Incoming), took);
    }
    let user = WorkerCounters {
        xdp_in: 100 * n,
        socket_in: 10 * n,
        stream_in: n,
        sent: 106 * n,
        out_xdp: 100 * n,
        out_socket: 5 * n,
        out_carried: n,
        drop_not_sip: 5 * n,
        busy_ns: n * 250_000_000,
        ..WorkerCounters::default()
    };
    let socket = |name: &str, steered| SocketLine {
        name: name.to_owned(),
        counters: SocketCounters {
            steered,
            ..SocketCounters::default()
        },
        tally: Vec::new(),
    };
    Books {
        engine: "xdp",
        interfaces: Vec::new(),
        sockets: vec![
            socket("udp:192.0.2.1:5060", 30 * n),
            socket("udp:[2001:db8:aaaa:bbbb:cccc:dddd:eeee:1]:5060", 70 * n),
        ],
        kernel: Some(KernelCounters {
            seen: 107 * n,
            steered: 100 * n,
            pass_not_udp: 5 * n,
            drop_probe: 2 * n,
            ..KernelCounters::default()
        }),
        inline: None,
        predecessor: None,
        roads: Vec::new(),
        user,
        workers: vec![WorkerLine {
            counters: user,
            gauges: Vec::new(),
        }],
        queues: Vec::new(),
        latencies: vec![LatencyLine {
            kind: Kind::Route,
            way: "incoming",
            histogram: latencies.total(Kind::Route, 0),
        }],
        peers: peers(n),
        offenders: vec![("203.0.113.0/24".to_owned(), 5 * n)],
        guard: [
            ("allow", "ipv4", 7),
            ("allow", "ipv6", 0),
            ("block", "ipv4", 750_000),
            ("block", "ipv6", 500_000),
        ]
        .map(|(list, family, entries)| GuardLine {
            list,
            family,
            entries,
            most: 1_000_000,
        })
        .into(),
        started: 1_000,
        streams: vec![("queued", n), ("delivered", 0), ("drop_unresolved", n)],
        streams_imbalance: 0,
        keys: crate::telemetry::books::KeyLine::default(),
        hep: Vec::new(),
        hep_imbalance: 0,
        languages: [("lua", Vec::new()), ("perl", Vec::new())],
        tables: Vec::new(),
        access: Vec::new(),
        log_lines_dropped: 0,
        heap: None,
    }
}

fn peers(n: u64) -> Summary {
    let table = Arc::new(Table::new(4));
    let mut peers = Peers::new(Arc::clone(&table));
    for _ in 0..n {
        peers.received([192, 0, 2, 7].into(), 400);
        peers.sent(Some([192, 0, 2, 7].into()), 400);
    }
    peers.publish();
    Summary::of([&*table])
}

fn sample(books: &Books, seconds: u64) -> Sample {
    let text = books.to_json().to_string();
    Sample::read(text.as_bytes(), Duration::from_secs(seconds)).unwrap()
}

/// A model after readings a second apart of these books.
fn model(of: impl IntoIterator<Item = Books>) -> Model {
    let mut samples = (0..).zip(of).map(|(at, books)| sample(&books, at));
    let mut model = Model::new("unixs:/run/corex/ctl".to_owned(), samples.next().unwrap());
    for sample in samples {
        model.take(Ok(sample));
    }
    model
}

fn unread(reason: &str) -> Unread {
    Unread {
        status: 3,
        reason: reason.to_owned(),
    }
}

fn row(rows: Vec<Row>, name: &str) -> Row {
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let mut found = rows.into_iter().filter(|row| row.name == name);
    found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

/// The screen's lines.
fn drawn(model: &Model, width: u16, height: u16, look: Look) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let now = Duration::from_secs(1_000 + 3_723);
    terminal
        .draw(|frame| view::draw(frame, model, look, now))
        .unwrap();
    let cells = terminal.backend().buffer().content();
    let lines = cells.chunks(usize::from(width));
    lines
        .map(|line| line.iter().map(|cell| cell.symbol()).collect())
        .collect()
}

fn has(lines: &[String], parts: &[&str]) -> bool {
    lines
        .iter()
        .any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn rates_are_of_the_last_second_and_counts_of_all_since_the_start() {
    let model = model([1, 3, 8].map(books));
    for (name, rate, count) in [
        ("AF_XDP in", 500.0, 700),
        ("kernel socket in", 50.0, 70),
        ("stream in", 5.0, 7),
        ("AF_XDP out", 500.0, 700),
        ("kernel socket out", 25.0, 35),
        ("stream out", 5.0, 7),
        ("offloaded", 0.0, 0),
        ("passed by XDP", 25.0, 35),
        ("dropped", 40.0, 56),
    ] {
        let row = row(model.roads(), name);
        assert_eq!((row.rate, row.count), (rate, count), "{name}");
    }
    let drops = model.drops();
    assert_eq!(row(drops.clone(), "xdp probe").rate, 10.0);
    assert_eq!(row(drops.clone(), "worker not_sip").count, 35);
    assert_eq!(row(drops, "stream unresolved").curve, [2, 5]);
    assert_eq!(row(model.sockets(), "udp:192.0.2.1:5060").curve, [60, 150]);
    let workers = model.workers();
    assert_eq!(workers[0].load, 1.0, "1.25 seconds of work in one");
    assert_eq!((workers[0].received, workers[0].sent), (555.0, 530.0));
}

#[test]
fn a_reset_counts_from_there_and_keeps_the_rates() {
    let mut model = model([1, 3].map(books));
    model.act(Action::Reset);
    model.take(Ok(sample(&books(4), 2)));
    let row = row(model.roads(), "AF_XDP in");
    assert_eq!((row.rate, row.count), (100.0, 100));
    assert_eq!(model.counted_for(), Duration::from_secs(1));
}

#[test]
fn a_pause_holds_everything_but_whether_corex_answers() {
    let mut model = model([1, 3].map(books));
    model.act(Action::Pause);
    let before = model.roads();
    model.take(Ok(sample(&books(9), 2)));
    assert_eq!(model.roads(), before);
    model.take(Err(unread("gone")));
    assert_eq!(model.link, Link::Down("gone".to_owned()));
    model.act(Action::Pause);
    model.take(Ok(sample(&books(9), 5)));
    let row = row(model.roads(), "AF_XDP in");
    assert_eq!((row.rate, row.count), (150.0, 800));
    assert_eq!(model.link, Link::Up);
}

#[test]
fn another_process_begins_anew() {
    let mut model = model([5, 9].map(books));
    let mut next = books(2);
    next.started += 60;
    model.take(Ok(sample(&next, 70)));
    let first = row(model.roads(), "AF_XDP in");
    assert_eq!((first.rate, first.count), (0.0, 200));
    assert_eq!(model.restarts, 1);
    // Within the same second as well.
    model.take(Ok(sample(&books(1), 71)));
    assert_eq!(model.restarts, 2);
}

#[test]
fn lists_are_sorted_as_asked() {
    let mut model = model([1, 3].map(books));
    let names =
        |model: &Model| -> Vec<String> { model.drops().into_iter().map(|row| row.name).collect() };
    assert_eq!(
        names(&model),
        ["xdp probe", "worker not_sip", "stream unresolved"]
    );
    for (order, expected) in [
        (
            Order::Rate,
            ["worker not_sip", "xdp probe", "stream unresolved"],
        ),
        (
            Order::Count,
            ["worker not_sip", "xdp probe", "stream unresolved"],
        ),
        (
            Order::Name,
            ["stream unresolved", "worker not_sip", "xdp probe"],
        ),
        (
            Order::Listed,
            ["xdp probe", "worker not_sip", "stream unresolved"],
        ),
    ] {
        model.act(Action::Sort);
        assert_eq!(model.order, order);
        assert_eq!(names(&model), expected, "{order:?}");
    }
}

#[test]
fn percentiles_are_of_the_hooks_that_ran_lately() {
    let mut readings: Vec<Books> = vec![books(1)];
    readings.extend((0..12).map(|_| books(500)));
    let model = model(readings);
    let hooks = model.hooks();
    assert_eq!(hooks[0].name, "route in");
    assert_eq!(hooks[0].within, [None; 3], "none in the last ten seconds");
}

#[test]
fn keys_are_what_the_last_line_says() {
    let lines = drawn(&model([1, 3].map(books)), 80, 24, PLAIN);
    let last = lines.last().unwrap();
    for (key, name, action) in Action::KEYS {
        assert!(last.contains(&format!(" {key}  {name}")), "{last}");
        assert_eq!(Action::of(key), Some(action));
    }
    assert_eq!(Action::of('x'), None);
    let mut model = model([1, 3].map(books));
    assert!(!model.act(Action::Quit));
}

#[test]
fn all_of_it_fits_on_the_smallest_screen() {
    let lines = drawn(&model([1, 3].map(books)), 80, 24, PLAIN);
    let text = lines.join("\n");
    for parts in [
        &["corex xdp, up 1:02:03, unixs:/run/corex/ctl"][..],
        &["AF_XDP in", "200     200"],
        &["dropped", "16"],
        &["udp:192.0.2.1:5060", "60"],
        &["route in", "2", "32.0us"],
        &["192.0.2.7", "4       4"],
        &["worker not_sip", "10"],
        &["workers", "load", "full"],
        &["50%", "0%", "222", "212"],
        &["guard's lists", "entries", "full"],
        &["allow", "7", "0%"],
        &["block", "1.25M", "75%"],
        &["blocked by source", "rate/s"],
        &["203.0.113.0/24", "10      10"],
        &["sorted by list; counts of 0:00:01"],
    ] {
        assert!(has(&lines, parts), "no {parts:?} in\n{text}");
    }
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn larger_screens_show_long_names_whole() {
    let model = model([1, 3].map(books));
    let long = "udp:[2001:db8:aaaa:bbbb:cccc:dddd:eeee:1]:5060";
    assert!(has(&drawn(&model, 160, 50, PLAIN), &[long]));
    assert!(!has(&drawn(&model, 80, 24, PLAIN), &[long]));
    assert!(has(&drawn(&model, 80, 24, PLAIN), &["udp:[2001:db8:aaa~"]));
}

#[test]
fn what_does_not_fit_is_told_of() {
    let mut many = books(3);
    let one = many.workers[0].clone();
    many.workers = vec![one; 40];
    let lines = drawn(&model([many]), 80, 24, PLAIN);
    assert!(has(&lines, &["and 35 more"]), "{}", lines.join("\n"));
}

#[test]
fn no_size_garbles_it() {
    let mut many = books(3);
    let one = many.sockets[0].clone();
    many.sockets = vec![one; 30];
    let model = model([many]);
    for width in [1, 2, 10, 40, 79, 80, 81, 100, 199] {
        for height in [1, 5, 23, 24, 25, 60] {
            let first = drawn(&model, width, height, PLAIN).swap_remove(0);
            let expected = if width < 80 || height < 24 {
                "80x24 at least; this is "
            } else {
                "corex xdp, up 1:02:03, "
            };
            let compared = expected.len().min(width.into());
            assert_eq!(first[..compared], expected[..compared], "{width}x{height}");
        }
    }
}

#[test]
fn the_state_of_the_connection_is_said() {
    let mut model = model([1, 3].map(books));
    model.take(Err(unread("Connection refused")));
    let lines = drawn(&model, 110, 24, PLAIN);
    assert!(lines[0].contains("NOT ANSWERING, asking again: Connection refused"));
    assert!(has(&lines, &["AF_XDP in", "200"]), "the last picture stays");
    model.take(Ok(sample(&books(4), 3)));
    model.act(Action::Pause);
    let lines = drawn(&model, 80, 24, PLAIN);
    assert!(lines[0].contains("PAUSED"));
}

#[test]
fn curves_grow_to_the_right() {
    let unicode = Look {
        has_unicode: true,
        ..PLAIN
    };
    let model = model([0, 1, 3, 7, 15].map(books));
    let lines = drawn(&model, 80, 24, unicode);
    assert!(has(&lines, &["AF_XDP in", "▁▂▄█"]), "{}", lines.join("\n"));
    let lines = drawn(&model, 80, 24, PLAIN);
    assert!(has(&lines, &["AF_XDP in", ".:=#"]), "{}", lines.join("\n"));
}

#[test]
fn without_colour_there_is_none() {
    let colours = |look: Look| {
        let model = model([1, 3].map(books));
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal
            .draw(|frame| view::draw(frame, &model, look, Duration::ZERO))
            .unwrap();
        let cells = terminal.backend().buffer().content();
        cells
            .iter()
            .filter(|cell| cell.fg != ratatui::style::Color::Reset)
            .count()
    };
    assert_eq!(colours(PLAIN), 0);
    let coloured = Look {
        has_colour: true,
        ..PLAIN
    };
    assert!(colours(coloured) > 100);
}

#[test]
fn plain_text_has_rates_and_all_that_was_ever_counted() {
    let text = plain::text(&model([1, 3].map(books)));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for parts in [
        &["corex xdp at unixs:/run/corex/ctl, rates over 1.0 s"][..],
        &["AF_XDP in", "200", "300"],
        &["worker not_sip", "10", "15"],
        &[
            "udp:[2001:db8:aaaa:bbbb:cccc:dddd:eeee:1]:5060",
            "140",
            "210",
        ],
        &["route in", "2", "32.0us"],
        &["0", "50%", "222", "212", "15"],
        &["guard's lists", "entries", "full"],
        &["allow", "7", "0%"],
        &["block", "1250000", "75%"],
        &["blocked by source", "per second"],
        &["203.0.113.0/24", "10", "15"],
    ] {
        assert!(has(&lines, parts), "no {parts:?} in\n{text}");
    }
}

#[test]
fn without_a_guard_nothing_is_said_of_its_lists() {
    let mut without = books(3);
    without.guard.clear();
    without.offenders.clear();
    let model = model([without]);
    let lines = drawn(&model, 80, 24, PLAIN);
    assert!(!has(&lines, &["guard's lists"]), "{}", lines.join("\n"));
    assert!(!has(&lines, &["blocked by source"]), "{}", lines.join("\n"));
    for title in ["guard's lists", "blocked by source"] {
        assert!(!plain::text(&model).contains(title));
    }
}

#[test]
fn what_is_no_reading_is_refused_and_what_lacks_is_zero() {
    assert_eq!(Sample::read(b"no json", Duration::ZERO), None);
    assert_eq!(Sample::read(b"[]", Duration::ZERO), None);
    let empty = Sample::read(b"{}", Duration::ZERO).unwrap();
    assert!(empty.roads.iter().all(|road| road.total == 0));
    drawn(&Model::new(String::new(), empty), 80, 24, PLAIN);
}
