//! `{s.escape.*}`, `{s.unescape.*}`, `{s.urlencode.param}` and `{s.urldecode.param}`.

use super::call::{Call, Sink};
use super::encode::pair;
use super::{Error, Output};

type Result = std::result::Result<Output, Error>;

/// Puts a backslash before quotes and backslashes, and writes NUL as `\0`.
pub(super) fn push_common(out: &mut Sink<'_>, text: &[u8]) -> std::result::Result<(), Error> {
    for byte in text {
        match byte {
            b'\'' | b'"' | b'\\' => out.push(&[b'\\', *byte])?,
            0 => out.push(b"\\0")?,
            byte => out.byte(*byte)?,
        }
    }
    Ok(())
}

pub(super) fn common(call: &mut Call<'_>) -> Result {
    push_common(&mut call.out, call.text)?;
    Ok(Output::Appended)
}

pub(super) fn uncommon(call: &mut Call<'_>) -> Result {
    if memchr::memchr(b'\\', call.text).is_none() {
        return Ok(call.whole());
    }
    let mut rest = call.text;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'\\', [next @ (b'\'' | b'"' | b'\\'), tail @ ..]) => (*next, tail),
            (b'\\', [b'0', tail @ ..]) => (0, tail),
            _ => (*first, tail),
        };
        call.out.byte(byte)?;
        rest = tail;
    }
    Ok(Output::Appended)
}

/// RFC 4180: in double quotes, those inside doubled.
pub(super) fn csv(call: &mut Call<'_>) -> Result {
    call.out.byte(b'"')?;
    for byte in call.text {
        if *byte == b'"' {
            call.out.byte(b'"')?;
        }
        call.out.byte(*byte)?;
    }
    call.out.byte(b'"')?;
    Ok(Output::Appended)
}

/// `%xx` for what `escaped` accepts.
fn percent(call: &mut Call<'_>, escaped: impl Fn(u8) -> bool) -> Result {
    if !call.text.iter().any(|byte| escaped(*byte)) {
        return Ok(call.whole());
    }
    for byte in call.text {
        if escaped(*byte) {
            call.out.byte(b'%')?;
            call.out.hexa(*byte, b"0123456789abcdef")?;
        } else {
            call.out.byte(*byte)?;
        }
    }
    Ok(Output::Appended)
}

/// Whether Kamailio escapes it neither in a user nor in a parameter, but refuses it.
fn is_refused(byte: &u8) -> bool {
    !matches!(byte, b' '..=b'~')
}

/// Unreserved and user-unreserved characters of RFC 3261 §25.1 stay.
pub(super) fn user(call: &mut Call<'_>) -> Result {
    if call.text.iter().any(is_refused) {
        return Ok(Output::Null);
    }
    percent(call, |byte| {
        matches!(
            byte,
            b' ' | b'"' | b'#' | b'%' | b'/' | b':' | b'<' | b'>' | b'@' | b'`'
        ) || matches!(byte, b'['..=b'^' | b'{'..=b'}')
    })
}

/// Unreserved and param-unreserved characters of RFC 3261 §25.1 stay, and `$`.
pub(super) fn param(call: &mut Call<'_>) -> Result {
    if call.text.iter().any(is_refused) {
        return Ok(Output::Null);
    }
    percent(call, |byte| {
        matches!(byte, b' ' | b'"' | b'#' | b'%' | b',' | b'\\' | b'^' | b'`')
            || matches!(byte, b';'..=b'@' | b'{'..=b'}')
    })
}

/// Kamailio has the one function for both: what yields a control character or a byte beyond
/// ASCII is refused.
pub(super) fn unescape(call: &mut Call<'_>) -> Result {
    if memchr::memchr(b'%', call.text).is_none() {
        return Ok(call.whole());
    }
    let mut rest = call.text;
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            call.out.byte(*first)?;
            rest = tail;
            continue;
        }
        match tail.get(..2).and_then(pair) {
            Some(byte) if !is_refused(&byte) => call.out.byte(byte)?,
            _ => return Ok(Output::Null),
        }
        rest = tail.get(2..).unwrap_or_default();
    }
    Ok(Output::Appended)
}

/// Unreserved characters of RFC 3986 §2.3 stay.
pub(super) fn urlencode(call: &mut Call<'_>) -> Result {
    percent(call, |byte| {
        !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
    })
}

/// A `+` is a space. A `%` with fewer than two characters after it is left out, as in Kamailio;
/// where they are no digits the value is `$null`, where Kamailio makes something up.
pub(super) fn urldecode(call: &mut Call<'_>) -> Result {
    let mut rest = call.text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => call.out.byte(b' ')?,
            b'%' => {
                if let Some(digits) = tail.get(..2) {
                    let Some(byte) = pair(digits) else {
                        return Ok(Output::Null);
                    };
                    call.out.byte(byte)?;
                    rest = tail.get(2..).unwrap_or_default();
                }
            }
            byte => call.out.byte(*byte)?,
        }
    }
    Ok(Output::Appended)
}
