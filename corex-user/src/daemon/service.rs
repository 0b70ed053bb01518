//! What a service manager is told (sd_notify(3)). Without one nothing happens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

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

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
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
