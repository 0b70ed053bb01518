//! Signatures: what scanners write into the first line and into User-Agent, looked for by one
//! automaton that user space makes of all patterns. The XDP program and user space walk the same
//! table, so both find the same.

use super::rates::OPAQUE;

/// Array with one [`Automaton`].
pub const GUARD_AUTOMATON: &str = "GUARD_AUTOMATON";

/// So many bytes of a message are looked at.
pub const WINDOW: usize = 512;
/// In what is shorter no signature is looked for.
pub const SHORTEST: usize = 16;
/// A message that is SIP has begun its first Via within so many bytes.
pub const VIA_WITHIN: usize = 200;
/// States at most.
pub const MAX_STATES: usize = 1024;
/// Classes of bytes that patterns tell apart, at most.
pub const CLASSES: usize = 64;

/// Bits of a transition that are the next state.
pub const STATE: u16 = MAX_STATES as u16 - 1;
/// A transition that ends the name of a Via header.
pub const VIA: u16 = 1 << 13;
/// A transition that ends a pattern.
pub const FOUND: u16 = 1 << 14;

/// [`Automaton::active`]: who matches a pattern is dropped.
pub const PATTERNS: u32 = 1;
/// [`Automaton::active`]: what is no SIP is dropped.
pub const MALFORMED: u32 = 1 << 1;

/// A table of transitions.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Automaton {
    /// What is looked for: [`PATTERNS`] and [`MALFORMED`]; 0: nothing.
    pub active: u32,
    /// All ones: what is masked with it stays what it is, but the compiler doesn't know that, and so
    /// leaves the program's look at the end of a message as the verifier can follow it.
    pub ones: u32,
    /// Each byte's class.
    pub class_of: [u8; 256],
    /// The next state, and [`VIA`] or [`FOUND`], by state times [`CLASSES`] plus class. State 0 is
    /// the first one.
    pub next: [u16; MAX_STATES * CLASSES],
}

/// What a walk found, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The state.
    pub state: u16,
    /// All flags of the transitions.
    pub flags: u16,
}

impl Walk {
    /// One byte on.
    #[inline(always)]
    pub const fn step(self, automaton: &Automaton, byte: u8) -> Self {
        let class = automaton.class_of[byte as usize] as usize & (CLASSES - 1);
        let state = (self.state & STATE) as usize;
        // Within bounds by the masks, whatever the table says.
        let next = automaton.next[state * CLASSES + class];
        Self {
            state: next & STATE,
            flags: self.flags | next & !STATE,
        }
    }
}

/// Whether what begins with this byte may be something else than SIP that comes to its port: line breaks
/// and NULs that keep a binding open (RFC 5626 §4.4.1), STUN, whose first two bits are zero and whose
/// methods leave the next four so (RFC 8489 §5), or a message behind line breaks (RFC 3261 §7.5).
#[inline(always)]
pub const fn is_beside_sip(first: u8) -> bool {
    (first <= 3) | (first == b'\r') | (first == b'\n')
}

/// Whether a message is refused that begins with the byte `first`, of which a walk over its first
/// [`WINDOW`] bytes found `flags`, and over its first [`VIA_WITHIN`] `via`.
#[inline(always)]
pub const fn is_refused(active: u32, flags: u16, via: u16, kind: u32, first: u8) -> bool {
    active & PATTERNS != 0 && flags & FOUND != 0
        || active & MALFORMED != 0 && !is_beside_sip(first) && (kind == OPAQUE || via & VIA == 0)
}

/// Whether a message is refused; `kind` is what [`kind_of`](super::rates::kind_of) says of it.
pub fn refuses(automaton: &Automaton, message: &[u8], kind: u32) -> bool {
    refuses_by(automaton, automaton.active, message, kind)
}

/// The same, for something else than the automaton's [`Automaton::active`].
pub fn refuses_by(automaton: &Automaton, active: u32, message: &[u8], kind: u32) -> bool {
    if active == 0 {
        return false;
    }
    let mut walk = Walk::default();
    let mut via = 0;
    // Less than two bytes keep a binding open, too.
    let first = if message.len() < 2 { 0 } else { message[0] };
    let message = if message.len() < SHORTEST {
        &[]
    } else {
        message
    };
    for (at, byte) in message.iter().take(WINDOW).enumerate() {
        walk = walk.step(automaton, *byte);
        if at < VIA_WITHIN {
            via = walk.flags;
        }
    }
    is_refused(active, walk.flags, via, kind, first)
}

#[cfg(feature = "user")]
mod pod {
    use super::*;
    // SAFETY: `repr(C)`, arrays of integers without padding, any bit pattern valid.
    unsafe impl aya::Pod for Automaton {}
}
