//! The names of a configuration, for what is compiled while messages are handled.

use std::any::Any;
use std::collections::HashMap;

use super::program::RouteId;
use crate::function::{CORE, Module, Modules};
use crate::settings::Settings;

/// What the check of a configuration leaves for later.
#[derive(Clone)]
pub struct Known {
    /// All modules that there are.
    pub modules: Modules,
    /// What the configuration sets, but for aliases.
    pub settings: Settings,
    pub loaded: Vec<&'static Module>,
    pub avps: Names,
    pub vars: Names,
    pub routes: HashMap<String, RouteId>,
}

impl Known {
    /// The modules that `loadmodule` named, in order.
    pub fn module_names(&self) -> impl DoubleEndedIterator<Item = &'static str> + '_ {
        self.loaded.iter().map(|module| module.name)
    }

    /// The module of this name, if it is loaded or needs no `loadmodule`.
    pub fn module(&self, name: &str) -> Option<&'static Module> {
        let loaded = self.modules.find(name)?;
        let is_loaded = name == CORE || self.loaded.iter().any(|module| module.name == loaded.name);
        is_loaded.then_some(loaded)
    }

    /// What the modules keep in a worker, made anew.
    pub fn kept(&self) -> Vec<Box<dyn Any + Send>> {
        let makers = self.modules.iter().filter_map(|module| module.keeps);
        makers.map(|make| make(&self.settings)).collect()
    }

    /// The route block of this name.
    pub fn route(&self, name: &str) -> Option<RouteId> {
        self.routes.get(name).copied()
    }
}

/// Names with a number each.
#[derive(Clone, Default)]
pub struct Names(HashMap<String, u16>);

impl Names {
    /// The number of a name; `None` where there are too many.
    pub fn id(&mut self, name: &str) -> Option<u16> {
        if let Some(id) = self.0.get(name) {
            return Some(*id);
        }
        let id = self.len().filter(|id| *id != u16::MAX)?;
        self.0.insert(name.to_owned(), id);
        Some(id)
    }

    /// How many there are; `None`: more than have numbers.
    pub fn len(&self) -> Option<u16> {
        u16::try_from(self.0.len()).ok()
    }
}
