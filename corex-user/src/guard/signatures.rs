//! What scanners send, and what is no SIP.

use std::sync::atomic::Ordering;

use corex_common::guard::{
    rates::{OPAQUE, kind_of},
    signatures::{MALFORMED, refuses_by},
};

use super::{Shared, Subject};

/// What kind of message it is, as rates tell them apart.
pub fn kind(message: &[u8]) -> u32 {
    message.first_chunk().map_or(OPAQUE, kind_of)
}

impl Shared {
    /// Whether the message has a signature, or is no SIP. `is_decoded`: no chain and no hook is to make
    /// SIP of it.
    pub(super) fn has_signature(&self, subject: &Subject<'_>, is_decoded: bool) -> bool {
        let automaton = self.automaton.load();
        let mut active = automaton.active;
        if is_decoded && self.policy.drops_malformed.load(Ordering::Relaxed) {
            active |= MALFORMED;
        }
        refuses_by(&automaton, active, subject.message, kind(subject.message))
    }

    /// What signatures say of a message, and whether they fit.
    pub(super) fn explain_signature(&self, subject: &Subject<'_>) -> (String, bool) {
        let fits = self.has_signature(subject, false);
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
