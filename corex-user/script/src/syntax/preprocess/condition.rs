//! `#!ifdef`, `#!ifndef`, `#!else`, `#!endif`.

use super::super::diag::Diagnostic;
use super::super::lexer::Lexer;
use super::super::span::{FileId, Span};
use super::super::token::{Directive, TokenKind};
use super::Preprocessor;

/// How deep conditions may nest.
const MAX_CONDITIONS: usize = 512;

/// An `#!ifdef` or `#!ifndef` that is open.
pub(super) struct Condition {
    place: Span,
    holds: bool,
    seen_else: bool,
    /// It stands in text that another condition switches off: it never holds.
    dead: bool,
}

impl Preprocessor<'_, '_> {
    pub(super) fn open(&mut self, place: Span, holds: bool) {
        if self.conditions.len() >= MAX_CONDITIONS {
            self.report(Diagnostic::error(
                place,
                format!("conditions nest deeper than {MAX_CONDITIONS} levels"),
            ));
            // Which `#!endif` belongs to which condition isn't known any more.
            self.stopped = true;
            return;
        }
        let dead = self.is_off();
        self.conditions.push(Condition {
            place,
            holds: holds && !dead,
            seen_else: false,
            dead,
        });
    }

    fn is_off(&self) -> bool {
        self.conditions.last().is_some_and(|last| !last.holds)
    }

    pub(super) fn otherwise(&mut self, place: Span) {
        match self.conditions.last_mut() {
            Some(condition) if !condition.seen_else => {
                condition.seen_else = true;
                condition.holds = !condition.holds && !condition.dead;
            }
            Some(condition) => {
                let begin = condition.place;
                self.report(
                    Diagnostic::error(place, "this condition has an `#!else` already")
                        .label("expected `#!endif`")
                        .related(begin, "the condition begins here"),
                );
            }
            None => self.report(
                Diagnostic::error(place, "there is no condition for this `#!else`")
                    .label("expected an `#!ifdef` or `#!ifndef` before it"),
            ),
        }
    }

    pub(super) fn close(&mut self, place: Span) {
        if self.conditions.pop().is_none() {
            self.report(
                Diagnostic::error(place, "there is no condition to end here")
                    .label("expected an `#!ifdef` or `#!ifndef` before it"),
            );
        }
    }

    /// Only conditions are looked at in text that a condition switches off. At the end of such a text
    /// the file that includes it is skipped on.
    pub(super) fn skip_what_does_not_hold(&mut self, lexer: &mut Lexer<'_>) {
        while self.is_off() && !self.stopped {
            lexer.skip_to_directive();
            // Directives are no strings: this never fails, and at the end of the text it yields the end.
            let Ok(token) = lexer.next() else {
                return;
            };
            let TokenKind::Directive(directive) = token.kind else {
                return;
            };
            match directive {
                Directive::IfDef | Directive::IfNDef | Directive::IfExp => {
                    lexer.rest_of_line();
                    self.open(token.span, false);
                }
                Directive::Else => {
                    self.end_of_directive(lexer);
                    self.otherwise(token.span);
                }
                Directive::EndIf => {
                    self.end_of_directive(lexer);
                    self.close(token.span);
                }
                _ => {
                    lexer.rest_of_line();
                }
            }
        }
    }

    pub(super) fn report_open_conditions(&mut self, main: FileId) {
        if self.stopped {
            return;
        }
        for condition in std::mem::take(&mut self.conditions) {
            let whole = if condition.place.file == main {
                "file"
            } else {
                "configuration"
            };
            self.report(
                Diagnostic::error(
                    condition.place,
                    format!("this condition does not end before the end of the {whole}"),
                )
                .help("end it with a line `#!endif`"),
            );
        }
    }
}
