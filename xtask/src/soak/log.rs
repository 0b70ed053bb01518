//! What corex logged that it shouldn't have.

/// What a line may say although it is a warning or an error, and why it does.
const EXPECTED: &[(&str, &str)] = &[
    ("10.0.1.66:", "who sends junk"),
    (
        "closed: it does not begin like a SIP or HTTP message",
        "junk on connections",
    ),
    (
        "closed: a message without Content-Length",
        "junk on connections that has an empty line in it",
    ),
    (
        "connections closed that can't be handed over",
        "a connection whose task got no CPU for a second, as others are busy",
    ),
    (
        "the configuration stays as it was",
        "configurations that must be refused",
    ),
    (
        "the listen lines have changed",
        "configurations that must be refused",
    ),
    (
        "the kernel refused it: network unreachable",
        "a link that is down",
    ),
    (
        "it takes too long",
        "a script that waits for a CPU, as others are busy",
    ),
    ("chokes on", "the same: its sender is held for a moment"),
    ("it took more than 200 ms", "the same, in Perl"),
    (
        "no key is known of this device",
        "a new corex, which phones bring their keys once more",
    ),
    (
        "a perl process has ended",
        "the same in Perl: the process is replaced",
    ),
];

/// Lines that are warnings, errors or panics, and that nothing here explains.
pub fn complaints(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| is_complaint(line));
    let is_expected = |line: &&str| EXPECTED.iter().any(|(text, _)| line.contains(text));
    lines
        .filter(|line| !is_expected(line))
        .map(str::to_owned)
        .collect()
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
        let expected = "2026-01-01T00:00:00Z  WARN not SIP, dropped source=10.0.1.66:5099\n";
        assert!(complaints(expected).is_empty());
        assert!(complaints("2026-01-01T00:00:00Z  INFO all is well\n").is_empty());
    }
}
