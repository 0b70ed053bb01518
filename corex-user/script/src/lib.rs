//! The configuration language: Kamailio's, from text to what runs on a message.
//!
//! It knows no module, no socket and no engine: the table of [`function::Modules`] is handed to
//! [`load`], what a script asks of the world goes to a [`Host`], and what runs scripts of other
//! languages is a [`language::Language`] that a module brings.
//!
//! | Folder | |
//! |---|---|
//! | [`syntax`] | text to a tree, and reports with line and caret |
//! | [`settings`] | what a configuration sets, as plain data |
//! | `compile` | the tree to settings and a [`Program`], or to what is wrong with it |
//! | [`offload`] | which messages need no run, since the kernel can handle them |
//! | [`run`] | the program, its interpreter, pseudo-variables and transformations |

#![forbid(unsafe_code)]

pub mod compile;
pub mod function;
pub mod guard;
pub mod host;
pub mod language;
pub mod language_counters;
pub mod latency;
pub mod limiter;
mod nearest;
pub mod offload;
pub mod quarantine;
pub mod run;
pub mod settings;
pub mod syntax;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use compile::{Checked, Settled};
use function::Modules;
use offload::Offload;
use syntax::diag::Report;
use syntax::{Parsed, ReadFile};

pub use host::{
    ConnectionId, Copied, Direction, Env, FileError, HookOutcome, Host, NetworkHook, NextHop,
    NotTraced, Outgoing, Purpose, SendError, SocketId, Target, Trace,
};
pub use run::{Program, RouteEnd, Runtime, regex};

/// A configuration that can be run.
#[derive(Debug)]
pub struct Config {
    /// The directory that its file is in; the working directory for one that isn't in a file.
    pub folder: PathBuf,
    /// Its files, included ones too, as they were opened.
    pub files: Vec<PathBuf>,
    /// What it sets.
    pub settings: settings::Settings,
    /// Its route blocks.
    pub program: Arc<Program>,
    /// What roads in the kernel follow from.
    pub offload: offload::Offload,
}

impl Config {
    /// Shares what workers share under the configuration whose place this one may take, and leaves
    /// it as it is. To be called before anybody else has the program.
    pub fn inherit(&mut self, old: &Config) {
        if let Some(program) = Arc::get_mut(&mut self.program) {
            program.tables.share(&old.program.tables);
            program.started = old.program.started;
            program.languages = Arc::clone(&old.program.languages);
            program.latencies = Arc::clone(&old.program.latencies);
            for (_, language) in &program.scripts {
                language.count_with(&program.languages);
            }
            for inherit in &program.inherits {
                inherit(program, &old.program);
            }
        }
    }

    /// Says that this one has taken the place of the one that it inherited from: values that are
    /// new start as it says, and who was held is let go: the new scripts may bear what the old ones
    /// didn't.
    /// new start as it says, and nobody is held for what the old scripts choked on.
    pub fn take_over(&self) {
        let longest = self.settings.corex.hook_quarantine;
        self.program.languages.quarantine.set_longest(longest);
        self.program.tables.start(&self.settings.shared_values);
        // The new scripts may bear what the old ones didn't.
        let longest = self.settings.corex.hook_quarantine;
        self.program.languages.quarantine.set_longest(longest);
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

/// What loading a configuration asks of who loads it.
pub struct Loading<'a> {
    /// Reads a file of the configuration.
    pub read: &'a ReadFile<'a>,
    /// Is told what the configuration sets before its scripts run.
    pub settled: &'a Settled<'a>,
}

impl Default for Loading<'_> {
    /// Files are read by this process, and whatever is set is right.
    fn default() -> Self {
        Loading {
            read: &syntax::read,
            settled: &|_| Ok(()),
        }
    }
}

/// Reads and checks the configuration in a file, which can use what is in `modules`.
pub fn load(path: &Path, modules: Modules, loading: &Loading<'_>) -> Loaded {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let parsed = syntax::parse_file(path, loading.read);
    checked(parsed, folder, modules, Some(loading.settled))
}

/// Reads what the configuration in a file sets of one module. The rest of it is parsed only: nothing
/// is loaded, read or made that other lines name.
pub fn load_parameters(
    path: &Path,
    modules: Modules,
    module: &str,
) -> (Report, settings::Settings) {
    let parsed = syntax::parse_file(path, &syntax::read);
    compile::parameters(parsed, modules, module)
}

/// Checks a configuration given as text; `name` is what the report calls it. Scripts that start
/// processes are left out.
pub fn load_str(name: &str, text: &str, modules: Modules) -> Loaded {
    let folder = PathBuf::from(".");
    checked(syntax::parse_str(name, text), folder, modules, None)
}

fn checked(
    parsed: Parsed,
    folder: PathBuf,
    modules: Modules,
    settled: Option<&Settled<'_>>,
) -> Loaded {
    let sources = parsed.report.sources.paths();
    let files = sources.map(Path::to_owned).collect();
    let tree = parsed.file.clone();
    let Checked { report, sound } = compile::check(parsed, &folder, modules, settled);
    let config = sound.map(|(settings, program)| Config {
        folder,
        files,
        settings,
        offload: Offload::new(
            tree,
            report.sources.clone(),
            modules,
            program.loaded.clone(),
        ),
        program: Arc::new(program),
    });
    Loaded { report, config }
}
