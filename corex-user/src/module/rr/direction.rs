//! Which way a request goes, by the Route that we once recorded.

use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};

/// What is wrong with a literal direction.
pub(super) fn check(text: &[u8]) -> Result<(), String> {
    match is_upstream(text) {
        Some(_) => Ok(()),
        None => Err("expected \"downstream\" or \"upstream\"".to_owned()),
    }
}

fn is_upstream(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"upstream") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"downstream") {
        Some(false)
    } else {
        None
    }
}

pub(super) fn is_direction(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let wanted = exec.arg_str(args, 0)?;
    let Some(wanted) = is_upstream(exec.bytes(wanted)) else {
        exec.complain(format_args!(
            "is_direction(): expected downstream or upstream"
        ));
        return Ok(-1);
    };
    if !exec.program.settings().record_route.append_fromtag {
        exec.complain(format_args!("is_direction() needs append_fromtag"));
        return Ok(-1);
    }
    Ok(if exec.is_upstream() == wanted { 1 } else { -1 })
}

pub(super) fn check_parameters(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let Some(Arg::Pattern(pattern)) = args.first() else {
        return Ok(-1);
    };
    let Some(parameters) = exec.own_route_parameters().filter(|text| !text.is_empty()) else {
        return Ok(-1);
    };
    let parameters = parameters.to_vec();
    let found = exec.with_regex(pattern, |regex, _| regex.is_match(&parameters))?;
    Ok(if found == Some(true) { 1 } else { -1 })
}
