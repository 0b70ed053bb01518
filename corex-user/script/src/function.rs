//! What a module is: the functions that scripts can call and the parameters that configure them.
//! The checker, the interpreter and the documentation all go by a table of modules, [`Modules`],
//! that whoever loads a configuration hands in.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::language::Language;
use super::run::Exec;
use super::settings::Settings;
use super::syntax::diag::Diagnostic;
use super::syntax::span::Span;
use corex_sip::SipView;

pub use super::run::{
    CORE, Handler, Inherit, Keep, Param, ParamKind, ReadAgain, Routes, Shared, any_value as value,
};

/// A module: what `loadmodule` names.
#[derive(Debug)]
pub struct Module {
    /// Its name without `.so`.
    pub name: &'static str,
    /// What it is for, in one sentence.
    pub doc: &'static str,
    /// The functions that scripts can call once it is loaded.
    pub functions: &'static [Function],
    /// Functions that Kamailio's module of this name has and that mean nothing here.
    pub absent: &'static [Absent],
    /// What `modparam` can set.
    pub parameters: &'static [Parameter],
    /// Looks at the whole configuration when all of it has been read, whether the module is
    /// loaded or not, and says what doesn't fit together.
    pub review: Option<fn(&mut dyn Review)>,
    /// The scripts in another language that it runs.
    pub language: Option<LanguageLoader>,
    /// What its functions keep in each worker from message to message: see
    /// [`super::Runtime::kept`].
    pub keeps: Option<Keep>,
    /// Makes what all workers share: see [`super::Program::shared`]. Only for a configuration
    /// without errors, once for each; it may read files.
    pub shares: Option<Share>,
    /// Has what it made of a configuration go on with what it made of the one before.
    pub inherits: Option<Inherit>,
    /// What can be read again without the configuration: names, as
    /// [`super::Program::reload_scripts`] knows them, and what does it.
    pub reads: &'static [(&'static str, ReadAgain)],
    /// Whether an ACK is done with before `request_route` sees it.
    pub absorbs: Option<fn(&SipView<'_>) -> bool>,
    /// What deals with messages before `request_route` or `reply_route`, where these settings ask for
    /// it.
    pub before_route: Option<fn(&Settings) -> Option<BeforeRoute>>,
    /// What happens to a reply after its route, unless that said `drop` or failed.
    pub after_route: Option<fn(&mut Exec<'_>)>,
    /// What those of its functions do that the kernel can do, too.
    pub effects: &'static [(&'static str, Effect)],
    /// Once it is loaded, it looks at every message, whatever the routes say: so none may be
    /// handled in the kernel.
    pub sees_all: bool,
}

/// What a function does: see [`super::offload`].
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Sends the message as it came by UDP. Where the argument leads, if it is an address.
    Send(fn(&[u8]) -> Option<SocketAddr>),
    /// Whether the method is one of those in a list with `|` between them, whatever their case.
    IsMethod,
}

impl Module {
    /// A module with nothing in it: what the table of a module leaves out is taken from here.
    pub const NONE: Module = Module {
        name: "",
        doc: "",
        functions: &[],
        absent: &[],
        parameters: &[],
        review: None,
        language: None,
        keeps: None,
        shares: None,
        inherits: None,
        reads: &[],
        absorbs: None,
        before_route: None,
        after_route: None,
        effects: &[],
        sees_all: false,
    };
}

/// Deals with a message, or returns false: then its route runs.
pub type BeforeRoute = fn(&mut Exec<'_>) -> bool;

/// Makes what all workers share of a module's; `None` where it has nothing of the kind.
pub type Share = fn(&Sources<'_>) -> Result<Option<Shared>, LoadError>;

/// A module of Kamailio's that isn't here.
#[derive(Debug)]
pub struct Elsewhere {
    /// Its name without `.so`.
    pub name: &'static str,
    /// Whether what it does is for the server behind; else it can be taken out, or is done by other
    /// means.
    pub stays: bool,
    /// Why, and what to do instead.
    pub why: &'static str,
    /// Its functions, each with what to do instead; empty where the module's own words say it.
    pub functions: &'static [(&'static str, &'static str)],
}

/// A table of modules. One of them has the name [`CORE`] and needs no `loadmodule`.
#[derive(Clone, Copy, Debug)]
pub struct Modules {
    here: &'static [&'static Module],
    elsewhere: &'static [Elsewhere],
}

impl Modules {
    /// A table of these modules.
    pub const fn new(modules: &'static [&'static Module]) -> Modules {
        Modules {
            here: modules,
            elsewhere: &[],
        }
    }

    /// The same with what is known of modules that aren't there.
    pub const fn with_elsewhere(self, elsewhere: &'static [Elsewhere]) -> Modules {
        Modules { elsewhere, ..self }
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = &'static Module> {
        self.here.iter().copied()
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

    /// Why a function that Kamailio has isn't here, and what to do instead.
    pub fn find_absent(self, name: &str) -> Option<&'static str> {
        let absent = self.iter().flat_map(|module| module.absent);
        let here = absent.filter(|absent| absent.name == name);
        let here = here.map(|absent| absent.why).next();
        here.or_else(|| {
            self.elsewhere.iter().find_map(|module| {
                let (_, why) = module.functions.iter().find(|(known, _)| *known == name)?;
                Some(if why.is_empty() { module.why } else { *why })
            })
        })
    }

    /// The module of this name that Kamailio has and that isn't here.
    pub fn elsewhere(self, name: &str) -> Option<&'static Elsewhere> {
        self.elsewhere.iter().find(|module| module.name == name)
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

/// A function of Kamailio's that means nothing here.
#[derive(Debug)]
pub struct Absent {
    /// Its name.
    pub name: &'static str,
    /// Why, and what to do instead.
    pub why: &'static str,
}

/// A function of a module.
#[derive(Debug)]
pub struct Function {
    /// Its name, as configurations write it.
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

/// A function that has one name; rows of tables are written so.
pub const fn function(
    name: &'static str,
    forms: &'static [&'static [Param]],
    routes: Routes,
    handler: Handler,
    doc: &'static str,
) -> Function {
    Function {
        name,
        aliases: &[],
        forms,
        routes,
        doc,
        handler,
    }
}

/// A parameter of a module: what `modparam` sets.
#[derive(Debug)]
pub struct Parameter {
    /// Its name, as the second argument of `modparam`.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What values it takes, and where in the settings they go.
    pub kind: ParameterKind,
    /// What it does, in one or a few sentences, with its default.
    pub doc: &'static str,
}

/// What a parameter of a module takes.
#[derive(Clone, Copy, Debug)]
pub enum ParameterKind {
    /// An integer.
    Int {
        /// The least that is taken.
        min: i64,
        /// The most that is taken.
        max: i64,
        /// Writes the value into the settings.
        set: fn(&mut Settings, i64),
    },
    /// An integer that is checked.
    Number {
        /// Writes the value into the settings, or says what is wrong with it.
        set: fn(&mut Settings, i64) -> Result<(), String>,
        /// What a report advises where the value is wrong.
        help: &'static str,
    },
    /// A string that is checked.
    Text {
        /// Writes the value into the settings, or says what is wrong with it.
        set: fn(&mut Settings, &str) -> Result<(), String>,
        /// What a report advises where the value is wrong.
        help: &'static str,
    },
    /// A string in a notation of its own, of which a report can point to a part.
    Notation {
        /// Writes the value into the settings, or says what is wrong with which part of it.
        set: fn(&mut Settings, &str) -> Result<(), PartMistake>,
    },
    /// A string, or an integer, which is handed over as its digits.
    Name {
        /// Writes the value into the settings.
        set: fn(&mut Settings, &str),
    },
    /// `msg_avp`: the AVP that holds the hook's result.
    MessageAvp,
    /// Anything: a parameter of Kamailio's that has no meaning here.
    Ignored,
}

/// What is wrong with a part of a string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartMistake {
    /// Its bytes.
    pub part: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// What a report advises.
    pub help: String,
}

/// How a module loads the scripts that its parameters name.
#[derive(Clone, Copy, Debug)]
pub struct LanguageLoader {
    /// Reads the scripts and tries them.
    pub load: fn(&Sources<'_>) -> Result<Arc<dyn Language>, LoadError>,
    /// Whether loading starts processes. Then scripts are loaded only for a configuration that is
    /// read from a file and has no other errors.
    pub starts_processes: bool,
}

/// What scripts are loaded from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// What the configuration sets.
    pub settings: &'a Settings,
    /// The configuration's directory, where relative paths begin.
    pub folder: &'a Path,
    /// The modules whose functions scripts can call.
    pub modules: Modules,
    /// Whether the module that asks is loaded, or needs no `loadmodule`.
    pub is_loaded: bool,
    /// The calls with a constant among their arguments, in order.
    pub calls: &'a [ConstantCall],
}

/// Why scripts can't be loaded.
#[derive(Debug)]
pub struct LoadError {
    /// What is wrong.
    pub diagnostic: Box<Diagnostic>,
    /// Where the mistake is: the name of a parameter of the module, and which of the lines that
    /// set it is meant, counted from 0.
    pub parameter: Option<(&'static str, usize)>,
    /// The part of that line's string that is wrong; `None`: all of it.
    pub part: Option<Range<usize>>,
}

/// A constant argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Constant {
    /// A string.
    Str(Vec<u8>),
    /// An integer.
    Int(i64),
}

/// A call in a route block, as far as its arguments are constant.
#[derive(Clone, Debug)]
pub struct ConstantCall {
    /// The function's own name, whichever of its names is written.
    pub function: &'static str,
    /// Its arguments, each with its place. `None`: one that isn't constant.
    pub arguments: Vec<Option<(Constant, Span)>>,
}

/// A configuration that has been read to its end, as a module looks at it.
pub trait Review {
    /// What it sets.
    fn settings(&self) -> &Settings;

    /// The place of the first block of one of these kinds.
    fn block(&self, kinds: Routes) -> Option<Span>;

    /// The last line that sets one of these parameters of the module's.
    fn written(&self, parameters: &[&str]) -> Option<Span>;

    /// Those that set one of them, in order, with values that were taken.
    fn all_taken(&self, parameter: &str) -> Vec<Span>;

    /// The last one with a value that was taken.
    fn taken(&self, parameters: &[&str]) -> Option<Span>;

    /// Whether there is an AVP for what the hook makes of a message.
    fn has_message_avp(&self) -> bool;

    /// The place of `event_route[guard:limit]`.
    fn limit_block(&self) -> Option<Span>;

    /// The calls with a constant among their arguments, in order.
    fn constant_calls(&self) -> &[ConstantCall];

    /// Adds to the report.
    fn report(&mut self, diagnostic: Diagnostic);
}

/// The path that a parameter is set to.
///
/// # Errors
/// When it isn't absolute: which directory corex is started in means nothing.
pub fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err("it must be an absolute path".to_owned());
    }
    Ok(path)
}
