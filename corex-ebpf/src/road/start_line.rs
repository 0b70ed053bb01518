//! The start line of a message, as XDP can afford to read it.

use aya_ebpf::programs::XdpContext;
use corex_common::road::{MAX_START_LINE, METHODS, OTHER, REPLY};

use crate::{
    packet::bytes,
    words::{ALL, HIGH, first},
};

/// A start line.
pub struct StartLine {
    /// The kind of the message.
    pub kind: usize,
    /// Where the line behind it begins, in the frame.
    pub end: usize,
}

/// The start line of the message at `AT`, where it is as plain as those of nearly all messages are:
/// else user space reads it. `zero` is 0, which the verifier doesn't know.
#[inline(always)]
pub fn start_line<const AT: usize>(ctx: &XdpContext, zero: usize) -> Option<StartLine> {
    let head: &[u8; 16] = bytes(ctx, AT).ok()?;
    let words = words_of(head);
    let (kind, from, least) = if is(words, &pattern(b"SIP/2.0 ")) {
        if !is_status(words[1]) {
            return None;
        }
        (REPLY, 12, u64::from(b' '))
    } else {
        let (kind, uri) = method(words)?;
        (kind, uri, u64::from(b' ' + 1))
    };
    let (kind, from) = ((kind + zero) & 15, (from + zero) & 31);
    let least = (least + zero as u64) & 0x7f;
    let end = text_end::<AT>(ctx, from, least, zero)?;
    if kind == REPLY {
        let line_break: &[u8; 2] = bytes(ctx, AT + end).ok()?;
        let line = StartLine {
            kind: REPLY,
            end: AT + end + 2,
        };
        return (*line_break == *b"\r\n").then_some(line);
    }
    if end <= from {
        return None;
    }
    let rest: &[u8; 10] = bytes(ctx, AT + end).ok()?;
    let end = AT + end + 10;
    (*rest == *b" SIP/2.0\r\n").then_some(StartLine { kind, end })
}

/// Sixteen bytes as two numbers, of which the lowest byte comes first.
#[inline(always)]
pub fn words_of(bytes: &[u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
    [
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u64::from_le_bytes([i, j, k, l, m, n, o, p]),
    ]
}

/// A text of at most 16 bytes that messages begin with, and which bits of two numbers it says.
struct Pattern {
    words: [u64; 2],
    masks: [u64; 2],
}

const fn pattern(text: &[u8]) -> Pattern {
    let mut pattern = Pattern {
        words: [0; 2],
        masks: [0; 2],
    };
    let mut i = 0;
    while i < text.len() {
        pattern.words[i / 8] |= (text[i] as u64) << (8 * (i % 8));
        pattern.masks[i / 8] |= 0xff << (8 * (i % 8));
        i += 1;
    }
    pattern
}

#[inline(always)]
fn is(words: [u64; 2], pattern: &Pattern) -> bool {
    let differing = (words[0] ^ pattern.words[0]) & pattern.masks[0]
        | (words[1] ^ pattern.words[1]) & pattern.masks[1];
    differing == 0
}

/// Whether these bytes begin with a status code and a space.
#[inline(always)]
fn is_status(word: u64) -> bool {
    let [hundreds, tens, ones, space, ..] = word.to_le_bytes();
    // Without a branch for each: the verifier walks them all.
    let is_hundred = hundreds.wrapping_sub(b'1') < 6;
    let are_digits = tens.wrapping_sub(b'0') < 10 && ones.wrapping_sub(b'0') < 10;
    is_hundred & are_digits & (space == b' ')
}

/// The kind of a request, and where its Request-URI begins.
#[inline(always)]
pub fn method(words: [u64; 2]) -> Option<(usize, usize)> {
    macro_rules! known {
        ($($at:literal)*) => {
            $(if is(words, const { &pattern(METHODS[$at]) }) {
                return Some(($at + 1, METHODS[$at].len()));
            })*
        };
    }
    known!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    let capitals = |word| outside(word, u64::from(b'A'), u64::from(b'Z' + 1));
    let mut word = words[0];
    let mut len = 0;
    let mut ends = capitals(word);
    if ends == 0 {
        word = words[1];
        len = 8;
        ends = capitals(word);
    }
    if ends == 0 {
        return None;
    }
    let at = first(ends);
    let end = word >> (8 * at) & 0xff;
    len += at as usize;
    (len > 0 && end == u64::from(b' ')).then_some((OTHER, len + 1))
}

/// The highest bit of every byte that isn't from `low` to below `high`, both at most 0x7f.
#[inline(always)]
pub fn outside(word: u64, low: u64, high: u64) -> u64 {
    let seven = word & !HIGH;
    let is_low = !(seven + (0x80 - low) * ALL);
    let is_high = seven + (0x80 - high) * ALL;
    (word | is_low | is_high) & HIGH
}

/// Where printable text ends that begins at `from`; `least` is the lowest byte that belongs to it.
#[inline(always)]
fn text_end<const AT: usize>(
    ctx: &XdpContext,
    from: usize,
    least: u64,
    zero: usize,
) -> Option<usize> {
    let mut at = 0;
    while at < MAX_START_LINE {
        let eight: &[u8; 8] = bytes(ctx, AT + at).ok()?;
        let mut ends = outside(u64::from_le_bytes(*eight), least, 0x7f);
        if at < 32 && at < from {
            // What is in front isn't looked at.
            let before = from - at;
            ends = if before >= 8 {
                0
            } else {
                ends >> (8 * before) << (8 * before)
            };
        }
        if ends != 0 {
            return Some((at + first(ends) as usize + zero) & 0xff);
        }
        at += 8;
    }
    None
}
