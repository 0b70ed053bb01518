//! The configuration language.

use corex_script::{load_str, syntax};

/// Takes the input for a configuration: parses, shows the report, checks. Where it is right, the
/// printed tree must parse to an equal tree.
///
/// # Panics
/// When something of that doesn't hold.
pub fn dialect(data: &[u8]) {
    let parsed = syntax::parse_bytes("fuzz.cfg", data.to_vec());
    let shown = parsed.report.render(true);
    assert_eq!(shown.is_empty(), parsed.report.diagnostics().is_empty());
    if !parsed.report.has_errors() {
        let text = parsed.file.to_string();
        let again = syntax::parse_str("printed.cfg", &text);
        assert!(!again.report.has_errors(), "{text}\n{}", again.report);
        assert_eq!(again.file, parsed.file, "{text}");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let loaded = load_str("fuzz.cfg", text, corex_user::module::MODULES);
        assert_eq!(loaded.config.is_none(), loaded.report.has_errors());
        // What the checker says has places of its own.
        loaded.report.render(false);
    }
}
