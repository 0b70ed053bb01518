//! Sets corex up from its configuration, runs it, and takes it down without a trace.

mod access_timer;
mod context;
mod control;
mod copies;
mod engine;
mod front_ends;
mod handover;
mod hardening;
mod inline;
mod keeper;
mod key_service;
mod listings;
mod loader;
mod memory;
mod options;
mod reload;
mod reloads;
mod remote;
mod reply_keys;
mod roads;
mod runtime;
mod service;
mod state_folder;
mod stream_service;
mod table_timer;
mod threads;
mod workers;

use std::{
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use tokio::sync::mpsc;

pub use self::options::{EngineChoice, Options};
pub use self::service::ANNOUNCEMENT;
use self::{
    control::Control,
    engine::{Ending, PacketEngine},
    front_ends::FrontEnds,
    handover::{Estate, Heir, Offer, StreamEstate},
    keeper::Keeper,
    loader::Loader,
    reload::{Followers, Reloader},
    remote::Remote,
    reply_keys::Keyring,
    runtime::Runtimes,
    service::{Announcement, Watchdog},
    stream_service::{StreamService, TcpListeners},
    workers::Parts,
};
use crate::{
    guard::Guard,
    io::{listen, socket::KernelSocket},
    kernel::{
        pins::{self, PinError, Pins},
        privileges, root_files,
        routes::{self, NextHops},
    },
    pipeline::{Listener, own_sockets},
    telemetry::log::Log,
};
use corex_script::{Config, run::tables::Tables, settings::Settings};
use corex_sip::Transport;

/// Runs corex until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting, with the remedy where one is known; or that a worker
/// died.
pub fn run(config: Config, options: &Options, log: &Arc<Log>) -> anyhow::Result<()> {
    // Goes last: a successor that gets the name finds the ports free, too.
    let mut last_of_all = Vec::new();
    service::connect();
    if let Some(note) = config.note() {
        tracing::warn!("{note}");
    }
    let announcement = options.announce.then(Announcement::prepare);
    let announcement = announcement.transpose().context("open /dev/null")?;
    let listeners = listen::resolve(&config.settings)?;
    let is_inline = config.settings.corex.inline.is_on;
    let name = options.instance.clone();
    let name = name.unwrap_or_else(|| pins::instance_of(&options.config));
    // In inline mode a predecessor goes on until all is ready.
    let takes_over = options.take_over && !is_inline;
    if options.announce && is_inline {
        bail!(
            "in inline mode the one that runs ends first, so that nothing could be done in the \
             background: leave --background out, or restart the service"
        );
    }
    let mut heir = takes_over.then(|| Heir::ask(&name)).flatten();
    if options.announce
        && heir.is_none()
        && let Some(pid) = pins::holder(&name)
    {
        bail!(
            "process {pid} has the name {name:?} and can't be taken over as it is; it goes on. \
             Without --background it would be ended first"
        );
    }
    if takes_over && heir.is_none() {
        make_way(&name, options)?;
    }
    let is_closed = config.settings.corex.inline.is_closed;
    // In inline mode the addresses are the server's.
    let own = if is_inline { &[][..] } else { &listeners };
    probe(own, heir.as_ref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the control runtime")?;
    let signals = {
        let _inside = runtime.enter();
        control::Signals::install()?
    };
    let (next_hops, mut resolver) = routes::next_hops();
    let start = Start {
        settings: &config.settings,
        listeners: &listeners,
        options,
        next_hops: &next_hops,
    };
    let mut engine = match &mut heir {
        None => start.engine(None)?,
        Some(predecessor) => match start.engine(Some(predecessor)) {
            Ok(engine) => engine,
            Err(error) if options.announce => {
                return Err(error.context(
                    "what runs can't be taken over as it is, and goes on; without --background \
                     it would be ended first",
                ));
            }
            Err(error) => {
                tracing::warn!(
                    "what runs can't be taken over as it is: {error:#}; ending it before this one \
                     starts, so messages are lost meanwhile"
                );
                heir.take().map_or(Ok(()), Heir::make_way)?;
                make_way(&name, options)?;
                probe(own, None)?;
                start.engine(None)?
            }
        },
    };
    // Before anything is steered.
    let listings = listings::of(&config.program);
    let guard = Guard::start(
        &config.settings.corex.guard,
        &listings,
        engine.guard_maps()?,
    )?;
    guard.adopt(&engine.take_guard_left());
    let mut fixtures = Estate::default();
    let tcp = TcpListeners::open(&listeners, heir.as_mut())?;
    tcp.add_to(&mut fixtures).context("copy a socket")?;
    let sides = engine.take_workers();
    let mut parts = Parts::new(sides, own, &config.settings.datagrams, heir.as_mut())?;
    engine
        .set_wakers(&parts.wakers())
        .context("duplicate a wake-up pair")?;
    let (inboxes, receivers) = stream_service::inboxes(&parts.wakers())?;
    let (keys, returns) = key_service::new(&parts.wakers())?;
    let mut front_ends = FrontEnds::bind(&config, heir.as_mut())?;
    front_ends.add_to(&mut fixtures).context("copy a socket")?;
    let loader = Loader::start()?;
    let state_folder = state_folder(&config, options);
    let mut keyring = match &heir {
        Some(heir) => Keyring::received(heir.reply_key()),
        None => Keyring::new()?,
    };
    fixtures.reply_key = keyring.secret();
    let reply_keys = keyring.of(&config.settings.corex)?;
    let mut offer = offer(&name, is_inline, heir.as_mut());
    if let Some(offer) = &offer {
        offer.add_to(&mut fixtures).context("copy a socket")?;
    }
    let mut inherited = None;
    match &mut heir {
        None => engine.open_queues(&listeners)?,
        Some(heir) => {
            let kept = (&config.program.tables, &guard);
            match succeed(heir, &name, &mut engine, &listeners, &mut parts, kept) {
                Err(error) if heir.is_gone() => return Err(start_anew(&error)),
                outcome => {
                    inherited = Some(outcome.context("take over; the corex that runs goes on")?);
                }
            }
            front_ends.own_files();
            if let Some(Err(error)) = offer.as_mut().map(Offer::own) {
                tracing::warn!("the next successor won't know this process: {error}");
            }
        }
    }
    let kernel_roads = engine.roads();
    if let Some(kernel_roads) = &kernel_roads {
        roads::install(kernel_roads, &config, &listeners, &own_sockets(&listeners));
        let kernel_roads = Arc::clone(kernel_roads);
        resolver.tell(Arc::new(move || kernel_roads.follow()));
    }
    let mut keeper = Keeper::start(&engine)?;
    // What is started from here on has neither capabilities nor all files.
    let roots = context::file_roots(&config, state_folder.as_deref());
    hardening::harden(&config, options, &engine, offer.as_ref(), roots)?;
    let runtimes = Runtimes::start(&config.settings.stream)?;
    let streams = StreamService::start(
        runtimes.streams.handle(),
        &config.settings,
        &listeners,
        tcp,
        inboxes,
        parts.first_sockets(),
        guard.clone(),
    )?;
    if let Some(policy) = key_service::prepare(&keys, &config)? {
        keys.follow(policy).context("start the threads for keys")?;
    }
    let context = context::build(
        config,
        Arc::default(),
        Arc::default(),
        listeners,
        engine.knobs(),
        guard,
        streams.outbox.clone(),
        state_folder.as_deref(),
        reply_keys,
    )?;
    if let Some((estate, descriptors)) = inherited {
        streams.take_over(estate, descriptors, &context.listeners, &context.own);
    }
    copies::follow(&context, &streams.outbox).context("start the thread for copies")?;
    let exporter = Arc::clone(&context.exporter);
    let latest = Arc::new(ArcSwap::from_pointee(context));
    let workers = parts.spawn(&latest, &engine, receivers, returns)?;
    if let Some(heir) = heir {
        match heir.farewell() {
            Ok(farewell) => engine.took_over(farewell.in_rings),
            Err(error) => tracing::warn!(
                "the predecessor didn't say how many packets it left in the rings: {error}"
            ),
        }
    }
    let reloader = Reloader::new(
        options.config.clone(),
        loader,
        Arc::clone(&latest),
        Followers {
            outbox: streams.outbox.clone(),
            keys: keys.clone(),
            roads: kernel_roads,
            may_be_guarded: engine.may_be_guarded(),
        },
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
        keys: keys.clone(),
        log: Arc::clone(log),
        commands: sender,
        is_turning: AtomicBool::new(true),
    });
    {
        let _inside = runtimes.control.enter();
        front_ends.serve(&remote);
    }
    let (steps_sender, steps) = mpsc::unbounded_channel();
    if let Some(offer) = &offer {
        offer
            .serve(steps_sender)
            .context("start the thread for successors")?;
    }
    let control = Control {
        workers: &workers,
        reloader: &reloader,
        remote: &remote,
        commands,
        options,
        status: &status,
        watchdog: Watchdog::new(options.announce),
        turns: Vec::new(),
        steps,
        fixtures,
        told: None,
        told_peers: 0,
        streams: &streams,
        held: None,
    };
    if let Some(keeper) = &mut keeper {
        keeper.keep(&remote);
    }
    remote.look_at_roads();
    tracing::info!("ready: {status}");
    service::ready(&status);
    if let Some(announcement) = announcement {
        announcement.say().context("leave standard output")?;
    }
    let outcome = runtime.block_on(control.run(resolver, signals));
    let ending = *outcome.as_ref().unwrap_or(&Ending::Stop);
    if ending != Ending::HandedOver {
        service::stopping();
    }
    drop(keeper);
    // New packets go to the kernel from here on; what was steered is still handled.
    remote.engine().detach(ending, is_closed);
    workers.stop();
    remote.engine().take_down();
    let connections = runtime.block_on(streams.stop());
    if ending == Ending::HandedOver {
        let counters = &streams.counters;
        counters.add_many(|c| &c.closed_takeover, connections);
    }
    workers.give_up_inboxes();
    keys.stop();
    exporter.stop();
    let books = remote.books();
    let pins = remote.engine().take_pins();
    if ending == Ending::HandedOver {
        pins.into_iter().for_each(Pins::hand_over);
        if let Some(offer) = &mut offer {
            offer.leave();
        }
        // Dropped, it would remove the files of sockets that the successor has.
        std::mem::forget(runtimes);
        if connections > 0 {
            tracing::warn!(
                connections,
                "connections closed that can't be handed over: TLS, or too much that waits"
            );
        }
        tracing::info!("handed over: {}", books.summary());
    } else {
        runtimes.stop();
        last_of_all.extend(pins);
        tracing::info!("stopped: {}", books.summary());
    }
    if let Some(path) = &options.books {
        root_files::replace(path, books.text().as_bytes())
            .with_context(|| format!("write the books to {}", path.display()))?;
    }
    outcome.map(drop)
}

/// What an engine is started from.
struct Start<'a> {
    settings: &'a Settings,
    listeners: &'a [Listener],
    options: &'a Options,
    next_hops: &'a NextHops,
}

impl Start<'_> {
    fn engine(&self, heir: Option<&mut Heir>) -> anyhow::Result<PacketEngine> {
        PacketEngine::start(
            self.settings,
            self.listeners,
            self.options,
            self.next_hops,
            heir,
        )
    }
}

/// Ends the corex of that name, if one runs that can't hand over, before its ports are taken.
fn make_way(name: &str, options: &Options) -> anyhow::Result<()> {
    match Pins::make_way(name) {
        // Nobody has pins then, and who has none keeps its ports until it is ended.
        Err(PinError::Mount(_)) if options.engine != EngineChoice::Xdp => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Fails if another process has one of the addresses, but for the one that hands them over.
fn probe(listeners: &[Listener], heir: Option<&Heir>) -> anyhow::Result<()> {
    let datagram = |l: &&Listener| l.transport == Transport::Udp;
    for listener in listeners.iter().filter(datagram) {
        if !heir.is_some_and(|heir| heir.has_datagrams(listener.address)) {
            KernelSocket::probe(listener)?;
        }
    }
    Ok(())
}

/// The socket that successors connect to. Without one they find corex by its name, and end it
/// before they start.
fn offer(name: &str, is_inline: bool, heir: Option<&mut Heir>) -> Option<Offer> {
    if is_inline {
        return None;
    }
    let offer = match heir.and_then(Heir::offer) {
        Some(socket) => Offer::received(name, socket),
        None => Offer::open(name),
    };
    match offer {
        Ok(offer) => Some(offer),
        Err(error) => {
            tracing::info!("a successor will not be handed what this one serves: {error}");
            None
        }
    }
}

/// Takes the predecessor's place: it stops, and this one's programs and workers have what it had.
/// Returns its connections, with their descriptors.
fn succeed(
    heir: &mut Heir,
    name: &str,
    engine: &mut PacketEngine,
    listeners: &[Listener],
    parts: &mut Parts,
    (tables, guard): (&Tables, &Guard),
) -> anyhow::Result<(StreamEstate, Vec<OwnedFd>)> {
    let mut lost = handover::write_tables(tables, &heir.tables());
    let mut refused = heir.guard().write(guard);
    let maps = engine.overload_maps();
    heir.peers().write(maps.peers());
    if let Some((rates, buckets)) = heir.buckets() {
        engine.take_buckets(&rates, buckets.as_fd());
    }
    let (frozen, descriptors) = heir.freeze().context("have it stop")?;
    for (worker, side) in parts.sides() {
        handover::restore(worker, side, &frozen)?;
    }
    lost += handover::write_tables(tables, &frozen.tables);
    refused += frozen.guard.write(guard);
    frozen.peers.write(maps.peers());
    if refused > 0 {
        tracing::warn!(
            entries = refused,
            "guard: no room for entries of the predecessor"
        );
    }
    if lost > 0 {
        tracing::warn!(
            entries = lost,
            "$sht: no table or no room for entries of the predecessor"
        );
    }
    engine.open_queues(listeners)?;
    engine.replace_programs()?;
    match heir.commit() {
        Err(error) if heir.is_gone() => tracing::warn!("the predecessor has died: {error}"),
        outcome => outcome.context("agree with it")?,
    }
    if let Some(lock) = heir.name() {
        match Pins::received(name, lock) {
            Ok(pins) => engine.adopt(pins),
            Err(error) => tracing::warn!("maps are not pinned: {error}"),
        }
    }
    Ok((frozen.streams, descriptors))
}

/// Begins again as another program in this process: nobody runs any more. Returns only if that can't
/// be done.
fn start_anew(why: &anyhow::Error) -> anyhow::Error {
    tracing::warn!("the predecessor has died ({why:#}): starting anew");
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .exec();
    anyhow::Error::new(error).context("start anew")
}

/// Makes the folder that scripts write in where the configuration names none, if they can.
fn state_folder(config: &Config, options: &Options) -> Option<PathBuf> {
    if !config.settings.corex.file_roots.is_empty() || !config.program.has_module("corex") {
        return None;
    }
    let name = options.instance.clone();
    let name = name.unwrap_or_else(|| pins::instance_of(&options.config));
    match state_folder::make(&name, privileges::identity()) {
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
/// [`PinError::Taken`] when it runs; else what the kernel says.
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
