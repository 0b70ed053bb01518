//! Programs in a terminal, by tmux: what they show, and keys for them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    process::{Process, output_of, which},
    wait,
};

/// A terminal with a program in it. Ends with the value.
#[derive(Debug)]
pub struct Tmux {
    socket: PathBuf,
    server: Process,
}

impl Tmux {
    /// Runs a shell command in a terminal of so many columns and lines, whose files are in
    /// `directory`, named after `name`.
    ///
    /// # Errors
    /// No tmux, or it doesn't start.
    pub fn start(
        directory: &Path,
        name: &str,
        size: (u16, u16),
        environment: &[(&str, &str)],
        command: &str,
    ) -> Result<Tmux> {
        let tmux = which("tmux").context("tmux is not installed")?;
        let socket = directory.join(format!("{name}.tmux"));
        let mut server = Command::new(tmux);
        // In the foreground, so that it ends with us; and nobody's own configuration.
        server
            .arg("-S")
            .arg(&socket)
            .args(["-D", "-f", "/dev/null"]);
        // A terminal within tmux is not one that tmux may run in.
        server.env_remove("TMUX");
        for variable in ["NO_COLOR", "LC_ALL", "LC_CTYPE"] {
            server.env_remove(variable);
        }
        server
            .env("LANG", "C.UTF-8")
            .envs(environment.iter().copied());
        let log = directory.join(format!("{name}.tmux.log"));
        let server = Process::spawn("tmux", server, &log)?;
        let terminal = Tmux { socket, server };
        wait::until("tmux answers", Duration::from_secs(10), || {
            Ok(terminal.socket.exists().then_some(()))
        })?;
        let (columns, lines) = size;
        terminal.run(&[
            "new-session",
            "-d",
            "-x",
            &columns.to_string(),
            "-y",
            &lines.to_string(),
            command,
        ])?;
        Ok(terminal)
    }

    /// Runs a command of tmux in this terminal's server.
    ///
    /// # Errors
    /// What tmux says.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(words);
        output_of(&mut command).with_context(|| self.server.log())
    }

    /// Presses keys, named as for `tmux send-keys`.
    ///
    /// # Errors
    /// What tmux says.
    pub fn keys(&self, keys: &str) -> Result<()> {
        self.run(&["send-keys", keys]).map(drop)
    }

    /// What the terminal shows now, line by line.
    ///
    /// # Errors
    /// What tmux says.
    pub fn screen(&self) -> Result<String> {
        self.run(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as asked, and returns it.
    ///
    /// # Errors
    /// It isn't within `limit`; with the screen.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let mut last = String::new();
        wait::until(what, limit, || {
            last = self.screen()?;
            Ok(is_it(&last).then(|| last.clone()))
        })
        .with_context(|| format!("the screen:\n{last}"))
    }

    /// Gives the terminal another size, as a user who drags its corner.
    ///
    /// # Errors
    /// What tmux says.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        self.run(&["resize-window", "-x", &columns, "-y", &lines])
            .map(drop)
    }
}
