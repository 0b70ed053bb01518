//! What a service manager is told (sd_notify(3)). Without one nothing happens.

use std::{
    env, io,
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

use sd_notify::NotifyState;

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
    /// As the service manager wants it.
    pub fn new() -> Watchdog {
        Watchdog {
            // So that one that comes late doesn't count as none.
            every: sd_notify::watchdog_enabled().map(|patience| patience / 3),
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
