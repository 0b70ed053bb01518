//! What modules say about the configuration as a whole.

use super::Checker;
use super::route::Place;
use crate::function::{ConstantCall, Review, Routes};
use crate::settings::Settings;
use crate::syntax::ast::Str;
use crate::syntax::diag::Diagnostic;
use crate::syntax::span::Span;

/// A line that sets a parameter of a module.
pub(super) struct Written {
    pub module: &'static str,
    pub parameter: &'static str,
    pub span: Span,
    /// Its value, where that is a string.
    pub text: Option<Str>,
    /// Whether its value was taken.
    pub is_taken: bool,
}

/// The checker, as a module looks at it.
pub(super) struct Reviewed<'a> {
    pub checker: &'a mut Checker,
    /// The module that looks.
    pub module: &'static str,
}

impl Review for Reviewed<'_> {
    fn settings(&self) -> &Settings {
        &self.checker.settings
    }

    fn block(&self, kinds: Routes) -> Option<Span> {
        let mut blocks = self.checker.routes.iter();
        let block = blocks.find(|block| {
            let kind = block.place.kind();
            kind != Routes::NONE && kind.without(kinds) == Routes::NONE
        });
        block.map(|block| block.span)
    }

    fn written(&self, parameters: &[&str]) -> Option<Span> {
        self.last(parameters, |_| true)
    }

    fn taken(&self, parameters: &[&str]) -> Option<Span> {
        self.last(parameters, |written| written.is_taken)
    }

    fn all_taken(&self, parameter: &str) -> Vec<Span> {
        let lines = self.checker.written.iter().filter(|line| {
            line.module == self.module && line.parameter == parameter && line.is_taken
        });
        lines.map(|line| line.span).collect()
    }

    fn has_message_avp(&self) -> bool {
        self.checker.msg_avp.is_some()
    }

    fn limit_block(&self) -> Option<Span> {
        let mut blocks = self.checker.routes.iter();
        blocks
            .find(|block| block.place == Place::Limit)
            .map(|block| block.span)
    }

    fn constant_calls(&self) -> &[ConstantCall] {
        &self.checker.constant_calls
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.checker.report(diagnostic);
    }
}

impl Reviewed<'_> {
    fn last(&self, parameters: &[&str], fits: impl Fn(&Written) -> bool) -> Option<Span> {
        let mut lines = self.checker.written.iter().rev();
        let line = lines.find(|line| {
            line.module == self.module && parameters.contains(&line.parameter) && fits(line)
        });
        line.map(|line| line.span)
    }
}
