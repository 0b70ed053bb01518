//! corex under callgrind, and messages for it in batches of a known size.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use corex_lab::{Namespace, WorkDir, corex::CorexOptions, process::all_poll, veth};

use super::profile::{self, Functions};

/// What runs in worker threads and in no other.
const WORKER: &str = "corex_user::io::worker::Worker::run";
/// The worker's thread.
const THREAD: &str = "corex-w0";
/// corex, which valgrind slows down, starts, answers and stops in this time, also on a machine that
/// has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// The next hop is known in this time.
const LOOKUP: Duration = Duration::from_secs(1);
/// What a worker does in the end of a burst of messages, it has done in this time; without the pause
/// it would be done, or not, for the next batch.
const REST: Duration = Duration::from_millis(25);
/// Ports that messages come from.
const PORTS: u16 = 16;

/// Of glibc's variants of memcpy and the like take those that every x86-64 has, so that the count
/// doesn't tell one CPU from the next.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM,\
                        -SSSE3,-SSE4_1,-SSE4_2,-BMI2,-LZCNT,-MOVBE,-RTM,-AVX_Fast_Unaligned_Load,\
                        -Fast_Unaligned_Copy,-Fast_Copy_Backward,-EVEX";

/// A series of messages in batches.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Messages that the worker finds at a time.
    pub batch: usize,
    /// How often.
    pub times: usize,
}

/// The two namespaces and the sender's sockets.
pub struct Road {
    device: Namespace,
    _generator: Namespace,
    senders: Vec<UdpSocket>,
    receiver: UdpSocket,
    work: WorkDir,
    corex: PathBuf,
}

impl Road {
    /// Makes the namespaces; `corex` is the binary.
    ///
    /// # Errors
    /// Not root, or no `ip`.
    pub fn new(corex: PathBuf) -> Result<Self> {
        let generator = Namespace::new("gen")?;
        let device = Namespace::new("dut")?;
        veth((&generator, "g0"), (&device, "d0"))?;
        generator.address("g0", "10.77.0.2/24")?;
        device.address("d0", "10.77.0.1/24")?;
        // A veth end takes frames that XDP sends only with XDP or GRO of its own. What corex gets is
        // to come one by one.
        generator.offload("g0", "gro", true)?;
        device.offload("d0", "gro", false)?;
        let macs = (generator.mac("g0")?, device.mac("d0")?);
        device.neighbour("d0", "10.77.0.2".parse()?, macs.0)?;
        generator.neighbour("g0", "10.77.0.1".parse()?, macs.1)?;
        let to = SocketAddr::from(([10, 77, 0, 1], 5060));
        let bind = |port| generator.udp(SocketAddr::from(([10, 77, 0, 2], port)));
        let senders = (0..PORTS)
            .map(|number| {
                let socket = bind(6000 + number)?;
                socket.connect(to)?;
                Ok(socket)
            })
            .collect::<Result<_>>()?;
        let receiver = bind(5060)?;
        receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(Self {
            device,
            _generator: generator,
            senders,
            receiver,
            work: WorkDir::new()?,
            corex,
        })
    }

    /// What corex's worker executes by function from its start to its end, over these series.
    ///
    /// # Errors
    /// corex doesn't start, or a message doesn't come back.
    pub fn count(&self, config: &Path, engine: &str, all: &[Series]) -> Result<Functions> {
        let folder = self.work.join("callgrind");
        // What the last run left there is not to be read with this one's.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        // callgrind writes at the end, when corex isn't root any more.
        fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
        let out = folder.join("out");
        let mut command = self.device.command("valgrind");
        command
            .args(["--tool=callgrind", "--separate-threads=yes"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(&self.corex)
            .env("GLIBC_TUNABLES", TUNABLES);
        let (corex, mut number) = self.start(command, config, engine)?;
        for series in all {
            for _ in 0..series.times {
                self.batch(&corex, series.batch, &mut number)
                    .with_context(|| corex.log())?;
            }
        }
        wait_for_sleep(corex.process.pid())?;
        corex.process.terminate(PATIENCE)?;
        profile::of_threads(&out, WORKER)
    }

    /// The CPU time of corex's worker for each message of a series, in nanoseconds: its own and that of
    /// the kernel for it, with the other end of the veth pair, which gets what is sent in that time.
    ///
    /// # Errors
    /// As [`Self::count`].
    pub fn time(&self, config: &Path, engine: &str, all: &[Series]) -> Result<f64> {
        let command = self.device.command(&self.corex);
        let (corex, mut number) = self.start(command, config, engine)?;
        let pid = corex.process.pid();
        let (mut before, mut messages) = (0, 0);
        for series in all {
            before = cpu_time(pid)?;
            messages = series.batch * series.times;
            for _ in 0..series.times {
                self.batch(&corex, series.batch, &mut number)
                    .with_context(|| corex.log())?;
            }
        }
        let after = cpu_time(pid)?;
        corex.process.terminate(PATIENCE)?;
        Ok((after - before) as f64 / messages as f64)
    }

    /// Starts corex by a command, and sends one message.
    fn start(
        &self,
        command: Command,
        config: &Path,
        engine: &str,
    ) -> Result<(corex_lab::Corex, usize)> {
        let corex = CorexOptions::new(config)
            .interface("d0")
            .engine(engine)
            .argument("--workers")
            .argument("1")
            .spawn(command, self.work.path(), "counted")?;
        corex.process.wait_for_output("ready", PATIENCE)?;
        let mut number = 0;
        // For the first message another thread asks the kernel where the next hop is; what comes
        // before the answer takes another way than what is to be counted.
        self.batch(&corex, 1, &mut number)
            .with_context(|| corex.log())?;
        thread::sleep(LOOKUP);
        Ok((corex, number))
    }

    /// One batch: corex stands while it is sent.
    fn batch(&self, corex: &corex_lab::Corex, size: usize, number: &mut usize) -> Result<()> {
        wait_for_sleep(corex.process.pid())?;
        corex.process.pause()?;
        for _ in 0..size {
            let sender = self.senders.get(*number % self.senders.len());
            sender.context("a sender")?.send(&request(*number))?;
            *number += 1;
        }
        corex.process.resume()?;
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 2048];
        let mut returned = 0;
        while returned < size {
            match self.receiver.recv(&mut buffer) {
                Ok(_) => returned += 1,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
            anyhow::ensure!(Instant::now() < until, "{returned} of {size} came back");
        }
        Ok(())
    }
}

/// The worker's CPU time in nanoseconds (/proc/PID/task/TID/schedstat, the first number).
fn cpu_time(pid: u32) -> Result<u64> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim_end() == THREAD {
            let times = fs::read_to_string(task.join("schedstat"))?;
            let time = times.split_whitespace().next().context("a time")?;
            return Ok(time.parse()?);
        }
    }
    anyhow::bail!("corex has no thread {THREAD}")
}

/// Waits until the worker has nothing more to do, so that the next batch is one.
fn wait_for_sleep(pid: u32) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    for pause in [REST, Duration::ZERO] {
        while !all_poll(pid, THREAD)? {
            anyhow::ensure!(Instant::now() < until, "the worker doesn't come to rest");
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(pause);
    }
    Ok(())
}

/// A request; all are of one size.
fn request(number: usize) -> Vec<u8> {
    let text = format!(
        "OPTIONS sip:ping@10.77.0.1 SIP/2.0\r\n\
         Call-ID: {number:08}@bench\r\n\
         Via: SIP/2.0/UDP 10.77.0.2:{port};branch=z9hG4bK-bench-{number:08};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:bench@10.77.0.2>;tag=bench\r\n\
         To: <sip:ping@10.77.0.1>\r\n\
         CSeq: 1 OPTIONS\r\n\
         Contact: <sip:bench@10.77.0.2>\r\n\
         User-Agent: bench{fill}\r\n\
         Content-Length: 0\r\n\r\n",
        port = 6000 + number % usize::from(PORTS),
        fill = "u".repeat(60),
    );
    text.into_bytes()
}
