//! Regular expressions as Kamailio has them.

mod posix;

use regex::bytes::{Regex, RegexBuilder};

/// The most memory that one compiled pattern may take, in bytes.
const MAX_REGEX_SIZE: usize = 4 << 20;

/// In front of a pattern: `^` and `$` are the ends of a line, and `.` is no line break.
pub const LINES: &[u8] = b"(?m-s)";

/// Compiles a pattern. As Kamailio compiles its own (POSIX extended, case-insensitive, no special
/// treatment of line breaks): upper and lower case are the same, `.` matches any byte, `^` and
/// `$` only the ends of the whole. Matching takes linear time on any input.
///
/// What POSIX writes otherwise than the crate is translated first; beyond it the crate's own notation
/// is taken, `\\d` or `(?i)`. Back-references are not, as they can't be matched in linear time.
///
/// # Errors
/// What is wrong with it, on one line.
pub fn regex(pattern: &[u8]) -> Result<Regex, String> {
    let text = std::str::from_utf8(pattern).map_err(|_| "it is not valid UTF-8".to_owned())?;
    RegexBuilder::new(&posix::translated(text))
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .unicode(false)
        .size_limit(MAX_REGEX_SIZE)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
            error => {
                // The last line says what is wrong; those before it draw where.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
        })
}
