//! The configuration language's front end: from text to a syntax tree, mistakes reported.
//!
//! The language is Kamailio's. A text goes through four rooms, each in its file: `lexer` makes tokens
//! of it, `preprocess` resolves `#!define`, `#!ifdef`, `include_file` on them, `parser` builds the [`ast`], and
//! [`mod@print`] goes the way back. All report into one [`diag::Report`], which later rooms add to.

pub mod ast;
pub mod diag;
mod lexer;
mod parser;
mod preprocess;
pub mod print;
pub mod pv;
mod read;
pub mod span;
mod token;

#[cfg(test)]
mod tests;

use std::path::Path;

use read::{decode, not_utf8};

pub use read::{ReadFile, read};

pub use ast::{MAX_EXPR_DEPTH, MAX_NESTING};

/// What parsing yields.
#[derive(Debug)]
pub struct Parsed {
    /// The tree. Where the report has errors, the parts with mistakes are missing from it: good
    /// enough to look for further mistakes in it, not to run it.
    pub file: ast::File,
    /// What is wrong, and the source texts.
    pub report: diag::Report,
}

/// Parses the configuration in a file and the files that it includes. What is wrong with the files
/// themselves is in the report too.
///
/// A relative path in `include_file` is tried from the working directory, then from the folder of the
/// file that includes, as in Kamailio.
pub fn parse_file(path: &Path, read_file: &ReadFile<'_>) -> Parsed {
    let name = path.display().to_string();
    match read_file(path) {
        Ok(bytes) => parse(name, bytes, Some(path), read_file),
        Err(error) => failed(diag::Diagnostic::error(
            span::Span::NONE,
            format!("the configuration {name} can't be read: {error}"),
        )),
    }
}

/// Parses a configuration given as bytes; `name` is what reports call it. A relative path in `include_file` is
/// tried from the working directory only.
pub fn parse_bytes(name: &str, bytes: Vec<u8>) -> Parsed {
    parse(name.to_owned(), bytes, None, &read)
}

/// Parses a configuration given as text; as [`parse_bytes`].
pub fn parse_str(name: &str, text: &str) -> Parsed {
    parse_source(span::Source::new(name, text), &read)
}

fn parse(name: String, bytes: Vec<u8>, path: Option<&Path>, read_file: &ReadFile<'_>) -> Parsed {
    let (text, invalid) = decode(bytes);
    let mut source = span::Source::new(name, text);
    if let Some(path) = path {
        source = source.with_path(path.to_owned());
    }
    match invalid {
        None => parse_source(source, read_file),
        Some(range) => {
            let mut report = diag::Report::new();
            let diagnostic = match report.sources.add_source(source) {
                Ok(file) => not_utf8(file, range),
                Err(source) => too_large(source.name()),
            };
            report.push(diagnostic);
            Parsed {
                file: ast::File::default(),
                report,
            }
        }
    }
}

fn parse_source(source: span::Source, read_file: &ReadFile<'_>) -> Parsed {
    let mut report = diag::Report::new();
    let main = match report.sources.add_source(source) {
        Ok(main) => main,
        Err(source) => return failed(too_large(source.name())),
    };
    let (tokens, diagnostics) = preprocess::tokens(main, &mut report.sources, read_file);
    for diagnostic in diagnostics {
        report.push(diagnostic);
    }
    let file = parser::parse(tokens, &mut report);
    Parsed { file, report }
}

fn failed(diagnostic: diag::Diagnostic) -> Parsed {
    let mut report = diag::Report::new();
    report.push(diagnostic);
    Parsed {
        file: ast::File::default(),
        report,
    }
}

fn too_large(name: &str) -> diag::Diagnostic {
    let most = span::MAX_SOURCE_LEN >> 20;
    diag::Diagnostic::error(
        span::Span::NONE,
        format!("the configuration {name} is larger than {most} MiB"),
    )
}
