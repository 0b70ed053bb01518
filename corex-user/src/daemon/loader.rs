//! Reads configurations for as long as corex runs: in a thread of its own, which has no
//! capabilities, and which can still read files that the rest can't reach any more.

use std::{path::PathBuf, thread};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use crate::{kernel::privileges, module::MODULES};
use corex_script::Loaded;

type Job = (PathBuf, oneshot::Sender<Loaded>);

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
            while let Some((path, answer)) = jobs.blocking_recv() {
                // Nobody waits any more when corex stops.
                let _ = answer.send(corex_script::load(&path, MODULES));
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
        self.0
            .send((path, answer))
            .ok()
            .context("the thread for configurations has died; this is a bug in corex")?;
        loaded.await.context("read the configuration")
    }
}
