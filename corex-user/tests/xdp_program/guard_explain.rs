//! What the guard explains of a source is what the program makes of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use corex_common::guard::rates::{ANY, REGISTER};
use corex_script::settings::{GuardSettings, RateBlock, RateScope};
use corex_sip::Transport;
use corex_user::{
    guard::{Explanation, Guard, Listings, Subject},
    kernel::object::{Object, Road},
};

use super::{
    LISTENERS,
    guard::{guarded, until},
    guard_rates::{DAY, SOURCE, frame_from, rates_only, rule},
    run,
};

const REGISTRATION: &[u8] = b"REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\n\r\n";

fn explain(guard: &Guard, source: IpAddr, transport: Transport, sockets: &[u32]) -> Explanation {
    let subject = Subject {
        source,
        transport,
        local_port: 5060,
        socket: 0,
        message: REGISTRATION,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let explained = runtime.block_on(guard.explain(&subject, sockets));
    explained.unwrap()
}

/// What rates say.
fn rates_of(explanation: &Explanation) -> &str {
    &explanation.findings.last().unwrap().why
}

fn send(object: &mut Object, source: SocketAddr) -> bool {
    let frame = frame_from(source, LISTENERS[0].parse().unwrap(), REGISTRATION);
    let (_, counters) = run(object, &frame);
    counters.drop_guard_rate + counters.drop_guard_block == 0
}

#[test]
fn what_is_explained_of_rates_is_what_the_program_does() {
    let Some((mut object, _)) = guarded(Road::Proxy) else {
        return;
    };
    let settings = GuardSettings {
        is_on: true,
        rate_block: Some(RateBlock {
            offences: 3,
            within: Duration::from_secs(DAY),
            time: Duration::from_secs(DAY),
            is_dry: false,
        }),
        ..rates_only(vec![
            rule("src", SOURCE, ANY, 1, DAY, 4),
            rule("REGISTER", SOURCE, 1 << REGISTER, 1, DAY, 9),
            rule("listener", RateScope::Listener, ANY, 1, DAY, 8),
        ])
    };
    let maps = object.guard_maps().unwrap();
    let guard = Guard::start(&settings, &Listings::default(), Some(maps)).unwrap();
    let source: SocketAddr = "192.0.2.7:5060".parse().unwrap();
    let udp = |sockets: &[u32]| explain(&guard, source.ip(), Transport::Udp, sockets);
    let fresh = udp(&[0]);
    assert!(fresh.is_let_in());
    assert_eq!(
        rates_of(&fresh),
        "src: 4 more at once by XDP, 4 by other roads; REGISTER: 9 more at once by XDP, 9 by other roads; \
         listener: 8 more at once by XDP, 8 by other roads"
    );
    for _ in 0..3 {
        assert!(send(&mut object, source));
    }
    let used = udp(&[0, 1]);
    assert_eq!(
        rates_of(&used),
        "src: 1 more at once by XDP, 4 by other roads; REGISTER: 6 more at once by XDP, 9 by other roads; \
         listener: 5 more at once by XDP, 8 by other roads"
    );
    // No listener has this port: its rate isn't told of.
    assert!(!rates_of(&udp(&[])).contains("listener"));
    // TCP is none of the program's.
    let by_tcp = explain(&guard, source.ip(), Transport::Tcp, &[]);
    assert_eq!(
        rates_of(&by_tcp),
        "src: 4 more at once; REGISTER: 9 more at once"
    );
    assert!(send(&mut object, source));
    let spent = udp(&[0]);
    assert!(!spent.is_let_in() && rates_of(&spent).starts_with("src: 0 more at once by XDP"));
    assert!(explain(&guard, source.ip(), Transport::Tcp, &[]).is_let_in());
    // Another one has what is left of the listener.
    let other: SocketAddr = "192.0.2.8:5060".parse().unwrap();
    let explained = explain(&guard, other.ip(), Transport::Udp, &[0]);
    assert!(explained.is_let_in(), "{explained:?}");
    assert!(rates_of(&explained).contains("listener: 4 more at once by XDP"));
    for _ in 0..3 {
        assert!(!send(&mut object, source));
    }
    // At once by its buckets, and by its entry on the list when that is there.
    let blocked = udp(&[0]);
    assert!(!blocked.is_let_in());
    let by_list = |explained: &Explanation| {
        explained
            .findings
            .iter()
            .any(|finding| finding.why.contains("by offences"))
    };
    assert!(
        by_list(&blocked) || rates_of(&blocked).starts_with("blocked for offences, for 863"),
        "{blocked:?}"
    );
    until("the list has it", || by_list(&udp(&[0])));
    assert!(!send(&mut object, source));
}
