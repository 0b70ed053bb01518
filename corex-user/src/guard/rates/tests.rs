use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    time::Duration,
};

use corex_common::guard::rates::{ANY, INVITE, OPTIONS, REGISTER, REPLY};
use corex_script::settings::{RateBlock, RateRule};
use proptest::prelude::*;

use super::*;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn rule(name: &str, scope: RateScope, methods: u32, count: u64, burst: u64) -> RateRule {
    RateRule {
        name: name.to_owned(),
        scope,
        methods,
        count,
        period: Duration::from_secs(1),
        burst,
        is_to_route: false,
        is_dry: false,
    }
}

fn src(prefix_v4: u8) -> RateScope {
    RateScope::Source {
        prefix_v4,
        prefix_v6: 64,
    }
}

fn buckets(rates: Vec<RateRule>, rate_block: Option<RateBlock>) -> Buckets {
    let settings = GuardSettings {
        rates,
        rate_block,
        ..GuardSettings::default()
    };
    let buckets = Buckets::default();
    buckets.follow(rules(&settings));
    buckets
}

/// How many of `n` messages at a time are let through.
fn passed(buckets: &Buckets, source: &str, kind: u32, n: u32, now: u64) -> u32 {
    let source = source.parse().unwrap();
    let passes = |_: &u32| buckets.weigh(source, 0, kind, now).outcome == Outcome::Pass;
    (0..n).filter(passes).count() as u32
}

#[test]
fn a_burst_comes_at_once_and_then_what_the_rate_says() {
    let buckets = buckets(vec![rule("src", src(32), ANY, 50, 200)], None);
    let begin = 7 * NANOSECONDS;
    assert_eq!(passed(&buckets, "192.0.2.7", INVITE, 300, begin), 200);
    assert_eq!(passed(&buckets, "192.0.2.8", INVITE, 300, begin), 200);
    let second = begin + NANOSECONDS;
    assert_eq!(passed(&buckets, "192.0.2.7", REPLY, 300, second), 50);
    // A long silence is worth a burst, no more.
    let later = begin + 3_600 * NANOSECONDS;
    assert_eq!(
        passed(&buckets, "::ffff:192.0.2.7", INVITE, 300, later),
        200
    );
    assert_eq!(buckets.counters(0).over, 100 + 100 + 250 + 100);
}

#[test]
fn kinds_prefixes_and_listeners_have_buckets_of_their_own() {
    let buckets = buckets(
        vec![
            rule("src/24", src(24), 1 << INVITE, 1, 5),
            rule("REGISTER", src(32), 1 << REGISTER, 1, 3),
            rule("listener", RateScope::Listener, 1 << OPTIONS, 1, 4),
        ],
        None,
    );
    assert_eq!(passed(&buckets, "192.0.2.1", INVITE, 3, 1), 3);
    assert_eq!(passed(&buckets, "192.0.2.2", INVITE, 9, 1), 2);
    assert_eq!(passed(&buckets, "192.0.3.2", INVITE, 9, 1), 5);
    assert_eq!(passed(&buckets, "192.0.2.1", REGISTER, 9, 1), 3);
    assert_eq!(passed(&buckets, "192.0.2.2", REGISTER, 9, 1), 3);
    assert_eq!(passed(&buckets, "192.0.2.1", OPTIONS, 3, 1), 3);
    assert_eq!(passed(&buckets, "192.0.3.1", OPTIONS, 9, 1), 1);
    assert_eq!(buckets.weigh(SOURCE, 1, OPTIONS, 1), Weighed::PASS);
    assert_eq!(passed(&buckets, "2001:db8::1", INVITE, 3, 1), 3);
    assert_eq!(passed(&buckets, "2001:db8::2", INVITE, 9, 1), 2);
    assert_eq!(passed(&buckets, "192.0.2.1", REPLY, 9, 1), 9);
}

#[test]
fn what_is_above_goes_to_the_route_or_is_only_counted_where_the_rule_says_so() {
    let to_route = RateRule {
        is_to_route: true,
        ..rule("src", src(32), ANY, 1, 1)
    };
    let dry = RateRule {
        is_dry: true,
        ..rule("OPTIONS", src(32), 1 << OPTIONS, 1, 1)
    };
    let harder = rule("INVITE", src(32), 1 << INVITE, 1, 2);
    let buckets = buckets(vec![to_route, dry.clone(), harder], None);
    let outcome = |kind| buckets.weigh(SOURCE, 0, kind, 1).outcome;
    assert_eq!(outcome(INVITE), Outcome::Pass);
    assert_eq!(outcome(INVITE), Outcome::Route);
    assert_eq!(outcome(INVITE), Outcome::Drop);
    assert_eq!(outcome(OPTIONS), Outcome::Route);
    // No route runs for it.
    assert_eq!(outcome(REPLY), Outcome::Drop);
    let buckets = self::buckets(vec![dry], None);
    assert_eq!(passed(&buckets, "192.0.2.7", OPTIONS, 5, 1), 5);
    assert_eq!(buckets.counters(0).over, 4);
}

#[test]
fn so_many_offences_within_a_time_block_a_source_and_fewer_do_not() {
    let block = RateBlock {
        offences: 3,
        within: Duration::from_secs(10),
        time: Duration::from_secs(60),
        is_dry: false,
    };
    let buckets = buckets(vec![rule("src/24", src(24), ANY, 1, 1)], Some(block));
    let blocks = |now| buckets.weigh(SOURCE, 0, INVITE, now).block;
    let begin = 100 * NANOSECONDS;
    let expected = Network::new(SOURCE, 24).map(|network| (network, 60));
    // The first one of each second passes.
    for second in [0, 1] {
        assert_eq!(blocks(begin + second * NANOSECONDS), None);
        assert_eq!(blocks(begin + second * NANOSECONDS + 1), None);
    }
    // Ten seconds after the first offence the next one is the first.
    let begin = begin + 10 * NANOSECONDS + 1;
    assert_eq!(blocks(begin), None);
    for _ in 0..2 {
        assert_eq!(blocks(begin), None);
    }
    assert_eq!(blocks(begin), expected);
    assert_eq!(buckets.counters(0).blocked, 1);
    // The list has it now: here nothing is remembered of it.
    assert_eq!(blocks(begin), None);
    assert_eq!(
        buckets.weigh(SOURCE, 0, INVITE, begin).outcome,
        Outcome::Drop
    );
}

#[test]
fn offences_of_other_kinds_count_too_and_apart() {
    let block = RateBlock {
        offences: 2,
        within: Duration::from_secs(10),
        time: Duration::from_secs(60),
        is_dry: false,
    };
    let noted = buckets(Vec::new(), Some(block));
    let expected = Network::new(SOURCE, 32).map(|network| (network, 60));
    assert_eq!(noted.offence(SOURCE, 1), None);
    assert_eq!(noted.offence("192.0.2.8".parse().unwrap(), 1), None);
    assert_eq!(noted.offence(SOURCE, 2), expected);
    assert_eq!(noted.offence(SOURCE, 3), None);
    let without = buckets(Vec::new(), None);
    assert_eq!((0..9).find_map(|_| without.offence(SOURCE, 1)), None);
}

#[test]
fn other_rules_begin_with_buckets_that_fill_up_soon() {
    let buckets = buckets(vec![rule("src", src(32), ANY, 1, 1_000_000)], None);
    passed(&buckets, "192.0.2.7", INVITE, 100_000, 1);
    let settings = GuardSettings {
        rates: vec![rule("src", src(32), ANY, 10, 5)],
        ..GuardSettings::default()
    };
    buckets.follow(rules(&settings));
    // Under the old rule it was ahead by more than a day.
    assert_eq!(passed(&buckets, "192.0.2.7", INVITE, 9, 2), 0);
    assert_eq!(passed(&buckets, "192.0.2.7", INVITE, 9, 2 + NANOSECONDS), 5);
}

#[test]
fn what_is_left_is_what_would_pass() {
    let buckets = buckets(vec![rule("src", src(32), ANY, 10, 20)], None);
    let mut now = NANOSECONDS;
    for n in [3, 4, 13, 5, 0] {
        now += u64::from(n) * 70_000_000;
        passed(&buckets, "192.0.2.7", INVITE, n, now);
        let left = buckets.standing(SOURCE, &[]).left(&buckets.rates(), now)[0].unwrap() as u32;
        assert!(left <= 20, "{left}");
        assert_eq!(passed(&buckets, "192.0.2.7", INVITE, left + 2, now), left);
    }
}

proptest! {
    /// Whatever the times, also such as CPUs see whose clocks differ: between any two of the messages
    /// let through there are no more than the rate has in that time, and a burst.
    #[test]
    fn a_bucket_never_lets_more_through_than_rate_times_time_and_a_burst(
        count in 1_u64..2_000,
        period in 1_u64..5_000_000_000,
        burst in 1_u64..50,
        steps in proptest::collection::vec((0_u64..3_000_000_000, 0_u64..1_000_000), 1..400),
    ) {
        let rule = Rule::new(count, period, burst);
        let mut full_at = 0;
        let mut clock = 10_000_000_000_u64;
        let mut passed: Vec<u64> = Vec::new();
        for (step, behind) in steps {
            // Most steps are short against what a message takes.
            clock += step / (1 + step % 1_000);
            let now = clock - behind;
            if corex_common::guard::rates::charge(&mut full_at, now, &rule) {
                passed.push(now);
            }
        }
        for (i, first) in passed.iter().enumerate() {
            for (n, last) in passed[i..].iter().enumerate() {
                let time = u128::from(last.saturating_sub(*first));
                let most = time * u128::from(count) / u128::from(period) + u128::from(burst);
                prop_assert!((n as u128) < most, "{} in {time} ns, {most} at most", n + 1);
            }
        }
    }
}

#[test]
fn threads_together_let_no_more_through_than_one() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 20_000;
    let (count, burst) = (1_000_000, 50);
    let buckets = buckets(
        vec![
            rule("src", src(32), ANY, count, burst),
            rule("listener", RateScope::Listener, 1 << INVITE, count, burst),
        ],
        None,
    );
    // A clock that only the threads move: how fast they run changes nothing.
    let clock = AtomicU64::new(NANOSECONDS);
    let passed = AtomicU64::new(0);
    let is_odd = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let now = clock.fetch_add(100, Ordering::Relaxed);
                    if is_odd.fetch_not(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    if buckets.weigh(SOURCE, 3, INVITE, now).outcome == Outcome::Pass {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let time = clock.load(Ordering::Relaxed) - NANOSECONDS;
    let most = time * count / NANOSECONDS + burst;
    let passed = passed.load(Ordering::Relaxed);
    assert!(passed <= most, "{passed} of {most}");
    assert!(passed >= burst, "{passed}");
}
