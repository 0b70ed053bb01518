//! `{s.md5}`, `{s.sha256}` and their like: digests as hexadecimal text; `{s.corehash}`.

use md5::Md5;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::call::Call;
use super::{Error, Output};

type Result = std::result::Result<Output, Error>;

fn digest<D: Digest>(call: &mut Call<'_>) -> Result {
    for byte in D::digest(call.text) {
        call.out.hexa(byte, b"0123456789abcdef")?;
    }
    Ok(Output::Appended)
}

pub(super) fn md5(call: &mut Call<'_>) -> Result {
    digest::<Md5>(call)
}

pub(super) fn sha256(call: &mut Call<'_>) -> Result {
    digest::<Sha256>(call)
}

pub(super) fn sha384(call: &mut Call<'_>) -> Result {
    digest::<Sha384>(call)
}

pub(super) fn sha512(call: &mut Call<'_>) -> Result {
    digest::<Sha512>(call)
}

/// The number by which Kamailio chooses slots of its tables, as a string. It must be the same
/// number: what is stored under it may be shared with one. Bytes beyond ASCII count as negative
/// numbers, as C has them on x86.
pub(super) fn corehash(call: &mut Call<'_>) -> Result {
    let mut hash = 0_u32;
    for group in call.text.chunks(4) {
        let word = group.iter().fold(0_u32, |word, byte| {
            (word << 8).wrapping_add_signed(byte.cast_signed().into())
        });
        hash = hash.wrapping_add(word ^ word >> 3);
    }
    let mixed = hash
        .wrapping_add(hash >> 11)
        .wrapping_add(hash >> 13)
        .wrapping_add(hash >> 23);
    let size = call.integer_or(0, 0)?;
    let number = match size {
        1.. => i64::from(mixed) & (size - 1),
        _ => i64::from(mixed),
    };
    call.out.number(number)?;
    Ok(Output::Appended)
}
