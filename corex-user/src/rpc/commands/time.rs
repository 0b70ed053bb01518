//! Times as `ctime()` writes them.

use std::time::SystemTime;

use jiff::{Timestamp, tz::TimeZone};

/// Local time, as in `Tue Nov 24 00:14:07 2026`. Empty for a time that no calendar has.
pub(super) fn ctime(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .ok()
        .map(|time| time.to_zoned_datetime(TimeZone::system()))
        .and_then(|time| jiff::fmt::strtime::format("%a %b %e %H:%M:%S %Y", &time).ok())
        .unwrap_or_default()
}

/// Whole seconds that passed since a time.
pub(super) fn seconds_since(time: SystemTime) -> u64 {
    time.elapsed().map_or(0, |passed| passed.as_secs())
}
