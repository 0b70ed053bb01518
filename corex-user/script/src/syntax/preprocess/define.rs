//! `#!define` and its like, and what they supply.

use super::super::ast::Text;
use super::super::diag::Diagnostic;
use super::super::lexer::{Lexer, UnterminatedString};
use super::super::span::{FileId, MAX_SOURCE_LEN, Source, Span};
use super::super::token::{Directive, EnvDefinition, Token, TokenKind};
use super::{MAX_EXPANDED, Preprocessor, Read, TOKEN_COST, Unterminated};

/// How deep definitions may refer to each other.
const MAX_EXPANSION_DEPTH: usize = 32;

pub(super) struct Definition {
    tokens: Vec<Token>,
    place: Span,
    /// Being replaced right now: a name within its own definition stays a name.
    open: bool,
}

impl Preprocessor<'_, '_> {
    pub(super) fn define(&mut self, lexer: &mut Lexer<'_>, how: Directive, place: Span) -> Read {
        let Some((name, name_place)) = lexer.name_on_line() else {
            self.name_missing(lexer, place);
            return Ok(());
        };
        let value = lexer.rest_of_logical_line();
        let text = lexer.slice(value.clone());
        if text.starts_with(|c: char| !c.is_whitespace() && !matches!(c, '#' | '/')) {
            self.report(
                Diagnostic::error(
                    lexer.span(value.start..value.start + 1),
                    "this character can't be part of a name",
                )
                .label("expected a space after the name")
                .help("a name has letters, digits and `_` only; definitions take no parameters"),
            );
            return Ok(());
        }
        let mut inner = lexer.within(value);
        let tokens = definition_tokens(&mut inner).map_err(|_| Unterminated(place.file))?;
        self.diagnostics.append(&mut inner.diagnostics);
        self.set(name, name_place, tokens, how);
        Ok(())
    }

    /// Sets a definition, if `how` allows it.
    pub(super) fn set(&mut self, name: &str, place: Span, tokens: Vec<Token>, how: Directive) {
        let known = self.defines.get(name).map(|known| known.place);
        match (known, how) {
            (Some(_), Directive::TryDefine) => return,
            (Some(_), Directive::Redefine) | (None, _) => {}
            (Some(first), _) => {
                self.report(
                    Diagnostic::error(place, format!("`{name}` is defined already"))
                        .related(first, "it was defined here")
                        .help("#!redefine replaces a definition, #!trydef leaves it as it is"),
                );
                return;
            }
        }
        let definition = Definition {
            tokens,
            place,
            open: false,
        };
        self.defines.insert(name.to_owned(), definition);
    }

    /// The tokens of a value that stands in no file as it is. `name` is what reports call it.
    pub(super) fn value_tokens(&mut self, name: String, text: &str, place: Span) -> Vec<Token> {
        let Some(file) = self.add_value(name, text, place) else {
            return Vec::new();
        };
        for one_line_strings in [false, true] {
            let mut lexer = Lexer::new(file, text, 0..text.len(), one_line_strings);
            if let Ok(tokens) = definition_tokens(&mut lexer) {
                self.diagnostics.append(&mut lexer.diagnostics);
                return tokens;
            }
        }
        Vec::new()
    }

    fn add_value(&mut self, name: String, text: &str, place: Span) -> Option<FileId> {
        self.total = self.total.saturating_add(text.len());
        let source = Source::new(name, text).asked_for("used by", place);
        let file = (self.total <= MAX_SOURCE_LEN)
            .then(|| self.sources.add_source(source).ok())
            .flatten();
        if file.is_none() {
            self.report(Diagnostic::error(
                place,
                "the values of definitions are too large altogether",
            ));
            self.stopped = true;
        }
        file
    }

    /// `#!defenv NAME` or `#!defenv NAME=VARIABLE`.
    pub(super) fn define_by_environment(
        &mut self,
        lexer: &mut Lexer<'_>,
        how: EnvDefinition,
        place: Span,
    ) {
        let Some((name, name_place)) = lexer.name_on_line() else {
            self.name_missing(lexer, place);
            return;
        };
        let variable = lexer.env_name().unwrap_or(name);
        self.end_of_directive(lexer);
        let value = match std::env::var(variable) {
            Ok(value) => value,
            Err(std::env::VarError::NotPresent) => {
                if !how.optional {
                    self.report(
                        Diagnostic::error(
                            name_place,
                            format!("there is no environment variable `{variable}`"),
                        )
                        .help("#!trydefenv defines the name only if the variable is set"),
                    );
                }
                return;
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                self.report(Diagnostic::error(
                    name_place,
                    format!("the environment variable `{variable}` is not valid UTF-8"),
                ));
                return;
            }
        };
        let tokens = if how.string {
            vec![string_token(value.into_bytes(), place)]
        } else {
            self.value_tokens(format!("environment variable {variable}"), &value, place)
        };
        self.set(name, name_place, tokens, Directive::Define);
    }

    /// Puts what `name` stands for in place of `used`.
    pub(super) fn expand(&mut self, name: &str, used: &Token, depth: usize) {
        let Some(definition) = self.defines.get_mut(name) else {
            return;
        };
        let place = definition.place;
        if definition.open || depth >= MAX_EXPANSION_DEPTH {
            self.report(
                Diagnostic::error(
                    used.span,
                    format!("the definition of `{name}` leads back to itself"),
                )
                .related(place, "it is defined here"),
            );
            return;
        }
        if definition.tokens.is_empty() {
            // As in Kamailio, a name without a value is for conditions only, and vanishes elsewhere.
            return;
        }
        definition.open = true;
        let tokens = std::mem::take(&mut definition.tokens);
        for (index, token) in tokens.iter().enumerate() {
            if self.expanded >= MAX_EXPANDED {
                self.report(Diagnostic::error(
                    used.span,
                    "the definitions supply too much text",
                ));
                break;
            }
            let len = match &token.kind {
                TokenKind::Str(text) => text.value.len(),
                _ => (token.span.end - token.span.start) as usize,
            };
            self.expanded += TOKEN_COST + len;
            let token = Token {
                kind: match &token.kind {
                    // Its places are in the definition's text, not where the name was used.
                    TokenKind::Str(text) => TokenKind::Str(Text::new(text.value.clone())),
                    kind => kind.clone(),
                },
                span: used.span,
                glued: if index == 0 { used.glued } else { token.glued },
                starts_line: index == 0 && used.starts_line,
            };
            match &token.kind {
                TokenKind::Word(word) if self.defines.contains_key(word) => {
                    let word = word.clone();
                    self.expand(&word, &token, depth + 1);
                }
                _ => self.push(token),
            }
        }
        if let Some(definition) = self.defines.get_mut(name) {
            definition.tokens = tokens;
            definition.open = false;
        }
    }
}

/// A token that is a string with this value.
pub(super) fn string_token(value: Vec<u8>, place: Span) -> Token {
    Token {
        kind: TokenKind::Str(Text::new(value)),
        span: place,
        glued: false,
        starts_line: false,
    }
}

/// All tokens of a definition's value.
fn definition_tokens(lexer: &mut Lexer<'_>) -> Result<Vec<Token>, UnterminatedString> {
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        match token.kind {
            TokenKind::End => return Ok(tokens),
            TokenKind::Directive(_) => {
                lexer.rest_of_logical_line();
            }
            _ => tokens.push(token),
        }
    }
}
