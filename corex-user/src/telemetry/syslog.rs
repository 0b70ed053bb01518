//! The system's log, by the socket of its daemon: what syslog(3) does, but lines that nobody
//! takes are counted, and a daemon that starts again is found again.
//!
//! RFC 3164 as local daemons speak it: no host name. systemd-journald takes it as well.

use std::{
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

use corex_script::settings::log::Facility;

/// Where the system's daemon listens.
pub const DEVICE: &str = "/dev/log";

/// How long a daemon that is busy may take. The log's own thread waits, and nobody else.
const PATIENCE: Duration = Duration::from_millis(200);

/// The longest message that daemons take, rsyslog's default; the rest is cut off.
const MOST: usize = 8_192;

/// How bad it is: RFC 5424, table 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Severity {
    /// Somebody must act at once.
    Alert = 1,
    /// A critical condition.
    Critical = 2,
    /// An error.
    Error = 3,
    /// A warning.
    Warning = 4,
    /// Normal, but worth knowing.
    Notice = 5,
    /// For information.
    Info = 6,
    /// For those who look for a fault.
    Debug = 7,
}

/// What other threads may change and read while lines are written.
#[derive(Debug)]
pub struct State {
    facility: AtomicU8,
    lost: AtomicUsize,
}

impl State {
    /// Lines that no daemon took.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// Names another facility from now on.
    pub fn set_facility(&self, facility: Facility) {
        self.facility.store(facility.code(), Ordering::Relaxed);
    }
}

/// The system's log. One write is one line: its first byte is its [`Severity`].
pub struct Syslog {
    device: PathBuf,
    name: String,
    state: Arc<State>,
    socket: Option<UnixDatagram>,
    /// Lines lost since the last one that was taken.
    missing: usize,
}

impl Syslog {
    /// The log of the daemon that listens at `device`, under this name. Opens nothing yet.
    pub fn new(device: PathBuf, name: String, facility: Facility) -> Syslog {
        Syslog {
            device,
            name,
            state: Arc::new(State {
                facility: AtomicU8::new(facility.code()),
                lost: AtomicUsize::new(0),
            }),
            socket: None,
            missing: 0,
        }
    }

    /// What may be changed and read while it is in use.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// The datagram for a line.
    fn message(&self, severity: u8, text: &[u8]) -> Vec<u8> {
        let priority = self.state.facility.load(Ordering::Relaxed) * 8 + severity;
        // As asctime(3) writes it, in local time.
        let time = Timestamp::now().to_zoned_datetime(TimeZone::system());
        let time = strtime::format("%b %e %H:%M:%S", &time).unwrap_or_default();
        let head = format!("<{priority}>{time} {}[{}]: ", self.name, process::id());
        let mut message = head.into_bytes();
        message.extend_from_slice(text);
        message.truncate(MOST);
        message
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(&self.device)?;
        Ok(socket)
    }

    /// Sends; connects first, or anew, where need be.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(message) {
                Ok(_) => return Ok(()),
                // It is there, but takes nothing.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // It has gone; another may have taken its place.
                Err(_) => self.socket = None,
            }
        }
        let socket = self.connect()?;
        socket.send(message)?;
        self.socket = Some(socket);
        Ok(())
    }

    fn line(&mut self, severity: u8, text: &[u8]) {
        let message = self.message(severity, text);
        if self.missing > 0 {
            let told = format!("lines lost before this one: {}", self.missing);
            let told = self.message(Severity::Warning as u8, told.as_bytes());
            if self.send(&told).is_ok() {
                self.missing = 0;
            }
        }
        if self.missing > 0 || self.send(&message).is_err() {
            self.missing += 1;
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let [severity, text @ ..] = line {
            // Levels are written in columns.
            let text = text.strip_prefix(b" ").unwrap_or(text);
            // A report of several lines is as many messages: daemons escape line breaks.
            let lines = text
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::trim_ascii_end);
            for text in lines.filter(|text| !text.is_empty()) {
                self.line(*severity, text);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Daemon {
        socket: UnixDatagram,
        path: PathBuf,
    }

    impl Daemon {
        fn start(name: &str) -> Daemon {
            let path = std::env::temp_dir().join(format!("corex-log-{name}-{}", process::id()));
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            Daemon { socket, path }
        }

        fn next(&self) -> String {
            let mut buffer = [0; 2 * MOST];
            let length = self.socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn syslog(daemon: &Daemon) -> Syslog {
        let local0 = Facility::parse("LOG_LOCAL0").unwrap();
        Syslog::new(daemon.path.clone(), "edge".to_owned(), local0)
    }

    fn write(log: &mut Syslog, severity: Severity, text: &str) {
        let line = [&[severity as u8], text.as_bytes()].concat();
        assert_eq!(log.write(&line).unwrap(), line.len());
    }

    #[test]
    fn a_line_has_priority_time_name_and_process() {
        let daemon = Daemon::start("line");
        let mut log = syslog(&daemon);
        write(&mut log, Severity::Error, "it went wrong\n");
        let line = daemon.next();
        // 16 * 8 + 3
        let rest = line.strip_prefix("<131>").unwrap();
        let (time, rest) = rest.split_at(15);
        let of_time: Vec<char> = time.chars().collect();
        assert!(of_time[0].is_ascii_uppercase(), "{line}");
        assert_eq!(
            [of_time[3], of_time[6], of_time[9], of_time[12]],
            [' ', ' ', ':', ':']
        );
        assert_eq!(rest, format!(" edge[{}]: it went wrong", process::id()));
        log.state().set_facility(Facility::DAEMON);
        write(&mut log, Severity::Debug, "x");
        assert!(daemon.next().starts_with("<31>"), "3 * 8 + 7");
    }

    #[test]
    fn several_lines_are_several_messages_and_long_ones_are_cut() {
        let daemon = Daemon::start("several");
        let mut log = syslog(&daemon);
        write(&mut log, Severity::Info, " one\n\n  two\n");
        assert!(daemon.next().ends_with("]: one"));
        assert!(daemon.next().ends_with("]:   two"));
        write(&mut log, Severity::Info, &"x".repeat(3 * MOST));
        assert_eq!(daemon.next().len(), MOST);
        assert_eq!(log.state().lost(), 0);
    }

    #[test]
    fn lines_that_nobody_takes_are_counted_and_told_of_to_the_next_daemon() {
        let daemon = Daemon::start("gone");
        let mut log = syslog(&daemon);
        write(&mut log, Severity::Info, "before");
        daemon.next();
        drop(daemon);
        write(&mut log, Severity::Info, "lost");
        write(&mut log, Severity::Info, "lost as well");
        assert_eq!(log.state().lost(), 2);
        let daemon = Daemon::start("gone");
        write(&mut log, Severity::Info, "after");
        let told = daemon.next();
        assert!(told.starts_with("<132>") && told.ends_with("lines lost before this one: 2"));
        assert!(daemon.next().ends_with("after"));
        assert_eq!(log.state().lost(), 2);
    }

    #[test]
    fn a_daemon_that_takes_nothing_costs_lines_and_no_more() {
        let daemon = Daemon::start("stuck");
        let mut log = syslog(&daemon);
        // The queue of a socket: net.unix.max_dgram_qlen, and what its buffer holds.
        let mut written = 0;
        while log.state().lost() == 0 {
            write(&mut log, Severity::Info, "x");
            written += 1;
            assert!(written < 1_000);
        }
        for _ in 1..written {
            daemon.next();
        }
        write(&mut log, Severity::Info, "taken");
        assert!(daemon.next().ends_with("lines lost before this one: 1"));
        assert!(daemon.next().ends_with("taken"));
    }

    #[test]
    fn facilities_are_those_of_kamailio() {
        assert_eq!(Facility::parse("LOG_LOCAL7").map(Facility::code), Some(23));
        assert_eq!(Facility::parse("LOG_DAEMON"), Some(Facility::DAEMON));
        assert_eq!(Facility::parse("local7"), None);
        assert_eq!(Facility::names().count(), 20);
    }
}
