//! The configurations that corex gets: one that runs, the changes that it takes, and those that it
//! must refuse.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::random::Random;

/// With what is replaced in it. It is part of the program: who changes the sources while a run goes on
/// changes nothing there.
const TEMPLATE: &str = include_str!("soak.cfg");
/// Files beside the configuration.
const SCRIPTS: [(&str, &str); 2] = [
    ("soak.lua", include_str!("soak.lua")),
    ("soak.pl", include_str!("soak.pl")),
];

/// Puts the scripts into the folder.
///
/// # Errors
/// What the file system says.
pub fn scripts(folder: &Path) -> Result<()> {
    for (name, text) in SCRIPTS {
        fs::write(folder.join(name), text).with_context(|| format!("write {name}"))?;
    }
    Ok(())
}

/// A configuration that runs, for files in that folder; each number gives another one.
pub fn good(folder: &Path, number: u64, random: &mut Random) -> String {
    let mut more = format!(
        "modparam(\"corex\", \"min_msg_len\", {})\n",
        random.between(32, 60)
    );
    for alias in 0..random.below(40) {
        more += &format!("alias=host{alias}.v{number}.example.org\n");
    }
    for network in 0..random.below(20) {
        more += &format!("modparam(\"corex\", \"block\", \"203.0.113.{network}\")\n");
    }
    for network in 0..random.below(5) {
        more += &format!("modparam(\"corex\", \"allow\", \"198.51.100.{network}/32\")\n");
    }
    TEMPLATE
        .replace("FOLDER", &folder.to_string_lossy())
        .replace("VARIANT", &format!("v{number}"))
        .replace("MORE", more.trim_end())
}

/// What makes a good configuration a bad one, by what is wrong.
const MISTAKES: [(&str, &str); 7] = [
    ("syntax", "request_route {"),
    ("no such function", "route[X] { nonsense(); }"),
    ("no such file", "include_file \"/nonexistent/more.cfg\""),
    ("another listener", "listen=udp:10.0.1.1:5099"),
    (
        "a bad table",
        "modparam(\"htable\", \"htable\", \"bad=>size=x\")",
    ),
    (
        "a bad Lua script",
        "modparam(\"app_lua\", \"load\", \"FOLDER/bad.lua\")",
    ),
    (
        "a bad network",
        "modparam(\"corex\", \"block\", \"300.0.0.0/8\")",
    ),
];

/// One that must be refused, made of a good one: what is wrong with it, and its text.
///
/// # Errors
/// What the file system says.
pub fn bad(folder: &Path, number: u64, random: &mut Random) -> Result<(&'static str, String)> {
    let text = good(folder, number, random);
    let (what, line) = random.pick(&MISTAKES);
    fs::write(folder.join("bad.lua"), "function look( end\n")?;
    let line = line.replace("FOLDER", &folder.to_string_lossy());
    Ok((what, format!("{text}\n{line}\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_differ_and_leave_no_placeholder() {
        let folder = corex_lab::WorkDir::new().unwrap();
        let mut random = Random::new(1);
        let text = |number, random: &mut Random| good(folder.path(), number, random);
        let (first, second) = (text(1, &mut random), text(2, &mut random));
        assert_ne!(first, second);
        for text in [&first, &second] {
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                for word in ["FOLDER", "VARIANT", "MORE"] {
                    assert!(!line.contains(word), "{line}");
                }
            }
        }
        assert!(first.contains(&format!("unix:{}/ctl", folder.path().display())));
    }

    #[test]
    fn a_bad_one_has_a_line_more_than_a_good_one() {
        let folder = corex_lab::WorkDir::new().unwrap();
        for seed in 0..20 {
            let good = good(folder.path(), 1, &mut Random::new(seed));
            let (what, bad) = bad(folder.path(), 1, &mut Random::new(seed)).unwrap();
            let mistake = bad.strip_prefix(&good).unwrap().trim();
            assert!(
                !mistake.is_empty() && !mistake.contains("FOLDER/"),
                "{what}"
            );
        }
    }

    #[test]
    fn the_scripts_are_those_that_the_configuration_names() {
        let folder = corex_lab::WorkDir::new().unwrap();
        scripts(folder.path()).unwrap();
        let text = good(folder.path(), 1, &mut Random::new(1));
        for (name, _) in SCRIPTS {
            let path = folder.join(name);
            assert!(text.contains(&path.display().to_string()) && path.exists());
        }
    }
}
