//! The maps of rates and signatures, in the programs' memory.

use std::{io, net::IpAddr, os::fd::BorrowedFd, sync::Arc};

use aya::maps::{Array, HashMap, MapData, MapError};
use corex_common::{
    counters::RateCounters,
    guard::{
        Network,
        rates::{Listener, MAX_SOURCES, Offender, Rates, Source, SourceKey},
        signatures::Automaton,
    },
    maps::FAMILY_V4,
};

use super::{bpf_call, cpu_counters::CpuCounters};

/// The maps, as the loaded object has them.
pub struct RateMaps {
    /// GUARD_RATES.
    pub rates: Array<MapData, Rates>,
    /// GUARD_AUTOMATON.
    pub automaton: Array<MapData, Automaton>,
    /// GUARD_SOURCES.
    pub sources: HashMap<MapData, SourceKey, Source>,
    /// GUARD_LISTENERS.
    pub listeners: Array<MapData, Listener>,
    /// GUARD_OFFENDERS.
    pub offenders: HashMap<MapData, SourceKey, Offender>,
    /// GUARD_RATE_COUNTS.
    pub counters: Arc<CpuCounters<RateCounters>>,
}

/// A network that a program has blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Which.
    pub network: Network,
    /// Until when, in nanoseconds of CLOCK_MONOTONIC.
    pub until: u64,
    key: SourceKey,
}

impl RateMaps {
    /// Has the programs go by other rules.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write_rates(&mut self, rates: &Rates) -> Result<(), MapError> {
        self.rates.set(0, rates, 0)
    }

    /// Has them look for other signatures.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write_automaton(&mut self, automaton: &Automaton) -> Result<(), MapError> {
        self.automaton.set(0, automaton, 0)
    }

    /// The networks that the programs have blocked and nobody has settled.
    pub fn blocked(&self) -> Vec<Blocked> {
        let entries = self.offenders.iter().filter_map(Result::ok);
        entries
            .filter_map(|(key, offender)| {
                let addr = if key.family == u16::from(FAMILY_V4) {
                    let [a, b, c, d, ..] = key.addr;
                    IpAddr::from([a, b, c, d])
                } else {
                    IpAddr::from(key.addr)
                };
                Some(Blocked {
                    network: Network::new(addr, u8::try_from(offender.prefix).ok()?)?,
                    until: offender.until,
                    key,
                })
            })
            .collect()
    }

    /// The buckets of a source; full ones where it has none.
    pub fn source(&self, key: &SourceKey) -> Source {
        self.sources.get(key, 0).unwrap_or_default()
    }

    /// The buckets of a listen socket, by its number; full ones where there is none.
    pub fn listener(&self, socket: u32) -> Listener {
        self.listeners.get(&socket, 0).unwrap_or_default()
    }

    /// Forgets such a network, its buckets as well: from now on it is blocked by a list, or isn't.
    pub fn settle(&mut self, blocked: &Blocked) {
        // What isn't there any more needn't be removed.
        let _ = self.offenders.remove(&blocked.key);
        let _ = self.sources.remove(&blocked.key);
    }
}

/// Entries that are copied at a time.
const STEP: usize = 4096;

/// Puts the buckets of one map GUARD_SOURCES into another one. Who is blocked by them is on a list, or has
/// to offend once more. Returns how many.
///
/// # Errors
/// What the kernel says.
pub fn copy_buckets(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<usize> {
    let mut last: Option<SourceKey> = None;
    let mut copied = 0;
    // The programs change it meanwhile: it may not end.
    while copied < 2 * MAX_SOURCES as usize {
        let mut keys = vec![SourceKey::default(); STEP];
        let mut sources = vec![Source::default(); STEP];
        // Where the kernel has come to; of a hash it is a number shorter than a key.
        let mut next = SourceKey::default();
        let (count, is_more) =
            bpf_call::map_lookup_batch(from, last.as_ref(), &mut next, &mut keys, &mut sources)?;
        keys.truncate(count);
        sources.truncate(count);
        for source in &mut sources {
            source.blocked_until = 0;
        }
        if count > 0 {
            bpf_call::map_update_batch(to, &keys, &sources)?;
        }
        copied += count;
        if !is_more {
            break;
        }
        last = Some(next);
    }
    Ok(copied)
}
