//! Reads configurations and scripts for as long as corex runs: in a thread of its own, which has no
//! privileges, and which can still read files that the rest can't reach any more. Those that only
//! root reads it gets from a process that is root (`kernel/root_files.rs`).

use std::{path::PathBuf, sync::Arc, thread};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use crate::{
    kernel::{privileges, root_files},
    module::MODULES,
};
use corex_script::{Loaded, Loading, Program, language::ReloadError, syntax};

/// What the thread does, one after the other.
enum Job {
    Configuration(PathBuf, oneshot::Sender<Loaded>),
    Scripts(
        Arc<Program>,
        &'static str,
        oneshot::Sender<Result<(), ReloadError>>,
    ),
}

impl Job {
    fn run(self) {
        // Nobody waits any more when corex stops.
        match self {
            Job::Configuration(path, answer) => {
                let loading = Loading {
                    read: &|path| root_files::read(path, syntax::read),
                    // Who this is has been settled at the start.
                    settled: &|_| Ok(()),
                };
                let _ = answer.send(corex_script::load(&path, MODULES, &loading));
            }
            Job::Scripts(program, module, answer) => {
                let _ = answer.send(program.reload_scripts(module));
            }
        }
    }
}

/// The thread that reads configurations.
pub struct Loader(mpsc::UnboundedSender<Job>);

impl Loader {
    /// Starts the thread. To be called before files go out of reach.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start() -> anyhow::Result<Loader> {
        let (sender, mut jobs) = mpsc::unbounded_channel::<Job>();
        let run = move || {
            while let Some(job) = jobs.blocking_recv() {
                job.run();
            }
        };
        privileges::without(|| {
            thread::Builder::new()
                .name("corex-loader".to_owned())
                .spawn(run)
                .context("start the thread for configurations")
        })?;
        Ok(Loader(sender))
    }

    /// Reads and checks the configuration in a file.
    ///
    /// # Errors
    /// When the thread has died.
    pub async fn load(&self, path: PathBuf) -> anyhow::Result<Loaded> {
        let (answer, loaded) = oneshot::channel();
        self.give(Job::Configuration(path, answer))?;
        loaded.await.context("read the configuration")
    }

    /// Reads the scripts of a program again that a module brings.
    ///
    /// # Errors
    /// When the thread has died; inside, what is wrong with the scripts.
    pub async fn reload_scripts(
        &self,
        program: Arc<Program>,
        module: &'static str,
    ) -> anyhow::Result<Result<(), ReloadError>> {
        let (answer, reloaded) = oneshot::channel();
        self.give(Job::Scripts(program, module, answer))?;
        reloaded.await.context("read the scripts")
    }

    fn give(&self, job: Job) -> anyhow::Result<()> {
        let sent = self.0.send(job).ok();
        sent.context("the thread for configurations has died; this is a bug in corex")
    }
}
