//! What ran on which kernel: docs/kernels.md, and the figures that a later run is compared with.

use std::{collections::BTreeMap, fmt::Write as _, fs, process::Command};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::compile;

/// Where a run is kept.
const KEPT: &str = "docs/kernels.json";
const DOCUMENT: &str = "docs/kernels.md";
/// What the table stands between.
const BEGIN: &str = "<!-- kernels: from docs/kernels.json -->\n";
const END: &str = "<!-- end of kernels -->\n";
/// By how much the verifier's walk may grow, in percent.
const GROWTH: u64 = 20;

/// What came of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// As in 6.1.
    pub kernel: String,
    /// As in 6.1.0-40-amd64.
    pub release: String,
    /// When it was tried, as in 2026-01-31.
    pub date: String,
    /// What was tried, and whether it works.
    pub subjects: Vec<(String, bool)>,
    /// NICs, and the roads by which their packets came; none for one that fails.
    #[serde(default)]
    pub nics: Vec<(String, Option<String>)>,
    /// How the verifier went through the programs; nothing if it refused one, or went too far.
    pub verifier: Vec<Walk>,
}

/// What the verifier did to accept a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// The program, and what it is loaded with.
    pub program: String,
    /// Instructions that it walked.
    pub instructions: u64,
    /// States that it kept, to compare others with.
    pub states: u64,
}

impl Walk {
    /// Both numbers, and what they are called.
    fn numbers(&self) -> [(&'static str, u64); 2] {
        [("instructions", self.instructions), ("states", self.states)]
    }
}

impl Row {
    /// For a kernel of which nothing is known yet.
    pub fn new(kernel: &str) -> Self {
        Row {
            kernel: kernel.to_owned(),
            ..Row::default()
        }
    }

    /// Whether all works.
    pub fn is_fine(&self) -> bool {
        self.subjects.iter().all(|(_, passed)| *passed)
            && self.nics.iter().all(|(_, road)| road.is_some())
            && !self.verifier.is_empty()
    }
}

/// What came of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// A kernel each.
    pub rows: Vec<Row>,
}

impl Table {
    /// As a document has it.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let names = self.rows.iter().map(|row| row.kernel.as_str());
        let head: String = names.map(|name| format!(" {name} |")).collect();
        // Writing to a String can't fail.
        let _ = writeln!(text, "|  |{head}\n|---|{}", "---|".repeat(self.rows.len()));
        let releases: String = self
            .rows
            .iter()
            .map(|row| format!(" {} |", row.release))
            .collect();
        let _ = writeln!(text, "| release |{releases}");
        let dates: String = self
            .rows
            .iter()
            .map(|row| format!(" {} |", row.date))
            .collect();
        let _ = writeln!(text, "| tried on |{dates}");
        let Some(first) = self.rows.first() else {
            return text;
        };
        for (at, (subject, _)) in first.subjects.iter().enumerate() {
            let cells: String = self
                .rows
                .iter()
                .map(|row| match row.subjects.get(at) {
                    Some((_, true)) => " works |",
                    Some((_, false)) => " **fails** |",
                    None => " – |",
                })
                .collect();
            let _ = writeln!(text, "| {subject} |{cells}");
        }
        for (at, (subject, _)) in first.nics.iter().enumerate() {
            let cells: String = self
                .rows
                .iter()
                .map(|row| match row.nics.get(at) {
                    Some((_, Some(road))) => format!(" {road} |"),
                    Some((_, None)) => " **fails** |".to_owned(),
                    None => " – |".to_owned(),
                })
                .collect();
            let _ = writeln!(text, "| {subject} |{cells}");
        }
        let mut programs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (at, row) in self.rows.iter().enumerate() {
            for walk in &row.verifier {
                let cells = programs
                    .entry(&walk.program)
                    .or_insert_with(|| vec!["–".to_owned(); self.rows.len()]);
                cells[at] = format!("{} / {}", walk.instructions, walk.states);
            }
        }
        for (program, cells) in programs {
            let _ = writeln!(
                text,
                "| verifier, instructions / states: {program} | {} |",
                cells.join(" | ")
            );
        }
        text
    }

    /// Says where the verifier walks so much further than in the runs that are kept; keeps these in
    /// place of earlier ones on the same kernels if all is fine.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub fn keep(&mut self) -> Result<Vec<String>> {
        let path = compile::workspace().join(KEPT);
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let mut kept: Table = serde_json::from_str(&kept).unwrap_or_default();
        let grown = self.grown(&kept);
        if grown.is_empty() && self.rows.iter().all(Row::is_fine) {
            let today = corex_lab::process::output_of(Command::new("date").args(["-u", "+%F"]))?;
            for row in &mut self.rows {
                today.trim().clone_into(&mut row.date);
                kept.take(row.clone());
            }
            let text = serde_json::to_string_pretty(&kept)? + "\n";
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            let path = compile::workspace().join(DOCUMENT);
            let document =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            fs::write(&path, kept.put_into(&document)?)
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(grown)
    }

    /// Takes a row in, in place of an earlier one of that kernel; the oldest kernel comes first.
    fn take(&mut self, row: Row) {
        let number = |row: &Row| -> Vec<u32> {
            let numbers = row.kernel.split('.');
            numbers.filter_map(|number| number.parse().ok()).collect()
        };
        self.rows.retain(|other| other.kernel != row.kernel);
        self.rows.push(row);
        self.rows.sort_by_key(number);
    }

    /// The document with this table in it.
    fn put_into(&self, document: &str) -> Result<String> {
        let (before, rest) = document
            .split_once(BEGIN)
            .context("docs/kernels.md has no place for the table")?;
        let (_, after) = rest
            .split_once(END)
            .context("the table in docs/kernels.md has no end")?;
        Ok(format!(
            "{before}{BEGIN}\n{}\n{END}{after}",
            self.markdown()
        ))
    }

    /// Where the verifier walks further than in an earlier run, by more than a fifth.
    fn grown(&self, earlier: &Table) -> Vec<String> {
        let mut lines = Vec::new();
        for row in &self.rows {
            let Some(before) = earlier.rows.iter().find(|one| one.kernel == row.kernel) else {
                continue;
            };
            for walk in &row.verifier {
                let mut kept = before.verifier.iter();
                let Some(kept) = kept.find(|one| one.program == walk.program) else {
                    continue;
                };
                for ((what, count), (_, was)) in walk.numbers().into_iter().zip(kept.numbers()) {
                    if count > was + was * GROWTH / 100 {
                        lines.push(format!(
                            "Linux {}: the verifier has {count} {what} of {:?}, {was} in docs/kernels.json",
                            row.kernel, walk.program
                        ));
                    }
                }
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(count: u64, states: u64) -> Table {
        Table {
            rows: vec![Row {
                kernel: "6.1".to_owned(),
                release: "6.1.0-1-amd64".to_owned(),
                date: "2026-01-01".to_owned(),
                subjects: vec![("proxy".to_owned(), true), ("inline".to_owned(), false)],
                nics: vec![("e1000e".to_owned(), Some("skb, 1 queue".to_owned()))],
                verifier: vec![Walk {
                    program: "Proxy".to_owned(),
                    instructions: count,
                    states,
                }],
            }],
        }
    }

    #[test]
    fn what_fails_stands_out_and_what_grew_by_more_than_a_fifth_is_named() {
        let text = table(100, 10).markdown();
        assert!(text.contains("| inline | **fails** |"), "{text}");
        assert!(text.contains("| e1000e | skb, 1 queue |"), "{text}");
        assert!(
            text.contains("| verifier, instructions / states: Proxy | 100 / 10 |"),
            "{text}"
        );
        assert!(!table(100, 10).rows[0].is_fine());
        for (instructions, states, lines) in
            [(120, 12, 0), (121, 12, 1), (120, 13, 1), (121, 13, 2)]
        {
            let grown = table(instructions, states).grown(&table(100, 10));
            assert_eq!(grown.len(), lines, "{grown:?}");
        }
    }

    #[test]
    fn a_nic_that_fails_is_no_fine_run_and_stands_out() {
        let mut row = table(1, 1).rows.remove(0);
        row.subjects.clear();
        assert!(row.is_fine());
        row.nics[0].1 = None;
        assert!(!row.is_fine());
        let text = Table { rows: vec![row] }.markdown();
        assert!(text.contains("| e1000e | **fails** |"), "{text}");
    }

    #[test]
    fn the_document_is_what_the_kept_run_says() {
        let read = |name| fs::read_to_string(compile::workspace().join(name)).expect(name);
        let kept: Table = serde_json::from_str(&read(KEPT)).expect("a table");
        let document = read(DOCUMENT);
        assert_eq!(kept.put_into(&document).expect("a place"), document);
    }
}
