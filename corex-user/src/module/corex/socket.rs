//! The listen socket to send from: set_send_socket() and its like.

use crate::module::core::force_socket;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};

pub(super) fn set(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    force_socket(exec, args)
}

pub(super) fn set_by_name(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    // What is an address here is a name there.
    match is_name(exec, args)? {
        1 => force_socket(exec, args),
        none => Ok(none),
    }
}

pub(super) fn is_name(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let wanted = exec.arg_str(args, 0)?;
    let wanted = exec.bytes(wanted);
    let mut names = exec.program.settings().listen.iter();
    let found = names.any(|listen| {
        let name = listen.name.as_deref();
        name.is_some_and(|name| name.as_bytes() == wanted)
    });
    Ok(if found { 1 } else { -1 })
}
