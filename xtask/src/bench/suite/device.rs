//! The devices under test.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Result;
use corex_lab::{Corex, Kamailio, Process, corex::CorexOptions, process::output_of};

use crate::bench::{
    lab::{DEVICE_CPU, DEVICE_SIDE, GENERATOR_CPU, Lab, Reader},
    protocol::Traffic,
    results::{By, LIMIT_AF_XDP, LIMIT_XDP},
};

/// Something that sends messages back.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// Its line in the table.
    pub name: &'static str,
    /// What it does with each message; devices with the same work are compared.
    pub work: &'static str,
    /// How it is started.
    pub start: Start,
    /// What it is sent, and by what.
    pub load: Load,
    /// Latencies are measured at the rates of the device with this name, which comes before.
    pub at_rates_of: Option<&'static str>,
}

/// How a device is started.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// A role of corex-bench on the interface.
    Bare(&'static str),
    /// corex with a configuration and an engine.
    Corex(&'static str, &'static str),
    /// Kamailio with a configuration.
    Kamailio(&'static str),
    /// A server that sends back, by corex-bench.
    Server,
    /// The same behind corex in inline mode, with a configuration.
    Inline(&'static str),
}

/// What a device is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// UDP.
    Udp(Traffic),
    /// TCP.
    Tcp,
}

const OPTIONS: Load = Load::Udp(Traffic::Options);
const MIX: Load = Load::Udp(Traffic::Mix);

const fn device(name: &'static str, work: &'static str, start: Start, load: Load) -> Device {
    Device {
        name,
        work,
        start,
        load,
        at_rates_of: None,
    }
}

/// The device whose program is measured with packets that aren't ours.
pub const SEND_AF_XDP: &str = "corex send, AF_XDP";
/// The device that a corex without routes in the kernel can't be, as `$COREX_BIN` may be one.
pub const OFFLOADED: &str = "corex send, in the kernel";
const INLINE: &str = "server behind corex, inline";

/// All devices, in the table's order.
pub const DEVICES: [Device; 28] = [
    device(LIMIT_XDP, "limit", Start::Bare("reflect"), OPTIONS),
    device(LIMIT_AF_XDP, "limit", Start::Bare("loop"), OPTIONS),
    device(
        OFFLOADED,
        "send",
        Start::Corex("send-offload", "xdp"),
        OPTIONS,
    ),
    device(SEND_AF_XDP, "send", Start::Corex("send", "xdp"), OPTIONS),
    device(
        "corex send, kernel sockets",
        "send",
        Start::Corex("send", "socket"),
        OPTIONS,
    ),
    device("Kamailio send", "send", Start::Kamailio("send"), OPTIONS),
    device(
        "corex copy hook, AF_XDP",
        "copy hook",
        Start::Corex("copy", "xdp"),
        OPTIONS,
    ),
    device(
        "corex copy hook, kernel sockets",
        "copy hook",
        Start::Corex("copy", "socket"),
        OPTIONS,
    ),
    device(
        "Kamailio copy hook",
        "copy hook",
        Start::Kamailio("copy"),
        OPTIONS,
    ),
    device(
        "corex forward, AF_XDP",
        "forward",
        Start::Corex("forward", "xdp"),
        OPTIONS,
    ),
    device(
        "corex forward, kernel sockets",
        "forward",
        Start::Corex("forward", "socket"),
        OPTIONS,
    ),
    device(
        "Kamailio forward",
        "forward",
        Start::Kamailio("forward"),
        OPTIONS,
    ),
    device(
        "corex gzip hook, AF_XDP",
        "gzip hook",
        Start::Corex("forward-gzip", "xdp"),
        OPTIONS,
    ),
    device(
        "corex gzip hook, kernel sockets",
        "gzip hook",
        Start::Corex("forward-gzip", "socket"),
        OPTIONS,
    ),
    device(
        "Kamailio gzip hook (Perl)",
        "gzip hook",
        Start::Kamailio("forward-gzip"),
        OPTIONS,
    ),
    device(
        "corex Lua hook, AF_XDP",
        "Lua hook",
        Start::Corex("lua", "xdp"),
        OPTIONS,
    ),
    device(
        "Kamailio Lua hook",
        "Lua hook",
        Start::Kamailio("lua"),
        OPTIONS,
    ),
    device(
        "corex Perl hook, AF_XDP",
        "Perl hook",
        Start::Corex("perl", "xdp"),
        OPTIONS,
    ),
    device(
        "Kamailio Perl hook",
        "Perl hook",
        Start::Kamailio("perl"),
        OPTIONS,
    ),
    device("corex mix, AF_XDP", "mix", Start::Corex("mix", "xdp"), MIX),
    device(
        "corex mix, kernel sockets",
        "mix",
        Start::Corex("mix", "socket"),
        MIX,
    ),
    device("Kamailio mix", "mix", Start::Kamailio("mix"), MIX),
    device(
        "corex reply, TCP",
        "reply by TCP",
        Start::Corex("tcp", "socket"),
        Load::Tcp,
    ),
    device(
        "Kamailio reply, TCP",
        "reply by TCP",
        Start::Kamailio("tcp"),
        Load::Tcp,
    ),
    device(
        "corex reply, AF_XDP",
        "reply",
        Start::Corex("tcp", "xdp"),
        OPTIONS,
    ),
    device("Kamailio reply", "reply", Start::Kamailio("tcp"), OPTIONS),
    device(INLINE, "inline", Start::Inline("inline"), OPTIONS),
    Device {
        at_rates_of: Some(INLINE),
        ..device("the server alone", "inline", Start::Server, OPTIONS)
    },
];

impl Device {
    /// Who does the work.
    pub fn by(&self) -> By {
        match self.start {
            Start::Bare(_) | Start::Server => By::Bare,
            Start::Corex(..) | Start::Inline(_) => By::Corex,
            Start::Kamailio(_) => By::Kamailio,
        }
    }

    /// Has corex check the configuration that it is to run with; Kamailio checks its own when it
    /// starts.
    ///
    /// # Errors
    /// It isn't accepted; with corex's report.
    pub fn check(&self, lab: &Lab) -> Result<()> {
        let (Start::Corex(config, _) | Start::Inline(config)) = self.start else {
            return Ok(());
        };
        let text = lab.configuration(config, Reader::Corex)?;
        let file = lab.work.write("check.cfg", text)?;
        let mut command = Command::new(&lab.programs.corex);
        output_of(command.args(["check", "--config"]).arg(file)).map(drop)
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It doesn't start; with its log.
    pub fn start(&self, lab: &Lab) -> Result<Running> {
        let running = match self.start {
            Start::Bare(role) => Running::Bare(lab.bare(&[role, DEVICE_SIDE])?),
            Start::Corex(config, engine) => {
                let text = lab.configuration(config, Reader::Corex)?;
                Running::Corex(lab.corex(config, &text, engine)?)
            }
            Start::Kamailio(config) => Running::Kamailio(lab.kamailio(config)?),
            Start::Server => Running::Bare(lab.bare(&["echo"])?),
            Start::Inline(config) => {
                let server = lab.bare(&["echo"])?;
                let text = lab.configuration(config, Reader::Corex)?;
                Running::Inline(server, lab.corex(config, &text, "auto")?)
            }
        };
        lab.place()?;
        Ok(running)
    }
}

/// A device that answers, and how it is stopped.
pub enum Running {
    /// corex-bench, without a proxy.
    Bare(Process),
    /// corex with one worker.
    Corex(Corex),
    /// Kamailio with one child.
    Kamailio(Kamailio),
    /// A server and corex in front of it.
    Inline(Process, Corex),
}

/// A device is ready, and stops, in this time.
const LIMIT: Duration = Duration::from_secs(20);

impl Running {
    /// What it wrote.
    pub fn log(&self) -> String {
        match self {
            Self::Bare(process) => process.log(),
            Self::Corex(corex) | Self::Inline(_, corex) => corex.log(),
            Self::Kamailio(kamailio) => kamailio.process.log(),
        }
    }

    /// The process whose CPU time counts, with its children.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Bare(process) => process.pid(),
            Self::Corex(corex) | Self::Inline(_, corex) => corex.process.pid(),
            Self::Kamailio(kamailio) => kamailio.process.pid(),
        }
    }

    /// Stops it, so that the next device has the interface for itself.
    ///
    /// # Errors
    /// It doesn't stop.
    pub fn stop(self) -> Result<()> {
        match self {
            Self::Bare(process) => process.terminate(LIMIT).map(drop),
            Self::Corex(corex) => corex.stop().map(drop),
            Self::Inline(server, corex) => {
                corex.stop()?;
                server.terminate(LIMIT).map(drop)
            }
            Self::Kamailio(kamailio) => {
                kamailio.stop();
                Ok(())
            }
        }
    }
}

impl Lab {
    fn bare(&self, words: &[&str]) -> Result<Process> {
        let mut command = self.on_device(&self.programs.bench);
        command.args(words);
        let role = words.first().copied().unwrap_or_default();
        let process = Process::spawn(role, command, &self.work.join(format!("{role}.log")))?;
        process.wait_for_output("ready", LIMIT)?;
        Ok(process)
    }

    /// Starts corex with one worker and waits until it is ready.
    ///
    /// # Errors
    /// It doesn't start; with its log.
    pub fn corex(&self, name: &str, configuration: &str, engine: &str) -> Result<Corex> {
        let file = self
            .work
            .write(&format!("{name}.corex.cfg"), configuration)?;
        let command = self.on_device(&self.programs.corex);
        self.corex_options(&file, engine)
            .spawn(command, self.work.path(), name)?
            .ready()
    }

    /// Starts corex with AF_XDP and so many workers, the generator's CPU included where the device's
    /// isn't enough.
    ///
    /// # Errors
    /// As [`Self::corex`].
    pub fn corex_of(&self, name: &str, configuration: &str, workers: u64) -> Result<Corex> {
        let file = self
            .work
            .write(&format!("{name}.corex.cfg"), configuration)?;
        let cpus = match workers {
            1 => DEVICE_CPU.to_owned(),
            _ => format!("{GENERATOR_CPU},{DEVICE_CPU}"),
        };
        let mut command = self.device.command("taskset");
        command.args(["-c", &cpus]).arg(&self.programs.corex);
        CorexOptions::new(&file)
            .interface(DEVICE_SIDE)
            .engine("xdp")
            .argument("--workers")
            .argument(&workers.to_string())
            .spawn(command, self.work.path(), name)?
            .ready()
    }

    fn corex_options(&self, file: &Path, engine: &str) -> CorexOptions {
        CorexOptions::new(file)
            .interface(DEVICE_SIDE)
            .engine(engine)
            .argument("--workers")
            .argument("1")
    }

    fn kamailio(&self, config: &str) -> Result<Kamailio> {
        let text = self.configuration(config, Reader::Kamailio)?;
        Kamailio::start_under(
            &["taskset", "-c", DEVICE_CPU],
            &self.device,
            self.work.path(),
            config,
            &text,
            5060,
        )
    }
}
