//! The engine of the module app_perl: scripts in Perl, each in a process of its own.
//!
//! Every worker has a process that it calls over a socket, and another one that has loaded the
//! script and waits to take its place. A thread starts and buries them, so that a worker waits
//! for nothing but the script, and for that no longer than `timeout`.
//!
//! A process has `/` as its directory, `PATH` and `LANG=C` as its environment, /dev/null as
//! standard input; what it prints goes to the log. It is named `corex-perl worker N`, leads a
//! process group of its own, and ends with corex, however that ends.

mod channel;
mod frame;
mod output;
mod process;
mod serve;
mod slot;
mod supervisor;
mod worker;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use self::process::Setup;
use self::slot::{Common, Order};
use self::supervisor::{START, Supervisor};
pub(crate) use self::worker::{Worker, call};
use crate::script::settings;
use crate::telemetry::language_counters::Languages;

/// What Perl runs: our packages, then the loop that serves calls.
const DRIVER: &str = concat!(include_str!("Kamailio.pm"), include_str!("driver.pl"));

/// How many workers there have been at a time: a configuration that is loaded while corex runs has
/// a process ready for each before one changes over to it.
static WORKERS: AtomicU32 = AtomicU32::new(0);

/// The processes of one script. They end with it.
#[derive(Debug)]
pub(crate) struct Engine {
    common: Arc<Common>,
    settings: settings::Perl,
}

impl Engine {
    /// Starts Perl with the script that `settings` name; relative paths begin at `folder`. Waits
    /// until it is loaded. `None`: there is no script.
    ///
    /// # Errors
    /// Why it can't be loaded: Perl's message, as a rule.
    pub fn start(settings: &settings::Perl, folder: &Path) -> Result<Option<Engine>, String> {
        let failed = |error: std::io::Error| format!("perl can't be started: {error}");
        let Some(setup) = Setup::new(settings, folder).map_err(failed)? else {
            return Ok(None);
        };
        let (waker, wake) = UnixStream::pair().map_err(failed)?;
        waker.set_nonblocking(true).map_err(failed)?;
        wake.set_nonblocking(true).map_err(failed)?;
        let (orders, receiver) = mpsc::channel();
        let common = Arc::new(Common::new(orders, waker));
        for number in 0..WORKERS.load(Ordering::Relaxed).max(1) {
            common.slot(number);
        }
        let supervisor = Supervisor::new(setup, Arc::clone(&common), receiver, wake);
        std::thread::Builder::new()
            .name("corex-perl".to_owned())
            .spawn(move || supervisor.run())
            .map_err(failed)?;
        // Its end tells the thread to end.
        let engine = Engine {
            common,
            settings: settings.clone(),
        };
        match engine.common.wait(|_| true, START * 2) {
            Some(Ok(())) => Ok(Some(engine)),
            Some(Err(reason)) => Err(reason),
            None => Err("perl didn't start in time".to_owned()),
        }
    }

    /// What worker `number`, from 0, calls the script by. Waits for its process only where there
    /// have never been so many workers, which is so when they are made at the start.
    pub fn attach(&self, number: u32) -> Worker {
        WORKERS.fetch_max(number.saturating_add(1), Ordering::Relaxed);
        let is_new = !self.common.has_slot(number);
        let slot = self.common.slot(number);
        slot.set_left(false);
        self.common.order(Order::Look);
        if is_new {
            self.common.wait(|it| it == number, START);
        }
        Worker::new(Arc::clone(&self.common), slot, &self.settings)
    }

    /// Has the script read again. Workers change over to it when it is loaded; if it can't be,
    /// the old one stays, which is logged and counted.
    pub fn reload(&self) {
        self.common.order(Order::Reload);
    }

    /// Waits until every worker has a process that stands by.
    #[cfg(test)]
    pub fn settle(&self) {
        self.common.wait(|_| true, START);
        assert!(
            self.common
                .slots()
                .iter()
                .all(|slot| slot.generation() != 0)
        );
    }

    /// Counts with these from here on.
    pub fn count_with(&self, languages: Arc<Languages>) {
        self.common.count_with(languages);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.common.order(Order::Stop);
    }
}
