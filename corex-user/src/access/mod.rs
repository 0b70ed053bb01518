//! Who may come in, and how often: what the modules permissions, ratelimit, secfilter and pike decide by.
//! Made once for a configuration, shared by all workers, and read by remote control.

pub mod permissions;
pub mod pike;
pub mod ratelimit;
pub mod secfilter;
mod text;

pub use permissions::Permissions;
pub use pike::Pike;
pub use ratelimit::RateLimit;
pub use secfilter::Secfilter;
pub use text::{MAX_FILE, Mistake, path};

use std::sync::Arc;

use corex_script::Program;
use corex_script::settings::RuleList;

/// What a configuration has of it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The module permissions.
    pub permissions: Option<Arc<Permissions>>,
    /// The module ratelimit.
    pub ratelimit: Option<Arc<RateLimit>>,
    /// The module secfilter.
    pub secfilter: Option<Arc<Secfilter>>,
    /// The module pike.
    pub pike: Option<Arc<Pike>>,
}

impl Access {
    /// What a program's modules have made.
    pub fn of(program: &Program) -> Access {
        Access {
            permissions: program.shared(),
            ratelimit: program.shared(),
            secfilter: program.shared(),
            pike: program.shared(),
        }
    }

    /// What is counted of it: module, name, value.
    pub fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut rows = Vec::new();
        if let Some(pike) = &self.pike {
            rows.push(("pike", "blocked_ips", pike.blocked()));
            rows.push(("pike", "refused", pike.refused()));
        }
        if let Some(filter) = &self.secfilter {
            let of = |list| {
                let parts = secfilter::Part::ALL.into_iter();
                parts
                    .map(|(part, _)| filter.count(secfilter::Met::Listed(list, part)))
                    .sum()
            };
            rows.push(("secfilter", "blacklisted", of(RuleList::Black)));
            rows.push(("secfilter", "whitelisted", of(RuleList::White)));
            rows.push((
                "secfilter",
                "destinations",
                filter.count(secfilter::Met::Destination),
            ));
            rows.push((
                "secfilter",
                "injections",
                filter.count(secfilter::Met::Injection),
            ));
        }
        rows
    }
}

/// Kamailio's number of the slot of `slots` (a power of two) that a key is in: what its dumps show, and
/// are sorted by.
fn slot(key: &[u8], slots: u32) -> u32 {
    let signed = |byte: &u8| i32::from(byte.cast_signed()).cast_unsigned();
    let words = key.chunks(4).map(|word| match word {
        [a, b, c, d] => (u32::from(*a) << 24)
            .wrapping_add(signed(b) << 16)
            .wrapping_add(signed(c) << 8)
            .wrapping_add(signed(d)),
        rest => rest
            .iter()
            .fold(0u32, |word, byte| (word << 8).wrapping_add(signed(byte))),
    });
    let hash = words.fold(0u32, |hash, word| hash.wrapping_add(word ^ (word >> 3)));
    let mixed = hash
        .wrapping_add(hash >> 11)
        .wrapping_add((hash >> 13).wrapping_add(hash >> 23));
    mixed & slots.saturating_sub(1)
}
