//! What scanners send, and what is no SIP.

use super::Subject;

/// Whether the message is such.
pub fn matches(_: &Subject<'_>) -> bool {
    false
}

/// The same in words, without counting.
pub fn explain(_: &Subject<'_>) -> (String, bool) {
    ("none are set".to_owned(), false)
}
