//! What a module is: the functions that scripts can call and the parameters that configure them.
//! The checker, the interpreter and the documentation all go by a table of modules, [`Modules`],
//! that whoever loads a configuration hands in.

use std::any::Any;

use super::compile::Review;
use super::language::LanguageLoader;
use super::run::Arg;
use super::run::{Exec, Halt};
use super::settings::Settings;
use corex_sip::SipView;

/// A module: what `loadmodule` names.
#[derive(Debug)]
pub struct Module {
    /// Its name without `.so`.
    pub name: &'static str,
    /// What it is for, in one sentence.
    pub doc: &'static str,
    /// Its functions.
    pub functions: &'static [Function],
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// Looks at the whole configuration when all of it has been read, whether the module is
    /// loaded or not, and says what doesn't fit together.
    pub review: Option<fn(&mut Review<'_>)>,
    /// The scripts in another language that it runs.
    pub language: Option<LanguageLoader>,
    /// What its functions keep in each worker from message to message: see
    /// [`super::Runtime::kept`].
    pub keeps: Option<Keep>,
    /// Whether a message is done with before `request_route` or `reply_route` sees it.
    pub absorbs: Option<fn(&SipView<'_>) -> bool>,
    /// What happens to a message after its route, unless that said `drop` or failed.
    pub after_route: Option<fn(&mut Exec<'_>)>,
}

/// Makes what a module's functions keep in a worker.
pub type Keep = fn(&Settings) -> Box<dyn Any + Send>;

impl Module {
    /// One without anything: what a module doesn't say.
    pub const NONE: Module = Module {
        name: "",
        doc: "",
        functions: &[],
        parameters: &[],
        review: None,
        language: None,
        keeps: None,
        absorbs: None,
        after_route: None,
    };
}

/// A table of modules. One of them has the name [`CORE`] and needs no `loadmodule`.
#[derive(Clone, Copy, Debug)]
pub struct Modules(&'static [&'static Module]);

impl Modules {
    /// The table of these.
    pub const fn new(modules: &'static [&'static Module]) -> Modules {
        Modules(modules)
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = &'static Module> {
        self.0.iter().copied()
    }

    /// The module of this name.
    pub fn find(self, name: &str) -> Option<&'static Module> {
        self.iter().find(|module| module.name == name)
    }

    /// The function of this name, and the module that it is in.
    pub fn find_function(self, name: &str) -> Option<(&'static Module, &'static Function)> {
        self.iter()
            .find_map(|module| Some((module, module.function(name)?)))
    }
}

impl Module {
    /// Its function of this name.
    pub fn function(&self, name: &str) -> Option<&'static Function> {
        self.functions
            .iter()
            .find(|function| function.name == name || function.aliases.contains(&name))
    }
}

/// The name of what needs no `loadmodule`.
pub const CORE: &str = "core";

/// What runs a function; its return code: more than 0 is true, less is false, 0 ends the script.
pub type Handler = fn(&mut Exec<'_>, &[Arg]) -> Result<i64, Halt>;

/// A function of a module.
#[derive(Debug)]
pub struct Function {
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

/// A parameter of a module: what `modparam` sets.
#[derive(Debug)]
pub struct Parameter {
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
pub enum ParameterKind {
    /// An integer.
    Int {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
        /// Takes it.
        set: fn(&mut Settings, i64),
    },
    /// A string; the error says what is wrong with it.
    Text {
        /// Takes it.
        set: fn(&mut Settings, &str) -> Result<(), String>,
        /// The remedy.
        help: &'static str,
    },
    /// A string, or an integer, which is handed over as its digits.
    Name {
        /// Takes it.
        set: fn(&mut Settings, &str),
    },
    /// `msg_avp`: the AVP that holds the hook's result.
    MessageAvp,
    /// Anything; it has no meaning here.
    Ignored,
}
