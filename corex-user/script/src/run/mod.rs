//! Running a program on messages: one [`Runtime`] for each worker, one [`Exec`] for each run.
//!
//! Functions of modules get the [`Exec`]: the message, what the script has decided about it
//! ([`Changes`]), the host, and values, which they make and read through it.

mod by_name;
mod changes;
mod exec;
mod known;
pub(crate) mod pattern;
pub(crate) mod program;
pub mod pv;
mod runtime;
mod store;
pub mod tables;
pub mod transform;
pub(crate) mod value;

pub(crate) use by_name::TextCompiler;
pub use by_name::{Before, ByNameError, NamedArg};
pub use changes::{Branch, Changes, Quality};
pub use exec::{Exec, Halt, ScriptError, part_of};
pub(crate) use known::{Known, Names};
pub use pattern::regex;
pub use program::{Arg, Line, Program};
pub use runtime::Runtime;
pub use value::{StrRef, Value};

/// What `event_route[network:msg]` did with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookOutcome {
    /// It goes on as it is: there is no hook, or the AVP holds the very same bytes.
    Unchanged,
    /// The AVP holds what replaces it.
    Replaced,
    /// The AVP isn't set, or holds an integer: the message goes on as it is, as in Kamailio.
    Unset,
    /// The script failed.
    Failed,
    /// The AVP holds the empty string, which leaves nothing to handle.
    Empty,
    /// The AVP holds more than 65,535 bytes.
    TooLong,
}

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
