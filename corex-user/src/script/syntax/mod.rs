//! The configuration language's front end: from text to a syntax tree, mistakes reported.
//!
//! The language is Kamailio's. A text goes through four rooms, each in its file: `lexer` makes tokens
//! of it, `preprocess` resolves `#!define` and `#!ifdef` on them, `parser` builds the [`ast`], and
//! [`mod@print`] goes the way back. All report into one [`diag::Report`], which later rooms add to.

pub mod ast;
pub mod diag;
mod lexer;
mod parser;
mod preprocess;
pub mod print;
pub mod pv;
pub mod span;
mod token;

#[cfg(test)]
mod tests;

use std::path::Path;

/// How deep blocks, parentheses and operators before an operand may nest.
pub const MAX_NESTING: usize = 100;

/// How deep an expression's tree may be; a chain such as `a + b + c` counts one for each operator.
pub const MAX_EXPR_DEPTH: usize = 250;

/// What parsing yields.
#[derive(Debug)]
pub struct Parsed {
    /// The tree. Where the report has errors, the parts with mistakes are missing from it: good
    /// enough to look for further mistakes in it, not to run it.
    pub file: ast::File,
    /// What is wrong, and the source texts.
    pub report: diag::Report,
}

/// Parses the configuration in a file. What is wrong with the file itself is in the report too.
pub fn parse_file(path: &Path) -> Parsed {
    let name = path.display().to_string();
    let fail = |message: String, help: Option<String>| {
        let mut report = diag::Report::new();
        let mut diagnostic = diag::Diagnostic::error(span::Span::NONE, message);
        diagnostic.help.extend(help);
        report.push(diagnostic);
        Parsed {
            file: ast::File::default(),
            report,
        }
    };
    match read(path) {
        Ok(bytes) => parse_bytes(&name, bytes),
        Err(error) => fail(
            format!("the configuration {name} can't be read: {error}"),
            None,
        ),
    }
}

/// Reads a file, but not much more than is allowed.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(span::MAX_SOURCE_LEN as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses a configuration given as bytes; `name` is what reports call it.
pub fn parse_bytes(name: &str, bytes: Vec<u8>) -> Parsed {
    match String::from_utf8(bytes) {
        Ok(text) => parse_str(name, &text),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let mut report = diag::Report::new();
            if let Some(file) = report.sources.add(name, text) {
                let place = span::Span::new(file, valid..valid + '\u{fffd}'.len_utf8());
                report.push(
                    diag::Diagnostic::error(place, "this byte is not valid UTF-8")
                        .help("save the file as UTF-8; in a string, write the byte as \\xNN"),
                );
            } else {
                report.push(too_large(name));
            }
            Parsed {
                file: ast::File::default(),
                report,
            }
        }
    }
}

/// Parses a configuration given as text; `name` is what reports call it.
pub fn parse_str(name: &str, text: &str) -> Parsed {
    let mut report = diag::Report::new();
    let Some(file) = report.sources.add(name, text) else {
        report.push(too_large(name));
        return Parsed {
            file: ast::File::default(),
            report,
        };
    };
    let (tokens, diagnostics) = preprocess::tokens(file, text);
    for diagnostic in diagnostics {
        report.push(diagnostic);
    }
    let file = parser::parse(tokens, &mut report);
    Parsed { file, report }
}

fn too_large(name: &str) -> diag::Diagnostic {
    let most = span::MAX_SOURCE_LEN >> 20;
    diag::Diagnostic::error(
        span::Span::NONE,
        format!("the configuration {name} is larger than {most} MiB"),
    )
}
