//! What modules say about the configuration as a whole.

use super::Checker;
use crate::function::Routes;
use crate::settings::Settings;
use crate::syntax::diag::Diagnostic;
use crate::syntax::span::Span;

/// A line that sets a parameter of a module.
pub(super) struct Written {
    pub module: &'static str,
    pub parameter: &'static str,
    pub span: Span,
    /// Whether its value was taken.
    pub is_taken: bool,
}

/// A configuration that has been read to its end, as a module looks at it.
pub struct Review<'a> {
    pub(super) checker: &'a mut Checker,
    /// The module that looks.
    pub(super) module: &'static str,
}

impl Review<'_> {
    /// What it sets.
    pub fn settings(&self) -> &Settings {
        &self.checker.settings
    }

    /// The place of the first block of one of these kinds.
    pub fn block(&self, kinds: Routes) -> Option<Span> {
        let mut blocks = self.checker.routes.iter();
        let block = blocks.find(|block| {
            let kind = block.place.kind();
            kind != Routes::NONE && kind.without(kinds) == Routes::NONE
        });
        block.map(|block| block.span)
    }

    /// The last line that sets one of these parameters of the module's.
    pub fn written(&self, parameters: &[&str]) -> Option<Span> {
        self.last(parameters, |_| true)
    }

    /// The last one with a value that was taken.
    pub fn taken(&self, parameters: &[&str]) -> Option<Span> {
        self.last(parameters, |written| written.is_taken)
    }

    fn last(&self, parameters: &[&str], fits: impl Fn(&Written) -> bool) -> Option<Span> {
        let mut lines = self.checker.written.iter().rev();
        let line = lines.find(|line| {
            line.module == self.module && parameters.contains(&line.parameter) && fits(line)
        });
        line.map(|line| line.span)
    }

    /// Whether there is an AVP for what the hook makes of a message.
    pub fn has_message_avp(&self) -> bool {
        self.checker.msg_avp.is_some()
    }

    /// Adds to the report.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.checker.report(diagnostic);
    }
}
