//! From text to tokens: comments, words, numbers, strings, addresses, signs.

mod literal;

use super::ast::Text;
use super::diag::Diagnostic;
use super::pv::parse_pv_in_source;
use super::span::{FileId, Span};
use super::token::{Directive, EnvDefinition, Include, Punct, Token, TokenKind};
use std::ops::Range;

/// What a lexer that has to stop says.
#[derive(Debug)]
pub(super) struct UnterminatedString;

/// The place where a lexer reads, and what it found wrong.
pub(super) struct Lexer<'a> {
    file: FileId,
    text: &'a str,
    at: usize,
    end: usize,
    /// A string must end on its line. Set on the second attempt at a text in which some string has no
    /// end: then the first one that leaves its line is the likely culprit.
    one_line_strings: bool,
    /// There was nothing between the previous token and `at`.
    glued: bool,
    /// The line has no token yet.
    starts_line: bool,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl<'a> Lexer<'a> {
    /// Reads `range` of a text; the range must lie between characters.
    pub(super) fn new(
        file: FileId,
        text: &'a str,
        range: Range<usize>,
        one_line_strings: bool,
    ) -> Self {
        Lexer {
            file,
            text,
            at: range.start,
            end: range.end.min(text.len()),
            one_line_strings,
            glued: false,
            starts_line: true,
            diagnostics: Vec::new(),
        }
    }

    /// A lexer for a part of the same text.
    pub(super) fn within(&self, range: Range<usize>) -> Lexer<'a> {
        Lexer::new(self.file, self.text, range, self.one_line_strings)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..self.end).unwrap_or("")
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        let at = self.at + ahead;
        (at < self.end).then(|| self.text.as_bytes().get(at).copied())?
    }

    pub(super) fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.file, range)
    }

    fn skip(&mut self, len: usize) {
        self.at = (self.at + len).min(self.end);
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.bytes().take_while(|byte| fits(*byte)).count();
        self.skip(len);
        rest.get(..len).unwrap_or("")
    }

    /// The next token; [`TokenKind::End`] at the end, again and again.
    ///
    /// # Errors
    /// A string without an end, unless strings have to end on their lines.
    pub(super) fn next(&mut self) -> Result<Token, UnterminatedString> {
        loop {
            self.blank();
            let start = self.at;
            let Some(kind) = self.kind()? else {
                continue;
            };
            let token = Token {
                kind,
                span: self.span(start..self.at),
                glued: self.glued,
                starts_line: self.starts_line,
            };
            self.glued = true;
            self.starts_line = false;
            return Ok(token);
        }
    }

    /// Skips white space and comments.
    fn blank(&mut self) {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\n'), _) => {
                    self.starts_line = true;
                    self.skip(1);
                }
                (Some(b' ' | b'\t' | b'\r' | 0x0b | 0x0c), _) => self.skip(1),
                (Some(b'\\'), Some(b'\n')) => self.skip(2),
                (Some(b'\\'), Some(b'\r')) if self.byte(2) == Some(b'\n') => self.skip(3),
                (Some(b'#'), Some(b'!')) if self.directive().is_some() => return,
                (Some(b'#'), _) | (Some(b'/'), Some(b'/')) => {
                    self.rest_of_line();
                }
                (Some(b'/'), Some(b'*')) => self.block_comment(),
                _ => return,
            }
            self.glued = false;
        }
    }

    /// Kamailio's block comments nest.
    fn block_comment(&mut self) {
        let start = self.at;
        let mut inner = None;
        let mut depth = 0usize;
        while let Some(byte) = self.byte(0) {
            match (byte, self.byte(1)) {
                (b'/', Some(b'*')) => {
                    if depth == 1 && inner.is_none() {
                        inner = Some(self.at);
                    }
                    depth += 1;
                    self.skip(2);
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.skip(2);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.skip(1),
            }
        }
        let mut diagnostic = Diagnostic::error(
            self.span(start..start + 2),
            "this comment does not end before the end of the file",
        )
        .help("end it with `*/`");
        if let Some(inner) = inner {
            let place = self.span(inner..inner + 2);
            diagnostic = diagnostic.related(place, "comments nest: this one needs its own `*/`");
        }
        self.diagnostics.push(diagnostic);
    }

    /// Skips to the end of the line and returns what it skipped. The line end stays.
    pub(super) fn rest_of_line(&mut self) -> Range<usize> {
        let start = self.at;
        self.take_while(|byte| byte != b'\n');
        self.glued = false;
        start..self.at
    }

    /// The same for a line that goes on where it ends in a backslash.
    pub(super) fn rest_of_logical_line(&mut self) -> Range<usize> {
        let start = self.at;
        loop {
            let line = self.rest_of_line();
            let text = self.text.get(line).unwrap_or("");
            if !text.trim_end_matches('\r').ends_with('\\') || self.byte(0).is_none() {
                return start..self.at;
            }
            self.skip(1);
        }
    }

    /// A name right here on this line.
    pub(super) fn name_on_line(&mut self) -> Option<(&'a str, Span)> {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
        let start = self.at;
        let starts = self
            .byte(0)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !starts {
            return None;
        }
        let name = self.take_while(is_word);
        Some((name, self.span(start..self.at)))
    }

    /// A text in double quotes that ends on its line, here or on a line that follows; its place is without the quotes.
    /// Nothing in it is an escape. Takes nothing where there is none.
    pub(super) fn quoted_name(&mut self) -> Option<(&'a str, Span)> {
        let rest = self.rest();
        let inside = rest.trim_start().strip_prefix('"')?;
        let len = inside.find(['"', '\n'])?;
        if inside.as_bytes().get(len) != Some(&b'"') {
            return None;
        }
        let start = self.at + (rest.len() - inside.len());
        self.skip(rest.len() - inside.len() + len + 1);
        self.glued = false;
        Some((inside.get(..len)?, self.span(start..start + len)))
    }

    /// A string token right here, or on a line that follows; takes nothing where there is none.
    ///
    /// # Errors
    /// A string without an end.
    pub(super) fn string_here(&mut self) -> Result<Option<(Text, Span)>, UnterminatedString> {
        let rest = self.rest();
        let blank = rest.len() - rest.trim_start().len();
        let quote = self.byte(blank);
        if !matches!(quote, Some(b'"' | b'\'')) {
            return Ok(None);
        }
        self.skip(blank);
        let start = self.at;
        let text = if quote == Some(b'"') {
            self.string()?
        } else {
            self.raw_string()?
        };
        self.glued = false;
        Ok(Some((text, self.span(start..self.at))))
    }

    /// What was written there.
    pub(super) fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or("")
    }

    /// The name of an environment variable right here, behind a `=`.
    pub(super) fn env_name(&mut self) -> Option<&'a str> {
        let name = self.rest().strip_prefix('=')?;
        let len = name.bytes().take_while(|byte| is_word(*byte)).count();
        self.skip(len + 1);
        name.get(..len)
    }

    /// Skips the text of a condition that does not hold: up to the next directive at a line's beginning.
    /// Such text may be anything, so it is not read as tokens.
    pub(super) fn skip_to_directive(&mut self) {
        while self.byte(0).is_some() {
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            if matches!(self.directive(), Some((kind, _)) if kind != Directive::Unknown) {
                self.starts_line = true;
                return;
            }
            self.rest_of_line();
        }
    }

    /// The directive that begins here, if one does, and its length.
    fn directive(&self) -> Option<(Directive, usize)> {
        let rest = self.rest();
        let word = rest
            .strip_prefix("#!")
            .or_else(|| rest.strip_prefix("!!"))?;
        let len = word.bytes().take_while(|byte| is_word(*byte)).count();
        let env = |string, optional| Directive::DefEnv(EnvDefinition { string, optional });
        let kind = match word.get(..len)? {
            "define" | "def" => Directive::Define,
            "trydefine" | "trydef" => Directive::TryDefine,
            "redefine" | "redef" => Directive::Redefine,
            "ifdef" => Directive::IfDef,
            "ifndef" => Directive::IfNDef,
            "ifexp" => Directive::IfExp,
            "else" => Directive::Else,
            "endif" => Directive::EndIf,
            "subst" => Directive::Subst,
            "substdef" => Directive::SubstDef,
            "substdefs" => Directive::SubstDefString,
            "include_file" | "import_file" => {
                Directive::Include(Include::from_word(word.get(..len)?)?)
            }
            "defenv" => env(false, false),
            "defenvs" => env(true, false),
            "trydefenv" => env(false, true),
            "trydefenvs" => env(true, true),
            "SER" | "defexp" | "defexps" => Directive::Unsupported,
            // The interpreter's line, and what says "this is Kamailio's language".
            "" | "KAMAILIO" | "OPENSER" | "MAXCOMPAT" | "ALL" => return None,
            _ if rest.starts_with("!!") => return None,
            _ => Directive::Unknown,
        };
        Some((kind, len + 2))
    }

    /// `None` after something that is no token; the report has it then.
    fn kind(&mut self) -> Result<Option<TokenKind>, UnterminatedString> {
        let Some(byte) = self.byte(0) else {
            return Ok(Some(TokenKind::End));
        };
        Ok(match byte {
            b'"' => Some(TokenKind::Str(self.string()?)),
            b'\'' => Some(TokenKind::Str(self.raw_string()?)),
            b'$' => self.pv(),
            b'@' if self.byte(1).is_some_and(|byte| byte.is_ascii_alphabetic()) => {
                self.skip(1);
                Some(TokenKind::Select(self.select().to_owned()))
            }
            b'[' | b':' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' => match self.address() {
                Some(address) => Some(address),
                None if byte.is_ascii_digit() => self.number(),
                None if is_word(byte) => Some(TokenKind::Word(self.take_while(is_word).to_owned())),
                None => self.sign(),
            },
            _ => match self.directive() {
                Some((kind, len)) => {
                    self.skip(len);
                    Some(TokenKind::Directive(kind))
                }
                None => self.sign(),
            },
        })
    }

    /// `name.sub[index]["key"]…` on one line.
    fn select(&mut self) -> &'a str {
        let start = self.at;
        loop {
            self.take_while(|byte| is_word(byte) || byte == b'.');
            let rest = self.rest();
            match rest.find([']', '\n']) {
                Some(end) if rest.starts_with('[') && rest.as_bytes().get(end) == Some(&b']') => {
                    self.skip(end + 1);
                }
                _ => return self.text.get(start..self.at).unwrap_or(""),
            }
        }
    }

    fn sign(&mut self) -> Option<TokenKind> {
        let rest = self.rest();
        if let Some(punct) = Punct::ALL
            .iter()
            .find(|punct| rest.starts_with(punct.text()))
        {
            self.skip(punct.text().len());
            return Some(TokenKind::Punct(*punct));
        }
        let start = self.at;
        let first = rest.chars().next()?;
        // A run of strange characters is one mistake.
        let known = |c: char| c.is_ascii() && !c.is_ascii_control() && c != first;
        let len = rest.find(|c: char| known(c) || c == '\n');
        self.skip(len.unwrap_or(rest.len()).max(first.len_utf8()));
        let mut diagnostic = Diagnostic::error(
            self.span(start..self.at),
            format!("the character {first:?} has no meaning here"),
        );
        if matches!(first, '“' | '”' | '„' | '‘' | '’') {
            diagnostic = diagnostic.help("use straight quotation marks: \" or '");
        }
        self.diagnostics.push(diagnostic);
        None
    }

    fn pv(&mut self) -> Option<TokenKind> {
        let text = self.text.get(..self.end).unwrap_or(self.text);
        match parse_pv_in_source(self.file, text, self.at) {
            Ok((pv, after)) => {
                self.at = after.min(self.end);
                Some(TokenKind::Pv(Box::new(pv)))
            }
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                // What follows on this line would only echo the mistake.
                self.rest_of_line();
                None
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
