//! What scanners send, and what is no SIP.

use corex_common::guard::{
    rates::{OPAQUE, kind_of},
    signatures::refuses,
};

use super::{Shared, Subject};

/// What kind of message it is, as rates tell them apart.
pub fn kind(message: &[u8]) -> u32 {
    message.first_chunk().map_or(OPAQUE, kind_of)
}

impl Shared {
    /// Whether the message has a signature, or is no SIP.
    pub(super) fn has_signature(&self, subject: &Subject<'_>) -> bool {
        refuses(
            &self.automaton.load(),
            subject.message,
            kind(subject.message),
        )
    }

    /// What signatures say of a message, and whether they fit.
    pub(super) fn explain_signature(&self, subject: &Subject<'_>) -> (String, bool) {
        let fits = self.has_signature(subject);
        let text = if fits {
            "it has a signature, or is no SIP"
        } else if self.automaton.load().active == 0 {
            "none are set"
        } else {
            "nothing found"
        };
        (text.to_owned(), fits)
    }
}
