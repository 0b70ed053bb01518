//! The module `xlog`: log lines of the script's own.

use crate::telemetry::line::Line;
use crate::telemetry::log;
use corex_script::function::{
    Function, Module, Param, ParamKind, Parameter, ParameterKind, Routes,
};
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};

pub(super) static MODULE: Module = Module {
    name: "xlog",
    doc: "Log lines with pseudo-variables.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    ..Module::NONE
};

const FORMAT: Param = Param {
    name: "format",
    kind: ParamKind::Value,
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "xlog",
        aliases: &[],
        forms: &[
            &[FORMAT],
            &[
                Param {
                    name: "level",
                    kind: ParamKind::Choice {
                        find: |_, text| level(text),
                        words: |_| {
                            "\"L_ALERT\", \"L_BUG\", \"L_CRIT\", \"L_ERR\", \"L_WARN\", \
                             \"L_NOTICE\", \"L_INFO\" or \"L_DBG\""
                                .to_owned()
                        },
                    },
                },
                FORMAT,
            ],
        ],
        routes: Routes::ANY,
        doc: "Writes a log line, at level L_ERR where none is given. Line breaks within it and \
              bytes that can't be printed are escaped.",
        handler: xlog,
    },
    Function {
        name: "xdbg",
        aliases: &[],
        forms: &[&[FORMAT]],
        routes: Routes::ANY,
        doc: "Writes a log line at level L_DBG.",
        handler: |exec, args| log_text(exec, 3, args.first()),
    },
    Function {
        name: "xinfo",
        aliases: &[],
        forms: &[&[FORMAT]],
        routes: Routes::ANY,
        doc: "Writes a log line at level L_INFO.",
        handler: |exec, args| log_text(exec, 2, args.first()),
    },
    Function {
        name: "xnotice",
        aliases: &[],
        forms: &[&[FORMAT]],
        routes: Routes::ANY,
        doc: "Writes a log line at level L_NOTICE.",
        handler: |exec, args| log_text(exec, 1, args.first()),
    },
    Function {
        name: "xwarn",
        aliases: &[],
        forms: &[&[FORMAT]],
        routes: Routes::ANY,
        doc: "Writes a log line at level L_WARN.",
        handler: |exec, args| log_text(exec, 0, args.first()),
    },
    Function {
        name: "xerr",
        aliases: &[],
        forms: &[&[FORMAT]],
        routes: Routes::ANY,
        doc: "Writes a log line at level L_ERR.",
        handler: |exec, args| log_text(exec, -1, args.first()),
    },
];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "buf_size",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "Size of Kamailio's buffer for a line. No meaning here.",
    },
    Parameter {
        name: "force_color",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "Colours where there is no terminal. No meaning here.",
    },
];

/// Kamailio's number for a level; its numbers stand for themselves.
fn level(word: &[u8]) -> Option<i64> {
    Some(match word {
        b"L_ALERT" | b"-5" => -5,
        b"L_BUG" | b"-4" => -4,
        b"L_CRIT2" | b"-3" => -3,
        b"L_CRIT" | b"-2" => -2,
        b"L_ERR" | b"-1" => -1,
        b"L_WARN" | b"0" => 0,
        b"L_NOTICE" | b"1" => 1,
        b"L_INFO" | b"2" => 2,
        b"L_DBG" | b"3" => 3,
        _ => return None,
    })
}

fn xlog(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    match args {
        [Arg::Choice(level), format] => log_text(exec, *level, Some(format)),
        _ => log_text(exec, -1, args.first()),
    }
}

fn log_text(exec: &mut Exec<'_>, level: i64, format: Option<&Arg>) -> Result<i64, Halt> {
    // What nobody will read isn't evaluated.
    if log::is_written(level) {
        let text = exec.arg_str(format.map(std::slice::from_ref).unwrap_or_default(), 0)?;
        log::write(level, Line(exec.bytes(text)));
    }
    Ok(1)
}
