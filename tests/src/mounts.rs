//! A mount namespace that outlives the programs in it, with a file system for eBPF pins: what one
//! corex leaves there, the next one finds. (`ip netns exec` gives each program mounts of its own.)

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Result;

use crate::{
    namespace::Namespace,
    process::{Process, output_of},
    wait,
};

/// Where the file system for pins is.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Mounts that stay while programs in them come and go; they end when the value is dropped.
#[derive(Debug)]
pub struct Mounts {
    holder: Process,
}

impl Mounts {
    /// Mounts for programs in a network namespace; `directory` is for a log.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn new(namespace: &Namespace, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{}.mounts.log", namespace.name()));
        let holder = namespace.spawn("sleep", &["infinity"], &log)?;
        let mounts = Self { holder };
        let limit = Duration::from_secs(5);
        // Before that, what is mounted may be mounted outside.
        let name = format!("/proc/{}/comm", mounts.holder.pid());
        wait::until("the holder is inside", limit, || {
            let name = fs::read_to_string(&name).unwrap_or_default();
            Ok((name.trim() == "sleep").then_some(()))
        })?;
        wait::until("the mount namespace is there", limit, || {
            Ok(mounts.run(&["mount", "-t", "bpf", "bpf", BPFFS]).ok())
        })?;
        Ok(mounts)
    }

    /// A command that runs a program inside, in the network namespace as well.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.holder.pid().to_string(), "-m", "-n"])
            .arg(program.as_ref());
        command
    }

    /// Runs a program inside to its end and returns its standard output.
    ///
    /// # Errors
    /// It failed; with its standard error.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
        output_of(self.command(program).args(arguments))
    }
}
