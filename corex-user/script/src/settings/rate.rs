//! What the configuration says about rates and signatures of the guard.

use std::path::PathBuf;
use std::time::Duration;

/// A rule of `rate`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateRule {
    /// What stands in front of the colon, with single spaces: what it is called.
    pub name: String,
    /// What has a bucket.
    pub scope: RateScope,
    /// Kinds of messages, as `corex_common::guard::rates` numbers them.
    pub methods: u32,
    /// So many messages …
    pub count: u64,
    /// … in such a time,
    pub period: Duration,
    /// so many of them at once.
    pub burst: u64,
    /// Messages above it go to `event_route[guard:limit]`; else they are dropped.
    pub is_to_route: bool,
    /// They are counted only.
    pub is_dry: bool,
}

/// What has a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RateScope {
    /// Each network of sources: so many bits of an address count.
    Source {
        /// Of IPv4.
        prefix_v4: u8,
        /// Of IPv6.
        prefix_v6: u8,
    },
    /// Each listen socket.
    Listener,
}

/// `rate_block`: who is above rates time and again is blocked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateBlock {
    /// Messages above rates …
    pub offences: u32,
    /// … within such a time …
    pub within: Duration,
    /// … have their source blocked for so long.
    pub time: Duration,
    /// It is counted only.
    pub is_dry: bool,
}

/// `signatures` and `malformed`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SignatureSettings {
    /// What is looked for.
    pub patterns: Vec<SignaturePattern>,
    /// The files that it was read from.
    pub files: Vec<PathBuf>,
    /// Whether messages that are no SIP are dropped.
    pub drops_malformed: bool,
}

/// A text that scanners give themselves away by. Letters match whatever their case.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SignaturePattern {
    /// Where it is looked for.
    pub place: SignaturePlace,
    /// Only at the beginning there.
    pub is_anchored: bool,
    /// The text, in small letters.
    pub text: Vec<u8>,
}

/// Where a signature is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SignaturePlace {
    /// The first line.
    FirstLine,
    /// The value of User-Agent.
    UserAgent,
}
