use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn key(host: &str) -> Key {
    let query = Query {
        host: host.as_bytes(),
        port: Some(5060),
        transport: None,
        secure: false,
    };
    Key::new(&query).unwrap()
}

fn destination() -> Destination {
    Destination {
        address: ([192, 0, 2, 1], 5060).into(),
        transport: Transport::Udp,
    }
}

fn candidates() -> Vec<Candidate> {
    vec![Candidate {
        destination: destination(),
        priority: 0,
        weight: 0,
    }]
}

fn cache() -> Cache {
    Cache::new(DnsSettings::default())
}

#[test]
fn one_is_told_to_ask_ahead_in_the_last_fifth() {
    let (mut cache, start) = (cache(), Instant::now());
    let a = key("a.example");
    cache.put(a.clone(), candidates(), 100 * SECOND, start);
    let fresh = |is_due| Found::Fresh {
        destination: destination(),
        is_due,
    };
    assert_eq!(cache.get(&a, start + 79 * SECOND), fresh(false));
    assert_eq!(cache.get(&a, start + 80 * SECOND), fresh(true));
    assert_eq!(cache.get(&a, start + 81 * SECOND), fresh(false), "one asks");
    // It was in vain, so another one does.
    assert_eq!(cache.get(&a, start + 90 * SECOND), fresh(true));
}

#[test]
fn what_is_over_is_asked_for_first_and_then_used_while_no_server_answers() {
    let (mut cache, start) = (cache(), Instant::now());
    let a = key("a.example");
    cache.put(a.clone(), candidates(), 10 * SECOND, start);
    let over = start + 10 * SECOND;
    let expired = Found::Expired(destination());
    assert_eq!(cache.get(&a, over), expired);
    assert!(cache.put_off(&a, over));
    let stale = Found::Stale(destination());
    assert_eq!(cache.get(&a, over + 29 * SECOND), stale);
    assert_eq!(cache.get(&a, over + 30 * SECOND), expired);
    let day = 86_400 * SECOND;
    assert_eq!(cache.get(&a, over + day - SECOND), expired);
    assert!(!cache.put_off(&a, over + day));
    assert_eq!(cache.get(&a, over + day), Found::Miss);
    assert_eq!(cache.size().0, 0);
}

#[test]
fn a_failure_is_remembered_for_its_time_and_is_never_stale() {
    let (mut cache, start) = (cache(), Instant::now());
    let a = key("a.example");
    cache.put_failure(a.clone(), start);
    assert_eq!(cache.get(&a, start + 9 * SECOND), Found::Failed);
    assert!(!cache.put_off(&a, start) && !cache.has_destination(&a));
    assert_eq!(cache.get(&a, start + 10 * SECOND), Found::Miss);
}

#[test]
fn a_record_lives_as_long_as_the_settings_allow() {
    let start = Instant::now();
    let settings = DnsSettings {
        min_ttl: 5 * SECOND,
        max_ttl: 60 * SECOND,
        stale_ttl: Duration::ZERO,
        ..DnsSettings::default()
    };
    for (record, life) in [(0, 5), (30, 30), (86_400, 60)] {
        let mut cache = Cache::new(settings.clone());
        let a = key("a.example");
        cache.put(a.clone(), candidates(), record * SECOND, start);
        let before = cache.get(&a, start + (life - 1) * SECOND);
        assert!(matches!(before, Found::Fresh { .. }), "{record}");
        let after = cache.get(&a, start + life * SECOND);
        assert_eq!(after, Found::Miss, "{record}");
    }
}

#[test]
fn neither_failures_nor_one_zone_push_the_others_out() {
    let (mut cache, start) = (cache(), Instant::now());
    cache.max_entries = 40;
    for number in 0..10 {
        let name = format!("sip.good{number}.example");
        cache.put(key(&name), candidates(), SECOND, start);
    }
    for number in 0..1000 {
        cache.put_failure(key(&format!("x{number}.bad{number}.example")), start);
        let name = format!("x{number}.evil.example");
        cache.put(key(&name), candidates(), 3600 * SECOND, start);
    }
    assert_eq!(cache.size().0, 40);
    for number in 0..10 {
        let found = cache.get(&key(&format!("sip.good{number}.example")), start);
        assert!(matches!(found, Found::Fresh { .. }), "{number}: {found:?}");
    }
}
