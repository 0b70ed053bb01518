//! sipp, the SIP load generator, as caller (UAC) and as answering side (UAS).

use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{namespace::Namespace, process::Process, topology::Relay};

/// Bytes of a sipp's socket buffers; net.core.rmem_max may bound them.
const RECEIVE_BUFFER: &str = "8388608";

/// A scenario of `tests/scenarios`.
pub fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios")
        .join(name)
}

/// How to run sipp.
#[derive(Clone, Debug)]
pub struct SippOptions {
    scenario: PathBuf,
    local: SocketAddr,
    remote: Option<SocketAddr>,
    arguments: Vec<String>,
    is_resending: bool,
}

/// What became of the calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SippReport {
    /// Calls begun, by either side.
    pub started: u64,
    /// Calls that went through the whole scenario.
    pub successful: u64,
    /// Calls that didn't.
    pub failed: u64,
    /// Messages that had to be sent again.
    pub retransmissions: u64,
    /// Messages that the scenario didn't expect.
    pub unexpected: u64,
}

impl fmt::Display for SippReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} successful, {} failed, {} retransmissions, {} unexpected messages",
            self.successful, self.failed, self.retransmissions, self.unexpected
        )
    }
}

impl SippReport {
    /// Reads the last line of a statistics file (`sipp -trace_stat`); cumulated values.
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next()?.split(';').collect();
        let values: Vec<&str> = lines.next_back()?.split(';').collect();
        let get = |wanted: &str| {
            let at = names.iter().position(|name| *name == wanted)?;
            values.get(at)?.parse::<u64>().ok()
        };
        Some(Self {
            started: get("TotalCallCreated")?,
            successful: get("SuccessfulCall(C)")?,
            failed: get("FailedCall(C)")?,
            retransmissions: get("Retransmissions(C)")?,
            unexpected: get("FailedUnexpectedMessage(C)")?,
        })
    }

    /// Checks that so many calls succeeded, none failed, and nothing was sent twice.
    ///
    /// # Errors
    /// A call is missing or failed, or a message was sent twice or not expected; with the counts.
    pub fn check(&self, calls: u64) -> Result<()> {
        let perfect = Self {
            started: calls,
            successful: calls,
            ..Self::default()
        };
        if *self != perfect {
            bail!("{calls} calls expected, but {self}");
        }
        Ok(())
    }
}

/// When scenarios send a message again.
const RESENT: &str = "retrans=\"500\"";
/// After so many milliseconds a message, or its answer, is lost.
const LOST: u32 = 15_000;

impl SippOptions {
    /// Answers calls at `local`, by scenario `uas.xml`.
    pub fn uas(local: SocketAddr) -> Self {
        Self {
            scenario: scenario("uas.xml"),
            local,
            remote: None,
            arguments: Vec::new(),
            is_resending: false,
        }
    }

    /// Calls `remote` from `local`, by scenario `uac.xml`: so many calls in all, so many a
    /// second.
    pub fn uac(local: SocketAddr, remote: SocketAddr, calls: u64, rate: u64) -> Self {
        let options = Self {
            scenario: scenario("uac.xml"),
            local,
            remote: Some(remote),
            arguments: Vec::new(),
            is_resending: false,
        };
        options
            .argument("-m")
            .argument(&calls.to_string())
            .argument("-r")
            .argument(&rate.to_string())
            .argument("-l")
            .argument(&calls.to_string())
    }

    /// Plays the scenario in this file instead.
    pub fn scenario(mut self, file: &Path) -> Self {
        self.scenario = file.to_owned();
        self
    }

    /// Sends again what isn't answered in half a second, as RFC 3261 section 17.1.1.2 has it. Without
    /// this it takes so long that a busy machine answers in time, and what is sent again was lost.
    pub fn resending(mut self) -> Self {
        self.is_resending = true;
        self
    }

    /// By TCP, all calls on one connection.
    pub fn tcp(self) -> Self {
        self.argument("-t").argument("t1")
    }

    fn is_tcp(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "t1")
    }

    /// Any other argument of sipp.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts sipp in a namespace and waits until its port is bound. Its files are in
    /// `directory`, named after `name`.
    ///
    /// # Errors
    /// It can't start.
    pub fn start(&self, namespace: &Namespace, directory: &Path, name: &str) -> Result<Sipp> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let statistics = directory.join(format!("{name}.csv"));
        let errors = directory.join(format!("{name}.errors"));
        let scenario = if self.is_resending {
            self.scenario.clone()
        } else {
            let scenario = fs::read_to_string(&self.scenario)
                .with_context(|| self.scenario.display().to_string())?;
            let own = directory.join(format!("{name}.xml"));
            fs::write(
                &own,
                scenario.replace(RESENT, &format!("retrans=\"{LOST}\"")),
            )?;
            own
        };
        let mut arguments = vec![
            "-sf".to_owned(),
            text(scenario),
            "-i".to_owned(),
            self.local.ip().to_string(),
            "-p".to_owned(),
            self.local.port().to_string(),
        ];
        arguments.extend(["-nostdin", "-trace_err", "-error_file"].map(str::to_owned));
        arguments.push(text(errors.clone()));
        arguments.extend(["-trace_stat", "-fd", "1", "-stf"].map(str::to_owned));
        arguments.push(text(statistics.clone()));
        // Otherwise a busy machine makes sipp give up.
        arguments.extend(["-watchdog_interval", "0"].map(str::to_owned));
        // Its own default, 64 KiB, holds some fifty messages: a sipp that waits longer than they
        // take for a processor loses the next ones.
        arguments.extend(["-buff_size", RECEIVE_BUFFER].map(str::to_owned));
        arguments.extend(self.arguments.iter().cloned());
        arguments.extend(self.remote.map(|remote| remote.to_string()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let log = directory.join(format!("{name}.log"));
        let process = namespace.spawn("sipp", &arguments, &log)?;
        let sipp = Sipp {
            process,
            name: name.to_owned(),
            statistics,
            errors,
        };
        if self.remote.is_none() {
            let (port, limit) = (self.local.port(), Duration::from_secs(5));
            let bound = if self.is_tcp() {
                namespace.wait_for_tcp_port(port, &sipp.process, limit)
            } else {
                namespace.wait_for_udp_port(port, &sipp.process, limit)
            };
            bound.with_context(|| sipp.diagnosis())?;
        }
        Ok(sipp)
    }
}

/// A running sipp.
#[derive(Debug)]
pub struct Sipp {
    process: Process,
    name: String,
    statistics: PathBuf,
    errors: PathBuf,
}

impl Sipp {
    /// What it has done so far; it writes that down once a second.
    pub fn so_far(&self) -> SippReport {
        fs::read_to_string(&self.statistics)
            .ok()
            .and_then(|text| SippReport::read(&text))
            .unwrap_or_default()
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ended(&self) -> Result<bool> {
        Ok(self.process.status()?.is_some())
    }

    /// Waits until all calls are over.
    ///
    /// # Errors
    /// They aren't within `limit`, or sipp could not run at all.
    pub fn finish(self, limit: Duration) -> Result<SippReport> {
        let status = self.process.wait(limit).with_context(|| self.diagnosis())?;
        // 0: all calls succeeded, 1: some failed, 99: there were none (sipp -h).
        if !matches!(status.code(), Some(0 | 1 | 99)) {
            bail!("{} ended with {status}: {}", self.name, self.diagnosis());
        }
        Ok(self.so_far())
    }

    /// Asks it to stop when its current calls are over (SIGUSR1), and waits for that.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn stop(self) -> Result<SippReport> {
        self.stop_within(Duration::from_secs(10))
    }

    /// As [`stop`](Self::stop), where calls may take longer to end.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn stop_within(self, limit: Duration) -> Result<SippReport> {
        self.process.signal(libc::SIGUSR1)?;
        self.finish(limit)
    }

    /// What it complained about.
    pub fn diagnosis(&self) -> String {
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        let log = self.process.log();
        let tail = |text: &str| {
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        };
        format!("sipp {}:\n{}\n{}", self.name, tail(&errors), tail(&log))
    }
}

/// So many calls through the corex of a [`Relay`], a hundred a second; each goes through at the
/// first attempt. Files are in `directory`.
///
/// # Errors
/// One doesn't, or they aren't over within a minute and the time that they take.
pub fn call_through(relay: &Relay, directory: &Path, calls: u64) -> Result<()> {
    const RATE: u64 = 100;
    let limit = Duration::from_secs(60 + calls / RATE);
    let uas = SippOptions::uas(Relay::UAS.sip()).start(&relay.uas, directory, "uas")?;
    SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), calls, RATE)
        .start(&relay.uac, directory, "uac")?
        .finish(limit)?
        .check(calls)?;
    uas.stop()?.check(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATISTICS: &str = "StartTime;TotalCallCreated;SuccessfulCall(P);SuccessfulCall(C);FailedCall(C);FailedUnexpectedMessage(C);Retransmissions(C);\n\
        x;1;1;1;0;0;0;\n\
        x;10;9;10;0;0;0;\n";

    #[test]
    fn the_last_line_of_the_statistics_counts() {
        let report = SippReport::read(STATISTICS).unwrap();
        assert_eq!(report.successful, 10);
        assert!(report.check(10).is_ok());
    }

    #[test]
    fn a_lost_call_or_a_retransmission_is_not_perfect() {
        let perfect = SippReport::read(STATISTICS).unwrap();
        assert!(perfect.check(11).is_err());
        let repeated = SippReport {
            retransmissions: 1,
            ..perfect
        };
        assert!(repeated.check(10).is_err());
    }
}
