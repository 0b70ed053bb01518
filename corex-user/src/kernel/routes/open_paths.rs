//! Paths that the kernel is to be asked for.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{FRESH, MAX_PATHS, Path};

/// Events come in bursts; the kernel is asked once per burst.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// Paths that the kernel is asked for between two looks at what else has come.
const AT_A_TIME: usize = 1024;

/// Paths without a next hop.
#[derive(Default)]
pub struct OpenPaths {
    paths: HashMap<Path, OpenPath>,
    due_at: Option<Instant>,
}

struct OpenPath {
    /// Of a next hop that was withdrawn: how long it would have been used.
    fresh_until: Option<Instant>,
    since: Instant,
    /// Whether the kernel is to be asked; else its last answer was that it can't tell, and a change
    /// makes it due again.
    is_due: bool,
}

impl OpenPaths {
    /// A message was sent by the kernel's socket for want of a next hop.
    pub fn ask(&mut self, path: Path) {
        self.open(path, None);
        self.due_at = Some(Instant::now());
    }

    /// The next hop may have changed.
    pub fn revise(&mut self, path: Path, fresh_until: Instant) {
        self.open(path, Some(fresh_until));
        self.due_soon();
    }

    fn open(&mut self, path: Path, fresh_until: Option<Instant>) {
        let since = Instant::now();
        if self.paths.len() >= MAX_PATHS {
            self.forget(since);
        }
        if self.paths.len() < MAX_PATHS {
            let open = OpenPath {
                fresh_until,
                since,
                is_due: true,
            };
            self.paths.insert(path, open);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.paths
            .retain(|_, open| now.duration_since(open.since) < FRESH);
    }

    fn due_soon(&mut self) {
        self.due_at.get_or_insert(Instant::now() + DEBOUNCE);
    }

    /// After a change every answer may be another one.
    pub fn ask_again(&mut self) {
        self.forget(Instant::now());
        self.paths.values_mut().for_each(|open| open.is_due = true);
        if !self.paths.is_empty() {
            self.due_soon();
        }
    }

    /// When the kernel is to be asked. `None`: there is nothing to ask.
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Some of those that are due, which they are no more; of those that were withdrawn, with how
    /// long the next hop would have been used.
    pub fn take_due(&mut self) -> Vec<(Path, Option<Instant>)> {
        let due = self.paths.iter_mut().filter(|(_, open)| open.is_due);
        let taken: Vec<_> = due
            .take(AT_A_TIME)
            .map(|(path, open)| {
                open.is_due = false;
                (*path, open.fresh_until)
            })
            .collect();
        self.due_at = (taken.len() == AT_A_TIME).then(Instant::now);
        taken
    }

    /// It has a next hop.
    pub fn close(&mut self, path: &Path) {
        self.paths.remove(path);
    }
}
