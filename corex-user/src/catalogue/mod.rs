//! What a configuration can use: the tables that the checker goes by, as text.

mod chapter;
mod differences;
mod routes;

use std::fmt::Write as _;

use crate::module::MODULES;
use corex_script::compile::CORE_PARAMETERS;
use corex_script::function::{Absent, CORE, Function, Parameter};
use corex_script::run::pv::{self, Form, Names, PvDef};
use corex_script::run::transform;

pub use chapter::Chapter;

/// One thing that a configuration can use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The module that it is in; `core` needs no `loadmodule`.
    pub module: &'static str,
    /// How it is written.
    pub form: String,
    /// What it is or does.
    pub doc: &'static str,
    /// What differs from Kamailio, and why; `None` where nothing that is known of does.
    pub differs: Option<&'static str>,
}

/// Everything in a chapter, in the order of the tables.
pub fn entries(chapter: Chapter) -> Vec<Entry> {
    match chapter {
        Chapter::Routes => routes::ROUTES
            .iter()
            .map(|(form, doc)| Entry {
                module: CORE,
                form: (*form).to_owned(),
                doc,
                differs: differences::find(chapter, CORE, form),
            })
            .collect(),
        Chapter::Absent => MODULES
            .iter()
            .flat_map(|module| {
                let entry = |absent: &Absent| Entry {
                    module: module.name,
                    form: format!("{}()", absent.name),
                    doc: absent.why,
                    differs: None,
                };
                module.absent.iter().map(entry)
            })
            .collect(),
        Chapter::Functions => MODULES
            .iter()
            .flat_map(|module| {
                let entry = |function| Entry {
                    module: module.name,
                    form: function_form(function),
                    doc: function.doc,
                    differs: differences::find(chapter, module.name, function.name),
                };
                module.functions.iter().map(entry)
            })
            .collect(),
        Chapter::Variables => pv::all()
            .map(|def| Entry {
                module: CORE,
                form: variable_form(def),
                doc: def.doc,
                differs: differences::find(chapter, CORE, def.name),
            })
            .collect(),
        Chapter::Transformations => transform::ALL
            .iter()
            .map(|def| Entry {
                module: CORE,
                form: format!("{{{}{}}}", def.name, def.args),
                doc: def.doc,
                differs: differences::find(chapter, CORE, def.name),
            })
            .collect(),
        Chapter::Parameters => {
            let core = CORE_PARAMETERS.iter().map(|param| Entry {
                module: CORE,
                form: param.name.to_owned(),
                doc: param.doc,
                differs: differences::find(chapter, CORE, param.name),
            });
            let of_modules = MODULES.iter().flat_map(|module| {
                let entry = |param| Entry {
                    module: module.name,
                    form: parameter_form(param),
                    doc: param.doc,
                    differs: differences::find(chapter, module.name, param.name),
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
                differs: differences::find(chapter, module.name, module.name),
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
        Form::Null | Form::Dollar | Form::Message | Form::Plain { .. } => String::new(),
        Form::Avp | Form::Var => "(name)".to_owned(),
        Form::Named { names, .. } => match names {
            Names::Words(words) => format!("({})", words.join("|")),
            Names::Any | Names::Checked(_) => "(name)".to_owned(),
        },
    };
    let written = if def.is_writable() { ", writable" } else { "" };
    format!("${}{inner}{written}", def.name)
}

/// The whole catalogue as a document.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    let chapters = [
        (Chapter::Modules, "Modules"),
        (Chapter::Parameters, "Parameters"),
        (Chapter::Routes, "Routes"),
        (Chapter::Functions, "Functions"),
        (Chapter::Variables, "Pseudo-variables"),
        (Chapter::Transformations, "Transformations"),
        (
            Chapter::Absent,
            "Functions of Kamailio that aren't here, and why",
        ),
    ];
    for (chapter, title) in chapters {
        // Writing to a String can't fail.
        let _ = writeln!(text, "\n## {title}");
        let mut module = "";
        for entry in entries(chapter) {
            if chapter.is_by_module() && entry.module != module {
                module = entry.module;
                let _ = writeln!(text, "\n### {module}");
            }
            let _ = writeln!(text, "\n**`{}`**  \n{}", entry.form, escaped(entry.doc));
            if let Some(differs) = entry.differs {
                let _ = writeln!(text, "\n*Differs from Kamailio:* {}", escaped(differs));
            }
        }
    }
    text
}

const INTRODUCTION: &str = "\
# What a configuration can use

Everything that corex takes of Kamailio's configuration language beyond its syntax, made from the
tables that `corex check` goes by (`corex list --markdown` prints this document). Where something
differs from Kamailio 5.6, it says so and why; where it says nothing, the tests compare corex with
the real one, or nothing is known to differ.

What needs transactions, dialogs, registrations or a database isn't here: corex stands in front of
what has them. `corex check` names everything that it doesn't know, with its place and the
nearest name that it does.
";

/// Text that Markdown takes as it is.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        if matches!(sign, '\\' | '*' | '_' | '<' | '>' | '[' | ']' | '|' | '#') {
            escaped.push('\\');
        }
        escaped.push(sign);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::differences::DIFFERENCES;
    use super::*;

    #[test]
    fn every_difference_is_one_of_something_that_exists() {
        for chapter in [
            Chapter::Functions,
            Chapter::Variables,
            Chapter::Transformations,
            Chapter::Parameters,
            Chapter::Modules,
        ] {
            let expected = DIFFERENCES.iter().filter(|one| one.chapter == chapter);
            let shown = entries(chapter);
            let shown = shown.iter().filter(|entry| entry.differs.is_some());
            assert_eq!(shown.count(), expected.count(), "{chapter:?}");
        }
    }

    #[test]
    fn the_document_is_what_the_tables_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let document = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            document == markdown(),
            "docs/configuration.md isn't what the tables say: \
             run `cargo run --bin corex list --markdown > docs/configuration.md`"
        );
    }
}
