//! Text that is searched for, and replaced.

use std::ops::Range;

use crate::module::place::place;
use corex_script::run::Arg;
use corex_script::run::Value;
use corex_script::run::pv::Part;
use corex_script::run::{Exec, Halt};
use corex_sip::SipView;

/// A part of the message.
type Region = fn(&SipView<'_>) -> Range<usize>;

/// Headers and body.
fn behind_start_line(view: &SipView<'_>) -> Range<usize> {
    let message = view.message();
    let start = view
        .headers()
        .next()
        .map_or(message.len(), |header| place(view, header.raw).start);
    start..message.len()
}

fn body(view: &SipView<'_>) -> Range<usize> {
    place(view, view.body())
}

/// The places of matches; of the first alone unless `all`.
fn find(
    exec: &mut Exec<'_>,
    args: &[Arg],
    region: Region,
    all: bool,
) -> Result<Vec<Range<usize>>, Halt> {
    let (Some(view), Some(Arg::Pattern(pattern))) = (exec.view, args.first()) else {
        return Ok(Vec::new());
    };
    let Range { start, end } = region(view);
    let most = if all { usize::MAX } else { 1 };
    let found = exec.with_regex(pattern, |regex, message| {
        let text = message.get(start..end).unwrap_or_default();
        regex
            .find_iter(text)
            .filter(|found| !found.is_empty())
            .take(most)
            .map(|found| start + found.start()..start + found.end())
            .collect()
    })?;
    Ok(found.unwrap_or_default())
}

fn found_in(exec: &mut Exec<'_>, args: &[Arg], region: Region) -> Result<i64, Halt> {
    let found = find(exec, args, region, false)?;
    Ok(if found.is_empty() { -1 } else { 1 })
}

pub(super) fn search(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    found_in(exec, args, behind_start_line)
}

pub(super) fn search_body(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    found_in(exec, args, body)
}

/// Puts text in the place of matches, or behind them.
fn edit(
    exec: &mut Exec<'_>,
    args: &[Arg],
    region: Region,
    all: bool,
    behind: bool,
) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 1)?;
    let text = exec.bytes(text).to_vec();
    let found = find(exec, args, region, all)?;
    for range in &found {
        let range = if behind {
            range.end..range.end
        } else {
            range.clone()
        };
        exec.changes.edits.replace(range, &text);
    }
    Ok(if found.is_empty() { -1 } else { 1 })
}

pub(super) fn search_append(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    edit(exec, args, behind_start_line, false, true)
}

pub(super) fn search_append_body(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    edit(exec, args, body, false, true)
}

pub(super) fn replace(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    edit(exec, args, behind_start_line, false, false)
}

pub(super) fn replace_all(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    edit(exec, args, behind_start_line, true, false)
}

pub(super) fn replace_body(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    edit(exec, args, body, false, false)
}

pub(super) fn replace_body_all(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    edit(exec, args, body, true, false)
}

/// Makes the changes of a substitution in parts of the message.
fn substitute(
    exec: &mut Exec<'_>,
    arg: Option<&Arg>,
    regions: &[Range<usize>],
) -> Result<i64, Halt> {
    let Some(Arg::Substitution(transform)) = arg else {
        return Ok(-1);
    };
    let mut found = Vec::new();
    for region in regions {
        let text = exec.message.get(region.clone()).unwrap_or_default();
        exec.substitutions(transform, text, |range, replacement| {
            let range = region.start + range.start..region.start + range.end;
            found.push((range, replacement.to_vec()));
        })?;
    }
    for (range, replacement) in &found {
        exec.changes.edits.replace(range.clone(), replacement);
    }
    Ok(if found.is_empty() { -1 } else { 1 })
}

fn substitute_in(exec: &mut Exec<'_>, args: &[Arg], region: Region) -> Result<i64, Halt> {
    match exec.view {
        Some(view) => substitute(exec, args.first(), &[region(view)]),
        None => Ok(-1),
    }
}

pub(super) fn subst(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    substitute_in(exec, args, behind_start_line)
}

pub(super) fn subst_body(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    substitute_in(exec, args, body)
}

pub(super) fn subst_header(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let name = exec.arg_str(args, 0)?;
    let which = exec.arg_str(args, 2)?;
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let mut regions: Vec<_> = view
        .headers_named(exec.bytes(name))
        .map(|header| place(view, header.value))
        .collect();
    match exec.bytes(which) {
        b"f" => regions.truncate(1),
        b"l" => regions = regions.pop().into_iter().collect(),
        _ => {}
    }
    substitute(exec, args.get(1), &regions)
}

/// A value with a substitution made in it; `None` if nothing matched.
fn substituted(exec: &mut Exec<'_>, args: &[Arg], value: Value) -> Result<Option<Value>, Halt> {
    let (Some(Arg::Substitution(transform)), Value::Str(string)) = (args.first(), value) else {
        return Ok(None);
    };
    let text = exec.bytes(string).to_vec();
    let mut out = Vec::new();
    let mut done = 0;
    exec.substitutions(transform, &text, |range, replacement| {
        out.extend_from_slice(text.get(done..range.start).unwrap_or_default());
        out.extend_from_slice(replacement);
        done = range.end;
    })?;
    if done == 0 {
        return Ok(None);
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    exec.text(&out).map(Some)
}

pub(super) fn subst_uri(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let uri = exec.request_uri().map_or(Value::Null, Value::Str);
    match substituted(exec, args, uri)? {
        Some(value) => {
            exec.changes.request_uri = exec.lasting(value)?;
            Ok(1)
        }
        None => Ok(-1),
    }
}

pub(super) fn subst_user(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let user = exec.request_user();
    match substituted(exec, args, user)? {
        Some(value) => Ok(if exec.replace_part(Part::User, value)? {
            1
        } else {
            -1
        }),
        None => Ok(-1),
    }
}
