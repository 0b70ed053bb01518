//! Scripts in other languages: what a module brings along that runs them.
//!
//! A [`Language`] is loaded with a configuration and lives as long as it does. Each worker has an
//! [`Engine`] of it, which the module's functions find by its type ([`super::Runtime::engine`])
//! and run on the message in hand.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::language_counters::Languages;

/// The scripts of one configuration in one language.
pub trait Language: Any + Debug + Send + Sync {
    /// Makes the engine by which a worker, counted from 0, runs the scripts.
    fn attach(self: Arc<Self>, worker: u32) -> Box<dyn Engine>;

    /// Reads the scripts again; workers change over to them once they are loaded. It reads files,
    /// so no worker may call it.
    ///
    /// # Errors
    /// What is wrong with the scripts, where that is known at once. The old ones stay, which is
    /// logged and counted.
    fn reload(&self) -> Result<(), ReloadError>;

    /// Has calls counted in `counters` from here on.
    fn count_with(&self, counters: &Arc<Languages>);
}

/// Runs the scripts of one language in one worker.
pub trait Engine: Any + Send {
    /// The name of its memory in reports, and how many bytes that has.
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
