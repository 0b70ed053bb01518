//! Another configuration while corex runs, by SIGHUP.

use std::{net::UdpSocket, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Corex, WorkDir, corex::CorexOptions, topology::Relay, wait};

const PATIENCE: Duration = Duration::from_secs(30);

fn config(reason: &str, more: &str) -> String {
    format!(
        r#"listen=udp:10.0.1.1
loadmodule "sl.so"
loadmodule "corex.so"
loadmodule "htable.so"
modparam("htable", "htable", "seen=>size=8;initval=0")
{more}
request_route {{
    sl_send_reply("200", "{reason} $shtinc(seen=>all)");
}}
"#
    )
}

struct Stage {
    relay: Relay,
    work: WorkDir,
    corex: Corex,
    caller: UdpSocket,
    sent: u32,
}

impl Stage {
    fn new(engine: &str) -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let file = work.write("corex.cfg", config("First", ""))?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .engine(engine)
            .start(&relay.corex, work.path(), "corex")?;
        let caller = relay.uac.udp(Relay::UAC.sip())?;
        caller.set_read_timeout(Some(PATIENCE))?;
        Ok(Stage {
            relay,
            work,
            corex,
            caller,
            sent: 0,
        })
    }

    fn change(&self, config: impl AsRef<[u8]>) -> Result<()> {
        self.work.write("corex.cfg", config)?;
        self.corex.process.signal(libc::SIGHUP)
    }

    /// Waits for what a SIGHUP leaves in the log for the `count`th time.
    fn logged(&self, text: &str, count: usize) -> Result<()> {
        wait::until("corex logs it", PATIENCE, || {
            Ok((self.corex.log().matches(text).count() >= count).then_some(()))
        })
        .with_context(|| format!("{text:?} isn't in\n{}", self.corex.log()))
    }

    /// Sends a request and returns the reply's reason phrase.
    fn ask(&mut self) -> Result<String> {
        self.sent += 1;
        let request = format!(
            "OPTIONS sip:10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK{}\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {}\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n",
            self.sent, self.sent
        );
        self.caller
            .send_to(request.as_bytes(), Relay::USER_SIDE.sip())?;
        let mut buffer = [0; 4096];
        let len = self
            .caller
            .recv(&mut buffer)
            .with_context(|| self.corex.log())?;
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let line = text.lines().next().unwrap_or_default();
        Ok(line.trim_start_matches("SIP/2.0 200 ").to_owned())
    }

    fn stop(self) -> Result<()> {
        let books = self.corex.stop()?;
        books.check_balance()?;
        ensure!(
            books.get("user.replied") == u64::from(self.sent),
            "{:#}",
            books.0
        );
        drop((self.relay, self.work));
        Ok(())
    }
}

const DONE: &str = "the configuration was read again";

fn takes_over(engine: &str) -> Result<()> {
    let mut stage = Stage::new(engine)?;
    ensure!(stage.ask()? == "First 1");
    stage.change(config("Second", "debug=3"))?;
    stage.logged(DONE, 1)?;
    wait::until("the new one answers", PATIENCE, || {
        Ok(stage.ask()?.starts_with("Second ").then_some(()))
    })?;
    let counted: u32 = stage.ask()?.trim_start_matches("Second ").parse()?;
    ensure!(counted == stage.sent, "what workers share has gone");
    stage.stop()
}

#[test]
fn a_new_configuration_takes_over_and_shared_values_stay() -> Result<()> {
    takes_over("xdp")
}

#[test]
fn it_does_so_with_kernel_sockets_alone() -> Result<()> {
    takes_over("socket")
}

#[test]
fn a_bad_one_is_refused_with_its_report_and_the_old_one_stays() -> Result<()> {
    let mut stage = Stage::new("xdp")?;
    stage.change("listen=udp:10.0.1.1\nrequest_route { nonsense(); }\n")?;
    stage.logged("there is no function nonsense()", 1)?;
    stage.logged("the configuration stays as it was", 1)?;
    ensure!(stage.ask()?.starts_with("First"));
    stage.change(config("Second", "listen=udp:10.0.1.1:5099"))?;
    stage.logged("the listen lines have changed", 1)?;
    ensure!(stage.ask()?.starts_with("First"));
    // One that isn't there is as bad.
    std::fs::remove_file(stage.work.path().join(Path::new("corex.cfg")))?;
    stage.corex.process.signal(libc::SIGHUP)?;
    stage.logged("the configuration stays as it was", 2)?;
    ensure!(stage.ask()?.starts_with("First"));
    stage.change(config("Third", ""))?;
    stage.logged(DONE, 1)?;
    wait::until("the new one answers", PATIENCE, || {
        Ok(stage.ask()?.starts_with("Third ").then_some(()))
    })?;
    stage.stop()
}

#[test]
fn no_message_is_lost_under_load() -> Result<()> {
    const ROUNDS: usize = 20;
    let mut stage = Stage::new("xdp")?;
    for round in 0..ROUNDS {
        stage.change(config(["Even", "Odd"][round % 2], ""))?;
        for _ in 0..50 {
            stage.ask()?;
        }
        stage.logged(DONE, round + 1)?;
    }
    ensure!(stage.sent == 50 * ROUNDS as u32);
    stage.stop()
}
