//! The devices under test.

use std::{fs, time::Duration};

use anyhow::Result;
use corex_lab::{Corex, Kamailio, Process, corex::CorexOptions};

use super::{Bench, DEVICE_CPU, configurations};

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sent back, nothing else.
    Send,
    /// `event_route[network:msg]` copies `$mb`.
    Copy,
    /// The hook compresses what leaves.
    Gzip,
}

/// Something that sends requests back, and how it is started.
pub struct Device {
    /// Its line in the table.
    pub name: &'static str,
    /// What it does with each message; nothing for the bare limits.
    pub work: Option<Work>,
    /// Starts it and waits until it is ready.
    pub start: fn(&Bench) -> Result<Running>,
}

/// All devices, in the table's order.
pub const DEVICES: [Device; 10] = [
    Device {
        name: LIMIT_XDP,
        work: None,
        start: |bench| bench.bare("reflect"),
    },
    Device {
        name: LIMIT_AF_XDP,
        work: None,
        start: |bench| bench.bare("loop"),
    },
    Device {
        name: "corex send, AF_XDP",
        work: Some(Work::Send),
        start: |bench| bench.corex("send", "xdp"),
    },
    Device {
        name: "corex send, kernel sockets",
        work: Some(Work::Send),
        start: |bench| bench.corex("send", "socket"),
    },
    Device {
        name: "Kamailio send",
        work: Some(Work::Send),
        start: |bench| bench.kamailio("send"),
    },
    Device {
        name: "corex copy hook, AF_XDP",
        work: Some(Work::Copy),
        start: |bench| bench.corex("copy", "xdp"),
    },
    Device {
        name: "corex copy hook, kernel sockets",
        work: Some(Work::Copy),
        start: |bench| bench.corex("copy", "socket"),
    },
    Device {
        name: "Kamailio copy hook",
        work: Some(Work::Copy),
        start: |bench| bench.kamailio("copy"),
    },
    Device {
        name: "corex gzip hook, AF_XDP",
        work: Some(Work::Gzip),
        start: |bench| bench.corex("gzip", "xdp"),
    },
    Device {
        name: "corex gzip hook, kernel sockets",
        work: Some(Work::Gzip),
        start: |bench| bench.corex("gzip", "socket"),
    },
];

/// Name of the limit of what a program in the driver can do.
pub const LIMIT_XDP: &str = "bare XDP reflector";
/// Name of the limit of what AF_XDP can do.
pub const LIMIT_AF_XDP: &str = "bare AF_XDP loop";
/// What the others are compared with.
pub const KAMAILIO: &str = "Kamailio";

/// A device that answers, and how it is stopped.
pub enum Running {
    /// corex-bench, without a proxy.
    Bare(Process),
    /// corex with one worker.
    Corex(Corex),
    /// Kamailio with one child.
    Kamailio(Kamailio),
}

/// A device stops in this time.
const STOP: Duration = Duration::from_secs(10);

impl Running {
    /// What it wrote.
    pub fn log(&self) -> String {
        match self {
            Self::Bare(process) => process.log(),
            Self::Corex(corex) => corex.log(),
            Self::Kamailio(kamailio) => kamailio.process.log(),
        }
    }

    /// Stops it, so that the next device has the interface for itself.
    pub fn stop(self) -> Result<()> {
        match self {
            Self::Bare(process) => process.terminate(STOP).map(drop),
            Self::Corex(corex) => corex.stop().map(drop),
            Self::Kamailio(kamailio) => {
                kamailio.stop();
                Ok(())
            }
        }
    }
}

impl Bench {
    fn bare(&self, role: &str) -> Result<Running> {
        let mut command = self.device.command("taskset");
        command.args(["-c", DEVICE_CPU]).arg(&self.road);
        command.args([role, "d0"]);
        let log = self.work.path().join(format!("{role}.log"));
        let process = Process::spawn(role, command, &log)?;
        process.wait_for_output("ready", STOP)?;
        Ok(Running::Bare(process))
    }

    fn corex(&self, config: &str, engine: &str) -> Result<Running> {
        let mut command = self.device.command("taskset");
        command.args(["-c", DEVICE_CPU]).arg(&self.corex);
        let file = configurations().join(format!("{config}.cfg"));
        let corex = CorexOptions::new(&file)
            .interface("d0")
            .engine(engine)
            .argument("--workers")
            .argument("1")
            .spawn(command, self.work.path(), config)?;
        corex.process.wait_for_output("ready", STOP)?;
        Ok(Running::Corex(corex))
    }

    fn kamailio(&self, config: &str) -> Result<Running> {
        let text = fs::read_to_string(configurations().join(format!("{config}.cfg")))?;
        Kamailio::start_under(
            &["taskset", "-c", DEVICE_CPU],
            &self.device,
            self.work.path(),
            config,
            &text,
            5060,
        )
        .map(Running::Kamailio)
    }
}
