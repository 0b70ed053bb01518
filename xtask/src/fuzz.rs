//! `cargo xtask fuzz`: inputs that nobody thought of.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    compile, setup,
    ui::{self, Style},
};

/// Look for inputs that break what reads bytes from outside.
///
/// libFuzzer changes inputs at random and keeps those that reach new code. An input fails when
/// the target panics, takes more than ten seconds, or more than 2 GiB of memory. What was
/// found interesting is kept in target/fuzz and used the next time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                        all targets, a minute each
  cargo xtask fuzz dialect --seconds 300  the configuration language, five minutes
  cargo xtask fuzz sip --input FILE       this input only, to see why it fails

Needs no nightly compiler, but a C++ compiler, which is installed where it is missing. The first
build takes some minutes. An input that failed belongs into corex-user/fuzz/seeds once its cause
is mended: the tests run all seeds.")]
pub struct FuzzArgs {
    /// What is fed; without it, all targets in turn
    #[arg(value_enum)]
    target: Option<FuzzTarget>,
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run the target on this file alone
    #[arg(
        long,
        value_name = "FILE",
        requires = "target",
        conflicts_with = "seconds"
    )]
    input: Option<PathBuf>,
}

/// A fuzz target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FuzzTarget {
    /// The configuration language: parser and checker.
    Dialect,
    /// SIP messages: every accessor.
    Sip,
    /// SIP messages: what a stateless proxy sends on.
    Compose,
    /// SIP messages: what forward() asks of them.
    Strict,
    /// binrpc packets, as kamcmd sends them.
    Binrpc,
    /// JSON-RPC documents.
    Json,
    /// Frames of inline mode: fragments put together, datagrams rewritten.
    Inline,
    /// Codecs: gzip, zlib and deflate.
    Deflate,
    /// Codecs: zstd, without and with a dictionary.
    Zstd,
    /// Codecs: base64, hex and XOR.
    Text,
    /// Codecs: authenticated encryption.
    Aead,
    /// Codecs: authenticated encryption with the keys of devices.
    Device,
    /// Enrolments, and what servers answer.
    Enrol,
    /// Codecs: HTTP.
    Http,
    /// Codecs: ITV.
    Itv,
    /// The text of codec chains.
    ChainText,
    /// What `corex decode --lines` is asked.
    DecodeLines,
}

impl FuzzTarget {
    const ALL: [FuzzTarget; 17] = [
        FuzzTarget::Dialect,
        FuzzTarget::Sip,
        FuzzTarget::Compose,
        FuzzTarget::Strict,
        FuzzTarget::Binrpc,
        FuzzTarget::Json,
        FuzzTarget::Inline,
        FuzzTarget::Deflate,
        FuzzTarget::Zstd,
        FuzzTarget::Text,
        FuzzTarget::Aead,
        FuzzTarget::Device,
        FuzzTarget::Enrol,
        FuzzTarget::Http,
        FuzzTarget::Itv,
        FuzzTarget::ChainText,
        FuzzTarget::DecodeLines,
    ];

    fn name(self) -> &'static str {
        match self {
            FuzzTarget::Dialect => "dialect",
            FuzzTarget::Sip => "sip",
            FuzzTarget::Compose => "compose",
            FuzzTarget::Strict => "strict",
            FuzzTarget::Binrpc => "binrpc",
            FuzzTarget::Json => "json",
            FuzzTarget::Inline => "inline",
            FuzzTarget::Deflate => "deflate",
            FuzzTarget::Zstd => "zstd",
            FuzzTarget::Text => "text",
            FuzzTarget::Aead => "aead",
            FuzzTarget::Device => "device",
            FuzzTarget::Enrol => "enrol",
            FuzzTarget::Http => "http",
            FuzzTarget::Itv => "itv",
            FuzzTarget::ChainText => "chain_text",
            FuzzTarget::DecodeLines => "decode_lines",
        }
    }

    /// Words to put into inputs, relative to the workspace.
    fn words(self) -> &'static str {
        match self {
            FuzzTarget::Dialect => "corex-user/fuzz/dialect.dict",
            FuzzTarget::Sip | FuzzTarget::Compose | FuzzTarget::Strict => {
                "corex-user/fuzz/sip.dict"
            }
            FuzzTarget::Binrpc | FuzzTarget::Json => "corex-user/fuzz/rpc.dict",
            FuzzTarget::Inline => "corex-user/fuzz/frame.dict",
            FuzzTarget::Deflate
            | FuzzTarget::Zstd
            | FuzzTarget::Text
            | FuzzTarget::Aead
            | FuzzTarget::Device
            | FuzzTarget::Enrol
            | FuzzTarget::Http
            | FuzzTarget::Itv
            | FuzzTarget::ChainText
            | FuzzTarget::DecodeLines => "corex-user/fuzz/codec.dict",
        }
    }

    /// Folders of inputs to begin with, relative to the workspace.
    fn seeds(self) -> &'static [&'static str] {
        match self {
            FuzzTarget::Dialect => &[
                "corex-user/fuzz/seeds/dialect",
                "tests/configs/bad",
                "tests/demo",
                "xtask/src/bench",
            ],
            FuzzTarget::Sip | FuzzTarget::Compose => &["corex-user/fuzz/seeds/sip"],
            FuzzTarget::Strict => &["corex-user/fuzz/seeds/sip", "corex-user/fuzz/seeds/strict"],
            FuzzTarget::Binrpc => &["corex-user/fuzz/seeds/binrpc"],
            FuzzTarget::Json => &["corex-user/fuzz/seeds/json"],
            FuzzTarget::Inline => &["corex-user/fuzz/seeds/inline"],
            FuzzTarget::Deflate => &["corex-user/fuzz/seeds/deflate"],
            FuzzTarget::Zstd => &["corex-user/fuzz/seeds/zstd"],
            FuzzTarget::Text => &["corex-user/fuzz/seeds/text"],
            FuzzTarget::Aead => &["corex-user/fuzz/seeds/aead"],
            FuzzTarget::Device => &["corex-user/fuzz/seeds/device"],
            FuzzTarget::Enrol => &["corex-user/fuzz/seeds/enrol"],
            FuzzTarget::Http => &["corex-user/fuzz/seeds/http"],
            FuzzTarget::Itv => &["corex-user/fuzz/seeds/itv"],
            FuzzTarget::ChainText => &["corex-user/fuzz/seeds/chain_text"],
            FuzzTarget::DecodeLines => &["corex-user/fuzz/seeds/decode_lines"],
        }
    }
}

/// Coverage by LLVM's own pass, which also the stable compiler has.
const RUSTFLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// `cargo xtask fuzz`
pub fn run(args: &FuzzArgs) -> Result<ExitCode> {
    ui::step("Setup");
    setup::ensure_toolchain()?;
    setup::ensure_tools(&setup::FOR_FUZZ)?;
    ui::step("Building the fuzz targets (the first time takes some minutes)");
    let programs = build()?;
    if let (Some(target), Some(input)) = (args.target, &args.input) {
        return one_input(&programs, target, input);
    }
    let targets = match &args.target {
        Some(target) => std::slice::from_ref(target),
        None => &FuzzTarget::ALL,
    };
    let mut failed = false;
    for target in targets {
        failed |= !fuzz(&programs, *target, args.seconds)?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Where everything of the fuzz targets is.
fn directory() -> PathBuf {
    compile::workspace().join("target/fuzz")
}

/// Builds all targets; returns the folder that they are in.
fn build() -> Result<PathBuf> {
    let host = host()?;
    let directory = directory();
    let mut command = compile::cargo();
    // With a target named, the flags are for it alone, not for build scripts.
    command
        .args(["build", "--package", "corex-fuzz", "--bins"])
        .args(["--features", "libfuzzer", "--profile", "fuzz"])
        .args(["--target", &host, "--target-dir"])
        .arg(&directory)
        .env("RUSTFLAGS", RUSTFLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !command.status().context("run cargo build")?.success() {
        bail!("the fuzz targets could not be built; the reason is above");
    }
    Ok(directory.join(host).join("fuzz"))
}

/// The name of this machine's compilation target.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .context("run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV doesn't say which machine this is")
}

fn program(programs: &Path, target: FuzzTarget) -> Command {
    let mut command = Command::new(programs.join(target.name()));
    command.args(["-timeout=10", "-rss_limit_mb=2048"]);
    command
}

fn one_input(programs: &Path, target: FuzzTarget, input: &Path) -> Result<ExitCode> {
    ui::step(&format!("{}: {}", target.name(), input.display()));
    let status = program(programs, target)
        .arg(input)
        .env("RUST_BACKTRACE", "1")
        .status()
        .context("run the fuzz target")?;
    if status.success() {
        ui::say(&ui::paint(Style::Good, "It passes."));
        return Ok(ExitCode::SUCCESS);
    }
    ui::say(&ui::paint(Style::Bad, "It fails; the reason is above."));
    Ok(ExitCode::FAILURE)
}

/// Runs one target; returns whether it survived.
fn fuzz(programs: &Path, target: FuzzTarget, seconds: u32) -> Result<bool> {
    let name = target.name();
    ui::step(&format!("{name}: {seconds} s"));
    let workspace = compile::workspace();
    let corpus = directory().join("corpus").join(name);
    let failures = directory().join("failures").join(name);
    for folder in [&corpus, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let mut command = program(programs, target);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg("-max_len=8192")
        .arg(format!("-artifact_prefix={}/", failures.display()))
        .arg(format!(
            "-dict={}",
            workspace.join(target.words()).display()
        ))
        .arg(&corpus)
        .args(target.seeds().iter().map(|folder| workspace.join(folder)))
        // Relative paths in inputs lead nowhere from here.
        .current_dir(&failures)
        // The panic's message is what counts; `--input` shows the way to it.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("run the fuzz target")?;
    let run = watch(&mut child, name)?;
    let survived = child.wait().context("wait for the fuzz target")?.success();
    if survived {
        let line = format!("{name} survived {}.", run.progress);
        ui::say(&ui::paint(Style::Good, &line));
        return Ok(true);
    }
    for line in &run.tail {
        ui::say(line);
    }
    ui::say(&ui::paint(Style::Bad, &format!("{name} failed.")));
    if let Some(input) = run.input {
        ui::say(&format!(
            "The input is in {input}; to see it fail again:\n  cargo xtask fuzz {name} --input {input}"
        ));
    }
    Ok(false)
}

/// What a run said.
#[derive(Debug, Default)]
struct Run {
    /// How far it came.
    progress: String,
    /// Its last lines that are no progress.
    tail: Vec<String>,
    /// The file with the input that failed.
    input: Option<String>,
}

fn watch(child: &mut Child, name: &str) -> Result<Run> {
    const TAIL: usize = 40;
    let output = child.stderr.take().context("the target's messages")?;
    let mut run = Run::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("read the target's messages")?;
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(progress) = progress(&line) {
            ui::progress(&format!("{name}: {progress}"));
            run.progress = progress;
            continue;
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            run.input = Some(path.to_owned());
        }
        if run.tail.len() == TAIL {
            run.tail.remove(0);
        }
        run.tail.push(line);
    }
    ui::end_progress();
    Ok(run)
}

/// What a line of libFuzzer's says about progress, as in
/// `#8192 pulse cov: 900 ft: 2000 corp: 50/3Kb lim: 100 exec/s: 4096 rss: 60Mb`.
fn progress(line: &str) -> Option<String> {
    let mut words = line.strip_prefix('#')?.split_whitespace();
    let inputs: u64 = words.next()?.parse().ok()?;
    let words: Vec<&str> = words.collect();
    let after = |name: &str| {
        words
            .iter()
            .position(|word| *word == name)
            .and_then(|at| words.get(at + 1))
            .copied()
    };
    let reached = after("cov:")?;
    let memory = after("rss:").unwrap_or("?");
    Some(format!(
        "{inputs} inputs, {reached} places in the code reached, {memory} of memory"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_libfuzzers_lines() {
        let line = "#8192\tpulse  cov: 900 ft: 2000 corp: 50/3Kb lim: 100 exec/s: 4096 rss: 60Mb";
        assert_eq!(
            progress(line).as_deref(),
            Some("8192 inputs, 900 places in the code reached, 60Mb of memory")
        );
        assert_eq!(progress("INFO: Seed: 1"), None);
        assert_eq!(progress("#0 0x55 in main"), None);
    }

    #[test]
    fn every_target_has_its_seeds_and_words() {
        for target in FuzzTarget::ALL {
            for folder in target.seeds() {
                assert!(compile::workspace().join(folder).is_dir(), "{folder}");
            }
            assert!(compile::workspace().join(target.words()).is_file());
        }
    }
}
