//! The documents that have figures: parts of them between two comments, and plots, are made of the
//! run that is kept in the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{figures, plots};
use crate::{
    bench::results::{Hiccups, Kept, Run},
    compile,
};

/// The run that the documents are made of, and where its plots are, in the repository.
pub const RUN: &str = "docs/performance/run.json";
const HICCUPS: &str = "docs/performance/hiccups.json";
const FOLDER: &str = "docs/performance";

/// The documents and the names of their parts.
const DOCUMENTS: [(&str, &[&str]); 2] = [
    ("README.md", &["speed"]),
    (
        "docs/performance.md",
        &["run", "rates", "latencies", "foreign", "growth", "hiccups"],
    ),
];

/// What stands in a part as long as nothing is kept that it could be made of.
fn nothing<T: Kept>(file: &str) -> String {
    format!(
        "No run is kept in the repository yet: `{} {file}` makes one, and `cargo xtask bench \
         report` fills in what belongs here.\n",
        T::COMMAND
    )
}

/// What belongs in a part.
fn part(name: &str, run: Option<&Run>, hiccups: Option<&Hiccups>) -> String {
    if name == "hiccups" {
        return hiccups.map_or_else(|| nothing::<Hiccups>(HICCUPS), figures::hiccups);
    }
    let Some(run) = run else {
        return nothing::<Run>(RUN);
    };
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
    let file = if name == "hiccups" { HICCUPS } else { RUN };
    let begin = format!("<!-- {name}: from {file} -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let (before, rest) = text
        .split_once(&begin)
        .with_context(|| format!("there is no line {}", begin.trim()))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("there is no line {}", end.trim()))?;
    Ok(format!("{before}{begin}\n{content}\n{end}{after}"))
}

/// All files that are made of a run, with their content.
///
/// # Errors
/// A document isn't there, or lacks the comments of a part.
pub fn files(run: Option<&Run>, hiccups: Option<&Hiccups>) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for (document, parts) in DOCUMENTS {
        let path = compile::workspace().join(document);
        let mut text = fs::read_to_string(&path).with_context(|| document.to_owned())?;
        for name in parts {
            text = fill(&text, name, &part(name, run, hiccups))
                .with_context(|| document.to_owned())?;
        }
        files.push((path, text));
    }
    if let Some(run) = run {
        let folder = compile::workspace().join(FOLDER);
        for (name, svg) in plots::all(run)? {
            files.push((folder.join(format!("{name}.svg")), svg));
        }
    }
    Ok(files)
}

fn kept<T: Kept>(file: &str) -> Result<Option<T>> {
    let path = compile::workspace().join(file);
    path.exists().then(|| T::read(&path)).transpose()
}

/// The run in the repository, if one is kept.
///
/// # Errors
/// It can't be read.
pub fn kept_run() -> Result<Option<Run>> {
    kept(RUN)
}

/// Minutes of load in the repository, if they are kept.
///
/// # Errors
/// They can't be read.
pub fn kept_hiccups() -> Result<Option<Hiccups>> {
    kept(HICCUPS)
}

/// Writes all files.
///
/// # Errors
/// As [`files`], or what the file system says.
pub fn write(run: Option<&Run>, hiccups: Option<&Hiccups>) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (path, text) in files(run, hiccups)? {
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
    use crate::bench::results::tests::{hiccups, sample};

    #[test]
    fn documents_and_plots_are_made_of_the_run_that_is_kept() {
        let (run, hiccups) = (kept_run().unwrap(), kept_hiccups().unwrap());
        for (path, expected) in files(run.as_ref(), hiccups.as_ref()).unwrap() {
            let is = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                is == expected,
                "{} isn't what `cargo xtask bench report` makes of {RUN}: run it",
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
        let (run, hiccups) = (sample(), hiccups());
        for name in DOCUMENTS.iter().flat_map(|(_, parts)| *parts) {
            assert!(part(name, None, None).contains("No run is kept"));
            assert!(!part(name, Some(&run), Some(&hiccups)).contains("No run is kept"));
        }
        assert_eq!(files(Some(&run), None).unwrap().len(), DOCUMENTS.len() + 3);
    }
}
