//! Reading source files: bounded, and as text.

use std::ops::Range;
use std::path::Path;

use super::diag;
use super::span;

/// How a file is read: [`read`], or what gets at files that this process can't open.
pub type ReadFile<'a> = dyn Fn(&Path) -> std::io::Result<Vec<u8>> + 'a;

/// Reads a file, but not much more than is allowed.
///
/// # Errors
/// What the system says.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(span::MAX_SOURCE_LEN as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes as text. Where they are not UTF-8: with stand-ins, and the place of the first.
pub(super) fn decode(bytes: Vec<u8>) -> (String, Option<Range<usize>>) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            (text, Some(valid..valid + '\u{fffd}'.len_utf8()))
        }
    }
}

/// The report of a byte that is no text.
pub(super) fn not_utf8(file: span::FileId, range: Range<usize>) -> diag::Diagnostic {
    diag::Diagnostic::error(span::Span::new(file, range), "this byte is not valid UTF-8")
        .help("save the file as UTF-8; in a string, write the byte as \\xNN")
}
