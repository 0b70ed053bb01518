//! docs/security.md names a test for each threat, and docs/faults.md one for each fault: they are all there.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "target" {
                sources(&path, found)?;
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Functions in these folders with an attribute that makes them tests, perhaps among others.
fn tests(folders: &[&str]) -> io::Result<BTreeSet<String>> {
    let mut files = Vec::new();
    for folder in folders {
        sources(&workspace().join(folder), &mut files)?;
    }
    let mut tests = BTreeSet::new();
    for file in files {
        let mut is_test = false;
        for line in fs::read_to_string(file)?.lines() {
            let line = line.trim();
            if line.starts_with("#[") {
                is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
                continue;
            }
            let words = line.trim_start_matches("async ");
            if let Some(rest) = words.strip_prefix("fn ")
                && is_test
            {
                let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_');
                tests.extend(name.into_iter().next().map(str::to_owned));
            }
            is_test &= line.is_empty();
        }
    }
    Ok(tests)
}

/// The tests that the rows of a document's table name, which are so many cells wide. What corex leaves
/// to others has no test, and says so.
fn named(document: &str, heading: &str, cells: usize) -> io::Result<Vec<String>> {
    let text = fs::read_to_string(workspace().join(document))?;
    let begin = format!("\n## {heading}\n");
    let (_, table) = text.split_once(&begin).ok_or(io::ErrorKind::InvalidData)?;
    let table = table.split_once("\n## ").map_or(table, |(table, _)| table);
    let tests = tests(&["corex-user", "tests", "xtask"])?;
    let mut all = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [.., last] = columns[..] else {
            panic!("{row}");
        };
        assert_eq!(columns.len(), cells, "{row}");
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert_eq!(named.is_empty(), row.ends_with("| – |"), "{row}");
        for name in &named {
            assert!(tests.contains(*name), "there is no test {name}: {row}");
        }
        all.push(named.join(" "));
    }
    Ok(all)
}

#[test]
fn every_test_that_the_table_of_threats_names_exists() {
    let rows = named("docs/security.md", "Who can do what", 4)
        .unwrap()
        .len();
    assert!(rows > 20, "{rows}");
}

#[test]
fn every_fault_has_its_test_and_every_test_of_a_fault_its_row() {
    let rows = named("docs/faults.md", "The table", 7).unwrap();
    assert!(rows.len() >= 12, "{}", rows.len());
    for row in &rows {
        assert!(!row.is_empty(), "a fault without a test");
    }
    let named: BTreeSet<&str> = rows.iter().flat_map(|row| row.split(' ')).collect();
    for test in tests(&["tests/tests/e2e/faults"]).unwrap() {
        assert!(named.contains(test.as_str()), "{test} has no row");
    }
}
