//! The end of the headers, and the length of what follows.

use super::Edits;
use super::digits::write_decimal;
use crate::{SipView, lex};

fn has_empty_line(message: &SipView<'_>) -> bool {
    let whole = message.message();
    let head = whole.strip_suffix(message.body()).unwrap_or(whole);
    head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n")
}

/// Sets Content-Length right where the body changed.
///
/// For a stream, whose messages are told apart by it, it is right in any case: a wrong one is
/// corrected, a missing one added (as by Kamailio 5.6.3), also one that the script took away, and
/// headers without an end get one. Else a datagram could put a message of its own into a
/// connection that others use. A line that the script added counts as it is.
pub fn fix_content_length(message: &SipView<'_>, edits: &Edits, is_stream: bool, own: &mut Edits) {
    const NAME: &[u8] = b"Content-Length";
    let whole = message.message();
    let ends = has_empty_line(message);
    let body = whole.len() - message.body().len()..whole.len();
    let before = body.len();
    // Without an empty line, whatever is inserted at the end is part of the headers.
    let after = if ends { edits.len_of(body) } else { before };
    // No transport has messages of 4 GiB.
    let length = after as u32;
    let mut found = false;
    for header in message.headers_named(NAME) {
        let start = header.value.as_ptr().addr() - whole.as_ptr().addr();
        if edits.deletes(start) {
            continue;
        }
        found = true;
        let is_right = lex::decimal(header.value).is_some_and(|len| len as usize == after);
        if after != before || (is_stream && !is_right) {
            let place = start..start + header.value.len();
            own.replace_with(place, |out| write_decimal(length, out));
        }
    }
    if !is_stream {
        return;
    }
    let end = message.end_of_headers();
    if !found && !edits.inserts_header(NAME, end) {
        own.replace_with(end..end, |out| {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        });
    }
    if !ends {
        let rest: &[u8] = if whole.ends_with(b"\n") {
            b"\r\n"
        } else {
            b"\r\n\r\n"
        };
        own.insert(whole.len(), rest);
    }
}
