//! Behaviour of entries and of the table.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::Transport;

fn entry(text: &str) -> Entry {
    Entry::parse(text).unwrap()
}

fn entries(texts: &[&str]) -> Vec<Entry> {
    texts.iter().map(|t| entry(t)).collect()
}

fn table(exact: &[&str], subdomains: &[&str]) -> Table {
    Table::new(&entries(exact), &entries(subdomains))
}

const UDP: Option<Transport> = Some(Transport::Udp);
const TCP: Option<Transport> = Some(Transport::Tcp);

#[test]
fn entries_are_parsed_into_transport_host_and_port() {
    for (text, transport, host, port) in [
        ("kamailio.org", None, "kamailio.org", 0),
        ("udp:sip-router.org:5060", UDP, "sip-router.org", 5060),
        ("TCP:host", TCP, "host", 0),
        ("host:5080", None, "host", 5080),
        ("host:0", None, "host", 0),
        ("sctp:10.0.0.1", Some(Transport::Sctp), "10.0.0.1", 0),
        (
            "tls:[2001:db8::1]:5061",
            Some(Transport::Tls),
            "[2001:db8::1]",
            5061,
        ),
        ("[::1]", None, "[::1]", 0),
        ("[::1]:5060", None, "[::1]", 5060),
        ("udp", None, "udp", 0),
        ("udp:my_host-1", UDP, "my_host-1", 0),
    ] {
        let expected = Entry {
            transport,
            host: host.to_owned(),
            port,
        };
        assert_eq!(Entry::parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn malformed_entries_say_what_is_wrong() {
    let long = "a".repeat(MAX_HOST_LEN + 1);
    for (text, error) in [
        ("", EntryError::NoHost),
        ("udp:", EntryError::NoHost),
        ("udp:5060", EntryError::NoHost),
        ("udp::5060", EntryError::NoHost),
        ("upd:host", EntryError::BadTransport("upd".into())),
        ("upd:host:5060", EntryError::BadTransport("upd".into())),
        (":host", EntryError::BadTransport(String::new())),
        ("ws:[::1]", EntryError::BadTransport("ws".into())),
        ("host.example:", EntryError::BadPort(String::new())),
        ("host:", EntryError::BadPort(String::new())),
        ("host.example:50x", EntryError::BadPort("50x".into())),
        ("host:65536", EntryError::BadPort("65536".into())),
        ("udp:host:+1", EntryError::BadPort("+1".into())),
        ("udp:host:", EntryError::BadPort(String::new())),
        ("[::1]:x", EntryError::BadPort("x".into())),
        ("2001:db8::1", EntryError::Colons),
        ("[::1", EntryError::Brackets),
        ("::1]", EntryError::Brackets),
        ("]::1[", EntryError::Brackets),
        ("[::1]5060", EntryError::Brackets),
        ("udp[::1]", EntryError::Brackets),
        ("[example.com]", EntryError::BadHost("[example.com]".into())),
        ("[10.0.0.1]", EntryError::BadHost("[10.0.0.1]".into())),
        (".kamailio.org", EntryError::BadHost(".kamailio.org".into())),
        (
            "*.kamailio.org",
            EntryError::BadHost("*.kamailio.org".into()),
        ),
        ("a b", EntryError::BadHost("a b".into())),
        (&long, EntryError::HostTooLong(MAX_HOST_LEN + 1)),
    ] {
        assert_eq!(Entry::parse(text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn a_domain_matches_itself_and_what_is_below_it_at_a_dot() {
    let table = table(&[], &["kamailio.org"]);
    for host in [
        "kamailio.org",
        "KAMAILIO.ORG",
        "sip.kamailio.org",
        "a.b.Kamailio.Org",
    ] {
        assert!(table.is_myself(host.as_bytes(), 5060, UDP), "{host}");
    }
    for host in [
        "evilkamailio.org",
        "org",
        "kamailio.or",
        "kamailio.org.evil",
        "kamailio.org.",
    ] {
        assert!(!table.is_myself(host.as_bytes(), 0, None), "{host}");
    }
}

#[test]
fn an_alias_matches_only_itself() {
    let table = table(&["sip.example.com:5060"], &[]);
    assert!(table.is_myself(b"SIP.example.com", 5060, UDP));
    assert!(!table.is_myself(b"a.sip.example.com", 5060, UDP));
    assert!(!table.is_myself(b"example.com", 5060, UDP));
}

#[test]
fn port_zero_and_no_transport_are_wildcards_on_either_side() {
    let table = table(&["udp:a.example:5060", "b.example", "tcp:b2.example"], &[]);
    assert!(table.is_myself(b"a.example", 5060, UDP));
    assert!(table.is_myself(b"a.example", 0, None));
    assert!(table.is_myself(b"a.example", 0, UDP));
    assert!(table.is_myself(b"a.example", 5060, None));
    assert!(!table.is_myself(b"a.example", 5061, UDP));
    assert!(!table.is_myself(b"a.example", 5060, TCP));
    assert!(!table.is_myself(b"a.example", 0, TCP));
    assert!(table.is_myself(b"b.example", 1, TCP));
    assert!(table.is_myself(b"b2.example", 1, TCP));
    assert!(!table.is_myself(b"b2.example", 0, UDP));
}

#[test]
fn port_and_transport_must_come_from_the_same_entry() {
    let table = table(
        &["udp:a.example:5060", "tcp:a.example:5070"],
        &["tls:example:5061"],
    );
    assert!(!table.is_myself(b"a.example", 5060, TCP));
    assert!(!table.is_myself(b"a.example", 5070, UDP));
    assert!(table.is_myself(b"a.example", 5061, Some(Transport::Tls)));
    assert!(!table.is_myself(b"a.example", 5060, Some(Transport::Tls)));
}

#[test]
fn entries_of_one_port_add_up() {
    let table = table(&["udp:a.example:5060", "tcp:a.example:5060"], &[]);
    assert!(table.is_myself(b"a.example", 5060, UDP));
    assert!(table.is_myself(b"a.example", 5060, TCP));
    assert!(!table.is_myself(b"a.example", 5060, Some(Transport::Sctp)));
}

#[test]
fn a_restricted_subdomain_does_not_hide_a_domain_above_it() {
    let table = table(&[], &["tls:sip.example.com", "example.com"]);
    assert!(table.is_myself(b"a.sip.example.com", 5060, UDP));
}

#[test]
fn addresses_compare_by_value() {
    let table = table(&["udp:[2001:DB8:0::1]:5060", "10.0.0.1"], &["192.0.2.1"]);
    assert!(table.is_myself(b"[2001:db8::1]", 5060, UDP));
    assert!(table.is_myself(b"2001:0db8::0001", 5060, UDP));
    assert!(!table.is_myself(b"[2001:db8::1]", 5061, UDP));
    assert!(table.is_myself(b"10.0.0.1", 1, TCP));
    assert!(!table.is_myself(b"010.0.0.1", 1, TCP));
    assert!(!table.is_myself(b"[::ffff:10.0.0.1]", 1, TCP));
    assert!(table.is_myself(b"192.0.2.1", 1, TCP));
    assert!(!table.is_myself(b"1.192.0.2.1", 1, TCP));
}

#[test]
fn a_listen_address_may_be_written_without_brackets() {
    let listen = Entry {
        transport: UDP,
        host: "2001:db8::1".into(),
        port: 5060,
    };
    assert_eq!(listen.to_string(), "udp:[2001:db8::1]:5060");
    let table = Table::new([&listen], []);
    assert!(table.is_myself(b"[2001:db8::1]", 5060, UDP));
}

#[test]
fn strange_hosts_are_not_ours() {
    let table = table(&[], &["org"]);
    let long = [&vec![b'a'; MAX_HOST_LEN][..], b".org"].concat();
    for host in [
        &b""[..],
        b".",
        b"..",
        b"[",
        b"[]",
        b"[::1",
        b"\0",
        b"\xff",
        &long,
    ] {
        assert!(!table.is_myself(host, 0, None), "{host:?}");
        assert!(!Table::default().is_myself(host, 0, None));
    }
    assert!(
        table.is_myself(&long[5..], 0, None),
        "the longest host that is looked at"
    );
}

/// Median time of a lookup among `count` domains, over hosts that match and that don't.
fn lookup_time(count: usize) -> Duration {
    let all: Vec<_> = (0..count)
        .map(|i| entry(&format!("udp:d{i}.customers.example.net:{}", 5060 + i % 7)))
        .collect();
    let table = Table::new(&all[..count / 2], &all[count / 2..]);
    let hosts: Vec<_> = (0..1000)
        .flat_map(|i| {
            let i = i * count / 1000;
            [
                format!("a.b.d{i}.customers.example.net"),
                format!("d{i}.customers.example.net"),
                format!("x{i}.customers.example.com"),
            ]
        })
        .collect();
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            for host in &hosts {
                std::hint::black_box(table.is_myself(host.as_bytes(), 5060, UDP));
            }
            start.elapsed() / hosts.len() as u32
        })
        .collect();
    times.sort();
    times[4]
}

#[test]
fn a_hundred_thousand_aliases_are_about_as_fast_as_ten() {
    let (few, many) = (lookup_time(10), lookup_time(100_000));
    // A scan would be thousands of times slower; cache misses and a busy machine are not.
    assert!(many < few * 50, "10: {few:?}, 100,000: {many:?}");
}

#[test]
fn many_ports_of_one_host_are_all_found() {
    let all: Vec<_> = (1..=u16::MAX)
        .rev()
        .map(|port| Entry {
            transport: if port % 2 == 0 { UDP } else { TCP },
            host: "a.example".into(),
            port,
        })
        .collect();
    let table = Table::new(&all, []);
    for port in 1..=u16::MAX {
        assert_eq!(table.is_myself(b"a.example", port, UDP), port % 2 == 0);
    }
}

/// The rule, written down as a scan.
fn scan(
    exact: &[Entry],
    subdomains: &[Entry],
    host: &str,
    port: u16,
    transport: Option<Transport>,
) -> bool {
    let ip = |s: &str| {
        let s = s
            .strip_prefix('[')
            .and_then(|s| s.strip_suffix(']'))
            .unwrap_or(s);
        s.parse::<IpAddr>().ok()
    };
    let fits = |e: &Entry| {
        (e.port == 0 || port == 0 || e.port == port)
            && (e.transport.is_none() || transport.is_none() || e.transport == transport)
    };
    let same = |e: &Entry| match (ip(host), ip(&e.host)) {
        (None, None) => host.eq_ignore_ascii_case(&e.host),
        (a, b) => a == b,
    };
    let below = |e: &Entry| {
        let end = format!(".{}", e.host.to_ascii_lowercase());
        ip(host).is_none() && ip(&e.host).is_none() && host.to_ascii_lowercase().ends_with(&end)
    };
    exact.iter().any(|e| fits(e) && same(e))
        || subdomains.iter().any(|e| fits(e) && (same(e) || below(e)))
}

fn hosts() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[abA]{1,2}(\\.[abB]{1,2}){0,3}",
        1 => "10\\.0\\.0\\.[0-3]",
        1 => "\\[(2001:db8::[0-3]|2001:DB8:0:0::[0-3])\\]",
    ]
}

fn transports() -> impl Strategy<Value = Option<Transport>> {
    proptest::option::of(proptest::sample::select(&Transport::ALL[..]))
}

fn generated() -> impl Strategy<Value = Entry> {
    (transports(), hosts(), 0u16..4).prop_map(|(transport, host, port)| Entry {
        transport,
        host,
        port,
    })
}

proptest! {
    #[test]
    fn lookups_agree_with_a_scan(
        exact in proptest::collection::vec(generated(), 0..20),
        subdomains in proptest::collection::vec(generated(), 0..20),
        questions in proptest::collection::vec((hosts(), 0u16..4, transports()), 1..30),
    ) {
        let table = Table::new(&exact, &subdomains);
        for (host, port, transport) in questions {
            prop_assert_eq!(
                table.is_myself(host.as_bytes(), port, transport),
                scan(&exact, &subdomains, &host, port, transport),
                "{} {} {:?}", host, port, transport
            );
        }
    }

    #[test]
    fn entries_survive_printing(entry in generated()) {
        prop_assert_eq!(Entry::parse(&entry.to_string()), Ok(entry));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[udp:\\[\\].0-9a-f]{0,20}|.{0,20}", host in any::<Vec<u8>>()) {
        if let Ok(entry) = Entry::parse(&text) {
            let table = Table::new([&entry], [&entry]);
            prop_assert!(table.is_myself(entry.host.as_bytes(), entry.port, entry.transport));
            table.is_myself(&host, 0, None);
        }
    }
}
