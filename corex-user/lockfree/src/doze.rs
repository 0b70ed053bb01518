//! A thread that sleeps, and those that wake it.

use crate::sync::{AtomicBool, Ordering, fence};

/// Whether a thread sleeps that must be woken when something comes for it: a wake-up is a system call,
/// which a thread that is awake needn't have made for it.
///
/// The thread says that it lies down, and then looks whether something waits. Who puts something there
/// does so first, and asks then. So one of them sees what the other did.
#[derive(Debug)]
pub struct Doze {
    is_asleep: AtomicBool,
}

impl Default for Doze {
    fn default() -> Self {
        Self {
            is_asleep: AtomicBool::new(false),
        }
    }
}

impl Doze {
    /// The thread is about to sleep, unless what it looks at after this has something for it.
    #[inline]
    pub fn lie_down(&self) {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The thread doesn't sleep any more.
    #[inline]
    pub fn get_up(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the thread must be woken by who has just put something there for it: true once for each
    /// sleep.
    #[inline]
    pub fn must_be_woken(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::AcqRel)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_woken_once() {
        let doze = Doze::default();
        assert!(!doze.must_be_woken());
        doze.lie_down();
        assert!(doze.must_be_woken() && !doze.must_be_woken());
        doze.lie_down();
        doze.get_up();
        assert!(!doze.must_be_woken());
    }
}
