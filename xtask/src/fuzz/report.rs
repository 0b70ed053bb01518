//! What came of it: a table for people, JSON for programs.

use serde::Serialize;

use super::status::Status;
use crate::ui;

/// What came of one target.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub target: &'static str,
    /// How long it ran.
    pub seconds: f64,
    /// How far it came.
    #[serde(flatten)]
    pub status: Status,
    /// Whether no input failed.
    pub survived: bool,
    /// The file with the input that failed.
    pub input: Option<String>,
}

impl Row {
    /// Inputs a second.
    fn rate(&self) -> f64 {
        match self.seconds > 0.0 {
            true => self.status.executions as f64 / self.seconds,
            false => 0.0,
        }
    }

    fn cells(&self) -> [String; 7] {
        let Status {
            executions,
            edges,
            of_edges,
            features,
            corpus,
            ..
        } = &self.status;
        let edges = match of_edges {
            0 => "-".to_owned(),
            all => format!("{edges} of {all}"),
        };
        [
            self.target.to_owned(),
            thousands(*executions),
            thousands(self.rate() as u64),
            edges,
            features.to_string(),
            corpus.to_string(),
            if self.survived { "survived" } else { "FAILED" }.to_owned(),
        ]
    }
}

const HEADS: [&str; 7] = [
    "target",
    "executions",
    "exec/s",
    "edges",
    "features",
    "corpus",
    "",
];

/// A number with a comma after each three digits from the right.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let parts = digits.as_bytes().rchunks(3).rev();
    let parts: Vec<_> = parts.map(String::from_utf8_lossy).collect();
    parts.join(",")
}

/// Prints the table.
pub fn table(rows: &[Row]) {
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].len());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    for line in &lines {
        let cells = line.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 6 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        ui::say(line.trim_end());
    }
}

/// The same for programs: an array with an object for each target.
///
/// # Errors
/// Never, as things are.
pub fn json(rows: &[Row]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_row_has_all_of_its_status_as_json() {
        let row = Row {
            target: "sip",
            seconds: 2.0,
            status: Status {
                executions: 100,
                edges: 3,
                ..Status::default()
            },
            survived: true,
            input: None,
        };
        assert_eq!(row.cells()[2], "50");
        let text = json(&[row]).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["executions"], 100);
        assert_eq!(value[0]["survived"], true);
    }
}
