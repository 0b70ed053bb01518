//! What waits for one worker that others have handed over, in the order in which each did.

use std::{
    collections::VecDeque,
    io::Write as _,
    os::unix::net::UnixStream,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use corex_lockfree::Doze;

use super::{balance::Load, parcel::Parcel};

/// Messages that wait for one worker at most.
pub const MAX_MESSAGES: usize = 4096;
/// Bytes that they have at most.
pub(super) const MAX_BYTES: usize = 8 << 20;

/// Why a worker gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much waits for it.
    Full,
    /// It has stopped.
    Closed,
}

/// The lane of one worker.
pub struct Lane {
    queue: Mutex<Queue>,
    /// Messages in the queue.
    waiting: AtomicUsize,
    /// Messages in the queue, or being handled, by the worker that they are from.
    in_hand: Box<[AtomicUsize]>,
    /// Its worker.
    doze: Doze,
    waker: UnixStream,
    /// What the worker did.
    pub load: Load,
}

#[derive(Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    messages: usize,
    bytes: usize,
    is_closed: bool,
}

impl Lane {
    /// A lane that so many workers may use; a byte through `waker`, which doesn't block, ends its
    /// worker's sleep.
    pub fn new(workers: usize, waker: UnixStream) -> Self {
        Self {
            queue: Mutex::default(),
            waiting: AtomicUsize::new(0),
            in_hand: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            doze: Doze::default(),
            waker,
            load: Load::default(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands messages over, or drops them.
    ///
    /// # Errors
    /// Why the worker doesn't get them.
    pub fn push(&self, parcel: Parcel) -> Result<(), Refused> {
        {
            let mut queue = self.queue();
            if queue.is_closed {
                return Err(Refused::Closed);
            }
            let (messages, bytes) = (parcel.count(), parcel.size());
            if queue.messages + messages > MAX_MESSAGES || queue.bytes + bytes > MAX_BYTES {
                return Err(Refused::Full);
            }
            queue.messages += messages;
            queue.bytes += bytes;
            self.in_hand[parcel.from].fetch_add(messages, Ordering::AcqRel);
            queue.parcels.push_back(parcel);
            self.waiting.store(queue.messages, Ordering::Release);
        }
        if self.doze.must_be_woken() {
            // Full means that it has been woken often enough.
            let _ = (&self.waker).write(&[1]);
        }
        Ok(())
    }

    /// The oldest messages.
    pub fn take(&self) -> Option<Parcel> {
        if self.waiting() == 0 {
            return None;
        }
        let mut queue = self.queue();
        let parcel = queue.parcels.pop_front()?;
        queue.messages -= parcel.count();
        queue.bytes -= parcel.size();
        self.waiting.store(queue.messages, Ordering::Release);
        Some(parcel)
    }

    /// What was taken is handled.
    pub fn done(&self, parcel: &Parcel) {
        self.in_hand[parcel.from].fetch_sub(parcel.count(), Ordering::AcqRel);
    }

    /// Messages from a worker that aren't handled yet.
    pub fn in_hand(&self, from: usize) -> usize {
        self.in_hand[from].load(Ordering::Acquire)
    }

    /// Messages that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes nothing more.
    pub fn close(&self) {
        self.queue().is_closed = true;
    }

    /// Whether nothing waits; the worker is woken by what comes from then on.
    pub fn may_sleep(&self) -> bool {
        self.doze.lie_down();
        self.waiting() == 0
    }

    /// The worker doesn't sleep any more.
    pub fn wake_up(&self) {
        self.doze.get_up();
    }
}
