//! CRC-32 as FINGERPRINT has it (RFC 8489 §14.7; ITU-T V.42 §8.1.1.6.2).

use crate::packet::below;

/// What the polynomial makes of each byte, its bits in reverse.
static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 {
                crc >> 1
            } else {
                (crc >> 1) ^ 0xedb8_8320
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Of the first `len` of these words, as they lie in memory.
#[inline(always)]
pub fn crc32<const N: usize>(words: &[u32; N], len: usize) -> u32 {
    let mut crc = u32::MAX;
    for (at, word) in words.iter().enumerate() {
        // Not left early: that would be so many ways on, which the verifier would all follow.
        if at < len {
            for byte in word.to_ne_bytes() {
                // Verifiers before Linux 6.8 know no bounds of what was XORed.
                let at = below::<256>((crc ^ u32::from(byte)) as usize);
                crc = (crc >> 8) ^ TABLE[at];
            }
        }
    }
    !crc
}
