//! The Call-ID of a message, as XDP can afford to read it: what isn't found in a few hundred bytes,
//! or isn't plain, user space reads.

use core::hint::black_box;

use aya_ebpf::{EbpfContext as _, bindings::xdp_md, programs::XdpContext};
use corex_common::road::{MAX_CALL_ID, MAX_CALL_ID_AT, hash_end, hash_group};

use super::start_line::outside;
use crate::{
    packet::bytes,
    words::{ALL, HIGH, first},
};

/// Words, and ends of lines, that are looked at.
const STEPS: usize = MAX_CALL_ID_AT / 8 + 16;
/// Above any offset that is reached.
const REACH: usize = 0x7ff;

const _: () = assert!(MAX_CALL_ID_AT + 192 + MAX_CALL_ID + 128 < REACH);

/// What a line is.
enum Line {
    /// The first header that is a Call-ID; so long its name and colon are.
    CallId(usize),
    /// Another header.
    Other,
    /// The end of the headers, or what user space has to look at.
    Doubt,
}

/// `call-id:` as a number of which the lowest byte comes first.
const NAME: u64 = u64::from_le_bytes(*b"call-id:");
/// What makes its letters small ones.
const SMALL: u64 = u64::from_le_bytes([0x20, 0x20, 0x20, 0x20, 0, 0x20, 0x20, 0]);

#[inline(always)]
fn line_of(word: u64) -> Line {
    let name = word | SMALL;
    if name == NAME {
        return Line::CallId(8);
    }
    let [letter, next, ..] = word.to_le_bytes();
    let is_compact = letter | 0x20 == b'i';
    if is_compact && next == b':' {
        return Line::CallId(2);
    }
    // A space in front of the colon; the line that ends the headers.
    let is_spaced = is_compact && is_blank(next);
    let is_long = (name ^ NAME) << 8 == 0 && is_blank((word >> 56) as u8);
    if is_spaced | is_long | (letter == b'\r') | (letter == b'\n') {
        return Line::Doubt;
    }
    Line::Other
}

#[inline(always)]
fn is_blank(byte: u8) -> bool {
    (byte == b' ') | (byte == b'\t')
}

/// The highest bit of every byte that is a line feed.
#[inline(always)]
fn line_feeds(word: u64) -> u64 {
    // Without carries between bytes: zero is what has no bit in the lower seven, nor the highest.
    let differing = word ^ (b'\n' as u64 * ALL);
    !(((differing & !HIGH) + !HIGH) | differing) & HIGH
}

#[inline(always)]
fn word_at(ctx: &XdpContext, at: usize) -> Option<u64> {
    let eight: &[u8; 8] = bytes(ctx, at & REACH).ok()?;
    Some(u64::from_le_bytes(*eight))
}

/// Kamailio's hash of the first Call-ID among the headers that begin at an offset in the frame, as
/// `$(ci{s.corehash})` has it. `zero` is 0, which the verifier doesn't know: whatever an offset was,
/// it is any number then, and what comes behind is walked once.
#[inline(always)]
pub fn hash(ctx: &XdpContext, headers: usize, zero: usize) -> Option<u32> {
    match function(ctx.as_ptr().cast(), headers, zero) {
        NONE => None,
        hash => Some(hash as u32),
    }
}

/// No hash.
const NONE: u64 = u64::MAX;

/// A function of its own, as the caller has hardly any stack left.
#[inline(never)]
fn function(ctx: *mut xdp_md, headers: usize, zero: usize) -> u64 {
    // Else the compiler hands over what it reads of it instead, which the verifier takes for numbers.
    let ctx = XdpContext::new(black_box(ctx));
    find(&ctx, headers, zero).map_or(NONE, u64::from)
}

#[inline(always)]
fn find(ctx: &XdpContext, headers: usize, zero: usize) -> Option<u32> {
    let mut at = (headers + zero) & REACH;
    let mut is_start = true;
    let mut step = 0;
    let mut value = 0;
    while step < STEPS {
        let word = word_at(ctx, at)?;
        if is_start {
            match line_of(word) {
                Line::CallId(len) => {
                    value = at + len;
                    break;
                }
                Line::Doubt => return None,
                Line::Other => {}
            }
        }
        let ends = line_feeds(word);
        is_start = ends != 0;
        let len = if is_start {
            first(ends) as usize + 1
        } else {
            8
        };
        at = (at + len + zero) & REACH;
        step += 1;
    }
    if value == 0 {
        return None;
    }
    let mut at = (value + zero) & REACH;
    // Two, as the verifier takes the check for a single one for none.
    let space: &[u8; 2] = bytes(ctx, at).ok()?;
    at = (at + (space[0] == b' ') as usize) & REACH;
    let begin = at;
    let mut hash = 0;
    let mut step = 0;
    let mut is_whole = false;
    while step < MAX_CALL_ID / 8 {
        let word = word_at(ctx, at)?;
        let ends = outside(word, u64::from(b'!'), 0x7f);
        is_whole = ends != 0;
        let len = if is_whole { first(ends) & 7 } else { 8 };
        // The bytes that belong to it in two groups, of which the last has what is left.
        let text = word.swap_bytes();
        let (high, low) = if len > 4 {
            (text >> 32, (text & 0xffff_ffff) >> (8 * (8 - len) & 63))
        } else {
            (text >> 32 >> (8 * (4 - len) & 63), 0)
        };
        hash = hash_group(hash_group(hash, high as u32), low as u32);
        at = (at + len as usize + zero) & REACH;
        if is_whole {
            break;
        }
        step += 1;
    }
    if !is_whole || at == begin {
        return None;
    }
    // A line that begins with white space belongs to the one before.
    let end: &[u8; 3] = bytes(ctx, at).ok()?;
    let is_plain = end[0] == b'\r' && end[1] == b'\n' && !is_blank(end[2]);
    is_plain.then_some(hash_end(hash))
}
