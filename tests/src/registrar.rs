//! A phone, a registrar, and a corex inline on both their hosts: the scene of
//! `cargo xtask demo --inline`, and of its test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    baresip::{self, PhoneReport},
    books::ObservedBooks,
    capture::{Capture, Captured, Tshark, write_pcap},
    corex::{Corex, CorexOptions},
    kamailio::Kamailio,
    sipp::{Sipp, SippOptions, scenario},
    topology::{Inline, PORT},
    workdir::WorkDir,
};

/// Where `service` answers, beside the registrar.
pub(crate) const SERVICE_PORT: u16 = 5080;

/// The files that the scene is made of.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("demo")
        .join(name)
}

/// Everything set up.
#[derive(Debug)]
pub struct Registrar {
    device: Corex,
    server: Corex,
    kamailio: Kamailio,
    service: Sipp,
    wire: Capture,
    stack: Capture,
    net: Inline,
    work: WorkDir,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// On the wire between the two hosts.
    pub wire: Side,
    /// Between corex and the server's socket.
    pub stack: Side,
    /// The books on the device's side and on the server's.
    pub books: [ObservedBooks; 2],
}

/// Packets of the SIP ports at one place.
#[derive(Debug)]
pub struct Side {
    /// UDP datagrams.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Of these, what tshark reads as SIP.
    pub sip: u64,
}

impl Registrar {
    /// Sets everything up, with that corex or the one of [`crate::corex::binary`].
    ///
    /// # Errors
    /// Something can't start; with its log.
    pub fn start(binary: Option<&Path>) -> Result<Self> {
        let (net, work) = (Inline::new()?, WorkDir::new()?);
        let config = std::fs::read_to_string(file("kamailio/registrar.cfg"))?;
        let kamailio = Kamailio::start(&net.server, work.path(), "kamailio", &config, PORT)?;
        let start = |name: &str, host| {
            let options = CorexOptions::new(&file(&format!("inline-{name}.cfg")));
            let options = match binary {
                Some(binary) => options.binary(binary),
                None => options,
            };
            options.start(host, work.path(), name)
        };
        let (device, server) = (start("device", &net.device)?, start("server", &net.server)?);
        let mut address = Inline::SERVER.sip();
        address.set_port(SERVICE_PORT);
        let service = SippOptions::uas(address)
            .resending()
            .argument("-rtp_echo")
            .start(&net.server, work.path(), "service")?;
        Ok(Self {
            device,
            server,
            kamailio,
            service,
            wire: Capture::start(&net.internet, "d")?,
            stack: Capture::start(&net.server, "eth0")?,
            net,
            work,
        })
    }

    /// The phone registers and calls.
    ///
    /// # Errors
    /// It isn't installed, or doesn't end.
    pub fn phone(&self) -> Result<PhoneReport> {
        baresip::call(
            &self.net.device,
            self.work.path(),
            ("alice", Inline::DEVICE.sip()),
            ("service", Inline::SERVER.sip()),
            Duration::from_secs(3),
        )
    }

    /// Begins so many registrations and calls of another phone at the same place.
    ///
    /// # Errors
    /// sipp can't start.
    pub fn calls(&self, calls: u64, rate: u64) -> Result<Sipp> {
        SippOptions::uac(Inline::DEVICE.sip(), Inline::SERVER.sip(), calls, rate)
            .scenario(&scenario("register_call.xml"))
            .resending()
            .start(&self.net.device, self.work.path(), "phones")
    }

    /// Ends everything, and tells what was seen.
    ///
    /// # Errors
    /// A corex doesn't end well, or tshark isn't there.
    pub fn finish(self) -> Result<Seen> {
        self.service.stop()?;
        let (wire, stack) = (self.wire.stop()?, self.stack.stop()?);
        let books = [self.device.stop()?, self.server.stop()?];
        self.kamailio.stop();
        let by_port = |from: SocketAddr, to: SocketAddr| from.port() == PORT && to.port() == PORT;
        Ok(Seen {
            wire: look(&wire, &self.work.join("wire.pcap"), by_port)?,
            stack: look(&stack, &self.work.join("stack.pcap"), by_port)?,
            books,
        })
    }

    /// The logs of both corexes and of Kamailio.
    pub fn logs(&self) -> String {
        format!(
            "corex, device:\n{}\ncorex, server:\n{}\nKamailio:\n{}",
            self.device.log(),
            self.server.log(),
            self.kamailio.process.log()
        )
    }
}

/// Counts the datagrams that are meant, by where they are from and go to.
pub(crate) fn look(
    frames: &[Captured],
    file: &Path,
    is_meant: impl Fn(SocketAddr, SocketAddr) -> bool,
) -> Result<Side> {
    let ours: Vec<Captured> = frames
        .iter()
        .filter(|captured| {
            let udp = captured.frame.udp();
            udp.is_some_and(|udp| is_meant(udp.source, udp.destination))
        })
        .cloned()
        .collect();
    write_pcap(&ours, file)?;
    let bytes = ours
        .iter()
        .filter_map(|captured| captured.frame.udp())
        .map(|udp| udp.payload.len() as u64)
        .sum();
    Ok(Side {
        messages: ours.len() as u64,
        bytes,
        sip: Tshark::open(file)
            .and_then(|tshark| tshark.count("sip"))
            .context("let tshark look for SIP")? as u64,
    })
}
