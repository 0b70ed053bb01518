//! Where parts of a message are.

use std::ops::Range;

use corex_sip::SipView;

/// Where a part of a message lies in it.
pub(crate) fn place(view: &SipView<'_>, part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - view.message().as_ptr().addr();
    start..start + part.len()
}
