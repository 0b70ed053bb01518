//! Sets corex up from its configuration, runs it, and takes it down without a trace.

mod beside;
mod control;
mod engine;
mod front_ends;
mod hardening;
mod inline;
mod loader;
mod reload;
mod remote;
mod service;

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::mpsc;

pub use self::engine::EngineChoice;
use self::{
    beside::{Beside, TcpListeners},
    control::{Control, Ending},
    engine::Engine,
    front_ends::FrontEnds,
    loader::Loader,
    reload::Reloader,
    remote::Remote,
    service::Watchdog,
};
use crate::{
    io::{
        courier::Courier, files::Files, listen, socket::KernelSocket, worker::Worker,
        xdp_side::XdpSide,
    },
    kernel::{
        attach::ModeChoice,
        inline::TcChoice,
        knobs::Knobs,
        limits,
        pins::{self, Pins},
        routes,
    },
    pipeline::{Listener, Pipeline, Shared},
    telemetry::{log::Log, peers::Peers, trace::Tap},
};
use corex_script::Config;
use corex_sip::{Transport, alias};

/// What the command line says beside the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration's file.
    pub config: PathBuf,
    /// The instance's name; `None`: after the configuration's file.
    pub instance: Option<String>,
    /// Take the name over from the instance that has it.
    pub take_over: bool,
    /// Interfaces to attach to; empty: those that carry listen addresses.
    pub interfaces: Vec<String>,
    /// The engine.
    pub engine: EngineChoice,
    /// How to attach XDP.
    pub xdp_mode: ModeChoice,
    /// How to attach TC programs.
    pub tc: TcChoice,
    /// Never bind for zero copy.
    pub copy: bool,
    /// Number of workers; `None`: as many as queues, or CPUs.
    pub workers: Option<u32>,
    /// Where to write the books.
    pub books: Option<PathBuf>,
    /// Let the XDP program log rare events.
    pub ebpf_log: bool,
}

/// The running workers.
struct Workers {
    threads: Vec<JoinHandle<()>>,
    wake: Vec<UnixStream>,
    stop: Arc<AtomicBool>,
}

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
        KernelSocket::probe(listener.address)?;
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
    let mut engine = Engine::start(&config.settings, &listeners, options, &next_hops)?;
    let parts = Parts::new(engine.take_workers(), own)?;
    let wakers: Vec<&UnixStream> = parts.workers.iter().map(|w| &w.waker).collect();
    let (inboxes, receivers) = beside::inboxes(&wakers)?;
    let beside = Beside::start(
        runtime.handle(),
        &config.settings,
        &listeners,
        tcp,
        inboxes,
        parts.workers.first().map_or(&[], |w| &w.sockets),
    )?;
    let front_ends = FrontEnds::bind(&config)?;
    let loader = Loader::start()?;
    engine.open_queues(&listeners)?;
    // What is started from here on has neither capabilities nor all files.
    hardening::harden(&config, options, &engine);
    let shared = shared(
        config,
        Arc::default(),
        listeners,
        engine.knobs(),
        beside.courier.clone(),
    )?;
    let latest = Arc::new(ArcSwap::from_pointee(shared));
    let workers = parts.spawn(&latest, &engine, receivers)?;
    let reloader = Reloader::new(
        options.config.clone(),
        loader,
        Arc::clone(&latest),
        beside.courier.clone(),
    );

    let status = format!(
        "engine {}, {} worker{}, listening on {}",
        engine.name(),
        workers.threads.len(),
        if workers.threads.len() == 1 { "" } else { "s" },
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
        streams: Arc::clone(&beside.counters),
        log: Arc::clone(log),
        commands: sender,
        is_turning: AtomicBool::new(true),
    });
    {
        let _inside = runtime.enter();
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
    tracing::info!("ready: {status}");
    service::ready(&status);
    let outcome = runtime.block_on(control.run(resolver, signals));
    service::stopping();
    let ending = *outcome.as_ref().unwrap_or(&Ending::Stop);
    // New packets go to the kernel from here on; what was steered is still handled.
    remote.engine().detach(ending, is_closed);
    workers.stop();
    remote.engine().take_down();
    runtime.block_on(beside.stop());
    let books = remote.books();
    last_of_all.extend(remote.engine().take_pins());
    tracing::info!("stopped: {}", books.summary());
    if let Some(path) = &options.books {
        books
            .write(path)
            .with_context(|| format!("write the books to {}", path.display()))?;
    }
    outcome.map(drop)
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

/// All that the workers go by.
fn shared(
    config: Config,
    tap: Arc<Tap>,
    listeners: Vec<Listener>,
    knobs: Knobs,
    courier: Courier,
) -> anyhow::Result<Shared> {
    let own = listen::entries(&listeners);
    let aliases = alias::Table::new(
        own.iter().chain(&config.settings.alias),
        &config.settings.corex.alias_subdomains,
    );
    let files = start_files(&config)?;
    Ok(Shared {
        config,
        listeners,
        aliases,
        knobs,
        tap,
        carrier: Box::new(courier),
        files,
    })
}

/// Where scripts may read and write files.
fn file_roots(config: &Config) -> Vec<PathBuf> {
    let roots = &config.settings.corex.file_roots;
    if roots.is_empty() {
        vec![config.folder.clone(), std::env::temp_dir()]
    } else {
        roots.clone()
    }
}

fn start_files(config: &Config) -> anyhow::Result<Files> {
    let max_size = config.settings.corex.file_max_size as usize;
    Files::start(file_roots(config), max_size).context("start the thread for files")
}

/// What the workers are made of.
struct Parts {
    workers: Vec<Part>,
}

struct Part {
    side: Option<XdpSide>,
    sockets: Vec<KernelSocket>,
    wake: UnixStream,
    waker: UnixStream,
}

impl Parts {
    /// Opens the sockets of every worker.
    fn new(sides: Vec<Option<XdpSide>>, listeners: &[Listener]) -> anyhow::Result<Self> {
        let part = |side| {
            let (waker, wake) = UnixStream::pair().context("make a wake-up pair")?;
            wake.set_nonblocking(true).context("wake-up pair")?;
            let sockets = listeners
                .iter()
                .filter(|l| l.transport == Transport::Udp)
                .map(|l| KernelSocket::open(l.address))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Part {
                side,
                sockets,
                wake,
                waker,
            })
        };
        let workers = sides.into_iter().map(part);
        Ok(Self {
            workers: workers.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Starts one thread for each worker, pinned to a CPU in turn.
    fn spawn(
        self,
        latest: &Arc<ArcSwap<Shared>>,
        engine: &Engine,
        inboxes: Vec<beside::Receiver>,
    ) -> anyhow::Result<Workers> {
        let stop = Arc::new(AtomicBool::new(false));
        let cpus = limits::allowed_cpus();
        let mut threads = Vec::new();
        let mut wakers = Vec::new();
        for (id, (part, inbox)) in self.workers.into_iter().zip(inboxes).enumerate() {
            let link = engine.links().get(id).cloned().unwrap_or_default();
            let mut pipeline = Pipeline::new(latest.load_full(), id as u32);
            pipeline.peers = Peers::new(Arc::clone(&link.peers));
            let worker = Worker {
                id,
                pipeline,
                latest: Arc::clone(latest),
                sockets: part.sockets,
                inbox,
                xdp: part.side,
                slots: engine.slots(),
                link,
                stop: Arc::clone(&stop),
                wake: part.wake,
            };
            let cpu = cpus.get(id % cpus.len().max(1)).copied();
            let thread = thread::Builder::new()
                .name(format!("corex-w{id}"))
                .spawn(move || {
                    if let Some(cpu) = cpu {
                        limits::pin_thread(cpu);
                    }
                    worker.run();
                })
                .context("start a worker thread")?;
            threads.push(thread);
            wakers.push(part.waker);
        }
        Ok(Workers {
            threads,
            wake: wakers,
            stop,
        })
    }
}

impl Workers {
    /// Whether a worker has ended although nobody told it to.
    fn any_dead(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends every worker's sleep.
    fn wake(&self) {
        for mut waker in &self.wake {
            // A worker that is gone needs no waking.
            let _ = waker.write(&[1]);
        }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked; this is a bug in corex");
            }
        }
    }
}
