//! What a function takes, where it can be called, and what runs it.

use std::any::Any;
use std::sync::Arc;

use super::exec::{Exec, Halt};
use super::node::{Arg, Parsed};
use super::program::Program;
use crate::settings::Settings;

/// The name of what needs no `loadmodule`.
pub const CORE: &str = "core";

/// What runs a function; its return code: more than 0 is true, less is false, 0 ends the script.
pub type Handler = fn(&mut Exec<'_>, &[Arg]) -> Result<i64, Halt>;

/// A parameter of a function.
#[derive(Debug)]
pub struct Param {
    /// What documentation and reports call it.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParamKind,
}

/// A parameter that takes any value.
pub const fn value(name: &'static str) -> Param {
    Param {
        name,
        kind: ParamKind::Value,
    }
}

/// What a parameter of a function takes.
#[derive(Clone, Copy, Debug)]
pub enum ParamKind {
    /// Any expression; in a string literal pseudo-variables are replaced by their values.
    Value,
    /// A regular expression, for which ^ and $ are a line's ends.
    Lines,
    /// `/regex/replacement/flags`, constant but for pseudo-variables in the replacement.
    Substitution,
    /// As [`ParamKind::Value`]; a bare word stands for itself.
    Word,
    /// As [`ParamKind::Value`]; a constant is checked when the configuration is loaded.
    Checked(fn(&[u8]) -> Result<(), String>),
    /// As [`ParamKind::Value`]; a constant string is parsed when the configuration is loaded. What
    /// yields `None` is left to the handler, as what isn't constant.
    Parsed(fn(&[u8]) -> Option<Parsed>),
    /// A pseudo-variable that can be written, also in quotation marks.
    Target,
    /// A constant out of a set of words, which the configuration may add to.
    Choice {
        /// What the word stands for.
        find: fn(&Settings, &[u8]) -> Option<i64>,
        /// The words, as reports list them.
        words: fn(&Settings) -> String,
    },
}

/// A set of kinds of route blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routes(u8);

impl Routes {
    /// No kind.
    pub const NONE: Routes = Routes(0);
    /// `request_route`.
    pub const REQUEST: Routes = Routes(1);
    /// `reply_route`.
    pub const REPLY: Routes = Routes(2);
    /// `event_route[network:msg]`.
    pub const NETWORK: Routes = Routes(4);
    /// Every kind.
    pub const ANY: Routes = Routes(7);

    /// The kinds that are in either.
    pub const fn or(self, other: Routes) -> Routes {
        Routes(self.0 | other.0)
    }

    /// The kinds that are in `self` and not in `other`.
    pub const fn without(self, other: Routes) -> Routes {
        Routes(self.0 & !other.0)
    }

    /// The names of the kinds.
    pub fn names(self) -> Vec<&'static str> {
        [
            (Routes::REQUEST, "request_route"),
            (Routes::REPLY, "reply_route"),
            (Routes::NETWORK, "event_route[network:msg]"),
        ]
        .into_iter()
        .filter(|(kind, _)| kind.without(self) == Routes::NONE)
        .map(|(_, name)| name)
        .collect()
    }
}

/// Makes what a module's functions keep in a worker.
pub type Keep = fn(&Program) -> Box<dyn Any + Send>;

/// Has what a module made of a program go on with what it made of the one that it takes the place of.
pub type Inherit = fn(&Program, &Program);

/// Reads files of a module again; what is wrong with them, and then all stays as it was.
pub type ReadAgain = fn(&Program) -> Result<(), String>;

/// What all workers share of a module's: see [`Program::shared`].
pub type Shared = Arc<dyn Any + Send + Sync>;
