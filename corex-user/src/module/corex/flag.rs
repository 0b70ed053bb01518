//! Internal and extended message flags: msg_iflag_set(), setxflag() and their like.

use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};

/// The flags' names; the index is the bit.
const NAMES: [&str; 3] = ["USE_UAC_FROM", "USE_UAC_TO", "UAC_AUTH"];

fn bit(name: &[u8]) -> Option<u32> {
    let at = NAMES.iter().position(|known| known.as_bytes() == name)?;
    Some(1 << at)
}

/// What is wrong with a literal name.
pub(super) fn check(name: &[u8]) -> Result<(), String> {
    match bit(name) {
        Some(_) => Ok(()),
        None => Err(format!("expected {}", NAMES.join(", "))),
    }
}

/// Calls `with` with all flags and the bit of the one named; false for an unknown name.
fn with_flag(
    exec: &mut Exec<'_>,
    args: &[Arg],
    with: fn(&mut u32, u32) -> bool,
) -> Result<i64, Halt> {
    let name = exec.arg_str(args, 0)?;
    let Some(bit) = bit(exec.bytes(name)) else {
        let name = exec.bytes(name).escape_ascii().to_string();
        exec.complain(format_args!("there is no internal flag `{name}`"));
        return Ok(-1);
    };
    let holds = with(&mut exec.changes.internal_flags, bit);
    Ok(if holds { 1 } else { -1 })
}

pub(super) fn set(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |flags, bit| {
        *flags |= bit;
        true
    })
}

pub(super) fn reset(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |flags, bit| {
        *flags &= !bit;
        true
    })
}

pub(super) fn is_set(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |flags, bit| *flags & bit != 0)
}

/// Calls `with` with the extended flags and the bit of the one given; false for a number that is
/// none.
fn with_extended(
    exec: &mut Exec<'_>,
    args: &[Arg],
    with: fn(&mut u64, u64) -> bool,
) -> Result<i64, Halt> {
    let flag = exec.arg_int(args, 0)?;
    let bit = u32::try_from(flag)
        .ok()
        .and_then(|flag| 1u64.checked_shl(flag));
    let Some(bit) = bit else {
        exec.complain(format_args!("extended flags are 0 to 63, not {flag}"));
        return Ok(-1);
    };
    let holds = with(&mut exec.changes.extended_flags, bit);
    Ok(if holds { 1 } else { -1 })
}

pub(super) fn set_extended(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_extended(exec, args, |flags, bit| {
        *flags |= bit;
        true
    })
}

pub(super) fn reset_extended(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_extended(exec, args, |flags, bit| {
        *flags &= !bit;
        true
    })
}

pub(super) fn is_set_extended(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_extended(exec, args, |flags, bit| *flags & bit != 0)
}
