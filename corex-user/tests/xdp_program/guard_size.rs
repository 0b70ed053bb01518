//! The guard's lists at their full size.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use corex_common::guard::{
    MAX_LISTED, Network,
    lists::{BLOCKED, BY_RPC},
};
use corex_script::{guard::GuardError, settings::GuardSettings};
use corex_user::{
    guard::{Guard, Listings, Which},
    kernel::object::Road,
};

use super::{
    guard::{INVITE, frame_from, guarded, net, until},
    run,
};

/// IPv4 addresses, each with a number, scattered as those of real lists are, and for every tenth of them one
/// of IPv6.
fn networks(numbers: std::ops::Range<u32>, step: usize) -> Vec<Network> {
    let of = |number: u32| {
        let bits = number.wrapping_mul(0x9e37_79b1);
        let v4 = Network::host(Ipv4Addr::from_bits(bits).into());
        let bits = 0x2001 << 112 | u128::from(bits) << 64 | 1;
        let v6 = Network::host(Ipv6Addr::from_bits(bits).into());
        [Some(v4), number.is_multiple_of(10).then_some(v6)]
    };
    numbers.step_by(step).flat_map(of).flatten().collect()
}

/// Those of them that a packet may come from.
fn sources(numbers: std::ops::Range<u32>, step: usize) -> Vec<IpAddr> {
    let is_source = |addr: &IpAddr| match addr {
        IpAddr::V4(addr) => (1..224).contains(&addr.octets()[0]) && !addr.is_loopback(),
        IpAddr::V6(_) => true,
    };
    let addrs = networks(numbers, step)
        .into_iter()
        .map(|network| network.addr);
    addrs.filter(is_source).collect()
}

#[test]
fn a_list_of_a_million_is_looked_into_changed_and_kept() {
    let Some((mut object, _)) = guarded(Road::Proxy) else {
        return;
    };
    let settings = GuardSettings {
        is_on: true,
        ..GuardSettings::default()
    };
    let listings = |numbers| Listings {
        block: networks(numbers, 1),
        ..Listings::default()
    };
    let most = MAX_LISTED;
    let maps = object.guard_maps().unwrap();
    let guard = Guard::start(&settings, &listings(0..most), Some(maps)).unwrap();
    let full = |count: u32| (count as usize, most as usize);
    assert_eq!(guard.filled(Which::Block, true), full(most));
    assert_eq!(guard.filled(Which::Block, false), full(most / 10));
    let mut is_dropped = |source: IpAddr| {
        let to = match source {
            IpAddr::V4(_) => "10.0.0.1:5060",
            IpAddr::V6(_) => "[fd00::1]:5060",
        };
        let (_, counters) = run(&mut object, &frame_from(source, to, INVITE));
        counters.drop_guard_block > 0
    };
    // All are there when it has started.
    let first = sources(0..most, 9_970);
    assert!(first.len() > 150);
    for addr in &first {
        assert!(is_dropped(*addr), "{addr}");
    }
    // There is room for no more, until something goes.
    let by_rpc = (BY_RPC, BLOCKED);
    let more = net("198.51.100.7");
    let put = || guard.put(Which::Block, more, Some(3600), by_rpc);
    assert!(!is_dropped(more.addr));
    assert_eq!(put(), Err(GuardError::Full));
    assert!(guard.remove(Which::Block, networks(0..1, 1)[0]));
    assert_eq!(put(), Ok(()));
    until("it is blocked", || is_dropped(more.addr));
    // A reload with others: there is room for them once those before have gone.
    let few = most / 10;
    guard.follow(&settings, &listings(most..most + few));
    until("what another configuration hasn't goes", || {
        !first.iter().any(|addr| is_dropped(*addr))
    });
    let second = sources(most..most + few, 990);
    assert!(second.len() > 150);
    until("and what it has is there", || {
        second.iter().all(|addr| is_dropped(*addr))
    });
    assert!(is_dropped(more.addr));
    assert_eq!(guard.kept().len(), 1);
    assert_eq!(guard.filled(Which::Block, true), full(few + 1));
    assert_eq!(guard.filled(Which::Block, false), full(few / 10));
}
