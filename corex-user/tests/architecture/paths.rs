//! What a file's code names: its `use` declarations, its paths, its modules.

use std::collections::BTreeSet;

use super::source::{self, Token};

/// What one module's source says.
#[derive(Debug, Default)]
pub struct Found {
    /// One for each name that a `use` declaration brings.
    pub uses: Vec<Use>,
    /// Paths of two parts or more outside of `use` declarations.
    pub paths: Vec<Path>,
    /// `mod name;`
    pub files: Vec<String>,
    /// `mod name { … }`
    pub inline: Vec<(String, Found)>,
    /// All words outside of `use` declarations.
    pub words: BTreeSet<String>,
    /// Where `unsafe` stands.
    pub unsafe_lines: Vec<usize>,
}

/// One name out of a `use` declaration.
#[derive(Debug, PartialEq, Eq)]
pub struct Use {
    pub path: Path,
    /// The name by which this module has it: the path's last part, or what follows `as`;
    /// `*` for all that is there.
    pub name: String,
    /// Whether it goes on to others, by `pub`, `pub(crate)` or their like.
    pub public: bool,
}

/// A path as it is written, without generic arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub parts: Vec<String>,
    pub line: usize,
}

/// Reads one file. Code of tests doesn't count, but for `unsafe`.
pub fn read(text: &str) -> Found {
    let tokens = source::tokens(text);
    let mut found = Found::default();
    Reader {
        tokens: &source::without_tests(&tokens),
        at: 0,
    }
    .module(&mut found);
    let unsafes = tokens.iter().filter(|token| token.text == "unsafe");
    found.unsafe_lines = unsafes.map(|token| token.line).collect();
    found
}

struct Reader<'t, 's> {
    tokens: &'t [Token<'s>],
    at: usize,
}

impl<'s> Reader<'_, 's> {
    fn peek(&self, ahead: usize) -> &'s str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |token| token.text)
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = self.peek(0) == text;
        self.at += usize::from(taken);
        taken
    }

    fn word(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at)?;
        token.is_word().then(|| {
            self.at += 1;
            token.text.to_owned()
        })
    }

    /// Reads up to the brace that closes the module, or to the end of the file.
    fn module(&mut self, found: &mut Found) {
        let mut depth = 0_usize;
        let mut public = false;
        while let Some(token) = self.tokens.get(self.at) {
            let was_public = std::mem::take(&mut public);
            match token.text {
                "{" => depth += 1,
                "}" if depth == 0 => return,
                "}" => depth -= 1,
                "pub" => {
                    self.at += 1;
                    self.visibility();
                    public = true;
                    continue;
                }
                "mod" => {
                    self.declared_module(found);
                    continue;
                }
                "use" => {
                    self.at += 1;
                    self.take("::");
                    self.use_tree(&[], was_public, &mut found.uses);
                    continue;
                }
                _ if token.is_word() => {
                    self.path(found);
                    continue;
                }
                // What follows is a path's further part: `Vec::<u8>::new`, `<T as Trait>::f`.
                "::" => {
                    self.at += 1;
                    self.word();
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Steps over `(crate)` and `(in crate::io)`, which name no import.
    fn visibility(&mut self) {
        let is_scope = match self.peek(1) {
            "in" => true,
            "crate" | "self" | "super" => self.peek(2) == ")",
            _ => false,
        };
        if self.peek(0) == "(" && is_scope {
            self.at = source::group_end(self.tokens, self.at);
        }
    }

    fn declared_module(&mut self, found: &mut Found) {
        self.at += 1;
        let Some(name) = self.word() else { return };
        if self.take(";") {
            found.files.push(name);
        } else if self.take("{") {
            let mut inner = Found::default();
            self.module(&mut inner);
            self.take("}");
            found.inline.push((name, inner));
        }
    }

    fn use_tree(&mut self, before: &[String], public: bool, uses: &mut Vec<Use>) {
        let mut parts = before.to_vec();
        loop {
            let line = self.tokens.get(self.at).map_or(0, |token| token.line);
            if self.take("{") {
                while !matches!(self.peek(0), "}" | "") {
                    self.use_tree(&parts, public, uses);
                    self.take(",");
                }
                self.take("}");
                return;
            }
            let mut name = if self.take("*") {
                "*".to_owned()
            } else {
                let Some(part) = self.word() else {
                    // `use<'a>` is a bound.
                    self.at += 1;
                    return;
                };
                // `a::{self}` is `a`.
                if part != "self" || parts.is_empty() {
                    parts.push(part);
                }
                if self.take("::") {
                    continue;
                }
                parts.last().cloned().unwrap_or_default()
            };
            if self.take("as") {
                name = self.word().unwrap_or_default();
            }
            let path = Path { parts, line };
            uses.push(Use { path, name, public });
            return;
        }
    }

    fn path(&mut self, found: &mut Found) {
        let line = self.tokens[self.at].line;
        let mut parts = Vec::new();
        while let Some(part) = self.word() {
            found.words.insert(part.clone());
            parts.push(part);
            let goes_on = self.peek(0) == "::"
                && self
                    .tokens
                    .get(self.at + 1)
                    .is_some_and(|token| token.is_word());
            if !goes_on {
                break;
            }
            self.at += 1;
        }
        if parts.len() > 1 {
            found.paths.push(Path { parts, line });
        }
    }
}
