//! How a source stands with the rates: its buckets and those of listen sockets, here or in the programs.

use std::{net::IpAddr, sync::PoisonError, time::Duration};

use corex_common::guard::rates::{
    LISTENER, Listener, MAX_GROUPS, MAX_RATES, Rates, Source, SourceKey,
};
use tokio::{sync::oneshot, time::timeout};

use super::{Shared, rates::key};
use crate::kernel::guard_rates::RateMaps;

/// How long the thread that keeps the programs' maps may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Buckets as they are, of one source and some listen sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The source's, by group.
    pub sources: [Source; MAX_GROUPS],
    /// Those of the listen sockets.
    pub listeners: Vec<Listener>,
}

impl Standing {
    /// Of each rule that there is for sources or these listen sockets, the messages that it would let
    /// through right now, at most its burst: where it is a rule for listeners, through the emptiest bucket.
    pub fn left(&self, rates: &Rates, now: u64) -> [Option<u64>; MAX_RATES] {
        let mut left = [None; MAX_RATES];
        for (i, rule) in rates.rules.iter().enumerate() {
            let is_of = |scope: usize| rates.of_scope.get(scope).is_some_and(|of| of & 1 << i != 0);
            let groups = self.sources.iter().enumerate();
            let sources = groups
                .filter(|(group, _)| is_of(*group))
                .map(|(_, source)| source.full_at);
            let listeners = self.listeners.iter().map(|listener| listener.full_at);
            let listeners = listeners.filter(|_| is_of(LISTENER as usize));
            let buckets = sources.chain(listeners).filter_map(|of| of.get(i).copied());
            left[i] = buckets.map(|full_at| rule.left(full_at, now)).min();
        }
        left
    }

    /// Until when the source is blocked by its buckets alone, in nanoseconds of CLOCK_MONOTONIC: its
    /// entry on the list is to come.
    pub fn blocked_until(&self) -> u64 {
        let groups = self.sources.iter().map(|source| source.blocked_until);
        groups.max().unwrap_or(0)
    }
}

/// A question for the thread that keeps the programs' maps: on kernels where reading a map takes a
/// capability, only that one has it.
pub(super) struct Asked {
    keys: [SourceKey; MAX_GROUPS],
    sockets: Vec<u32>,
    answer: oneshot::Sender<Standing>,
}

impl Asked {
    /// Answers it. Who asked may be gone.
    pub(super) fn answer(self, maps: &RateMaps) {
        let listeners = self.sockets.iter().map(|socket| maps.listener(*socket));
        let standing = Standing {
            sources: self.keys.map(|key| maps.source(&key)),
            listeners: listeners.collect(),
        };
        let _ = self.answer.send(standing);
    }
}

impl Shared {
    /// How a source stands with the programs; `None`: there are none, or their thread doesn't answer in
    /// time.
    pub(super) async fn standing_in_programs(
        &self,
        source: IpAddr,
        sockets: &[u32],
    ) -> Option<Standing> {
        self.program_counts.as_ref()?;
        let rates = self.buckets.rates();
        let mut number = 0;
        let keys = rates.groups.map(|prefixes| {
            let (key, _) = key(source, number, &prefixes);
            number += 1;
            key
        });
        let (answer, answered) = oneshot::channel();
        let sockets = sockets.to_vec();
        self.ask(Asked {
            keys,
            sockets,
            answer,
        });
        timeout(PATIENCE, answered).await.ok()?.ok()
    }

    fn ask(&self, asked: Asked) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.asked.push(asked);
        self.has_work.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corex_common::guard::rates::{Group, Rule};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_is_left_is_that_of_the_source_and_of_the_emptiest_listener() {
        let mut rates = Rates::default();
        // Of sources, of listeners, of sources by a prefix that this configuration hasn't.
        rates.rules[..3].fill(Rule::new(1, SECOND, 10));
        rates.of_scope = [1 << 0, 1 << 2, 1 << 1, 0];
        rates.groups = [Group::default(); MAX_GROUPS];
        let mut standing = Standing {
            listeners: vec![Listener::default(); 2],
            ..Standing::default()
        };
        let now = 1000 * SECOND;
        assert_eq!(
            standing.left(&rates, now)[..4],
            [Some(10), Some(10), Some(10), None]
        );
        standing.sources[0].full_at[0] = now + 3 * SECOND;
        standing.listeners[1].full_at[1] = now + 9 * SECOND;
        standing.sources[1].full_at[2] = now + 10 * SECOND;
        assert_eq!(
            standing.left(&rates, now)[..4],
            [Some(7), Some(1), Some(0), None]
        );
        standing.listeners.clear();
        assert_eq!(standing.left(&rates, now)[1], None);
        standing.sources[1].blocked_until = now + 1;
        assert_eq!(standing.blocked_until(), now + 1);
    }
}
