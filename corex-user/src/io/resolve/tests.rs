//! Against a name server in this process.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hickory_resolver::{
    config::NameServerConfig,
    proto::{
        op::{Message, MessageType, OpCode, ResponseCode},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{A, AAAA, CNAME, NAPTR, SRV},
        },
    },
};
use proptest::prelude::*;
use tokio::net::UdpSocket;

use super::{cache::Candidate, *};

const BOTH: Families = Families { v4: true, v6: true };

/// A name server with these records.
struct Server {
    address: SocketAddr,
    questions: Arc<AtomicU64>,
    is_deaf: Arc<AtomicBool>,
    /// It knows no record any more.
    is_empty: Arc<AtomicBool>,
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

async fn server(records: &[(&str, u32, RData)]) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut zone: HashMap<Name, Vec<Record>> = HashMap::new();
    for (owner, ttl, data) in records {
        let owner = name(owner);
        let record = Record::from_rdata(owner.clone(), *ttl, data.clone());
        zone.entry(owner.to_lowercase()).or_default().push(record);
    }
    let questions = Arc::new(AtomicU64::new(0));
    let is_deaf = Arc::new(AtomicBool::new(false));
    let (counted, deaf) = (Arc::clone(&questions), Arc::clone(&is_deaf));
    let is_empty = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&is_empty);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            if deaf.load(Ordering::Relaxed) {
                continue;
            }
            let request = Message::from_vec(&buffer[..len]).unwrap();
            let question = request.queries[0].clone();
            let mut answer =
                Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
            answer.metadata.recursion_desired = true;
            answer.metadata.recursion_available = true;
            answer.add_query(question.clone());
            let mut owner = question.name().to_lowercase();
            owner.set_fqdn(true);
            let known = zone.get(&owner).cloned().unwrap_or_default();
            let mut matching: Vec<_> = known
                .iter()
                .filter(|r| {
                    r.record_type() == question.query_type() || r.record_type() == RecordType::CNAME
                })
                .cloned()
                .collect();
            if let Some(RData::CNAME(alias)) = matching.first().map(|r| &r.data) {
                let target = alias.0.to_lowercase();
                let more = zone.get(&target).cloned().unwrap_or_default();
                matching.extend(
                    more.into_iter()
                        .filter(|r| r.record_type() == question.query_type()),
                );
            }
            if gone.load(Ordering::Relaxed) {
                matching.clear();
            }
            if known.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.add_answers(matching);
            socket
                .send_to(&answer.to_vec().unwrap(), from)
                .await
                .unwrap();
        }
    });
    Server {
        address,
        questions,
        is_deaf,
        is_empty,
    }
}

impl Server {
    fn resolver(&self, families: Families, hosts: &str) -> NameResolver {
        self.resolver_with(families, hosts, DnsSettings::default())
            .0
    }

    fn resolver_with(
        &self,
        families: Families,
        hosts: &str,
        settings: DnsSettings,
    ) -> (NameResolver, Arc<StreamCounters>) {
        let mut server = NameServerConfig::udp(self.address.ip());
        server.connections[0].port = self.address.port();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_millis(100);
        options.attempts = 1;
        let mut known = Hosts::default();
        known.read_hosts_conf(hosts.as_bytes()).unwrap();
        let counters = Arc::<StreamCounters>::default();
        let own = Arc::clone(&counters);
        let resolver = NameResolver::new(config, options, known, families, settings, own);
        (resolver.unwrap(), counters)
    }
}

fn a(text: &str) -> RData {
    RData::A(A(text.parse().unwrap()))
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, name(target)))
}

fn naptr(order: u16, preference: u16, service: &str, target: &str) -> RData {
    RData::NAPTR(NAPTR::new(
        order,
        preference,
        (*b"s").into(),
        service.as_bytes().into(),
        Box::default(),
        name(target),
    ))
}

fn query(host: &str) -> Query<'_> {
    Query {
        host: host.as_bytes(),
        port: None,
        transport: None,
        secure: false,
    }
}

fn to(address: &str, transport: Transport) -> Result<Destination, ResolveError> {
    Ok(Destination {
        address: address.parse().unwrap(),
        transport,
    })
}

#[tokio::test]
async fn addresses_of_the_configuration_are_asked_of_nobody() {
    let server = server(&[("own.example.", 60, a("192.0.2.1"))]).await;
    let settings = DnsSettings {
        records: vec![
            ("own.example".to_owned(), "192.0.2.9".parse().unwrap()),
            ("six.example".to_owned(), "2001:db8::9".parse().unwrap()),
        ],
        ..DnsSettings::default()
    };
    let (resolver, _) = server.resolver_with(BOTH, "", settings);
    let found = resolver.resolve(&query("own.example"), None).await;
    assert_eq!(found, to("192.0.2.9:5060", Transport::Udp));
    let found = resolver.resolve(&query("six.example"), None).await;
    assert_eq!(found, to("[2001:db8::9]:5060", Transport::Udp));
    assert_eq!(server.questions.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_port_means_addresses_and_nothing_else() {
    let server = server(&[
        ("a.example.", 60, a("192.0.2.1")),
        ("_sip._udp.a.example.", 60, srv(1, 1, 99, "b.example.")),
        (
            "six.example.",
            60,
            RData::AAAA(AAAA("2001:db8::1".parse().unwrap())),
        ),
        (
            "alias.example.",
            60,
            RData::CNAME(CNAME(name("a.example."))),
        ),
    ])
    .await;
    let resolver = server.resolver(BOTH, "192.0.2.77 local.example\n");
    let with_port = |host| Query {
        port: Some(5080),
        ..query(host)
    };
    let udp = Transport::Udp;
    assert_eq!(
        resolver.resolve(&with_port("A.Example"), None).await,
        to("192.0.2.1:5080", udp)
    );
    assert_eq!(
        resolver.resolve(&with_port("six.example"), None).await,
        to("[2001:db8::1]:5080", udp)
    );
    assert_eq!(
        resolver.resolve(&with_port("alias.example"), None).await,
        to("192.0.2.1:5080", udp)
    );
    assert_eq!(
        resolver.resolve(&query("local.example"), None).await,
        to("192.0.2.77:5060", udp)
    );
    let only_four = server.resolver(
        Families {
            v4: true,
            v6: false,
        },
        "",
    );
    assert_eq!(
        only_four.resolve(&with_port("six.example"), None).await,
        Err(ResolveError::NotFound)
    );
}

#[tokio::test]
async fn without_a_port_naptr_and_srv_say_where_and_how() {
    let server = server(&[
        (
            "n.example.",
            60,
            naptr(50, 50, "SIP+D2U", "_sip._udp.n.example."),
        ),
        (
            "n.example.",
            60,
            naptr(10, 50, "SIP+D2S", "_sip._sctp.n.example."),
        ),
        (
            "n.example.",
            60,
            naptr(20, 50, "SIP+D2T", "_sip._tcp.n.example."),
        ),
        ("_sip._tcp.n.example.", 60, srv(1, 1, 5070, "a.example.")),
        ("_sip._udp.n.example.", 60, srv(1, 1, 5080, "a.example.")),
        ("_sips._tcp.n.example.", 60, srv(1, 1, 5090, "a.example.")),
        ("_sip._udp.s.example.", 60, srv(5, 1, 7000, "gone.example.")),
        ("_sip._udp.s.example.", 60, srv(10, 1, 7001, "a.example.")),
        ("plain.example.", 60, a("192.0.2.9")),
        ("a.example.", 60, a("192.0.2.1")),
    ])
    .await;
    let resolver = server.resolver(BOTH, "");
    assert_eq!(
        resolver.resolve(&query("n.example"), None).await,
        to("192.0.2.1:5070", Transport::Tcp)
    );
    let by = |host, transport| Query {
        transport: Some(transport),
        ..query(host)
    };
    let udp = by("n.example", Transport::Udp);
    assert_eq!(
        resolver.resolve(&udp, None).await,
        to("192.0.2.1:5080", Transport::Udp)
    );
    let secure = Query {
        secure: true,
        ..query("n.example")
    };
    assert_eq!(
        resolver.resolve(&secure, None).await,
        to("192.0.2.1:5090", Transport::Tls)
    );
    // A server without an address makes way for the next priority.
    assert_eq!(
        resolver.resolve(&query("s.example"), None).await,
        to("192.0.2.1:7001", Transport::Udp)
    );
    let plain = query("plain.example");
    assert_eq!(
        resolver.resolve(&plain, None).await,
        to("192.0.2.9:5060", Transport::Udp)
    );
    let tls = by("plain.example", Transport::Tls);
    assert_eq!(
        resolver.resolve(&tls, None).await,
        to("192.0.2.9:5061", Transport::Tls)
    );
}

#[tokio::test]
async fn what_was_found_is_in_the_cache_until_its_time_is_over() {
    let server = server(&[("short.example.", 1, a("192.0.2.1"))]).await;
    let resolver = server.resolver(BOTH, "");
    let short = Query {
        port: Some(5060),
        ..query("short.example")
    };
    assert_eq!(resolver.cached(&short), Cached::Miss);
    resolver.resolve(&short, None).await.unwrap();
    assert!(matches!(resolver.cached(&short), Cached::Hit(_)));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(resolver.cached(&short), Cached::Miss);
    let absent = query("absent.example");
    assert_eq!(
        resolver.resolve(&absent, None).await,
        Err(ResolveError::NotFound)
    );
    assert_eq!(resolver.cached(&absent), Cached::Failed);
    let asked = server.questions.load(Ordering::Relaxed);
    assert_eq!(
        resolver.resolve(&absent, None).await,
        Err(ResolveError::NotFound)
    );
    assert_eq!(server.questions.load(Ordering::Relaxed), asked);
}

#[tokio::test]
async fn one_asks_for_all_that_want_the_same() {
    let server = server(&[("a.example.", 60, a("192.0.2.1"))]).await;
    let resolver = server.resolver(BOTH, "");
    let wanted = Query {
        port: Some(5060),
        ..query("a.example")
    };
    let all =
        futures_util::future::join_all((0..50).map(|_| resolver.resolve(&wanted, None))).await;
    assert!(all.iter().all(|one| one.is_ok()));
    let (names, bytes) = resolver.cache_size();
    assert!(names == 1 && bytes > 253, "{bytes}");
    assert_eq!(server.questions.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up() {
    let server = server(&[]).await;
    server.is_deaf.store(true, Ordering::Relaxed);
    let resolver = server.resolver(BOTH, "");
    let wanted = query("a.example");
    assert_eq!(
        resolver.resolve(&wanted, None).await,
        Err(ResolveError::TimedOut)
    );
    assert_eq!(resolver.cached(&wanted), Cached::Failed);
}

#[tokio::test]
async fn what_is_no_name_is_not_asked_for() {
    let server = server(&[]).await;
    let resolver = server.resolver(BOTH, "");
    let long = "a".repeat(64);
    let longer = "a.".repeat(200);
    for host in [
        "",
        ".",
        "a..b",
        "a b",
        "\u{e9}.example",
        &long,
        &longer,
        "a\0b",
    ] {
        assert_eq!(
            resolver.resolve(&query(host), None).await,
            Err(ResolveError::NotAName),
            "{host}"
        );
        assert_eq!(resolver.cached(&query(host)), Cached::Failed);
    }
    assert_eq!(server.questions.load(Ordering::Relaxed), 0);
}

fn candidate(priority: u16, weight: u16, port: u16) -> Candidate {
    Candidate {
        destination: Destination {
            address: SocketAddr::from(([192, 0, 2, 1], port)),
            transport: Transport::Udp,
        },
        priority,
        weight,
    }
}

#[test]
fn weights_decide_how_often_each_is_taken() {
    let all = [
        candidate(1, 30, 1),
        candidate(1, 10, 2),
        candidate(2, 90, 3),
    ];
    let mut taken = [0u32; 4];
    let mut dice = 0u64;
    for _ in 0..4000 {
        dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let port = cache::choose(&all, dice).unwrap().address.port();
        taken[usize::from(port)] += 1;
    }
    assert_eq!(taken[3], 0);
    assert!((2900..3100).contains(&taken[1]), "{taken:?}");
}

proptest! {
    #[test]
    fn whatever_the_records_one_of_the_lowest_priority_is_taken(
        records in proptest::collection::vec((0u16..3, any::<u16>()), 1..16),
        dice: u64,
    ) {
        let all: Vec<_> = records.iter().enumerate()
            .map(|(at, (priority, weight))| candidate(*priority, *weight, at as u16)).collect();
        let chosen = cache::choose(&all, dice).unwrap();
        let lowest = records.iter().map(|(priority, _)| *priority).min().unwrap();
        prop_assert_eq!(records[usize::from(chosen.address.port())].0, lowest);
    }
}

/// Waits until the name's time is over.
async fn expire(resolver: &NameResolver, query: &Query<'_>) {
    for _ in 0..2000 {
        if resolver.cached(query) == Cached::Miss {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{query:?} lives for ever");
}

fn count(counters: &StreamCounters, name: &str) -> u64 {
    let all = counters.snapshot();
    all.into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[tokio::test]
async fn while_no_server_answers_the_old_address_is_used() {
    let server = server(&[("a.example.", 1, a("192.0.2.1"))]).await;
    let (resolver, counters) = server.resolver_with(BOTH, "", DnsSettings::default());
    let wanted = Query {
        port: Some(5060),
        ..query("a.example")
    };
    let found = to("192.0.2.1:5060", Transport::Udp);
    assert_eq!(resolver.resolve(&wanted, None).await, found);
    expire(&resolver, &wanted).await;
    server.is_deaf.store(true, Ordering::Relaxed);
    assert_eq!(resolver.resolve(&wanted, None).await, found);
    assert_eq!(count(&counters, "dns_stale"), 1);
    // Workers have it now, without waiting.
    assert!(matches!(resolver.cached(&wanted), Cached::Hit(_)));
    server.is_deaf.store(false, Ordering::Relaxed);
    let asked = server.questions.load(Ordering::Relaxed);
    resolver.refresh(&wanted).await;
    assert_eq!(count(&counters, "dns_refreshed"), 1);
    assert!(server.questions.load(Ordering::Relaxed) > asked);
}

#[tokio::test]
async fn what_a_server_says_is_gone_is_gone() {
    let server = server(&[("a.example.", 1, a("192.0.2.1"))]).await;
    let (resolver, _) = server.resolver_with(BOTH, "", DnsSettings::default());
    let wanted = Query {
        port: Some(5060),
        ..query("a.example")
    };
    resolver.resolve(&wanted, None).await.unwrap();
    expire(&resolver, &wanted).await;
    server.is_empty.store(true, Ordering::Relaxed);
    let gone = resolver.resolve(&wanted, None).await;
    assert_eq!(gone, Err(ResolveError::NotFound));
    assert_eq!(resolver.cached(&wanted), Cached::Failed);
}

#[tokio::test]
async fn names_of_a_strangers_choosing_leave_places_to_the_others() {
    let server = server(&[("a.example.", 1, a("192.0.2.1"))]).await;
    let settings = DnsSettings {
        max_lookups: 32,
        max_per_source: 4,
        ..DnsSettings::default()
    };
    let (resolver, counters) = server.resolver_with(BOTH, "", settings);
    let good = Query {
        port: Some(5060),
        ..query("a.example")
    };
    resolver.resolve(&good, None).await.unwrap();
    expire(&resolver, &good).await;
    server.is_deaf.store(true, Ordering::Relaxed);
    let stranger: Option<IpAddr> = "192.0.2.66".parse().ok();
    let ask = |name: String, sender| {
        let resolver = resolver.clone();
        async move { resolver.resolve(&query(&name), sender).await }
    };
    let one = (0..20).map(|n| ask(format!("x{n}.zone{n}.test"), stranger));
    let many = (0..20).map(|n| ask(format!("x{n}.evil.test"), None));
    let (one, many, good) = futures_util::future::join3(
        futures_util::future::join_all(one),
        futures_util::future::join_all(many),
        resolver.resolve(&good, stranger),
    )
    .await;
    let refused = |all: &[Result<Destination, ResolveError>], error| {
        all.iter().filter(|one| **one == Err(error)).count()
    };
    assert_eq!(refused(&one, ResolveError::BusySource), 16);
    assert_eq!(refused(&many, ResolveError::BusyZone), 14);
    assert_eq!(count(&counters, "dns_refused_source"), 16);
    assert_eq!(count(&counters, "dns_refused_zone"), 14);
    assert_eq!(good, to("192.0.2.1:5060", Transport::Udp));
    // What wasn't asked for isn't remembered as absent.
    assert_eq!(resolver.cached(&query("x19.zone19.test")), Cached::Miss);
}
