//! Child processes that don't outlive their owner.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cleanup::{self, Guard},
    sys, wait,
};

/// A running program: in its own process group, output in files, killed with its group when
/// the value is dropped, when the program ends by a signal, and when the thread that
/// started it ends. Spawn from a thread that lives as long as the value.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Arc<Mutex<Child>>,
    pid: u32,
    log: PathBuf,
    _guard: Guard,
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// Starts `command`; standard output and error go to the file `log`.
    ///
    /// # Errors
    /// The file can't be made or the program not be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("make {}", log.display()))?;
        sys::tie_to_parent(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        let doomed = Arc::clone(&child);
        let guard = cleanup::defer(move || {
            let mut child = lock(&doomed);
            // Reaped already: the number may be somebody else's by now.
            if let Ok(None) = child.try_wait() {
                let _ = sys::kill_group(pid, libc::SIGKILL);
                let _ = child.wait();
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            pid,
            log: log.to_owned(),
            _guard: guard,
        })
    }

    /// The process's id, which is its group's as well.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status if it has ended.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn status(&self) -> Result<Option<ExitStatus>> {
        Ok(lock(&self.child).try_wait()?)
    }

    /// Sends a signal, if it still runs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let mut child = lock(&self.child);
        if child.try_wait()?.is_none() {
            sys::kill(self.pid, signal)?;
        }
        Ok(())
    }

    /// Stops all its threads where they are (SIGSTOP), and waits until they stand.
    ///
    /// # Errors
    /// It has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(libc::SIGSTOP)?;
        let limit = Duration::from_secs(10);
        wait::until(&format!("{} stands", self.name), limit, || {
            let mut threads = fs::read_dir(format!("/proc/{}/task", self.pid))?;
            let all_stand = threads.all(|thread| {
                let stat = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
                // proc_pid_stat(5): the state is behind the name, which may hold anything.
                let stands = |stat: String| stat.rsplit_once(") ")?.1.chars().next();
                stat.is_ok_and(|stat| stands(stat) == Some('T'))
            });
            Ok(all_stand.then_some(()))
        })
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn resume(&self) -> Result<()> {
        self.signal(libc::SIGCONT)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        wait::until(&format!("{} ends", self.name), limit, || self.status())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub fn terminate(&self, limit: Duration) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.wait(limit)
    }

    /// Waits until its output has a line with `text` in it.
    ///
    /// # Errors
    /// It ended first, or `limit` passed; with the output so far.
    pub fn wait_for_output(&self, text: &str, limit: Duration) -> Result<()> {
        let found = wait::until(
            &format!("{} says {text:?}", self.name),
            limit,
            || match self.log() {
                log if log.contains(text) => Ok(Some(())),
                _ => match self.status()? {
                    Some(status) => bail!("{} ended at once: {status}", self.name),
                    None => Ok(None),
                },
            },
        );
        found.with_context(|| format!("output of {}:\n{}", self.name, self.log()))
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }
}

/// Runs a command to its end and returns what it wrote to standard output.
///
/// # Errors
/// It couldn't be started, or failed; with what it wrote to standard error.
pub fn output_of(command: &mut Command) -> Result<String> {
    let text = format!("{command:?}").replace('"', "");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {text}"))?;
    if !output.status.success() {
        bail!(
            "{text}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds a program in PATH and in the directories of administrators' programs.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
/// A field of /proc/PID/task/TID/status (proc_pid_status(5)) with the thread's name, for every
/// thread of a process and of its children.
///
/// # Errors
/// There is no such process.
pub fn of_every_thread(pid: u32, field: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        // One that has ended since has nothing any more.
        let Ok(status) = fs::read_to_string(task.join("status")) else {
            continue;
        };
        let find = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        found.push((find("Name:"), find(field)));
        let children = fs::read_to_string(task.join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            found.extend(of_every_thread(child.parse()?, field).unwrap_or_default());
        }
    }
    Ok(found)
}

/// Whether the threads of that name, of which a process has at least one, all sleep in poll(2).
///
/// # Errors
/// There is no such process.
pub fn all_poll(pid: u32, name: &str) -> Result<bool> {
    let mut found = false;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let text = |file: &str| fs::read_to_string(task.join(file)).unwrap_or_default();
        if text("comm").trim_end() != name {
            continue;
        }
        found = true;
        // proc_pid_syscall(5): the number, or `running`.
        let call = text("syscall");
        let call = call.split_whitespace().next().and_then(|n| n.parse().ok());
        if !call.is_some_and(|call: i64| POLL.contains(&call)) {
            return Ok(false);
        }
    }
    Ok(found)
}

/// The system calls behind poll(2).
#[cfg(target_arch = "x86_64")]
const POLL: [i64; 2] = [libc::SYS_poll, libc::SYS_ppoll];
#[cfg(not(target_arch = "x86_64"))]
const POLL: [i64; 1] = [libc::SYS_ppoll];
