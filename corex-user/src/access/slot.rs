//! The slots of Kamailio's hash tables, which its dumps show.

/// Kamailio's number of the slot of `slots` (a power of two) that a key is in: what its dumps show, and
/// are sorted by.
pub fn slot(key: &[u8], slots: u32) -> u32 {
    let signed = |byte: &u8| i32::from(byte.cast_signed()).cast_unsigned();
    let words = key.chunks(4).map(|word| match word {
        [a, b, c, d] => (u32::from(*a) << 24)
            .wrapping_add(signed(b) << 16)
            .wrapping_add(signed(c) << 8)
            .wrapping_add(signed(d)),
        rest => rest
            .iter()
            .fold(0u32, |word, byte| (word << 8).wrapping_add(signed(byte))),
    });
    let hash = words.fold(0u32, |hash, word| hash.wrapping_add(word ^ (word >> 3)));
    let mixed = hash
        .wrapping_add(hash >> 11)
        .wrapping_add((hash >> 13).wrapping_add(hash >> 23));
    mixed & slots.saturating_sub(1)
}
