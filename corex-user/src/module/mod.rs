//! The functions that scripts can call and the parameters that configure them, by module, as in
//! Kamailio. The checker, the interpreter and the documentation all go by the tables here.

mod app_lua;
mod app_perl;
mod codec;
mod core;
mod corex;
mod ctl;
mod destination;
mod htable;
mod jsonrpcs;
mod maxfwd;
mod pv;
mod siputils;
pub(crate) mod sl;
mod textops;
mod xlog;

use crate::script::exec::{Exec, Halt};
use crate::script::program::Arg;
use crate::script::settings::Settings;

pub(crate) use self::core::relay_reply;

/// A module: what `loadmodule` names.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its name without `.so`.
    pub name: &'static str,
    /// What it is for, in one sentence.
    pub doc: &'static str,
    /// Its functions.
    pub functions: &'static [Function],
    /// Its parameters.
    pub parameters: &'static [Parameter],
}

/// All modules.
pub(crate) const MODULES: [&Module; 14] = [
    &core::MODULE,
    &corex::MODULE,
    &xlog::MODULE,
    &pv::MODULE,
    &sl::MODULE,
    &textops::MODULE,
    &siputils::MODULE,
    &maxfwd::MODULE,
    &htable::MODULE,
    &codec::MODULE,
    &ctl::MODULE,
    &jsonrpcs::MODULE,
    &app_lua::MODULE,
    &app_perl::MODULE,
];

/// The name of what needs no `loadmodule`.
pub(crate) const CORE: &str = "core";

/// What runs a function; its return code: more than 0 is true, less is false, 0 ends the script.
pub(crate) type Handler = fn(&mut Exec<'_>, &[Arg]) -> Result<i64, Halt>;

/// A function of a module.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// The lists of parameters that it can be called with, of different lengths.
    pub forms: &'static [&'static [Param]],
    /// The kinds of route blocks that it can be called from.
    pub routes: Routes,
    /// What it does, in one or a few sentences.
    pub doc: &'static str,
    /// What runs it.
    pub handler: Handler,
}

/// A parameter of a function.
#[derive(Debug)]
pub(crate) struct Param {
    /// What documentation and reports call it.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParamKind,
}

/// A parameter that takes any value.
const fn value(name: &'static str) -> Param {
    Param {
        name,
        kind: ParamKind::Value,
    }
}

/// What a parameter of a function takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ParamKind {
    /// Any expression; in a string literal pseudo-variables are replaced by their values.
    Value,
    /// A regular expression, for which ^ and $ are a line's ends.
    Lines,
    /// `/regex/replacement/flags`, constant but for pseudo-variables in the replacement.
    Substitution,
    /// As [`ParamKind::Value`]; a bare word stands for itself.
    Word,
    /// The same; a constant is checked at the start.
    Checked(fn(&[u8]) -> Result<(), String>),
    /// A pseudo-variable that can be written, also in quotation marks.
    Target,
    /// A constant out of a set of words.
    Choice {
        /// What the word stands for.
        find: fn(&[u8]) -> Option<i64>,
        /// The words.
        words: &'static str,
    },
}

/// A set of kinds of route blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Routes(u8);

impl Routes {
    pub const NONE: Routes = Routes(0);
    /// `request_route`.
    pub const REQUEST: Routes = Routes(1);
    /// `reply_route`.
    pub const REPLY: Routes = Routes(2);
    /// `event_route[network:msg]`.
    pub const NETWORK: Routes = Routes(4);
    pub const ANY: Routes = Routes(7);

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

/// A parameter of a module: what `modparam` sets.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What it takes, and where that goes.
    pub kind: ParameterKind,
    /// What it does, in one or a few sentences, with its default.
    pub doc: &'static str,
}

/// What a parameter of a module takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ParameterKind {
    /// An integer.
    Int {
        min: i64,
        max: i64,
        set: fn(&mut Settings, i64),
    },
    /// A string; the error says what is wrong with it.
    Text {
        set: fn(&mut Settings, &str) -> Result<(), String>,
        /// The remedy.
        help: &'static str,
    },
    /// A string, or an integer, which is handed over as its digits.
    Name { set: fn(&mut Settings, &str) },
    /// `msg_avp`: the AVP that holds the hook's result.
    MessageAvp,
    /// Anything; it has no meaning here.
    Ignored,
}

/// The module of this name.
pub(crate) fn find_module(name: &str) -> Option<&'static Module> {
    MODULES.into_iter().find(|module| module.name == name)
}

/// The function of this name, and the module that it is in.
pub(crate) fn find_function(name: &str) -> Option<(&'static Module, &'static Function)> {
    MODULES.into_iter().find_map(|module| {
        let found = module
            .functions
            .iter()
            .find(|function| function.name == name || function.aliases.contains(&name));
        Some((module, found?))
    })
}

/// What xlog() makes of bytes.
#[cfg(test)]
pub(crate) fn xlog_line(bytes: &[u8]) -> String {
    crate::telemetry::line::Line(bytes).to_string()
}
