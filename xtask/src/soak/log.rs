//! What corex logged that it shouldn't have.

/// What a line may say although it is a warning or an error, and what it comes from.
const EXPECTED: &[&str] = &[];

/// Lines that are warnings, errors or panics, and that nothing here explains.
pub fn complaints(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| is_complaint(line));
    let unexpected = lines.filter(|line| !EXPECTED.iter().any(|text| line.contains(text)));
    unexpected.map(str::to_owned).collect()
}

/// By the level, the second word, or by what the panic handler writes.
fn is_complaint(line: &str) -> bool {
    let level = line.split_whitespace().nth(1);
    matches!(level, Some("WARN" | "ERROR")) || line.contains("panicked at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_errors_and_panics_are_complaints_and_news_are_none() {
        let log = "2026-01-01T00:00:00Z  INFO ready: ERROR is a word here\n\
                   2026-01-01T00:00:00Z  WARN odd\n\
                   2026-01-01T00:00:00Z ERROR bad\n\
                   thread 'worker' panicked at a.rs:1:2:\n";
        assert_eq!(complaints(log).len(), 3);
        assert!(complaints("2026-01-01T00:00:00Z  INFO all is well\n").is_empty());
    }
}
