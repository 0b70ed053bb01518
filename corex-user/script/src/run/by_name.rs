//! What scripts of other languages ask for by name while a message is handled: pseudo-variables,
//! functions, route blocks.
//!
//! Each text is compiled once by the configuration's own checker and kept, so that a name means
//! the same in every language.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::changes::Changes;
use super::exec::{Exec, Halt, ScriptError};
use super::node::{Arg, Expr, Lvalue, Pattern, Pv, Transformation};
use super::param::{Handler, Param, ParamKind, Routes};
use super::pattern::LINES;
use super::program::Program;
use super::runtime::Runtime;
use super::store::{Avps, Store};
use super::value::Value;
use super::xavp::Xavps;
use crate::latency;

/// Beyond either of these, what was compiled is forgotten before the next message: a script may
/// make up names without end.
const KEPT_TEXTS: usize = 1024;
const KEPT_BYTES: usize = 256 << 10;

/// The same while one message is handled: more is refused.
const MAX_TEXTS: usize = 64 << 10;
const MAX_BYTES: usize = 4 << 20;

/// A message's AVPs and what is decided about it, at one moment.
pub struct Before {
    avps: Avps,
    xavps: Xavps,
    changes: Box<Changes>,
}

/// An argument of [`Exec::call_by_name`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedArg<'a> {
    /// An integer.
    Int(i64),
    /// A string.
    Str(&'a [u8]),
}

/// Why something that was asked for by name can't be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ByNameError {
    /// There is no such thing, or it is used wrongly: a sentence for the script's author.
    #[error("{0}")]
    Wrong(String),
    /// The run ends: `exit`, `drop` or an error of the configuration's own.
    #[error("the script ended")]
    Halt(Halt),
}

impl From<Halt> for ByNameError {
    fn from(halt: Halt) -> ByNameError {
        ByNameError::Halt(halt)
    }
}

impl From<ScriptError> for ByNameError {
    fn from(error: ScriptError) -> ByNameError {
        ByNameError::Halt(error.into())
    }
}

#[derive(Clone)]
enum Compiled {
    Read(Arc<Pv>),
    Write(Arc<Lvalue>),
    Format(Arc<Expr>),
    Substitution(Arc<Transformation>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Read,
    Write,
    Format,
    Substitution,
}

/// Compiles single texts by the rules of the configuration, and with its names. Constants are
/// strings of [`super::value::Source::ByName`].
pub trait TextCompiler: Send {
    /// Forgets everything that was compiled but the names of `$var()`.
    fn forget(&mut self);

    /// Every constant, one after the other.
    fn pool(&self) -> &[u8];

    /// Number of different `$var()`.
    fn vars(&self) -> u16;

    /// A pseudo-variable that is read; the text is nothing but that.
    ///
    /// # Errors
    /// What is wrong with it, for the script's author.
    fn pv(&mut self, text: &[u8]) -> Result<Pv, String>;

    /// One that is written.
    ///
    /// # Errors
    /// As [`Self::pv`].
    fn target(&mut self, text: &[u8]) -> Result<Lvalue, String>;

    /// Text with pseudo-variables.
    ///
    /// # Errors
    /// As [`Self::pv`].
    fn format(&mut self, text: &[u8]) -> Result<Expr, String>;

    /// `/regex/replacement/flags`.
    ///
    /// # Errors
    /// As [`Self::pv`].
    fn substitution(&mut self, text: &[u8]) -> Result<Transformation, String>;

    /// A function that is loaded: one of `module`, of any where that is `None`.
    ///
    /// # Errors
    /// That there is none, or that its module isn't loaded.
    fn function(&self, module: Option<&str>, name: &str) -> Result<Signature, String>;
}

/// Makes a compiler of texts.
pub type MakeCompiler = Box<dyn Fn() -> Box<dyn TextCompiler> + Send + Sync>;

/// A function, as it can be called.
#[derive(Clone, Copy)]
pub struct Signature {
    /// The lists of parameters that it can be called with, of different lengths.
    pub forms: &'static [&'static [Param]],
    /// The kinds of route blocks that it can be called from.
    pub routes: Routes,
    /// What runs it.
    pub handler: Handler,
}

/// What one worker has compiled so far.
#[derive(Default)]
pub struct ByName {
    compiler: Option<Box<dyn TextCompiler>>,
    known: HashMap<(Kind, Box<[u8]>), Compiled>,
}

impl ByName {
    /// To be called between two messages: no value of the last one may be in use.
    pub fn begin_message(&mut self, store: &mut Store) {
        let Some(compiler) = &mut self.compiler else {
            return;
        };
        if self.known.len() > KEPT_TEXTS || compiler.pool().len() > KEPT_BYTES {
            self.known.clear();
            compiler.forget();
            store.follow_by_name(compiler.pool());
        }
    }

    fn compiler(&mut self, program: &Program) -> &mut dyn TextCompiler {
        &mut **self
            .compiler
            .get_or_insert_with(|| (program.make_compiler)())
    }

    fn get(
        &mut self,
        program: &Program,
        store: &mut Store,
        kind: Kind,
        text: &[u8],
    ) -> Result<Compiled, ByNameError> {
        let key = (kind, text.into());
        if let Some(compiled) = self.known.get(&key) {
            return Ok(compiled.clone());
        }
        let known = self.known.len();
        let compiler = self.compiler(program);
        if known >= MAX_TEXTS || compiler.pool().len() + text.len() > MAX_BYTES {
            return Err(ScriptError::Memory.into());
        }
        let compiled = match kind {
            Kind::Read => compiler.pv(text).map(|pv| Compiled::Read(pv.into())),
            Kind::Write => compiler.target(text).map(|to| Compiled::Write(to.into())),
            Kind::Format => compiler.format(text).map(|it| Compiled::Format(it.into())),
            Kind::Substitution => compiler
                .substitution(text)
                .map(|it| Compiled::Substitution(it.into())),
        };
        store.grow(compiler.vars());
        store.follow_by_name(compiler.pool());
        let compiled = compiled.map_err(|reason| {
            ByNameError::Wrong(format!("{}: {reason}", String::from_utf8_lossy(text)))
        })?;
        self.known.insert(key, compiled.clone());
        Ok(compiled)
    }
}

impl Exec<'_> {
    fn compiled(&mut self, kind: Kind, text: &[u8]) -> Result<Compiled, ByNameError> {
        let Runtime { by_name, store, .. } = &mut *self.rt;
        by_name.get(self.program, store, kind, text)
    }

    /// The value of a pseudo-variable, given by its text: `$hdr(X-Y)`, `$(ru{uri.host})`.
    /// It may lie in the arena: [`Self::mark`] and [`Self::release`] go around the use.
    ///
    /// # Errors
    /// Where the configuration couldn't read it either.
    pub fn get_by_name(&mut self, text: &[u8]) -> Result<Value, ByNameError> {
        match self.compiled(Kind::Read, text)? {
            Compiled::Read(pv) => Ok(self.pv(&pv)?),
            _ => Ok(Value::Null),
        }
    }

    /// Writes a pseudo-variable; [`Value::Null`] unsets it.
    ///
    /// # Errors
    /// Where the configuration couldn't write it either.
    pub fn set_by_name(&mut self, text: &[u8], value: Value) -> Result<(), ByNameError> {
        if let Compiled::Write(target) = self.compiled(Kind::Write, text)? {
            self.assign(&target, value)?;
        }
        Ok(())
    }

    /// Text in which pseudo-variables are replaced by their values.
    ///
    /// # Errors
    /// Where there is no such pseudo-variable.
    pub fn format_by_name(&mut self, text: &[u8]) -> Result<Value, ByNameError> {
        match self.compiled(Kind::Format, text)? {
            Compiled::Format(expr) => Ok(self.eval(&expr)?),
            _ => Ok(Value::Null),
        }
    }

    /// Calls a function of a module, of any where `module` is `None`; its return code. With
    /// `formatted`, pseudo-variables in strings are replaced as in a configuration.
    ///
    /// # Errors
    /// No such function, not loaded, not to be used in this kind of route, or wrong arguments.
    pub fn call_by_name(
        &mut self,
        module: Option<&str>,
        name: &str,
        args: &[NamedArg<'_>],
        formatted: bool,
    ) -> Result<i64, ByNameError> {
        let by_name = &mut self.rt.by_name;
        let function = by_name.compiler(self.program).function(module, name);
        let function = function.map_err(ByNameError::Wrong)?;
        let wrong = |reason: String| ByNameError::Wrong(format!("{name}(): {reason}"));
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
            compiled.push(
                self.arg_by_name(arg, param, formatted)
                    .map_err(|e| match e {
                        ByNameError::Wrong(reason) => wrong(format!("`{}`: {reason}", param.name)),
                        halt => halt,
                    })?,
            );
        }
        let code = (function.handler)(self, &compiled)?;
        self.release(mark);
        self.code = code;
        Ok(code)
    }

    fn arg_by_name(
        &mut self,
        arg: &NamedArg<'_>,
        param: &Param,
        formatted: bool,
    ) -> Result<Arg, ByNameError> {
        let value = match (arg, param.kind) {
            (
                NamedArg::Int(number),
                ParamKind::Value | ParamKind::Word | ParamKind::Checked(_) | ParamKind::Parsed(_),
            ) => Value::Int(*number),
            (NamedArg::Int(number), _) => {
                let text = number.to_string();
                return self.arg_by_name(&NamedArg::Str(text.as_bytes()), param, false);
            }
            (NamedArg::Str(text), ParamKind::Substitution) => {
                return match self.compiled(Kind::Substitution, text)? {
                    Compiled::Substitution(it) => Ok(Arg::Substitution(it)),
                    _ => Ok(Arg::Value(Expr::Const(Value::Null))),
                };
            }
            (NamedArg::Str(text), ParamKind::Target) => {
                return match self.compiled(Kind::Write, text)? {
                    Compiled::Write(target) => Ok(Arg::Target(target)),
                    _ => Ok(Arg::Value(Expr::Const(Value::Null))),
                };
            }
            (NamedArg::Str(text), ParamKind::Choice { find, words }) => {
                let settings = self.program.settings();
                return find(settings, text)
                    .map(Arg::Choice)
                    .ok_or_else(|| ByNameError::Wrong(format!("expected {}", words(settings))));
            }
            (NamedArg::Str(text), _) if formatted && text.contains(&b'$') => {
                self.format_by_name(text)?
            }
            (NamedArg::Str(text), _) => self.text(text)?,
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
                check(self.bytes(text)).map_err(ByNameError::Wrong)?;
                Ok(Arg::Value(Expr::Const(value)))
            }
            _ => Ok(Arg::Value(Expr::Const(value))),
        }
    }

    /// Runs a route block; its return code.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn route_by_name(&mut self, name: &str) -> Result<i64, ByNameError> {
        match self.program.named_routes.get(name) {
            Some(route) => Ok(self.route(*route)?),
            None => Err(ByNameError::Wrong(format!("there is no route[{name}]"))),
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
            xavps: self.rt.xavps.clone(),
            changes: self.changes.clone(),
        }
    }

    /// Restores what [`Self::before`] took: after a script has failed, the message goes on as if it
    /// had not run.
    pub fn undo(&mut self, before: Before) {
        self.rt.store.restore_avps(before.avps);
        self.rt.xavps = before.xavps;
        self.changes = before.changes;
    }

    /// Where the arena ends.
    pub fn mark(&self) -> usize {
        self.rt.store.mark()
    }
}
