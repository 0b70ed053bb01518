//! Another configuration while corex runs.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use tokio::{task, time};

use super::{
    context, copies, key_service, listings, loader::Loader, reply_keys::Keyring, workers::Workers,
};
use crate::{
    io::{listen, outbox::AsyncOutbox},
    kernel::roads::Roads,
    keystore::KeyService,
    pipeline::{PipelineContext, set_knobs},
    telemetry::log::Log,
};
use corex_script::Config;

/// How often it is looked whether the workers have left a context.
const LOOK: Duration = Duration::from_millis(50);

/// What goes by the configuration beside the workers.
pub struct Followers {
    /// Messages that are sent later.
    pub outbox: AsyncOutbox,
    /// Keys of devices.
    pub keys: KeyService,
    /// Messages that the kernel handles.
    pub roads: Option<Arc<Roads>>,
    /// Whether the programs can have a guard.
    pub may_be_guarded: bool,
}

/// Reads the configuration again and gives it to the workers.
pub struct Reloader {
    path: PathBuf,
    loader: Loader,
    latest: Arc<ArcSwap<PipelineContext>>,
    followers: Followers,
    state_folder: Option<PathBuf>,
    keyring: Mutex<Keyring>,
}

impl Reloader {
    /// For the configuration in a file; what the workers go by is in `latest`. `state_folder`:
    /// where scripts write files unless it says otherwise.
    pub fn new(
        path: PathBuf,
        loader: Loader,
        latest: Arc<ArcSwap<PipelineContext>>,
        followers: Followers,
        state_folder: Option<PathBuf>,
        keyring: Keyring,
    ) -> Reloader {
        Reloader {
            path,
            loader,
            latest,
            followers,
            state_folder,
            keyring: Mutex::new(keyring),
        }
    }

    /// The configuration that workers go by.
    pub fn current(&self) -> Arc<PipelineContext> {
        self.latest.load_full()
    }

    /// Reads the configuration, checks it, and lets every worker go on with it between two
    /// messages: none is lost. What workers share ($shv(), tables) stays.
    ///
    /// # Errors
    /// The report, when the configuration has errors, or says that something is to change that
    /// only a new start can. The old one stays.
    pub async fn reload(&self, workers: &Workers, log: &Log) -> anyhow::Result<()> {
        let loaded = self.loader.load(self.path.clone()).await?;
        let report = loaded.report.render(false);
        let Some(mut config) = loaded.config else {
            bail!("the configuration stays as it was:\n{report}");
        };
        if !report.is_empty() {
            tracing::warn!("{report}");
        }
        if let Some(note) = config.note() {
            tracing::warn!("{note}");
        }
        let old = self.current();
        check_changes(&old.config, &config)?;
        if config.settings.corex.guard.is_wanted() && !self.followers.may_be_guarded {
            bail!(
                "there is a guard now, which takes a new start: the kernel took the programs only without it"
            );
        }
        let listeners = listen::resolve(&config.settings)?;
        if listeners != old.listeners {
            bail!("the addresses to listen on have changed, which takes a new start");
        }
        // Until here, and in what follows, the old one stays as it is: whatever fails, nothing has changed.
        let reply_keys = self
            .keyring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .of(&config.settings.corex)
            .context("the configuration stays as it was")?;
        let policy = key_service::prepare(&self.followers.keys, &config)
            .context("the configuration stays as it was")?;
        config.inherit(&old.config);
        let new = context::build(
            config,
            Arc::clone(&old.tap),
            Arc::clone(&old.exporter),
            listeners,
            old.knobs.clone(),
            old.guard.clone(),
            self.followers.outbox.clone(),
            self.state_folder.as_deref(),
            reply_keys,
        )?;
        if let Some(policy) = policy {
            self.followers
                .keys
                .follow(policy)
                .context("start the threads for keys")?;
        }
        // From here to where all workers follow, the kernel handles none by itself: it would go by
        // the old one.
        if let Some(roads) = &self.followers.roads {
            roads.close();
        }
        self.take_over(new, log);
        workers.wake();
        tokio::spawn(retire(
            old,
            Arc::clone(&self.latest),
            self.followers.roads.clone(),
        ));
        Ok(())
    }

    /// Puts a context in the place of the one that the workers go by. Nothing here can fail.
    fn take_over(&self, new: PipelineContext, log: &Log) {
        let settings = &new.config.settings;
        log.set_debug(settings.debug);
        log.follow(&settings.log);
        set_knobs(&new.knobs, &settings.corex);
        let listings = listings::of(&new.config.program);
        new.guard.follow(&settings.corex.guard, &listings);
        new.config.take_over();
        if let Err(error) = copies::follow(&new, &self.followers.outbox) {
            tracing::error!("messages are not copied: no thread for that: {error}");
        }
        self.latest.store(Arc::new(new));
    }

    /// Reads the scripts or files again that a module brings. Workers go on with them before their next
    /// call, and the guard with those whom files allow.
    ///
    /// # Errors
    /// What is wrong with them, or why they can't be read again; the old ones stay.
    pub async fn reload_scripts(&self, module: &'static str) -> anyhow::Result<()> {
        let context = self.current();
        let program = Arc::clone(&context.config.program);
        self.loader.reload_scripts(program, module).await??;
        let settings = &context.config.settings;
        let listings = listings::of(&context.config.program);
        context.guard.follow(&settings.corex.guard, &listings);
        Ok(())
    }
}

/// Keeps a context until no worker goes by it any more, so that none has to clear it up: a table of a
/// million entries takes its time. Then the kernel gets the roads of the new one.
async fn retire(
    old: Arc<PipelineContext>,
    latest: Arc<ArcSwap<PipelineContext>>,
    roads: Option<Arc<Roads>>,
) {
    let new = latest.load_full();
    while Arc::strong_count(&old) > 1 {
        time::sleep(LOOK).await;
    }
    // Another one that came meanwhile sets its own.
    if let Some(roads) = roads
        && Arc::ptr_eq(&new, &latest.load())
    {
        super::roads::install(&roads, &new.config, &new.listeners, &new.own);
    }
    // Nobody waits for it.
    drop(task::spawn_blocking(move || drop(old)));
}

/// What can't change while corex runs.
fn check_changes(old: &Config, new: &Config) -> anyhow::Result<()> {
    let (old, new) = (&old.settings, &new.settings);
    if old.listen != new.listen {
        bail!("the listen lines have changed, which takes a new start");
    }
    if old.run_as != new.run_as {
        bail!("`user` or `group` has changed, which takes a new start");
    }
    if old.stream != new.stream || old.corex.tls_ca_list != new.corex.tls_ca_list {
        bail!("the parameters of TCP or TLS have changed, which takes a new start");
    }
    if old.dns != new.dns {
        bail!("the parameters of DNS have changed, which takes a new start");
    }
    if old.datagrams != new.datagrams {
        bail!("pmtu_discovery or tos has changed, which takes a new start");
    }
    if old.control != new.control {
        bail!("the parameters of remote control have changed, which takes a new start");
    }
    if old.corex.inline != new.corex.inline || old.corex.interfaces != new.corex.interfaces {
        bail!(
            "the parameters of inline mode or the interfaces have changed, which takes a new start"
        );
    }
    if old.log.is_syslog() != new.log.is_syslog() || old.log.name != new.log.name {
        bail!("log_stderror or log_name have changed, which takes a new start");
    }
    if old.corex.rp_filter != new.corex.rp_filter {
        bail!("rp_filter has changed, which takes a new start");
    }
    if old.corex.offload != new.corex.offload {
        bail!("offload has changed, which takes a new start");
    }
    if old.corex.busy_poll != new.corex.busy_poll {
        bail!("busy_poll has changed, which takes a new start");
    }
    if old.corex.max_peers != new.corex.max_peers {
        bail!("max_peers has changed, which takes a new start");
    }
    if old.children != new.children {
        bail!("`children` has changed, which takes a new start");
    }
    Ok(())
}
