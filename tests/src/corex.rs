//! corex itself, seen from outside.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    books::ObservedBooks,
    mounts::Mounts,
    namespace::Namespace,
    process::{Process, output_of},
    wait,
    workdir::WorkDir,
};

/// The binary: `$COREX_BIN`, else the newer one of the workspace's debug and release builds.
///
/// # Errors
/// It hasn't been built.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("COREX_BIN") {
        return Ok(path.into());
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let target = env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .or_else(|| Some(workspace?.join("target")))
        .unwrap_or_default();
    ["debug", "release"]
        .map(|profile| target.join(profile).join("corex"))
        .into_iter()
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
        .context("corex isn't built: run `cargo xtask build`")
}

/// Makes a pair of keys that devices enrol with; the private one's file and the public one's.
///
/// # Errors
/// corex can't; with what it said.
pub fn make_enrolment_keys(binary: &Path, work: &WorkDir) -> Result<(PathBuf, PathBuf)> {
    let private = work.join("enrol.pem");
    let mut command = Command::new(binary);
    let public = output_of(command.args(["keys", "x25519", "--output"]).arg(&private))?;
    Ok((private, work.write("enrol.pub", public)?))
}

/// Copies the binary, for those who may not read where it is, or for an upgrade. By a program of its
/// own: a descriptor open for writing here would be inherited by whatever another test starts just
/// then, and what is open for writing can't be run (execve(2), ETXTBSY).
///
/// # Errors
/// It hasn't been built, or can't be copied.
pub fn copy_binary(to: &Path) -> Result<()> {
    output_of(Command::new("cp").arg(binary()?).arg(to)).map(drop)
}

/// How to run corex.
#[derive(Clone, Debug)]
pub struct CorexOptions {
    config: PathBuf,
    binary: Option<PathBuf>,
    interfaces: Vec<String>,
    arguments: Vec<String>,
}

impl CorexOptions {
    /// With this configuration file.
    pub fn new(config: &Path) -> Self {
        Self {
            config: config.to_owned(),
            binary: None,
            interfaces: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// This binary instead of [`binary`].
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_owned());
        self
    }

    /// Attach to this interface, too.
    pub fn interface(mut self, name: &str) -> Self {
        self.interfaces.push(name.to_owned());
        self
    }

    /// `auto`, `xdp` or `socket`.
    pub fn engine(self, engine: &str) -> Self {
        self.argument("--engine").argument(engine)
    }

    /// `auto`, `native` or `skb`.
    pub fn xdp_mode(self, mode: &str) -> Self {
        self.argument("--xdp-mode").argument(mode)
    }

    /// Any other command line argument of `corex run`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts corex in a namespace and waits until it is ready. Its log and books are files
    /// in `directory`, named after `name`.
    ///
    /// # Errors
    /// It ended, or wasn't ready in time; with its log.
    pub fn start(&self, namespace: &Namespace, directory: &Path, name: &str) -> Result<Corex> {
        let binary = match &self.binary {
            Some(path) => path.clone(),
            None => binary()?,
        };
        self.spawn(namespace.command(binary), directory, name)?
            .ready()
    }

    /// As [`Self::start`], where an earlier corex may have left something.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(&self, mounts: &Mounts, directory: &Path, name: &str) -> Result<Corex> {
        let binary = match &self.binary {
            Some(path) => path.clone(),
            None => binary()?,
        };
        self.spawn(mounts.command(binary), directory, name)?.ready()
    }

    /// Starts corex by `command` (which names the binary already, perhaps behind a wrapper
    /// such as setpriv) and doesn't wait.
    ///
    /// # Errors
    /// It couldn't be started.
    pub fn spawn(&self, mut command: Command, directory: &Path, name: &str) -> Result<Corex> {
        let books = directory.join(format!("{name}.books.json"));
        command
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .arg("--books")
            .arg(&books);
        for interface in &self.interfaces {
            command.args(["--interface", interface]);
        }
        command.args(&self.arguments);
        let log = directory.join(format!("{name}.log"));
        let process = Process::spawn(&format!("corex {name}"), command, &log)?;
        Ok(Corex { process, books })
    }
}

/// A running corex.
#[derive(Debug)]
pub struct Corex {
    /// corex's process; where a wrapper runs it, the wrapper's.
    pub process: Process,
    books: PathBuf,
}

impl Corex {
    /// Waits until it is ready.
    ///
    /// # Errors
    /// It ended, or wasn't ready in time; with its log.
    pub fn ready(self) -> Result<Self> {
        self.process
            .wait_for_output("ready:", Duration::from_secs(20))?;
        Ok(self)
    }

    /// Waits until it has made way for a successor, and returns its final books.
    ///
    /// # Errors
    /// It doesn't end, fails, or leaves no books; with its log.
    pub fn succeeded(self) -> Result<ObservedBooks> {
        let status = self.process.wait(Duration::from_secs(15))?;
        if !status.success() {
            bail!("corex ended with {status}:\n{}", self.log());
        }
        ObservedBooks::read(&self.books).with_context(|| self.log())
    }

    /// The books as of now.
    ///
    /// # Errors
    /// corex doesn't write them.
    pub fn books(&self) -> Result<ObservedBooks> {
        // Absent before the first time.
        let _ = fs::remove_file(&self.books);
        self.process.signal(libc::SIGUSR1)?;
        wait::until("corex writes its books", Duration::from_secs(30), || {
            if self.process.status()?.is_some() {
                bail!("corex has ended:\n{}", self.log());
            }
            Ok(ObservedBooks::read(&self.books).ok())
        })
    }

    /// Stops it in an orderly way and returns the final books.
    ///
    /// # Errors
    /// It doesn't stop, fails, or leaves no books; with its log.
    pub fn stop(self) -> Result<ObservedBooks> {
        // Books of an earlier moment must not pass for the final ones.
        let _ = fs::remove_file(&self.books);
        let status = self.process.terminate(Duration::from_secs(15))?;
        if !status.success() {
            bail!("corex ended with {status}:\n{}", self.log());
        }
        ObservedBooks::read(&self.books).with_context(|| self.log())
    }

    /// Kills it with SIGKILL and waits for the end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn kill(self) -> Result<ExitStatus> {
        self.process.signal(libc::SIGKILL)?;
        self.process.wait(Duration::from_secs(5))
    }

    /// Runs a program where corex sees the same file systems and network: bpftool on its pins.
    ///
    /// # Errors
    /// It failed; with its standard error.
    pub fn beside(&self, words: &[&str]) -> Result<String> {
        let pid = self.process.pid().to_string();
        output_of(
            Command::new("nsenter")
                .args(["-t", &pid, "-m", "-n"])
                .args(words),
        )
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
