//! What scripts of other languages name while a message is handled: compiled then, by the same
//! rules as the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::Names;
use super::{Checker, Pool};
use crate::function::{Module, Modules};
use crate::run::node::{Expr, Lvalue, Pv, RouteId, Transformation};
use crate::run::value::Source;
use crate::run::{MakeCompiler, Signature, TextCompiler};
use crate::settings::Settings;
use crate::syntax::ast::{self, Node, Str, Text};
use crate::syntax::diag::{Report, Severity};
use crate::syntax::pv::parse_pv;
use crate::syntax::span::Span;

/// What the check of a configuration leaves for later.
struct Known {
    modules: Modules,
    settings: Arc<Settings>,
    loaded: Vec<&'static Module>,
    avps: Names,
    vars: Names,
}

impl Checker {
    /// What the configuration sets, but for aliases: there may be a hundred thousand of them, and
    /// nothing asks for them by name.
    pub(super) fn settings_without_aliases(&self) -> Arc<Settings> {
        let mut settings = self.settings.clone();
        settings.alias.clear();
        settings.corex.alias_subdomains.clear();
        Arc::new(settings)
    }

    /// The route blocks that have names.
    pub(super) fn named_routes(&self) -> HashMap<String, RouteId> {
        self.route_names()
            .filter_map(|name| {
                let id = RouteId::try_from(self.find_route(name)?).ok()?;
                Some((name.to_owned(), id))
            })
            .collect()
    }

    /// Makes compilers that have all names of the configuration. To be called when everything
    /// else is checked.
    pub(super) fn make_compiler(&self, settings: &Arc<Settings>) -> MakeCompiler {
        let known = Arc::new(Known {
            modules: self.modules,
            settings: Arc::clone(settings),
            loaded: self.loaded.clone(),
            avps: self.avps.clone(),
            vars: self.vars.clone(),
        });
        Box::new(move || {
            let checker = Checker {
                pool: Pool::of(Source::ByName),
                ..Checker::new(
                    Report::new(),
                    known.modules,
                    Settings::clone(&known.settings),
                    known.loaded.clone(),
                    known.avps.clone(),
                    known.vars.clone(),
                )
            };
            Box::new(ByNameChecker {
                checker,
                known: Arc::clone(&known),
            })
        })
    }
}

/// The checker, for single texts.
struct ByNameChecker {
    checker: Checker,
    known: Arc<Known>,
}

impl TextCompiler for ByNameChecker {
    fn forget(&mut self) {
        self.checker.pool = Pool::of(Source::ByName);
        self.checker.avps = self.known.avps.clone();
    }

    fn pool(&self) -> &[u8] {
        &self.checker.pool.bytes
    }

    fn vars(&self) -> u16 {
        self.checker.vars.len().unwrap_or(u16::MAX)
    }

    fn pv(&mut self, text: &[u8]) -> Result<Pv, String> {
        let pv = self.parsed(text)?;
        let compiled = self.checker.pv(&pv);
        self.result(compiled)
    }

    fn target(&mut self, text: &[u8]) -> Result<Lvalue, String> {
        let pv = self.parsed(text)?;
        let compiled = self.checker.target(&pv);
        self.result(compiled)
    }

    fn format(&mut self, text: &[u8]) -> Result<Expr, String> {
        let compiled = self.checker.format(&literal(text));
        self.result(compiled)
    }

    fn substitution(&mut self, text: &[u8]) -> Result<Transformation, String> {
        let transformation = ast::Transformation {
            name: Node::new("re.subst".to_owned(), Span::NONE),
            args: Some(literal(text)),
        };
        let compiled = self.checker.transformation(&transformation);
        compiled.map_err(|diagnostic| diagnostic.message)
    }

    fn function(&self, module: Option<&str>, name: &str) -> Result<Signature, String> {
        let modules = self.known.modules;
        let found = match module {
            None => modules.find_function(name),
            Some(module) => modules
                .find(module)
                .and_then(|module| Some((module, module.function(name)?))),
        };
        let (module, function) = found.ok_or_else(|| format!("there is no function {name}()"))?;
        if !self.checker.is_loaded(module.name) {
            return Err(format!(
                "{name}() is in the module {}, which is not loaded",
                module.name
            ));
        }
        Ok(Signature {
            forms: function.forms,
            routes: function.routes,
            handler: function.handler,
        })
    }
}

impl ByNameChecker {
    fn parsed(&self, text: &[u8]) -> Result<ast::Pv, String> {
        if text.first() != Some(&b'$') {
            return Err("a pseudo-variable begins with $".to_owned());
        }
        match parse_pv(&literal(text), 0) {
            Ok((pv, after)) if after == text.len() => Ok(pv),
            Ok(_) => Err("something follows the pseudo-variable".to_owned()),
            Err(diagnostic) => Err(diagnostic.message),
        }
    }

    fn result<T>(&mut self, compiled: Option<T>) -> Result<T, String> {
        let report = std::mem::take(&mut self.checker.report);
        if let Some(compiled) = compiled {
            return Ok(compiled);
        }
        let diagnostics = report.diagnostics().iter();
        let mut errors = diagnostics.filter(|one| one.severity == Severity::Error);
        Err(errors.next().map_or_else(
            || "it can't be used here".to_owned(),
            |error| match error.help.first() {
                Some(help) => format!("{}; {help}", error.message),
                None => error.message.clone(),
            },
        ))
    }
}

fn literal(text: &[u8]) -> Str {
    Node::new(Text::new(text.to_vec()), Span::NONE)
}
