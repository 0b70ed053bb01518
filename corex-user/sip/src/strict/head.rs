//! The lines of a message up to its body.

use super::Fault;
use crate::{Header, Headers, SipView};

/// Follows the header fields: each line must belong to one, and an empty line must end them.
pub(super) struct Lines<'a> {
    whole: &'a [u8],
    /// Where the last field ended.
    end: usize,
}

const NO_FIELD: Fault = Fault::malformed("A line that is no header field");

impl<'a> Lines<'a> {
    pub fn new(message: &SipView<'a>, headers: &Headers<'a>) -> Self {
        Self {
            whole: message.message(),
            end: headers.offset(),
        }
    }

    /// The next field.
    pub fn next(&mut self, header: &Header<'_>) -> Result<(), Fault> {
        let start = header.raw.as_ptr().addr() - self.whole.as_ptr().addr();
        let is_next = start == self.end;
        self.end = start + header.raw.len();
        is_next.then_some(()).ok_or(NO_FIELD)
    }

    /// There is no further field.
    pub fn end(self, headers: &Headers<'_>) -> Result<(), Fault> {
        match self.whole.get(self.end..headers.offset()) {
            Some(b"\n" | b"\r\n") => Ok(()),
            Some([]) | None => Err(Fault::malformed("The header fields have no end")),
            Some(_) => Err(NO_FIELD),
        }
    }
}

/// No control characters but for white space and escaped ones, no CR by itself, and UTF-8: up to the
/// body.
pub(super) fn check_bytes(message: &SipView<'_>) -> Result<(), Fault> {
    let whole = message.message();
    let end = whole.len() - message.body().len();
    let head = whole.get(..end).unwrap_or(whole);
    // Passes without branches, which the compiler makes vectors of: what is rare is looked at again.
    let (mut is_doubtful, mut all) = (false, 0);
    for &byte in head {
        let is_space = (byte == b'\t') | (byte == b'\r') | (byte == b'\n');
        is_doubtful |= ((byte < b' ') & !is_space) | (byte == 0x7f);
        all |= byte;
    }
    for (&byte, &next) in head.iter().zip(head.get(1..).unwrap_or_default()) {
        is_doubtful |= (byte == b'\r') & (next != b'\n');
    }
    if is_doubtful || head.ends_with(b"\r") {
        check_controls(head)?;
    }
    if !all.is_ascii() && std::str::from_utf8(head).is_err() {
        return Err(Fault::malformed("Not UTF-8"));
    }
    Ok(())
}

/// A control character may be escaped in a quoted string (RFC 3261 §25.1 quoted-pair), but for line
/// breaks.
fn check_controls(head: &[u8]) -> Result<(), Fault> {
    let fault = Fault::malformed("A control character");
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut bytes = head.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\r' if bytes.peek() != Some(&b'\n') => return Err(fault),
            b'\n' => is_quoted &= matches!(bytes.peek(), Some(b' ' | b'\t')),
            b'\t' | b'\r' => {}
            0..b' ' | 0x7f if !was_escaped => return Err(fault),
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
    }
    Ok(())
}
