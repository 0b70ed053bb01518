//! What is shed when a worker can't keep up.

use std::time::Duration;

/// Parameters of the module `corex` for overload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overload {
    /// `overload`: whether anything is shed by priority.
    pub is_on: bool,
    /// `overload_dry_run`: what would be shed is only counted.
    pub is_dry: bool,
    /// `overload_high`: a worker sheds requests outside dialogs from unknown sources once one of its
    /// queues is so full, in percent.
    pub high: u32,
    /// `overload_low`: and no longer once all are at most so full.
    pub low: u32,
    /// `overload_critical`: it sheds all from unknown sources once one is so full.
    pub critical: u32,
    /// `overload_reply`: whether some of what is shed gets a 503.
    pub replies: bool,
    /// `overload_reply_rate`: how many each worker sends in a second at most.
    pub reply_rate: u32,
    /// `retry_after`: seconds in its Retry-After (RFC 3261 §20.33).
    pub retry_after: u32,
    /// `known_peer_age`: how long a peer stays known that isn't heard of again.
    pub peer_age: Duration,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            is_on: false,
            is_dry: false,
            high: 50,
            low: 25,
            critical: 90,
            replies: false,
            reply_rate: 100,
            retry_after: 10,
            peer_age: Duration::from_secs(7200),
        }
    }
}
