//! What is linked into the binary, and under which terms: its authors want their words to go along.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use corex_lab::process::output_of;
use serde::Deserialize;

use crate::compile;

/// The workspace's packages whose code is in the binary; the second one is the eBPF object.
const LINKED: [&str; 2] = ["corex-user", "corex-ebpf"];
/// Build dependencies whose C is linked: a package of its own has the source.
const C_SOURCES: [&str; 1] = ["luajit-src"];
/// What Rust's standard library comes under; it is linked without being a package.
const STANDARD_LIBRARY: &str = include_str!("standard-library.txt");
/// Folders below a package's in which libraries in C have their licence.
const DEPTH: usize = 3;
/// The licence that Debian has on each machine, by its first and last lines.
const APACHE: (&str, &str) = (
    "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
    "END OF TERMS AND CONDITIONS",
);

/// A licence's text, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Packages with their versions, `aya-0.14.0`.
    pub packages: BTreeSet<String>,
    /// As the first of them says it, in SPDX's form.
    pub expression: String,
    /// As it came.
    pub text: String,
}

/// A package of crates.io, as `cargo metadata` shows it.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The target that this machine's own packages are for.
pub fn host() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

/// The terms of all that is linked into corex for a target, as in x86_64-unknown-linux-gnu.
///
/// # Errors
/// cargo doesn't know, or a package has no licence's text.
pub fn of_what_is_linked(target: &str) -> Result<Vec<Notice>> {
    let linked = linked(target)?;
    let mut command = compile::cargo();
    let metadata = output_of(command.args(["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("read cargo's metadata")?;
    let mut texts = Vec::new();
    let mut without = Vec::new();
    let mut of_repository: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &metadata.packages {
        let is_source = C_SOURCES.contains(&package.name.as_str());
        let name = format!("{}-{}", package.name, package.version);
        if package.source.is_none() || !(is_source || linked.contains(&name)) {
            continue;
        }
        let expression = package.license.clone().unwrap_or_default();
        let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
        let mut found = Vec::new();
        collect(folder, DEPTH, &mut found)?;
        let found = chosen(&expression, found);
        if found.is_empty() {
            without.push((name, package));
            continue;
        }
        if let Some(repository) = &package.repository {
            of_repository.insert(repository, texts.len());
        }
        texts.extend(found.into_iter().map(|text| Notice {
            packages: BTreeSet::from([name.clone()]),
            expression: expression.clone(),
            text,
        }));
    }
    for (name, package) in without {
        // Of a repository with several packages, one brings the licence of all.
        let Some(at) = package
            .repository
            .as_deref()
            .and_then(|repository| of_repository.get(repository))
        else {
            bail!("{name} comes without the text of its licence");
        };
        texts[*at].packages.insert(name);
    }
    texts.push(Notice {
        packages: BTreeSet::from(["the standard library of Rust".to_owned()]),
        expression: "MIT OR Apache-2.0".to_owned(),
        text: STANDARD_LIBRARY.to_owned(),
    });
    Ok(merged(texts))
}

/// The packages that are linked, with their versions.
fn linked(target: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for package in LINKED {
        let mut command = compile::cargo();
        command
            .args(["tree", "--locked", "--package", package, "--target", target])
            .args([
                "--edges=normal,no-proc-macro",
                "--prefix=none",
                "--format={p}",
            ]);
        found.extend(output_of(&mut command)?.lines().filter_map(name_of));
    }
    Ok(found)
}

/// `aya v0.14.0 (*)` of `cargo tree` as `aya-0.14.0`.
fn name_of(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some(format!("{name}-{version}"))
}

/// The texts of licences in a folder and those below.
fn collect(folder: &Path, depth: usize, found: &mut Vec<String>) -> Result<()> {
    const NAMES: [&str; 6] = [
        "license",
        "licence",
        "copying",
        "copyright",
        "notice",
        "unlicense",
    ];
    const OTHERS: [&str; 6] = ["rs", "yml", "c", "h", "py", "sh"];
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_lowercase();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            if depth > 1 {
                collect(&path, depth - 1, found)?;
            }
            continue;
        }
        let is_code = path
            .extension()
            .is_some_and(|end| OTHERS.iter().any(|other| end == *other));
        if is_code || !NAMES.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        if let Ok(text) = fs::read_to_string(&path) {
            found.push(text);
        }
    }
    Ok(())
}

/// The texts that are corex's choice, where a package offers one.
fn chosen(expression: &str, mut texts: Vec<String>) -> Vec<String> {
    // Offered beside a BSD licence; deny.toml doesn't admit it.
    texts.retain(|text| !text.trim_start().starts_with("GNU GENERAL PUBLIC LICENSE"));
    let is_choice = !expression.contains(" AND ");
    let others = |text: &String| !text.contains(APACHE.0);
    if is_choice && texts.iter().any(others) {
        texts.retain(others);
    }
    texts
}

/// Notices of the same words as one.
fn merged(notices: Vec<Notice>) -> Vec<Notice> {
    let mut by_words: BTreeMap<String, Notice> = BTreeMap::new();
    for notice in notices {
        let words = notice.text.split_whitespace().collect::<Vec<_>>().join(" ");
        by_words
            .entry(words)
            .and_modify(|known| known.packages.extend(notice.packages.clone()))
            .or_insert(notice);
    }
    let mut all: Vec<Notice> = by_words.into_values().collect();
    all.sort_by(|a, b| a.packages.cmp(&b.packages));
    all
}

/// All notices as a document of its own.
pub fn document(notices: &[Notice]) -> String {
    let mut text =
        "What is linked into corex beside its own code, and under which terms.\n".to_owned();
    for notice in notices {
        let packages: Vec<&str> = notice.packages.iter().map(String::as_str).collect();
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n{}\n{} ({})\n\n{}\n",
            "-".repeat(72),
            packages.join(", "),
            notice.expression,
            notice.text.trim()
        );
    }
    text
}

/// All notices as paragraphs of debian/copyright. The Apache licence is one that Debian has on each
/// machine, and wants named instead of repeated.
pub fn paragraphs(notices: &[Notice]) -> String {
    let mut text = String::new();
    for (number, notice) in notices.iter().enumerate() {
        let files: Vec<String> = notice
            .packages
            .iter()
            .map(|package| format!("vendor/{}/*", package.replace(' ', "-")))
            .collect();
        let _ = write!(
            text,
            "\nFiles: {}\nCopyright: as the text says\nLicense: text-{number}\n Of {}.\n{}",
            files.join("\n "),
            notice.expression,
            indented(&without_apache(&notice.text))
        );
    }
    text
}

/// A text as the body of a field of Debian's control files.
pub fn indented(text: &str) -> String {
    text.trim()
        .lines()
        .map(|line| match line.trim_end() {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        })
        .collect()
}

/// Names the Apache licence where its text was.
fn without_apache(text: &str) -> String {
    let Some((before, rest)) = text.split_once(APACHE.0) else {
        return text.to_owned();
    };
    let after = rest.split_once(APACHE.1).map_or("", |(_, after)| after);
    // What follows shows how to use it for another work.
    let after = after
        .split_once("limitations under the License.")
        .map_or(after, |(_, after)| after);
    format!("{before}\nIts text is in /usr/share/common-licenses/Apache-2.0.\n{after}")
}

/// The text of a package of Debian's copyright file.
///
/// # Errors
/// It isn't installed.
pub fn of_debian(package: &str) -> Result<String> {
    let path = format!("/usr/share/doc/{package}/copyright");
    fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(package: &str, text: &str) -> Notice {
        Notice {
            packages: BTreeSet::from([package.to_owned()]),
            expression: "MIT".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_same_words_are_said_once_and_for_all_packages() {
        let all = merged(vec![
            notice("b-1", "Permission  is\ngranted"),
            notice("c-1", "Else"),
            notice("a-1", "Permission is granted\n"),
        ]);
        let packages: Vec<Vec<&str>> = all
            .iter()
            .map(|notice| notice.packages.iter().map(String::as_str).collect())
            .collect();
        assert_eq!(packages, [vec!["a-1", "b-1"], vec!["c-1"]]);
    }

    #[test]
    fn where_there_is_a_choice_neither_apache_s_nor_gnu_s_licence_is_chosen() {
        let texts = || {
            [
                APACHE.0,
                "Permission is granted",
                "GNU GENERAL PUBLIC LICENSE\n",
            ]
            .map(str::to_owned)
            .to_vec()
        };
        assert_eq!(
            chosen("MIT OR Apache-2.0", texts()),
            ["Permission is granted"]
        );
        assert_eq!(chosen("MIT AND Apache-2.0", texts()).len(), 2);
        assert_eq!(chosen("Apache-2.0", vec![APACHE.0.to_owned()]).len(), 1);
    }

    #[test]
    fn a_copyright_file_names_the_apache_licence_instead_of_repeating_it() {
        let text = format!("Head\n\n{}\nmany words\n{}\nTail", APACHE.0, APACHE.1);
        let text = paragraphs(&[notice("a-1", &text)]);
        assert!(text.contains("\nFiles: vendor/a-1/*\n"), "{text}");
        assert!(text.contains("common-licenses/Apache-2.0"), "{text}");
        assert!(
            text.contains("\n Tail\n") && !text.contains("many words"),
            "{text}"
        );
        assert!(
            text.lines().skip(4).all(|line| line.starts_with(' ')),
            "{text}"
        );
    }

    #[test]
    fn cargo_tree_s_lines_are_packages() {
        assert_eq!(name_of("aya v0.14.0 (*)").as_deref(), Some("aya-0.14.0"));
        assert_eq!(
            name_of("zstd-sys v2.1.3+zstd.1.5.7").as_deref(),
            Some("zstd-sys-2.1.3+zstd.1.5.7")
        );
        assert_eq!(name_of(""), None);
    }
}
