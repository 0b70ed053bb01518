//! `{s.*}`: measuring, cutting and replacing.

use super::call::{Call, length, place};
use super::{Error, Output};

type Result = std::result::Result<Output, Error>;

/// Whether Kamailio counts it as white space around a value.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(super) fn len(call: &mut Call<'_>) -> Result {
    Ok(Output::Int(
        i64::try_from(call.text.len()).unwrap_or(i64::MAX),
    ))
}

/// A sign and decimal digits, nothing else; no digits at all are 0. Kamailio's integers have 32
/// bits, so it yields `$null` beyond them; ours have 64.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    digits.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        let number = number.checked_mul(10)?;
        if negative {
            number.checked_sub(digit)
        } else {
            number.checked_add(digit)
        }
    })
}

pub(super) fn int(call: &mut Call<'_>) -> Result {
    Ok(integer(call.text).map_or(Output::Null, Output::Int))
}

pub(super) fn substr(call: &mut Call<'_>) -> Result {
    let (offset, count) = (call.integer(0)?, call.integer(1)?);
    let (Some(start), Some(count)) = (place(offset, call.text.len()), length(count)) else {
        return Ok(Output::Null);
    };
    let end = match count {
        0 => call.text.len(),
        count => start.saturating_add(count).min(call.text.len()),
    };
    Ok(Output::Part(start..end))
}

pub(super) fn select(call: &mut Call<'_>) -> Result {
    let index = call.integer(0)?;
    let Some(separator) = call.sign(1)? else {
        return Ok(Output::Null);
    };
    let mut fields = call.text.split(|byte| *byte == separator);
    let field = match usize::try_from(index) {
        Ok(index) => fields.nth(index),
        // -1 is the last one.
        Err(_) => usize::try_from(!index)
            .ok()
            .and_then(|index| fields.nth_back(index)),
    };
    Ok(call.part(field.unwrap_or_default()))
}

pub(super) fn strip(call: &mut Call<'_>) -> Result {
    let count = length(call.integer(0)?).unwrap_or(0);
    let len = call.text.len();
    Ok(Output::Part(count.min(len)..len))
}

pub(super) fn striptail(call: &mut Call<'_>) -> Result {
    let count = length(call.integer(0)?).unwrap_or(0);
    Ok(Output::Part(0..call.text.len().saturating_sub(count)))
}

pub(super) fn stripto(call: &mut Call<'_>) -> Result {
    let at = find(call, false)?;
    let len = call.text.len();
    Ok(Output::Part(at.unwrap_or(len)..len))
}

pub(super) fn prefixes(call: &mut Call<'_>) -> Result {
    list_prefixes(call, b"")
}

pub(super) fn prefixes_quoted(call: &mut Call<'_>) -> Result {
    list_prefixes(call, b"'")
}

fn list_prefixes(call: &mut Call<'_>, quote: &[u8]) -> Result {
    let len = call.text.len();
    let most = match length(call.integer_or(0, 0)?) {
        None | Some(0) => len,
        Some(most) => most.min(len),
    };
    for end in 1..=most {
        if end > 1 {
            call.out.byte(b',')?;
        }
        call.out.push(quote)?;
        call.out.push(call.text.get(..end).unwrap_or_default())?;
        call.out.push(quote)?;
    }
    Ok(Output::Appended)
}

/// Copies what `keep` accepts; nothing is copied if that is all.
fn filter(call: &mut Call<'_>, keep: impl Fn(&u8) -> bool) -> Result {
    if call.text.iter().all(&keep) {
        return Ok(call.whole());
    }
    for run in call.text.split(|byte| !keep(byte)) {
        call.out.push(run)?;
    }
    Ok(Output::Appended)
}

pub(super) fn numeric(call: &mut Call<'_>) -> Result {
    filter(call, u8::is_ascii_digit)
}

pub(super) fn rmws(call: &mut Call<'_>) -> Result {
    filter(call, |byte| !is_space(byte))
}

pub(super) fn tolower(call: &mut Call<'_>) -> Result {
    if !call.text.iter().any(u8::is_ascii_uppercase) {
        return Ok(call.whole());
    }
    call.out.push(call.text)?;
    call.out.bytes_mut().make_ascii_lowercase();
    Ok(Output::Appended)
}

pub(super) fn toupper(call: &mut Call<'_>) -> Result {
    if !call.text.iter().any(u8::is_ascii_lowercase) {
        return Ok(call.whole());
    }
    call.out.push(call.text)?;
    call.out.bytes_mut().make_ascii_uppercase();
    Ok(Output::Appended)
}

pub(super) fn trim(call: &mut Call<'_>) -> Result {
    Ok(call.part(trim_left(trim_right(call.text))))
}

pub(super) fn ltrim(call: &mut Call<'_>) -> Result {
    Ok(call.part(trim_left(call.text)))
}

pub(super) fn rtrim(call: &mut Call<'_>) -> Result {
    Ok(call.part(trim_right(call.text)))
}

fn trim_left(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(first)
    {
        text = rest;
    }
    text
}

fn trim_right(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_space(last)
    {
        text = rest;
    }
    text
}

pub(super) fn replace(call: &mut Call<'_>) -> Result {
    let (from, to) = (call.argument(0)?, call.argument(1)?);
    exchange(call, from.bytes(), to.bytes())
}

pub(super) fn rm(call: &mut Call<'_>) -> Result {
    let from = call.argument(0)?;
    exchange(call, from.bytes(), b"")
}

/// All of `from`, from left to right, by `to`. The empty string is found nowhere.
fn exchange(call: &mut Call<'_>, from: &[u8], to: &[u8]) -> Result {
    let finder = memchr::memmem::Finder::new(from);
    let mut places = finder.find_iter(call.text).peekable();
    if from.is_empty() || places.peek().is_none() {
        return Ok(call.whole());
    }
    let mut done = 0;
    for place in places {
        call.out
            .push(call.text.get(done..place).unwrap_or_default())?;
        call.out.push(to)?;
        done = place + from.len();
    }
    call.out.push(call.text.get(done..).unwrap_or_default())?;
    Ok(Output::Appended)
}

/// The value without what surrounds it, if `pairs` holds its first and last byte.
fn unwrap(call: &mut Call<'_>, pairs: &[(u8, u8)]) -> Result {
    match call.text {
        [first, inner @ .., last] if pairs.contains(&(*first, *last)) => Ok(call.part(inner)),
        _ => Ok(call.whole()),
    }
}

pub(super) fn unquote(call: &mut Call<'_>) -> Result {
    unwrap(call, &[(b'"', b'"'), (b'\'', b'\'')])
}

pub(super) fn unbracket(call: &mut Call<'_>) -> Result {
    unwrap(
        call,
        &[(b'(', b')'), (b'[', b']'), (b'{', b'}'), (b'<', b'>')],
    )
}

pub(super) fn count(call: &mut Call<'_>) -> Result {
    let count = match call.sign(0)? {
        Some(sign) => memchr::memchr_iter(sign, call.text).count(),
        None => 0,
    };
    Ok(Output::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Where the argument's first byte is.
fn find(call: &Call<'_>, last: bool) -> std::result::Result<Option<usize>, Error> {
    Ok(call.sign(0)?.and_then(|sign| {
        if last {
            memchr::memrchr(sign, call.text)
        } else {
            memchr::memchr(sign, call.text)
        }
    }))
}

pub(super) fn after(call: &mut Call<'_>) -> Result {
    behind(call, false)
}

/// Kamailio 5.6.3 always yields the empty string; this is what it documents.
pub(super) fn rafter(call: &mut Call<'_>) -> Result {
    behind(call, true)
}

fn behind(call: &mut Call<'_>, last: bool) -> Result {
    let part = match find(call, last)? {
        Some(at) => call.text.get(at + 1..).unwrap_or_default(),
        None => &[],
    };
    Ok(call.part(part))
}

pub(super) fn before(call: &mut Call<'_>) -> Result {
    let end = find(call, false)?.unwrap_or(call.text.len());
    Ok(Output::Part(0..end))
}

/// Kamailio 5.6.3 reads beyond the value's end; this is what it documents.
pub(super) fn rbefore(call: &mut Call<'_>) -> Result {
    let end = find(call, true)?.unwrap_or(call.text.len());
    Ok(Output::Part(0..end))
}

pub(super) fn fmtlines(call: &mut Call<'_>) -> Result {
    lines(call, b' ')
}

pub(super) fn fmtlinet(call: &mut Call<'_>) -> Result {
    lines(call, b'\t')
}

/// Kamailio 5.6.3 puts one character on each of the first lines; this is what it documents.
fn lines(call: &mut Call<'_>, indent: u8) -> Result {
    let (width, depth) = (call.integer(0)?, call.integer(1)?);
    let (Some(width @ 1..), Some(depth)) = (length(width), length(depth)) else {
        return Ok(Output::Null);
    };
    for (at, line) in call.text.chunks(width).enumerate() {
        if at > 0 {
            call.out.push(b"\r\n")?;
            for _ in 0..depth {
                call.out.byte(indent)?;
            }
        }
        call.out.push(line)?;
    }
    Ok(Output::Appended)
}
