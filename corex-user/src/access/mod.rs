//! Who may come in, and how often: what the modules permissions, ratelimit, secfilter and pike decide by.
//! Made once for a configuration, shared by all workers, and read by remote control.

pub mod permissions;
pub mod pike;
pub mod ratelimit;
pub mod secfilter;
mod slot;
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
