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

    /// What signatures say of a message, and whether they fit. Whether it is SIP isn't asked: who wants to
    /// know what becomes of a source's messages has none at hand.
    pub(super) fn explain_signature(&self, subject: &Subject<'_>) -> (String, bool) {
        let automaton = self.automaton.load();
        let patterns = automaton.active & !MALFORMED;
        let fits = refuses_by(&automaton, patterns, subject.message, kind(subject.message));
        let drops_malformed = self.policy.drops_malformed.load(Ordering::Relaxed);
        let text = match (fits, drops_malformed) {
            (true, _) => "it has a signature",
            (false, true) => "nothing found; what is no SIP is dropped",
            (false, false) if automaton.active == 0 => "none are set",
            (false, false) => "nothing found",
        };
        (text.to_owned(), fits)
    }
}
