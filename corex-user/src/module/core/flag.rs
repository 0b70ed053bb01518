//! Flags of the message, and of the request URI's branch.

use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};

/// Calls `with` with the bit of the flag; false for a number that is none.
fn with_flag(
    exec: &mut Exec<'_>,
    args: &[Arg],
    with: impl FnOnce(&mut Exec<'_>, u32) -> bool,
) -> Result<i64, Halt> {
    let flag = exec.arg_int(args, 0)?;
    let bit = u32::try_from(flag)
        .ok()
        .and_then(|flag| 1u32.checked_shl(flag));
    let Some(bit) = bit else {
        exec.complain(format_args!("flags are 0 to 31, not {flag}"));
        return Ok(-1);
    };
    Ok(if with(exec, bit) { 1 } else { -1 })
}

pub(super) fn set(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |exec, bit| {
        exec.changes.flags |= bit;
        true
    })
}

pub(super) fn reset(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |exec, bit| {
        exec.changes.flags &= !bit;
        true
    })
}

pub(super) fn is_set(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |exec, bit| exec.changes.flags & bit != 0)
}

pub(super) fn set_branch(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |exec, bit| {
        exec.changes.branch_flags |= bit;
        true
    })
}

pub(super) fn reset_branch(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |exec, bit| {
        exec.changes.branch_flags &= !bit;
        true
    })
}

pub(super) fn is_set_branch(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_flag(exec, args, |exec, bit| exec.changes.branch_flags & bit != 0)
}
