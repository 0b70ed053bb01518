//! Sets corex up from its configuration, runs it, and takes it down without a trace.

mod control;
mod engine;

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context as _;

pub use self::engine::EngineChoice;
use self::engine::{Engine, XdpWorker};
use crate::{
    alias,
    io::{files::Files, listen, socket::KernelSocket, worker::Worker},
    kernel::{attach::ModeChoice, limits, routes},
    pipeline::{Pipeline, Shared, carrier::NoCarrier},
    script::Config,
    telemetry::log::Log,
};

/// What the command line says beside the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Interfaces to attach to; empty: those that carry listen addresses.
    pub interfaces: Vec<String>,
    /// The engine.
    pub engine: EngineChoice,
    /// How to attach.
    pub xdp_mode: ModeChoice,
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
pub fn run(config: Config, options: &Options, log: &Log) -> anyhow::Result<()> {
    let listeners = listen::resolve(&config.settings)?;
    for listener in &listeners {
        KernelSocket::probe(listener.address)?;
    }
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
    let own = listen::entries(&listeners);
    let aliases = alias::Table::new(
        own.iter().chain(&config.settings.alias),
        &config.settings.corex.alias_subdomains,
    );
    let corex = &config.settings.corex;
    let max_size = corex.file_max_size;
    let roots = if corex.file_roots.is_empty() {
        vec![config.folder.clone(), std::env::temp_dir()]
    } else {
        corex.file_roots.clone()
    };
    let shared = Arc::new(Shared {
        config,
        listeners,
        aliases,
        carrier: Box::new(NoCarrier),
        files: Files::start(roots, max_size as usize).context("start the thread for files")?,
    });
    let workers = spawn(&shared, &mut engine)?;
    engine.open_queues(&shared.listeners)?;

    tracing::info!(
        "ready: engine {}, {} worker{}, listening on {}",
        engine.name(),
        workers.threads.len(),
        if workers.threads.len() == 1 { "" } else { "s" },
        shared
            .listeners
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    );
    let outcome = runtime.block_on(control::run(
        &mut engine,
        &workers,
        &shared,
        resolver,
        signals,
        options,
        log,
    ));
    // New packets go to the kernel from here on; what was steered is still handled.
    engine.detach();
    workers.stop();
    let books = engine.books(&shared.listeners, log);
    tracing::info!("stopped: {}", books.summary());
    if let Some(path) = &options.books {
        books
            .write(path)
            .with_context(|| format!("write the books to {}", path.display()))?;
    }
    outcome
}

/// Starts one thread for each worker, pinned to a CPU in turn.
fn spawn(shared: &Arc<Shared>, engine: &mut Engine) -> anyhow::Result<Workers> {
    let stop = Arc::new(AtomicBool::new(false));
    let cpus = limits::allowed_cpus();
    let slots = engine.slots();
    let sides: Vec<Option<XdpWorker>> = engine.take_workers();
    let mut threads = Vec::new();
    let mut wakers = Vec::new();
    for (id, side) in sides.into_iter().enumerate() {
        let sockets = shared
            .listeners
            .iter()
            .map(|l| KernelSocket::open(l.address))
            .collect::<Result<Vec<_>, _>>()?;
        let (waker, wake) = UnixStream::pair().context("make a wake-up pair")?;
        wake.set_nonblocking(true).context("wake-up pair")?;
        let worker = Worker {
            id,
            pipeline: Pipeline::new(Arc::clone(shared), id as u32),
            sockets,
            xdp: side.map(XdpWorker::into_side),
            slots: slots.clone(),
            stop: Arc::clone(&stop),
            wake,
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
        wakers.push(waker);
    }
    Ok(Workers {
        threads,
        wake: wakers,
        stop,
    })
}

impl Workers {
    /// Whether a worker has ended although nobody told it to.
    fn any_dead(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for waker in &mut self.wake {
            // A worker that is gone needs no waking.
            let _ = waker.write(&[1]);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked; this is a bug in corex");
            }
        }
    }
}
