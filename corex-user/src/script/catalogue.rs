//! What a configuration can use: the tables that the checker goes by, as text.

use super::check::CORE;
use super::pv::{self, Form, Names, PvDef};
use super::transform;
use crate::module::{CORE as CORE_MODULE, Function, MODULES, Parameter};

/// One thing that a configuration can use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The module that it is in; `core` needs no `loadmodule`.
    pub module: &'static str,
    /// How it is written.
    pub form: String,
    /// What it is or does.
    pub doc: &'static str,
}

/// A part of the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Chapter {
    /// Functions that routes can call
    Functions,
    /// Pseudo-variables
    Variables,
    /// Transformations of pseudo-variables
    Transformations,
    /// Core parameters, and what modparam() sets
    Parameters,
    /// Modules
    Modules,
}

/// Everything in a chapter, in the order of the tables.
pub fn entries(chapter: Chapter) -> Vec<Entry> {
    match chapter {
        Chapter::Functions => MODULES
            .iter()
            .flat_map(|module| {
                let entry = |function| Entry {
                    module: module.name,
                    form: function_form(function),
                    doc: function.doc,
                };
                module.functions.iter().map(entry)
            })
            .collect(),
        Chapter::Variables => pv::all()
            .map(|def| Entry {
                module: CORE_MODULE,
                form: variable_form(def),
                doc: def.doc,
            })
            .collect(),
        Chapter::Transformations => transform::ALL
            .iter()
            .map(|def| Entry {
                module: CORE_MODULE,
                form: format!("{{{}{}}}", def.name, def.args),
                doc: def.doc,
            })
            .collect(),
        Chapter::Parameters => {
            let core = CORE.iter().map(|param| Entry {
                module: CORE_MODULE,
                form: param.name.to_owned(),
                doc: param.doc,
            });
            let of_modules = MODULES.iter().flat_map(|module| {
                let entry = |param| Entry {
                    module: module.name,
                    form: parameter_form(param),
                    doc: param.doc,
                };
                module.parameters.iter().map(entry)
            });
            core.chain(of_modules).collect()
        }
        Chapter::Modules => MODULES
            .iter()
            .map(|module| Entry {
                module: module.name,
                form: module.name.to_owned(),
                doc: module.doc,
            })
            .collect(),
    }
}

fn also(names: &[&str]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!(" (also {})", names.join(", "))
    }
}

fn function_form(function: &Function) -> String {
    let forms: Vec<String> = function
        .forms
        .iter()
        .map(|form| {
            let params: Vec<_> = form.iter().map(|param| param.name).collect();
            format!("{}({})", function.name, params.join(", "))
        })
        .collect();
    forms.join(" or ") + &also(function.aliases)
}

fn parameter_form(param: &Parameter) -> String {
    param.name.to_owned() + &also(param.aliases)
}

fn variable_form(def: &PvDef) -> String {
    let inner = match &def.form {
        Form::Null | Form::Dollar | Form::Plain { .. } => String::new(),
        Form::Avp | Form::Var => "(name)".to_owned(),
        Form::Named { names, .. } => match names {
            Names::Words(words) => format!("({})", words.join("|")),
            Names::Any | Names::Checked(_) => "(name)".to_owned(),
        },
    };
    let written = if def.is_writable() { ", writable" } else { "" };
    format!("${}{inner}{written}", def.name)
}
