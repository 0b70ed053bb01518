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

/// Calls `with` with the flags of the branch that the second argument names, the request URI's without
/// one, and the bit of the flag; false for a branch that isn't there.
fn with_branch_flag(
    exec: &mut Exec<'_>,
    args: &[Arg],
    with: fn(&mut u32, u32) -> bool,
) -> Result<i64, Halt> {
    let branch = exec.arg_int(args, 1)?;
    with_flag(exec, args, |exec, bit| {
        let changes = &mut exec.changes;
        let flags = match usize::try_from(branch) {
            Ok(0) => Some(&mut changes.branch_flags),
            Ok(at) => changes
                .branches
                .get_mut(at - 1)
                .map(|branch| &mut branch.flags),
            Err(_) => None,
        };
        flags.is_some_and(|flags| with(flags, bit))
    })
}

pub(super) fn set_branch(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_branch_flag(exec, args, |flags, bit| {
        *flags |= bit;
        true
    })
}

pub(super) fn reset_branch(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_branch_flag(exec, args, |flags, bit| {
        *flags &= !bit;
        true
    })
}

pub(super) fn is_set_branch(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    with_branch_flag(exec, args, |flags, bit| *flags & bit != 0)
}
