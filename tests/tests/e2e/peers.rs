//! Messages by peer and by socket: what kamcmd, Prometheus's text and the books say of them.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    config::{self, Family},
    corex::CorexOptions,
    process::output_of,
    sipp,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);
const CALLS: u64 = 50;

struct Stage {
    relay: Relay,
    work: WorkDir,
    corex: Corex,
    ctl: String,
}

impl Stage {
    fn new(engine: &str, more: &str) -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let ctl = format!("unix:{}", work.join("ctl").display());
        let parameters = format!(
            "loadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"{ctl}\")\n\
             modparam(\"corex\", \"metrics\", \"9470\")\n{more}"
        );
        let file = work.write(
            "corex.cfg",
            config::relay(Family::V4, &parameters, config::COPY),
        )?;
        let mut options = CorexOptions::new(&file).engine(engine);
        if engine == "xdp" {
            options = options.interface("user").interface("core");
        }
        let corex = options.start(&relay.corex, work.path(), "corex")?;
        Ok(Stage {
            relay,
            work,
            corex,
            ctl,
        })
    }

    fn call(&self) -> Result<()> {
        sipp::call_through(&self.relay, self.work.path(), CALLS)?;
        wait::until("corex is at rest", LIMIT, || {
            Ok((self.corex.books()?.get("user.sent") == CALLS * 6).then_some(()))
        })
    }

    /// What kamcmd shows of a peer: packets in and out, bytes in and out.
    fn peer(&self, name: &str) -> Result<[u64; 4]> {
        let mut kamcmd = Command::new("kamcmd");
        let text = output_of(kamcmd.args(["-s", &self.ctl, "corex.peers"]))?;
        let (_, rest) = text
            .split_once(&format!("peer: {name}\n"))
            .with_context(|| format!("no {name} in\n{text}"))?;
        let field = |name: &str| -> Result<u64> {
            let mut lines = rest.lines().map(str::trim);
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            Ok(value.context("a field")?.parse()?)
        };
        Ok([
            field("packets_in")?,
            field("packets_out")?,
            field("bytes_in")?,
            field("bytes_out")?,
        ])
    }

    fn metric(&self, series: &str) -> Result<u64> {
        let url = "http://127.0.0.1:9470/metrics";
        let text = self.relay.corex.exec("curl", &["-sS", url])?;
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line
            .with_context(|| format!("no {series} in\n{text}"))?
            .parse()?)
    }
}

/// Of six messages of a call, each side sends and gets so many.
fn both_peers_add_up(engine: &str) -> Result<()> {
    let stage = Stage::new(engine, "")?;
    stage.call()?;
    let [caller, callee] = [stage.peer("10.0.1.2")?, stage.peer("10.0.2.2")?];
    // INVITE, ACK, BYE; 180, 200, 200.
    ensure!(caller[..2] == [CALLS * 3; 2] && callee[..2] == [CALLS * 3; 2]);
    let books = stage.corex.books()?;
    ensure!(caller[2] + callee[2] == books.get("user.bytes_in"));
    ensure!(caller[3] + callee[3] == books.get("user.bytes_out"));
    for (way, packets, bytes) in [("in", 0, 2), ("out", 1, 3)] {
        for (name, at) in [("packets", packets), ("bytes", bytes)] {
            let series =
                format!("corex_peer_{name}_total{{peer=\"10.0.1.2\",direction=\"{way}\"}}");
            ensure!(stage.metric(&series)? == caller[at], "{series}");
        }
    }
    // The same messages by socket.
    for socket in ["udp:10.0.1.1:5060", "udp:10.0.2.1:5060"] {
        let by_kernel = stage.metric(&format!(
            "corex_socket_socket_in_total{{socket=\"{socket}\"}}"
        ))?;
        let by_xdp = match engine {
            "xdp" => stage.metric(&format!(
                "corex_socket_packets_total{{socket=\"{socket}\",verdict=\"steered\",reason=\"\"}}"
            ))?,
            _ => 0,
        };
        ensure!(by_kernel + by_xdp == CALLS * 3, "{by_kernel} + {by_xdp}");
        ensure!((by_kernel > 0) == (engine == "socket"));
    }
    stage.corex.stop()?.check_balance()
}

#[test]
fn both_peers_add_up_by_af_xdp() -> Result<()> {
    both_peers_add_up("xdp")
}

#[test]
fn both_peers_add_up_by_kernel_sockets() -> Result<()> {
    both_peers_add_up("socket")
}

#[test]
fn more_peers_than_allowed_count_as_others() -> Result<()> {
    let stage = Stage::new("xdp", "modparam(\"corex\", \"max_peers\", 1)\n")?;
    stage.call()?;
    let [first, other] = [stage.peer("10.0.1.2")?, stage.peer("other")?];
    ensure!(first[..2] == [CALLS * 3; 2] && other[..2] == [CALLS * 3; 2]);
    ensure!(stage.peer("10.0.2.2").is_err());
    stage.corex.stop()?.check_balance()
}

#[test]
fn without_places_for_peers_there_are_none() -> Result<()> {
    let stage = Stage::new("socket", "modparam(\"corex\", \"max_peers\", 0)\n")?;
    stage.call()?;
    ensure!(stage.peer("10.0.1.2").is_err() && stage.peer("other").is_err());
    stage.corex.stop()?.check_balance()
}
