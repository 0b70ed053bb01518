//! Tables, as text for a terminal and as Markdown.

/// Lines of cells, the first of them names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    head: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    /// An empty one with these columns.
    pub fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|word| (*word).to_owned()).collect(),
            lines: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn push(&mut self, line: Vec<String>) {
        self.lines.push(line);
    }

    /// For Markdown: names to the left, figures to the right.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<&str> = (0..self.head.len())
            .map(|column| if column == 0 { "---" } else { "---:" })
            .collect();
        let mut text = line(&self.head);
        text += &format!("|{}|\n", rule.join("|"));
        for cells in &self.lines {
            text += &line(cells);
        }
        text
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let all = || std::iter::once(&self.head).chain(&self.lines);
        let width = |column: usize| {
            let cells = all().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for line in all() {
            let mut row = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                row += &match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            text += row.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["device", "µs"]);
        table.push(vec!["a".to_owned(), "1000".to_owned()]);
        assert_eq!(table.text(), "device    µs\na       1000\n");
        assert_eq!(
            table.markdown(),
            "| device | µs |\n|---|---:|\n| a | 1000 |\n"
        );
    }
}
