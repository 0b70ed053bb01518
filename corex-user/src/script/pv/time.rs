//! The clock.

use std::time::{SystemTime, UNIX_EPOCH};

use super::PvDef;
use crate::script::value::Value;

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef::plain("Ts", |_| Ok(Value::Int(seconds())), "Seconds since 1970-01-01 00:00 UTC."),
];

fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
