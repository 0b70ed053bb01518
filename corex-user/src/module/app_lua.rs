//! The module `app_lua`: scripts in Lua, run by `hook::lua`.

use crate::hook::lua::{self, Call};
use corex_script::function::LanguageLoader;
use corex_script::function::{Function, Module, Param, Parameter, ParameterKind, Routes, value};
use corex_script::latency::Kind;
use corex_script::run::Arg;
use corex_script::run::StrRef;
use corex_script::run::{Exec, Halt};

pub(super) static MODULE: Module = Module {
    name: "app_lua",
    doc: "Scripts in Lua 5.1 (LuaJIT, interpreted), one state for each worker. They find \
          KSR: KSR.pv, KSR.hdr, KSR.x, KSR.log() and its like, and KSR.module.function() for \
          every function here; the older sr; of the standard library string, table, math, bit, \
          coroutine, pcall, load, require and dofile in the script's folder, and os.time, \
          os.date, os.clock, os.difftime and os.getenv. What can block a worker or leave the \
          process isn't there: io but for io.write, which logs as print does, os.execute, \
          os.exit, C libraries, ffi, debug but for debug.traceback, bytecode.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    language: Some(LanguageLoader {
        load: lua::load,
        starts_processes: false,
    }),
    ..Module::NONE
};

const FUNCTION: Param = value("function");

const FUNCTIONS: &[Function] = &[
    Function {
        name: "lua_run",
        aliases: &[],
        forms: &[
            &[FUNCTION],
            &[FUNCTION, value("p1")],
            &[FUNCTION, value("p1"), value("p2")],
            &[FUNCTION, value("p1"), value("p2"), value("p3")],
        ],
        routes: Routes::ANY,
        doc: "Calls a global function of the scripts, with strings. 1, whatever it returns; -1 \
              if there is none, it fails or runs into a bound: then its AVPs are undone and the \
              message goes on.",
        handler: |exec, args| {
            let name = exec.arg_str(args, 0)?;
            let mut values = [StrRef::EMPTY; 3];
            let count = args.len().saturating_sub(1).min(values.len());
            for (at, place) in values.iter_mut().enumerate().take(count) {
                *place = exec.arg_str(args, at + 1)?;
            }
            exec.measured(Kind::Lua, |exec| {
                lua::run(
                    exec,
                    Call::Function,
                    name,
                    values.get(..count).unwrap_or_default(),
                )
            })
        },
    },
    Function {
        name: "lua_dofile",
        aliases: &[],
        forms: &[&[value("path")]],
        routes: Routes::ANY,
        doc: "Runs a file, which is read each time; a relative path starts at the \
              configuration's directory. 1, or -1 if it fails.",
        handler: |exec, args| run(exec, args, Call::File),
    },
    Function {
        name: "lua_dostring",
        aliases: &["lua_runstring"],
        forms: &[&[value("text")]],
        routes: Routes::ANY,
        doc: "Runs Lua text. 1, or -1 if it fails.",
        handler: |exec, args| run(exec, args, Call::Text),
    },
];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "load",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.lua.load.push(text.into());
                Ok(())
            },
            help: "write the path of a script",
        },
        doc: "A script, run once by each worker at the start. A relative path starts at the \
              configuration's directory. May be set many times. Default: none.",
    },
    Parameter {
        name: "register",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "What Kamailio shows to scripts as sr. Here it is all there.",
    },
    Parameter {
        name: "reload",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.lua.reload = value != 0,
        },
        doc: "Whether the RPC app_lua.reload reads the scripts again. Default: 1.",
    },
    Parameter {
        name: "max_instructions",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1_000,
            max: 1_000_000_000,
            set: |settings, value| settings.lua.max_instructions = value as u64,
        },
        doc: "The most instructions of LuaJIT's virtual machine, and steps of pattern matching, \
              that a call may take. After one that took more, calls rest for 100 ms, and twice \
              as long each time up to 5 s. Default: 10000000.",
    },
    Parameter {
        name: "max_time",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 60_000,
            set: |settings, value| settings.lua.max_time = value as u32,
        },
        doc: "The most milliseconds that a call may take, which is looked at every 100 \
              instructions. Default: 500.",
    },
    Parameter {
        name: "max_memory",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1_024,
            max: 2_097_152,
            set: |settings, value| settings.lua.max_memory = value as u32,
        },
        doc: "The most KiB that a worker's scripts may hold. After an error for want of memory \
              the state is made anew. Default: 65536.",
    },
];

fn run(exec: &mut Exec<'_>, args: &[Arg], call: Call) -> Result<i64, Halt> {
    let what = exec.arg_str(args, 0)?;
    exec.measured(Kind::Lua, |exec| lua::run(exec, call, what, &[]))
}
