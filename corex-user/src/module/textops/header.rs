//! Headers, added and removed.

use jiff::Timestamp;

use crate::module::place::place;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_sip::{Header, SipView};

/// Header lines as the script gives them, with a line break at the end.
fn lines(text: &[u8]) -> Vec<u8> {
    let mut lines = text.to_vec();
    if !lines.ends_with(b"\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

/// Puts lines where `at` says: it is given the header that the script names.
fn add(
    exec: &mut Exec<'_>,
    args: &[Arg],
    at: fn(&SipView<'_>, Option<Header<'_>>) -> usize,
) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    let name = exec.arg_str(args, 1)?;
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let text = exec.bytes(text);
    if text.is_empty() {
        return Ok(-1);
    }
    let lines = lines(text);
    let header = match exec.bytes(name) {
        [] => None,
        name => view.header(name),
    };
    exec.changes.edits.insert(at(view, header), &lines);
    Ok(1)
}

pub(super) fn append(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    add(exec, args, |view, header| match header {
        Some(header) => place(view, header.raw).end,
        None => view.end_of_headers(),
    })
}

pub(super) fn insert(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    add(exec, args, |view, header| {
        match header.or_else(|| view.headers().next()) {
            Some(header) => place(view, header.raw).start,
            None => view.end_of_headers(),
        }
    })
}

pub(super) fn append_to_reply(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    let lines = lines(exec.bytes(text));
    exec.changes.reply_headers.extend_from_slice(&lines);
    Ok(1)
}

pub(super) fn append_time(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let date = Timestamp::now().strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n");
    let date = date.to_string();
    exec.changes
        .reply_headers
        .extend_from_slice(date.as_bytes());
    Ok(1)
}

pub(super) fn is_present(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let name = exec.arg_str(args, 0)?;
    let found = exec
        .view
        .is_some_and(|view| view.header(exec.bytes(name)).is_some());
    Ok(if found { 1 } else { -1 })
}

pub(super) fn remove(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let name = exec.arg_str(args, 0)?;
    let name = exec.bytes(name).to_vec();
    Ok(remove_all(exec, |header| header.is(&name)))
}

fn remove_all(exec: &mut Exec<'_>, mut wanted: impl FnMut(&Header<'_>) -> bool) -> i64 {
    let Some(view) = exec.view else {
        return -1;
    };
    let mut found = false;
    for header in view.headers().filter(|header| wanted(header)) {
        exec.changes.edits.delete(place(view, header.raw));
        found = true;
    }
    if found { 1 } else { -1 }
}

/// The names of all headers that match a pattern.
fn matching(exec: &mut Exec<'_>, args: &[Arg]) -> Result<Vec<Vec<u8>>, Halt> {
    let (Some(view), Some(Arg::Pattern(pattern))) = (exec.view, args.first()) else {
        return Ok(Vec::new());
    };
    let names: Vec<Vec<u8>> = view.headers().map(|header| header.name.to_vec()).collect();
    exec.with_regex(pattern, |regex, _| {
        let mut names = names;
        names.retain(|name| regex.is_match(name));
        names
    })
    .map(Option::unwrap_or_default)
}

pub(super) fn remove_matching(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let names = matching(exec, args)?;
    Ok(remove_all(exec, |header| {
        names.iter().any(|name| header.name == name.as_slice())
    }))
}

pub(super) fn is_present_matching(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let names = matching(exec, args)?;
    Ok(if names.is_empty() { -1 } else { 1 })
}
