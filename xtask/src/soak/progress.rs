//! How far it is: one line that changes on a terminal, and elsewhere a line each minute.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use super::sample::Sample;
use crate::ui;

/// Shows how far a run is.
#[derive(Debug)]
pub struct Progress {
    time: Duration,
    every: Duration,
    said: Option<Instant>,
}

impl Progress {
    /// Of a run that takes so long.
    pub fn new(time: Duration) -> Progress {
        let every = if io::stdout().is_terminal() {
            Duration::ZERO
        } else {
            // A short one says something, too.
            Duration::from_secs(60).min(time / 4)
        };
        Progress {
            time,
            every,
            said: None,
        }
    }

    /// Shows a reading, and calls that were completed and that failed.
    pub fn show(&mut self, elapsed: Duration, sample: &Sample, calls: (u64, u64)) {
        let line = line(elapsed, self.time, sample, calls);
        if self.every.is_zero() {
            ui::progress(&line);
        } else if self.said.is_none_or(|said| said.elapsed() >= self.every) {
            ui::say(&line);
            self.said = Some(Instant::now());
        }
    }

    /// Ends a line that changed.
    pub fn end(&self) {
        ui::end_progress();
    }
}

fn line(elapsed: Duration, time: Duration, sample: &Sample, (done, failed): (u64, u64)) -> String {
    let minutes = |time: Duration| {
        let seconds = time.as_secs();
        format!("{}:{:02}", seconds / 60, seconds % 60)
    };
    format!(
        "  {} of {}  corex {}: {:.1} MiB, heap {:.1} MiB, {} fds, {} threads, {} frames, {} connections, \
         {} entries, {} messages; {done} calls and registrations, {failed} failed",
        minutes(elapsed),
        minutes(time),
        sample.generation,
        sample.memory.rss as f64 / 1024.0,
        sample.heap as f64 / 1024.0 / 1024.0,
        sample.descriptors,
        sample.threads,
        sample.frames,
        sample.connections,
        sample.entries,
        sample.messages,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_what_there_is() {
        let sample = Sample {
            generation: 2,
            threads: 17,
            frames: 8192,
            ..Sample::default()
        };
        let text = line(
            Duration::from_secs(61),
            Duration::from_secs(3600),
            &sample,
            (5, 0),
        );
        assert!(text.contains("1:01 of 60:00  corex 2:"), "{text}");
        assert!(text.contains("17 threads, 8192 frames"), "{text}");
        assert!(
            text.contains("5 calls and registrations, 0 failed"),
            "{text}"
        );
    }
}
