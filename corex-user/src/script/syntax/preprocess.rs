//! Resolves `#!define`, `#!ifdef` and their like while tokens are read.
//!
//! A name that was defined stands for tokens, not for text: what a definition supplies can't merge with
//! what stands around it, and a comment behind a definition ends with it.

use super::diag::Diagnostic;
use super::lexer::{Lexer, UnterminatedString};
use super::span::{FileId, MAX_SOURCE_LEN, Span};
use super::token::{Directive, Token, TokenKind};
use std::collections::HashMap;

/// How deep conditions may nest.
const MAX_CONDITIONS: usize = 512;

/// How much the definitions of one text may supply altogether, in bytes of their text, and how deep they
/// may refer to each other: definitions that double each other would fill any memory.
const MAX_EXPANDED: usize = MAX_SOURCE_LEN;
const MAX_EXPANSION_DEPTH: usize = 32;

/// What a token costs beside its text.
const TOKEN_COST: usize = 16;

/// How many mistakes are worth collecting here; the report keeps fewer.
const MAX_DIAGNOSTICS: usize = 1000;

/// Reads a whole text. The tokens end with [`TokenKind::End`].
pub(super) fn tokens(file: FileId, text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    for one_line_strings in [false, true] {
        let mut preprocessor = Preprocessor {
            file,
            text,
            one_line_strings,
            lexer: Lexer::new(file, text, 0..text.len(), one_line_strings),
            tokens: Vec::new(),
            defines: HashMap::new(),
            conditions: Vec::new(),
            expanded: 0,
        };
        if preprocessor.run().is_ok() {
            return (preprocessor.tokens, preprocessor.lexer.diagnostics);
        }
    }
    // Strings that have to end on their lines always end.
    (Vec::new(), Vec::new())
}

struct Definition {
    tokens: Vec<Token>,
    place: Span,
    /// Being replaced right now: a name within its own definition stays a name.
    open: bool,
}

/// An `#!ifdef` or `#!ifndef` that is open.
struct Condition {
    place: Span,
    holds: bool,
    seen_else: bool,
}

struct Preprocessor<'a> {
    file: FileId,
    text: &'a str,
    one_line_strings: bool,
    lexer: Lexer<'a>,
    tokens: Vec<Token>,
    defines: HashMap<String, Definition>,
    conditions: Vec<Condition>,
    expanded: usize,
}

impl Preprocessor<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.lexer.diagnostics.push(diagnostic);
    }

    fn run(&mut self) -> Result<(), UnterminatedString> {
        loop {
            let token = self.lexer.next()?;
            match token.kind {
                TokenKind::End => {
                    for condition in std::mem::take(&mut self.conditions) {
                        self.report(
                            Diagnostic::error(
                                condition.place,
                                "this condition does not end before the end of the file",
                            )
                            .help("end it with a line `#!endif`"),
                        );
                    }
                    self.tokens.push(token);
                    return Ok(());
                }
                TokenKind::Directive(directive) => self.directive(directive, token.span)?,
                TokenKind::Word(ref word) if self.defines.contains_key(word) => {
                    let word = word.clone();
                    self.expand(&word, &token, 0);
                }
                _ => self.tokens.push(token),
            }
            if self.lexer.diagnostics.len() >= MAX_DIAGNOSTICS {
                let rest = self.lexer.span(self.text.len()..self.text.len());
                self.tokens.push(end_token(rest));
                return Ok(());
            }
        }
    }

    fn directive(&mut self, directive: Directive, place: Span) -> Result<(), UnterminatedString> {
        match directive {
            Directive::Define | Directive::TryDefine | Directive::Redefine => {
                self.define(directive, place)?;
            }
            Directive::IfDef | Directive::IfNDef => {
                let holds = match self.lexer.name_on_line() {
                    Some((name, _)) => {
                        self.end_of_directive();
                        self.defines.contains_key(name) == (directive == Directive::IfDef)
                    }
                    None => {
                        self.name_missing(place);
                        true
                    }
                };
                self.open(place, holds);
            }
            Directive::Else => {
                self.end_of_directive();
                self.otherwise(place);
            }
            Directive::EndIf => {
                self.end_of_directive();
                if self.conditions.pop().is_none() {
                    self.report(
                        Diagnostic::error(place, "there is no condition to end here")
                            .label("expected an `#!ifdef` or `#!ifndef` before it"),
                    );
                }
            }
            Directive::Unsupported => self.unsupported(place),
            Directive::IfExp => {
                self.unsupported(place);
                self.open(place, true);
            }
            Directive::Unknown => {
                self.lexer.rest_of_line();
                self.report(
                    Diagnostic::warning(place, "this directive is not known and does nothing")
                        .label("taken as a comment")
                        .help("known are #!define, #!trydef, #!redefine, #!ifdef, #!ifndef, #!else, #!endif"),
                );
            }
        }
        self.skip_what_does_not_hold();
        Ok(())
    }

    fn open(&mut self, place: Span, holds: bool) {
        if self.conditions.len() >= MAX_CONDITIONS {
            self.report(Diagnostic::error(
                place,
                format!("conditions nest deeper than {MAX_CONDITIONS} levels"),
            ));
            return;
        }
        self.conditions.push(Condition {
            place,
            holds,
            seen_else: false,
        });
    }

    fn otherwise(&mut self, place: Span) {
        match self.conditions.last_mut() {
            Some(condition) if !condition.seen_else => {
                condition.seen_else = true;
                condition.holds = !condition.holds;
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

    /// Only conditions are looked at in text that a condition switches off.
    fn skip_what_does_not_hold(&mut self) {
        let mut nested: Vec<Span> = Vec::new();
        while self.conditions.last().is_some_and(|last| !last.holds) {
            self.lexer.skip_to_directive();
            // Directives are no strings: this never fails, and at the end of the text it yields the end.
            let Ok(token) = self.lexer.next() else {
                return;
            };
            let TokenKind::Directive(directive) = token.kind else {
                for place in nested {
                    self.open(place, true);
                }
                return;
            };
            match directive {
                Directive::IfDef | Directive::IfNDef | Directive::IfExp => nested.push(token.span),
                Directive::EndIf if nested.pop().is_none() => {
                    self.end_of_directive();
                    self.conditions.pop();
                    continue;
                }
                Directive::Else if nested.is_empty() => {
                    self.end_of_directive();
                    self.otherwise(token.span);
                    continue;
                }
                _ => {}
            }
            self.lexer.rest_of_line();
        }
    }

    fn name_missing(&mut self, place: Span) {
        self.lexer.rest_of_line();
        self.report(
            Diagnostic::error(place.after(), "the directive has no name")
                .label("expected a name: letters, digits and `_`"),
        );
    }

    /// Nothing but a comment may follow on the line.
    fn end_of_directive(&mut self) {
        let rest = self.lexer.rest_of_line();
        let text = self.text.get(rest.clone()).unwrap_or("");
        let tail = text.trim_start();
        if tail.is_empty() || tail.starts_with(['#', ';']) || tail.starts_with("//") {
            return;
        }
        if tail.starts_with("/*") && tail.trim_end().ends_with("*/") {
            return;
        }
        let start = rest.end - tail.len();
        let place = self.lexer.span(start..start + tail.trim_end().len());
        self.report(
            Diagnostic::error(place, "this does not belong to the directive")
                .label("expected the end of the line")
                .help("a name has letters, digits and `_` only; a condition tests one name"),
        );
    }

    fn define(&mut self, how: Directive, place: Span) -> Result<(), UnterminatedString> {
        let Some((name, name_place)) = self.lexer.name_on_line() else {
            self.name_missing(place);
            return Ok(());
        };
        let value = self.lexer.rest_of_logical_line();
        let text = self.text.get(value.clone()).unwrap_or("");
        if text.starts_with(|c: char| !c.is_whitespace() && !matches!(c, '#' | '/')) {
            self.report(
                Diagnostic::error(
                    self.lexer.span(value.start..value.start + 1),
                    "this character can't be part of a name",
                )
                .label("expected a space after the name")
                .help("a name has letters, digits and `_` only; definitions take no parameters"),
            );
            return Ok(());
        }
        let mut lexer = Lexer::new(self.file, self.text, value, self.one_line_strings);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next()?;
            match token.kind {
                TokenKind::End => break,
                TokenKind::Directive(_) => {
                    lexer.rest_of_logical_line();
                }
                _ => tokens.push(token),
            }
        }
        self.lexer.diagnostics.append(&mut lexer.diagnostics);
        let known = self.defines.get(name).map(|known| known.place);
        match (known, how) {
            (Some(_), Directive::TryDefine) => return Ok(()),
            (Some(first), Directive::Define) => {
                self.report(
                    Diagnostic::error(name_place, format!("`{name}` is defined already"))
                        .related(first, "it was defined here")
                        .help("#!redefine replaces a definition, #!trydef leaves it as it is"),
                );
                return Ok(());
            }
            _ => {}
        }
        let definition = Definition {
            tokens,
            place: name_place,
            open: false,
        };
        self.defines.insert(name.to_owned(), definition);
        Ok(())
    }

    /// Puts what `name` stands for in place of `used`.
    fn expand(&mut self, name: &str, used: &Token, depth: usize) {
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
            self.expanded += TOKEN_COST + (token.span.end - token.span.start) as usize;
            let token = Token {
                kind: token.kind.clone(),
                span: used.span,
                glued: if index == 0 { used.glued } else { token.glued },
                starts_line: index == 0 && used.starts_line,
            };
            match &token.kind {
                TokenKind::Word(word) if self.defines.contains_key(word) => {
                    let word = word.clone();
                    self.expand(&word, &token, depth + 1);
                }
                _ => self.tokens.push(token),
            }
        }
        if let Some(definition) = self.defines.get_mut(name) {
            definition.tokens = tokens;
            definition.open = false;
        }
    }

    fn unsupported(&mut self, place: Span) {
        self.lexer.rest_of_logical_line();
        let name = self
            .text
            .get(place.start as usize..place.end as usize)
            .unwrap_or("");
        let help = match name.get(2..).unwrap_or("") {
            "SER" => "write #!KAMAILIO: the language is Kamailio's",
            "include_file" | "import_file" => "put the file's text here",
            "ifexp" => "use #!ifdef or #!ifndef",
            _ => "use #!define",
        };
        let message = format!("{name} is not supported");
        self.report(Diagnostic::error(place, message).help(help));
    }
}

fn end_token(span: Span) -> Token {
    Token {
        kind: TokenKind::End,
        span,
        glued: false,
        starts_line: true,
    }
}
