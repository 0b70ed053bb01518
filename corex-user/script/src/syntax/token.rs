//! What the lexer makes of the text.

use super::ast::{Pv, Text};
use super::span::Span;
use std::fmt;
use std::net::IpAddr;

/// A token with its place and how it stands to the one before it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Where it was written; for what a `#!define` supplied, where the name was used.
    pub(super) span: Span,
    /// Nothing stands between the previous token and this one.
    pub(super) glued: bool,
    /// It is the first on its line.
    pub(super) starts_line: bool,
}

/// The kinds of tokens. Keywords are words: what is one depends on where it stands.
#[derive(Clone, Debug)]
pub(super) enum TokenKind {
    /// An identifier.
    Word(String),
    /// What begins with a digit and is neither number nor address: a part of a host name, as `3cx`.
    NumberWord(String),
    Number {
        value: i64,
        text: String,
    },
    /// Several double-quoted literals in a row are one.
    Str(Text),
    /// IPv6 bare or in brackets; `text` as written.
    Ip {
        address: IpAddr,
        text: String,
    },
    Pv(Box<Pv>),
    /// Without its `@`.
    Select(String),
    Punct(Punct),
    Directive(Directive),
    End,
}

/// The words after `#!` that mean something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Directive {
    Define,
    /// Defines unless it is defined.
    TryDefine,
    /// Replaces what was defined.
    Redefine,
    IfDef,
    IfNDef,
    /// Replaces in strings.
    Subst,
    /// The same, and defines.
    SubstDef,
    /// The same, and what it defines is a string.
    SubstDefString,
    /// Defines by an environment variable.
    DefEnv(EnvDefinition),
    Include(Include),
    /// Kamailio's condition on an expression, which is not supported.
    IfExp,
    Else,
    EndIf,
    /// One that Kamailio has and this language does not have (yet).
    Unsupported,
    /// `#!` with a word that nobody knows: Kamailio takes it as a comment.
    Unknown,
}

/// How a definition by an environment variable is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EnvDefinition {
    /// It is a string, not tokens.
    pub(super) string: bool,
    /// There need not be such a variable.
    pub(super) optional: bool,
}

/// How another file is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Include {
    /// It must be there.
    Required,
    /// It need not be there.
    Optional,
}

impl Include {
    /// What the word asks for, if it is one that includes.
    pub(super) fn from_word(word: &str) -> Option<Include> {
        match word {
            "include_file" => Some(Include::Required),
            "import_file" => Some(Include::Optional),
            _ => None,
        }
    }
}

macro_rules! puncts {
    ($($name:ident = $text:literal,)*) => {
        /// Operators and other signs. The table is in matching order: longer ones first.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Punct { $($name,)* }

        impl Punct {
            pub(super) const ALL: &'static [Punct] = &[$(Punct::$name,)*];

            pub(super) fn text(self) -> &'static str {
                match self { $(Punct::$name => $text,)* }
            }
        }
    };
}

puncts! {
    Equal = "==",
    Match = "=~",
    NotEqual = "!=",
    NotMatch = "!~",
    LessEqual = "<=",
    GreaterEqual = ">=",
    ShiftLeft = "<<",
    ShiftRight = ">>",
    And = "&&",
    Or = "||",
    AddAssign = "+=",
    Assign = "=",
    Less = "<",
    Greater = ">",
    Not = "!",
    BitAnd = "&",
    BitOr = "|",
    BitXor = "^",
    BitNot = "~",
    Plus = "+",
    Minus = "-",
    Star = "*",
    Slash = "/",
    Percent = "%",
    LeftParen = "(",
    RightParen = ")",
    LeftBrace = "{",
    RightBrace = "}",
    LeftBracket = "[",
    RightBracket = "]",
    Comma = ",",
    Semicolon = ";",
    Colon = ":",
    Dot = ".",
}

impl TokenKind {
    /// The token's text where it can be a part of a name or an address.
    pub(super) fn name_text(&self) -> Option<&str> {
        match self {
            TokenKind::Word(text)
            | TokenKind::NumberWord(text)
            | TokenKind::Number { text, .. }
            | TokenKind::Ip { text, .. } => Some(text),
            TokenKind::Punct(punct) => Some(punct.text()),
            _ => None,
        }
    }
}

impl fmt::Display for TokenKind {
    /// How a report calls it: "`foo`", "string".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenKind::Word(text) | TokenKind::NumberWord(text) => write!(f, "`{}`", short(text)),
            TokenKind::Number { text, .. } => write!(f, "number {}", short(text)),
            TokenKind::Ip { text, .. } => write!(f, "address {}", short(text)),
            TokenKind::Str(_) => f.write_str("string"),
            TokenKind::Pv(pv) => write!(f, "`${}`", short(&pv.name.kind)),
            TokenKind::Select(text) => write!(f, "`@{}`", short(text)),
            TokenKind::Punct(punct) => write!(f, "`{}`", punct.text()),
            TokenKind::Directive(_) => f.write_str("directive"),
            TokenKind::End => f.write_str("end of the file"),
        }
    }
}

/// The beginning of a text, for messages.
pub(super) fn short(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(SHOWN).collect();
    out.push('…');
    out
}
