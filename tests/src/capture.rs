//! Captures of a cable, and tshark's opinion of them.

use std::{
    ffi::OsString,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    namespace::Namespace,
    process::{output_of, which},
    raw::{RawSocket, Seen},
};

/// How long a capture goes on after [`Capture::stop`], for what is still under way.
const TAIL: Duration = Duration::from_millis(200);

/// A frame that passed.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When it passed, since the start of the capture.
    pub time: Duration,
    /// The frame, and what the kernel said of it.
    pub frame: Seen,
}

/// Records what passes an interface, in either direction, from [`start`](Self::start) on.
/// It sees neither what XDP takes off that interface nor what AF_XDP sends there: record at
/// the other end of the cable, where no XDP program is.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Captured>>>,
}

impl Capture {
    /// Starts recording; when this returns, nothing is missed any more.
    ///
    /// # Errors
    /// No such interface, or not root.
    pub fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = RawSocket::open(namespace, interface)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let begin = Instant::now();
            let mut frames = Vec::new();
            let mut end = None;
            loop {
                while let Some(frame) = socket.poll()? {
                    frames.push(Captured {
                        time: begin.elapsed(),
                        frame,
                    });
                }
                if end.is_none() && stopped.load(Ordering::Relaxed) {
                    end = Some(Instant::now() + TAIL);
                }
                if end.is_some_and(|end| Instant::now() >= end) {
                    return Ok(frames);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Ok(Self { stop, thread })
    }

    /// Ends the recording and returns what was seen.
    ///
    /// # Errors
    /// The kernel refused to go on.
    pub fn stop(self) -> Result<Vec<Captured>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the capturing thread panicked"))?
    }
}

/// Writes frames as a pcap file (the classic format, link type Ethernet).
///
/// # Errors
/// What the file system says.
pub fn write_pcap(frames: &[Captured], path: &Path) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for field in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 1 << 18, 1] {
        out.write_all(&field.to_ne_bytes())?;
    }
    for Captured { time, frame } in frames {
        let len = frame.bytes.len() as u32;
        for field in [time.as_secs() as u32, time.subsec_micros(), len, len] {
            out.write_all(&field.to_ne_bytes())?;
        }
        out.write_all(&frame.bytes)?;
    }
    Ok(out.flush()?)
}

/// tshark on a capture file.
#[derive(Debug)]
pub struct Tshark {
    program: PathBuf,
    file: PathBuf,
    arguments: Vec<OsString>,
}

impl Tshark {
    /// A reader of that file.
    ///
    /// # Errors
    /// tshark isn't installed.
    pub fn open(file: &Path) -> Result<Self> {
        let program = which("tshark").context("tshark is not installed")?;
        Ok(Self {
            program,
            file: file.to_owned(),
            arguments: Vec::new(),
        })
    }

    /// With a script in Lua.
    pub fn script(mut self, path: &Path) -> Self {
        let mut argument = OsString::from("lua_script:");
        argument.push(path);
        self.arguments.extend(["-X".into(), argument]);
        self
    }

    /// With another value for a preference.
    pub fn preference(mut self, name: &str, value: &str) -> Self {
        self.arguments
            .extend(["-o".into(), format!("{name}:{value}").into()]);
        self
    }

    /// With a word on its command line.
    pub fn argument(mut self, word: &str) -> Self {
        self.arguments.push(word.into());
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["-n", "-r"])
            .arg(&self.file)
            .args(&self.arguments);
        command
    }

    /// All that tshark shows of the packets that the display filter lets through.
    ///
    /// # Errors
    /// What tshark says.
    pub fn details(&self, filter: &str) -> Result<String> {
        output_of(self.command().args(["-Y", filter, "-V"]))
    }

    /// The values of `fields`, one row for each packet that the display filter lets through.
    /// IPv4 and UDP checksums are verified (fields `ip.checksum.status`,
    /// `udp.checksum.status`: 1 is good, 0 bad).
    ///
    /// # Errors
    /// What tshark says.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
        let mut command = self.command();
        command
            .args([
                "-o",
                "ip.check_checksum:TRUE",
                "-o",
                "udp.check_checksum:TRUE",
            ])
            .args(["-Y", filter, "-T", "fields", "-E", "separator=/t"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let text = output_of(&mut command)?;
        Ok(text
            .lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect())
    }

    /// How many packets the display filter lets through.
    ///
    /// # Errors
    /// What tshark says.
    pub fn count(&self, filter: &str) -> Result<usize> {
        Ok(self.fields(filter, &["frame.number"])?.len())
    }
}
