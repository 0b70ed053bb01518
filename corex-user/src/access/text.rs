//! Files of lines: read within bounds, divided into fields, and what is wrong with them with its place.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::kernel::root_files;

/// The most bytes of a file.
pub const MAX_FILE: u64 = 16 << 20;
/// The most bytes of a line.
const MAX_LINE: usize = 4096;

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{}: {what}", file.display(), place(*.line, *.column))]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0: all of it.
    pub line: u32,
    /// The column in bytes, from 1.
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

fn place(line: u32, column: u32) -> String {
    match line {
        0 => String::new(),
        _ => format!(":{line}:{column}"),
    }
}

/// Where a file is that a configuration names: as in Kamailio, beside the configuration where the name has
/// no slash; a relative path begins there, too.
pub fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

/// Reads a file, also one that only root may.
///
/// # Errors
/// When it can't be read or is too large.
pub fn read(file: &Path) -> Result<Vec<u8>, Mistake> {
    let whole = |what: String, help: &str| Mistake {
        file: file.to_owned(),
        line: 0,
        column: 0,
        what,
        help: help.to_owned(),
    };
    let open = |path: &Path| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = root_files::read(file, open)
        .map_err(|error| whole(error.to_string(), "name a file that corex may read"))?;
    if bytes.len() as u64 > MAX_FILE {
        let what = format!("it has more than {MAX_FILE} bytes");
        return Err(whole(
            what,
            "divide what is in it between several instances",
        ));
    }
    Ok(bytes)
}

/// One line of a file.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    file: &'a Path,
    /// Its number, from 1.
    pub number: u32,
    /// Its bytes without the line break.
    pub text: &'a [u8],
}

/// Something in a line, and where.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its first byte's place in the line, from 0.
    pub at: usize,
    /// Its bytes.
    pub text: &'a [u8],
}

/// All lines of a file.
pub fn lines<'a>(file: &'a Path, bytes: &'a [u8]) -> impl Iterator<Item = Line<'a>> {
    bytes
        .split(|byte| *byte == b'\n')
        .zip(1..)
        .map(|(text, number)| Line {
            file,
            number,
            text: text.strip_suffix(b"\r").unwrap_or(text),
        })
}

impl<'a> Line<'a> {
    /// A mistake at a place of the line.
    pub fn mistake(&self, at: usize, what: impl Into<String>, help: impl Into<String>) -> Mistake {
        Mistake {
            file: self.file.to_owned(),
            line: self.number,
            column: u32::try_from(at).unwrap_or(u32::MAX - 1) + 1,
            what: what.into(),
            help: help.into(),
        }
    }

    /// The line, if it isn't too long.
    ///
    /// # Errors
    /// When it is.
    pub fn checked(self) -> Result<Line<'a>, Mistake> {
        if self.text.len() > MAX_LINE {
            let what = format!("the line has more than {MAX_LINE} bytes");
            return Err(self.mistake(MAX_LINE, what, "write one entry a line"));
        }
        Ok(self)
    }

    /// Its fields, with white space between them; `#` begins a comment. With quotes around it a field has
    /// white space and `#` in it.
    pub fn fields(&self) -> Fields<'a> {
        Fields {
            line: self.text,
            at: 0,
        }
    }
}

/// The fields of a line.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn skip_blanks(&mut self) {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        self.at += blank.count();
    }

    /// The end of what was taken so far.
    pub fn place(&self) -> usize {
        self.at
    }

    /// All that is left in front of a comment, without white space around it.
    pub fn rest(mut self) -> Field<'a> {
        self.skip_blanks();
        let rest = self.line.get(self.at..).unwrap_or_default();
        let comment = rest
            .windows(2)
            .position(|pair| pair[0].is_ascii_whitespace() && pair[1] == b'#');
        let text = rest.get(..comment.unwrap_or(rest.len())).unwrap_or(rest);
        Field {
            at: self.at,
            text: text.trim_ascii_end(),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        self.skip_blanks();
        let rest = self.line.get(self.at..).unwrap_or_default();
        let (at, text) = match rest {
            [] | [b'#', ..] => return None,
            [b'"', inner @ ..] => {
                let end = inner.iter().position(|byte| *byte == b'"');
                let text = inner.get(..end.unwrap_or(inner.len())).unwrap_or(inner);
                let closing = usize::from(end.is_some());
                let field = (self.at + 1, text);
                self.at += 1 + text.len() + closing;
                field
            }
            _ => {
                let end = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'#';
                let end = rest.iter().position(end).unwrap_or(rest.len());
                let field = (self.at, rest.get(..end).unwrap_or(rest));
                self.at += end;
                field
            }
        };
        Some(Field { at, text })
    }
}
