//! `#!subst`, `#!substdef`, `#!substdefs`: what they replace in strings and pseudo-variables.

use super::super::ast::{Node, Pv, Text};
use super::super::diag::Diagnostic;
use super::super::lexer::Lexer;
use super::super::pv::parse_pv;
use super::super::span::Span;
use super::super::token::{Directive, Token, TokenKind, short};
use super::rule::{Substitution, Written};
use super::{MAX_EXPANDED, Preprocessor, Read, Unterminated};
use std::borrow::Cow;
use std::ops::Range;

/// How many substitutions there may be.
const MAX_SUBSTITUTIONS: usize = 1000;

/// How many bytes all patterns together may look at: every one sees every string.
const MAX_WORK: usize = 256 << 20;

/// What looking at a string costs beside its bytes.
const LOOK_COST: usize = 32;

/// All that were written so far, in order.
#[derive(Default)]
pub(super) struct Substitutions {
    all: Vec<Substitution>,
    work: usize,
}

impl Preprocessor<'_, '_> {
    pub(super) fn substitution(
        &mut self,
        lexer: &mut Lexer<'_>,
        directive: Directive,
        place: Span,
    ) -> Read {
        let string = lexer.string_here().map_err(|_| Unterminated(place.file))?;
        let Some((text, span)) = string else {
            lexer.rest_of_line();
            self.report(
                Diagnostic::error(place.after(), "the directive has no substitution")
                    .label("expected \"/regular expression/replacement/\""),
            );
            return Ok(());
        };
        // Earlier substitutions have seen this string too, as in Kamailio.
        let token = self.substituted(Token {
            kind: TokenKind::Str(text),
            span,
            glued: false,
            starts_line: false,
        });
        let TokenKind::Str(text) = token.kind else {
            return Ok(());
        };
        if self.substitutions.all.len() >= MAX_SUBSTITUTIONS {
            self.report(Diagnostic::error(
                span,
                format!("there are more than {MAX_SUBSTITUTIONS} substitutions"),
            ));
            self.stopped = true;
            return Ok(());
        }
        match Written::read(&text.value) {
            Ok(written) => {
                self.substitutions.all.push(written.substitution);
                if directive != Directive::Subst {
                    let string = directive == Directive::SubstDefString;
                    self.define_substituted(&text, written.name, written.value, string, span);
                }
            }
            Err(mistake) => {
                // What stands behind may belong to the mistake: a quotation mark ended the string too early.
                lexer.rest_of_line();
                let at = text.locate(mistake.range, span);
                let mut diagnostic = Diagnostic::error(at, mistake.message);
                diagnostic.label = mistake.label;
                diagnostic.help.extend(mistake.help);
                self.report(diagnostic);
            }
        }
        Ok(())
    }

    /// Defines what a `#!substdef` names.
    fn define_substituted(
        &mut self,
        text: &Text,
        name: Range<usize>,
        value: Vec<u8>,
        string: bool,
        span: Span,
    ) {
        let place = text.locate(name.clone(), span);
        let name = text.value.get(name).unwrap_or_default();
        let is_name = name.first().is_some_and(|first| !first.is_ascii_digit())
            && name
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let Some(name) = std::str::from_utf8(name).ok().filter(|_| is_name) else {
            let mut diagnostic =
                Diagnostic::warning(place, "this is not a name, so it defines nothing")
                    .help("#!subst replaces in strings without defining a name");
            if place == span {
                let became = String::from_utf8_lossy(name);
                let label = format!("an earlier substitution made it `{}`", short(&became));
                diagnostic = diagnostic.label(label);
            }
            self.report(diagnostic);
            return;
        };
        let Ok(mut value) = String::from_utf8(value) else {
            self.report(Diagnostic::error(span, "the value is not valid UTF-8"));
            return;
        };
        if string {
            value = format!("\"{value}\"");
        }
        let tokens = self.value_tokens(format!("the value of {name}"), &value, span);
        self.set(name, place, tokens, Directive::Define);
    }

    /// A string or a pseudo-variable after all substitutions.
    pub(super) fn substituted(&mut self, token: Token) -> Token {
        if self.substitutions.all.is_empty() {
            return token;
        }
        let kind = match token.kind {
            TokenKind::Str(text) => match self.substituted_bytes(&text.value, token.span) {
                Cow::Borrowed(_) => TokenKind::Str(text),
                Cow::Owned(value) => TokenKind::Str(Text::new(value)),
            },
            TokenKind::Pv(pv) => TokenKind::Pv(self.substituted_pv(pv, token.span)),
            kind => kind,
        };
        Token { kind, ..token }
    }

    fn substituted_pv(&mut self, pv: Box<Pv>, place: Span) -> Box<Pv> {
        let text = pv.to_string();
        let Cow::Owned(value) = self.substituted_bytes(text.as_bytes(), place) else {
            return pv;
        };
        let shown = String::from_utf8_lossy(&value).into_owned();
        // Source text is UTF-8, and so is a variable in it.
        let is_pv = value.starts_with(b"$") && shown.as_bytes() == value;
        let len = value.len();
        let text = Node::new(Text::new(value), place);
        match parse_pv(&text, 0) {
            Ok((replaced, after)) if is_pv && after == len => Box::new(replaced),
            _ => {
                self.report(
                    Diagnostic::error(place, "a substitution makes this no variable")
                        .label(format!("it becomes `{}`", short(&shown))),
                );
                pv
            }
        }
    }

    /// A text after all substitutions; borrowed if it is as it was.
    pub(super) fn substituted_bytes<'t>(&mut self, text: &'t [u8], place: Span) -> Cow<'t, [u8]> {
        let mut text = Cow::Borrowed(text);
        for substitution in &self.substitutions.all {
            self.substitutions.work += text.len() + LOOK_COST;
            if let Some(replaced) = substitution.apply(&text, MAX_EXPANDED) {
                self.expanded += replaced.len();
                text = Cow::Owned(replaced);
            }
            if self.substitutions.work > MAX_WORK || self.expanded > MAX_EXPANDED {
                self.stopped = true;
                self.diagnostics.push(Diagnostic::error(
                    place,
                    "the substitutions have too much to do, or supply too much text",
                ));
                break;
            }
        }
        text
    }
}
