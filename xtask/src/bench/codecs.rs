//! `cargo xtask bench codecs`: what chains leave of a message, and what they cost.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use corex_lab::{WorkDir, process::output_of};

use crate::{compile, ui};

/// Passes over all messages: for times, and for the difference that instructions are counted by.
const PASSES: u32 = 200;
const FEW: u32 = 2;

/// Measures each chain, and prints the table.
pub fn run() -> Result<ExitCode> {
    ui::step("Building");
    let mut build = compile::cargo();
    build.args([
        "build",
        "--release",
        "-p",
        "corex-codec",
        "--example",
        "measure",
    ]);
    let program = compile::build_by(build, "measure")?;
    let work = WorkDir::new()?;
    let (file, count) = messages(&work)?;
    let list = output_of(Command::new(&program).arg("list"))?;
    let has_valgrind = output_of(Command::new("valgrind").arg("--version")).is_ok();
    ui::step(&format!(
        "Measuring chains on {count} messages that the dictionary has not seen"
    ));
    ui::say("Instructions hold on any machine; nanoseconds drift on a shared one.");
    let mut lines = vec![format!(
        "{:<84}{:>8}{:>12}{:>12}{:>12}{:>12}",
        "chain", "left", "encode ns", "decode ns", "encode ins", "decode ins"
    )];
    for chain in list.lines() {
        ui::progress(&format!("  {chain}"));
        let measured = output_of(command(&program, chain, &file, PASSES, "both").as_mut())?;
        let numbers: Vec<&str> = measured.split_whitespace().collect();
        let [left, encode, decode] = numbers[..] else {
            anyhow::bail!("measure printed {measured}");
        };
        let instructions = |way| instructions(&work, &program, chain, &file, way, count);
        let counted = match has_valgrind {
            true => {
                let encode = instructions("encode")?;
                let both = instructions("both")?;
                [encode, both.saturating_sub(encode)].map(|number| number.to_string())
            }
            false => ["-".to_owned(), "-".to_owned()],
        };
        let [encode_count, decode_count] = counted;
        lines.push(format!(
            "{chain:<84}{:>8}{encode:>12}{decode:>12}{encode_count:>12}{decode_count:>12}",
            format!("{left} %")
        ));
    }
    ui::end_progress();
    ui::say(&lines.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// All messages in one file, and how many there are.
fn messages(work: &WorkDir) -> Result<(std::path::PathBuf, u64)> {
    let folder = compile::workspace().join("corex-user/codec/tests/unseen");
    let mut all: Vec<String> = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "txt") {
            let text = fs::read_to_string(&path)?;
            // The first line names the source.
            let (_, messages) = text.split_once('\n').context("a line")?;
            all.extend(messages.split("----\n").map(str::to_owned));
        }
    }
    let file = work.write("messages", all.join("----\n"))?;
    Ok((file, all.len() as u64))
}

fn command(program: &Path, chain: &str, file: &Path, passes: u32, way: &str) -> Box<Command> {
    let mut command = Command::new(program);
    command
        .arg(chain)
        .arg(file)
        .arg(passes.to_string())
        .arg(way);
    Box::new(command)
}

/// Instructions for one message: what more passes cost, so that the start doesn't count.
fn instructions(
    work: &WorkDir,
    program: &Path,
    chain: &str,
    file: &Path,
    way: &str,
    count: u64,
) -> Result<u64> {
    let mut collected = [0; 2];
    for (passes, collected) in [FEW, 2 * FEW].into_iter().zip(&mut collected) {
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--log-fd=1"])
            .arg(format!(
                "--callgrind-out-file={}",
                work.join("callgrind").display()
            ))
            .arg(program)
            .arg(chain)
            .arg(file)
            .arg(passes.to_string())
            .arg(way);
        let said = output_of(&mut command)?;
        let number = said.split("Collected :").nth(1).and_then(|rest| {
            let number = rest.split_whitespace().next()?;
            number.parse().ok()
        });
        *collected = number.with_context(|| format!("callgrind's count in {said}"))?;
    }
    let [few, more] = collected;
    Ok(u64::saturating_sub(more, few) / (u64::from(FEW) * count))
}
