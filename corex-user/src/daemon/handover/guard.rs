//! The guard's entries that the configuration doesn't have: all of them while the predecessor serves
//! on, and what has changed since then once its workers have stopped.

use corex_common::guard::rates::{MAX_RATES, Source, SourceKey};
use serde::{Deserialize, Serialize};

use crate::guard::{Guard, Kept, kept_line};

/// Entries as `guard_file` has them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardCopy {
    /// Those that are there.
    set: Vec<String>,
    /// Those that are there no more.
    removed: Vec<String>,
    /// The rules that the buckets are of, as text.
    #[serde(default)]
    rates: String,
    /// The buckets that user space has.
    #[serde(default)]
    buckets: Vec<Bucket>,
}

/// Sources whose buckets are handed over at most, of those that user space has.
const MOST_BUCKETS: usize = 4096;

/// The buckets of a source. Times are nanoseconds of CLOCK_MONOTONIC, which both processes read.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    addr: [u8; 16],
    family: u16,
    group: u16,
    full_at: [u64; MAX_RATES],
    offences: u32,
    offences_since: u64,
}

impl Bucket {
    fn of((key, source): (SourceKey, Source)) -> Self {
        Self {
            addr: key.addr,
            family: key.family,
            group: key.group,
            full_at: source.full_at,
            offences: source.offences,
            offences_since: source.offences_since,
        }
    }

    fn source(&self) -> (SourceKey, Source) {
        let key = SourceKey {
            addr: self.addr,
            family: self.family,
            group: self.group,
        };
        let source = Source {
            full_at: self.full_at,
            offences: self.offences,
            offences_since: self.offences_since,
            ..Source::default()
        };
        (key, source)
    }
}

impl GuardCopy {
    /// All there are. What changes from now on is noted, for [`Self::changes`].
    pub fn all(guard: &Guard) -> Self {
        guard.note_changes();
        Self {
            set: lines(&guard.kept()),
            ..Self::default()
        }
    }

    /// What has changed since all were copied, and the buckets.
    pub fn changes(guard: &Guard) -> Self {
        let (set, removed) = guard.noted_changes();
        let (rates, buckets) = guard.buckets(MOST_BUCKETS);
        Self {
            set: lines(&set),
            removed: lines(&removed),
            rates: format!("{rates:?}"),
            buckets: buckets.into_iter().map(Bucket::of).collect(),
        }
    }

    /// Puts the entries into a guard's lists, or takes them out. Returns for how many there was no
    /// room.
    pub fn write(&self, guard: &Guard) -> usize {
        // What another version writes and this one can't read isn't worth the take-over.
        let read = |lines: &[String]| -> Vec<Kept> {
            lines.iter().filter_map(|line| kept_line(line)).collect()
        };
        for gone in read(&self.removed) {
            guard.remove(gone.which, gone.network);
        }
        if format!("{:?}", guard.buckets(0).0) == self.rates {
            guard.take_buckets(self.buckets.iter().map(Bucket::source));
        }
        guard.restore(&read(&self.set))
    }
}

fn lines(entries: &[Kept]) -> Vec<String> {
    entries.iter().map(Kept::line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{Listings, Subject, Which};
    use corex_common::counters::WorkerCounters;
    use corex_common::guard::{
        lists::{BLOCKED, BY_RPC},
        rates::ANY,
    };
    use corex_script::settings::{GuardSettings, RateRule, RateScope, guard::network};
    use corex_sip::Transport;
    use std::time::Duration;

    fn guard(block: &str) -> Guard {
        let settings = GuardSettings {
            is_on: true,
            ..GuardSettings::default()
        };
        let listings = Listings {
            block: vec![network(block).unwrap()],
            ..Listings::default()
        };
        Guard::start(&settings, &listings, None).unwrap()
    }

    fn sent(copy: &GuardCopy) -> GuardCopy {
        serde_json::from_slice(&serde_json::to_vec(copy).unwrap()).unwrap()
    }

    #[test]
    fn buckets_go_along_where_the_rates_are_the_same() {
        let rated = |burst| {
            let settings = GuardSettings {
                rates: vec![RateRule {
                    name: "src".to_owned(),
                    scope: RateScope::Source {
                        prefix_v4: 32,
                        prefix_v6: 64,
                    },
                    methods: ANY,
                    count: 1,
                    period: Duration::from_secs(86_400),
                    burst,
                    is_to_route: false,
                    is_dry: false,
                }],
                ..GuardSettings::default()
            };
            Guard::start(&settings, &Listings::default(), None).unwrap()
        };
        let lets_through = |guard: &Guard, source: &str| {
            let subject = Subject {
                source: source.parse().unwrap(),
                transport: Transport::Udp,
                local_port: 5060,
                socket: 0,
                message: b"OPTIONS sip:x SIP/2.0\r\n\r\n",
            };
            let mut counters = WorkerCounters::default();
            guard.judge(&subject, &mut counters).refused.is_none()
        };
        let (old, same, other) = (rated(2), rated(2), rated(3));
        for _ in 0..2 {
            assert!(lets_through(&old, "192.0.2.1"));
        }
        assert!(lets_through(&old, "2001:db8::1"));
        let copy = sent(&GuardCopy::changes(&old));
        assert_eq!(copy.buckets.len(), 2);
        copy.write(&same);
        assert!(!lets_through(&same, "192.0.2.1"));
        assert!(lets_through(&same, "2001:db8::1") && !lets_through(&same, "2001:db8::1"));
        assert!(lets_through(&same, "192.0.2.2"));
        copy.write(&other);
        assert!(lets_through(&other, "192.0.2.1"));
    }

    #[test]
    fn a_copy_and_what_changed_since_make_the_same_lists() {
        let (old, new) = (guard("192.0.2.0/24"), guard("192.0.2.0/25"));
        let put = |which, text, seconds| {
            let network = network(text).unwrap();
            old.put(which, network, seconds, (BY_RPC, BLOCKED)).unwrap();
        };
        put(Which::Allow, "198.51.100.1", None);
        put(Which::Block, "2001:db8::/32; udp; 5060", Some(1000));
        put(Which::Block, "203.0.113.1", None);
        assert_eq!(sent(&GuardCopy::all(&old)).write(&new), 0);
        put(Which::Block, "203.0.113.2", Some(500));
        assert!(old.remove(Which::Block, network("203.0.113.1").unwrap()));
        let changes = GuardCopy::changes(&old);
        assert_eq!((changes.set.len(), changes.removed.len()), (1, 1));
        assert_eq!(sent(&changes).write(&new), 0);
        let of = |guard: &Guard| -> Vec<_> {
            let kept = guard.kept().into_iter();
            kept.map(|kept| (kept.which, kept.network, kept.origin, kept.until.is_some()))
                .collect()
        };
        assert_eq!(of(&new), of(&old));
        assert_eq!(of(&new).len(), 3);
        // Each has its own configuration's entries.
        let blocked = |guard: &Guard, text: &str| {
            let entries = guard.entries(Which::Block);
            entries
                .iter()
                .any(|(found, _)| *found == network(text).unwrap())
        };
        assert!(blocked(&new, "192.0.2.0/25") && !blocked(&new, "192.0.2.0/24"));
    }
}
