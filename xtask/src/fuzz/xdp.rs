//! Frames through the XDP programs by BPF_PROG_TEST_RUN, and through user space: the property tests of
//! `xdp_program`, with new inputs again and again.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{build::directory, campaign::Effort, report::Row, status::Status, target::XDP};
use crate::{
    compile,
    ui::{self, Style},
};

/// How many times the inputs of `cargo test` each round has: loading the programs takes some seconds.
const TIMES: &str = "10";

/// The tests with inputs made at random.
const PROPERTIES: [&str; 7] = [
    "agreement::kernel_and_user_space_judge_every_frame_alike",
    "answer::nothing_is_answered_wrongly",
    "guard::the_programs_find_in_a_trie_what_user_space_finds_in_a_list",
    "guard_rates::the_program_finds_the_signatures_that_user_space_does",
    "overload::what_is_shed_in_the_kernel_would_be_shed_in_user_space",
    "roads::the_road_by_call_id_is_the_one_that_user_space_would_choose",
    "roads::only_messages_whose_kind_user_space_sees_too_take_its_road",
];

/// Runs them until the time is over, the inputs are enough, or one fails.
///
/// # Errors
/// They can't be built or run.
pub fn run(effort: Effort) -> Result<Row> {
    ui::step("Frames through the XDP programs");
    let mut command = compile::cargo();
    command.args([
        "test",
        "--no-run",
        "--package",
        "corex-user",
        "--test",
        "xdp_program",
    ]);
    let programs = compile::test_programs(command)?;
    let program = programs.first().context("cargo built no tests")?;
    let begun = Instant::now();
    let mut status = Status::default();
    let mut survived = true;
    let mut input = None;
    while survived && begun.elapsed() < effort.time && is_wanted(&effort, &status) {
        ui::progress(&format!(
            "{XDP} {}/{} s: {} inputs",
            begun.elapsed().as_secs(),
            effort.time.as_secs(),
            status.executions
        ));
        let (passed, said) = round(program)?;
        status.executions += inputs(&said);
        survived = passed;
        if !passed {
            input = Some(keep(&said)?);
        }
    }
    ui::end_progress();
    Ok(Row {
        target: XDP,
        seconds: begun.elapsed().max(Duration::from_millis(1)).as_secs_f64(),
        status,
        survived,
        input,
    })
}

fn is_wanted(effort: &Effort, status: &Status) -> bool {
    effort
        .executions
        .is_none_or(|most| status.executions < most)
}

/// Runs each test once; whether all passed, and what they said.
fn round(program: &Path) -> Result<(bool, String)> {
    let output = Command::new(program)
        .args(PROPERTIES)
        .args(["--exact", "--nocapture"])
        .env("COREX_XDP_TIMES", TIMES)
        .env("RUST_BACKTRACE", "0")
        .current_dir(compile::workspace().join("corex-user"))
        .stdin(Stdio::null())
        .output()
        .context("run the tests of the XDP programs")?;
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Ok((output.status.success(), texts.join("\n")))
}

/// How many inputs they tried, by their word.
fn inputs(said: &str) -> u64 {
    let lines = said.lines().filter_map(|line| {
        // A test's name may stand in front.
        let (_, number) = line.split_once("inputs: ")?;
        number.trim().parse::<u64>().ok()
    });
    lines.sum()
}

/// Shows and keeps what was said of the input that failed; the file.
fn keep(said: &str) -> Result<String> {
    let folder = directory().join("failures").join(XDP);
    let path = folder.join(format!("said-{}", std::process::id()));
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&path, said))
        .with_context(|| format!("write {}", path.display()))?;
    ui::end_progress();
    for line in said.lines().filter(|line| !line.ends_with("... ok")) {
        ui::say(line);
    }
    let shown = path.display().to_string();
    ui::say(&ui::paint(
        Style::Bad,
        &format!("xdp failed; what was said, with the smallest input, is in {shown}."),
    ));
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_added_up() {
        let said = "running 3 tests\ntest a::b ... inputs: 60000\nProxy: 3\ninputs: 10\ntest ok\n";
        assert_eq!(inputs(said), 60_010);
    }
}
