//! What scripts ask for while a message is handled.

use std::cell::RefCell;

use mlua::{Lua, MultiValue, String as LuaString, Table, Value};

use super::budget::{Ending, Spent};
use super::state::State;
use corex_script::run as value;
use corex_script::run::Arg;
use corex_script::run::{ByNameError, NamedArg};
use corex_script::run::{Exec, Halt, ScriptError};

macro_rules! ops {
    ($($(#[$doc:meta])* $op:ident $name:literal,)*) => {
        /// What a script can ask for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Op {
            $($(#[$doc])* $op,)*
        }

        impl Op {
            const ALL: &'static [(Op, &'static str)] = &[$((Op::$op, $name),)*];
        }
    };
}

ops! {
    /// The value of a pseudo-variable.
    Get "get",
    /// Writes one: nil unsets it.
    Set "set",
    /// Calls a function of a module by its number.
    Call "call",
    /// Calls one of any module, loaded or not.
    Builtin "builtin",
    /// Calls one as a configuration does.
    Modf "modf",
    /// Runs a route block.
    Route "route",
    /// Whether a URI is this proxy.
    Myself "myself",
    /// Ends the call from the configuration.
    Exit "exit",
    /// Says that a function was called wrongly.
    Wrong "wrong",
}

impl Op {
    /// What Lua knows them by.
    pub fn table(lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        for (number, (_, name)) in Op::ALL.iter().enumerate() {
            table.set(*name, number)?;
        }
        Ok(table)
    }

    fn find(number: i64) -> Option<Op> {
        Some(Op::ALL.get(usize::try_from(number).ok()?)?.0)
    }
}

/// A call from the configuration into Lua, as the functions see it that the script calls.
pub(super) struct LuaCall<'r, 'a> {
    pub state: &'r State,
    pub exec: RefCell<&'r mut Exec<'a>>,
    /// What the configuration's script is to end with.
    pub halt: RefCell<Option<Halt>>,
}

/// The script is to end, which no `pcall` may keep it from.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the script ends")]
struct End;

impl LuaCall<'_, '_> {
    /// Answers a script.
    ///
    /// # Errors
    /// What the script gets as an error.
    pub fn answer(&self, lua: &Lua, mut args: MultiValue) -> mlua::Result<Value> {
        let op = match args.pop_front() {
            Some(Value::Integer(number)) => Op::find(number),
            Some(Value::Number(number)) => Op::find(number as i64),
            _ => None,
        };
        let Some(op) = op else {
            return Ok(Value::Nil);
        };
        let Ok(mut exec) = self.exec.try_borrow_mut() else {
            return Err(mlua::Error::runtime("a finished call is asked"));
        };
        let (mark, depth) = (exec.mark(), exec.rt.depth);
        let answer = self.ask(lua, &mut exec, op, args);
        exec.release(mark);
        exec.rt.depth = depth;
        if self.state.budget.ending() == Ending::Spent {
            // A nested call has taken what this one had.
            return Err(mlua::Error::external(Spent));
        }
        match answer {
            Ok(value) => Ok(value),
            Err(Wrong::Use(reason)) => {
                exec.complain(format_args!("Lua: {reason}"));
                Ok(match op {
                    Op::Get => Value::Nil,
                    Op::Modf | Op::Route => Value::Integer(-1),
                    _ => Value::Boolean(false),
                })
            }
            Err(Wrong::End) => {
                self.state.budget.set_ending(Ending::Wanted);
                Err(mlua::Error::external(End))
            }
            Err(Wrong::Script(error)) => Err(mlua::Error::external(error)),
            Err(Wrong::Lua(error)) => Err(error),
        }
    }

    fn ask(
        &self,
        lua: &Lua,
        exec: &mut Exec<'_>,
        op: Op,
        mut args: MultiValue,
    ) -> Result<Value, Wrong> {
        let truth = |holds| Ok(Value::Boolean(holds));
        let arena = |halt: Halt| self.wrong(halt.into());
        match op {
            Op::Get => {
                let name = text(args.pop_front())?;
                let value = exec
                    .get_by_name(&name.as_bytes())
                    .map_err(|e| self.wrong(e))?;
                Ok(match value {
                    value::Value::Null => Value::Nil,
                    value::Value::Int(number) => Value::Integer(number),
                    value::Value::Str(string) => {
                        Value::String(lua.create_string(exec.bytes(string))?)
                    }
                })
            }
            Op::Set => {
                let name = text(args.pop_front())?;
                let value = match args.pop_front() {
                    Some(Value::Integer(number)) => value::Value::Int(number),
                    // Saturates, and cuts off fractions.
                    Some(Value::Number(number)) => value::Value::Int(number as i64),
                    Some(Value::String(text)) => exec.text(&text.as_bytes()).map_err(arena)?,
                    _ => value::Value::Null,
                };
                exec.set_by_name(&name.as_bytes(), value)
                    .map_err(|e| self.wrong(e))?;
                truth(true)
            }
            Op::Call => {
                let number = match args.pop_front() {
                    Some(Value::Integer(number)) => usize::try_from(number).ok(),
                    Some(Value::Number(number)) => Some(number as usize),
                    _ => None,
                };
                let Some(callable) = number.and_then(|at| self.state.callables.get(at)) else {
                    return truth(false);
                };
                let args = Args::new(args);
                let code = exec
                    .call_by_name(
                        Some(callable.module),
                        callable.name,
                        &args.as_named(),
                        callable.is_formatted,
                    )
                    .map_err(|e| self.wrong(e))?;
                if callable.is_truth {
                    return truth(code > 0);
                }
                Ok(Value::Integer(code))
            }
            Op::Modf => {
                let name = text(args.pop_front())?;
                let args = Args::new(args);
                let code = exec
                    .call_by_name(None, &name.to_string_lossy(), &args.as_named(), true)
                    .map_err(|e| self.wrong(e))?;
                Ok(Value::Integer(code))
            }
            Op::Builtin => {
                let name = text(args.pop_front())?.to_string_lossy();
                let Some((_, function)) = self.state.modules.find_function(&name) else {
                    return Err(Wrong::Use(format!("there is no function {name}()")));
                };
                let args = Args::new(args);
                if !function.forms.iter().any(|form| form.len() == args.0.len()) {
                    return Err(Wrong::Use(format!(
                        "{name}(): it can't be called with {} arguments",
                        args.0.len()
                    )));
                }
                let mut values = Vec::new();
                for arg in &args.0 {
                    let value = match arg {
                        Held::Int(number) => value::Value::Int(*number),
                        Held::Str(text) => exec.text(text).map_err(arena)?,
                    };
                    values.push(Arg::constant(value));
                }
                let code = (function.handler)(exec, &values).map_err(arena)?;
                Ok(Value::Integer(code))
            }
            Op::Route => {
                let name = text(args.pop_front())?.to_string_lossy();
                let code = exec.route_by_name(&name).map_err(|e| self.wrong(e))?;
                Ok(Value::Integer(code))
            }
            Op::Myself => {
                let uri = text(args.pop_front())?;
                let uri = exec.text(&uri.as_bytes()).map_err(arena)?;
                let uri = exec.string(uri).map_err(Wrong::Script)?;
                truth(exec.is_myself(uri, true))
            }
            Op::Exit => Err(Wrong::End),
            Op::Wrong => {
                let name = text(args.pop_front())?.to_string_lossy();
                let reason = text(args.pop_front())?.to_string_lossy();
                Err(Wrong::Use(format!("{name}: {reason}")))
            }
        }
    }

    /// Why there is no answer, from why something that was asked for by name can't be had. What
    /// ends the configuration's script (`exit`, `drop`) ends the Lua script first; an error of the
    /// configuration becomes one of the Lua script.
    fn wrong(&self, error: ByNameError) -> Wrong {
        match error {
            ByNameError::Wrong(reason) => Wrong::Use(reason),
            ByNameError::Halt(Halt::Error(error)) => Wrong::Script(error),
            ByNameError::Halt(halt) => {
                *self.halt.borrow_mut() = Some(halt);
                Wrong::End
            }
        }
    }
}

/// Why a script has no answer.
enum Wrong {
    /// The script's author used something wrongly: logged, and the script goes on, as in Kamailio.
    Use(String),
    /// The script is to end.
    End,
    /// An error of what was called.
    Script(ScriptError),
    /// No memory, as a rule.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Wrong {
    fn from(error: mlua::Error) -> Wrong {
        Wrong::Lua(error)
    }
}

/// A parameter that is text; numbers are too.
fn text(value: Option<Value>) -> Result<LuaString, Wrong> {
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(value) => Err(Wrong::Use(format!(
            "a string was expected and {} given",
            value.type_name()
        ))),
        None => Err(Wrong::Use("a parameter is missing".to_owned())),
    }
}

/// Arguments of a function, copied: while it runs, Lua may give their memory to others.
struct Args(Vec<Held>);

enum Held {
    Int(i64),
    Str(Vec<u8>),
}

impl Args {
    fn new(args: MultiValue) -> Args {
        let held = args.into_iter().map(|value| match value {
            Value::Integer(number) => Held::Int(number),
            Value::Number(number) => Held::Int(number as i64),
            Value::Boolean(truth) => Held::Int(truth.into()),
            Value::String(text) => Held::Str(text.as_bytes().to_vec()),
            _ => Held::Str(Vec::new()),
        });
        Args(held.collect())
    }

    fn as_named(&self) -> Vec<NamedArg<'_>> {
        let named = self.0.iter().map(|held| match held {
            Held::Int(number) => NamedArg::Int(*number),
            Held::Str(text) => NamedArg::Str(text),
        });
        named.collect()
    }
}
