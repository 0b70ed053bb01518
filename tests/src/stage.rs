//! What the scenes with an unmodified phone and an unmodified server share: the network, Kamailio with
//! what answers beside it, phones, captures, and how these are read.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    baresip::{self, PhoneReport},
    capture::{Capture, Captured, Tshark, write_pcap},
    kamailio::Kamailio,
    sipp::{Sipp, SippOptions},
    topology::{Inline, PORT},
    workdir::WorkDir,
};

/// Where `service` answers, beside the registrar.
const SERVICE_PORT: u16 = 5080;

/// The files that the scene is made of.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("demo")
        .join(name)
}

/// What both scenes have: Kamailio, what answers beside it, and captures; a phone is let in from the
/// device's host.
#[derive(Debug)]
pub struct Stage {
    kamailio: Kamailio,
    service: Sipp,
    wire: Capture,
    stack: Capture,
    /// What phones of sipp's play.
    scenario: PathBuf,
    /// The network.
    pub net: Inline,
    /// Its files.
    pub work: WorkDir,
}

/// A stage after everybody has left; its network is there still.
pub(crate) struct Ended {
    /// What was on the wire between the hosts.
    pub wire: Vec<Captured>,
    /// What was seen at the server's interface.
    pub stack: Vec<Captured>,
    /// It goes last.
    pub kamailio: Kamailio,
    _net: Inline,
    /// Its files.
    pub work: WorkDir,
}

impl Stage {
    /// Makes the network, and starts Kamailio.
    pub(crate) fn prepare() -> Result<(Inline, WorkDir, Kamailio)> {
        let (net, work) = (Inline::new()?, WorkDir::new()?);
        let config = fs::read_to_string(file("kamailio/registrar.cfg"))?;
        let kamailio = Kamailio::start(&net.server, work.path(), "kamailio", &config, PORT)?;
        Ok((net, work, kamailio))
    }

    /// Starts the rest, once what is between phone and server runs.
    pub(crate) fn open(
        (net, work, kamailio): (Inline, WorkDir, Kamailio),
        scenario: PathBuf,
    ) -> Result<Self> {
        let mut address = Inline::SERVER.sip();
        address.set_port(SERVICE_PORT);
        let service = SippOptions::uas(address)
            .resending()
            .argument("-rtp_echo")
            .start(&net.server, work.path(), "service")?;
        Ok(Self {
            kamailio,
            service,
            wire: Capture::start(&net.internet, "d")?,
            stack: Capture::start(&net.server, "eth0")?,
            scenario,
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
            .scenario(&self.scenario)
            .resending()
            .start(&self.net.device, self.work.path(), "phones")
    }

    /// Kamailio's log.
    pub fn log(&self) -> String {
        self.kamailio.process.log()
    }

    /// Ends what answers, and the captures.
    pub(crate) fn end(self) -> Result<Ended> {
        self.service.stop()?;
        Ok(Ended {
            wire: self.wire.stop()?,
            stack: self.stack.stop()?,
            kamailio: self.kamailio,
            _net: self.net,
            work: self.work,
        })
    }
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
