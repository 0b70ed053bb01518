//! Looking at messages as they pass: a bounded number of those that match, before and after the
//! hook, for as long as somebody looks.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use regex::bytes::Regex;
use tokio::sync::mpsc;

use corex_script::Direction;
use corex_sip::Transport;

/// A message that passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced {
    /// When it passed.
    pub at: SystemTime,
    /// Whether it came in or went out.
    pub direction: Direction,
    /// The transport that it came or went by.
    pub transport: Transport,
    /// The address that sent it.
    pub src: SocketAddr,
    /// The address that gets it.
    pub dst: SocketAddr,
    /// Its bytes before the hook.
    pub before: Vec<u8>,
    /// Its bytes after the hook; `None`: the hook left it as it was, or wasn't run.
    pub after: Option<Vec<u8>>,
}

struct Session {
    filter: Regex,
    left: usize,
    records: mpsc::Sender<Traced>,
}

/// Where messages can be looked at. While nobody looks, it costs a worker one load for each message.
#[derive(Default)]
pub struct Tap {
    active: AtomicBool,
    session: Mutex<Option<Session>>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap")
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

impl Tap {
    fn lock(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to look: at most `most` messages whose bytes match, before or after the hook, come
    /// through the channel, which closes after the last. Whoever looked until now sees no more.
    pub fn open(&self, filter: Regex, most: usize) -> mpsc::Receiver<Traced> {
        let (records, receiver) = mpsc::channel(most.max(1));
        *self.lock() = Some(Session {
            filter,
            left: most,
            records,
        });
        self.active.store(true, Ordering::Relaxed);
        receiver
    }

    /// Ends what [`Tap::open`] began.
    pub fn close(&self) {
        self.active.store(false, Ordering::Relaxed);
        *self.lock() = None;
    }

    /// Whether somebody looks.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Shows a message to whoever looks.
    pub fn show(&self, before: &[u8], after: Option<&[u8]>, record: impl FnOnce() -> Traced) {
        let mut session = self.lock();
        let Some(open) = session.as_mut() else {
            return;
        };
        let matches = |bytes: &[u8]| open.filter.is_match(bytes);
        if !matches(before) && !after.is_some_and(matches) {
            return;
        }
        open.left = open.left.saturating_sub(1);
        // There is room for all of them; whoever looked has gone otherwise.
        let is_gone = open.records.try_send(record()).is_err();
        if is_gone || open.left == 0 {
            self.active.store(false, Ordering::Relaxed);
            *session = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(tap: &Tap, before: &[u8], after: Option<&[u8]>) {
        tap.show(before, after, || Traced {
            at: SystemTime::UNIX_EPOCH,
            direction: Direction::Incoming,
            transport: Transport::Udp,
            src: ([192, 0, 2, 1], 5060).into(),
            dst: ([192, 0, 2, 2], 5060).into(),
            before: before.to_vec(),
            after: after.map(<[u8]>::to_vec),
        });
    }

    #[test]
    fn so_many_messages_come_as_match_before_or_after_and_no_more() {
        let tap = Tap::default();
        show(&tap, b"nobody looks", None);
        let mut seen = tap.open(Regex::new("(?i)invite").unwrap(), 2);
        show(&tap, b"OPTIONS", None);
        show(&tap, b"INVITE 1", None);
        show(&tap, b"\x1f\x8b", Some(b"INVITE 2"));
        assert!(!tap.is_open());
        show(&tap, b"INVITE 3", None);
        assert_eq!(seen.try_recv().unwrap().before, b"INVITE 1");
        assert_eq!(seen.try_recv().unwrap().after.unwrap(), b"INVITE 2");
        assert!(seen.try_recv().is_err());
        assert!(seen.is_closed());
    }

    #[test]
    fn it_ends_when_whoever_looked_is_gone() {
        let tap = Tap::default();
        drop(tap.open(Regex::new("").unwrap(), 10));
        show(&tap, b"x", None);
        assert!(!tap.is_open());
        let seen = tap.open(Regex::new("").unwrap(), 10);
        tap.close();
        assert!(!tap.is_open() && seen.is_closed());
    }
}
