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

/// Runs the tests that have `filter` in their name, and shows what each process says when it ends.
/// Whether all passed.
///
/// # Errors
/// They can't be built or started.
pub fn run(corex: &Path, filter: Option<&str>) -> Result<bool> {
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
    let passed = run_all(&beside, at_once(), corex)?;
    Ok(run_all(&alone, 1, corex)? && passed)
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

/// Runs jobs in their order, so many at a time. Whether all passed.
fn run_all(jobs: &[Job], at_once: usize, corex: &Path) -> Result<bool> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<bool> {
        let mut passed = true;
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            passed &= job.run(corex)?;
        }
        Ok(passed)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let mut passed = true;
        for worker in workers {
            passed &= worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(passed)
    })
}

impl Job {
    fn is_alone(&self) -> bool {
        self.module.split("::").any(|part| part == ALONE)
    }

    /// Runs the tests and shows at once all that came of them. Whether they passed.
    fn run(&self, corex: &Path) -> Result<bool> {
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
        Ok(output.status.success())
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
}
