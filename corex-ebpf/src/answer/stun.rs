//! STUN: a Binding request that asks for nothing but the address that it came from (RFC 8489).

use core::ptr::read_volatile;

use corex_common::answer::stun::{
    BINDING_REQUEST, BINDING_SUCCESS, FINGERPRINT, FINGERPRINT_LEN, FINGERPRINT_XOR, HEADER_LEN,
    MAGIC_COOKIE, MAX_KERNEL_ATTRIBUTES, OPTIONAL, XOR_MAPPED_ADDRESS,
};

use super::{ROOM, Room, crc::crc32, datagram::Family};
use crate::packet::{Datagram, below};

const HEADER: usize = HEADER_LEN / 4;

/// Two 16-bit numbers as they stand in a message.
#[inline(always)]
fn pair(high: u16, low: u16) -> u32 {
    (u32::from(high) << 16 | u32::from(low)).to_be()
}

/// Whether a payload of so many bytes that begins like this is a Binding request.
#[inline(always)]
pub fn is_request(head: [u8; 8], len: usize) -> bool {
    let [t0, t1, l0, l1, c0, c1, c2, c3] = head;
    len.is_multiple_of(4)
        && u16::from_be_bytes([t0, t1]) == BINDING_REQUEST
        && usize::from(u16::from_be_bytes([l0, l1])) + HEADER_LEN == len
        && u32::from_be_bytes([c0, c1, c2, c3]) == MAGIC_COOKIE
}

/// Writes the answer to a request, and returns its length. `None`: it has an attribute
/// that mustn't be ignored, or its attributes or FINGERPRINT are wrong.
#[inline(always)]
pub fn answer<F: Family>(room: &mut Room, datagram: &Datagram) -> Option<usize> {
    // SAFETY: reads a field. Of the length that was stored there the verifier knows nothing, and so
    // doesn't follow what is below for each one.
    let len = unsafe { read_volatile(&room.len) } as usize / 4;
    let has_fingerprint = has_fingerprint(room, len)?;
    let (request, answer) = (&room.request, &mut room.answer);
    let address = 4 + 4 * F::WORDS;
    let fingerprint_at = HEADER + 2 + F::WORDS;
    let end = if has_fingerprint {
        fingerprint_at * 4 + FINGERPRINT_LEN
    } else {
        fingerprint_at * 4
    };
    answer[0] = pair(BINDING_SUCCESS, (end - HEADER_LEN) as u16);
    answer[1..HEADER].copy_from_slice(&request[1..HEADER]);
    answer[HEADER] = pair(XOR_MAPPED_ADDRESS, address as u16);
    let port = datagram.source.port ^ (MAGIC_COOKIE >> 16) as u16;
    answer[HEADER + 1] = pair(F::STUN.into(), port);
    // The cookie and the transaction id behind it are what the address is XORed with (§14.2).
    for at in 0..F::WORDS {
        let b = &datagram.source.addr;
        let word = u32::from_ne_bytes([b[4 * at], b[4 * at + 1], b[4 * at + 2], b[4 * at + 3]]);
        answer[HEADER + 2 + at] = word ^ request[1 + at];
    }
    if has_fingerprint {
        answer[fingerprint_at] = pair(FINGERPRINT, 4);
        let crc = crc32(answer, fingerprint_at) ^ FINGERPRINT_XOR;
        answer[fingerprint_at + 1] = crc.to_be();
    }
    Some(end)
}

/// Whether a request of so many words has a FINGERPRINT, which is right then.
#[inline(always)]
fn has_fingerprint(room: &Room, len: usize) -> Option<bool> {
    if !ends_with_fingerprint(&room.request, len)? {
        return Some(false);
    }
    // By `last`, not by its place, which the verifier would have to tell apart.
    let crc = crc32(&room.request, len - FINGERPRINT_LEN / 4) ^ FINGERPRINT_XOR;
    (u32::from_be(room.last) == crc).then_some(true)
}

/// Whether the last attribute of so many words is a FINGERPRINT. `None`: they aren't divided into
/// attributes, or have one that mustn't be ignored.
#[inline(always)]
fn ends_with_fingerprint(request: &[u32; ROOM], len: usize) -> Option<bool> {
    let mut at = HEADER;
    for _ in 0..=MAX_KERNEL_ATTRIBUTES {
        if at >= len {
            return (at == len).then_some(false);
        }
        let head = u32::from_be(request[below::<ROOM>(at)]);
        let (kind, value_len) = ((head >> 16) as u16, (head & 0xffff) as usize);
        if kind < OPTIONAL {
            return None;
        }
        if kind == FINGERPRINT {
            return (value_len == 4 && at + FINGERPRINT_LEN / 4 == len).then_some(true);
        }
        at += 1 + value_len.div_ceil(4);
    }
    None
}
