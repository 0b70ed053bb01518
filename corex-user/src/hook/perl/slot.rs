//! Where the supervisor and the workers meet: for each worker the process that waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io::Write as _, os::unix::net::UnixStream};

use super::process::Process;
use corex_script::language_counters::{LanguageCounters, Languages};

/// What the supervisor is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// A worker has taken its spare process, or there is a new worker: see to it.
    Look,
    /// This process is of no use any more: kill it.
    Lost(u64),
    /// This one may end by itself: nobody calls it again.
    Dismissed(u64),
    /// Read the script again.
    Reload,
    /// End.
    Stop,
}

/// The spare process of one worker.
#[derive(Debug)]
pub(super) struct Slot {
    /// The worker's number, from 0.
    pub number: u32,
    spare: Mutex<Option<Process>>,
    /// Its generation; 0: there is none.
    generation: AtomicU64,
    /// Its worker has gone, and nobody is to call the process any more.
    is_left: AtomicBool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        // Nobody holds it longer than it takes to move a few words.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its worker has gone, and no process is to be kept for it.
    pub fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }

    /// Notes that its worker goes, or comes.
    pub fn set_left(&self, left: bool) {
        self.is_left.store(left, Ordering::Release);
    }

    /// The generation of the spare; 0: there is none.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The serial number of the spare.
    pub fn serial(&self) -> Option<u64> {
        self.lock().as_ref().map(|process| process.serial)
    }

    /// Takes the spare.
    pub fn take(&self) -> Option<Process> {
        let mut spare = self.lock();
        self.generation.store(0, Ordering::Release);
        spare.take()
    }

    /// Puts a spare there; the one that was.
    pub fn put(&self, process: Process) -> Option<Process> {
        let mut spare = self.lock();
        self.generation.store(process.generation, Ordering::Release);
        spare.replace(process)
    }
}

/// What the supervisor, the workers and whoever has the engine share.
#[derive(Debug)]
pub(super) struct Common {
    state: Mutex<State>,
    changed: Condvar,
    orders: Sender<Order>,
    waker: UnixStream,
}

#[derive(Debug)]
struct State {
    slots: Vec<Arc<Slot>>,
    /// What became of the first start.
    started: Option<Result<(), String>>,
    languages: Arc<Languages>,
}

impl Common {
    pub fn new(orders: Sender<Order>, waker: UnixStream) -> Common {
        Common {
            state: Mutex::new(State {
                slots: Vec::new(),
                started: None,
                languages: Arc::default(),
            }),
            changed: Condvar::new(),
            orders,
            waker,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the supervisor. Never blocks.
    pub fn order(&self, order: Order) {
        // It is gone only when the process ends.
        let _ = self.orders.send(order);
        // A full pipe wakes as well as one byte more.
        let _ = (&self.waker).write(&[1]);
    }

    /// The slot of a worker, which is made where there is none.
    pub fn slot(&self, number: u32) -> Arc<Slot> {
        let mut state = self.state();
        if let Some(slot) = state.slots.iter().find(|slot| slot.number == number) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot {
            number,
            spare: Mutex::new(None),
            generation: AtomicU64::new(0),
            is_left: AtomicBool::new(false),
        });
        state.slots.push(Arc::clone(&slot));
        slot
    }

    /// Whether there is a slot for this worker.
    pub fn has_slot(&self, number: u32) -> bool {
        self.state().slots.iter().any(|slot| slot.number == number)
    }

    /// The slots of all workers.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.state().slots.clone()
    }

    /// Notes what became of the first start, unless that is known.
    pub fn set_started(&self, result: Result<(), String>) {
        self.state().started.get_or_insert(result);
        self.changed.notify_all();
    }

    /// Whether the first start is over, well or not.
    pub fn is_started(&self) -> bool {
        self.state().started.is_some()
    }

    /// Tells those that wait to look again.
    pub fn notify(&self) {
        // Taken so that nobody is between looking and waiting.
        drop(self.state());
        self.changed.notify_all();
    }

    /// Waits until every slot that `which` names has a spare, but no longer than `most`. What
    /// became of the first start.
    pub fn wait(&self, which: impl Fn(u32) -> bool, most: Duration) -> Option<Result<(), String>> {
        let deadline = Instant::now() + most;
        let mut state = self.state();
        loop {
            let mut slots = state.slots.iter().filter(|slot| which(slot.number));
            let failed = matches!(state.started, Some(Err(_)));
            let left = deadline.saturating_duration_since(Instant::now());
            if failed || slots.all(|slot| slot.generation() != 0) || left.is_zero() {
                return state.started.clone();
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Counts with `languages` from here on.
    pub fn count_with(&self, languages: Arc<Languages>) {
        self.state().languages = languages;
    }

    /// Counts one up.
    pub fn count(&self, which: fn(&LanguageCounters) -> &AtomicU64) {
        self.state().languages.perl.add(which);
    }
}
