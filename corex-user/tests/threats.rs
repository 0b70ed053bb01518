//! docs/security.md names a test for each threat: they are all there.

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

/// Functions with an attribute that makes them tests, perhaps among others.
fn tests() -> io::Result<BTreeSet<String>> {
    let mut files = Vec::new();
    for folder in ["corex-user", "tests", "xtask"] {
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

#[test]
fn every_test_that_the_table_of_threats_names_exists() {
    let document = fs::read_to_string(workspace().join("docs/security.md")).unwrap();
    let (_, table) = document.split_once("\n## Who can do what\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let tests = tests().unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [.., named] = cells[..] else {
            panic!("{row}");
        };
        assert_eq!(cells.len(), 4, "{row}");
        rows += 1;
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        // What corex leaves to others has no test, and says so.
        assert_eq!(named.is_empty(), row.ends_with("| – |"), "{row}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name}: {row}");
        }
    }
    assert!(rows > 20, "{rows}");
}
