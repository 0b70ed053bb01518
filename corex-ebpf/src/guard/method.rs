//! What a datagram begins with, where that is plain.

use corex_common::road::KINDS;

use super::Case;
use crate::{packet::bytes, road};

/// Offsets that the verifier is told of: frames are shorter.
const MAX_OFFSET: usize = 2047;

/// Whether it is a request of a method that gets no answer.
#[inline(always)]
pub fn is_stealthy(case: &Case<'_>) -> bool {
    match kind(case) {
        Some(kind) => case.desk.guard.stealth_methods >> (kind & (KINDS - 1)) & 1 != 0,
        None => false,
    }
}

/// The kind of a request by its method, as [`corex_common::road::METHODS`] has them, from 1, or
/// [`corex_common::road::OTHER`]; `None` for what doesn't begin as one.
#[inline(always)]
pub fn kind(case: &Case<'_>) -> Option<usize> {
    // SAFETY: a value of a map; the compiler would leave the mask out.
    let at = unsafe { core::ptr::read_volatile(&raw const case.desk.payload) };
    let head: &[u8; 16] = bytes(case.ctx, at as usize & MAX_OFFSET).ok()?;
    let (kind, _) = road::method(road::words_of(head))?;
    Some(kind)
}
