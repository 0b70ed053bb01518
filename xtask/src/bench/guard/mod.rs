//! `cargo xtask bench guard`: calls through attacks, with and without what protects a listener.

mod attack;
mod device;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use corex_lab::{
    WorkDir,
    sipp::{SippOptions, scenario},
    topology::Relay,
};

use self::{
    attack::{Attack, STRANGER},
    device::Device,
};
use super::{
    report::figures,
    results::{Attacked, Attacks, Kept as _, SCHEMA},
    suite::machine,
};
use crate::{
    compile::{self, Profile},
    privilege, setup, ui,
};

/// Attack a listener that carries calls.
///
/// A caller and an answering side have calls through the device, which has one worker. One call before
/// makes them known. Then scanners and floods come from elsewhere, as long as the calls take: sipvicious,
/// sipp, and INVITEs with forged sources. Each device and each attack has a network of its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Offered: datagrams that the attacker sent. Dropped in XDP and reached user space: those of calls
among them. CPU: time of the device's processes, in percent of the time that the calls took; what
XDP costs on a veth is the sender's. Completed: calls, of 100.

Example:
  cargo xtask bench guard --json docs/performance/guard.json; cargo xtask bench report

Needs root, two CPUs, sipp, svwar, nft and kamailio.")]
pub struct GuardArgs {
    /// Write the results to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const CALLS: u64 = 100;
/// Calls that are begun in a second.
const RATE: u64 = 20;
/// How long each takes: all are there at once in the last second of it.
const CALL: Duration = Duration::from_secs(6);
/// The calls' own time, retransmissions of all messages, and what a busy machine makes of it.
const LIMIT: Duration = Duration::from_secs(120);

/// `cargo xtask bench guard`
pub fn run(args: &GuardArgs) -> Result<ExitCode> {
    setup::ensure_tools(&setup::FOR_GUARD_BENCH)?;
    privilege::require_root("the benchmark, which makes network namespaces,")?;
    let corex = compile::corex_to_run(Profile::Release)?;
    let machine = machine::describe();
    let mut rows = Vec::new();
    for attack in attack::ALL {
        for device in device::ALL {
            let row = measure(device, attack, &corex)
                .with_context(|| format!("{}, {}", device.name(), attack.name()))?;
            ui::say(&format!(
                "{}, {}: {} of {} calls",
                row.attack, row.device, row.completed, row.calls
            ));
            rows.push(row);
        }
    }
    let path = args.json.as_deref();
    let found = Attacks {
        schema: SCHEMA,
        command: path.map_or_else(
            || "cargo xtask bench guard".to_owned(),
            |path| format!("{} {}", Attacks::COMMAND, path.display()),
        ),
        machine,
        rows,
    };
    ui::say(&format!("\n{}", figures::attacks(&found).text()));
    if let Some(path) = path {
        found.write(path)?;
        ui::say(&format!("written to {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// sipp's scenario of a caller, whose calls take [`CALL`].
fn long_calls(work: &WorkDir) -> Result<PathBuf> {
    const PAUSE: &str = "<pause milliseconds=\"500\"/>";
    let path = scenario("uac.xml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    ensure!(text.contains(PAUSE), "no {PAUSE} in {}", path.display());
    let pause = format!("<pause milliseconds=\"{}\"/>", CALL.as_millis());
    work.write("uac.xml", text.replace(PAUSE, &pause))
}

fn measure(device: Device, attack: Attack, corex: &Path) -> Result<Attacked> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    relay.uac.address("eth0", &format!("{STRANGER}/24"))?;
    // The way back to forged sources.
    let back = format!("route add 172.16.0.0/12 via {} dev user", Relay::UAC.v4);
    relay.corex.ip(&back)?;
    let running = device.start(&relay, &work, corex)?;
    let answering =
        SippOptions::uas(Relay::UAS.sip())
            .resending()
            .start(&relay.uas, work.path(), "uas")?;
    let long = long_calls(&work)?;
    let call = |calls, name| {
        SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), calls, RATE)
            .scenario(&long)
            .resending()
            .argument("-recv_timeout")
            .argument("20000")
            .start(&relay.uac, work.path(), name)?
            .finish(LIMIT)
    };
    call(1, "introduction")?;
    let before = running.spent(&relay)?;
    let begun = Instant::now();
    let is_over = AtomicBool::new(false);
    let (report, offered) = thread::scope(|scope| {
        let attacker = scope.spawn(|| attack.run(&relay, &work, &is_over));
        let report = call(CALLS, "calls");
        is_over.store(true, Relaxed);
        let offered = attacker.join();
        let offered = offered.map_err(|_| anyhow::anyhow!("the attacker panicked"))?;
        anyhow::Ok((report?, offered?))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let after = running.spent(&relay)?;
    drop(answering);
    running.stop()?;
    Ok(Attacked {
        device: device.name().to_owned(),
        attack: attack.name().to_owned(),
        seconds,
        offered,
        dropped_in_xdp: after.dropped_in_kernel - before.dropped_in_kernel,
        reached_user_space: after.reached_user_space - before.reached_user_space,
        cpu_percent: 100.0 * (after.cpu - before.cpu) / seconds,
        calls: CALLS,
        completed: report.successful,
        retransmissions: report.retransmissions,
    })
}
