//! The documents that have figures: parts of them between two comments, and plots, are made of the
//! run that is kept in the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{figures, plots};
use crate::{
    bench::results::{Attacks, Hiccups, Kept, Run},
    compile,
};

/// The run that the documents are made of, in the repository.
pub const RUN: &str = "docs/performance/run.json";
const HICCUPS: &str = "docs/performance/hiccups.json";
const ATTACKS: &str = "docs/performance/guard.json";
/// Where plots are.
const FOLDER: &str = "docs/performance";

/// The documents and the names of their parts.
const DOCUMENTS: [(&str, &[&str]); 3] = [
    ("README.md", &["speed"]),
    (
        "docs/performance.md",
        &["run", "rates", "latencies", "foreign", "growth", "hiccups"],
    ),
    ("docs/guard.md", &["attacks"]),
];

/// The results in the repository.
#[derive(Default)]
pub struct Results {
    /// A run of the whole benchmark.
    pub run: Option<Run>,
    /// Minutes of load.
    pub hiccups: Option<Hiccups>,
    /// Calls through attacks.
    pub attacks: Option<Attacks>,
}

impl Results {
    /// Those that are kept.
    ///
    /// # Errors
    /// One can't be read.
    pub fn kept() -> Result<Self> {
        Ok(Self {
            run: kept(RUN)?,
            hiccups: kept(HICCUPS)?,
            attacks: kept(ATTACKS)?,
        })
    }
}

fn kept<T: Kept>(file: &str) -> Result<Option<T>> {
    let path = compile::workspace().join(file);
    path.exists().then(|| T::read(&path)).transpose()
}

/// The file that a part is made of.
fn source(part: &str) -> &'static str {
    match part {
        "hiccups" => HICCUPS,
        "attacks" => ATTACKS,
        _ => RUN,
    }
}

/// What stands in a part as long as nothing is kept that it could be made of.
fn nothing<T: Kept>(part: &str) -> String {
    format!(
        "No run is kept in the repository yet: `{} {}` makes one, and `cargo xtask bench report` \
         fills in what belongs here.\n",
        T::COMMAND,
        source(part)
    )
}

/// What belongs in a part.
fn part(name: &str, results: &Results) -> String {
    match name {
        "hiccups" => {
            let hiccups = results.hiccups.as_ref();
            hiccups.map_or_else(|| nothing::<Hiccups>(name), figures::hiccups)
        }
        "attacks" => results.attacks.as_ref().map_or_else(
            || nothing::<Attacks>(name),
            |attacks| {
                figures::attacks(attacks).markdown()
                    + "\n"
                    + &figures::circumstances_of_attacks(attacks)
            },
        ),
        _ => {
            let run = results.run.as_ref();
            run.map_or_else(|| nothing::<Run>(name), |run| part_of_run(name, run))
        }
    }
}

fn part_of_run(name: &str, run: &Run) -> String {
    let picture = |name: &str, text: &str| format!("\n![{text}](performance/{name}.svg)\n");
    match name {
        "speed" => figures::summary(run).markdown() + "\n" + &figures::circumstances(run),
        "run" => figures::circumstances(run),
        "rates" => {
            let picture = picture("rates", "Messages each second, by device");
            figures::rates(run).markdown() + &picture
        }
        "latencies" => {
            let picture = picture("latencies", "p50, p99 and p99.9 at half load, by device");
            figures::latencies(run).markdown() + &picture
        }
        "foreign" => figures::foreign(run).markdown(),
        _ => {
            let picture = picture("growth", "Rate to the first point's, by what grows");
            figures::growth(run).markdown() + &picture
        }
    }
}

/// Puts `content` between the comments that mark a part.
fn fill(text: &str, name: &str, content: &str) -> Result<String> {
    let begin = format!("<!-- {name}: from {} -->\n", source(name));
    let end = format!("<!-- end of {name} -->\n");
    let (before, rest) = text
        .split_once(&begin)
        .with_context(|| format!("there is no line {}", begin.trim()))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("there is no line {}", end.trim()))?;
    Ok(format!("{before}{begin}\n{content}\n{end}{after}"))
}

/// All files that are made of results, with their content.
///
/// # Errors
/// A document isn't there, or lacks the comments of a part.
pub fn files(results: &Results) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for (document, parts) in DOCUMENTS {
        let path = compile::workspace().join(document);
        let mut text = fs::read_to_string(&path).with_context(|| document.to_owned())?;
        for name in parts {
            text = fill(&text, name, &part(name, results)).with_context(|| document.to_owned())?;
        }
        files.push((path, text));
    }
    if let Some(run) = &results.run {
        let folder = compile::workspace().join(FOLDER);
        for (name, svg) in plots::all(run)? {
            files.push((folder.join(format!("{name}.svg")), svg));
        }
    }
    Ok(files)
}

/// Writes all files.
///
/// # Errors
/// As [`files`], or what the file system says.
pub fn write(results: &Results) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (path, text) in files(results)? {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            written.push(path);
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::{attacks, hiccups, sample};

    #[test]
    fn documents_and_plots_are_made_of_the_run_that_is_kept() {
        for (path, expected) in files(&Results::kept().unwrap()).unwrap() {
            let is = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                is == expected,
                "{} isn't what `cargo xtask bench report` makes of what is kept: run it",
                path.display()
            );
        }
    }

    #[test]
    fn a_part_is_filled_and_what_is_around_it_stays() {
        let text = format!("a\n<!-- x: from {RUN} -->\nold\n<!-- end of x -->\nb\n");
        let filled = fill(&text, "x", "new\n").unwrap();
        assert_eq!(
            filled,
            format!("a\n<!-- x: from {RUN} -->\n\nnew\n\n<!-- end of x -->\nb\n")
        );
        // Filling again changes nothing.
        assert_eq!(fill(&filled, "x", "new\n").unwrap(), filled);
        assert!(fill(&text, "y", "").is_err());
    }

    #[test]
    fn all_parts_have_figures_of_a_run_and_say_so_where_there_is_none() {
        let all = Results {
            run: Some(sample()),
            hiccups: Some(hiccups()),
            attacks: Some(attacks()),
        };
        for name in DOCUMENTS.iter().flat_map(|(_, parts)| *parts) {
            assert!(part(name, &Results::default()).contains("No run is kept"));
            assert!(!part(name, &all).contains("No run is kept"));
        }
        assert_eq!(files(&all).unwrap().len(), DOCUMENTS.len() + 3);
    }
}
