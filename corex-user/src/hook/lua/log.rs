//! Log lines of scripts, and what errors of theirs look like in one.

use mlua::{Error, Lua, Value};

use super::budget::Spent;
use crate::telemetry::{self, line::Line};

/// The most bytes of an error in the log.
const MOST: usize = 2_048;

/// Writes a log line at a level of Kamailio's.
pub(super) fn log(_: &Lua, (level, text): (Value, Value)) -> mlua::Result<()> {
    let level = match &level {
        Value::String(level) => level.to_string_lossy(),
        _ => String::new(),
    };
    let bytes = match &text {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Nil => return Ok(()),
        Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => text.to_string()?.into_bytes(),
        other => other.type_name().into(),
    };
    let level = match level.as_str() {
        "alert" => -5,
        "bug" => -4,
        "crit" => -2,
        "warn" => 0,
        "notice" => 1,
        "info" => 2,
        "dbg" => 3,
        _ => -1,
    };
    telemetry::log::write(level, Line(&bytes));
    Ok(())
}

/// What ended a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A bound on instructions or time.
    Timeout,
    /// The bound on memory.
    Memory,
    /// Anything else.
    Script,
}

/// What kind of error one is.
pub(super) fn kind(error: &Error) -> Kind {
    match error {
        Error::MemoryError(_) => Kind::Memory,
        Error::CallbackError { cause, .. } => kind(cause),
        Error::ExternalError(error) if error.is::<Spent>() => Kind::Timeout,
        // Where a coroutine or a script of its own passes it on.
        Error::RuntimeError(text) if text.starts_with("not enough memory") => Kind::Memory,
        _ => Kind::Script,
    }
}

/// What a script that catches an error of ours gets: its text, as of Lua's own errors.
pub(super) fn reason(_: &Lua, value: Value) -> mlua::Result<String> {
    Ok(match &value {
        Value::Error(error) => match innermost(error) {
            Error::RuntimeError(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string()?,
    })
}

fn innermost(mut error: &Error) -> &Error {
    while let Error::CallbackError { cause, .. } = error {
        error = cause;
    }
    error
}

/// An error with its traceback in one line.
pub(super) fn one_line(error: &Error) -> String {
    let text = match error {
        Error::CallbackError { traceback, cause } => {
            format!("{}\n{traceback}", innermost(cause))
        }
        Error::RuntimeError(text) | Error::MemoryError(text) => text.clone(),
        Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let mut line = String::new();
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if part == "stack traceback:" {
            line.push_str(" (called from");
            continue;
        }
        match line.as_str() {
            "" => {}
            known if known.ends_with("(called from") => line.push(' '),
            _ => line.push_str("; "),
        }
        line.push_str(part);
    }
    if line.contains(" (called from") {
        line.push(')');
    }
    if line.len() > MOST {
        let end = (0..=MOST).rev().find(|at| line.is_char_boundary(*at));
        line.truncate(end.unwrap_or(0));
        line.push('…');
    }
    line
}
