//! What libFuzzer says.

/// What a run has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Inputs that were run.
    pub executions: u64,
    /// Places in the code that were reached: edges between basic blocks.
    pub edges: u64,
    /// Edges that there are.
    pub of_edges: u64,
    /// Edges by how often an input took them, and values that were compared.
    pub features: u64,
    /// Inputs in the corpus: each reaches something that the others don't.
    pub corpus: u64,
    /// The most memory, in MiB.
    pub memory_mib: u64,
}

/// A line that says something.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// How far it is.
    Progress,
    /// The file with the input that failed.
    Failed(String),
    /// Something else: a panic's message, where a process was.
    Other,
}

impl Status {
    /// Takes a line in.
    pub fn read(&mut self, line: &str) -> Said {
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            return Said::Failed(path.trim().to_owned());
        }
        if let Some(rest) = line.strip_prefix("INFO: Loaded ") {
            let counters = rest.split_once('(').map(|(_, rest)| rest);
            let counters = counters.and_then(|rest| rest.split(' ').next());
            // It is said twice, of counters and of what they stand for.
            if let Some(counters) = counters.and_then(|number| number.parse().ok()) {
                self.of_edges = counters;
            }
            return Said::Progress;
        }
        if let Some(rest) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = rest.trim().parse().unwrap_or(self.executions);
            return Said::Progress;
        }
        if line.starts_with("stat::") || line.starts_with("INFO: ") {
            return Said::Progress;
        }
        match self.progress(line) {
            Some(()) => Said::Progress,
            None => Said::Other,
        }
    }

    /// `#8192 pulse cov: 900 ft: 2000 corp: 50/3Kb lim: 100 exec/s: 4096 rss: 60Mb`
    fn progress(&mut self, line: &str) -> Option<()> {
        let mut words = line.strip_prefix('#')?.split_whitespace();
        let executions = words.next()?.parse().ok()?;
        let words: Vec<&str> = words.collect();
        let after = |name: &str| -> Option<u64> {
            let at = words.iter().position(|word| *word == name)?;
            let digits = words.get(at + 1)?;
            let end = digits.find(|c: char| !c.is_ascii_digit());
            digits.get(..end.unwrap_or(digits.len()))?.parse().ok()
        };
        self.edges = after("cov:")?;
        self.executions = executions;
        self.features = after("ft:").unwrap_or(self.features);
        self.corpus = after("corp:").unwrap_or(self.corpus);
        self.memory_mib = after("rss:").unwrap_or(0).max(self.memory_mib);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_libfuzzers_lines() {
        let mut status = Status::default();
        for line in [
            "INFO: Loaded 1 modules   (7411 inline 8-bit counters): 7411 [0x55, 0x56), ",
            "INFO: Loaded 1 PC tables (7411 PCs): 7411 [0x55,0x56), ",
            "#8192\tpulse  cov: 900 ft: 2000 corp: 50/3Kb lim: 100 exec/s: 4096 rss: 60Mb",
            "#9000\tREDUCE cov: 901 ft: 2002 corp: 51/3Kb lim: 100 exec/s: 4096 rss: 59Mb L: 1/9 MS: 1 X-",
            "stat::number_of_executed_units: 9123",
        ] {
            assert_eq!(status.read(line), Said::Progress, "{line}");
        }
        let expected = Status {
            executions: 9123,
            edges: 901,
            of_edges: 7411,
            features: 2002,
            corpus: 51,
            memory_mib: 60,
        };
        assert_eq!(status, expected);
    }

    #[test]
    fn what_is_no_progress_is_kept_for_the_reader() {
        let mut status = Status::default();
        assert_eq!(status.read("#0 0x55 in main"), Said::Other);
        assert_eq!(
            status.read("thread '<unnamed>' panicked at x.rs:1:2:"),
            Said::Other
        );
        let line = "artifact_prefix='/t/'; Test unit written to /t/crash-1";
        assert_eq!(status.read(line), Said::Failed("/t/crash-1".to_owned()));
        assert_eq!(status, Status::default());
    }
}
