//! Logs: to stderr, from a thread of their own, so that a reader that stalls never blocks a
//! worker. When its queue is full, lines are dropped and counted.

use std::{
    io::{self, IsTerminal as _},
    sync::atomic::{AtomicI64, Ordering},
};

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Registry, filter::LevelFilter, fmt, prelude::*, reload};

/// Lines waiting for the writer at most.
const QUEUE: usize = 8192;

/// Keeps the writer alive; its drop writes what is queued.
pub struct Log {
    dropped: ErrorCounter,
    level: reload::Handle<LevelFilter, Registry>,
    debug: AtomicI64,
    _guard: WorkerGuard,
}

impl Log {
    /// Lines that the full queue cost.
    pub fn dropped(&self) -> usize {
        self.dropped.dropped_lines()
    }

    /// Kamailio's level, as it was set last.
    pub fn debug(&self) -> i64 {
        self.debug.load(Ordering::Relaxed)
    }

    /// Logs what is of this level or above from now on.
    pub fn set_debug(&self, debug: i64) {
        self.debug.store(debug, Ordering::Relaxed);
        // Refused only when the subscriber is gone, with the process.
        let _ = self.level.reload(level(debug));
    }
}

/// Kamailio's `debug` level (-5 alert … 3 debug) as a tracing level.
fn level(debug: i64) -> LevelFilter {
    match debug {
        ..=-1 => LevelFilter::from_level(Level::ERROR),
        0 => LevelFilter::from_level(Level::WARN),
        1 | 2 => LevelFilter::from_level(Level::INFO),
        3 => LevelFilter::from_level(Level::DEBUG),
        _ => LevelFilter::from_level(Level::TRACE),
    }
}

/// Starts logging at Kamailio's level `debug`. Call once; a second call changes nothing.
pub fn start(debug: i64) -> Log {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .thread_name("corex-log")
        .finish(io::stderr());
    let dropped = writer.error_counter();
    let (filter, handle) = reload::Layer::new(level(debug));
    let lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // Refused only if a subscriber is set already.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    Log {
        dropped,
        level: handle,
        debug: AtomicI64::new(debug),
        _guard: guard,
    }
}
