//! Calls and registrations by sipp, and `corex client` in front of one of them.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Process, Sipp, SippReport,
    sipp::{SippOptions, scenario},
    topology::Relay,
};

use crate::soak::lab::{Lab, PHONES_SIDE, TCP_PORT};

/// Calls each second by TCP, and by the phone that encodes; registrations.
const TCP_RATE: u64 = 2;
const PHONE_RATE: u64 = 2;
const REGISTER_RATE: u64 = 15;
/// Users that register in turn.
const USERS: usize = 200;
/// Where `corex client` takes what its phone sends, and where that one is.
const CLIENT: &str = "127.0.0.1:5070";
const PHONE: &str = "127.0.0.1:5075";
const PATIENCE: Duration = Duration::from_secs(30);
/// A message that comes once more, when a link is up again and all that waited comes at once, ends no
/// call.
const BEHAVIOUR: &str = "all,-abortunexp";
/// How long calls may take to end once no more begin: as long as a BYE is sent again, or waited for,
/// which is 32 s (RFC 3261 17.1.2.2, 17.2.2), and some.
const ENDS: Duration = Duration::from_secs(75);

/// Everything by sipp. Callers end before answerers.
#[derive(Debug)]
pub struct Peers {
    callers: Vec<(&'static str, Sipp)>,
    answerers: Vec<(&'static str, Sipp)>,
    client: Process,
}

impl Peers {
    /// Starts them, with so many calls each second by UDP, for some `seconds` at most. `name` begins
    /// the names of their files.
    ///
    /// # Errors
    /// One can't start.
    pub fn start(lab: &Lab, name: &str, rate: u64, seconds: u64) -> Result<Peers> {
        let work = lab.work.path();
        let file = |what: &str| format!("{name}-{what}");
        let mut tcp = Relay::UAS.sip();
        tcp.set_port(TCP_PORT);
        let patient = lab.work.write("answerer.xml", patient()?)?;
        let answerers = vec![
            (
                "answerer, UDP",
                SippOptions::uas(Relay::UAS.sip())
                    .scenario(&patient)
                    .resending()
                    .argument("-default_behaviors")
                    .argument(BEHAVIOUR)
                    .start(&lab.relay.uas, work, &file("uas"))?,
            ),
            (
                "answerer, TCP",
                SippOptions::uas(tcp)
                    .scenario(&patient)
                    .tcp()
                    .argument("-default_behaviors")
                    .argument(BEHAVIOUR)
                    .start(&lab.relay.uas, work, &file("uas-tcp"))?,
            ),
        ];
        let client = client(lab, &file("client"))?;
        // More than there is time for: they are ended.
        let all = |rate: u64| rate * (seconds + 600);
        let corex = Relay::USER_SIDE.sip();
        let at = |port: u16| {
            let mut address = Relay::UAC.sip();
            address.set_port(port);
            address
        };
        let users = users(work)?;
        let behind_client = lab.work.write("phone.xml", asks_for_rport()?)?;
        let callers = vec![
            (
                "calls, UDP",
                SippOptions::uac(at(5060), corex, all(rate), rate)
                    .resending()
                    .start(&lab.relay.uac, work, &file("uac"))?,
            ),
            (
                "calls, TCP",
                SippOptions::uac(at(5061), corex, all(TCP_RATE), TCP_RATE)
                    .tcp()
                    .start(&lab.relay.uac, work, &file("uac-tcp"))?,
            ),
            (
                "calls, encoded",
                SippOptions::uac(PHONE.parse()?, CLIENT.parse()?, all(PHONE_RATE), PHONE_RATE)
                    .scenario(&behind_client)
                    .resending()
                    .start(&lab.phone, work, &file("phone"))?,
            ),
            (
                "registrations",
                SippOptions::uac(at(5062), corex, all(REGISTER_RATE), REGISTER_RATE)
                    .scenario(&scenario("register.xml"))
                    .resending()
                    .argument("-inf")
                    .argument(&users)
                    .start(&lab.relay.uac, work, &file("register"))?,
            ),
        ];
        Ok(Peers {
            callers,
            answerers,
            client,
        })
    }

    /// What all callers have done so far.
    pub fn so_far(&self) -> (u64, u64) {
        let reports = self.callers.iter().map(|(_, sipp)| sipp.so_far());
        reports.fold((0, 0), |(done, failed), report| {
            (done + report.successful, failed + report.failed)
        })
    }

    /// Checks that all still run.
    ///
    /// # Errors
    /// One has ended; with what it said.
    pub fn check(&self) -> Result<()> {
        for (name, sipp) in self.callers.iter().chain(&self.answerers) {
            ensure!(!sipp.ended()?, "{name} ended: {}", sipp.diagnosis());
        }
        let status = self.client.status()?;
        ensure!(
            status.is_none(),
            "corex client ended: {}",
            self.client.log()
        );
        Ok(())
    }

    /// Lets no more calls begin, and waits for the end of those that have.
    ///
    /// # Errors
    /// They don't end.
    pub fn stop(self) -> Result<Vec<Played>> {
        let mut played = Vec::new();
        let callers = self.callers.into_iter().map(|one| (one, true));
        let answerers = self.answerers.into_iter().map(|one| (one, false));
        for ((name, sipp), is_caller) in callers.chain(answerers) {
            let diagnosis = sipp.diagnosis();
            let report = sipp.stop_within(ENDS)?;
            played.push(Played {
                name,
                is_caller,
                report,
                diagnosis,
            });
        }
        self.client.terminate(PATIENCE)?;
        Ok(played)
    }
}

/// What came of one sipp's calls.
#[derive(Clone, Debug)]
pub struct Played {
    /// What it did.
    pub name: &'static str,
    /// Whether it began them, and so knows what became of them.
    pub is_caller: bool,
    /// Its counts.
    pub report: SippReport,
    /// What it said last.
    pub diagnosis: String,
}

fn client(lab: &Lab, name: &str) -> Result<Process> {
    let text = fs::read_to_string(lab.work.join("soak.cfg"))?;
    let chain = text
        .split_once("\"edge=")
        .and_then(|(_, rest)| rest.split_once('"'))
        .context("a chain in soak.cfg")?
        .0;
    let mut command = lab.phone.command(&lab.binary);
    command.args(["client", "--server", &format!("{PHONES_SIDE}:5060")]);
    command.args(["--listen", CLIENT, "--chain", chain, "--server-key"]);
    command.arg(format!("1:file:{}", lab.work.join("enrol.pub").display()));
    let client = Process::spawn(
        "corex client",
        command,
        &lab.work.join(format!("{name}.log")),
    )?;
    client.wait_for_output("ready", PATIENCE)?;
    Ok(client)
}

/// The answering side, which answers what is sent again for as long as that may be: timer J of RFC 3261
/// 17.2.2.
fn patient() -> Result<String> {
    const WAITS: &str = "<timewait milliseconds=\"5000\"/>";
    let text = fs::read_to_string(scenario("uas_patient.xml"))?;
    ensure!(text.contains(WAITS), "uas_patient.xml waits otherwise");
    Ok(text.replace(WAITS, "<timewait milliseconds=\"32000\"/>"))
}

/// The calling side for a phone whose address others see another one of.
fn asks_for_rport() -> Result<String> {
    let text = fs::read_to_string(scenario("uac.xml"))?;
    Ok(text.replace(";branch=", ";rport;branch="))
}

/// A file of users, each of whom registers in turn.
fn users(folder: &Path) -> Result<String> {
    let path = folder.join("users.csv");
    let lines = (0..USERS).map(|user| format!("user{user};\n"));
    fs::write(&path, format!("SEQUENTIAL\n{}", lines.collect::<String>()))?;
    Ok(path.to_string_lossy().into_owned())
}
