//! The configuration language: text to settings and a program, and the program's interpreter.
//!
//! `syntax` reads the text, `check` makes [`settings::Settings`] and a [`Program`] of it and
//! says what is wrong, `exec` runs the program, one [`Runtime`] for each worker. What functions
//! there are is in [`crate::module`]; what pseudo-variables, in `pv`.

pub(crate) mod changes;
pub(crate) mod check;
pub(crate) mod exec;
pub mod function;
pub mod host;
pub mod language;
pub mod language_counters;
pub(crate) mod late;
pub mod latency;
pub mod limiter;
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

use function::Modules;
use syntax::diag::Report;

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
            for (_, language) in &program.scripts {
                language.count_with(&program.languages);
            }
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

/// Reads and checks the configuration in a file, which can use what is in `modules`.
pub fn load(path: &Path, modules: Modules) -> Loaded {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    check::check(syntax::parse_file(path), folder, modules, true)
}

/// Checks a configuration given as text; `name` is what the report calls it. Scripts that start
/// processes are left out.
pub fn load_str(name: &str, text: &str, modules: Modules) -> Loaded {
    check::check(
        syntax::parse_str(name, text),
        PathBuf::from("."),
        modules,
        false,
    )
}
