//! Every file of `examples/`: it is checked, run, and sent real traffic, and what comes out is
//! what the file says.

mod access;
mod documented;
mod encoded;
mod guarded;

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{ObservedBooks, WorkDir, corex, corex::CorexOptions, topology::Relay, wait};

/// What arrives at all arrives in this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the examples are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn example(name: &str) -> PathBuf {
    folder().join(name)
}

/// The example with a key where it wants one.
fn with_key(name: &str, work: &WorkDir) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let key = work.write("edge.key", [7; 32])?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let text = fs::read_to_string(example(name))?
        .replace("/etc/corex/edge.key", &key.to_string_lossy())
        // To enrol with, the same is a secret that devices share with the edge.
        .replace("/etc/corex/enrol.pem", &key.to_string_lossy());
    work.write(name, text)
}

/// A request to `uri` that corex answers itself.
fn request(method: &str, uri: &str, from: SocketAddr, number: u32) -> Vec<u8> {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{number}\r\n\
         From: <sip:a@old.example>;tag=1\r\nTo: <{uri}>\r\nCall-ID: c{number}@{from}\r\n\
         CSeq: {number} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// One corex that runs an example, and a caller.
struct Stage {
    relay: Relay,
    work: WorkDir,
    corex: corex::Corex,
    caller: UdpSocket,
    count: u32,
}

impl Stage {
    fn new(name: &str) -> Result<Stage> {
        Self::of(&example(name), |_| Ok(()))
    }

    fn of(file: &Path, prepare: impl FnOnce(&Relay) -> Result<()>) -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        prepare(&relay)?;
        let corex = CorexOptions::new(file)
            .interface("user")
            .interface("core")
            .start(&relay.corex, work.path(), "example")?;
        let caller = relay.uac.udp(Relay::UAC.sip())?;
        caller.set_read_timeout(Some(PATIENCE))?;
        Ok(Stage {
            relay,
            work,
            corex,
            caller,
            count: 0,
        })
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        self.caller.send_to(bytes, Relay::USER_SIDE.sip())?;
        Ok(())
    }

    fn receive(&self) -> Result<Vec<u8>> {
        receive(&self.caller).with_context(|| self.corex.log())
    }

    /// Sends a request; the reply.
    fn ask(&mut self, method: &str, uri: &str) -> Result<String> {
        self.count += 1;
        self.send(&request(method, uri, Relay::UAC.sip(), self.count))?;
        Ok(String::from_utf8_lossy(&self.receive()?).into_owned())
    }

    /// The status line's code and reason.
    fn status(&mut self, method: &str, uri: &str) -> Result<String> {
        let reply = self.ask(method, uri)?;
        let line = reply.lines().next().unwrap_or_default();
        Ok(line.trim_start_matches("SIP/2.0 ").to_owned())
    }

    fn logged(&self, text: &str) -> Result<()> {
        wait::until("corex logs it", PATIENCE, || {
            Ok(self.corex.log().contains(text).then_some(()))
        })
        .with_context(|| format!("{text:?} isn't in\n{}", self.corex.log()))
    }

    fn stop(self) -> Result<ObservedBooks> {
        let books = self.corex.stop()?;
        books.check_balance()?;
        drop((self.relay, self.work));
        Ok(books)
    }
}

fn receive(socket: &UdpSocket) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    socket.set_read_timeout(Some(PATIENCE))?;
    let len = socket.recv(&mut buffer).context("nothing arrived")?;
    buffer.truncate(len);
    Ok(buffer)
}

/// The files that the tests here run.
const RUN: &[&str] = &[
    "01-alias-subdomains.cfg",
    "02-network-io-intercept.cfg",
    "03-min-msg-len.cfg",
    "04-msg-avp.cfg",
    "05-append-branch.cfg",
    "06-send.cfg",
    "07-send-data.cfg",
    "08-is-incoming.cfg",
    "09-msg-iflag-set.cfg",
    "10-msg-iflag-reset.cfg",
    "11-msg-iflag-is-set.cfg",
    "12-file-read.cfg",
    "13-file-write.cfg",
    "14-network-msg-perl.cfg",
    "edge-access.addresses",
    "edge-access.cfg",
    "edge-aead.cfg",
    "edge-devices.cfg",
    "edge-encrypt.cfg",
    "edge-guard.cfg",
    "edge-gzip.cfg",
    "edge-zstd.cfg",
    "homer.cfg",
    "http-chain.cfg",
    "http-tunnel.cfg",
    "xor-base64.cfg",
    // Kept in order of the directory; the last one is the table of all.
    "README.md",
];

#[test]
fn every_example_is_checked_explained_and_run_here() -> Result<()> {
    let work = WorkDir::new()?;
    let mut found = BTreeSet::new();
    let table = fs::read_to_string(example("README.md"))?;
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .context("a name")?
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path)?;
        if name != "README.md" {
            ensure!(text.contains("When to use it:"), "{name}");
            ensure!(table.contains(&name), "{name} isn't in README.md");
        }
        if name.ends_with(".cfg") {
            let file = if text.contains("file:/etc/corex/") {
                with_key(&name, &work)?
            } else {
                path
            };
            let check = Command::new(corex::binary()?)
                .args(["check", "-f"])
                .arg(&file)
                .output()?;
            let report = String::from_utf8_lossy(&check.stderr).into_owned();
            ensure!(check.status.success(), "{name}\n{report}");
        }
        // Scripts are run by the configurations that name them.
        if !name.ends_with(".pl") && !name.ends_with(".lua") {
            found.insert(name);
        }
    }
    ensure!(
        found == RUN.iter().map(|name| (*name).to_owned()).collect(),
        "{found:?}"
    );
    Ok(())
}
