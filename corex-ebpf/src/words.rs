//! Eight bytes at a time, as a number of which the first byte comes lowest.

/// Every byte of a number.
pub const ALL: u64 = 0x0101_0101_0101_0101;
/// The highest bit of every byte.
pub const HIGH: u64 = 0x80 * ALL;

/// The highest bit of every byte that is this one, and perhaps of some above it.
#[inline(always)]
pub fn is_equal(word: u64, byte: u8) -> u64 {
    let differing = word ^ (ALL * u64::from(byte));
    differing.wrapping_sub(ALL) & !differing & HIGH
}

/// The number of the lowest byte whose highest bit is set.
#[inline(always)]
pub fn first(bits: u64) -> u64 {
    let below = (bits & bits.wrapping_neg()) - 1;
    ((below & HIGH) >> 7).wrapping_mul(ALL) >> 56
}
