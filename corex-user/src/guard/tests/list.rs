use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn network(text: &str) -> Network {
    corex_script::settings::guard::network(text).unwrap()
}

fn until(expires: u64) -> Listed {
    Listed {
        expires,
        ..Listed::default()
    }
}

/// Few addresses, so that networks meet.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u32..8, 0_u32..4).prop_map(|(high, low)| {
            IpAddr::V4(Ipv4Addr::from_bits(high << 29 | 0x0a00_0000 | low))
        }),
        (0_u128..8, 0_u128..4).prop_map(|(high, low)| IpAddr::V6(Ipv6Addr::from_bits(
            high << 125 | 0x20 << 64 | low
        ))),
    ]
}

fn any_network() -> impl Strategy<Value = Network> {
    let proto = prop_oneof![Just(0_u8), Just(17), Just(6)];
    let port = prop_oneof![Just(0_u16), Just(5060), Just(5061)];
    (address(), 0_u8..=128, proto, port).prop_map(|(addr, len, proto, port)| {
        let most = if addr.is_ipv4() { 32 } else { 128 };
        Network::new(addr, len.min(most)).unwrap().to(proto, port)
    })
}

/// The entry that counts, by looking at all of them.
fn naive(
    all: &[(Network, Listed)],
    source: IpAddr,
    proto: u8,
    port: u16,
    now: u64,
) -> Option<Network> {
    let fits = |network: &Network| {
        (network.proto == 0 || network.proto == proto)
            && (network.port == 0 || network.port == port)
            && network.addr.is_ipv4() == source.is_ipv4()
            && Network::new(source, network.len).is_some_and(|of| of.addr == network.addr)
    };
    let alive = all
        .iter()
        .filter(|(network, listed)| fits(network) && listed.is_alive(now));
    alive
        .map(|(network, _)| *network)
        .max_by_key(|network| (network.shape(), network.len))
}

proptest! {
    #[test]
    fn what_is_found_is_what_looking_at_all_entries_finds(
        entries in proptest::collection::vec((any_network(), 0_u64..4), 0..40),
        removed in proptest::collection::vec(any::<proptest::sample::Index>(), 0..10),
        sources in proptest::collection::vec((address(), 0_usize..2, 0_usize..3), 1..20),
        now in 0_u64..5,
    ) {
        let list = List::default();
        let mut model: Vec<(Network, Listed)> = Vec::new();
        for (network, expires) in entries {
            list.put(network, until(expires), 0).unwrap();
            model.retain(|(other, _)| *other != network);
            model.push((network, until(expires)));
        }
        for index in removed {
            if !model.is_empty() {
                let (network, _) = model.swap_remove(index.index(model.len()));
                prop_assert!(list.remove(&network).is_some());
            }
        }
        prop_assert_eq!(list.len(), model.len());
        for (source, proto, port) in sources {
            let (proto, port) = ([17, 6][proto], [5060, 5061, 5070][port]);
            let found = list.find(source, proto, port, now).map(|(network, _)| network);
            prop_assert_eq!(found, naive(&model, source, proto, port, now));
        }
        let mut all: Vec<_> = model.iter().map(|(network, _)| *network).collect();
        all.sort_unstable();
        let listed: Vec<_> = list.entries().iter().map(|(network, _)| *network).collect();
        prop_assert_eq!(listed, all);
    }
}

#[test]
fn an_entry_counts_what_it_was_found_for_and_keeps_it_when_it_is_put_anew() {
    let list = List::default();
    let net = network("192.0.2.0/24");
    let source = "192.0.2.7".parse().unwrap();
    list.put(net, until(0), 0).unwrap();
    list.meet(source, 17, 5060, 5).unwrap();
    list.meet(source, 17, 5060, 3 * SEEN_NS).unwrap();
    list.find(source, 17, 5060, 4 * SEEN_NS).unwrap();
    list.put(net, until(u64::MAX), 0).unwrap();
    let found = list.get(&net).unwrap();
    assert_eq!((found.hits, found.last_seen), (2, 3 * SEEN_NS));
    assert_eq!(found.expires, u64::MAX);
    let kernel = Listed {
        hits: 7,
        last_seen: 9 * SEEN_NS,
        ..found
    };
    assert!(list.note(&net, &kernel, 1));
    let found = list.get(&net).unwrap();
    assert_eq!((found.hits, found.last_seen), (9, 9 * SEEN_NS));
    assert!(!list.note(&network("192.0.2.0/25"), &kernel, 1));
}

#[test]
fn shapes_are_those_of_the_entries_that_are_there() {
    let list = List::default();
    list.put(network("192.0.2.1"), until(0), 0).unwrap();
    list.put(network("192.0.2.1;udp;5060"), until(0), 0)
        .unwrap();
    assert_eq!((list.shapes(true), list.shapes(false)), (0b1001, 0));
    list.put(network("2001:db8::/32;5060"), until(0), 0)
        .unwrap();
    list.remove(&network("192.0.2.1")).unwrap();
    assert_eq!((list.shapes(true), list.shapes(false)), (0b1000, 0b100));
    assert_eq!(list.remove(&network("192.0.2.1")), None);
}

#[test]
fn a_full_list_takes_no_more_and_goes_on() {
    let list = List::of(2);
    for text in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        list.put(network(text), until(0), 0).unwrap();
    }
    assert_eq!(list.put(network("192.0.2.3"), until(0), 0), Err(Full));
    // One that is there may be changed, and the other family has room.
    list.put(network("192.0.2.2"), until(9), 0).unwrap();
    list.put(network("2001:db8::2"), until(0), 0).unwrap();
    assert_eq!(list.len(), 4);
    list.remove(&network("192.0.2.1")).unwrap();
    list.put(network("192.0.2.3"), until(0), 0).unwrap();
    assert!(
        list.find("192.0.2.3".parse().unwrap(), 17, 5060, 1)
            .is_some()
    );
}

#[test]
fn a_list_touches_a_network_that_it_has_some_address_of() {
    let list = List::default();
    assert!(!list.touches(&network("0.0.0.0/0")));
    for text in ["192.0.2.7", "198.51.100.0/24", "2001:db8::/64"] {
        list.put(network(text), Listed::default(), 0).unwrap();
    }
    for (text, touches) in [
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("192.0.2.0/24", true),
        ("192.0.3.0/24", false),
        ("198.51.100.9", true),
        ("198.51.100.128/25", true),
        ("198.51.0.0/16", true),
        ("2001:db8::1", true),
        ("2001:db8:0:1::/64", false),
        ("2001:db8::/32", true),
    ] {
        assert_eq!(list.touches(&network(text)), touches, "{text}");
    }
}
