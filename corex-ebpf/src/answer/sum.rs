//! Checksums of the Internet (RFC 1071), by the kernel's own helper: whole ones, of what was received
//! and of what leaves.

use core::ptr::null_mut;

use aya_ebpf::helpers::generated::bpf_csum_diff;

/// The sum of `bytes`, which are words of four, and of what was summed up before.
#[inline(always)]
pub fn add<const N: usize>(bytes: &[u8; N], before: u32) -> u32 {
    const { assert!(N.is_multiple_of(4)) };
    of_memory(bytes.as_ptr().cast(), N, before)
}

/// The same of words, as they lie in memory.
#[inline(always)]
pub fn add_words<const N: usize>(words: &[u32; N], before: u32) -> u32 {
    of_memory(words.as_ptr(), size_of_val(words), before)
}

#[inline(always)]
fn of_memory(from: *const u32, len: usize, before: u32) -> u32 {
    // SAFETY: the helper reads `len` bytes, which the callers have; there is nothing to subtract.
    let sum = unsafe { bpf_csum_diff(null_mut(), 0, from.cast_mut(), len as u32, before) };
    // Below zero only for lengths that it doesn't take.
    sum as u32
}

/// A 16-bit number as it stands in a header, added.
#[inline(always)]
pub fn add_word(number: u16, before: u32) -> u32 {
    let word = u32::from(number.to_be());
    let sum = u64::from(before) + u64::from(word);
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

/// The sum as 16 bits, as they lie in memory.
#[inline(always)]
pub fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
