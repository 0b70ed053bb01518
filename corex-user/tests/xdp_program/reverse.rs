//! What the program steers where the way back to sources is looked at.

use std::sync::Arc;

use corex_common::host::{CHECK_V4, CHECK_V6, ReversePath, ReverseState};
use corex_user::kernel::{object::Road, reverse_paths::ReverseMaps};

use super::{LOOPBACK, frame, object, run, with_vlan_tags};

const V4: &str = "10.0.0.1:5060";
const V6: &str = "[fd00::1]:5060";

fn maps(object: &super::Object) -> ReverseMaps {
    let (_, links) = tokio::sync::watch::channel(Arc::default());
    object.reverse_maps(links).unwrap()
}

/// Of the frames that [`frame`] makes, as they arrive at an interface.
fn path(to: &str, ifindex: u32) -> ReversePath {
    let mut path = ReversePath {
        family: 4,
        ifindex,
        ..ReversePath::default()
    };
    if to == V4 {
        path.source[..4].copy_from_slice(&[10, 0, 0, 9]);
        path.local[..4].copy_from_slice(&[10, 0, 0, 1]);
    } else {
        path.family = 6;
        (path.source[0], path.source[15]) = (0xfd, 9);
        (path.local[0], path.local[15]) = (0xfd, 1);
    }
    path
}

#[test]
fn only_what_is_known_to_have_its_way_back_now_is_steered() {
    let Some(mut object) = object(Road::Proxy) else {
        return;
    };
    let mut maps = maps(&object);
    for (to, flag) in [(V4, CHECK_V4), (V6, CHECK_V6)] {
        let frame = frame(to, &[b'x'; 100]);
        let mut is_steered = |frame: &[u8]| {
            let (_, counters) = run(&mut object, frame);
            // Steered, but no AF_XDP socket is in the map.
            assert_eq!(counters.pass_no_xsk + counters.pass_rp_filter, 1, "{to}");
            counters.pass_no_xsk == 1
        };
        let mut look = |version, flags| {
            let state = ReverseState { version, flags };
            maps.state.set(0, state, 0).unwrap();
        };
        look(7, 0);
        assert!(is_steered(&frame), "not looked at");
        look(7, (CHECK_V4 | CHECK_V6) & !flag);
        assert!(is_steered(&frame), "the other family only");
        look(7, flag);
        assert!(!is_steered(&frame), "not known");
        let mut other = path(to, LOOPBACK);
        other.local[15] ^= 1;
        for path in [path(to, LOOPBACK + 1), other] {
            maps.paths.insert(path, 7, 0).unwrap();
            assert!(!is_steered(&frame), "another one is known");
        }
        maps.paths.insert(path(to, LOOPBACK), 7, 0).unwrap();
        assert!(is_steered(&frame));
        assert!(
            !is_steered(&with_vlan_tags(&frame, 1)),
            "of another interface, perhaps"
        );
        look(8, flag);
        assert!(!is_steered(&frame), "known before a route changed");
        look(7, flag);
        assert!(is_steered(&frame));
    }
}
