//! Where a body ends (RFC 9112 §6.3).

use httparse::{Header, Status, parse_chunk_size};

use crate::codec::{Fault, append_all};

/// Appends the body that `rest` begins with.
pub(super) fn decode(
    rest: &[u8],
    fields: &[Header<'_>],
    out: &mut Vec<u8>,
    max: usize,
) -> Result<(), Fault> {
    let mut len = None;
    let mut is_chunked = false;
    for field in fields {
        if field.name.eq_ignore_ascii_case("Content-Length") {
            // A list of equal ones is what some proxies make of two fields.
            for value in field.value.split(|byte| *byte == b',') {
                let value = number(value.trim_ascii()).ok_or(Fault::Malformed)?;
                if len.replace(value).is_some_and(|other| other != value) {
                    return Err(Fault::Malformed);
                }
            }
        } else if field.name.eq_ignore_ascii_case("Transfer-Encoding") {
            if !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") || is_chunked {
                return Err(Fault::Malformed);
            }
            is_chunked = true;
        }
    }
    match (len, is_chunked) {
        // Two readers may see two ends: that is how messages are smuggled.
        (Some(_), true) => Err(Fault::Malformed),
        (None, true) => chunks(rest, out, max),
        // All that there is.
        (None, false) => append_all(out, rest, max),
        (Some(len), false) => {
            let (body, after) = rest.split_at_checked(len).ok_or(Fault::Malformed)?;
            blank(after)?;
            append_all(out, body, max)
        }
    }
}

/// Line breaks may follow a message, another one may not.
fn blank(after: &[u8]) -> Result<(), Fault> {
    if after.trim_ascii().is_empty() {
        Ok(())
    } else {
        Err(Fault::Malformed)
    }
}

fn number(text: &[u8]) -> Option<usize> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A body in chunks (RFC 9112 §7.1); fields behind the last one are read over.
fn chunks(mut rest: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
    let mut left = max;
    loop {
        let Ok(Status::Complete((head, len))) = parse_chunk_size(rest) else {
            return Err(Fault::Malformed);
        };
        let len = usize::try_from(len).map_err(|_| Fault::Malformed)?;
        rest = rest.get(head..).ok_or(Fault::Malformed)?;
        if len == 0 {
            return trailer(rest);
        }
        let (chunk, after) = rest.split_at_checked(len).ok_or(Fault::Malformed)?;
        append_all(out, chunk, left).map_err(|_| Fault::TooLong(max))?;
        left -= len;
        // A bare LF would leave it open whether a CR before it is the chunk's.
        rest = after.strip_prefix(b"\r\n").ok_or(Fault::Malformed)?;
    }
}

/// What follows the last chunk: fields, and an empty line.
fn trailer(mut rest: &[u8]) -> Result<(), Fault> {
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = rest.split_at(end.ok_or(Fault::Malformed)? + 1);
        rest = after;
        if line.trim_ascii().is_empty() {
            return blank(rest);
        }
    }
}
