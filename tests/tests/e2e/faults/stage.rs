//! The networks in which faults happen.

use std::{
    fmt::{self, Write as _},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, KernelLosses, Mounts, Namespace, ObservedBooks, WorkDir,
    config::{self, Family},
    corex::{self, CorexOptions},
    topology::{Inline, Relay},
    wait,
};

use super::load::{LIMIT, Load, Road, Tally};

/// Both ways for datagrams to come and go.
pub const ENGINES: [&str; 2] = ["xdp", "socket"];

/// A corex that sends what comes on to the answering side, with one worker.
pub struct Proxy {
    pub relay: Relay,
    pub work: WorkDir,
    pub mounts: Mounts,
    pub options: CorexOptions,
}

/// What became of a load that went on beyond the end of a corex.
pub struct Succeeded {
    pub tally: Tally,
    pub kernel: KernelLosses,
    /// What may have been in its hands, at most.
    pub in_hand: u64,
}

impl fmt::Display for Succeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tally,
            kernel,
            in_hand,
        } = self;
        write!(f, "{tally}; {kernel}; at most {in_hand} were in hand")
    }
}

impl Proxy {
    /// With these parameters, and a hook that puts its mark behind what comes in.
    pub fn new(engine: &str, parameters: &str) -> Result<Self> {
        let text = config::relay(Family::V4, parameters, &config::mark());
        Self::with(engine, |_| Ok(text))
    }

    /// With the configuration that `text` makes for the folder.
    pub fn with(engine: &str, text: impl FnOnce(&WorkDir) -> Result<String>) -> Result<Self> {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        // What it mounts is to be there, too.
        let text = text(&work)?;
        let mounts = Mounts::new(&relay.corex, work.path())?;
        let options = CorexOptions::new(&work.write("corex.cfg", text)?)
            .argument("--workers")
            .argument("1")
            .interface("user")
            .interface("core")
            .engine(engine);
        Ok(Self {
            relay,
            work,
            mounts,
            options,
        })
    }

    pub fn start(&self, name: &str) -> Result<Corex> {
        self.options.start_in(&self.mounts, self.work.path(), name)
    }

    /// From the caller to the answering side.
    pub fn load(&self) -> Result<Load> {
        Load::start(Road {
            from: self.relay.uac.udp("10.0.1.2:0".parse()?)?,
            to: Relay::USER_SIDE.sip(),
            at: self.relay.uas.udp(Relay::UAS.sip())?,
            user: "bob",
        })
    }

    pub fn hosts(&self) -> [&Namespace; 3] {
        [&self.relay.uac, &self.relay.corex, &self.relay.uas]
    }

    /// Waits until the programs of a corex that has ended are gone, which they are a little later than it
    /// is, and has a successor serve what comes on. All is accounted for: what a corex that had let so
    /// many arrive may have had in its hands, and what the kernel lost since `before`.
    pub fn succeeded(&self, load: Load, arrived: u32, before: &KernelLosses) -> Result<Succeeded> {
        wait::until("its programs are gone", LIMIT, || {
            let user = self.relay.corex.xdp_program("user")?;
            let core = self.relay.corex.xdp_program("core")?;
            Ok((user.is_none() && core.is_none()).then_some(()))
        })?;
        let in_hand = u64::from(load.sent() - arrived);
        load.sends(200)?;
        let successor = self.start("successor")?;
        let served = load.sent();
        load.more(300)?;
        let mut kernel = KernelLosses::default();
        let tally = load.finish(|tally| {
            kernel = KernelLosses::of(&self.hosts())?.since(before);
            Ok(tally.lost() <= kernel.sum() + in_hand
                && tally.is_missing_only_within(&(arrived..served)))
        })?;
        successor.stop()?.check_balance()?;
        Ok(Succeeded {
            tally,
            kernel,
            in_hand,
        })
    }

    /// A command of remote control, by the socket `ctl` in the folder; what it says.
    pub fn rpc(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(corex::binary()?)
            .args(["rpc", "-s"])
            .arg(control(&self.work))
            .args(words)
            .output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        write!(text, "{}", String::from_utf8_lossy(&output.stderr))?;
        ensure!(output.status.success(), "{words:?}: {text}");
        Ok(text)
    }
}

/// The socket of remote control.
pub fn control(work: &WorkDir) -> PathBuf {
    work.join("ctl")
}

/// Lines of a configuration that open it.
pub fn control_lines(work: &WorkDir) -> String {
    let path = control(work);
    let path = path.display();
    format!("loadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"unix:{path}\")\n")
}

/// A server with a corex in front of it, and a device without.
pub struct Protected {
    pub net: Inline,
    pub work: WorkDir,
    pub mounts: Mounts,
    pub options: CorexOptions,
}

impl Protected {
    /// With these parameters, and a hook that puts its mark behind what comes in.
    pub fn new(parameters: &str) -> Result<Self> {
        let (net, work) = (Inline::new()?, WorkDir::new()?);
        let mounts = Mounts::new(&net.server, work.path())?;
        let text = config::inline(&[Inline::SERVER.sip()], parameters, &config::mark());
        let options = CorexOptions::new(&work.write("edge.cfg", text)?).interface("eth0");
        Ok(Self {
            net,
            work,
            mounts,
            options,
        })
    }

    pub fn start(&self, name: &str) -> Result<Corex> {
        self.options.start_in(&self.mounts, self.work.path(), name)
    }

    /// From the device to the server.
    pub fn load(&self) -> Result<Load> {
        Load::start(Road {
            from: self.net.device.udp(Inline::DEVICE.sip())?,
            to: Inline::SERVER.sip(),
            at: self.net.server.udp(Inline::SERVER.sip())?,
            user: "bob",
        })
    }

    pub fn hosts(&self) -> [&Namespace; 3] {
        [&self.net.device, &self.net.internet, &self.net.server]
    }
}

/// What user space dropped, by reason, for a line of figures.
pub fn dropped(books: &ObservedBooks) -> String {
    let named = books.group("user.dropped").into_iter();
    let named: Vec<String> = named.map(|(name, n)| format!("{name} {n}")).collect();
    if named.is_empty() {
        "nothing dropped".to_owned()
    } else {
        format!("dropped: {}", named.join(", "))
    }
}

/// Waits until a line of the log has that in it.
pub fn logs(corex: &Corex, text: &str) -> Result<()> {
    corex
        .process
        .wait_for_output(text, LIMIT)
        .with_context(|| format!("the log has no {text:?}"))
}
