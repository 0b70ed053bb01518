//! The engine of the module app_perl: scripts in Perl, each in a process of its own.
//!
//! Every worker has a process that it calls over a socket, and another one that has loaded the
//! script and waits to take its place. A thread starts and buries them, so that a worker waits
//! for nothing but the script, and for that no longer than `timeout`.
//!
//! A process has `/` as its directory, `PATH` and `LANG=C` as its environment, /dev/null as
//! standard input; what it prints goes to the log. It is named `corex-perl worker N`, leads a
//! process group of its own, and ends with corex, however that ends. It is corex's user, without
//! privileges, and reaches the files that `confinement.rs` lists.

mod channel;
mod confinement;
pub mod frame;
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
use self::worker::PerlEngine;
pub(crate) use self::worker::call;
use crate::kernel::{limits, privileges};
use corex_script::function::{LoadError, Sources};
use corex_script::language::{Engine, Language, ReloadError};
use corex_script::language_counters::Languages;
use corex_script::settings;
use corex_script::syntax::diag::Diagnostic;
use corex_script::syntax::span::Span;

/// What Perl runs: our packages, then the loop that serves calls.
const DRIVER: &str = concat!(include_str!("Kamailio.pm"), include_str!("driver.pl"));

/// How many workers there have been at a time: a configuration that is loaded while corex runs has
/// a process ready for each before one changes over to it.
static WORKERS: AtomicU32 = AtomicU32::new(0);

/// The processes of one script. They end with it.
#[derive(Debug)]
pub(crate) struct PerlScript {
    common: Arc<Common>,
    settings: settings::Perl,
}

/// Starts Perl with the script that the parameter `filename` names, and waits until it is loaded.
///
/// # Errors
/// Why it can't be loaded: Perl's message, as a rule. Or that there is none.
pub(crate) fn load(sources: &Sources<'_>) -> Result<Arc<dyn Language>, LoadError> {
    let diagnostic = match PerlScript::start(&sources.settings.perl, sources.folder) {
        Ok(Some(script)) => return Ok(Arc::new(script)),
        Ok(None) => Diagnostic::error(Span::NONE, "app_perl has no script")
            .help("add the line: modparam(\"app_perl\", \"filename\", \"/path/of/script.pl\")"),
        Err(reason) => {
            let diagnostic =
                Diagnostic::error(Span::NONE, format!("the script of app_perl: {reason}"));
            match privileges::identity() {
                Some(identity) if reason.contains("Permission denied") => diagnostic.help(format!(
                    "Perl runs as {identity}, who must be allowed to read it and to enter its folder; the core \
                     parameter `user` names another one"
                )),
                _ => diagnostic,
            }
        }
    };
    Err(LoadError {
        diagnostic: diagnostic.into(),
        parameter: None,
        part: None,
    })
}

impl PerlScript {
    /// Starts Perl with the script that `settings` name; relative paths begin at `folder`. Waits
    /// until it is loaded. `None`: there is no script.
    ///
    /// # Errors
    /// Why it can't be loaded: Perl's message, as a rule.
    fn start(settings: &settings::Perl, folder: &Path) -> Result<Option<PerlScript>, String> {
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
        let its_common = Arc::clone(&common);
        std::thread::Builder::new()
            .name("corex-perl".to_owned())
            .spawn(move || {
                // Perl's processes have it, too.
                limits::shorten_slice();
                match confinement::confine(&setup) {
                    Ok(()) => Supervisor::new(setup, its_common, receiver, wake).run(),
                    Err(reason) => its_common.set_started(Err(reason)),
                }
            })
            .map_err(failed)?;
        // Its end tells the thread to end.
        let engine = PerlScript {
            common,
            settings: settings.clone(),
        };
        match engine.common.wait(|_| true, START * 2) {
            Some(Ok(())) => Ok(Some(engine)),
            Some(Err(reason)) => Err(reason),
            None => Err("perl didn't start in time".to_owned()),
        }
    }
}

impl Language for PerlScript {
    /// Waits for the worker's process only where there have never been so many workers, which is
    /// so when they are made at the start.
    fn attach(self: Arc<Self>, worker: u32) -> Box<dyn Engine> {
        WORKERS.fetch_max(worker.saturating_add(1), Ordering::Relaxed);
        let is_new = !self.common.has_slot(worker);
        let slot = self.common.slot(worker);
        slot.set_left(false);
        self.common.order(Order::Look);
        if is_new {
            self.common.wait(|it| it == worker, START);
        }
        let common = Arc::clone(&self.common);
        Box::new(PerlEngine::new(common, slot, &self.settings))
    }

    /// Only asks for it: what becomes of it is logged and counted.
    fn reload(&self) -> Result<(), ReloadError> {
        self.common.order(Order::Reload);
        Ok(())
    }

    fn count_with(&self, counters: &Arc<Languages>) {
        self.common.count_with(Arc::clone(counters));
    }
}

#[cfg(test)]
impl PerlScript {
    /// Waits until every worker has a process that stands by.
    pub fn settle(&self) {
        self.common.wait(|_| true, START);
        assert!(
            self.common
                .slots()
                .iter()
                .all(|slot| slot.generation() != 0)
        );
    }
}

impl Drop for PerlScript {
    fn drop(&mut self) {
        self.common.order(Order::Stop);
    }
}
