//! Strings that are compared.

use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};

fn truth(holds: bool) -> Result<i64, Halt> {
    Ok(if holds { 1 } else { -1 })
}

/// Compares two arguments.
fn compare(exec: &mut Exec<'_>, args: &[Arg], with: fn(&[u8], &[u8]) -> bool) -> Result<i64, Halt> {
    let a = exec.arg_str(args, 0)?;
    let b = exec.arg_str(args, 1)?;
    truth(with(exec.bytes(a), exec.bytes(b)))
}

pub(super) fn equal(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    compare(exec, args, |a, b| a == b)
}

pub(super) fn equal_ignoring_case(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    compare(exec, args, <[u8]>::eq_ignore_ascii_case)
}

pub(super) fn starts_with(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    compare(exec, args, |text, start| text.starts_with(start))
}

pub(super) fn in_list(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let subject = exec.arg_str(args, 0)?;
    let list = exec.arg_str(args, 1)?;
    let separator = exec.arg_str(args, 2)?;
    let Some(separator) = exec.bytes(separator).first().copied() else {
        return Ok(-1);
    };
    let subject = exec.bytes(subject).trim_ascii();
    let mut elements = exec.bytes(list).split(|byte| *byte == separator);
    truth(elements.any(|element| element.trim_ascii() == subject))
}

pub(super) fn is_method(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let list = exec.arg_str(args, 0)?;
    let method = exec
        .view
        .and_then(|view| view.method().or_else(|| Some(view.cseq()?.method)));
    let Some(method) = method else {
        return Ok(-1);
    };
    let mut methods = exec.bytes(list).split(|byte| *byte == b'|');
    truth(methods.any(|one| one.trim_ascii().eq_ignore_ascii_case(method)))
}
