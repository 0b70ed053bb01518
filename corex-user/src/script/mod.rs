//! The configuration language: text to settings and a program, and the program's interpreter.
//!
//! `syntax` reads the text, `check` makes [`settings::Settings`] and a [`Program`] of it and
//! says what is wrong, `exec` runs the program, one [`Runtime`] for each worker. What functions
//! there are is in [`crate::module`]; what pseudo-variables, in `pv`.

pub mod catalogue;
pub(crate) mod changes;
pub(crate) mod check;
mod differences;
pub(crate) mod exec;
pub mod host;
pub(crate) mod late;
mod pattern;
pub(crate) mod program;
pub(crate) mod pv;
mod runtime;
pub mod settings;
mod store;
pub mod syntax;
pub mod tables;
pub(crate) mod transform;
pub(crate) mod value;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::hook::perl::Engine;
use syntax::diag::{Diagnostic, Report};
use syntax::span::Span;

pub use host::{
    ConnectionId, Direction, Env, FileError, Host, NextHop, Outgoing, Purpose, SendError, SocketId,
    Target,
};
pub(crate) use pattern::regex;
pub use program::Program;
pub use runtime::Runtime;

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

/// A configuration that can be run.
#[derive(Debug)]
pub struct Config {
    /// The directory that its file is in; the working directory for one that isn't in a file.
    pub folder: PathBuf,
    /// What it sets.
    pub settings: settings::Settings,
    /// Its route blocks.
    pub program: Arc<Program>,
}

impl Config {
    /// Goes on with the values that workers share under the configuration that this one takes the
    /// place of. To be called before anybody else has the program.
    pub fn inherit(&mut self, old: &Config) {
        if let Some(program) = Arc::get_mut(&mut self.program) {
            program.tables.inherit(&old.program.tables);
            program.started = old.program.started;
            program.languages = Arc::clone(&old.program.languages);
            program.latencies = Arc::clone(&old.program.latencies);
            if let Some(perl) = &program.perl {
                perl.count_with(Arc::clone(&program.languages));
            }
        }
    }
}

impl Config {
    /// Has the script of the module app_perl read again, if there is one. Workers change over to
    /// it when it is loaded; if it can't be, the old one stays, which is logged and counted.
    pub fn reload_perl(&self) {
        if let Some(perl) = &self.program.perl {
            perl.reload();
        }
    }
}

/// What loading a configuration yields.
#[derive(Debug)]
pub struct Loaded {
    /// What is wrong or worth knowing.
    pub report: Report,
    /// The configuration; `None` if the report has errors.
    pub config: Option<Config>,
}

/// Reads and checks the configuration in a file.
pub fn load(path: &Path) -> Loaded {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut loaded = check::check(syntax::parse_file(path), folder);
    start_perl(&mut loaded);
    loaded
}

/// Loads the script of the module app_perl, which may be wrong as the configuration may.
fn start_perl(loaded: &mut Loaded) {
    let Some(config) = &mut loaded.config else {
        return;
    };
    if config.program.known.module("app_perl").is_none() {
        return;
    }
    let started = Engine::start(&config.settings.perl, &config.folder);
    let diagnostic = match (started, Arc::get_mut(&mut config.program)) {
        (Ok(Some(engine)), Some(program)) => {
            engine.count_with(Arc::clone(&program.languages));
            program.perl = Some(engine);
            return;
        }
        (Ok(_), _) => Diagnostic::error(Span::NONE, "app_perl has no script")
            .help("add the line: modparam(\"app_perl\", \"filename\", \"/path/of/script.pl\")"),
        (Err(reason), _) => {
            Diagnostic::error(Span::NONE, format!("the script of app_perl: {reason}"))
        }
    };
    loaded.report.push(diagnostic);
    loaded.config = None;
}

/// Checks a configuration given as text; `name` is what the report calls it.
pub fn load_str(name: &str, text: &str) -> Loaded {
    check::check(syntax::parse_str(name, text), PathBuf::from("."))
}
