//! CrowdSec with one parser and one scenario, in a folder and a network of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{WorkDir, namespace::Namespace, process::output_of};

/// Where Debian's package has what comes with CrowdSec.
const HUB: &str = "/usr/share/crowdsec/hub";
const PATTERNS: &str = "/etc/crowdsec/patterns";
const PROFILES: &str = "/etc/crowdsec/profiles.yaml";
/// What finds program and message in lines of syslog.
const SYSLOG: &str = "parsers/s00-raw/crowdsecurity/syslog-logs.yaml";

const LIMIT: Duration = Duration::from_secs(120);

/// CrowdSec's settings. It runs for each log that it reads, with the local API that takes its alerts, and
/// speaks to nobody: there is nobody in its network.
#[derive(Debug)]
pub struct Crowdsec {
    namespace: Namespace,
    work: WorkDir,
    config: PathBuf,
}

impl Crowdsec {
    /// Has it read logs by this parser of the second stage, and judge by this scenario.
    ///
    /// # Errors
    /// It isn't installed, or the folder can't be made.
    pub fn new(parser: &Path, scenario: &Path) -> Result<Self> {
        let work = WorkDir::new()?;
        for folder in [
            "parsers/s00-raw",
            "parsers/s01-parse",
            "scenarios",
            "postoverflows",
            "notifications",
            "patterns",
            "plugins",
            "data",
            "hub",
        ] {
            fs::create_dir_all(work.join(folder))?;
        }
        let hub = Path::new(HUB);
        for (from, to) in [
            (hub.join(".index.json").as_path(), "hub/.index.json"),
            (&hub.join(SYSLOG), "parsers/s00-raw/syslog-logs.yaml"),
            (parser, "parsers/s01-parse/corex.yaml"),
            (scenario, "scenarios/corex-guard.yaml"),
            (Path::new(PROFILES), "profiles.yaml"),
        ] {
            let copied = fs::copy(from, work.join(to));
            copied.with_context(|| format!("copy {}; is crowdsec installed?", from.display()))?;
        }
        for pattern in fs::read_dir(PATTERNS).context(PATTERNS)? {
            let pattern = pattern?;
            fs::copy(
                pattern.path(),
                work.join("patterns").join(pattern.file_name()),
            )?;
        }
        work.write("simulation.yaml", "simulation: false\n")?;
        work.write("acquis.yaml", "")?;
        work.write("credentials.yaml", "")?;
        let config = work.write("config.yaml", settings(work.path()))?;
        let crowdsec = Self {
            namespace: Namespace::new("crowdsec")?,
            work,
            config,
        };
        crowdsec.namespace.ip("link set lo up")?;
        let credentials = crowdsec.work.join("credentials.yaml");
        output_of(
            crowdsec
                .namespace
                .command("cscli")
                .arg("-c")
                .arg(&crowdsec.config)
                .args([
                    "machines",
                    "add",
                    "lab",
                    "--password",
                    "lab",
                    "--force",
                    "-f",
                ])
                .arg(credentials),
        )?;
        Ok(crowdsec)
    }

    /// The addresses that are banned when it has read a log whose lines are of this kind, in order.
    ///
    /// # Errors
    /// What CrowdSec says, or that it doesn't end.
    pub fn banned_after(&self, log: &str, kind: &str) -> Result<Vec<String>> {
        let log = self.work.write("read.log", log)?;
        let config = self.config.display().to_string();
        let source = format!("file://{}", log.display());
        let arguments = ["-c", &config, "-dsn", &source, "-type", kind, "-no-capi"];
        let said = self.work.join("crowdsec.log");
        let process = self.namespace.spawn("crowdsec", &arguments, &said)?;
        let status = process.wait(LIMIT)?;
        ensure!(status.success(), "{status}: {}", process.log());
        let banned = output_of(
            Command::new("sqlite3")
                .arg(self.work.join("data/crowdsec.db"))
                .arg("select distinct value from decisions where type = 'ban' order by value"),
        )?;
        Ok(banned.lines().map(str::to_owned).collect())
    }
}

fn settings(root: &Path) -> String {
    let root = root.display();
    format!(
        "common: {{daemonize: false, log_media: stdout, log_level: info, working_dir: {root}}}\n\
         config_paths:\n  config_dir: {root}\n  data_dir: {root}/data\n  \
         simulation_path: {root}/simulation.yaml\n  hub_dir: {root}/hub\n  \
         index_path: {root}/hub/.index.json\n  notification_dir: {root}/notifications\n  \
         plugin_dir: {root}/plugins\n\
         crowdsec_service: {{acquisition_path: {root}/acquis.yaml, parser_routines: 1}}\n\
         cscli: {{output: human}}\n\
         db_config: {{type: sqlite, db_path: {root}/data/crowdsec.db}}\n\
         api:\n  client: {{credentials_path: {root}/credentials.yaml}}\n  \
         server: {{listen_uri: \"127.0.0.1:8080\", profiles_path: {root}/profiles.yaml}}\n\
         prometheus: {{enabled: false}}\n"
    )
}
