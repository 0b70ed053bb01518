//! `{param.*}`: lists of parameters.
//!
//! It isn't [`corex_sip::Params`], which reads what peers send as generously as it can: a script
//! that takes a list apart by place sees every element here, and a list with anything wrong in it
//! has no elements at all, as in Kamailio.

use super::call::Call;
use super::{Error, Output};

type Result = std::result::Result<Output, Error>;

/// A parameter; the value without its quotes, empty where there is none.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Reads a list of which one byte separates the elements. A comma ends it, since it separates
/// header values.
pub(super) struct List<'a> {
    /// `None` at the end.
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> List<'a> {
    /// One separator at the end counts for nothing. `None` if that leaves nothing, or if the list
    /// is malformed.
    pub fn parse(text: &'a [u8], separator: u8) -> Option<List<'a>> {
        let text = match text {
            [rest @ .., last] if *last == separator => rest,
            text => text,
        };
        let list = || List {
            rest: (!text.is_empty()).then_some(text),
            separator,
        };
        list().rest?;
        let mut check = list();
        while check.rest.is_some() {
            check.item()?;
        }
        Some(list())
    }

    /// The element at the start, which leaves the rest; `None` if it is malformed.
    fn item(&mut self) -> Option<Item<'a>> {
        let text = self.rest?;
        let separator = self.separator;
        let ends = |byte: u8| byte == separator || byte == b',' || is_space(byte);
        let (name, rest) = split(text, |byte| byte == b'=' || ends(byte));
        let mut rest = skip_spaces(rest);
        let mut value: &[u8] = &[];
        if let [b'=', tail @ ..] = rest {
            rest = skip_spaces(tail);
            if let [quote @ (b'"' | b'\''), tail @ ..] = rest {
                let (inner, after) = split(tail, |byte| byte == *quote);
                value = inner;
                rest = after.get(1..)?;
            } else {
                (value, rest) = split(rest, ends);
                if value.is_empty() && !rest.is_empty() {
                    return None;
                }
            }
        }
        self.rest = match skip_spaces(rest) {
            [] | [b',', ..] => None,
            [byte, tail @ ..] if *byte == separator => {
                let tail = skip_spaces(tail);
                (!tail.is_empty()).then_some(Some(tail))?
            }
            _ => return None,
        };
        Some(Item { name, value })
    }
}

impl<'a> Iterator for List<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        self.item()
    }
}

fn split(text: &[u8], stop: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = text.iter().position(|byte| stop(*byte));
    text.split_at(at.unwrap_or(text.len()))
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    split(text, |byte| !is_space(byte)).1
}

/// The value of the last parameter of this name, in any case: as in Kamailio, where a later one
/// hides those before it.
pub(super) fn find<'a>(list: List<'a>, name: &[u8]) -> Option<&'a [u8]> {
    list.filter(|item| item.name.eq_ignore_ascii_case(name))
        .last()
        .map(|item| item.value)
}

/// The list, by the separator that is the argument at `at`.
fn list<'a>(call: &Call<'a>, at: usize) -> std::result::Result<Option<List<'a>>, Error> {
    let separator = call.sign(at)?.unwrap_or(b';');
    Ok(List::parse(call.text, separator))
}

/// The element at the place that the first argument gives.
fn at<'a>(
    call: &Call<'a>,
    part: impl Fn(Item<'a>) -> &'a [u8],
) -> std::result::Result<Option<&'a [u8]>, Error> {
    let index = call.integer(0)?;
    let Some(items) = list(call, 1)? else {
        return Ok(None);
    };
    let place = match list(call, 1)? {
        Some(all) if index < 0 => super::call::place(index, all.count()),
        _ => usize::try_from(index).ok(),
    };
    let mut items = items;
    let item = place.and_then(|place| items.nth(place));
    Ok(Some(item.map(part).unwrap_or_default()))
}

fn part_or_null(call: &Call<'_>, part: Option<&[u8]>) -> Result {
    Ok(part.map_or(Output::Null, |part| call.part(part)))
}

pub(super) fn value(call: &mut Call<'_>) -> Result {
    let name = call.argument(0)?;
    let Some(list) = list(call, 1)? else {
        return Ok(Output::Null);
    };
    Ok(call.part(find(list, name.bytes()).unwrap_or_default()))
}

pub(super) fn is_in(call: &mut Call<'_>) -> Result {
    let name = call.argument(0)?;
    let Some(list) = list(call, 1)? else {
        return Ok(Output::Null);
    };
    Ok(Output::Int(find(list, name.bytes()).is_some().into()))
}

pub(super) fn value_at(call: &mut Call<'_>) -> Result {
    let part = at(call, |item| item.value)?;
    part_or_null(call, part)
}

pub(super) fn name(call: &mut Call<'_>) -> Result {
    let part = at(call, |item| item.name)?;
    part_or_null(call, part)
}

pub(super) fn count(call: &mut Call<'_>) -> Result {
    let count = list(call, 0)?.map(Iterator::count);
    Ok(count
        .and_then(|count| i64::try_from(count).ok())
        .map_or(Output::Null, Output::Int))
}
