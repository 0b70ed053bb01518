//! The two namespaces and the cable between them.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Namespace, WorkDir, frame::Mac, namespace::veth_with_queues, process::output_of};

use super::generator::Generator;
use crate::{
    compile::{self, Profile},
    privilege, setup, ui,
};

/// CPU of the generator, and of the device under test.
pub const GENERATOR_CPU: &str = "0";
pub const DEVICE_CPU: &str = "1";
/// Interfaces of the two.
const GENERATOR_SIDE: &str = "g0";
pub const DEVICE_SIDE: &str = "d0";
/// Addresses of the two, as corex-bench and the configurations have them.
const ADDRESSES: [(&str, &str); 2] = [("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1")];

/// What is measured with: programs that are built.
#[derive(Clone, Debug)]
pub struct Programs {
    /// corex.
    pub corex: PathBuf,
    /// corex-bench.
    pub bench: PathBuf,
}

impl Programs {
    /// Checks what this machine has, and builds: corex, unless `$COREX_BIN` names one.
    ///
    /// # Errors
    /// What is missing.
    pub fn build() -> Result<Self> {
        privilege::require_root("the benchmark, which makes network namespaces,")?;
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        ensure!(
            cpus >= 2,
            "the benchmark needs two CPUs; this machine has {cpus}"
        );
        setup::ensure_toolchain()?;
        setup::ensure_tools(&setup::FOR_BENCH)?;
        ui::step("Building");
        let corex = compile::corex_to_run(Profile::Release)?;
        let bench = compile::build(Profile::Release, "corex-bench", "corex-bench")?;
        for name in corex_lab::sweep()? {
            ui::say(&format!("removed {name}, left by a run that was killed"));
        }
        Ok(Self { corex, bench })
    }
}

/// Two namespaces and the cable; removed when dropped.
pub struct Lab {
    generator: Namespace,
    /// Where devices run.
    pub device: Namespace,
    /// For files.
    pub work: WorkDir,
    /// What is measured with.
    pub programs: Programs,
    /// Whether it has been said that threads got no priority.
    told: Cell<bool>,
}

impl Lab {
    /// Makes them, with so many queues at both ends.
    ///
    /// # Errors
    /// What `ip` or ethtool say.
    pub fn new(programs: Programs, queues: u32) -> Result<Self> {
        let generator = Namespace::new("gen")?;
        let device = Namespace::new("dut")?;
        veth_with_queues((&generator, GENERATOR_SIDE), (&device, DEVICE_SIDE), queues)?;
        for (namespace, interface) in [(&generator, GENERATOR_SIDE), (&device, DEVICE_SIDE)] {
            // A veth end takes frames that XDP sends only with XDP or GRO of its own.
            namespace.offload(interface, "gro", true)?;
            // Receive processing in a thread, which can be given a CPU.
            let file = format!("/sys/class/net/{interface}/threaded");
            namespace.exec("sh", &["-c", &format!("echo 1 > {file}")])?;
        }
        let macs = (generator.mac(GENERATOR_SIDE)?, device.mac(DEVICE_SIDE)?);
        for (own, other) in ADDRESSES {
            let prefix = if own.contains(':') { 64 } else { 16 };
            generator.address(GENERATOR_SIDE, &format!("{own}/{prefix}"))?;
            device.address(DEVICE_SIDE, &format!("{other}/{prefix}"))?;
            device.neighbour(DEVICE_SIDE, own.parse()?, macs.0)?;
            generator.neighbour(GENERATOR_SIDE, other.parse()?, macs.1)?;
        }
        Ok(Self {
            generator,
            device,
            work: WorkDir::new()?,
            programs,
            told: Cell::new(false),
        })
    }

    /// Starts the generator that sends by UDP.
    ///
    /// # Errors
    /// As [`Generator::start`].
    pub fn udp_generator(&self) -> Result<Generator> {
        self.start_udp(self.generator.command(&self.programs.bench))
    }

    /// The same, but it runs only while nobody else wants its CPU.
    ///
    /// # Errors
    /// As [`Generator::start`].
    pub fn modest_udp_generator(&self) -> Result<Generator> {
        let mut command = self.generator.command("chrt");
        command.args(["--idle", "0"]).arg(&self.programs.bench);
        self.start_udp(command)
    }

    fn start_udp(&self, mut command: Command) -> Result<Generator> {
        let (device, own) = self.macs()?;
        command
            .args(["generate", GENERATOR_SIDE])
            .arg(device.to_string())
            .arg(own.to_string())
            .args(["--cpu", GENERATOR_CPU]);
        Generator::start(command, &self.work.join("generate.log"))
    }

    /// Starts the generator that sends by TCP, to a device that listens.
    ///
    /// # Errors
    /// As [`Generator::start`].
    pub fn tcp_generator(&self) -> Result<Generator> {
        let mut command = self.generator.command(&self.programs.bench);
        command.args(["tcp", "--cpu", GENERATOR_CPU]);
        Generator::start(command, &self.work.join("tcp.log"))
    }

    /// The hardware addresses of the device and of the generator.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn macs(&self) -> Result<(Mac, Mac)> {
        Ok((
            self.device.mac(DEVICE_SIDE)?,
            self.generator.mac(GENERATOR_SIDE)?,
        ))
    }

    /// A command that runs on the device's CPU.
    pub fn on_device(&self, program: &Path) -> Command {
        let mut command = self.device.command("taskset");
        command.args(["-c", DEVICE_CPU]).arg(program);
        command
    }

    /// Gives the threads that receive on both sides their CPUs. XDP brings some of its own, so it
    /// is to be called after a device has been started.
    ///
    /// # Errors
    /// What taskset says.
    pub fn place(&self) -> Result<()> {
        for pid in receiving(DEVICE_SIDE)? {
            pin(&pid, DEVICE_CPU)?;
        }
        for pid in receiving(GENERATOR_SIDE)? {
            pin(&pid, GENERATOR_CPU)?;
            // It shares its CPU with a generator that never rests: what comes back is to be seen
            // when it comes, not when the generator's time is up.
            let urgent = output_of(Command::new("chrt").args(["-f", "-p", "50", &pid]));
            if let Err(error) = urgent
                && !self.told.replace(true)
            {
                ui::say(&format!(
                    "what receives gets no priority, so latencies are too long: {error:#}"
                ));
            }
        }
        Ok(())
    }

    /// A configuration from the folder of this file, as a device is to have it: `FOLDER` in it is
    /// one with the scripts beside it. Lines that end in "# Kamailio only" or "# corex only" are
    /// left out where that isn't who reads it.
    ///
    /// # Errors
    /// It can't be read, or scripts can't be written.
    pub fn configuration(&self, name: &str, reader: Reader) -> Result<String> {
        let folder = self.work.path();
        for script in SCRIPTS {
            fs::copy(configurations().join(script), folder.join(script))
                .with_context(|| script.to_owned())?;
        }
        let path = configurations().join(format!("{name}.cfg"));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(for_reader(&text, reader).replace("FOLDER", &folder.to_string_lossy()))
    }
}

/// Who reads a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// corex.
    Corex,
    /// Kamailio.
    Kamailio,
}

/// Scripts that configurations name.
const SCRIPTS: [&str; 3] = ["copy.lua", "copy.pl", "gzip.pl"];

fn for_reader(text: &str, reader: Reader) -> String {
    let others = match reader {
        Reader::Corex => "# Kamailio only",
        Reader::Kamailio => "# corex only",
    };
    let own = text.lines().filter(|line| !line.ends_with(others));
    own.flat_map(|line| [line, "\n"]).collect()
}

/// Where the configurations are.
pub fn configurations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench")
}

/// The threads that receive on an interface.
fn receiving(interface: &str) -> Result<Vec<String>> {
    let prefix = format!("napi/{interface}-");
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.starts_with(&prefix) {
            pids.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(pids)
}

fn pin(pid: &str, cpu: &str) -> Result<()> {
    output_of(Command::new("taskset").args(["-pc", cpu, pid])).map(drop)
}

/// Says what was written where, and that all is well.
pub fn wrote(path: &Path) -> ExitCode {
    ui::say(&format!("wrote {}", path.display()));
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_gets_the_lines_that_are_for_both_and_its_own() {
        let text = "both\ncodec # corex only\nperl # Kamailio only\n";
        assert_eq!(
            for_reader(text, Reader::Corex),
            "both\ncodec # corex only\n"
        );
        assert_eq!(
            for_reader(text, Reader::Kamailio),
            "both\nperl # Kamailio only\n"
        );
    }

    #[test]
    fn every_script_that_a_configuration_names_is_there() {
        for entry in fs::read_dir(configurations()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|end| end == "cfg") {
                let text = fs::read_to_string(entry.path()).unwrap();
                for (_, rest) in text
                    .match_indices("FOLDER/")
                    .map(|(at, _)| text.split_at(at))
                {
                    let name = rest["FOLDER/".len()..].split('"').next().unwrap();
                    let is_there = SCRIPTS.contains(&name) || name == "ctl";
                    assert!(is_there, "{name} in {}", entry.path().display());
                }
            }
        }
    }
}
