//! Targets that run beside each other, until their time is over or one of them fails.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    build::directory,
    report::Row,
    status::{Said, Status},
    target::Target,
};
use crate::{
    compile,
    ui::{self, Style},
};

/// Lines of a target that failed which are shown.
const TAIL: usize = 40;

/// How long targets run.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// For each target.
    pub time: Duration,
    /// Inputs for each target, at most.
    pub executions: Option<u64>,
    /// Targets at a time.
    pub jobs: usize,
}

/// A target that runs.
struct Running {
    target: &'static Target,
    child: Child,
    begun: Instant,
    status: Status,
    tail: VecDeque<String>,
    input: Option<String>,
}

/// A line of a target's, or that there are no more.
type Line = (&'static str, Option<String>);

/// Runs the targets; a row for each that was begun. It ends at the first that fails, whose row is the
/// last one then.
///
/// # Errors
/// When one can't be run.
pub fn run(programs: &Path, targets: &[&'static Target], effort: Effort) -> Result<Vec<Row>> {
    let (sender, lines) = mpsc::channel();
    let mut waiting: VecDeque<&'static Target> = targets.iter().copied().collect();
    let mut running: Vec<Running> = Vec::new();
    let mut rows = Vec::new();
    let outcome = loop {
        while running.len() < effort.jobs
            && let Some(target) = waiting.pop_front()
        {
            running.push(Running::start(programs, target, &effort, &sender)?);
        }
        if running.is_empty() {
            break Ok(());
        }
        match next(&lines, &mut running, &effort) {
            Ok(None) => {}
            Ok(Some(row)) => {
                let is_failed = !row.survived;
                rows.push(row);
                if is_failed {
                    break Ok(());
                }
            }
            Err(error) => break Err(error),
        }
    };
    ui::end_progress();
    for left in &mut running {
        // It may have ended by itself meanwhile.
        let _ = left.child.kill();
        let _ = left.child.wait();
    }
    outcome.map(|()| rows)
}

/// Takes the next line in, and shows how far all are. A row: that target is done.
fn next(
    lines: &Receiver<Line>,
    running: &mut Vec<Running>,
    effort: &Effort,
) -> Result<Option<Row>> {
    let (name, line) = match lines.recv_timeout(Duration::from_secs(1)) {
        Ok(line) => line,
        Err(RecvTimeoutError::Timeout) => {
            show(running, effort);
            return Ok(None);
        }
        Err(RecvTimeoutError::Disconnected) => return Ok(None),
    };
    let Some(at) = running.iter().position(|one| one.target.name == name) else {
        return Ok(None);
    };
    match line {
        Some(line) => {
            running[at].take(line);
            Ok(None)
        }
        None => running.swap_remove(at).end().map(Some),
    }
}

fn show(running: &[Running], effort: &Effort) {
    let each = running.iter().map(|one| {
        let elapsed = one.begun.elapsed();
        format!(
            "{} {}/{} s: {} inputs, {} edges",
            one.target.name,
            elapsed.as_secs(),
            effort.time.as_secs(),
            one.status.executions,
            one.status.edges,
        )
    });
    ui::progress(&each.collect::<Vec<_>>().join("; "));
}

impl Running {
    fn start(
        programs: &Path,
        target: &'static Target,
        effort: &Effort,
        lines: &Sender<Line>,
    ) -> Result<Self> {
        let mut command = command(programs, target, effort)?;
        let mut child = command.spawn().context("run the fuzz target")?;
        let output = child.stderr.take().context("the target's messages")?;
        let lines = lines.clone();
        let name = target.name;
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).into_owned();
                if lines.send((name, Some(text))).is_err() {
                    return;
                }
            }
            let _ = lines.send((name, None));
        });
        ui::say(&format!("  {name}: {} s", effort.time.as_secs()));
        Ok(Self {
            target,
            child,
            begun: Instant::now(),
            status: Status::default(),
            tail: VecDeque::new(),
            input: None,
        })
    }

    fn take(&mut self, line: String) {
        match self.status.read(&line) {
            Said::Progress => return,
            Said::Failed(path) => self.input = Some(path),
            Said::Other => {}
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Its row; what it said, if it failed.
    fn end(mut self) -> Result<Row> {
        let ended = self.child.wait().context("wait for the fuzz target")?;
        let name = self.target.name;
        if !ended.success() {
            ui::end_progress();
            for line in &self.tail {
                ui::say(line);
            }
            ui::say(&ui::paint(Style::Bad, &format!("{name} failed: {ended}.")));
            if let Some(input) = &self.input {
                ui::say(&format!(
                    "The input is in {input}; to see it fail again:\n  \
                     cargo xtask fuzz {name} --input {input}"
                ));
            }
        }
        Ok(Row {
            target: name,
            seconds: self.begun.elapsed().as_secs_f64(),
            status: self.status,
            survived: ended.success(),
            input: self.input,
        })
    }
}

fn command(programs: &Path, target: &Target, effort: &Effort) -> Result<Command> {
    let workspace = compile::workspace();
    let name = target.name;
    let corpus = directory().join("corpus").join(name);
    let failures = directory().join("failures").join(name);
    for folder in [&corpus, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let seconds = effort.time.as_secs().max(1);
    let mut command = program(programs, target);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.longest))
        .arg(format!("-artifact_prefix={}/", failures.display()))
        .arg("-print_final_stats=1");
    if let Some(executions) = effort.executions {
        command.arg(format!("-runs={executions}"));
    }
    if !target.words.is_empty() {
        let words = workspace.join("corex-user/fuzz").join(target.words);
        command.arg(format!("-dict={}", words.display()));
    }
    let seeds = target.seeds().into_iter();
    let seeds = seeds.map(|folder| workspace.join(folder));
    command
        .arg(&corpus)
        .args(seeds.filter(|folder| folder.is_dir()))
        // Relative paths in inputs lead nowhere from here.
        .current_dir(&failures)
        // The panic's message is what counts; `--input` shows the way to it.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    Ok(command)
}

/// The target's program, with the bounds that an input must keep.
pub fn program(programs: &Path, target: &Target) -> Command {
    let mut command = Command::new(programs.join(target.name));
    command.args(["-timeout=10", "-rss_limit_mb=2048"]);
    command
}

/// Leaves of a target's corpus only what all the rest reaches no place without. Returns how many inputs
/// there were, and are.
///
/// # Errors
/// When it can't be run, or an input fails.
pub fn minimise(programs: &Path, target: &Target) -> Result<(usize, usize)> {
    let corpora = directory().join("corpus");
    let (old, new) = (
        corpora.join(target.name),
        corpora.join(format!("{}.new", target.name)),
    );
    if !old.is_dir() {
        return Ok((0, 0));
    }
    // Left by one that was interrupted.
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).with_context(|| format!("make {}", new.display()))?;
    let status = program(programs, target)
        .arg("-merge=1")
        .args([&new, &old])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("run the fuzz target")?;
    anyhow::ensure!(
        status.success(),
        "{}: merging failed: {status}",
        target.name
    );
    let count = |folder: &Path| fs::read_dir(folder).map_or(0, Iterator::count);
    let counts = (count(&old), count(&new));
    fs::remove_dir_all(&old)
        .and_then(|()| fs::rename(&new, &old))
        .with_context(|| format!("replace {}", old.display()))?;
    Ok(counts)
}
