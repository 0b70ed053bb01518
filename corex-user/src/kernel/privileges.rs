//! Giving privileges up. Capabilities and user IDs belong to a thread (capabilities(7),
//! credentials(7)), and one that is made has those of the one that made it: so who is to have
//! none is made by a thread that has none.

use std::{
    io,
    sync::{OnceLock, mpsc},
    thread::{self, JoinHandle},
};

use caps::{CapSet, Capability, errors::CapsError};
use nix::errno::Errno;

use super::{
    identity::Identity,
    syscalls::{self, FilterError},
};

/// Who threads are once they give up what they have; unset: who they were.
static IDENTITY: OnceLock<Identity> = OnceLock::new();

/// What a thread that has yet to become somebody else needs for it.
const TO_CHANGE: [Capability; 2] = [Capability::CAP_SETUID, Capability::CAP_SETGID];

/// What can't be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Capabilities stay.
    #[error("drop capabilities: {0}")]
    Capabilities(#[source] CapsError),
    /// The user stays.
    #[error("go on as {0}: {1}")]
    User(&'static Identity, #[source] io::Error),
    /// Programs that are started could get some.
    #[error("set no_new_privs: {0}")]
    NoNewPrivileges(#[source] Errno),
    /// All system calls stay.
    #[error("filter system calls: {0}")]
    SystemCalls(#[from] FilterError),
}

/// Who all threads are from the moment on that they give their privileges up. The first one
/// counts, for the process's life: those that have changed already can't change again.
pub fn settle_on(identity: Identity) {
    let _ = IDENTITY.set(identity);
}

/// Who [`settle_on`] was told, unless that is who corex was started as.
pub fn identity() -> Option<&'static Identity> {
    IDENTITY.get()
}

/// Takes every capability from the calling thread, for good, and from all programs and threads
/// that it starts; what it starts can't get any by a set-user-ID program either (no_new_privs), nor
/// make the system calls of [`syscalls`]. It is who [`settle_on`] was told.
///
/// # Errors
/// The first step that the kernel refuses.
pub fn drop_all() -> Result<(), PrivilegeError> {
    drop_all_but(&[])
}

/// Takes every capability but these from the calling thread, as [`drop_all`] does.
///
/// # Errors
/// The first step that the kernel refuses.
pub fn drop_all_but(kept: &[Capability]) -> Result<(), PrivilegeError> {
    // Only with CAP_SETPCAP; without it there is nothing in the bounding set that could be had.
    let _ = caps::clear(None, CapSet::Bounding);
    if let Some(identity) = identity() {
        identity
            .adopt()
            .map_err(|error| PrivilegeError::User(identity, error))?;
    }
    keep(kept)?;
    nix::sys::prctl::set_no_new_privs().map_err(PrivilegeError::NoNewPrivileges)?;
    Ok(syscalls::forbid_what_nobody_needs()?)
}

fn keep(kept: &[Capability]) -> Result<(), PrivilegeError> {
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(PrivilegeError::Capabilities)?;
    }
    let had = caps::read(None, CapSet::Permitted).map_err(PrivilegeError::Capabilities)?;
    let kept = kept.iter().copied().filter(|it| had.contains(it)).collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(PrivilegeError::Capabilities)?;
    }
    Ok(())
}

/// Does something in a thread without capabilities: the threads and processes that it starts
/// have none. What can't be dropped is logged.
pub fn without<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    in_a_thread(drop_all, action)
}

/// Does something in a thread that can do no more than become somebody else, by [`drop_all`]: for
/// who isn't told yet who that is.
pub fn before_it_is_settled<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    in_a_thread(|| keep(&TO_CHANGE), action)
}

fn in_a_thread<T: Send>(
    give_up: impl FnOnce() -> Result<(), PrivilegeError> + Send,
    action: impl FnOnce() -> T + Send,
) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = give_up() {
                tracing::warn!("{error}");
            }
            action()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Starts a thread that gives up what it doesn't need by `settle`. When this returns it has: a corex
/// that says that it is ready has no thread that is still to do so.
///
/// # Errors
/// When there can be no thread.
pub fn spawn_settled(
    name: &str,
    settle: impl FnOnce() + Send + 'static,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (sender, settled) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            settle();
            let _ = sender.send(());
            work();
        })?;
    // One that has panicked has said so.
    let _ = settled.recv();
    Ok(thread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn effective() -> String {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("CapEff:"));
        line.unwrap_or_default().to_owned()
    }

    #[test]
    fn what_is_started_without_capabilities_has_none_and_the_caller_keeps_its_own() {
        let before = effective();
        let inside = without(|| thread::spawn(effective).join().unwrap());
        assert_eq!(inside.trim_end_matches('0'), "CapEff:\t");
        assert_eq!(effective(), before);
    }
}
