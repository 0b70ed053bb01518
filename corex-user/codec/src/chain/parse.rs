//! The text of a chain: `NAME[(client|server)] = CODEC[(ARGUMENT, …)] | …`, an argument being a word,
//! or `NAME=WORD`. A word in single quotes may hold what else would end it.

use std::ops::Range;

use super::ChainSpec;
use crate::codec::Role;
use crate::keys::is_name;
use crate::link::{Argument, Arguments, Mistake, Recipe, Word, shown};
use crate::table::{CODECS, find};

/// The most codecs of a chain.
const MAX_LINKS: usize = 16;

const FORM: &str = "its form is NAME=CODEC|CODEC(ARGUMENT, …), as in \"edge=zstd(sip) | base64\"";

pub(super) fn parse(text: &str) -> Result<ChainSpec, Mistake> {
    let mut reader = Reader { text, at: 0 };
    let name = reader.word(&['(', '=', '|']);
    if !is_name(&name.text) {
        let what = format!("{} is no name of a chain", shown(&name.text));
        return Err(Mistake::new(reader.around(&name), what, FORM));
    }
    if find(&name.text).is_some() {
        return Err(Mistake::new(
            name.at,
            format!("a codec is called `{}` already", name.text),
            "give the chain another name",
        ));
    }
    let role = if reader.take('(') {
        let role = reader.word(&[')', '=']);
        let known = match role.text.as_str() {
            "server" => Role::Server,
            "client" => Role::Client,
            _ => {
                return Err(Mistake::new(
                    reader.around(&role),
                    format!("{} is no side of a wire", shown(&role.text)),
                    "write client or server, or leave the parentheses out for server",
                ));
            }
        };
        reader.expect(')')?;
        known
    } else {
        Role::default()
    };
    reader.expect('=')?;
    let mut links: Vec<(&'static str, Box<dyn Recipe>)> = Vec::new();
    loop {
        let link = reader.link()?;
        if links.len() == MAX_LINKS {
            let what = format!("the chain has more than {MAX_LINKS} codecs");
            return Err(Mistake::new(0..text.len(), what, "make it shorter"));
        }
        if link.1.is_by_device() && links.iter().any(|(_, recipe)| recipe.is_by_device()) {
            return Err(Mistake::new(
                0..text.len(),
                "two codecs of the chain have the device's key",
                "write key=device once",
            ));
        }
        links.push(link);
        if !reader.take('|') {
            break;
        }
    }
    reader.end()?;
    Ok(ChainSpec {
        name: name.text,
        role,
        links,
    })
}

pub(super) fn single(text: &str) -> Result<ChainSpec, Mistake> {
    let mut reader = Reader { text, at: 0 };
    let link = reader.link()?;
    reader.end()?;
    Ok(ChainSpec {
        name: link.0.to_owned(),
        role: Role::default(),
        links: vec![link],
    })
}

struct Reader<'t> {
    text: &'t str,
    /// A character's first byte.
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Whether the next character is this one, which is then read over.
    fn take(&mut self, wanted: char) -> bool {
        self.blanks();
        let is_there = self.rest().starts_with(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    fn expect(&mut self, wanted: char) -> Result<(), Mistake> {
        if self.take(wanted) {
            return Ok(());
        }
        let next = self.rest().chars().next();
        let (what, len) = match next {
            Some(next) => (format!("expected {wanted}, found {next}"), next.len_utf8()),
            None => (format!("expected {wanted} before the end"), 0),
        };
        Err(Mistake::new(self.at..self.at + len, what, FORM))
    }

    /// Nothing is left.
    fn end(&mut self) -> Result<(), Mistake> {
        self.blanks();
        if self.rest().is_empty() {
            return Ok(());
        }
        let what = format!("{} follows the codec", shown(self.rest()));
        let at = self.at..self.text.len();
        Err(Mistake::new(at, what, "separate codecs by |"))
    }

    /// What stands before one of these characters, or before the end, without blanks around it.
    fn word(&mut self, ends: &[char]) -> Word {
        self.blanks();
        let rest = self.rest();
        let len = rest.find(|c| ends.contains(&c)).unwrap_or(rest.len());
        let text = rest.get(..len).unwrap_or_default().trim_end();
        let at = self.at..self.at + text.len();
        self.at += len;
        Word {
            text: text.to_owned(),
            at,
        }
    }

    /// Where a word is, or the next character where it is empty.
    fn around(&self, word: &Word) -> Range<usize> {
        if word.text.is_empty() {
            let next = self.rest().chars().next();
            self.at..self.at + next.map_or(0, char::len_utf8)
        } else {
            word.at.clone()
        }
    }

    fn link(&mut self) -> Result<(&'static str, Box<dyn Recipe>), Mistake> {
        let name = self.word(&['(', '|', ')', ',', '=']);
        let Some(codec) = find(&name.text) else {
            let names: Vec<_> = CODECS.iter().map(|codec| codec.name).collect();
            return Err(Mistake::new(
                self.around(&name),
                format!("there is no codec {}", shown(&name.text)),
                format!("write one of {}", names.join(", ")),
            ));
        };
        let mut all = Vec::new();
        if self.take('(') && !self.take(')') {
            loop {
                all.push(self.argument()?);
                if !self.take(',') {
                    break;
                }
            }
            self.expect(')')?;
        }
        let mut arguments = Arguments::new(&name, codec.form, all);
        let recipe = (codec.read)(&mut arguments)?;
        arguments.finish()?;
        Ok((codec.name, recipe))
    }

    fn argument(&mut self) -> Result<Argument, Mistake> {
        if let Some(value) = self.quoted()? {
            return Ok(Argument { name: None, value });
        }
        let word = self.word(&[',', ')', '=']);
        if !self.take('=') {
            if word.text.is_empty() {
                return Err(Mistake::new(
                    self.around(&word),
                    "an argument is empty",
                    "write a word, or take the comma out",
                ));
            }
            return Ok(Argument {
                name: None,
                value: word,
            });
        }
        let value = match self.quoted()? {
            Some(value) => value,
            None => self.word(&[',', ')']),
        };
        Ok(Argument {
            name: Some(word),
            value,
        })
    }

    /// A word in quotes, where one begins here.
    fn quoted(&mut self) -> Result<Option<Word>, Mistake> {
        self.blanks();
        let start = self.at;
        if !self.take('\'') {
            return Ok(None);
        }
        let Some(len) = self.rest().find('\'') else {
            return Err(Mistake::new(
                start..self.text.len(),
                "this quotation has no end",
                "add a single quote",
            ));
        };
        let text = self.rest().get(..len).unwrap_or_default().to_owned();
        let at = self.at..self.at + len;
        self.at += len + 1;
        Ok(Some(Word { text, at }))
    }
}
