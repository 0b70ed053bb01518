//! Logs in the system's log, by a `/dev/log` of corex's own.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    config::{self, Family},
    corex::{CorexOptions, binary},
    process::output_of,
    sipp::SippOptions,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);

/// A syslog daemon.
struct Daemon {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Daemon {
    fn start(path: &Path) -> Result<Daemon> {
        let socket = UnixDatagram::bind(path)?;
        // As /dev/log is: programs of every user write there.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Daemon {
            socket,
            path: path.to_owned(),
        })
    }

    fn next(&self) -> Result<String> {
        let mut buffer = [0; 16_384];
        // A signal for another test's program may come in between.
        let length = loop {
            match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// The next line that ends so, or has that in it.
    fn find(&self, text: &str) -> Result<String> {
        loop {
            let line = self.next()?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

struct Stage {
    relay: Relay,
    work: WorkDir,
    ctl: String,
    log: PathBuf,
}

impl Stage {
    fn new() -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let ctl = format!("unix:{}", work.join("ctl").display());
        let log = work.join("log");
        Ok(Stage {
            relay,
            work,
            ctl,
            log,
        })
    }

    fn write(&self, parameters: &str, hook: &str) -> Result<PathBuf> {
        let parameters = format!(
            "debug=2\nloadmodule \"ctl.so\"\nloadmodule \"xlog.so\"\n\
             modparam(\"ctl\", \"binrpc\", \"{}\")\n{parameters}\n",
            self.ctl
        );
        let text = config::relay(Family::V4, &parameters, hook);
        self.work.write("edge.cfg", text)
    }

    /// Runs corex where `/dev` has what programs need, and `log` leads to our daemon, as
    /// systemd has it.
    fn start(&self, config: &Path) -> Result<Corex> {
        let script = format!(
            "mkdir -p {dev} && mount -t tmpfs tmpfs {dev} && \
             for n in null zero random urandom; do touch {dev}/$n; mount --bind /dev/$n {dev}/$n; done && \
             ln -s {log} {dev}/log && mount --rbind {dev} /dev && exec \"$0\" \"$@\"",
            dev = self.work.join("dev").display(),
            log = self.log.display(),
        );
        let mut command = self.relay.corex.command("sh");
        command.args(["-c", &script]).arg(binary()?);
        CorexOptions::new(config)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .spawn(command, self.work.path(), "edge")
    }

    fn kamcmd(&self, words: &[&str]) -> Result<String> {
        output_of(Command::new("kamcmd").args(["-s", &self.ctl]).args(words))
    }

    fn call(&self, calls: u64) -> Result<()> {
        let (relay, work) = (&self.relay, self.work.path());
        let uas = SippOptions::uas(Relay::UAS.sip()).start(&relay.uas, work, "uas")?;
        SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), calls, 100)
            .start(&relay.uac, work, "uac")?
            .finish(LIMIT)?
            .check(calls)?;
        uas.stop()?.check(calls)
    }
}

#[test]
fn what_memory_takes_arrives_with_facility_and_severity() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = Daemon::start(&stage.log)?;
    let parameters = "log_stderror=no\nlog_facility=LOG_LOCAL3\nlog_name=\"edge\"";
    let hook = "xlog(\"L_NOTICE\", \"hook of $si\"); $avp(msg) = $mb;";
    let corex = stage.start(&stage.write(parameters, hook)?)?;
    // 19 * 8 + 6
    let ready = daemon.find("ready: engine xdp")?;
    ensure!(ready.starts_with("<158>"), "{ready}");
    ensure!(
        ready.contains(&format!(" edge[{}]: INFO ready", corex.process.pid())),
        "{ready}"
    );
    // By now corex has no privileges and few files.
    stage.kamcmd(&["corex.shm_status"])?;
    let mut dump = Vec::new();
    while !dump
        .last()
        .is_some_and(|line: &String| line.contains("shm: all, in bytes"))
    {
        dump.push(daemon.next()?);
    }
    for map in ["SOCKETS", "COUNTERS", "CONFIG"] {
        let part = format!("shm: map {map} ");
        let line = dump.iter().find(|line| line.contains(&part));
        ensure!(
            line.is_some_and(|line| line.starts_with("<158>")),
            "{dump:#?}"
        );
    }
    stage.call(1)?;
    let line = daemon.find("hook of 10.0.1.2")?;
    ensure!(line.starts_with("<157>"), "L_NOTICE is 5: {line}");
    ensure!(
        corex.log().is_empty(),
        "on standard error:\n{}",
        corex.log()
    );
    // Another facility by another configuration; a way to another place takes a new start.
    let parameters = "log_stderror=no\nlog_facility=LOG_LOCAL4\nlog_name=\"edge\"";
    stage.write(parameters, config::COPY)?;
    stage.kamcmd(&["corex.reload"])?;
    let line = daemon.find("the configuration was read again")?;
    ensure!(line.starts_with("<166>"), "{line}");
    stage.write("log_stderror=yes", config::COPY)?;
    // kamcmd's exit status doesn't say that it is refused.
    let _ = stage.kamcmd(&["corex.reload"]);
    let line = daemon.find("takes a new start")?;
    ensure!(line.starts_with("<163>"), "an error is 3: {line}");
    corex.stop()?.check_balance()
}

#[test]
fn a_daemon_that_is_away_or_hangs_holds_nobody_up() -> Result<()> {
    let stage = Stage::new()?;
    let hook = "xlog(\"L_INFO\", \"hook of $si\"); $avp(msg) = $mb;";
    // Nobody listens yet.
    let corex = stage.start(&stage.write("log_facility=LOG_DAEMON", hook)?)?;
    wait::until("corex answers", LIMIT, || {
        Ok(stage.kamcmd(&["core.version"]).ok())
    })?;
    stage.call(20)?;
    let lost = corex.books()?.get("log_lines_dropped");
    ensure!(lost >= 240, "every hook had a line: {lost}");
    // It comes, and is told.
    let daemon = Daemon::start(&stage.log)?;
    stage.kamcmd(&["corex.shm_summary"])?;
    let told = daemon.find("lines lost before this one: ")?;
    ensure!(told.starts_with("<28>"), "3 * 8 + 4: {told}");
    daemon.find("shm: all, in bytes")?;
    // It takes nothing more: calls pass all the same.
    stage.call(20)?;
    drop(daemon);
    // Another one takes its place.
    let daemon = Daemon::start(&stage.log)?;
    wait::until("lines arrive again", LIMIT, || {
        stage.kamcmd(&["corex.shm_summary"])?;
        Ok(daemon.next()?.contains("corex[").then_some(()))
    })?;
    drop(daemon);
    corex.stop()?.check_balance()
}
