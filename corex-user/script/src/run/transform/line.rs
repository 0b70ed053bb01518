//! `{line.*}`: lines of a text.

use super::call::{Call, place};
use super::{Error, Output};

type Result = std::result::Result<Output, Error>;

/// The lines without their ends. A line end at the end of the text begins no further line.
/// `None` for an empty text.
fn lines(text: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    if text.is_empty() {
        return None;
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    Some(
        body.split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line)),
    )
}

/// A string, as in Kamailio.
pub(super) fn count(call: &mut Call<'_>) -> Result {
    let Some(lines) = lines(call.text) else {
        return Ok(Output::Null);
    };
    call.out
        .number(i64::try_from(lines.count()).unwrap_or(i64::MAX))?;
    Ok(Output::Appended)
}

/// Empty where there is no such line. Counted from the end, Kamailio 5.6.3 takes an empty line
/// together with the one before it.
pub(super) fn at(call: &mut Call<'_>) -> Result {
    let index = call.integer(0)?;
    let (Some(all), Some(mut found)) = (lines(call.text), lines(call.text)) else {
        return Ok(Output::Null);
    };
    let line = place(index, all.count()).and_then(|place| found.nth(place));
    Ok(call.part(line.unwrap_or_default()))
}

pub(super) fn starts_with(call: &mut Call<'_>) -> Result {
    let start = call.argument(0)?;
    let Some(mut lines) = lines(call.text) else {
        return Ok(Output::Null);
    };
    let line = lines.find(|line| line.starts_with(start.bytes()));
    Ok(call.part(line.unwrap_or_default()))
}
