//! What was counted once and is kept in the repository, and what has grown since.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use corex_lab::process::output_of;
use serde_json::{Value, json};

use super::profile::Functions;
use crate::compile;

/// By how much a row may grow, in percent.
pub const TOLERANCE: f64 = 3.0;
/// Functions with less of a row, in percent, are left out of the file.
const LEAST: f64 = 0.5;
/// Functions that are named at most where a row has grown.
const NAMED: usize = 10;

/// Instructions for one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// All.
    pub total: f64,
    /// By function, without what it calls.
    pub functions: Functions,
}

impl Row {
    /// What one message more costs, by what two series cost.
    pub fn between(short: &Functions, long: &Functions, messages: usize) -> Self {
        let functions: Functions = long
            .iter()
            .map(|(name, cost)| {
                let before = short.get(name).copied().unwrap_or_default();
                (name.clone(), (cost - before) / messages as f64)
            })
            .collect();
        Self {
            total: functions.values().sum(),
            functions,
        }
    }

    /// Functions that cost most first.
    pub fn top(&self) -> Vec<(&str, f64)> {
        let mut all: Vec<(&str, f64)> = self
            .functions
            .iter()
            .map(|(name, cost)| (name.as_str(), *cost))
            .collect();
        all.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(other.0)));
        all
    }

    /// By how many percent it has grown.
    pub fn growth(&self, since: &Self) -> f64 {
        (self.total / since.total - 1.0) * 100.0
    }

    /// The functions that have grown most, and by how many instructions.
    pub fn grown<'r>(&'r self, since: &Self) -> Vec<(&'r str, f64)> {
        // Of one that isn't in the file is known that it was less than this.
        let unknown = since.total * LEAST / 100.0;
        let mut grown: Vec<(&str, f64)> = self
            .functions
            .iter()
            .map(|(name, cost)| {
                let before = since.functions.get(name).copied();
                (name.as_str(), cost - before.unwrap_or(unknown.min(*cost)))
            })
            .filter(|(_, more)| *more >= 1.0)
            .collect();
        grown.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(other.0)));
        grown.truncate(NAMED);
        grown
    }
}

/// All rows, and what they were counted with.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// What else than corex's source decides how many instructions there are.
    pub made_with: BTreeMap<String, String>,
    /// The rows by name.
    pub rows: BTreeMap<String, Row>,
}

/// Where it is.
pub fn file() -> PathBuf {
    compile::workspace().join("xtask/src/bench/instructions.json")
}

/// The compiler, and the CPU as far as crates choose instructions by it.
///
/// # Errors
/// rustc doesn't say.
pub fn made_with() -> Result<BTreeMap<String, String>> {
    let rustc = output_of(Command::new("rustc").arg("--version"))?;
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_avx2 = cpu.split_whitespace().any(|flag| flag == "avx2");
    let cpu = match has_avx2 {
        true => format!("{} with AVX2", std::env::consts::ARCH),
        false => std::env::consts::ARCH.to_owned(),
    };
    let pairs = [("rustc", rustc.trim().to_owned()), ("cpu", cpu)];
    Ok(pairs.map(|(key, value)| (key.to_owned(), value)).into())
}

impl Baseline {
    /// Reads the file.
    ///
    /// # Errors
    /// There is none, or it isn't one.
    pub fn read() -> Result<Self> {
        let file = file();
        let text = fs::read_to_string(&file)
            .with_context(|| format!("read {}; --save makes it", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no baseline", file.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let file: Value = serde_json::from_str(text).ok()?;
        let made_with = file["made_with"].as_object()?.iter();
        let rows = file["rows"].as_object()?.iter().map(|(name, row)| {
            let functions = row["functions"].as_object()?.iter();
            let row = Row {
                total: row["instructions"].as_f64()?,
                functions: functions
                    .map(|(name, cost)| Some((name.clone(), cost.as_f64()?)))
                    .collect::<Option<_>>()?,
            };
            Some((name.clone(), row))
        });
        Some(Self {
            made_with: made_with
                .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect::<Option<_>>()?,
            rows: rows.collect::<Option<_>>()?,
        })
    }

    fn text(&self) -> String {
        let rows: BTreeMap<&str, Value> = self
            .rows
            .iter()
            .map(|(name, row)| {
                let top = row.top().into_iter();
                let functions: BTreeMap<&str, f64> = top
                    .take_while(|(_, cost)| *cost >= row.total * LEAST / 100.0)
                    .map(|(name, cost)| (name, cost.round()))
                    .collect();
                let row = json!({
                    "instructions": row.total.round(),
                    "functions": functions,
                });
                (name.as_str(), row)
            })
            .collect();
        let file = json!({"made_with": self.made_with, "rows": rows});
        format!("{file:#}\n")
    }

    /// Writes the file. Rows in it that aren't among these stay.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(mut self) -> Result<()> {
        let file = file();
        if file.exists() {
            for (name, row) in Self::read()?.rows {
                self.rows.entry(name).or_insert(row);
            }
        }
        fs::write(&file, self.text()).with_context(|| format!("write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(functions: &[(&str, f64)]) -> Row {
        let functions = functions
            .iter()
            .map(|(name, cost)| ((*name).to_owned(), *cost));
        Row::between(&Functions::new(), &functions.collect(), 1)
    }

    #[test]
    fn the_start_is_not_counted() {
        let costs = |run: f64, start: f64| {
            [("run", run), ("start", start)].map(|(name, cost)| (name.to_owned(), cost))
        };
        let short = Functions::from(costs(100.0, 5000.0));
        let long = Functions::from(costs(1100.0, 5000.0));
        let row = Row::between(&short, &long, 10);
        assert_eq!(row.total, 100.0);
        assert_eq!(row.top(), [("run", 100.0), ("start", 0.0)]);
    }

    #[test]
    fn what_has_grown_is_named_and_what_was_too_small_to_be_kept_is_not() {
        let before = row(&[("parse", 600.0), ("copy", 400.0)]);
        let now = row(&[
            ("parse", 650.0),
            ("copy", 300.0),
            ("alloc", 95.0),
            ("tiny", 5.0),
        ]);
        assert_eq!(now.growth(&before).round(), 5.0);
        assert_eq!(now.grown(&before), [("alloc", 90.0), ("parse", 50.0)]);
    }

    #[test]
    fn the_file_reads_back() {
        let rows = [("send".to_owned(), row(&[("parse", 600.0), ("copy", 400.0)]))];
        let baseline = Baseline {
            made_with: made_with().unwrap(),
            rows: rows.into(),
        };
        assert_eq!(Baseline::parse(&baseline.text()), Some(baseline));
    }

    #[test]
    fn the_file_in_the_repository_is_one() {
        assert!(!Baseline::read().unwrap().rows.is_empty());
    }
}
