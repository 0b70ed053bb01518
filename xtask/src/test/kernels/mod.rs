//! `cargo xtask test --kernels`: end-to-end tests on Debian's kernels, in guests of QEMU's.

mod guest;
mod image;
mod nics;
mod table;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use self::{
    guest::Guest,
    nics::Outside,
    table::{Row, Table, Walk},
};
use crate::{
    compile::{self, Profile},
    setup,
    ui::{self, Style},
};

/// A kernel of Debian's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Debian 11's
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12's
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's, in Debian 12
    #[value(name = "6.12")]
    V6_12,
    /// The newest one, from Debian 13's backports
    #[value(name = "7")]
    V7,
}

impl Kernel {
    /// All, the oldest first.
    pub const ALL: [Kernel; 4] = [Kernel::V5_10, Kernel::V6_1, Kernel::V6_12, Kernel::V7];

    fn name(self) -> &'static str {
        match self {
            Kernel::V5_10 => "5.10",
            Kernel::V6_1 => "6.1",
            Kernel::V6_12 => "6.12",
            Kernel::V7 => "7",
        }
    }
}

/// What is tried, and the tests that try it.
const SUBJECTS: [(&str, &[&str]); 12] = [
    (
        "proxy, AF_XDP in the driver, IPv4",
        &["roads::a_message_shorter_than_min_msg_len_skips_the_hook_on_both_roads"],
    ),
    (
        "proxy, generic XDP",
        &["calls::calls_pass_through_generic_xdp"],
    ),
    ("proxy, IPv6", &["calls::ipv6_calls_pass_through_af_xdp"]),
    (
        "checksums, by tshark",
        &["calls::tshark_finds_every_checksum_that_corex_wrote_right"],
    ),
    (
        "inline, in the driver, IPv4",
        &["inline::forms::every_form_of_packet_is_decoded_on_the_way_in_and_keeps_its_headers"],
    ),
    (
        "inline, generic XDP",
        &[
            "inline::calls::calls_pass_where_the_nic_has_generic_xdp_only_and_nothing_goes_in_circles",
        ],
    ),
    ("inline, IPv6", &["inline::calls::calls_by_ipv6_pass"]),
    (
        "TC programs: TCX where the kernel has it, clsact",
        &["inline::calls::filters_of_others_see_what_passes_the_nic_and_stay_when_corex_goes"],
    ),
    (
        "several queues",
        &[
            "inline::hosts::each_queue_of_a_nic_has_a_worker_and_all_of_them_serve",
            "queues::what_comes_by_a_queue_that_only_receives_leaves_by_one_that_transmits",
        ],
    ),
    (
        "take-over",
        &[
            "takeover::three_successors_in_a_row_lose_no_message",
            "takeover::what_can_not_be_taken_over_is_ended_first_and_said",
        ],
    ),
    (
        "kill -9",
        &[
            "life::a_killed_corex_leaves_no_program_and_traffic_goes_to_the_kernel",
            "inline::failure::closed_a_killed_corex_lets_nothing_pass_and_what_is_dropped_is_counted",
        ],
    ),
    (
        "books, by bpftool",
        &["maps::bpftool_counts_what_the_books_count"],
    ),
];

/// Runs the tests on each of the kernels; keeps what came of it where all is fine.
///
/// # Errors
/// A kernel can't be had or started.
pub fn run(kernels: &[Kernel]) -> Result<ExitCode> {
    setup::ensure_tools(&setup::FOR_KERNELS)?;
    setup::ensure_tools(&setup::PEERS)?;
    ui::step("Build");
    let corex = match std::env::var_os("COREX_BIN") {
        Some(binary) => binary.into(),
        // Emulated, a debug build is too slow for the peers' patience.
        None => compile::corex(Profile::Demo)?,
    };
    let end_to_end = program(&["--package", "corex-lab", "--test", "e2e"])?;
    let programs = program(&["--package", "corex-user", "--test", "xdp_program"])?;
    let drivers = program(&["--package", "corex-lab", "--test", "guest"])?;
    let folder = compile::workspace().join("target/kernels");
    let mut table = Table::default();
    for kernel in kernels {
        ui::step(&format!("Linux {}", kernel.name()));
        let image = image::fetch(*kernel, &folder)?;
        let guest = Guest {
            image: &image,
            corex: &corex,
            folder: &folder,
            outside: None,
        };
        let mut row = on(*kernel, &guest, &end_to_end, &programs)?;
        row.nics = with_nics(*kernel, &guest, &drivers)?;
        table.rows.push(row);
    }
    let fine = table.rows.iter().all(Row::is_fine);
    let compared = table.keep()?;
    ui::say(&table.markdown());
    for line in &compared {
        ui::say(&ui::paint(Style::Bad, line));
    }
    Ok(if fine && compared.is_empty() {
        ui::say(&ui::paint(Style::Good, "All kernels run it."));
        ExitCode::SUCCESS
    } else {
        ui::say(&ui::paint(
            Style::Bad,
            "Not all kernels run it (see above).",
        ));
        ExitCode::FAILURE
    })
}

/// Builds a program of tests.
fn program(words: &[&str]) -> Result<PathBuf> {
    let mut command = compile::cargo();
    command.arg("test").args(words).arg("--no-run");
    compile::test_programs(command)?
        .into_iter()
        .next()
        .with_context(|| format!("cargo built no {}", words.join(" ")))
}

/// All subjects on one kernel.
fn on(kernel: Kernel, guest: &Guest<'_>, end_to_end: &Path, programs: &Path) -> Result<Row> {
    let mut row = Row::new(kernel.name());
    let all: Vec<&str> = SUBJECTS
        .iter()
        .flat_map(|(_, tests)| tests.iter().copied())
        .collect();
    let ran = guest.run(end_to_end, &all, kernel.name())?;
    row.release = ran.release.clone();
    for (subject, tests) in SUBJECTS {
        let passed = tests.iter().all(|test| ran.passed(test));
        row.subjects.push((subject.to_owned(), passed));
        tell(subject, passed);
    }
    let verifier = guest.run(
        programs,
        &["the_verifier_"],
        &format!("{}-verifier", kernel.name()),
    )?;
    if verifier.all_passed() {
        row.verifier = verifier.lines().filter_map(walk).collect();
    }
    tell("verifier", !row.verifier.is_empty());
    if !row.is_fine() {
        ui::say(&format!("What the guest said is in {}", ran.log.display()));
    }
    Ok(row)
}

/// All NICs on one kernel: subjects, and the roads that packets took.
fn with_nics(
    kernel: Kernel,
    guest: &Guest<'_>,
    drivers: &Path,
) -> Result<Vec<(String, Option<String>)>> {
    let outside = Outside::new()?;
    let guest = Guest {
        outside: Some(&outside),
        ..*guest
    };
    let tests: Vec<&str> = nics::subjects().map(|(_, test)| test).collect();
    let ran = guest.run(drivers, &tests, &format!("{}-nics", kernel.name()))?;
    let mut lines = Vec::new();
    for (subject, test) in nics::subjects() {
        let road = ran.said(test, "ROAD ").filter(|_| ran.passed(test));
        tell(&subject, road.is_some());
        lines.push((subject, road.map(str::to_owned)));
    }
    if lines.iter().any(|(_, road)| road.is_none()) {
        ui::say(&format!("What the guest said is in {}", ran.log.display()));
    }
    Ok(lines)
}

/// Says what came of a subject.
fn tell(subject: &str, passed: bool) {
    let outcome = if passed {
        ui::paint(Style::Good, "ok")
    } else {
        ui::paint(Style::Bad, "failed")
    };
    ui::say(&format!("{outcome}  {subject}"));
}

/// What a test prints of one of the verifier's walks: a program's name, instructions, and states.
fn walk(line: &str) -> Option<Walk> {
    // Perhaps behind the harness's "test NAME ... ".
    let (_, said) = line.split_once("VERIFIED ")?;
    let (program, numbers) = said.split_once(": ")?;
    let (instructions, states) = numbers.trim().split_once(' ')?;
    Some(Walk {
        program: program.to_owned(),
        instructions: instructions.parse().ok()?,
        states: states.parse().ok()?,
    })
}

/// Runs a command to its end, and says what it was if it fails.
fn succeed(command: &mut Command) -> Result<()> {
    corex_lab::process::output_of(command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_verifier_did_is_read_behind_what_the_harness_says() {
        let line = "test verifier::it_tells ... VERIFIED Proxy with guard: 158081 9000";
        let expected = Walk {
            program: "Proxy with guard".to_owned(),
            instructions: 158_081,
            states: 9000,
        };
        assert_eq!(walk(line), Some(expected));
        assert_eq!(walk("VERIFIED Proxy: many"), None);
    }
}
