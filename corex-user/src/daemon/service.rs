//! What a service manager is told (sd_notify(3)). Without one nothing happens.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::unistd::Pid;
use sd_notify::NotifyState;

/// How often a successor says that all is well: what the service manager wants is told to the
/// process that it starts as the main one, and to nobody else (sd_watchdog_enabled(3)).
const OF_A_SUCCESSOR: Duration = Duration::from_secs(1);

/// The way to the service manager; `None` where there is none.
static MANAGER: OnceLock<Option<UnixDatagram>> = OnceLock::new();

/// corex is ready, and how it is doing.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// corex is stopping.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process has taken this one's place: it is the service's main one from now on.
pub fn succeeded_by(pid: Pid) {
    if let Ok(pid) = u32::try_from(pid.as_raw()) {
        tell(&[NotifyState::MainPid(pid)]);
    }
}

/// What a successor in the background says on standard output once it runs.
pub const ANNOUNCEMENT: &str = "corex runs\n";

/// Somebody waits on standard output to hear that this process runs.
pub struct Announcement {
    /// What standard output is afterwards; files can't be opened that late.
    nowhere: File,
}

impl Announcement {
    /// To be called before privileges are given up.
    ///
    /// # Errors
    /// There is no /dev/null.
    pub fn prepare() -> io::Result<Announcement> {
        let nowhere = File::options().write(true).open("/dev/null")?;
        Ok(Announcement { nowhere })
    }

    /// Says it, and leaves standard output.
    ///
    /// # Errors
    /// When standard output can't be closed.
    pub fn say(self) -> io::Result<()> {
        let mut out = io::stdout();
        // Who waits no longer has gone.
        let _ = out
            .write_all(ANNOUNCEMENT.as_bytes())
            .and_then(|()| out.flush());
        Ok(nix::unistd::dup2_stdout(self.nowhere)?)
    }
}

/// Connects to the service manager, if there is one. To be called before privileges are given up:
/// not everybody may send there.
pub fn connect() {
    match connected() {
        Ok(socket) => {
            let _ = MANAGER.set(socket);
        }
        Err(error) => tracing::debug!(%error, "the service manager isn't told"),
    }
}

fn connected() -> io::Result<Option<UnixDatagram>> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(None);
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(Some(socket))
}

fn tell(state: &[NotifyState<'_>]) {
    let Some(Some(manager)) = MANAGER.get() else {
        return;
    };
    let text: String = state.iter().map(|line| format!("{line}\n")).collect();
    if let Err(error) = manager.send(text.as_bytes()) {
        tracing::debug!(%error, "the service manager isn't told");
    }
}

/// Tells a service manager that wants to know it that all is well, often enough.
pub struct Watchdog {
    every: Option<Duration>,
    told: Instant,
}

impl Watchdog {
    /// As the service manager wants it; `is_successor`: this process takes the main one's place.
    pub fn new(is_successor: bool) -> Watchdog {
        // So that one that comes late doesn't count as none.
        let asked = sd_notify::watchdog_enabled().map(|patience| patience / 3);
        Watchdog {
            every: asked.or(is_successor.then_some(OF_A_SUCCESSOR)),
            told: Instant::now(),
        }
    }

    /// To be called now and then while all is well.
    pub fn feed(&mut self, now: Instant) {
        if self
            .every
            .is_some_and(|every| now.duration_since(self.told) >= every)
        {
            self.told = now;
            tell(&[NotifyState::Watchdog]);
        }
    }
}
