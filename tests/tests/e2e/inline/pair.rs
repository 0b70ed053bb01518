//! A corex inline on both hosts of [`Inline`].

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Corex, ObservedBooks, WorkDir, config, corex::CorexOptions, topology::Inline};

pub const LIMIT: Duration = Duration::from_secs(60);

/// The network, and a corex on each of its hosts.
pub struct Pair {
    pub device: Corex,
    pub server: Corex,
    pub net: Inline,
    pub work: WorkDir,
}

/// The books of both.
pub struct PairBooks {
    pub device: ObservedBooks,
    pub server: ObservedBooks,
}

/// All that a host says with SIP's port.
pub fn protected(host: corex_lab::topology::LabHost) -> [SocketAddr; 2] {
    [host.sip(), host.sip6()]
}

impl Pair {
    /// With that hook and these parameters at both.
    pub fn new(parameters: &str, hook: &str) -> Result<Self> {
        Self::in_network(Inline::new()?, parameters, hook, |options| options)
    }

    pub fn in_network(
        net: Inline,
        parameters: &str,
        hook: &str,
        adapt: impl Fn(CorexOptions) -> CorexOptions,
    ) -> Result<Self> {
        let work = WorkDir::new()?;
        let mut corexes = Vec::new();
        for (name, namespace, host) in [
            ("device", &net.device, Inline::DEVICE),
            ("server", &net.server, Inline::SERVER),
        ] {
            let text = config::inline(&protected(host), parameters, hook);
            let path = work.write(&format!("{name}.cfg"), text)?;
            let options = CorexOptions::new(&path).interface("eth0");
            corexes.push(adapt(options).start(namespace, work.path(), name)?);
        }
        let server = corexes.pop().context("two")?;
        let device = corexes.pop().context("two")?;
        Ok(Self {
            device,
            server,
            net,
            work,
        })
    }

    /// What both did, and where messages may have been lost beside them.
    pub fn diagnosis(&self) -> String {
        let mut text = String::new();
        for (name, corex, host) in [
            ("device", &self.device, &self.net.device),
            ("server", &self.server, &self.net.server),
        ] {
            let of = |result: Result<String>| result.unwrap_or_else(|error| format!("{error:#}"));
            let books = of(corex.books().map(|books| format!("{:#}", books.0)));
            let stack = of(host.exec("grep", &["^Udp:", "/proc/net/snmp"]));
            let links = of(host.ip("-s link show"));
            text += &format!("{name}: {}\n{books}\n{stack}\n{links}\n", corex.log());
        }
        text
    }

    /// Stops both; their books balance.
    pub fn stop(self) -> Result<PairBooks> {
        self.stop_in().map(|(_, books)| books)
    }

    /// As [`Self::stop`]; the network goes on.
    pub fn stop_in(self) -> Result<(Inline, PairBooks)> {
        let device = self.device.stop()?;
        let server = self.server.stop()?;
        for (name, books) in [("device", &device), ("server", &server)] {
            books.check_balance().context(name)?;
        }
        for (name, host) in [("device", &self.net.device), ("server", &self.net.server)] {
            let links = host.ip("-brief link show")?;
            ensure!(!links.contains("cx-"), "{name} has still: {links}");
            ensure!(host.xdp_program("eth0")?.is_none(), "{name} has a program");
        }
        Ok((self.net, PairBooks { device, server }))
    }
}
