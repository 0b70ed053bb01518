//! The tables that the checker, the interpreter and the documentation share.

use std::collections::HashSet;

use crate::module::MODULES;
use corex_script::compile::CORE_PARAMETERS;
use corex_script::run::pv;

#[test]
fn every_entry_has_a_sentence_and_a_name_of_its_own() {
    let mut names = HashSet::new();
    let mut check = |scope: &str, name: &str, doc: &str| {
        assert!(
            doc.len() > 5 && doc.ends_with('.'),
            "{scope} {name}: {doc:?}"
        );
        assert!(names.insert(format!("{scope} {name}")), "{scope} {name}");
    };
    for param in CORE_PARAMETERS {
        check("core", param.name, param.doc);
    }
    for def in pv::all() {
        check("pv", def.name, def.doc);
    }
    for module in MODULES.iter() {
        check("module", module.name, module.doc);
        for function in module.functions {
            for name in std::iter::once(&function.name).chain(function.aliases) {
                check("function", name, function.doc);
            }
        }
        for param in module.parameters {
            for name in std::iter::once(&param.name).chain(param.aliases) {
                check(module.name, name, param.doc);
            }
        }
    }
}
