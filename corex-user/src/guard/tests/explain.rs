use std::net::IpAddr;

use corex_common::counters::WorkerCounters;
use corex_script::settings::{GuardSettings, RateRule, RateScope, SignatureSettings};

use super::*;
use crate::guard::{Listings, automaton};

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn subject(message: &[u8]) -> Subject<'_> {
    Subject {
        source: SOURCE,
        transport: Transport::Udp,
        local_port: 5060,
        socket: 0,
        message,
    }
}

/// What is explained of a message, after it has been judged whether it is let in.
fn explained(guard: &Guard, message: &[u8]) -> (bool, Explanation) {
    let subject = subject(message);
    let judged = guard.judge(&subject, &mut WorkerCounters::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let explained = guard.explain(&subject, &[0]);
    let explained = runtime.unwrap().block_on(explained).unwrap();
    (judged.refused.is_none(), explained)
}

#[test]
fn what_drops_what_is_no_sip_says_so_and_blames_no_source() {
    let settings = GuardSettings {
        signatures: SignatureSettings {
            drops_malformed: true,
            ..SignatureSettings::default()
        },
        ..GuardSettings::default()
    };
    let listings = Listings {
        automaton: automaton::compile(&settings.signatures, true)
            .ok()
            .map(Into::into),
        ..Listings::default()
    };
    let guard = Guard::start(&settings, &listings, None).unwrap();
    // As `guard.explain` asks where no method is given, and where one is.
    for message in [&b""[..], b"OPTIONS sip:x SIP/2.0\r\n"] {
        let (_, explained) = explained(&guard, message);
        assert!(explained.is_let_in(), "{explained:?}");
        assert_eq!(
            explained.findings[3].why,
            "nothing found; what is no SIP is dropped"
        );
    }
}

#[test]
fn a_rate_is_told_of_as_it_is_kept_to() {
    let source = RateScope::Source {
        prefix_v4: 32,
        prefix_v6: 64,
    };
    let rule = |name: &str, scope| RateRule {
        name: name.to_owned(),
        scope,
        methods: corex_common::guard::rates::ANY,
        count: 1,
        period: std::time::Duration::from_secs(86_400),
        burst: 3,
        is_to_route: false,
        is_dry: false,
    };
    let settings = GuardSettings {
        is_on: true,
        rates: vec![rule("src", source), rule("listener", RateScope::Listener)],
        ..GuardSettings::default()
    };
    let guard = Guard::start(&settings, &Listings::default(), None).unwrap();
    let message = b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\n\r\n";
    for left in [2, 1, 0] {
        let (is_let_in, explained) = explained(&guard, message);
        assert!(is_let_in);
        let expected = format!("src: {left} more at once; listener: {left} more at once");
        assert_eq!(explained.findings[4].why, expected);
        assert_eq!(explained.is_let_in(), left > 0);
    }
    assert!(!explained(&guard, message).0);
    // As `guard.rates` shows it.
    let above: Vec<_> = guard
        .rates()
        .into_iter()
        .map(|(name, counts, is_dry)| (name, counts.over, is_dry))
        .collect();
    let expected = ["src", "listener"].map(|name| (name.to_owned(), 1, false));
    assert_eq!(above, expected);
}
