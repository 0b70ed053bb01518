//! What callgrind counted: instructions by function, read from the file that it writes.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context as _, Result};

/// Instructions by function, without what it calls.
pub type Functions = HashMap<String, f64>;

/// The instructions of the threads in which the function of this name ran, out of the files that
/// callgrind wrote for each (`--separate-threads=yes`), `OUT-01` and so on.
///
/// # Errors
/// No thread ran it.
pub fn of_threads(out: &Path, entry: &str) -> Result<Functions> {
    let folder = out.parent().context("a folder")?;
    let prefix = format!("{}-", out.file_name().unwrap_or_default().to_string_lossy());
    let mut sum = Functions::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        if !file.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        let functions = parse(&fs::read_to_string(file.path())?);
        if functions.keys().any(|name| name.contains(entry)) {
            for (name, cost) in functions {
                *sum.entry(name).or_default() += cost;
            }
        }
    }
    anyhow::ensure!(!sum.is_empty(), "callgrind saw no thread that runs {entry}");
    Ok(sum)
}

/// Reads a profile (Callgrind Format Specification in valgrind's manual).
fn parse(text: &str) -> Functions {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut functions = Functions::new();
    let mut current = "";
    let mut is_of_call = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            current = resolve(&mut names, name);
        } else if let Some(name) = line.strip_prefix("cfn=") {
            resolve(&mut names, name);
        } else if line.starts_with("calls=") {
            is_of_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            // What a call cost belongs to what was called, where it is counted, too.
            if !std::mem::take(&mut is_of_call)
                && let Some(cost) = line
                    .split(' ')
                    .nth(1)
                    .and_then(|cost| cost.parse::<f64>().ok())
            {
                *functions.entry(plain(current)).or_default() += cost;
            }
        }
    }
    functions
}

/// The name behind `(7) name`, which is said once, or `(7)`.
fn resolve<'t>(names: &mut HashMap<&'t str, &'t str>, text: &'t str) -> &'t str {
    match text.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(text).copied().unwrap_or(text),
    }
}

/// A function's name without what differs from build to build: the hash that the compiler appends,
/// and callgrind's numbers of recursions.
fn plain(name: &str) -> String {
    let name = name.split_once('\'').map_or(name, |(name, cycle)| {
        // A lifetime has an apostrophe, too.
        if cycle.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            name.rsplit_once('\'')
                .filter(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()))
                .map_or(name, |(name, _)| name)
        }
    });
    const HASH: usize = "::h0123456789abcdef".len();
    let hash = name
        .len()
        .checked_sub(HASH)
        .and_then(|at| name.split_at_checked(at));
    match hash {
        Some((name, hash))
            if hash.starts_with("::h") && hash[3..].bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            name.to_owned()
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_calls_is_not_its_own() {
        let text = "\
events: Ir
fl=(1) worker.rs
fn=(1) corex::Worker::run::h0123456789abcdef
10 100
+3 20
cfi=(2) memory.c
cfn=(2) memcpy
calls=3 +5
* 900
fi=(3) inlined.rs
12 7
fn=(2)
1 900

fn=(3) deep'2
1 4
fn=(4) deep
1 5
totals: 1036
";
        let expected = [
            ("corex::Worker::run", 127.0),
            ("memcpy", 900.0),
            ("deep", 9.0),
        ]
        .map(|(name, cost)| (name.to_owned(), cost));
        assert_eq!(parse(text), Functions::from(expected));
    }
}
