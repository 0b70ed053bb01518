//! Scripts in other languages: what a module brings along that runs them.
//!
//! A [`Language`] is loaded with a configuration and lives as long as it does. Each worker has an
//! [`Engine`] of it, which the module's functions find by its type ([`super::Runtime::engine`])
//! and run on the message in hand.

use std::any::Any;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use super::function::Modules;
use super::language_counters::Languages;
use super::settings::Settings;
use super::syntax::diag::Diagnostic;

/// How a module loads the scripts that its parameters name.
#[derive(Clone, Copy, Debug)]
pub struct LanguageLoader {
    /// Reads the scripts and tries them.
    pub load: fn(&Sources<'_>) -> Result<Arc<dyn Language>, LoadError>,
    /// Whether that starts processes: it is done for a configuration in a file alone, and only
    /// when nothing else is wrong with it.
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
}

/// Why scripts can't be loaded.
#[derive(Debug)]
pub struct LoadError {
    /// What is wrong.
    pub diagnostic: Box<Diagnostic>,
    /// Where it is: at the so many-th line, from 0, that sets this parameter of the module.
    pub parameter: Option<(&'static str, usize)>,
}

/// The scripts of one configuration in one language.
pub trait Language: Any + Debug + Send + Sync {
    /// What worker `worker`, counted from 0, runs them by.
    fn attach(self: Arc<Self>, worker: u32) -> Box<dyn Engine>;

    /// Reads them again; workers change over to them when they are loaded. It reads files: to be
    /// called beside the workers.
    ///
    /// # Errors
    /// When that is known at once: what is wrong with them. The old ones stay, which is logged
    /// and counted.
    fn reload(&self) -> Result<(), ReloadError>;

    /// Counts with these from here on.
    fn count_with(&self, counters: &Arc<Languages>);
}

/// What one worker runs scripts of one language by.
pub trait Engine: Any + Send {
    /// What its memory is called, and how many bytes it has.
    fn memory(&self) -> (&'static str, usize);
}

/// Why scripts weren't read again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReloadError {
    /// The module isn't loaded, or brings no language.
    #[error("the module {0} is not loaded")]
    NotLoaded(String),
    /// A parameter forbids it.
    #[error("the parameter {0} of {1} is 0")]
    Forbidden(&'static str, &'static str),
    /// What is wrong with the scripts.
    #[error("{0}")]
    Broken(String),
}
