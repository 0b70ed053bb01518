//! `corex client`: the phone's side of a chain, in front of a plain SIP client.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use corex_client::{Bridge, BridgeOptions, Options};
use corex_codec::DeviceId;
use signal_hook::consts::{SIGINT, SIGTERM};

/// The client's exit status when it can't begin, or go on.
const CANNOT_RUN: u8 = 3;
/// So often it looks whether it was told to end.
const GLANCE: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  corex client --server edge.example.org:5060 --server-key 1:file:/etc/corex/enrol.pub \\
      --chain 'zstd(sip) | aead(chacha20-poly1305, key=device) | http(post, host=cdn.example.org)'
      each app has a key of its own, and brings it with its first message
  corex client --server 192.0.2.1:5060 --key edge=7:file:/etc/corex/edge-7.key \\
      --chain 'zstd(sip) | aead(chacha20-poly1305, key=edge)'
      one key, the same at both sides

Then tell the SIP client to use 127.0.0.1:5070 as its outbound proxy. What it writes into Via and
Contact stays as it is: let it ask for rport, or register with the address that the server sees.

Exit status:
  0  stopped by SIGTERM or SIGINT; the last line says what was sent and received
  2  the command line is wrong
  3  could not start, or died: the message says why";

/// `corex client`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ClientArgs {
    /// The server that speaks the chain, by UDP: HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    server: String,
    /// The chain: what the server's line has behind `NAME=`
    #[arg(long, value_name = "CODECS")]
    chain: String,
    /// Where apps send plain SIP, by UDP. Whoever reaches that address uses this server
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5070")]
    listen: SocketAddr,
    /// For key=device: what to enrol with, the server's public key in PEM or the secret that it
    /// shares with its devices; ID is the key's at the server, 1 if it is left out. SOURCE is
    /// file:/PATH, env:VARIABLE or credential:NAME
    #[arg(long, value_name = "[ID:]SOURCE")]
    server_key: Option<String>,
    /// A key that the chain names; may come many times
    #[arg(long, value_name = "NAME=[ID:]SOURCE")]
    key: Vec<String>,
    /// A dictionary that the chain names; may come many times
    #[arg(long, value_name = "NAME=/PATH")]
    dictionary: Vec<String>,
    /// What the device is called. Default: a new UUID, which makes it hard to follow
    #[arg(long, value_name = "UUID")]
    device: Option<DeviceId>,
    /// The most devices: each address that an app sends from is one, with a key and a UDP port of
    /// its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    devices: u32,
    /// With a server's key of X25519, enrol by AES-256-GCM instead of ChaCha20-Poly1305
    #[arg(long)]
    aes: bool,
}

/// Runs until a signal.
pub fn run(args: &ClientArgs) -> ExitCode {
    match serve(args) {
        Ok(done) => {
            // A closed pipe is the reader's choice.
            let _ = writeln!(std::io::stderr(), "corex client: {done}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "corex: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

fn serve(args: &ClientArgs) -> anyhow::Result<String> {
    let server = resolve(&args.server)?;
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_over))?;
    }
    let mut bridge = Bridge::new(&BridgeOptions {
        listen: args.listen,
        devices: args.devices as usize,
        client: Options {
            keys: args.key.clone(),
            dictionaries: args.dictionary.clone(),
            server_key: args.server_key.clone(),
            device: args.device,
            prefers_aes: args.aes,
            ..Options::new(args.chain.as_str(), server)
        },
    })?;
    let own = bridge.address()?;
    let mut out = std::io::stderr();
    if !own.ip().is_loopback() {
        let _ = writeln!(
            out,
            "corex client: {own} isn't this host's alone: whoever reaches it uses this server, and \
             what apps send there can be read on the way"
        );
    }
    let _ = writeln!(out, "corex client: ready; plain SIP at {own}, to {server}");
    while !is_over.load(Ordering::Relaxed) {
        bridge.run_once(GLANCE)?;
    }
    Ok(summary(&bridge))
}

fn resolve(server: &str) -> anyhow::Result<SocketAddr> {
    let help = "write HOST:PORT, as in edge.example.org:5060";
    let found = server
        .to_socket_addrs()
        .map_err(|error| anyhow::anyhow!("the server {server}: {error}; {help}"))?
        .next();
    found.ok_or_else(|| anyhow::anyhow!("the server {server} has no address; {help}"))
}

fn summary(bridge: &Bridge) -> String {
    let counted = bridge.counters();
    let mut text = format!(
        "{} devices, {} messages sent, {} received",
        bridge.devices(),
        counted.sent,
        counted.received
    );
    for (count, what) in [
        (counted.enrolments, "enrolments"),
        (counted.accepted, "of them accepted"),
        (counted.taken, "refused: the UUID is taken"),
        (counted.unknown, "notices that the server knows no key"),
        (counted.refused, "packets that couldn't be decoded"),
        (counted.dropped, "messages dropped"),
        (bridge.turned_away(), "messages of apps beyond --devices"),
    ] {
        if count > 0 {
            // To a string: can't fail.
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}
