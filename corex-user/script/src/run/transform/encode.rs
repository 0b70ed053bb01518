//! `{s.encode.*}` and `{s.decode.*}`.

use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};

use super::call::{Call, Sink};
use super::{Error, MAX_OUTPUT, Output};

type Result = std::result::Result<Output, Error>;

pub(super) fn hexa(call: &mut Call<'_>) -> Result {
    for byte in call.text {
        call.out.hexa(*byte, b"0123456789abcdef")?;
    }
    Ok(Output::Appended)
}

pub(super) fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Two hexadecimal digits.
pub(super) fn pair(pair: &[u8]) -> Option<u8> {
    match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// A digit without a partner at the end counts for nothing.
pub(super) fn unhexa(call: &mut Call<'_>) -> Result {
    for digits in call.text.chunks_exact(2) {
        let Some(byte) = pair(digits) else {
            return Ok(Output::Null);
        };
        call.out.byte(byte)?;
    }
    Ok(Output::Appended)
}

/// GSM 03.38 packing (3GPP TS 23.038, 6.1.2.1), as hexadecimal text: the low seven bits of each
/// character, the first in the lowest bits. An eighth bit runs into the next character, as in
/// Kamailio.
pub(super) fn septets(call: &mut Call<'_>) -> Result {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let (mut bits, mut held) = (0_u32, 0);
    for byte in call.text {
        bits |= u32::from(*byte) << held;
        held += 7;
        if held >= 8 {
            call.out.hexa((bits & 0xff) as u8, DIGITS)?;
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        call.out.hexa((bits & 0xff) as u8, DIGITS)?;
    }
    Ok(Output::Appended)
}

/// The reverse. Seven bytes always yield eight characters, the last a NUL where seven were packed.
/// What is no pair of digits yields `$null`; Kamailio makes something up.
pub(super) fn unseptets(call: &mut Call<'_>) -> Result {
    let pairs = call.text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Ok(Output::Null);
    }
    let (mut bits, mut held) = (0_u32, 0);
    for digits in pairs {
        let Some(byte) = pair(digits) else {
            return Ok(Output::Null);
        };
        bits |= u32::from(byte) << held;
        held += 8;
        while held >= 7 {
            call.out.byte((bits & 0x7f) as u8)?;
            bits >>= 7;
            held -= 7;
        }
    }
    Ok(Output::Appended)
}

/// Padding may be there or not; bits that no byte needs may be anything.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STRICT: GeneralPurposeConfig =
    LENIENT.with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
const BARE: GeneralPurposeConfig = LENIENT.with_encode_padding(false);

const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const PLAIN_BARE: GeneralPurpose = GeneralPurpose::new(&STANDARD, BARE);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
const URL_BARE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, BARE);
const PLAIN_STRICT: GeneralPurpose = GeneralPurpose::new(&STANDARD, STRICT);
const URL_STRICT: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, STRICT);

/// A multiple of three, so that pieces need no padding but the last.
const PIECE: usize = 48;

fn encode(call: &mut Call<'_>, engine: &GeneralPurpose) -> Result {
    let mut buffer = [0; PIECE / 3 * 4];
    for piece in call.text.chunks(PIECE) {
        let len = engine.encode_slice(piece, &mut buffer).unwrap_or(0);
        call.out.push(buffer.get(..len).unwrap_or_default())?;
    }
    Ok(Output::Appended)
}

pub(super) fn base64(call: &mut Call<'_>) -> Result {
    encode(call, &PLAIN)
}

pub(super) fn base64t(call: &mut Call<'_>) -> Result {
    encode(call, &PLAIN_BARE)
}

pub(super) fn base64url(call: &mut Call<'_>) -> Result {
    encode(call, &URL)
}

pub(super) fn base64urlt(call: &mut Call<'_>) -> Result {
    encode(call, &URL_BARE)
}

/// What is not of the alphabet yields `$null`; Kamailio takes it for bits at times.
fn decode(call: &mut Call<'_>, engine: &GeneralPurpose) -> Result {
    let mut buffer = [0; PIECE];
    let mut pieces = call.text.chunks(PIECE / 3 * 4).peekable();
    while let Some(piece) = pieces.next() {
        let Ok(len) = engine.decode_slice(piece, &mut buffer) else {
            return Ok(Output::Null);
        };
        // Padding ends the value.
        if len < PIECE && pieces.peek().is_some() {
            return Ok(Output::Null);
        }
        call.out.push(buffer.get(..len).unwrap_or_default())?;
    }
    Ok(Output::Appended)
}

/// Kamailio takes the two letters of the URL alphabet here as well.
fn is_url(text: &[u8]) -> bool {
    memchr::memchr2(b'-', b'_', text).is_some()
}

pub(super) fn unbase64(call: &mut Call<'_>) -> Result {
    if is_url(call.text) {
        decode(call, &URL_STRICT)
    } else {
        decode(call, &PLAIN_STRICT)
    }
}

pub(super) fn unbase64t(call: &mut Call<'_>) -> Result {
    if is_url(call.text) {
        decode(call, &URL)
    } else {
        decode(call, &PLAIN)
    }
}

pub(super) fn unbase64url(call: &mut Call<'_>) -> Result {
    if call.text.is_empty() {
        return Ok(Output::Null);
    }
    decode(call, &URL)
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The longest input of the base58 functions: their work grows with its square.
const MAX_BASE58: usize = 1024;

pub(super) fn base58(call: &mut Call<'_>) -> Result {
    convert(call, 256, 58, Some)?;
    for byte in call.out.bytes_mut() {
        *byte = BASE58.get(usize::from(*byte)).copied().unwrap_or(b'1');
    }
    Ok(Output::Appended)
}

/// Kamailio 5.6.3 adds a NUL byte.
pub(super) fn unbase58(call: &mut Call<'_>) -> Result {
    let value = |byte| {
        let at = BASE58.iter().position(|digit| *digit == byte)?;
        u8::try_from(at).ok()
    };
    convert(call, 58, 256, value)
}

/// Rewrites a number in another base, digit by digit; zeros at its start stay as many as they were.
fn convert(call: &mut Call<'_>, from: u32, to: u32, value: impl Fn(u8) -> Option<u8>) -> Result {
    const { assert!(MAX_BASE58 * 2 <= MAX_OUTPUT) };
    if call.text.len() > MAX_BASE58 {
        return Err(Error::TooLong);
    }
    let out: &mut Sink<'_> = &mut call.out;
    let mut zeros = 0;
    for byte in call.text {
        let Some(value) = value(*byte) else {
            return Ok(Output::Null);
        };
        if value == 0 && out.bytes().is_empty() {
            zeros += 1;
            continue;
        }
        let mut carry = u32::from(value);
        for digit in out.bytes_mut() {
            carry += u32::from(*digit) * from;
            *digit = (carry % to) as u8;
            carry /= to;
        }
        while carry > 0 {
            out.byte((carry % to) as u8)?;
            carry /= to;
        }
    }
    for _ in 0..zeros {
        out.byte(0)?;
    }
    out.bytes_mut().reverse();
    Ok(Output::Appended)
}
