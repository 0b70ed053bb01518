//! The functions of modules as scripts see them: `KSR.module.function`.

use corex_script::function::{CORE, Function, Module, Modules};

/// A function of a module under one of its names.
#[derive(Clone, Copy)]
pub(super) struct Callable {
    pub module: &'static str,
    pub name: &'static str,
    /// Whether it yields a boolean, as those of Kamailio's core do; else its return code.
    pub is_truth: bool,
    /// Whether pseudo-variables in its arguments are replaced.
    pub is_formatted: bool,
}

/// The functions of all modules, under all their names. Lua knows each by its place here.
pub(super) fn callables(modules: Modules) -> Vec<Callable> {
    let of_module = |module: &'static Module| {
        let callable = move |name| Callable {
            module: module.name,
            name,
            is_truth: module.name == CORE && name != "forward",
            is_formatted: module.name == "xlog",
        };
        module.functions.iter().flat_map(names).map(callable)
    };
    modules.iter().flat_map(of_module).collect()
}

fn names(function: &'static Function) -> impl Iterator<Item = &'static str> {
    std::iter::once(function.name).chain(function.aliases.iter().copied())
}
