use proptest::prelude::*;

use super::*;

fn kept() -> impl Strategy<Value = Kept> {
    let network = prop_oneof![
        any::<[u8; 4]>().prop_map(std::net::IpAddr::from),
        any::<[u8; 16]>().prop_map(std::net::IpAddr::from),
    ];
    let proto = prop_oneof![Just(0_u8), Just(17), Just(6)];
    let counts = (any::<u64>(), any::<u64>(), any::<Option<u64>>());
    let list = prop_oneof![
        Just((Which::Allow, BLOCKED)),
        Just((Which::Block, BLOCKED)),
        Just((Which::Block, STEALTHY)),
    ];
    (
        network,
        0_u8..=128,
        proto,
        any::<u16>(),
        counts,
        list,
        0_u32..5,
    )
        .prop_map(
            |(addr, len, proto, port, (hits, seen, until), (which, action), origin)| {
                let most = if addr.is_ipv4() { 32 } else { 128 };
                Kept {
                    which,
                    network: Network::new(addr, len.min(most)).unwrap().to(proto, port),
                    action,
                    origin,
                    until,
                    hits,
                    seen,
                }
            },
        )
}

proptest! {
    #[test]
    fn a_line_is_read_as_it_was_written(kept in kept()) {
        prop_assert_eq!(parse(&kept.line()), Ok(kept));
    }
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_its_place() {
    for (line, at) in [
        ("", ""),
        ("  drop 192.0.2.1", "drop"),
        ("block by=nobody 192.0.2.1", "by=nobody"),
        ("block hits=x 192.0.2.1", "hits=x"),
        ("allow since=5 192.0.2.1", "since=5"),
        ("allow by=rpc 192.0.2.1/33", "192.0.2.1/33"),
        ("allow by=rpc", ""),
        ("stealth by=rpc 192.0.2.1; 1; 2", "2"),
    ] {
        let mistake = parse(line).unwrap_err();
        assert_eq!(&line[mistake.part], at, "{line}");
    }
}

#[test]
fn times_are_kept_by_the_clock_on_the_wall() {
    let before = Clocks {
        monotonic: 5_000_000_000,
        wall: Duration::from_secs(1000),
    };
    let listed = Listed {
        expires: 65_000_000_000,
        hits: 3,
        last_seen: 4_000_000_000,
        action: BLOCKED,
        origin: BY_RPC,
    };
    let network = Network::host(std::net::IpAddr::from([192, 0, 2, 1]));
    let kept = Kept::of(Which::Block, network, &listed, &before);
    assert_eq!((kept.until, kept.seen), (Some(1060), 999));
    // After a new start of the host.
    let after = Clocks {
        monotonic: 1_000_000_000,
        wall: Duration::from_secs(1030),
    };
    let restored = kept.listed(&after);
    assert_eq!(restored.expires, 31_000_000_000);
    assert_eq!(restored.last_seen, 1, "before the host started");
    assert!(restored.is_alive(30_999_999_999) && !restored.is_alive(31_000_000_000));
    let later = Clocks {
        wall: Duration::from_secs(2000),
        ..after
    };
    assert!(!kept.listed(&later).is_alive(later.monotonic));
}
