//! Running a program on messages: one [`Runtime`] for each worker, one [`Exec`] for each run.
//!
//! Functions of modules get the [`Exec`]: the message, what the script has decided about it
//! ([`Changes`]), the host, and values, which they make and read through it.

mod by_name;
mod changes;
mod exec;
mod expr;
pub(crate) mod node;
mod operate;
mod param;
pub(crate) mod pattern;
pub(crate) mod program;
pub mod pv;
mod runtime;
mod sampling;
mod store;
pub mod tables;
pub mod transform;
pub(crate) mod value;

pub use by_name::{Before, ByNameError, NamedArg};
pub(crate) use by_name::{MakeCompiler, Signature, TextCompiler};
pub use changes::{Branch, Changes, Quality};
pub use exec::{Exec, Halt, ScriptError, part_of};
pub use node::{Arg, Line, Parsed};
pub use param::{
    CORE, Handler, Inherit, Keep, Param, ParamKind, ReadAgain, Routes, Shared, value as any_value,
};
pub use pattern::regex;
pub use program::Program;
pub use runtime::Runtime;
pub(crate) use value::integer;
pub use value::{StrRef, Value};

/// How `request_route` or `reply_route` ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteEnd {
    /// At its end, by `return` or by `exit`; also where there is no such route.
    Finished,
    /// By `drop`.
    Drop,
    /// By an error.
    Failed,
}
