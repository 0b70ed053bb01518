//! The end-to-end tests: a process for the tests of each module, and some processes at a time.
//!
//! Processes rather than threads of one: what a test closes is closed then, while a program that
//! another thread starts just then would have inherited it, and kept a port or a binary busy.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context as _, Result};
use corex_lab::process::output_of;

use crate::{
    compile,
    ui::{self, Style},
};

const PACKAGE: &str = "corex-lab";

/// The module of tests that bear no other beside them.
const ALONE: &str = "alone";

/// Tests that one process runs, one after the other.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    /// The program of the test harness.
    program: PathBuf,
    /// Where the tests are, as in `inline::calls`.
    module: String,
    /// Their names, with the module's in front.
    tests: Vec<String>,
}

/// Lines of what a failed test said that are repeated at the end.
const REPEATED: usize = 40;

/// Runs the tests that have `filter` in their name, and shows what each process says when it ends.
/// What the tests that failed said, again.
///
/// # Errors
/// They can't be built or started.
pub fn run(corex: &Path, filter: Option<&str>) -> Result<Vec<String>> {
    let mut command = compile::cargo();
    command.args(["test", "--package", PACKAGE, "--no-run"]);
    let mut jobs = Vec::new();
    for program in compile::test_programs(command)? {
        let mut list = Command::new(&program);
        list.args(["--list", "--format", "terse"]).args(filter);
        jobs.extend(divide(&program, &output_of(&mut list)?));
    }
    if jobs.is_empty() {
        ui::say("No end-to-end test has that in its name.");
    }
    let (alone, beside): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(Job::is_alone);
    let mut failures = run_all(&beside, at_once(), corex)?;
    failures.extend(run_all(&alone, 1, corex)?);
    Ok(failures)
}

/// How many processes run at a time. Most of their time they wait, for calls to end or for what must
/// not come, so there may be more of them than CPUs.
fn at_once() -> usize {
    thread::available_parallelism().map_or(1, usize::from) * 2
}

/// Divides a list of tests (`--list --format terse`) by their modules.
fn divide(program: &Path, list: &str) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for name in list.lines().filter_map(|line| line.strip_suffix(": test")) {
        let module = name.rsplit_once("::").map_or("", |(module, _)| module);
        match jobs.iter_mut().find(|job| job.module == module) {
            Some(job) => job.tests.push(name.to_owned()),
            None => jobs.push(Job {
                program: program.to_owned(),
                module: module.to_owned(),
                tests: vec![name.to_owned()],
            }),
        }
    }
    jobs
}

/// Runs jobs in their order, so many at a time. What the tests that failed said.
fn run_all(jobs: &[Job], at_once: usize, corex: &Path) -> Result<Vec<String>> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<String>> {
        let mut failures = Vec::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            failures.extend(job.run(corex)?);
        }
        Ok(failures)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let mut failures = Vec::new();
        for worker in workers {
            failures.extend(
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            );
        }
        Ok(failures)
    })
}

/// The beginning of what each test that failed said, of what the harness says: its first lines, as
/// far as the stack.
fn failures(harness: &str) -> Vec<String> {
    let mut failures: Vec<Vec<&str>> = Vec::new();
    let mut is_in_one = false;
    for line in harness.lines() {
        if line.starts_with("---- ") && line.ends_with(" ----") {
            is_in_one = true;
            failures.push(Vec::new());
        } else if line == "failures:" || line.eq_ignore_ascii_case("stack backtrace:") {
            is_in_one = false;
        }
        if let Some(lines) = failures.last_mut().filter(|_| is_in_one)
            && lines.len() < REPEATED
        {
            lines.push(line);
        }
    }
    failures
        .iter()
        .map(|lines| lines.join("\n").trim_end().to_owned())
        .collect()
}

impl Job {
    fn is_alone(&self) -> bool {
        self.module.split("::").any(|part| part == ALONE)
    }

    /// Runs the tests and shows at once all that came of them. What those that failed said.
    fn run(&self, corex: &Path) -> Result<Vec<String>> {
        let output = Command::new(&self.program)
            // As cargo does.
            .current_dir(compile::workspace().join("tests"))
            .args(["--test-threads=1", "--exact"])
            .args(&self.tests)
            .env("COREX_BIN", corex)
            .output()
            .with_context(|| format!("run {}", self.program.display()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ui::say(&format!(
            "\n{}\n{}\n{}",
            ui::paint(Style::Bold, &self.module),
            text(&output.stderr),
            text(&output.stdout)
        ));
        if output.status.success() {
            return Ok(Vec::new());
        }
        let mut failures = failures(&text(&output.stdout));
        if failures.is_empty() {
            failures.push(format!("{}: {}", self.module, output.status));
        }
        Ok(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_divided_by_modules_and_those_that_bear_no_other_are_told_apart() {
        let list = "calls::pass: test\ncalls::fail: test\ntop::speed: benchmark\n\
                    top::alone::keys: test\n\n4 tests, 1 benchmark\n";
        let jobs = divide(Path::new("/t/e2e"), list);
        let modules: Vec<_> = jobs.iter().map(|job| job.module.as_str()).collect();
        assert_eq!(modules, ["calls", "top::alone"]);
        assert_eq!(jobs[0].tests, ["calls::pass", "calls::fail"]);
        assert_eq!([jobs[0].is_alone(), jobs[1].is_alone()], [false, true]);
    }

    #[test]
    fn what_failed_is_repeated_as_far_as_the_stack() {
        let harness = "running 2 tests\ntest a::b ... FAILED\ntest a::c ... FAILED\n\nfailures:\n\n\
                       ---- a::b stdout ----\n2 sent\nError: 1 lost\n\nStack backtrace:\n   0: a\n\n\
                       ---- a::c stdout ----\n\nthread 'a::c' panicked at a.rs:1:2:\nno\n\
                       stack backtrace:\n   0: b\n\n\nfailures:\n    a::b\n    a::c\n";
        assert_eq!(
            failures(harness),
            [
                "---- a::b stdout ----\n2 sent\nError: 1 lost",
                "---- a::c stdout ----\n\nthread 'a::c' panicked at a.rs:1:2:\nno"
            ]
        );
        assert!(failures("test result: ok. 2 passed\n").is_empty());
    }
}
