//! What scripts of other languages name while a message is handled: compiled then, by the same
//! rules as the configuration.

use super::{Checker, Pool};
use crate::run::program::{Expr, Lvalue, Pv, RouteId};
use crate::run::transform::{self, Transform};
use crate::run::value::Source;
use crate::run::{Known, TextCompiler};
use crate::syntax::ast::{Node, Str, Text, Transformation};
use crate::syntax::diag::{Report, Severity};
use crate::syntax::pv::parse_pv;
use crate::syntax::span::Span;

impl Checker {
    /// To be called when everything else is checked.
    pub(super) fn known(&mut self) -> Known {
        let mut settings = self.settings.clone();
        // There may be a hundred thousand of them, and nothing asks for them by name.
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

/// The checker, for single texts.
struct ByNameChecker(Checker);

/// One that has all names of the configuration.
pub(super) fn text_compiler(known: &Known) -> Box<dyn TextCompiler> {
    let checker = ByNameChecker(Checker {
        pool: Pool::of(Source::ByName),
        ..Checker::new(
            Report::new(),
            known.modules,
            known.settings.clone(),
            known.loaded.clone(),
            known.avps.clone(),
            known.vars.clone(),
        )
    });
    Box::new(checker)
}

impl TextCompiler for ByNameChecker {
    fn forget(&mut self, known: &Known) {
        self.0.pool = Pool::of(Source::ByName);
        self.0.avps = known.avps.clone();
    }

    fn pool(&self) -> &[u8] {
        &self.0.pool.bytes
    }

    fn vars(&self) -> u16 {
        self.0.vars.len().unwrap_or(u16::MAX)
    }

    fn pv(&mut self, text: &[u8]) -> Result<Pv, String> {
        let pv = self.parsed(text)?;
        let compiled = self.0.pv(&pv);
        self.result(compiled)
    }

    fn target(&mut self, text: &[u8]) -> Result<Lvalue, String> {
        let pv = self.parsed(text)?;
        let compiled = self.0.target(&pv);
        self.result(compiled)
    }

    fn format(&mut self, text: &[u8]) -> Result<Expr, String> {
        let compiled = self.0.format(&literal(text));
        self.result(compiled)
    }

    fn substitution(&mut self, text: &[u8]) -> Result<Transform, String> {
        let transformation = Transformation {
            name: Node::new("re.subst".to_owned(), Span::NONE),
            args: Some(literal(text)),
        };
        let checker = &mut self.0;
        transform::compile(&transformation, &mut |pv| checker.pv(pv))
            .map_err(|diagnostic| diagnostic.message)
    }
}

impl ByNameChecker {
    fn parsed(&self, text: &[u8]) -> Result<crate::syntax::ast::Pv, String> {
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
