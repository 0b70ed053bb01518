//! Resolves `#!define`, `#!ifdef`, `#!subst`, `include_file` and their like while tokens are read.
//!
//! A name that was defined stands for tokens, not for text: what a definition supplies can't merge with
//! what stands around it, and a comment behind a definition ends with it. What a substitution
//! replaces are the values of strings and the text of pseudo-variables. All of it goes on from one
//! file into the next, as in Kamailio: also a condition may end in another file than it began in.

mod condition;
mod define;
mod include;
mod rule;
mod subst;

use super::diag::Diagnostic;
use super::lexer::Lexer;
use super::read::ReadFile;
use super::span::{FileId, MAX_SOURCE_LEN, Sources, Span};
use super::token::{Directive, Include, Token, TokenKind};
use condition::Condition;
use define::Definition;
use include::Files;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use subst::Substitutions;

/// How much definitions and substitutions may supply altogether, in bytes of their text: definitions that double
/// each other would fill any memory.
const MAX_EXPANDED: usize = MAX_SOURCE_LEN;

/// What a token costs beside its text.
const TOKEN_COST: usize = 16;

/// How many mistakes are worth collecting here; the report keeps fewer.
const MAX_DIAGNOSTICS: usize = 1000;

/// How often the texts are read again because a string had no end. Each time one more file has strings that
/// must end on their lines, the last time all have.
const MAX_ATTEMPTS: usize = 4;

/// Reads a whole text and what it includes. The tokens end with [`TokenKind::End`].
pub(super) fn tokens(
    main: FileId,
    sources: &mut Sources,
    read_file: &ReadFile<'_>,
) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut files = Files::new(read_file);
    let mut one_line_strings = HashSet::new();
    for attempt in 1..=MAX_ATTEMPTS {
        sources.forget_after(main);
        let mut preprocessor = Preprocessor {
            sources: &mut *sources,
            files: &mut files,
            one_line_strings: &one_line_strings,
            all_one_line: attempt == MAX_ATTEMPTS,
            tokens: Vec::new(),
            diagnostics: Vec::new(),
            defines: HashMap::new(),
            conditions: Vec::new(),
            substitutions: Substitutions::default(),
            expanded: 0,
            included: Vec::new(),
            inclusions: 0,
            total: 0,
            stopped: false,
        };
        match preprocessor.text(main) {
            Ok(()) => {
                preprocessor.end(main);
                return (preprocessor.tokens, preprocessor.diagnostics);
            }
            Err(Unterminated(file)) => {
                let name = preprocessor.name_of(file);
                one_line_strings.insert(name);
            }
        }
    }
    // Strings that have to end on their lines always end.
    (Vec::new(), Vec::new())
}

/// A string has no end in this text.
struct Unterminated(FileId);

type Read = Result<(), Unterminated>;

struct Preprocessor<'a, 'f> {
    sources: &'a mut Sources,
    files: &'a mut Files<'f>,
    /// Names of the texts in which strings must end on their lines.
    one_line_strings: &'a HashSet<String>,
    /// The same for all texts.
    all_one_line: bool,
    tokens: Vec<Token>,
    diagnostics: Vec<Diagnostic>,
    defines: HashMap<String, Definition>,
    conditions: Vec<Condition>,
    substitutions: Substitutions,
    expanded: usize,
    /// The files that are being read, each included by the one before it; without the configuration itself.
    included: Vec<FileId>,
    /// How many files were included.
    inclusions: usize,
    /// Bytes of all texts beside the configuration itself.
    total: usize,
    /// There is no point in reading on.
    stopped: bool,
}

impl Preprocessor<'_, '_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn name_of(&self, file: FileId) -> String {
        self.sources
            .get(file)
            .map_or_else(String::new, |source| source.name().to_owned())
    }

    /// A lexer for a text, for one that it may borrow from.
    fn lexer<'t>(&self, file: FileId, text: &'t str) -> Lexer<'t> {
        let one_line = self.all_one_line
            || self
                .sources
                .get(file)
                .is_some_and(|source| self.one_line_strings.contains(source.name()));
        Lexer::new(file, text, 0..text.len(), one_line)
    }

    /// Reads one text, and what it includes.
    fn text(&mut self, file: FileId) -> Read {
        let text = self
            .sources
            .get(file)
            .map_or_else(|| Arc::from(""), |source| source.text().clone());
        let mut lexer = self.lexer(file, &text);
        self.skip_what_does_not_hold(&mut lexer);
        while !self.stopped {
            let token = lexer.next().map_err(|_| Unterminated(file))?;
            match &token.kind {
                TokenKind::End => break,
                TokenKind::Directive(directive) => {
                    self.directive(&mut lexer, *directive, token.span)?;
                    self.skip_what_does_not_hold(&mut lexer);
                }
                TokenKind::Word(word) => {
                    let inclusion = Include::from_word(word)
                        .and_then(|include| Some((include, lexer.quoted_name()?)));
                    match inclusion {
                        Some((include, (path, place))) => {
                            self.include(&mut lexer, include, path, place)?;
                            self.skip_what_does_not_hold(&mut lexer);
                        }
                        None => self.push(token),
                    }
                }
                _ => self.push(token),
            }
            if self.diagnostics.len() + lexer.diagnostics.len() >= MAX_DIAGNOSTICS {
                self.stopped = true;
            }
        }
        self.diagnostics.append(&mut lexer.diagnostics);
        Ok(())
    }

    /// Ends the whole.
    fn end(&mut self, main: FileId) {
        if self.stopped {
            // What a torn text would be said to lack are echoes.
            self.tokens.clear();
        }
        self.report_open_conditions(main);
        let len = self
            .sources
            .get(main)
            .map_or(0, |source| source.text().len());
        self.tokens.push(Token {
            kind: TokenKind::End,
            span: Span::new(main, len..len),
            glued: false,
            starts_line: true,
        });
    }

    /// Takes a token, or what it stands for.
    fn push(&mut self, token: Token) {
        match token.kind {
            TokenKind::Word(ref word) if self.defines.contains_key(word) => {
                let word = word.clone();
                self.expand(&word, &token, 0);
            }
            TokenKind::Str(_) | TokenKind::Pv(_) => {
                let token = self.substituted(token);
                self.tokens.push(token);
            }
            _ => self.tokens.push(token),
        }
    }

    fn directive(&mut self, lexer: &mut Lexer<'_>, directive: Directive, place: Span) -> Read {
        match directive {
            Directive::Define | Directive::TryDefine | Directive::Redefine => {
                return self.define(lexer, directive, place);
            }
            Directive::DefEnv(how) => self.define_by_environment(lexer, how, place),
            Directive::Subst | Directive::SubstDef | Directive::SubstDefString => {
                return self.substitution(lexer, directive, place);
            }
            Directive::Include(include) => match lexer.quoted_name() {
                Some((path, at)) => return self.include(lexer, include, path, at),
                None => {
                    lexer.rest_of_line();
                    self.report(
                        Diagnostic::error(place.after(), "the directive names no file")
                            .label("expected the file's name in double quotes"),
                    );
                }
            },
            Directive::IfDef | Directive::IfNDef => {
                let holds = match lexer.name_on_line() {
                    Some((name, _)) => {
                        self.end_of_directive(lexer);
                        self.defines.contains_key(name) == (directive == Directive::IfDef)
                    }
                    None => {
                        self.name_missing(lexer, place);
                        true
                    }
                };
                self.open(place, holds);
            }
            Directive::Else => {
                self.end_of_directive(lexer);
                self.otherwise(place);
            }
            Directive::EndIf => {
                self.end_of_directive(lexer);
                self.close(place);
            }
            Directive::Unsupported => self.unsupported(lexer, place),
            Directive::IfExp => {
                self.unsupported(lexer, place);
                self.open(place, true);
            }
            Directive::Unknown => {
                lexer.rest_of_line();
                self.report(
                    Diagnostic::warning(place, "this directive is not known and does nothing")
                        .label("taken as a comment")
                        .help(
                            "known are #!define, #!trydef, #!redefine, #!defenv, #!subst, \
                             #!substdef, #!substdefs, #!include_file, #!import_file, #!ifdef, \
                             #!ifndef, #!else, #!endif",
                        ),
                );
            }
        }
        Ok(())
    }

    fn name_missing(&mut self, lexer: &mut Lexer<'_>, place: Span) {
        lexer.rest_of_line();
        self.report(
            Diagnostic::error(place.after(), "the directive has no name")
                .label("expected a name: letters, digits and `_`"),
        );
    }

    /// Nothing but a comment may follow on the line.
    fn end_of_directive(&mut self, lexer: &mut Lexer<'_>) {
        let rest = lexer.rest_of_line();
        let text = lexer.slice(rest.clone());
        let tail = text.trim_start();
        if tail.is_empty() || tail.starts_with(['#', ';']) || tail.starts_with("//") {
            return;
        }
        if tail.starts_with("/*") && tail.trim_end().ends_with("*/") {
            return;
        }
        let start = rest.end - tail.len();
        let place = lexer.span(start..start + tail.trim_end().len());
        self.report(
            Diagnostic::error(place, "this does not belong to the directive")
                .label("expected the end of the line")
                .help("a name has letters, digits and `_` only; a condition tests one name"),
        );
    }

    fn unsupported(&mut self, lexer: &mut Lexer<'_>, place: Span) {
        lexer.rest_of_logical_line();
        let name = lexer.slice(place.start as usize..place.end as usize);
        let help = match name.get(2..).unwrap_or("") {
            "SER" => "write #!KAMAILIO: the language is Kamailio's",
            "ifexp" => "use #!ifdef or #!ifndef; each tests one name",
            _ => "use #!define, with the value written out",
        };
        let message = format!("{name} is not supported");
        self.report(Diagnostic::error(place, message).help(help));
    }
}
