//! What must be undone, is: when its guard is dropped, or when a signal ends the program.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::sys;

type Action = Box<dyn FnOnce() + Send>;

static ACTIONS: Mutex<BTreeMap<u64, Action>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(0);
static STOPPING: AtomicBool = AtomicBool::new(false);
static WATCH: Once = Once::new();

fn actions() -> MutexGuard<'static, BTreeMap<u64, Action>> {
    ACTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs its action when dropped.
#[must_use = "the action runs when the guard is dropped"]
#[derive(Debug)]
pub struct Guard(u64);

/// Registers an action for when the guard is dropped, or for SIGINT, SIGTERM or SIGHUP,
/// whichever comes first. On a signal the youngest action runs first, then the process dies
/// of that signal.
pub fn defer(action: impl FnOnce() + Send + 'static) -> Guard {
    WATCH.call_once(watch);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut actions = actions();
    if STOPPING.load(Ordering::SeqCst) {
        drop(actions);
        action();
        park();
    }
    actions.insert(id, Box::new(action));
    Guard(id)
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut actions = actions();
        if STOPPING.load(Ordering::SeqCst) {
            drop(actions);
            park();
        }
        let action = actions.remove(&self.0);
        drop(actions);
        if let Some(action) = action {
            action();
        }
    }
}

/// Keeps a thread from getting in the way, or from ending the process, while the watcher
/// cleans up: what it was doing has just lost its ground.
fn park() -> ! {
    loop {
        thread::park();
    }
}

fn watch() {
    let receiver = match sys::catch_ending_signals() {
        Ok(receiver) => receiver,
        Err(error) => {
            eprintln!("corex-lab: can't catch signals ({error}); Ctrl-C will leave things behind");
            return;
        }
    };
    thread::spawn(move || {
        let Some(signal) = receiver.wait() else {
            return;
        };
        let taken = {
            let mut actions = actions();
            STOPPING.store(true, Ordering::SeqCst);
            std::mem::take(&mut *actions)
        };
        for (_, action) in taken.into_iter().rev() {
            action();
        }
        sys::die_of(signal);
    });
}
