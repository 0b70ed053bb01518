//! What the kernel refused, to be tried again.

use std::time::{Duration, Instant};

/// How long after a refusal it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What was refused last, and when it is tried again.
#[derive(Default)]
pub struct Refusal {
    told: String,
    until: Option<Instant>,
}

impl Refusal {
    /// Whether it may be tried now.
    pub fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    /// Says it, unless it is what was said last.
    pub fn tell(&mut self, name: &str, error: &anyhow::Error) {
        let line = format!("{name}: {error:#}");
        if line != self.told {
            tracing::warn!("{line}; packets go without AF_XDP, and it is tried again");
            self.told = line;
        }
        self.until = Some(Instant::now() + RETRY);
    }
}
