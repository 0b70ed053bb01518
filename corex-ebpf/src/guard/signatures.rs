//! What scanners send, and what is no SIP.

use super::Case;

/// Whether the datagram is such.
#[inline(always)]
pub fn matches(_: &Case<'_>) -> bool {
    false
}
