//! A load generator of corex-bench, which runs beside this program and is sent orders.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use corex_lab::sys;

use super::protocol::{Answer, Order, Outcome};

/// It is ready, and answers beyond the time that it was to send, in this time.
const LIMIT: Duration = Duration::from_secs(20);

/// A running generator; ends when the value is dropped.
pub struct Generator {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    log: PathBuf,
}

impl Generator {
    /// Starts it by a command; what it complains of goes to the file `log`.
    ///
    /// # Errors
    /// It can't be started, or isn't ready in time; with what it said.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        sys::tie_to_parent(&mut command);
        let mut child = command
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()
            .context("start the generator")?;
        let orders = child.stdin.take().context("its standard input")?;
        let output = child.stdout.take().context("its standard output")?;
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let generator = Self {
            child,
            orders,
            answers,
            log: log.to_owned(),
        };
        generator.line(LIMIT)?;
        Ok(generator)
    }

    /// Has something measured.
    ///
    /// # Errors
    /// It couldn't be measured, or there is no answer in time.
    pub fn measure(&mut self, order: &Order) -> Result<Outcome> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)
            .with_context(|| self.complaint("the generator takes no orders"))?;
        let line = self.line(Duration::from_secs_f64(order.seconds) + LIMIT)?;
        match serde_json::from_str(&line).context("the generator's answer")? {
            Answer::Done(outcome) => Ok(outcome),
            Answer::Failed(reason) => bail!("the generator: {reason}"),
        }
    }

    fn line(&self, limit: Duration) -> Result<String> {
        self.answers
            .recv_timeout(limit)
            .with_context(|| self.complaint("the generator has no answer"))
    }

    fn complaint(&self, what: &str) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        // The verifier's words are many, and the last ones count.
        let from = said.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
        format!("{what}: {}", said.get(from..).unwrap_or_default())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
