//! What scripts of other languages ask for by name while a message is handled: pseudo-variables,
//! functions, route blocks.
//!
//! Each text is compiled once by the configuration's own checker and kept, so that a name means
//! the same in every language.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::changes::Changes;
use super::check::{Known, LateChecker};
use super::exec::{Exec, Halt, ScriptError};
use super::pattern::LINES;
use super::program::{Arg, Expr, Pattern, Pv, Target};
use super::runtime::Runtime;
use super::store::{Avps, Store};
use super::transform::Transform;
use super::value::Value;
use crate::script::function::{Function, Param, ParamKind, Routes};
use crate::script::latency;

/// Beyond either of these, what was compiled is forgotten before the next message: a script may
/// make up names without end.
const KEPT_TEXTS: usize = 1024;
const KEPT_BYTES: usize = 256 << 10;

/// The same while one message is handled: more is refused.
const MAX_TEXTS: usize = 64 << 10;
const MAX_BYTES: usize = 4 << 20;

/// A message's AVPs and what is decided about it, at one moment.
pub(crate) struct Before {
    avps: Avps,
    changes: Changes,
}

/// An argument of [`Exec::late_call`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LateArg<'a> {
    Int(i64),
    Str(&'a [u8]),
}

/// Why something that was asked for by name didn't come about.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum LateError {
    /// There is no such thing, or it is used wrongly: a sentence for the script's author.
    #[error("{0}")]
    Wrong(String),
    /// The run ends: `exit`, `drop` or an error of the configuration's own.
    #[error("the script ended")]
    Halt(Halt),
}

impl From<Halt> for LateError {
    fn from(halt: Halt) -> LateError {
        LateError::Halt(halt)
    }
}

impl From<ScriptError> for LateError {
    fn from(error: ScriptError) -> LateError {
        LateError::Halt(error.into())
    }
}

#[derive(Clone)]
enum Compiled {
    Read(Arc<Pv>),
    Write(Arc<Target>),
    Format(Arc<Expr>),
    Substitution(Arc<Transform>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Read,
    Write,
    Format,
    Substitution,
}

/// What one worker has compiled so far.
#[derive(Default)]
pub(crate) struct Late {
    checker: Option<Box<LateChecker>>,
    known: HashMap<(Kind, Box<[u8]>), Compiled>,
}

impl Late {
    /// To be called between two messages: no value of the last one may be in use.
    pub fn begin_message(&mut self, known: &Known, store: &mut Store) {
        let Some(checker) = &mut self.checker else {
            return;
        };
        if self.known.len() > KEPT_TEXTS || checker.pool().len() > KEPT_BYTES {
            self.known.clear();
            checker.forget(known);
            store.follow_late(checker.pool());
        }
    }

    fn get(
        &mut self,
        known: &Known,
        store: &mut Store,
        kind: Kind,
        text: &[u8],
    ) -> Result<Compiled, LateError> {
        let key = (kind, text.into());
        if let Some(compiled) = self.known.get(&key) {
            return Ok(compiled.clone());
        }
        let checker = self
            .checker
            .get_or_insert_with(|| Box::new(LateChecker::new(known)));
        if self.known.len() >= MAX_TEXTS || checker.pool().len() + text.len() > MAX_BYTES {
            return Err(ScriptError::Memory.into());
        }
        let compiled = match kind {
            Kind::Read => checker.pv(text).map(|pv| Compiled::Read(pv.into())),
            Kind::Write => checker.target(text).map(|to| Compiled::Write(to.into())),
            Kind::Format => checker.format(text).map(|it| Compiled::Format(it.into())),
            Kind::Substitution => checker
                .substitution(text)
                .map(|it| Compiled::Substitution(it.into())),
        };
        store.grow(checker.vars());
        store.follow_late(checker.pool());
        let compiled = compiled.map_err(|reason| {
            LateError::Wrong(format!("{}: {reason}", String::from_utf8_lossy(text)))
        })?;
        self.known.insert(key, compiled.clone());
        Ok(compiled)
    }
}

impl Exec<'_> {
    fn late(&mut self, kind: Kind, text: &[u8]) -> Result<Compiled, LateError> {
        let Runtime { late, store, .. } = &mut *self.rt;
        late.get(&self.program.known, store, kind, text)
    }

    /// The value of a pseudo-variable, given by its text: `$hdr(X-Y)`, `$(ru{uri.host})`.
    /// It may lie in the arena: [`Self::mark`] and [`Self::release`] go around the use.
    ///
    /// # Errors
    /// Where the configuration couldn't read it either.
    pub fn late_get(&mut self, text: &[u8]) -> Result<Value, LateError> {
        match self.late(Kind::Read, text)? {
            Compiled::Read(pv) => Ok(self.pv(&pv)?),
            _ => Ok(Value::Null),
        }
    }

    /// Writes a pseudo-variable; [`Value::Null`] unsets it.
    ///
    /// # Errors
    /// Where the configuration couldn't write it either.
    pub fn late_set(&mut self, text: &[u8], value: Value) -> Result<(), LateError> {
        if let Compiled::Write(target) = self.late(Kind::Write, text)? {
            self.assign(&target, value)?;
        }
        Ok(())
    }

    /// Text in which pseudo-variables are replaced by their values.
    ///
    /// # Errors
    /// Where there is no such pseudo-variable.
    pub fn late_format(&mut self, text: &[u8]) -> Result<Value, LateError> {
        match self.late(Kind::Format, text)? {
            Compiled::Format(expr) => Ok(self.eval(&expr)?),
            _ => Ok(Value::Null),
        }
    }

    /// Calls a function of a module, of any where `module` is `None`; its return code. With
    /// `formatted`, pseudo-variables in strings are replaced as in a configuration.
    ///
    /// # Errors
    /// No such function, not loaded, not to be used in this kind of route, or wrong arguments.
    pub fn late_call(
        &mut self,
        module: Option<&str>,
        name: &str,
        args: &[LateArg<'_>],
        formatted: bool,
    ) -> Result<i64, LateError> {
        let function = self.late_function(module, name)?;
        let wrong = |reason: String| LateError::Wrong(format!("{name}(): {reason}"));
        let here = match (self.direction, self.view) {
            (Some(_), _) => Routes::NETWORK,
            (None, Some(view)) if !view.is_request() => Routes::REPLY,
            _ => Routes::REQUEST,
        };
        if here.without(function.routes) != Routes::NONE {
            return Err(wrong(format!(
                "it can't be used in {}",
                here.names().join(" or ")
            )));
        }
        let form = function.forms.iter().find(|form| form.len() == args.len());
        let Some(form) = form else {
            return Err(wrong(format!(
                "it can't be called with {} arguments",
                args.len()
            )));
        };
        let mark = self.mark();
        let mut compiled = Vec::with_capacity(args.len());
        for (arg, param) in args.iter().zip(*form) {
            compiled.push(self.late_arg(arg, param, formatted).map_err(|e| match e {
                LateError::Wrong(reason) => wrong(format!("`{}`: {reason}", param.name)),
                halt => halt,
            })?);
        }
        let code = (function.handler)(self, &compiled)?;
        self.release(mark);
        self.code = code;
        Ok(code)
    }

    fn late_function(
        &self,
        module: Option<&str>,
        name: &str,
    ) -> Result<&'static Function, LateError> {
        let modules = self.program.known.modules;
        let found = match module {
            None => modules.find_function(name),
            Some(module) => modules
                .find(module)
                .and_then(|module| Some((module, module.function(name)?))),
        };
        let Some((module, function)) = found else {
            return Err(LateError::Wrong(format!("there is no function {name}()")));
        };
        if self.program.known.module(module.name).is_none() {
            return Err(LateError::Wrong(format!(
                "{name}() is in the module {}, which is not loaded",
                module.name
            )));
        }
        Ok(function)
    }

    fn late_arg(
        &mut self,
        arg: &LateArg<'_>,
        param: &Param,
        formatted: bool,
    ) -> Result<Arg, LateError> {
        let value = match (arg, param.kind) {
            (LateArg::Int(number), ParamKind::Value | ParamKind::Word | ParamKind::Checked(_)) => {
                Value::Int(*number)
            }
            (LateArg::Int(number), _) => {
                let text = number.to_string();
                return self.late_arg(&LateArg::Str(text.as_bytes()), param, false);
            }
            (LateArg::Str(text), ParamKind::Substitution) => {
                return match self.late(Kind::Substitution, text)? {
                    Compiled::Substitution(it) => Ok(Arg::Substitution(it)),
                    _ => Ok(Arg::Value(Expr::Const(Value::Null))),
                };
            }
            (LateArg::Str(text), ParamKind::Target) => {
                return match self.late(Kind::Write, text)? {
                    Compiled::Write(target) => Ok(Arg::Target(target)),
                    _ => Ok(Arg::Value(Expr::Const(Value::Null))),
                };
            }
            (LateArg::Str(text), ParamKind::Choice { find, words }) => {
                return find(text)
                    .map(Arg::Choice)
                    .ok_or_else(|| LateError::Wrong(format!("expected {words}")));
            }
            (LateArg::Str(text), _) if formatted && text.contains(&b'$') => {
                self.late_format(text)?
            }
            (LateArg::Str(text), _) => self.text(text)?,
        };
        match param.kind {
            ParamKind::Lines => {
                let text = self.rt.store.string(value)?;
                let pattern = [LINES, self.bytes(text)].concat();
                let pattern = self.text(&pattern)?;
                Ok(Arg::Pattern(Pattern::Dynamic(Box::new(Expr::Const(
                    pattern,
                )))))
            }
            ParamKind::Checked(check) => {
                let text = self.rt.store.string(value)?;
                check(self.bytes(text)).map_err(LateError::Wrong)?;
                Ok(Arg::Value(Expr::Const(value)))
            }
            _ => Ok(Arg::Value(Expr::Const(value))),
        }
    }

    /// Runs a route block; its return code.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn late_route(&mut self, name: &str) -> Result<i64, LateError> {
        match self.program.known.route(name) {
            Some(route) => Ok(self.route(route)?),
            None => Err(LateError::Wrong(format!("there is no route[{name}]"))),
        }
    }

    /// Measures a call into a script of another language.
    pub fn measured<R>(&mut self, kind: latency::Kind, call: impl FnOnce(&mut Self) -> R) -> R {
        let began = Instant::now();
        let result = call(self);
        let latencies = &self.program.latencies;
        latencies.record(self.rt.worker, kind, self.direction, began.elapsed());
        result
    }

    /// What a script may change of the message, as it is now.
    pub fn before(&self) -> Before {
        Before {
            avps: self.rt.store.avps(),
            changes: self.changes.clone(),
        }
    }

    /// Back to what was: a script failed, and the message goes on as if it had not run.
    pub fn undo(&mut self, before: Before) {
        self.rt.store.restore_avps(before.avps);
        self.changes = before.changes;
    }

    /// Where the arena ends.
    pub fn mark(&self) -> usize {
        self.rt.store.mark()
    }
}
