//! Sharding: one carrier is one 5-tuple, and so one queue and one worker, be the others ever so
//! idle. A worker may hand messages over to the others by their Call-ID: those of a Call-ID always
//! go to the same worker, in their order, whichever queue, socket or stream they came by.
//!
//! What is handed over is a copy of the bytes: an AF_XDP frame belongs to the packet memory and the
//! rings of one worker, and what was copied to the CPU that handles it is in its cache already.

mod balance;
mod lane;
mod parcel;

use std::{
    hash::{BuildHasher as _, RandomState},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use corex_common::counters::WorkerCounters;
use corex_script::settings::Sharding;
use corex_sip::SipView;

use self::{
    balance::{Balance, PERIOD},
    lane::{Lane, Refused},
};
pub use self::{lane::MAX_MESSAGES, parcel::Parcel};
use crate::pipeline::Inbound;

/// Messages that are gathered for a worker that has work before it gets them.
const GATHERED: usize = 16;

/// What the workers share.
struct Crew {
    /// One lane for each worker, in order.
    lanes: Box<[Lane]>,
    /// Which worker a Call-ID belongs to. Its key is random, so that nobody can choose Call-IDs that
    /// all belong to one.
    hasher: RandomState,
    /// Workers that may hand over.
    active: AtomicUsize,
}

/// A worker's part of sharding.
pub struct Shard {
    own: usize,
    crew: Arc<Crew>,
    /// What is gathered for each worker.
    outgoing: Vec<Parcel>,
    balance: Balance,
    mode: Sharding,
    looked_at: Option<Instant>,
    is_active: bool,
    is_spreading: bool,
}

/// The parts of all workers, which are woken by these.
pub fn crew(wakers: Vec<UnixStream>) -> Vec<Shard> {
    let count = wakers.len();
    let lanes = wakers.into_iter().map(|waker| Lane::new(count, waker));
    let crew = Arc::new(Crew {
        lanes: lanes.collect(),
        hasher: RandomState::new(),
        active: AtomicUsize::new(0),
    });
    let part = |own| Shard {
        own,
        outgoing: (0..count).map(|_| Parcel::new(own)).collect(),
        crew: Arc::clone(&crew),
        balance: Balance::default(),
        mode: Sharding::Off,
        looked_at: None,
        is_active: false,
        is_spreading: false,
    };
    (0..count).map(part).collect()
}

impl Shard {
    fn lane(&self) -> &Lane {
        &self.crew.lanes[self.own]
    }

    fn is_alone(&self) -> bool {
        self.crew.lanes.len() < 2
    }

    /// The worker begins to run.
    pub fn begin(&mut self) {
        if !self.is_active {
            self.is_active = true;
            self.crew.active.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The worker hands nothing over any more.
    pub fn end(&mut self, counters: &mut WorkerCounters) {
        self.is_spreading = false;
        self.flush(counters);
        if self.is_active {
            self.is_active = false;
            self.crew.active.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Whether workers may still hand over.
    pub fn may_get_more(&self) -> bool {
        self.crew.active.load(Ordering::Acquire) > 0
    }

    /// Nothing more is taken; what others hand over they count as dropped.
    pub fn close(&self) {
        self.lane().close();
    }

    /// Shows the others what this worker did, and decides whether it hands over from now on.
    pub fn look(&mut self, mode: Sharding, counters: &WorkerCounters, now: Instant) {
        if self.is_alone() {
            return;
        }
        self.lane().load.publish(counters);
        let since = self.looked_at.map(|at| now.saturating_duration_since(at));
        if mode == self.mode && since.is_some_and(|since| since < PERIOD) {
            return;
        }
        self.mode = mode;
        self.looked_at = Some(now);
        let wanted = match mode {
            Sharding::Off => false,
            Sharding::On => true,
            Sharding::Auto => {
                let loads = self.crew.lanes.iter().map(|lane| lane.load.now());
                self.balance.look(now, self.own, loads.collect())
            }
        };
        // What is handled here must not overtake what others have in hand, or will have.
        let is_settled = || {
            let mut lanes = self.crew.lanes.iter();
            lanes.all(|lane| lane.in_hand(self.own) == 0)
                && self.outgoing.iter().all(|parcel| parcel.count() == 0)
        };
        if wanted || is_settled() {
            self.is_spreading = wanted;
        }
    }

    /// Hands a message over to the worker that its Call-ID belongs to. False: it is this one, or
    /// nothing is handed over.
    #[inline]
    pub fn hand_over(&mut self, inbound: &Inbound<'_>, counters: &mut WorkerCounters) -> bool {
        self.is_spreading && self.spread(inbound, counters)
    }

    fn spread(&mut self, inbound: &Inbound<'_>, counters: &mut WorkerCounters) -> bool {
        let view = SipView::parse(inbound.payload).ok();
        let Some(call_id) = view.as_ref().and_then(SipView::call_id) else {
            return false;
        };
        let count = self.crew.lanes.len() as u64;
        let to = (self.crew.hasher.hash_one(call_id) % count) as usize;
        if to == self.own {
            return false;
        }
        self.outgoing[to].add(inbound);
        // Who has nothing to do gets it at once; who has, doesn't wait for it.
        if self.outgoing[to].count() >= GATHERED || self.crew.lanes[to].in_hand(self.own) == 0 {
            self.send(to, counters);
        }
        true
    }

    /// Hands over what is gathered.
    pub fn flush(&mut self, counters: &mut WorkerCounters) {
        for to in 0..self.outgoing.len() {
            if self.outgoing[to].count() > 0 {
                self.send(to, counters);
            }
        }
    }

    fn send(&mut self, to: usize, counters: &mut WorkerCounters) {
        let parcel = std::mem::replace(&mut self.outgoing[to], Parcel::new(self.own));
        let count = parcel.count() as u64;
        *match self.crew.lanes[to].push(parcel) {
            Ok(()) => &mut counters.shard_out,
            Err(Refused::Full) => &mut counters.drop_shard_full,
            Err(Refused::Closed) => &mut counters.drop_stopping,
        } += count;
    }

    /// The oldest messages that another worker has handed over, to be given back to
    /// [`Self::done`].
    pub fn take(&self) -> Option<Parcel> {
        self.lane().take()
    }

    /// What was [taken](Self::take) is handled.
    pub fn done(&self, parcel: &Parcel) {
        self.lane().done(parcel);
    }

    /// Messages that wait for this worker.
    pub fn waiting(&self) -> usize {
        self.lane().waiting()
    }

    /// The worker is about to sleep, and is woken as soon as something is handed over. False: there
    /// is something already.
    pub fn may_sleep(&self) -> bool {
        self.is_alone() || self.lane().may_sleep()
    }

    /// The worker is awake again.
    pub fn wake_up(&self) {
        if !self.is_alone() {
            self.lane().wake_up();
        }
    }
}

#[cfg(test)]
mod tests;
