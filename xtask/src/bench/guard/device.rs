//! What is attacked: corex with and without what protects it, and Kamailio with pike.

use std::path::Path;

use anyhow::{Context as _, Result};
use corex_lab::{Corex, Kamailio, ObservedBooks, WorkDir, corex::CorexOptions, topology::Relay};

use super::super::usage;

/// A device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// corex without any of it.
    Bare,
    /// corex with the guard and overload on.
    Guarded,
    /// Kamailio, whose pike blocks sources in user space.
    Pike,
}

pub const ALL: [Device; 3] = [Device::Bare, Device::Guarded, Device::Pike];

/// What the guarded one has beside what all have; the answering side is allowed, as one's own server is.
pub const GUARD: &str = "modparam(\"corex\", \"allow\", \"10.0.2.2\")\n\
    modparam(\"corex\", \"stealth\", \"OPTIONS\")\n\
    modparam(\"corex\", \"signatures\", \"default\")\n\
    modparam(\"corex\", \"rate\", \"src: 200/s burst 400; REGISTER: 5/s burst 20\")\n\
    modparam(\"corex\", \"rate_block\", \"100 in 10s for 10min\")\n\
    modparam(\"corex\", \"overload\", 1)\nmodparam(\"corex\", \"overload_high\", 10)\n\
    modparam(\"corex\", \"overload_low\", 5)\n";

/// One that runs.
pub enum Running {
    Corex(Corex),
    Kamailio(Kamailio),
}

/// What a device has seen and spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Datagrams that a program in the kernel dropped.
    pub dropped_in_kernel: u64,
    /// Datagrams that user space got.
    pub reached_user_space: u64,
    /// CPU time of its processes, in seconds.
    pub cpu: f64,
}

impl Device {
    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "corex, guard off",
            Self::Guarded => "corex, guard on",
            Self::Pike => "Kamailio, pike",
        }
    }

    /// Starts it, between the two sides of a network.
    ///
    /// # Errors
    /// It doesn't start; with its log.
    pub fn start(self, relay: &Relay, work: &WorkDir, corex: &Path) -> Result<Running> {
        let [user, core, next] = [Relay::USER_SIDE, Relay::CORE_SIDE, Relay::UAS].map(|h| h.sip());
        let listen = format!("listen=udp:{user}\nlisten=udp:{core}\nmhomed=1\n");
        let forward = format!("$du = \"sip:{next}\"; forward();");
        if self == Self::Pike {
            let text = format!(
                "#!KAMAILIO\n{listen}children=1\ndebug=-1\nlog_stderror=yes\n\
                 loadmodule \"pv.so\"\nloadmodule \"pike.so\"\n\
                 modparam(\"pike\", \"sampling_time_unit\", 2)\n\
                 modparam(\"pike\", \"reqs_density_per_unit\", 200)\n\
                 request_route {{ if (!pike_check_req()) {{ exit; }} {forward} }}\n"
            );
            let kamailio = Kamailio::start(&relay.corex, work.path(), "kamailio", &text, 5060)?;
            return Ok(Running::Kamailio(kamailio));
        }
        let guard = if self == Self::Guarded { GUARD } else { "" };
        let text =
            format!("{listen}loadmodule \"corex.so\"\n{guard}request_route {{ {forward} }}\n");
        let options = CorexOptions::new(&work.write("corex.cfg", text)?)
            .binary(corex)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .argument("--workers")
            .argument("1");
        let corex = options.start(&relay.corex, work.path(), "corex")?;
        Ok(Running::Corex(corex))
    }
}

impl Running {
    /// What it has seen and spent so far.
    ///
    /// # Errors
    /// It doesn't answer, or has ended.
    pub fn spent(&self, relay: &Relay) -> Result<Spent> {
        match self {
            Self::Corex(corex) => {
                let books = corex.books()?;
                let get = |name: &str| books.get(name);
                Ok(Spent {
                    dropped_in_kernel: books.sum("kernel.dropped"),
                    reached_user_space: get("user.xdp_in") + get("user.socket_in"),
                    cpu: usage::of_process(corex.process.pid())?.as_secs_f64(),
                })
            }
            Self::Kamailio(kamailio) => Ok(Spent {
                dropped_in_kernel: 0,
                reached_user_space: received(relay)?,
                cpu: usage::of_process(kamailio.process.pid())?.as_secs_f64(),
            }),
        }
    }

    /// Stops it. corex's books are checked.
    ///
    /// # Errors
    /// They don't balance.
    pub fn stop(self) -> Result<()> {
        match self {
            Self::Corex(corex) => {
                let books: ObservedBooks = corex.stop()?;
                books.check_balance()
            }
            Self::Kamailio(kamailio) => {
                kamailio.stop();
                Ok(())
            }
        }
    }
}

/// Datagrams that sockets of the device's host have handed over (RFC 4113, udpInDatagrams).
fn received(relay: &Relay) -> Result<u64> {
    let text = relay.corex.exec("cat", &["/proc/net/snmp"])?;
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = lines
        .next()
        .zip(lines.next())
        .context("no Udp in /proc/net/snmp")?;
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let found = pairs.find(|(name, _)| *name == "InDatagrams");
    let (_, value) = found.context("no InDatagrams in /proc/net/snmp")?;
    Ok(value.parse()?)
}
