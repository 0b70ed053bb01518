//! What all workers run the same of.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::source::{self, Source};
use super::state::{Recipe, State};
use super::{LanguageCounters, say};
use crate::script::settings::LuaSettings;

/// The scripts of a configuration. Workers see by the generation that they have changed.
#[derive(Debug)]
pub(crate) struct Shared {
    recipe: ArcSwap<Recipe>,
    generation: AtomicU64,
}

/// A script that can't be loaded: which one of the settings', and why.
#[derive(Debug)]
pub(crate) struct LoadError {
    pub script: usize,
    pub reason: String,
}

impl Shared {
    /// Reads the scripts and runs them once.
    ///
    /// # Errors
    /// The first script that can't be read or run.
    pub fn load(settings: &LuaSettings, folder: &Path) -> Result<Shared, LoadError> {
        Ok(Shared {
            recipe: ArcSwap::from_pointee(load(settings, folder)?),
            generation: AtomicU64::new(0),
        })
    }

    /// Reads the scripts again and runs them once; every worker takes them over before its next
    /// call. To be called beside the workers: it reads files.
    ///
    /// # Errors
    /// What is wrong with them: the old ones stay.
    pub fn reload(&self, counters: &LanguageCounters) -> Result<(), String> {
        let old = self.recipe.load_full();
        if !old.settings.reload {
            return Err("the parameter reload of app_lua is 0".to_owned());
        }
        counters.add(|c| &c.reloads);
        match load(&old.settings, &old.folder) {
            Ok(recipe) => {
                self.recipe.store(recipe.into());
                self.generation.fetch_add(1, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                counters.add(|c| &c.reload_errors);
                tracing::error!("the Lua scripts stay as they were: {}", error.reason);
                Err(error.reason)
            }
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn make(&self) -> mlua::Result<State> {
        self.recipe.load().make()
    }
}

fn load(settings: &LuaSettings, folder: &Path) -> Result<Recipe, LoadError> {
    let mut recipe = Recipe {
        settings: settings.clone(),
        folder: folder.to_owned(),
        folders: Vec::new(),
        sources: Vec::new(),
    };
    for (script, path) in settings.load.iter().enumerate() {
        let source: Source =
            source::read(folder, path).map_err(|reason| LoadError { script, reason })?;
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
    recipe.make_or(|script, error| LoadError {
        script,
        reason: say::one_line(&error),
    })?;
    Ok(recipe)
}
