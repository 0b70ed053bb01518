use super::*;

const MS: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(10);

fn quarantine() -> Quarantine {
    let quarantine = Quarantine::default();
    quarantine.set_longest(LONGEST);
    quarantine
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn who_fails_is_held_and_nobody_else() {
    let quarantine = quarantine();
    let now = Instant::now();
    let (evil, good) = (at("192.0.2.1:5060"), at("192.0.2.1:5061"));
    assert!(!quarantine.holds("perl", evil, now));
    assert_eq!(quarantine.failed("perl", evil, 0, now), Spread::Few);
    assert!(quarantine.holds("perl", evil, now));
    assert!(
        !quarantine.holds("perl", good, now),
        "another behind the same NAT"
    );
    assert!(!quarantine.holds("lua", evil, now), "another language");
    assert!(!quarantine.holds("perl", evil, now + SHORTEST));
}

#[test]
fn each_failure_makes_it_longer_up_to_the_bound_and_time_makes_it_short_again() {
    let quarantine = quarantine();
    let mut now = Instant::now();
    let evil = at("192.0.2.1:5060");
    for length in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
        quarantine.failed("perl", evil, 0, now);
        now += (length - 1) * MS;
        assert!(quarantine.holds("perl", evil, now), "{length}");
        now += MS;
        assert!(!quarantine.holds("perl", evil, now), "{length}");
    }
    now += FORGOTTEN;
    quarantine.failed("perl", evil, 0, now);
    assert!(!quarantine.holds("perl", evil, now + SHORTEST));
}

#[test]
fn a_slip_is_forgiven_where_it_may_be() {
    let quarantine = quarantine();
    let now = Instant::now();
    let sender = at("192.0.2.1:5060");
    quarantine.failed("perl", sender, 1, now);
    assert!(!quarantine.holds("perl", sender, now));
    quarantine.failed("perl", sender, 1, now);
    assert!(quarantine.holds("perl", sender, now));
}

#[test]
fn who_changes_ports_or_addresses_of_a_64_is_held_as_one() {
    for (senders, other, beyond) in [
        (
            ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"],
            "192.0.2.1:5",
            "192.0.2.2:1",
        ),
        (
            [
                "[2001:db8::1]:1",
                "[2001:db8::2]:1",
                "[2001:db8::3]:1",
                "[2001:db8::4]:1",
            ],
            "[2001:db8::ffff]:9",
            "[2001:db8:0:1::1]:1",
        ),
    ] {
        let quarantine = quarantine();
        let now = Instant::now();
        for (count, sender) in senders.iter().enumerate() {
            assert!(!quarantine.holds("perl", at(other), now), "{count} failed");
            quarantine.failed("perl", at(sender), 1, now);
        }
        assert!(quarantine.holds("perl", at(other), now));
        assert!(!quarantine.holds("perl", at(beyond), now));
        let listed = quarantine.senders(now);
        assert_eq!(listed.len(), 1, "{listed:?}");
        let prefix = if other.starts_with('[') {
            "2001:db8::/64"
        } else {
            "192.0.2.1/32"
        };
        assert_eq!((&*listed[0].sender, listed[0].failures), (prefix, 1));
    }
}

#[test]
fn many_addresses_at_once_are_no_matter_of_the_sender() {
    let quarantine = quarantine();
    let now = Instant::now();
    let sender = |net: u8| SocketAddr::from(([192, 0, 2, net], 5060));
    for net in 1..MANY as u8 {
        assert_eq!(quarantine.failed("perl", sender(net), 0, now), Spread::Few);
    }
    assert_eq!(quarantine.failed("perl", sender(0), 0, now), Spread::Many);
    let later = now + LATELY;
    assert_eq!(quarantine.failed("perl", sender(99), 0, later), Spread::Few);
}

#[test]
fn the_table_is_bounded_and_who_failed_last_stays() {
    let quarantine = quarantine();
    let start = Instant::now();
    let sender = |number: u32| SocketAddr::from((number.to_be_bytes(), 5060));
    let count = MAX_ENTRIES as u32 + 10;
    for number in 0..count {
        quarantine.failed("perl", sender(number), 0, start + number * MS / 1000);
    }
    assert_eq!(quarantine.lock().len(), MAX_ENTRIES);
    let now = start + count * MS / 1000;
    assert!(quarantine.holds("perl", sender(count - 1), now));
    assert!(!quarantine.holds("perl", sender(0), now));
    assert_eq!(quarantine.release(), MAX_ENTRIES);
    assert!(!quarantine.holds("perl", sender(count - 1), now));
}

#[test]
fn with_zero_nobody_is_held() {
    let quarantine = quarantine();
    quarantine.set_longest(Duration::ZERO);
    let now = Instant::now();
    let sender = at("192.0.2.1:5060");
    assert_eq!(quarantine.failed("perl", sender, 0, now), Spread::Many);
    assert!(!quarantine.holds("perl", sender, now));
}
