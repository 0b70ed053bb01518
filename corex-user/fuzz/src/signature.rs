//! The guard's signatures: patterns to an automaton, and messages through it.

use corex_common::guard::signatures::{SHORTEST, WINDOW, refuses};
use corex_script::settings::{SignaturePattern, SignaturePlace, SignatureSettings};
use corex_user::guard::automaton::compile;

/// Takes the input for patterns, a line each, an empty line, and a message. The first byte of a line
/// says where its pattern belongs.
///
/// # Panics
/// When the automaton finds what isn't there, or doesn't find what is.
pub fn signature(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let Some(end) = end else { return };
    let (patterns, message) = (&data[..end], &data[end + 2..]);
    let patterns: Vec<SignaturePattern> = patterns
        .split(|byte| *byte == b'\n')
        .filter_map(pattern)
        .take(8)
        .collect();
    let settings = SignatureSettings {
        patterns,
        ..SignatureSettings::default()
    };
    let Ok(automaton) = compile(&settings, true) else {
        return;
    };
    let found = refuses(&automaton, message, 0);
    // In which line and header they stand is the automaton's to say; that they stand there at all isn't.
    let window = message.get(..WINDOW).unwrap_or(message);
    let small = window.to_ascii_lowercase();
    let is_there = |pattern: &SignaturePattern| {
        let mut windows = small.windows(pattern.text.len());
        windows.any(|part| part == pattern.text)
    };
    assert!(!found || settings.patterns.iter().any(is_there));
    let begin = small.iter().position(|byte| !b"\r\n".contains(byte));
    let begin = begin.unwrap_or(small.len());
    let first = small[begin..].split(|byte| *byte == b'\n').next();
    let first = first.unwrap_or_default();
    let begins = |pattern: &SignaturePattern| {
        let is_of_line = pattern.place == SignaturePlace::FirstLine && pattern.is_anchored;
        is_of_line && first.starts_with(&pattern.text)
    };
    if message.len() >= SHORTEST && settings.patterns.iter().any(begins) {
        assert!(found);
    }
}

fn pattern(line: &[u8]) -> Option<SignaturePattern> {
    let (kind, text) = line.split_first()?;
    // As the parameter has them: something to be seen, on one line.
    let is_fit = !text.is_empty() && text.len() <= 64 && !text.contains(&b'\r');
    is_fit.then(|| SignaturePattern {
        place: match kind & 1 {
            0 => SignaturePlace::FirstLine,
            _ => SignaturePlace::UserAgent,
        },
        is_anchored: kind & 2 != 0,
        text: text.to_ascii_lowercase(),
    })
}
