//! The command line.

use std::path::PathBuf;

use clap::Args;

use crate::bench::results::Settings;

/// Bytes of each message, as a phone's OPTIONS has them.
const SIZE: usize = 380;

/// How to measure, and what.
#[derive(Debug, Args)]
pub struct SuiteArgs {
    /// One turn, shorter, and nothing grows
    #[arg(long)]
    pub quick: bool,
    /// Write the results to this file, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Seconds for the sustained rate of each device in each turn; the rest is in proportion.
    /// Default: 0.3
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Turns. Default: 3
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
    pub repeat: Option<u32>,
    /// Messages on their way at most, for the sustained rate
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(64..=2048))]
    pub window: u32,
    /// Only devices, and what grows, with this in their name
    pub filter: Option<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=30.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0.1 to 30".to_owned()),
    }
}

impl SuiteArgs {
    /// The command line again.
    pub fn command(&self) -> String {
        let mut words = vec!["cargo xtask bench".to_owned()];
        if self.quick {
            words.push("--quick".to_owned());
        }
        if let Some(path) = &self.json {
            words.push(format!("--json {}", path.display()));
        }
        if let Some(seconds) = self.seconds {
            words.push(format!("--seconds {seconds}"));
        }
        if let Some(turns) = self.repeat {
            words.push(format!("--repeat {turns}"));
        }
        if self.window != 512 {
            words.push(format!("--window {}", self.window));
        }
        words.extend(self.filter.clone());
        words.join(" ")
    }
}

impl SuiteArgs {
    /// How long and how often to measure.
    pub fn settings(&self) -> Settings {
        let (turns, seconds, steps) = match self.quick {
            true => (1, 0.15, 5),
            false => (3, 0.3, 6),
        };
        Settings {
            turns: self.repeat.unwrap_or(turns),
            seconds: self.seconds.unwrap_or(seconds),
            window: u64::from(self.window),
            size: SIZE,
            steps,
        }
    }
}
