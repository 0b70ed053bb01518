//! One Perl process: how it is started, and what a worker holds of it.

use std::ffi::OsString;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::DRIVER;
use super::channel::Channel;
use corex_script::settings;

/// What processes are started with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// The configuration's folder, absolute.
    pub folder: PathBuf,
    /// The script, absolute.
    pub script: PathBuf,
    /// Folders that Perl looks for modules in first.
    pub include: Vec<PathBuf>,
    /// The parameters of the module app_perl.
    pub settings: settings::Perl,
}

impl Setup {
    /// For a configuration in `folder`, which relative paths begin at. `None` without a script.
    pub fn new(settings: &settings::Perl, folder: &Path) -> io::Result<Option<Setup>> {
        let Some(script) = &settings.script else {
            return Ok(None);
        };
        let folder = std::path::absolute(folder)?;
        Ok(Some(Setup {
            script: folder.join(script),
            include: settings.include.iter().map(|it| folder.join(it)).collect(),
            settings: settings.clone(),
            folder,
        }))
    }

    fn include_text(&self) -> OsString {
        let mut text = OsString::new();
        for folder in &self.include {
            if !text.is_empty() {
                text.push(":");
            }
            text.push(folder);
        }
        text
    }

    /// Starts a process for worker `number`. Returns it, the channel to it, and the pipe that its
    /// standard output and standard error go to.
    pub fn spawn(&self, number: u32) -> io::Result<(Child, Channel, PipeReader)> {
        let (channel, theirs) = Channel::pair()?;
        let (output, input) = io::pipe()?;
        let bytes = u64::from(self.settings.max_memory) << 20;
        let child = Command::new(&self.settings.interpreter)
            .args(["-e", DRIVER, "--"])
            .arg(number.to_string())
            .arg(&self.script)
            .arg(self.include_text())
            .arg(bytes.to_string())
            .arg(std::process::id().to_string())
            .arg(&self.settings.destroy)
            .arg(libc::SYS_prctl.to_string())
            .arg(libc::SYS_prlimit64.to_string())
            .arg(libc::RLIMIT_AS.to_string())
            .arg(libc::RLIMIT_CORE.to_string())
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LANG", "C")
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(input.try_clone()?)
            .stderr(input)
            // What the script starts is found by the group, and a terminal's Ctrl-C is not for it.
            .process_group(0)
            .spawn()?;
        Ok((child, channel, output))
    }
}

/// A process whose script is loaded.
#[derive(Debug)]
pub(super) struct Process {
    /// Different from every other's.
    pub serial: u64,
    /// Which reading of the script it has loaded.
    pub generation: u64,
    /// Its process id.
    pub pid: u32,
    /// To talk to it.
    pub channel: Channel,
    /// Calls so far.
    pub calls: u32,
}
