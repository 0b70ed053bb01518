//! What a datagram begins with, where that is plain.

use aya_ebpf::programs::XdpContext;
use corex_common::{ip::UDP_LEN, road::KINDS};

use super::Case;
use crate::{
    packet::{Datagram, bytes},
    road,
};

/// Offsets that the verifier is told of: frames are shorter.
const MAX_OFFSET: usize = 2047;

/// Whether it is a request of a method that gets no answer.
#[inline(always)]
pub fn is_stealthy(case: &Case<'_>) -> bool {
    match kind(case.ctx, case.datagram) {
        Some(kind) => case.desk.guard.stealth_methods >> (kind & (KINDS - 1)) & 1 != 0,
        None => false,
    }
}

/// The kind of a request by its method, as [`corex_common::road::METHODS`] has them, from 1, or
/// [`corex_common::road::OTHER`]; `None` for what doesn't begin as one.
#[inline(always)]
pub fn kind(ctx: &XdpContext, datagram: &Datagram) -> Option<usize> {
    let at = usize::from(datagram.l4) + UDP_LEN;
    // SAFETY: reads a local variable; the compiler would leave the mask out.
    let at = unsafe { core::ptr::read_volatile(&at) } & MAX_OFFSET;
    let head: &[u8; 16] = bytes(ctx, at).ok()?;
    let (kind, _) = road::method(road::words_of(head))?;
    Some(kind)
}
