//! Settings that change while corex runs: by kamcmd, in the map, and for the next packet.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    config::{self, Family},
    corex::CorexOptions,
    process::output_of,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);
/// A keep-alive of 40 bytes, longer than a probe is by default; no SIP.
const LONG: [u8; 40] = [b'k'; 40];
/// The usual one (RFC 5626, section 3.5.1).
const SHORT: [u8; 4] = *b"\r\n\r\n";

struct Stage {
    relay: Relay,
    _work: WorkDir,
    corex: Corex,
    ctl: String,
}

impl Stage {
    fn new(engine: &str) -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let ctl = format!("unix:{}", work.join("ctl").display());
        let parameters =
            format!("debug=2\nloadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"{ctl}\")");
        let text = config::relay(Family::V4, &parameters, config::COPY);
        let mut options = CorexOptions::new(&work.write("edge.cfg", text)?).engine(engine);
        if engine == "xdp" {
            options = options.interface("user").interface("core");
        }
        let corex = options.start(&relay.corex, work.path(), "edge")?;
        Ok(Stage {
            relay,
            _work: work,
            corex,
            ctl,
        })
    }

    fn kamcmd(&self, words: &[&str]) -> Result<String> {
        output_of(Command::new("kamcmd").args(["-s", &self.ctl]).args(words))
    }

    /// Sends a datagram and says which counter it went to: `probe` or `not_sip`.
    fn fate(&self, datagram: &[u8], road: &str) -> Result<&'static str> {
        let probes = format!("{road}.dropped.probe");
        let counted = |corex: &Corex| -> Result<[u64; 2]> {
            let books = corex.books()?;
            Ok([books.get(&probes), books.get("user.dropped.not_sip")])
        };
        let before = counted(&self.corex)?;
        let device = self.relay.uac.udp(Relay::UAC.sip())?;
        device.send_to(datagram, Relay::USER_SIDE.sip())?;
        wait::until("the datagram is counted", LIMIT, || {
            let now = counted(&self.corex)?;
            Ok(match [now[0] - before[0], now[1] - before[1]] {
                [1, 0] => Some("probe"),
                [0, 1] => Some("not_sip"),
                _ => None,
            })
        })
    }

    /// A field of the map CONFIG.
    fn in_map(&self, field: &str) -> Result<u64> {
        let path = "/sys/fs/bpf/corex/edge/CONFIG";
        let words = ["bpftool", "-j", "map", "dump", "pinned", path];
        let dump: serde_json::Value = serde_json::from_str(&self.corex.beside(&words)?)?;
        let value = &dump[0]["formatted"]["value"][field];
        value.as_u64().with_context(|| format!("{dump:#}"))
    }
}

/// `road`: which of the books counts probes.
fn the_keep_alive_policy_changes_at_once(engine: &str, road: &str) -> Result<()> {
    let stage = Stage::new(engine)?;
    let set = |len: &str| stage.kamcmd(&["cfg.set_now_int", "corex", "probe_len", len]);
    ensure!(stage.fate(&SHORT, road)? == "probe");
    ensure!(stage.fate(&LONG, road)? == "not_sip");
    set("41")?;
    ensure!(stage.fate(&LONG, road)? == "probe");
    set("40")?;
    ensure!(stage.fate(&LONG, road)? == "not_sip");
    set("0")?;
    ensure!(stage.fate(&SHORT, road)? == "not_sip");
    if engine == "xdp" {
        set("77")?;
        ensure!(stage.in_map("probe_len")? == 77);
        stage.kamcmd(&["cfg.set_now_int", "corex", "min_msg_len", "88"])?;
        ensure!(stage.in_map("min_msg_len")? == 88 && stage.in_map("probe_len")? == 77);
    }
    // The configuration's values hold again once it is read again.
    stage.kamcmd(&["corex.reload"])?;
    let get = || stage.kamcmd(&["cfg.get", "corex", "probe_len"]);
    ensure!(get()?.trim() == "32");
    for bad in ["65536", "s:many"] {
        // kamcmd's exit status says nothing.
        let _ = set(bad);
        ensure!(get()?.trim() == "32", "{bad}");
    }
    stage.corex.stop()?.check_balance()
}

#[test]
fn the_keep_alive_policy_changes_at_once_in_the_xdp_program() -> Result<()> {
    the_keep_alive_policy_changes_at_once("xdp", "kernel")
}

#[test]
fn the_keep_alive_policy_changes_at_once_by_kernel_sockets() -> Result<()> {
    the_keep_alive_policy_changes_at_once("socket", "user")
}

#[test]
fn help_says_which_setting_is_the_keep_alive_policy() -> Result<()> {
    let stage = Stage::new("socket")?;
    let list = stage.kamcmd(&["cfg.list"])?;
    for variable in ["core: debug", "corex: min_msg_len", "corex: probe_len"] {
        ensure!(list.contains(variable), "{list}");
    }
    let help = stage.kamcmd(&["cfg.help", "corex", "probe_len"])?;
    ensure!(help.contains("Keep-alive policy"), "{help}");
    stage.corex.stop().map(drop)
}

#[test]
fn the_log_level_changes_at_once() -> Result<()> {
    let stage = Stage::new("socket")?;
    let says = |text: &str| stage.corex.log().matches(text).count();
    ensure!(stage.kamcmd(&["corex.debug"])?.contains("debug: 2"));
    let summary = "shm: all, in bytes";
    stage.kamcmd(&["corex.shm_summary"])?;
    stage.corex.process.wait_for_output(summary, LIMIT)?;
    let changed = stage.kamcmd(&["corex.debug", "0"])?;
    ensure!(
        changed.contains("old: 2") && changed.contains("new: 0"),
        "{changed}"
    );
    stage.kamcmd(&["corex.shm_summary"])?;
    stage.kamcmd(&["cfg.set_now_int", "core", "debug", "2"])?;
    stage.kamcmd(&["corex.debug", "2"])?;
    // Behind what would have been logged.
    stage
        .corex
        .process
        .wait_for_output("core.debug is 2", LIMIT)?;
    ensure!(says(summary) == 1, "{}", stage.corex.log());
    stage.corex.stop().map(drop)
}
