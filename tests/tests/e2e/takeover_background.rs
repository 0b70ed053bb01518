//! A take-over from a service's ExecReload=: it returns, and what runs is the service's.

use std::{fs::File, os::unix::net::UnixDatagram, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Mounts, WorkDir,
    config::{self, Family},
    corex::{self, CorexOptions},
    sys,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);

/// A service manager's socket, and what is said there.
struct Manager(UnixDatagram);

impl Manager {
    /// Waits for a line that begins so; returns the rest of it, and fails if `never` is said before.
    fn hears(&self, wanted: &str, never: &str) -> Result<String> {
        let mut buffer = [0; 4096];
        loop {
            let len = self.0.recv(&mut buffer).context(wanted.to_owned())?;
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            for line in text.lines() {
                ensure!(line != never, "{never} before {wanted}");
                if let Some(rest) = line.strip_prefix(wanted) {
                    return Ok(rest.to_owned());
                }
            }
        }
    }
}

/// Whom `corex detach` says to have the name.
fn holder(mounts: &Mounts) -> Result<Option<u32>> {
    let binary = corex::binary()?.display().to_string();
    let text = mounts.run(&[&binary, "detach"])?;
    let holder = text.trim().strip_prefix("corex: runs, as process ");
    Ok(holder.map(str::parse).transpose()?)
}

fn answers(relay: &Relay) -> Result<()> {
    let (sender, receiver) = (
        relay.uac.udp("10.0.1.2:0".parse()?)?,
        relay.uas.udp(Relay::UAS.sip())?,
    );
    let request = b"OPTIONS sip:bob@example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK1\r\nTo: <sip:bob@example.com>\r\n\
        From: <sip:alice@example.com>;tag=x\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";
    sender.send_to(request, Relay::USER_SIDE.sip())?;
    let len = receiver.recv(&mut [0; 2048])?;
    ensure!(len > 0);
    Ok(())
}

#[test]
fn it_returns_once_the_new_one_runs_which_is_the_service_s_main_process() -> Result<()> {
    for engine in ["socket", "xdp"] {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let mounts = Mounts::new(&relay.corex, work.path())?;
        let path = work.join("notify");
        let manager = Manager(UnixDatagram::bind(&path)?);
        manager.0.set_read_timeout(Some(LIMIT))?;
        let notify = format!("NOTIFY_SOCKET={}", path.display());
        let text = config::relay(Family::V4, "", config::COPY);
        let config = work.write("corex.cfg", text)?;
        let command = |words: &[&str], log: &str| -> Result<Command> {
            let mut command = mounts.command("env");
            command.arg(&notify).arg(corex::binary()?);
            command.arg("run").arg("--config").arg(&config);
            command.args(["--interface", "user", "--interface", "core"]);
            command.args(["--workers", "1", "--engine", engine]);
            command.args(words).stderr(File::create(work.join(log))?);
            Ok(command)
        };
        let mut wrapped = mounts.command("env");
        wrapped.arg(&notify).arg(corex::binary()?);
        let first = CorexOptions::new(&config)
            .argument("--workers")
            .argument("1")
            .interface("user")
            .interface("core")
            .engine(engine)
            .spawn(wrapped, work.path(), "first")?;
        manager
            .hears("READY=1", "STOPPING=1")
            .with_context(|| first.log())?;
        // On kernel sockets alone nothing is pinned under the name.
        let has_pins = engine == "xdp";
        let mut before = first.process.pid();
        // The second one takes over from one that has taken over itself.
        for log in ["second.log", "third.log"] {
            let status = command(&["--take-over", "--background"], log)?.status()?;
            let said = || std::fs::read_to_string(work.join(log)).unwrap_or_default();
            ensure!(status.success(), "{engine}: {status}\n{}", said());
            let now: u32 = manager.hears("MAINPID=", "STOPPING=1")?.parse()?;
            ensure!(now != before, "{engine}: {now} again");
            // The old one has yet to end.
            wait::until("the new one has the name", LIMIT, || {
                Ok((holder(&mounts)? == has_pins.then_some(now)).then_some(()))
            })?;
            answers(&relay).with_context(said)?;
            // Nobody tells it whether the service manager waits for that.
            manager.hears("WATCHDOG=1", "STOPPING=1")?;
            before = now;
        }
        ensure!(first.succeeded()?.get("user.sent") == 0);
        // In inline mode the one that runs would be ended first.
        let text = config::relay(Family::V4, "modparam(\"corex\", \"mode\", \"inline\")", "");
        let inline = work.write("inline.cfg", text)?;
        let refused = mounts
            .command(corex::binary()?)
            .args(["run", "--instance", "corex", "--take-over", "--background"])
            .arg("--config")
            .arg(&inline)
            .output()?;
        ensure!(!refused.status.success(), "{engine}: {refused:?}");
        answers(&relay)?;
        sys::kill(before, libc::SIGTERM)?;
        manager.hears("STOPPING=1", "MAINPID=")?;
        wait::until("it ends", LIMIT, || {
            Ok(sys::kill(before, 0).is_err().then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn one_that_can_not_start_says_why_and_changes_nothing() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let mounts = Mounts::new(&relay.corex, work.path())?;
    let text = config::relay(Family::V4, "", config::COPY);
    let config = work.write("corex.cfg", text)?;
    let running = CorexOptions::new(&config)
        .interface("user")
        .interface("core")
        .engine("xdp")
        .start_in(&mounts, work.path(), "running")?;
    let tries = [
        // Kernel sockets can't have what is in AF_XDP's rings.
        (vec!["--engine", "socket"], 3, "goes on"),
        (vec!["--interface", "none0"], 3, "none0"),
    ];
    for (words, code, reason) in tries {
        // A pipe would be read for as long as what goes on in the background runs.
        let log = work.join("refused.log");
        let status = mounts
            .command(corex::binary()?)
            .args(["run", "--take-over", "--background", "--config"])
            .arg(&config)
            .args(words)
            .stderr(File::create(&log)?)
            .status()?;
        let said = std::fs::read_to_string(&log)?;
        ensure!(
            status.code() == Some(code) && said.contains(reason),
            "{status}: {said}"
        );
        answers(&relay)?;
    }
    running.stop()?.check_balance()
}
