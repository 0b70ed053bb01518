//! What scripts of other languages name while a message is handled: compiled then, by the same
//! rules as the configuration.

use std::any::Any;
use std::collections::HashMap;

use super::{Checker, Names, Pool};
use crate::script::function::{CORE, Module, Modules};
use crate::script::program::{Expr, Pv, RouteId, Target};
use crate::script::settings::Settings;
use crate::script::syntax::ast::{Node, Str, Text, Transformation};
use crate::script::syntax::diag::{Report, Severity};
use crate::script::syntax::pv::parse_pv;
use crate::script::syntax::span::Span;
use crate::script::transform::{self, Transform};
use crate::script::value::Source;

/// What the check of a configuration leaves for later.
#[derive(Clone)]
pub(crate) struct Known {
    /// All modules that there are.
    pub modules: Modules,
    /// What the configuration sets, but for aliases.
    pub settings: Settings,
    loaded: Vec<&'static Module>,
    avps: Names,
    vars: Names,
    routes: HashMap<String, RouteId>,
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

impl Checker {
    /// To be called when everything else is checked.
    pub(super) fn known(&mut self) -> Known {
        let mut settings = self.settings.clone();
        // There may be a hundred thousand of them, and nothing late asks.
        settings.alias.clear();
        settings.corex.alias_subdomains.clear();
        let routes = self.route_names().map(str::to_owned).collect::<Vec<_>>();
        Known {
            modules: self.modules,
            settings,
            loaded: self.loaded.clone(),
            avps: self.avps.clone(),
            vars: self.vars.clone(),
            routes: routes
                .into_iter()
                .filter_map(|name| {
                    let id = RouteId::try_from(self.find_route(&name)?).ok()?;
                    Some((name, id))
                })
                .collect(),
        }
    }
}

/// Compiles single texts. Its constants are strings of [`Source::Late`].
pub(crate) struct LateChecker(Checker);

impl LateChecker {
    /// One that has all names of the configuration.
    pub fn new(known: &Known) -> LateChecker {
        LateChecker(Checker {
            pool: Pool::of(Source::Late),
            ..Checker::new(
                Report::new(),
                known.modules,
                known.settings.clone(),
                known.loaded.clone(),
                known.avps.clone(),
                known.vars.clone(),
            )
        })
    }

    /// Forgets everything that was compiled but the names of `$var()`.
    pub fn forget(&mut self, known: &Known) {
        self.0.pool = Pool::of(Source::Late);
        self.0.avps = known.avps.clone();
    }

    /// Every constant, one after the other.
    pub fn pool(&self) -> &[u8] {
        &self.0.pool.bytes
    }

    /// Number of different `$var()`.
    pub fn vars(&self) -> u16 {
        self.0.vars.len().unwrap_or(u16::MAX)
    }

    /// A pseudo-variable that is read; the text is nothing but that.
    pub fn pv(&mut self, text: &[u8]) -> Result<Pv, String> {
        let pv = self.parsed(text)?;
        let compiled = self.0.pv(&pv);
        self.result(compiled)
    }

    /// One that is written.
    pub fn target(&mut self, text: &[u8]) -> Result<Target, String> {
        let pv = self.parsed(text)?;
        let compiled = self.0.target(&pv);
        self.result(compiled)
    }

    /// Text with pseudo-variables.
    pub fn format(&mut self, text: &[u8]) -> Result<Expr, String> {
        let compiled = self.0.format(&literal(text));
        self.result(compiled)
    }

    /// `/regex/replacement/flags`.
    pub fn substitution(&mut self, text: &[u8]) -> Result<Transform, String> {
        let transformation = Transformation {
            name: Node::new("re.subst".to_owned(), Span::NONE),
            args: Some(literal(text)),
        };
        let checker = &mut self.0;
        transform::compile(&transformation, &mut |pv| checker.pv(pv))
            .map_err(|diagnostic| diagnostic.message)
    }

    fn parsed(&self, text: &[u8]) -> Result<crate::script::syntax::ast::Pv, String> {
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
        let report = std::mem::take(&mut self.0.report);
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
