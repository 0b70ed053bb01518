//! The lists as they stand in the configuration and in files.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
    sync::Arc,
};

use corex_common::guard::{MAX_LISTED, Network, signatures::Automaton};
use corex_script::settings::{
    GuardSettings, GuardSource,
    guard::{NETWORK_HELP, network},
};

use super::{
    automaton,
    kept::{self, Kept},
};
use crate::kernel::root_files;

/// The longest line of a file, in bytes.
const MAX_LINE: u64 = 1024;

/// What the configuration lists, in order. Of entries for one network the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listings {
    /// Who is allowed.
    pub allow: Vec<Network>,
    /// Who is blocked.
    pub block: Vec<Network>,
    /// Who gets no answer.
    pub stealth: Vec<Network>,
    /// Who is trusted.
    pub trust: Vec<Network>,
    /// What `guard_file` has: what was put in while an earlier corex ran.
    pub kept: Vec<Kept>,
    /// What looks for signatures; none: nothing is looked for.
    pub automaton: Option<Arc<Automaton>>,
}

/// What is wrong with the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// In words, with file, line and column where it is in one.
    pub what: String,
    /// The remedy.
    pub help: String,
    /// The parameter.
    pub parameter: &'static str,
    /// Which of its lines.
    pub at: usize,
}

impl Listings {
    /// Makes the automaton for signatures; `is_plain`: messages come as SIP, and aren't decoded first.
    ///
    /// # Errors
    /// When there are too many.
    pub fn make_automaton(
        &mut self,
        settings: &GuardSettings,
        is_plain: bool,
    ) -> Result<(), Unusable> {
        let made = automaton::compile(&settings.signatures, is_plain);
        let made = made.map_err(|error| Unusable {
            what: error.to_string(),
            help: "leave some of them out, or shorten them".to_owned(),
            parameter: "signatures",
            at: 0,
        })?;
        let is_needed = made.active != 0 || settings.signatures.drops_malformed;
        self.automaton = is_needed.then(|| Arc::from(made));
        Ok(())
    }

    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with the first file that can't be used.
    pub fn load(settings: &GuardSettings) -> Result<Self, Unusable> {
        let mut listings = Self::default();
        for (parameter, sources, list) in [
            ("allow", &settings.allow, &mut listings.allow),
            ("block", &settings.block, &mut listings.block),
            ("stealth", &settings.stealth, &mut listings.stealth),
        ] {
            for (at, source) in sources.iter().enumerate() {
                let read = match source {
                    GuardSource::Network(network) => {
                        list.push(*network);
                        Ok(())
                    }
                    GuardSource::File(path) => {
                        read(path, |line| network(line).map(|found| list.push(found)))
                    }
                    GuardSource::Methods(_) => Ok(()),
                };
                read.map_err(|what| Unusable {
                    what,
                    help: format!("a line of the file is a network: {NETWORK_HELP}"),
                    parameter,
                    at,
                })?;
            }
            if list.len() > MAX_LISTED as usize {
                return Err(Unusable {
                    what: format!(
                        "{} networks, and a list has {MAX_LISTED} at most",
                        list.len()
                    ),
                    help: "leave some out, or write wider ones".to_owned(),
                    parameter,
                    at: sources.len().saturating_sub(1),
                });
            }
        }
        if let Some(path) = &settings.file {
            let kept = match path.try_exists() {
                Ok(false) => Ok(()),
                _ => read(path, |line| {
                    kept::parse(line).map(|found| listings.kept.push(found))
                }),
            };
            kept.map_err(|what| Unusable {
                what,
                help: "guard.save writes this file; correct the line or remove it, or move the \
                       file away: corex then starts without what was kept"
                    .to_owned(),
                parameter: "guard_file",
                at: 0,
            })?;
        }
        Ok(listings)
    }
}

/// Reads a file line by line: comments begin with `#`.
///
/// # Errors
/// What is wrong, with the file's name; and with line and column, counted from 1, where it is in one.
fn read(
    path: &Path,
    mut take: impl FnMut(&str) -> Result<(), corex_script::settings::guard::GuardMistake>,
) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("{}: {error}", path.display());
    let mut reader = BufReader::new(open(path).map_err(unreadable)?);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let len = (&mut reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(unreadable)?;
        if len == 0 {
            return Ok(());
        }
        let wrong = |column: usize, what: &str| {
            Err(format!("{}:{number}:{column}: {what}", path.display()))
        };
        if len as u64 == MAX_LINE && line.last() != Some(&b'\n') {
            return wrong(MAX_LINE as usize, "the line is too long");
        }
        if number > 4 * u64::from(MAX_LISTED) {
            return wrong(1, "the file has too many lines");
        }
        let text = match std::str::from_utf8(&line) {
            Ok(text) => text,
            Err(error) => return wrong(error.valid_up_to() + 1, "this isn't text"),
        };
        let text = text.split('#').next().unwrap_or_default();
        if text.trim().is_empty() {
            continue;
        }
        if let Err(mistake) = take(text.trim_end()) {
            return wrong(mistake.part.start + 1, &mistake.what);
        }
    }
    Ok(())
}

/// Opens a regular file: reading anything else may never end.
fn open(path: &Path) -> io::Result<File> {
    let file = root_files::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

#[cfg(test)]
#[path = "tests/listings.rs"]
mod tests;
