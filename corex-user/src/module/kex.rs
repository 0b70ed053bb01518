//! The module `kex`: extensions of Kamailio's core. Most of what it brings is built in here.

use corex_script::function::{
    self, Absent, Function, Handler, Module, Param, ParamKind, Routes, value,
};
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt, Value};

pub(super) static MODULE: Module = Module {
    name: "kex",
    doc: "Extensions of the core: script flags, and text into a variable. What else Kamailio's has, \
          setbflag(), setdsturi(), is_myself() and their like, is built in.",
    functions: FUNCTIONS,
    absent: ABSENT,
    parameters: &[],
    ..Module::NONE
};

const FLAG: Param = value("flag");

const fn function(
    name: &'static str,
    aliases: &'static [&'static str],
    forms: &'static [&'static [Param]],
    handler: Handler,
    doc: &'static str,
) -> Function {
    Function {
        aliases,
        ..function::function(name, forms, Routes::ANY, handler, doc)
    }
}

#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    function("setsflag", &[], &[&[FLAG]], |exec, args| with_flag(exec, args, |flags, bit| { *flags |= bit; true }), "Sets a flag of this run of the script, 0 to 31: no message takes it along."),
    function("resetsflag", &[], &[&[FLAG]], |exec, args| with_flag(exec, args, |flags, bit| { *flags &= !bit; true }), "Resets a flag of this run of the script."),
    function("issflagset", &[], &[&[FLAG]], |exec, args| with_flag(exec, args, |flags, bit| *flags & bit != 0), "Whether a flag of this run of the script is set."),
    function("pv_printf", &["avp_printf"], &[&[Param { name: "variable", kind: ParamKind::Target }, value("text")]], print, "Puts text, with pseudo-variables replaced by their values, into a pseudo-variable."),
];

const LEVEL: &str = "all workers have one log level: `corex rpc corex.debug LEVEL` changes it while corex \
    runs, and xlog() has a level of its own";

const ABSENT: &[Absent] = &[
    Absent {
        name: "setdebug",
        why: LEVEL,
    },
    Absent {
        name: "resetdebug",
        why: LEVEL,
    },
];

fn with_flag(
    exec: &mut Exec<'_>,
    args: &[Arg],
    with: fn(&mut u32, u32) -> bool,
) -> Result<i64, Halt> {
    let flag = exec.arg_int(args, 0)?;
    let bit = u32::try_from(flag)
        .ok()
        .and_then(|flag| 1u32.checked_shl(flag));
    let Some(bit) = bit else {
        exec.complain(format_args!("flags are 0 to 31, not {flag}"));
        return Ok(-1);
    };
    let holds = with(&mut exec.changes.script_flags, bit);
    Ok(if holds { 1 } else { -1 })
}

fn print(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let Some(Arg::Target(target)) = args.first() else {
        return Ok(-1);
    };
    let text = exec.arg_str(args, 1)?;
    exec.assign(target, Value::Str(text))?;
    Ok(1)
}
