//! Who is blocked, when that ends, and what it costs.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn pike(unit: u32, density: u16, latency: u32) -> (Pike, Instant) {
    let pike = Pike::new(&settings::Pike {
        unit,
        density,
        latency,
        ..settings::Pike::default()
    });
    let began = pike.state.load().began;
    (pike, began)
}

fn at(began: Instant, seconds: u64) -> Instant {
    began + Duration::from_secs(seconds)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How many requests it takes until an address is blocked.
fn until_blocked(pike: &Pike, ip: IpAddr, now: Instant) -> Option<usize> {
    let verdicts = (1..10_000).map(|n| (n, pike.check(ip, now)));
    let mut blocked = verdicts.skip_while(|(_, verdict)| *verdict == Verdict::Passes);
    let (first, verdict) = blocked.next()?;
    assert_eq!(verdict, Verdict::NewlyBlocked);
    assert_eq!(blocked.next()?.1, Verdict::Blocked);
    Some(first)
}

#[test]
fn a_flood_is_blocked_and_let_go_two_windows_after_it_ends() {
    let (pike, began) = pike(2, 16, 100);
    let flooder = ip("192.0.2.1");
    let took = until_blocked(&pike, flooder, began).unwrap();
    // A node for each byte, of which each takes a quarter at most, and then as many as are too many.
    assert!((16..=16 + 4 * 4).contains(&took), "{took}");
    assert_eq!(pike.check(flooder, at(began, 3)), Verdict::Blocked);
    assert_eq!(pike.check(ip("192.0.2.2"), at(began, 3)), Verdict::Passes);
    assert_eq!(pike.check(flooder, at(began, 6)), Verdict::Passes);
    assert_eq!(pike.blocked(), 1);
    let hot = pike.leaves(Some(Level::Hot), 10, began);
    assert!(hot.is_empty() || hot[0].0 == flooder);
}

#[test]
fn an_address_of_ipv6_is_followed_to_its_last_byte() {
    let (pike, began) = pike(2, 16, 100);
    let flooder = ip("2001:db8::1");
    assert!(until_blocked(&pike, flooder, began).is_some());
    let leaves = pike.leaves(None, 10, began);
    assert_eq!(leaves.len(), 1);
    assert_eq!((leaves[0].0, leaves[0].1.level), (flooder, Level::Hot));
    assert_eq!(pike.nodes(), 16);
}

#[test]
fn what_is_over_is_forgotten() {
    let (pike, began) = pike(2, 16, 10);
    assert!(until_blocked(&pike, ip("192.0.2.1"), began).is_some());
    pike.check(ip("10.0.0.1"), began);
    assert_eq!(pike.nodes(), 5);
    // Parents follow their last child one latency later.
    for seconds in [10, 20, 30, 40, 50] {
        for part in 0..pike.parts() {
            pike.sweep(part, at(began, seconds));
        }
    }
    assert_eq!(pike.nodes(), 0);
    assert!(until_blocked(&pike, ip("192.0.2.1"), at(began, 60)).is_some());
}

#[test]
fn a_full_tree_blocks_nobody_and_counts_that() {
    let (pike, began) = pike(2, 16, 10);
    pike.state.load().nodes.store(MAX_NODES, Relaxed);
    for _ in 0..100 {
        assert_eq!(pike.check(ip("192.0.2.1"), began), Verdict::Passes);
    }
    assert_eq!(pike.refused(), 100);
}

#[test]
fn a_reload_goes_on_with_what_was_seen() {
    let (old, began) = pike(2, 16, 10);
    assert!(until_blocked(&old, ip("192.0.2.1"), began).is_some());
    let (new, _) = pike(2, 16, 10);
    new.inherit(&old);
    assert_eq!(new.check(ip("192.0.2.1"), began), Verdict::Blocked);
    let (other, _) = pike(3, 16, 10);
    other.inherit(&old);
    assert_eq!(other.check(ip("192.0.2.1"), began), Verdict::Passes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Who sends less than is too much in each window is never blocked, whoever else sends; and the count
    /// of nodes is that of the trees.
    #[test]
    fn only_who_sends_too_much_is_blocked(
        density in 4u16..40,
        requests in prop::collection::vec((0u8..6, 0u64..8, 1u16..60), 1..60),
    ) {
        let (pike, began) = pike(2, density, 20);
        let mut requests = requests;
        requests.sort_by_key(|request| request.1);
        let mut sent = std::collections::HashMap::new();
        for (host, window, count) in requests {
            let ip = IpAddr::from([10, 0, host / 3, host]);
            for _ in 0..count {
                let verdict = pike.check(ip, at(began, window * 2));
                let in_window: &mut u32 = sent.entry((host, window)).or_default();
                *in_window += 1;
                if verdict != Verdict::Passes {
                    let before = window.checked_sub(1).and_then(|last| sent.get(&(host, last)));
                    let most = sent[&(host, window)].max(before.copied().unwrap_or(0));
                    prop_assert!(most >= u32::from(density), "{ip} after {most}");
                }
            }
        }
        let state = pike.state.load();
        let counted: usize = state.branches().map(|branch| lock(branch).len()).sum();
        prop_assert_eq!(counted, pike.nodes());
    }
}
