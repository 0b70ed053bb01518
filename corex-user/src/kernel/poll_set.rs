//! poll(2) on a set of descriptors that stays the same from call to call.

use std::{
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Duration,
};

/// Descriptors that are waited for. One that is closed meanwhile is ready, with an error.
#[derive(Default)]
pub struct PollSet(Vec<libc::pollfd>);

impl PollSet {
    /// Takes these instead of the ones that it has.
    pub fn set<'f>(&mut self, all: impl Iterator<Item = BorrowedFd<'f>>) {
        self.0.clear();
        self.0.extend(all.map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        }));
    }

    /// Waits until one has something to read, `timeout` has passed, or a signal comes. Returns how
    /// many are ready.
    pub fn wait(&mut self, timeout: Duration) -> usize {
        let timeout = timeout.as_millis().try_into().unwrap_or(libc::c_int::MAX);
        // SAFETY: pointer and length are those of our memory.
        let ready =
            unsafe { libc::poll(self.0.as_mut_ptr(), self.0.len() as libc::nfds_t, timeout) };
        usize::try_from(ready).unwrap_or_else(|_| {
            // Interrupted: what is ready, the next call says.
            self.0.iter_mut().for_each(|fd| fd.revents = 0);
            0
        })
    }

    /// Whether the last call found the descriptor at this place ready.
    pub fn is_ready(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|fd| fd.revents != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write as _, os::fd::AsFd as _, os::unix::net::UnixStream};

    #[test]
    fn what_has_something_to_read_is_ready_and_what_has_not_is_not() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let (c, _d) = UnixStream::pair().unwrap();
        let mut set = PollSet::default();
        set.set([c.as_fd(), b.as_fd()].into_iter());
        assert_eq!(set.wait(Duration::ZERO), 0);
        assert!(!set.is_ready(1));
        a.write_all(b"x").unwrap();
        assert_eq!(set.wait(Duration::from_secs(60)), 1);
        assert!(set.is_ready(1) && !set.is_ready(0) && !set.is_ready(2));
        set.set([c.as_fd()].into_iter());
        assert_eq!(set.wait(Duration::ZERO), 0);
        assert!(!set.is_ready(0) && !set.is_ready(1));
    }
}
