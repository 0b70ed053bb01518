//! From tokens to the tree, by recursive descent. A mistake costs the statement or the item that it is in:
//! the parser reports it, looks for the next place where something begins, and goes on.

mod address;
mod expr;
mod item;
mod stmt;

use super::ast::MAX_NESTING;
use super::ast::{File, Str, Text};
use super::diag::{Diagnostic, Report};
use super::span::Span;
use super::token::{Punct, Token, TokenKind};

/// Parses what the preprocessor yields.
pub(super) fn parse(tokens: Vec<Token>, report: &mut Report) -> File {
    Parser {
        tokens,
        at: 0,
        previous: Span::NONE,
        nesting: 0,
        report,
    }
    .file()
}

/// Something could not be parsed. The report says what already.
#[derive(Debug)]
struct Failed;

type Parse<T> = Result<T, Failed>;

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    /// The token that was taken last.
    previous: Span,
    nesting: usize,
    report: &'a mut Report,
}

impl Parser<'_> {
    fn token(&self, ahead: usize) -> Option<&Token> {
        // The last token is the end, which never goes away.
        self.tokens
            .get(self.at + ahead)
            .or_else(|| self.tokens.last())
    }

    fn kind(&self, ahead: usize) -> &TokenKind {
        self.token(ahead)
            .map_or(&TokenKind::End, |token| &token.kind)
    }

    fn span(&self) -> Span {
        self.token(0).map_or(Span::NONE, |token| token.span)
    }

    fn at_end(&self) -> bool {
        matches!(self.kind(0), TokenKind::End)
    }

    /// Nothing stands between the token `ahead` and the one before it.
    fn glued(&self, ahead: usize) -> bool {
        self.token(ahead).is_some_and(|token| token.glued)
    }

    fn starts_line(&self) -> bool {
        self.token(0).is_some_and(|token| token.starts_line)
    }

    /// Takes the current token. The end stays.
    fn bump(&mut self) -> TokenKind {
        let Some(token) = self.tokens.get_mut(self.at) else {
            return TokenKind::End;
        };
        if matches!(token.kind, TokenKind::End) {
            return TokenKind::End;
        }
        self.previous = token.span;
        self.at += 1;
        // What was taken is never looked at again.
        std::mem::replace(&mut token.kind, TokenKind::Punct(Punct::Semicolon))
    }

    fn is_at(&self, ahead: usize, punct: Punct) -> bool {
        matches!(self.kind(ahead), TokenKind::Punct(found) if *found == punct)
    }

    fn is(&self, punct: Punct) -> bool {
        self.is_at(0, punct)
    }

    fn eat(&mut self, punct: Punct) -> bool {
        let found = self.is(punct);
        if found {
            self.bump();
        }
        found
    }

    fn word_at(&self, ahead: usize) -> Option<&str> {
        match self.kind(ahead) {
            TokenKind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is_word(&self, word: &str) -> bool {
        self.word_at(0) == Some(word)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.bump();
        }
        found
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.report.push(diagnostic);
    }

    /// What is here is not what was expected; to be given more words, then pushed.
    fn unexpected(&self, expected: &str) -> Diagnostic {
        Diagnostic::error(self.span(), format!("unexpected {}", self.kind(0)))
            .label(format!("expected {expected}"))
    }

    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Parse<T> {
        self.report.push(diagnostic);
        Err(Failed)
    }

    fn expect(&mut self, punct: Punct) -> Parse<Span> {
        if self.eat(punct) {
            return Ok(self.previous);
        }
        let diagnostic = self.unexpected(&format!("`{}`", punct.text()));
        self.fail(diagnostic)
    }

    /// Expects what closes the sign at `open`.
    fn expect_closing(&mut self, punct: Punct, open: Span) -> Parse<Span> {
        if self.eat(punct) {
            return Ok(self.previous);
        }
        let mut diagnostic = self
            .unexpected(&format!("`{}`", punct.text()))
            .related(open, "it would close what begins here");
        if self.is(Punct::Assign) {
            diagnostic = diagnostic.help("to compare, write `==`");
        }
        self.fail(diagnostic)
    }

    /// Expects a string literal.
    fn expect_str(&mut self) -> Parse<Str> {
        if matches!(self.kind(0), TokenKind::Str(_))
            && let TokenKind::Str(text) = self.bump()
        {
            return Ok(Str::new(text, self.previous));
        }
        let mut diagnostic = self.unexpected("a string");
        if matches!(self.kind(0), TokenKind::Word(_)) {
            diagnostic = diagnostic.help("put it in quotation marks");
        }
        self.fail(diagnostic)
    }

    /// Runs a rule one level deeper, if that is not too deep.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.nesting >= MAX_NESTING {
            let diagnostic = Diagnostic::error(
                self.span(),
                format!("this nests deeper than {MAX_NESTING} levels"),
            )
            .help("move a part of it into a route block of its own, or into a variable");
            return self.fail(diagnostic);
        }
        self.nesting += 1;
        let result = rule(self);
        self.nesting -= 1;
        result
    }
}

/// The known word that is closest to `word`, if one is close.
fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const FAR: usize = 3;
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance < FAR && *distance * 3 <= candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Number of insertions, deletions and replacements that lead from one word to the other.
fn distance(left: &str, right: &str) -> usize {
    const LONGEST: usize = 64;
    if left.len() > LONGEST || right.len() > LONGEST {
        return LONGEST;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = i;
        let mut last = i + 1;
        for (cell, r) in row.iter_mut().skip(1).zip(right.bytes()) {
            let replaced = diagonal + usize::from(l != r);
            diagonal = *cell;
            last = replaced.min(last + 1).min(*cell + 1);
            *cell = last;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(LONGEST)
}

/// A text of tokens that stand together without gaps, with the way back to the source.
#[derive(Default)]
struct Joined {
    value: Vec<u8>,
    anchors: Vec<(u32, u32)>,
    span: Option<Span>,
}

impl Joined {
    fn push(&mut self, text: &[u8], span: Span) {
        // What a definition supplied has no place of its own.
        if (span.end - span.start) as usize == text.len() {
            self.anchors.push((self.value.len() as u32, span.start));
        }
        self.value.extend_from_slice(text);
        self.span = Some(self.span.map_or(span, |so_far| so_far.to(span)));
    }

    fn push_text(&mut self, text: &Text, span: Span) {
        let start = text.locate(0..text.value.len().min(1), span).start;
        self.anchors.push((self.value.len() as u32, start));
        self.value.extend_from_slice(&text.value);
        self.span = Some(self.span.map_or(span, |so_far| so_far.to(span)));
    }

    fn finish(self) -> Str {
        Str::new(
            Text::with_anchors(self.value, self.anchors),
            self.span.unwrap_or(Span::NONE),
        )
    }
}
