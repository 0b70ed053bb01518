//! Remote control by all its ways, and the guard's lists.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use corex_lab::process::output_of;

use super::Disturber;
use crate::{random::Random, soak::lab::JUNK};

/// Milliseconds between two commands.
const BETWEEN: (u64, u64) = (200, 1000);

/// What `corex rpc` and kamcmd ask.
const COMMANDS: &[&[&str]] = &[
    &["corex.books"],
    &["corex.workers"],
    &["corex.peers"],
    &["corex.counters"],
    &["corex.host"],
    &["corex.list_sockets"],
    &["corex.list_aliases"],
    &["corex.roads"],
    &["corex.sessions"],
    &["corex.quarantine"],
    &["corex.shm_status"],
    &["corex.shm_summary"],
    &["corex.pkg_summary", "idx", "0"],
    &["core.psx"],
    &["core.uptime"],
    &["core.runinfo"],
    &["htable.dump", "users"],
    &["htable.dump", "calls"],
    &["htable.stats"],
    &["htable.sets", "users", "rpc", "s:value"],
    &["htable.delete", "users", "rpc"],
    &["guard.list"],
    &["guard.rates"],
    &["guard.explain", "10.0.1.66"],
    &["shm.stats"],
    &["stats.fetch", "all"],
    &["system.listMethods"],
    &["ctl.who"],
    &["cfg.get", "corex"],
];
/// What Kamailio's program can't write as corex's own does, or needs not ask.
const OWN: &[&[&str]] = &[
    &["corex.trace", "^OPTIONS", "3", "1"],
    &["app_lua.reload"],
    &["app_perl.reload"],
];

/// Asks one thing after the other, until it is over.
///
/// # Errors
/// None: what goes wrong is noted.
pub fn run(disturber: &Disturber, mut random: Random) -> Result<()> {
    while !disturber.context.is_over() {
        once(disturber, &mut random);
        let pause = random.between(BETWEEN.0, BETWEEN.1);
        disturber.context.pause(Duration::from_millis(pause));
    }
    Ok(())
}

/// Asks one thing.
pub fn once(disturber: &Disturber, random: &mut Random) {
    let lab = &disturber.context.lab;
    let asked = Instant::now();
    let (way, outcome) = match random.below(12) {
        0 => (
            "HTTP",
            lab.http("GET", random.pick(&["/metrics", "/health", "/ready"]), ""),
        ),
        1 => {
            let method = random.pick(&["corex.workers", "core.uptime", "htable.stats"]);
            let body = format!("{{\"jsonrpc\": \"2.0\", \"method\": \"{method}\", \"id\": 1}}");
            ("JSON-RPC", lab.http("POST", "/RPC", &body))
        }
        2 | 3 => ("kamcmd", lab.kamcmd(random.pick(COMMANDS))),
        4 => ("corex top --once", top(disturber)),
        5 => ("corex rpc", lab.rpc(random.pick(OWN))),
        6 | 7 => ("guard", guard(disturber, random)),
        _ => ("corex rpc", lab.rpc(random.pick(COMMANDS))),
    };
    // What is to be deleted may be deleted already; that is an answer, too.
    let outcome = match outcome.map_err(|error| format!("{way}: {error:#}")) {
        Err(error) if !error.contains("404 - Key not found") => Err(error),
        _ => Ok(()),
    };
    disturber.did(way);
    let tally = disturber.context.tally("remote control");
    tally.note(&disturber.take_overs, asked, outcome);
}

fn top(disturber: &Disturber) -> Result<String> {
    let lab = &disturber.context.lab;
    let socket = format!("unix:{}", lab.work.join("ctl").display());
    let mut command = Command::new(&lab.binary);
    output_of(command.args(["top", "--once", "--interval", "0.5", "--socket", &socket]))
}

/// Blocks who sends junk, or strangers, for some seconds; the end comes by itself.
fn guard(disturber: &Disturber, random: &mut Random) -> Result<String> {
    let lab = &disturber.context.lab;
    let seconds = random.between(1, 6).to_string();
    let stranger = format!("192.0.2.{}", random.below(256));
    match random.below(4) {
        0 => lab.rpc(&["guard.block", &JUNK.to_string(), &seconds]),
        1 => lab.rpc(&["guard.allow", &stranger, &seconds]),
        _ => lab.rpc(&["guard.block", &format!("{stranger}/32"), &seconds]),
    }
}
