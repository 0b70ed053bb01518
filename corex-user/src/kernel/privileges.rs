//! Giving privileges up. Capabilities belong to a thread (capabilities(7)), and one that is made
//! has those of the one that made it: so who is to have none is made by a thread that has none.

use std::thread;

use caps::{CapSet, Capability, errors::CapsError};
use nix::errno::Errno;

/// What can't be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Capabilities stay.
    #[error("drop capabilities: {0}")]
    Capabilities(#[source] CapsError),
    /// Programs that are started could get some.
    #[error("set no_new_privs: {0}")]
    NoNewPrivileges(#[source] Errno),
}

/// Takes every capability from the calling thread, for good, and from all programs and threads
/// that it starts; what it starts can't get any by a set-user-ID program either (no_new_privs).
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
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(PrivilegeError::Capabilities)?;
    }
    let kept = kept.iter().copied().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(PrivilegeError::Capabilities)?;
    }
    nix::sys::prctl::set_no_new_privs().map_err(PrivilegeError::NoNewPrivileges)
}

/// Does something in a thread without capabilities: the threads and processes that it starts
/// have none. What can't be dropped is logged.
pub fn without<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = drop_all() {
                tracing::warn!("{error}");
            }
            action()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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
