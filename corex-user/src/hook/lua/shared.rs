//! The scripts of a configuration, of which every worker has its own state.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::source::{self, Source};
use super::state::{Recipe, State};
use super::{LuaEngine, log};
use corex_script::function::Modules;
use corex_script::function::{LoadError, Sources};
use corex_script::language::{Engine, Language, ReloadError};
use corex_script::language_counters::Languages;
use corex_script::settings::LuaSettings;
use corex_script::syntax::diag::Diagnostic;
use corex_script::syntax::span::Span;

/// The scripts of a configuration. Workers see by the generation that they have changed.
#[derive(Debug)]
pub(crate) struct LuaScripts {
    recipe: ArcSwap<Recipe>,
    generation: AtomicU64,
    counters: ArcSwap<Languages>,
}

/// A script that can't be loaded: which one of the settings', and why.
struct Unloadable {
    script: usize,
    reason: String,
}

/// Reads the scripts that the parameter `load` names, and runs them once.
///
/// # Errors
/// The first script that can't be read or run.
pub(crate) fn load(sources: &Sources<'_>) -> Result<Arc<dyn Language>, LoadError> {
    match recipe(&sources.settings.lua, sources.folder, sources.modules) {
        Ok(recipe) => Ok(Arc::new(LuaScripts {
            recipe: ArcSwap::from_pointee(recipe),
            generation: AtomicU64::new(0),
            counters: ArcSwap::default(),
        })),
        Err(Unloadable { script, reason }) => Err(LoadError {
            diagnostic: Diagnostic::error(Span::NONE, reason)
                .label("this script can't be loaded")
                .into(),
            parameter: Some(("load", script)),
            part: None,
        }),
    }
}

impl LuaScripts {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn make(&self) -> mlua::Result<State> {
        self.recipe.load().make()
    }
}

impl Language for LuaScripts {
    fn attach(self: Arc<Self>, _: u32) -> Box<dyn Engine> {
        Box::new(LuaEngine::new(self))
    }

    /// Runs them once, too: every worker takes them over before its next call.
    fn reload(&self) -> Result<(), ReloadError> {
        let old = self.recipe.load_full();
        if !old.settings.reload {
            return Err(ReloadError::Forbidden("reload", "app_lua"));
        }
        let counters = self.counters.load();
        counters.lua.add(|c| &c.reloads);
        match recipe(&old.settings, &old.folder, old.modules) {
            Ok(recipe) => {
                self.recipe.store(recipe.into());
                self.generation.fetch_add(1, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                counters.lua.add(|c| &c.reload_errors);
                tracing::error!("the Lua scripts stay as they were: {}", error.reason);
                Err(ReloadError::Broken(error.reason))
            }
        }
    }

    fn count_with(&self, counters: &Arc<Languages>) {
        self.counters.store(Arc::clone(counters));
    }
}

fn recipe(settings: &LuaSettings, folder: &Path, modules: Modules) -> Result<Recipe, Unloadable> {
    let mut recipe = Recipe {
        settings: settings.clone(),
        modules,
        folder: folder.to_owned(),
        folders: Vec::new(),
        sources: Vec::new(),
    };
    for (script, path) in settings.load.iter().enumerate() {
        let source: Source =
            source::read(folder, path).map_err(|reason| Unloadable { script, reason })?;
        recipe.sources.push(source);
        let place = source::resolve(folder, path);
        let own = place.parent().unwrap_or(folder).to_owned();
        if !recipe.folders.contains(&own) {
            recipe.folders.push(own);
        }
    }
    if recipe.folders.is_empty() {
        recipe.folders.push(folder.to_owned());
    }
    recipe.make_or(|script, error| Unloadable {
        script,
        reason: log::one_line(&error),
    })?;
    Ok(recipe)
}
