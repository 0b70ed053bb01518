//! Logs: to stderr or the system's log, from a thread of their own, so that a reader that stalls
//! never blocks a worker. When its queue is full, lines are dropped and counted.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Registry, filter::LevelFilter, fmt, fmt::MakeWriter, prelude::*, reload};

use super::syslog::{self, Severity, Syslog};
use corex_script::settings::LogSettings;

/// Lines waiting for the writer at most.
const QUEUE: usize = 8192;
/// Bytes of a line at most; what is beyond is left out.
const LONGEST: usize = 16 << 10;
/// What stands at the end of a line that was too long.
const CUT: &str = "… (cut)\n";

/// The running log. Its drop writes what is queued, and ends it.
pub struct Log {
    dropped: ErrorCounter,
    unwritten: Arc<AtomicUsize>,
    syslog: Option<Arc<syslog::State>>,
    level: reload::Handle<LevelFilter, Registry>,
    debug: AtomicI64,
    _guard: WorkerGuard,
}

impl Log {
    /// Lines that the full queue cost, that couldn't be written, as on a full disk, or that the
    /// system's log didn't take.
    pub fn dropped(&self) -> usize {
        let lost = self.syslog.as_ref().map_or(0, |state| state.lost());
        self.dropped.dropped_lines() + self.unwritten.load(Ordering::Relaxed) + lost
    }

    /// Whether lines go to the system's log.
    pub fn is_syslog(&self) -> bool {
        self.syslog.is_some()
    }

    /// Kamailio's level, as it was set last.
    pub fn debug(&self) -> i64 {
        self.debug.load(Ordering::Relaxed)
    }

    /// Logs what is of this level or above from now on.
    pub fn set_debug(&self, debug: i64) {
        self.debug.store(debug, Ordering::Relaxed);
        // Refused only when the subscriber is gone, with the process.
        let _ = self.level.reload(level(debug));
    }

    /// Follows a configuration that was read again, as far as a running log can.
    pub fn follow(&self, settings: &LogSettings) {
        if let Some(state) = &self.syslog {
            state.set_facility(settings.facility());
        }
    }
}

/// Kamailio's `debug` level (-5 alert … 3 debug) as a tracing level.
fn level(debug: i64) -> LevelFilter {
    match debug {
        ..=-1 => LevelFilter::from_level(Level::ERROR),
        0 => LevelFilter::from_level(Level::WARN),
        1 | 2 => LevelFilter::from_level(Level::INFO),
        3 => LevelFilter::from_level(Level::DEBUG),
        _ => LevelFilter::from_level(Level::TRACE),
    }
}

/// Targets of lines with a severity that no tracing level has.
const ALERT: &str = "alert";
const CRITICAL: &str = "critical";
const NOTICE: &str = "notice";

/// Whether a script's line of Kamailio's level (-5 to 3) is written.
pub fn is_written(level: i64) -> bool {
    match level {
        ..=-1 => tracing::enabled!(Level::ERROR),
        0 => tracing::enabled!(Level::WARN),
        1 | 2 => tracing::enabled!(Level::INFO),
        _ => tracing::enabled!(Level::DEBUG),
    }
}

/// Writes a script's line at Kamailio's level (-5 to 3).
pub fn write(level: i64, line: impl Display) {
    match level {
        ..=-5 => tracing::error!(target: ALERT, "{line}"),
        -4..=-2 => tracing::error!(target: CRITICAL, "{line}"),
        -1 => tracing::error!("{line}"),
        0 => tracing::warn!("{line}"),
        1 => tracing::info!(target: NOTICE, "{line}"),
        2 => tracing::info!("{line}"),
        _ => tracing::debug!("{line}"),
    }
}

fn severity(metadata: &Metadata<'_>) -> Severity {
    match (metadata.target(), *metadata.level()) {
        (ALERT, _) => Severity::Alert,
        (CRITICAL, _) => Severity::Critical,
        (NOTICE, _) => Severity::Notice,
        (_, Level::ERROR) => Severity::Error,
        (_, Level::WARN) => Severity::Warning,
        (_, Level::INFO) => Severity::Info,
        _ => Severity::Debug,
    }
}

/// A line, cut where it is too long: messages that scripts log may be.
fn cut(line: &[u8]) -> Cow<'_, [u8]> {
    match line.get(..LONGEST) {
        Some(begin) if line.len() > LONGEST => Cow::Owned([begin, CUT.as_bytes()].concat()),
        _ => Cow::Borrowed(line),
    }
}

/// Cuts lines.
#[derive(Clone)]
struct Cutter(NonBlocking);

impl Write for Cutter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(&cut(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'a> MakeWriter<'a> for Cutter {
    type Writer = Cutter;

    fn make_writer(&'a self) -> Cutter {
        self.clone()
    }
}

/// Counts lines that can't be written, which the thread behind the queue would lose without a word,
/// and says so in front of the first one that can be.
struct Tally<W> {
    to: W,
    lost: Arc<AtomicUsize>,
    /// How many were lost since the last one that was written, and why the last one was.
    trouble: Option<(usize, io::Error)>,
}

impl<W: Write> Tally<W> {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some((lost, error)) = &self.trouble {
            // What was lost may have left its begin there.
            let text = format!("\n ERROR {lost} lines of the log couldn't be written: {error}\n");
            self.to.write_all(text.as_bytes())?;
            self.trouble = None;
        }
        self.to.write_all(line)
    }
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.write_line(line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            let before = self.trouble.take().map_or(0, |(lost, _)| lost);
            self.trouble = Some((before + 1, error));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Puts the severity in front of each line, for [`Syslog`].
struct Marked {
    severity: Severity,
    to: NonBlocking,
}

impl Write for Marked {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let marked = [&[self.severity as u8], &*cut(line)].concat();
        self.to.write_all(&marked)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

struct Marker(NonBlocking);

impl<'a> MakeWriter<'a> for Marker {
    type Writer = Marked;

    fn make_writer(&'a self) -> Marked {
        Marked {
            severity: Severity::Info,
            to: self.0.clone(),
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Marked {
        Marked {
            severity: severity(metadata),
            to: self.0.clone(),
        }
    }
}

/// Starts logging at Kamailio's level `debug`. Call once; a second call changes nothing.
pub fn start(debug: i64, settings: &LogSettings) -> Log {
    let builder = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .thread_name("corex-log");
    let (filter, handle) = reload::Layer::new(level(debug));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_target(false);
    let unwritten = Arc::new(AtomicUsize::new(0));
    let (writer, guard, state) = if settings.is_syslog() {
        let name = settings.name.clone().unwrap_or_else(|| "corex".to_owned());
        let device = PathBuf::from(syslog::DEVICE);
        let syslog = Syslog::new(device, name, settings.facility());
        let state = syslog.state();
        let (writer, guard) = builder.finish(syslog);
        (writer, guard, Some(state))
    } else {
        let (writer, guard) = builder.finish(Tally {
            to: io::stderr(),
            lost: Arc::clone(&unwritten),
            trouble: None,
        });
        (writer, guard, None)
    };
    let dropped = writer.error_counter();
    // Refused only if a subscriber is set already.
    let _ = if state.is_some() {
        // The daemon writes the time.
        let lines = lines.without_time().with_ansi(false);
        registry.with(lines.with_writer(Marker(writer))).try_init()
    } else {
        let lines = lines.with_ansi(io::stderr().is_terminal());
        registry.with(lines.with_writer(Cutter(writer))).try_init()
    };
    Log {
        dropped,
        unwritten,
        syslog: state,
        level: handle,
        debug: AtomicI64::new(debug),
        _guard: guard,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Where [`Marker`]'s lines arrive.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_scripts_keep_kamailio_s_severity() {
        let lines = Lines::default();
        let (writer, guard) = NonBlockingBuilder::default().finish(lines.clone());
        let layer = fmt::layer().without_time().with_target(false);
        let layer = layer.with_ansi(false).with_writer(Marker(writer));
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            for level in -5..=3 {
                write(level, format!("level {level}"));
            }
        });
        // Its end writes what is queued.
        drop(guard);
        let lines = lines.0.lock().unwrap().clone();
        let read = |line: &Vec<u8>| (line[0], String::from_utf8(line[1..].to_vec()).unwrap());
        let read: Vec<(u8, String)> = lines.iter().map(read).collect();
        let severities: Vec<u8> = read.iter().map(|(severity, _)| *severity).collect();
        assert_eq!(severities, [1, 2, 2, 2, 3, 4, 5, 6, 7]);
        assert_eq!(read[4].1, "ERROR level -1\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        let lines = Lines::default();
        let (writer, guard) = NonBlockingBuilder::default().finish(lines.clone());
        let layer = fmt::layer().without_time().with_target(false);
        let layer = layer.with_ansi(false).with_writer(Cutter(writer));
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            write(2, "x".repeat(2 * LONGEST));
            write(2, "short");
        });
        drop(guard);
        let lines = lines.0.lock().unwrap().clone();
        assert_eq!(lines[0].len(), LONGEST + CUT.len());
        assert!(lines[0].ends_with(CUT.as_bytes()));
        assert_eq!(lines[1], b" INFO short\n");
    }

    /// A disk with room for so many bytes.
    struct Disk {
        room: usize,
        content: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = bytes.len().min(self.room);
            if written == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= written;
            self.content.extend_from_slice(&bytes[..written]);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_full_disk_does_not_take_are_counted_and_told_of_when_there_is_room() {
        let lost = Arc::new(AtomicUsize::new(0));
        let mut tally = Tally {
            to: Disk {
                room: 9,
                content: Vec::new(),
            },
            lost: Arc::clone(&lost),
            trouble: None,
        };
        for line in ["first\n", "second\n", "third\n"] {
            tally.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        tally.to.room = 1000;
        tally.write_all(b"fourth\n").unwrap();
        let content = String::from_utf8(tally.to.content).unwrap();
        let lines: Vec<&str> = content.lines().collect();
        let told = " ERROR 2 lines of the log couldn't be written: no storage space";
        assert_eq!(lines, ["first", "sec", told, "fourth"]);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_facility_or_no_stderr_means_the_system_s_log() {
        let settings = |to_stderr, facility| LogSettings {
            to_stderr,
            facility,
            name: Some("x".to_owned()),
        };
        let facility = Some(corex_script::settings::log::Facility::DAEMON);
        for (to_stderr, facility, expected) in [
            (None, None, false),
            (None, facility, true),
            (Some(true), facility, false),
            (Some(true), None, false),
            (Some(false), None, true),
        ] {
            assert_eq!(settings(to_stderr, facility).is_syslog(), expected);
        }
    }
}
