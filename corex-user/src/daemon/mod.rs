//! Sets corex up from its configuration, runs it, and takes it down without a trace.

mod context;
mod control;
mod engine;
mod front_ends;
mod hardening;
mod inline;
mod keeper;
mod loader;
mod memory;
mod options;
mod reload;
mod reloads;
mod remote;
mod reply_keys;
mod runtime;
mod service;
mod state_folder;
mod stream_service;
mod table_timer;
mod threads;
mod workers;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::mpsc;

pub use self::options::{EngineChoice, Options};
use self::{
    control::Control,
    engine::{Ending, PacketEngine},
    front_ends::FrontEnds,
    keeper::Keeper,
    loader::Loader,
    reload::Reloader,
    remote::Remote,
    reply_keys::Keyring,
    runtime::Runtimes,
    service::Watchdog,
    stream_service::{StreamService, TcpListeners},
    workers::Parts,
};
use crate::{
    io::{listen, socket::KernelSocket},
    kernel::{
        pins::{self, Pins},
        routes,
    },
    pipeline::Listener,
    telemetry::log::Log,
};
use corex_script::Config;
use corex_sip::Transport;

/// Runs corex until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting, with the remedy where one is known; or that a worker
/// died.
pub fn run(config: Config, options: &Options, log: &Arc<Log>) -> anyhow::Result<()> {
    // Goes last: a successor that gets the name finds the ports free, too.
    let mut last_of_all = Vec::new();
    let listeners = listen::resolve(&config.settings)?;
    if options.take_over && !config.settings.corex.inline.is_on {
        // It has the ports; in inline mode there are none, and it goes on until all is ready.
        let name = options.instance.clone();
        Pins::make_way(&name.unwrap_or_else(|| pins::instance_of(&options.config)))?;
    }
    let is_closed = config.settings.corex.inline.is_closed;
    let datagram = |l: &&Listener| l.transport == Transport::Udp;
    // In inline mode the addresses are the server's.
    let own = if config.settings.corex.inline.is_on {
        &[][..]
    } else {
        &listeners
    };
    for listener in own.iter().filter(datagram) {
        KernelSocket::probe(listener)?;
    }
    let tcp = TcpListeners::open(&listeners)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the control runtime")?;
    let signals = {
        let _inside = runtime.enter();
        control::Signals::install()?
    };
    let (next_hops, resolver) = routes::next_hops();
    let mut engine = PacketEngine::start(&config.settings, &listeners, options, &next_hops)?;
    let parts = Parts::new(engine.take_workers(), own, &config.settings.datagrams)?;
    engine
        .set_wakers(&parts.wakers())
        .context("duplicate a wake-up pair")?;
    let mut keeper = Keeper::start(&engine)?;
    let (inboxes, receivers) = stream_service::inboxes(&parts.wakers())?;
    let front_ends = FrontEnds::bind(&config)?;
    let loader = Loader::start()?;
    engine.open_queues(&listeners)?;
    let state_folder = state_folder(&config, options);
    let mut keyring = Keyring::new()?;
    let reply_keys = keyring.of(&config.settings.corex)?;
    // What is started from here on has neither capabilities nor all files.
    let roots = context::file_roots(&config, state_folder.as_deref());
    hardening::harden(&config, options, &engine, roots);
    let runtimes = Runtimes::start(&config.settings.stream)?;
    let streams = StreamService::start(
        runtimes.streams.handle(),
        &config.settings,
        &listeners,
        tcp,
        inboxes,
        parts.first_sockets(),
    )?;
    let context = context::build(
        config,
        Arc::default(),
        listeners,
        engine.knobs(),
        streams.outbox.clone(),
        state_folder.as_deref(),
        reply_keys,
    )?;
    let latest = Arc::new(ArcSwap::from_pointee(context));
    let workers = parts.spawn(&latest, &engine, receivers)?;
    let reloader = Reloader::new(
        options.config.clone(),
        loader,
        Arc::clone(&latest),
        streams.outbox.clone(),
        state_folder,
        keyring,
    );

    let status = format!(
        "engine {}, {} worker{}, listening on {}",
        engine.name(),
        workers.count(),
        if workers.count() == 1 { "" } else { "s" },
        reloader
            .current()
            .listeners
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    );
    let (sender, commands) = mpsc::unbounded_channel();
    let remote = Arc::new(Remote {
        engine: Mutex::new(engine),
        latest,
        streams: Arc::clone(&streams.counters),
        log: Arc::clone(log),
        commands: sender,
        is_turning: AtomicBool::new(true),
    });
    {
        let _inside = runtimes.control.enter();
        front_ends.serve(&remote);
    }
    let control = Control {
        workers: &workers,
        reloader: &reloader,
        remote: &remote,
        commands,
        options,
        status: &status,
        watchdog: Watchdog::new(),
        turns: Vec::new(),
    };
    if let Some(keeper) = &mut keeper {
        keeper.keep(&remote);
    }
    tracing::info!("ready: {status}");
    service::ready(&status);
    let outcome = runtime.block_on(control.run(resolver, signals));
    service::stopping();
    let ending = *outcome.as_ref().unwrap_or(&Ending::Stop);
    drop(keeper);
    // New packets go to the kernel from here on; what was steered is still handled.
    remote.engine().detach(ending, is_closed);
    workers.stop();
    remote.engine().take_down();
    runtime.block_on(streams.stop());
    let books = remote.books();
    runtimes.stop();
    last_of_all.extend(remote.engine().take_pins());
    tracing::info!("stopped: {}", books.summary());
    if let Some(path) = &options.books {
        books
            .write(path)
            .with_context(|| format!("write the books to {}", path.display()))?;
    }
    outcome.map(drop)
}

/// Makes the folder that scripts write in where the configuration names none, if they can.
fn state_folder(config: &Config, options: &Options) -> Option<PathBuf> {
    if !config.settings.corex.file_roots.is_empty() || !config.program.has_module("corex") {
        return None;
    }
    let name = options.instance.clone();
    let name = name.unwrap_or_else(|| pins::instance_of(&options.config));
    match state_folder::make(&name) {
        Ok(folder) => Some(folder),
        Err(error) => {
            tracing::warn!(
                "file_write() has no folder to write in: {error}; name one by modparam file_root"
            );
            None
        }
    }
}

/// Takes off what an instance left behind: programs, veth pairs, pins. Returns what was done.
///
/// # Errors
/// [`PinError::Taken`](pins::PinError::Taken) when it runs; else what the kernel says.
pub fn detach(instance: &str) -> anyhow::Result<String> {
    if !pins::instances().iter().any(|name| name == instance) {
        return Ok(format!("no instance {instance} has left anything here"));
    }
    let pins = Pins::take(instance)?;
    let had_programs = inline::clean(&pins)?;
    drop(pins);
    Ok(if had_programs {
        format!("{instance}: programs, veth pairs and pins are taken off")
    } else {
        format!("{instance}: pins are removed; there were no programs")
    })
}
