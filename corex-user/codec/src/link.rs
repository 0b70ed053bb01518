//! One link of a chain as it is written: a codec's name and its arguments; and what a codec is made
//! from.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::codec::{Codec, Role};
use crate::device::Devices;
use crate::dictionary::Dictionary;
use crate::keys::Keys;

/// Hands out what a configuration names: secrets and dictionaries.
pub trait Materials {
    /// The keys of this name.
    fn keys(&self, name: &str) -> Option<Arc<Keys>>;

    /// The dictionaries of this name, the one to encode with first.
    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>>;

    /// The keys of devices, which `key=device` stands for; `None` where there is no keystore.
    fn devices(&self) -> Option<Arc<dyn Devices>> {
        None
    }
}

/// What is wrong with the text of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The bytes of the text that it is about.
    pub at: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl Mistake {
    pub(crate) fn new(at: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            help: help.into(),
        }
    }
}

impl std::error::Error for Mistake {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.help)
    }
}

/// What there is to know of a codec: a line of the table.
#[derive(Debug)]
pub struct CodecDef {
    /// Its name in configurations, in lower case.
    pub name: &'static str,
    /// How a chain writes it, with its arguments.
    pub form: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Whether it does without arguments, and so can be used by its name alone.
    pub is_bare: bool,
    /// Reads its arguments.
    pub(crate) read: fn(&mut Arguments<'_>) -> Result<Box<dyn Recipe>, Mistake>,
}

/// A codec with its arguments, checked. Each worker has a codec of its own made from it.
pub(crate) trait Recipe: Send + Sync {
    /// Makes the codec.
    fn make(&self, role: Role, materials: &dyn Materials) -> Result<Box<dyn Codec>, Mistake>;

    /// Whether its key is that of the device at the other side: see [`Codec::set_peer`].
    fn is_by_device(&self) -> bool {
        false
    }
}

/// A word with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    pub text: String,
    pub at: Range<usize>,
}

/// `word` or `name=word`.
#[derive(Debug)]
pub(crate) struct Argument {
    pub name: Option<Word>,
    pub value: Word,
}

/// What stands between a codec's parentheses. Each is taken once; [`Self::finish`] reports those that
/// nobody took.
pub(crate) struct Arguments<'a> {
    /// The codec's name.
    pub codec: &'a Word,
    /// How it is written with arguments.
    pub form: &'static str,
    left: Vec<Argument>,
}

impl<'a> Arguments<'a> {
    pub fn new(codec: &'a Word, form: &'static str, all: Vec<Argument>) -> Self {
        Self {
            codec,
            form,
            left: all,
        }
    }

    /// The next argument without a name.
    pub fn next_plain(&mut self) -> Option<Word> {
        let at = self.left.iter().position(|it| it.name.is_none())?;
        Some(self.left.remove(at).value)
    }

    /// The value of the argument of this name.
    pub fn named(&mut self, name: &str) -> Option<Word> {
        let is = |it: &Argument| it.name.as_ref().is_some_and(|word| word.text == name);
        let at = self.left.iter().position(is)?;
        Some(self.left.remove(at).value)
    }

    /// As [`Self::named`], a number.
    pub fn number(&mut self, name: &str, range: Range<i64>) -> Result<Option<i64>, Mistake> {
        let Some(word) = self.named(name) else {
            return Ok(None);
        };
        let number = word.text.parse().ok();
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Mistake::new(
                word.at,
                format!("{name} of {} is not {}", self.codec.text, word.text),
                format!("write a number from {} to {}", range.start, range.end - 1),
            )),
        }
    }

    /// What is missing; or, where an argument has a name that is none, that: it may be misspelt.
    pub fn missing(&self, what: &str) -> Mistake {
        let is_known = |name: &Word| self.form.contains(&format!("{}=", name.text));
        let names = self.left.iter().filter_map(|it| it.name.as_ref());
        if let Some(unknown) = names.into_iter().find(|name| !is_known(name)) {
            return Mistake::new(
                unknown.at.clone(),
                format!(
                    "{} has no argument {}",
                    self.codec.text,
                    shown(&unknown.text)
                ),
                format!("its form is {}", self.form),
            );
        }
        Mistake::new(
            self.codec.at.clone(),
            format!("{} lacks {what}", self.codec.text),
            format!("its form is {}", self.form),
        )
    }

    /// That a word is none that fits.
    pub fn unfit(&self, word: &Word) -> Mistake {
        Mistake::new(
            word.at.clone(),
            format!("{} doesn't take {}", self.codec.text, shown(&word.text)),
            format!("its form is {}", self.form),
        )
    }

    /// That nothing is left.
    pub fn finish(self) -> Result<(), Mistake> {
        match self.left.first() {
            None => Ok(()),
            Some(Argument { name, value }) => Err(match name {
                Some(name) => Mistake::new(
                    name.at.clone(),
                    format!(
                        "{} has no argument {} left",
                        self.codec.text,
                        shown(&name.text)
                    ),
                    format!("its form is {}", self.form),
                ),
                None => self.unfit(value),
            }),
        }
    }
}

/// A word as messages show it.
pub(crate) fn shown(word: &str) -> String {
    if word.is_empty() {
        "an empty word".to_owned()
    } else {
        format!("`{word}`")
    }
}
