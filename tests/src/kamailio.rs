//! The real Kamailio, as a peer.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::{namespace::Namespace, process::Process};

/// A Kamailio that runs in a namespace until the value is dropped.
#[derive(Debug)]
pub struct Kamailio {
    /// The main process.
    pub process: Process,
}

impl Kamailio {
    /// Starts Kamailio in a namespace with this configuration and waits until UDP port
    /// `port` is bound. Its files are in `directory`, named after `name`.
    ///
    /// # Errors
    /// It isn't installed, or didn't start; with its log.
    pub fn start(
        namespace: &Namespace,
        directory: &Path,
        name: &str,
        config: &str,
        port: u16,
    ) -> Result<Self> {
        Self::start_under(&[], namespace, directory, name, config, port)
    }

    /// As [`Self::start`], by a wrapper such as `taskset -c 1`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_under(
        wrapper: &[&str],
        namespace: &Namespace,
        directory: &Path,
        name: &str,
        config: &str,
        port: u16,
    ) -> Result<Self> {
        let run = directory.join(format!("{name}.run"));
        fs::create_dir_all(&run)?;
        let file = directory.join(format!("{name}.cfg"));
        fs::write(&file, config)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (file, pid, run) = (text(&file), text(&run.join("pid")), text(&run));
        // In the foreground, logging to standard error.
        let own = [
            "kamailio", "-DD", "-E", "-f", &file, "-Y", &run, "-P", &pid, "-w", &run, "-m", "32",
            "-M", "8",
        ];
        let command = [wrapper, &own].concat();
        let (program, arguments) = command.split_first().context("an empty command")?;
        let log = directory.join(format!("{name}.log"));
        let process = namespace.spawn(program, arguments, &log)?;
        let kamailio = Self { process };
        namespace.wait_for_udp_port(port, &kamailio.process, Duration::from_secs(10))?;
        Ok(kamailio)
    }

    /// Stops it; by force if it doesn't end by itself, as Kamailio at times doesn't when its
    /// processes wait for each other.
    pub fn stop(self) {
        let _ = self.process.terminate(Duration::from_secs(5));
    }
}
