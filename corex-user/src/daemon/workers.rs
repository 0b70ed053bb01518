//! The workers' threads: what each is made of, their start and their end.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;

use super::{
    engine::{PacketEngine, WorkerSide},
    stream_service,
};
use crate::{
    io::{socket::KernelSocket, worker::Worker},
    kernel::limits,
    pipeline::{Listener, Pipeline, PipelineContext},
    telemetry::peers::Peers,
};
use corex_script::settings::DatagramSettings;
use corex_sip::Transport;
use corex_xdp::Statistics;

/// How long a worker may take to stop: it handles what was waiting for a second at most, but ends
/// the message that it is at. Scripts have bounds that are far below.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether all have.
const LOOK: Duration = Duration::from_millis(1);

/// The running workers.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    wake: Vec<UnixStream>,
    stop: Arc<AtomicBool>,
}

/// What the workers are made of.
pub struct Parts {
    workers: Vec<Part>,
}

struct Part {
    side: WorkerSide,
    sockets: Vec<KernelSocket>,
    wake: UnixStream,
    waker: UnixStream,
}

impl Parts {
    /// Opens the sockets of every worker.
    ///
    /// # Errors
    /// What the kernel says, with the address.
    pub fn new(
        sides: Vec<WorkerSide>,
        listeners: &[Listener],
        datagrams: &DatagramSettings,
    ) -> anyhow::Result<Self> {
        let part = |side| {
            let (waker, wake) = UnixStream::pair().context("make a wake-up pair")?;
            wake.set_nonblocking(true).context("wake-up pair")?;
            let sockets = listeners
                .iter()
                .filter(|l| l.transport == Transport::Udp)
                .map(|l| KernelSocket::open(l, datagrams))
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

    /// The ends by which the workers are woken, in order.
    pub fn wakers(&self) -> Vec<&UnixStream> {
        self.workers.iter().map(|part| &part.waker).collect()
    }

    /// The kernel sockets of the first worker; none if there is no worker.
    pub fn first_sockets(&self) -> &[KernelSocket] {
        self.workers.first().map_or(&[], |part| &part.sockets)
    }

    /// Starts one thread for each worker, pinned to a CPU in turn.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn spawn(
        self,
        latest: &Arc<ArcSwap<PipelineContext>>,
        engine: &PacketEngine,
        inboxes: Vec<stream_service::Receiver>,
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
                xdp: part.side.sides,
                orders: part.side.orders,
                retired: Statistics::default(),
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
    /// How many there are.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Whether a worker has ended although nobody told it to.
    pub fn any_dead(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends every worker's sleep.
    pub fn wake(&self) {
        for mut waker in &self.wake {
            // A worker that is gone needs no waking.
            let _ = waker.write(&[1]);
        }
    }

    /// Tells every worker to stop, and waits until all have, or some are stuck.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake();
        let deadline = Instant::now() + PATIENCE;
        for (worker, thread) in self.threads.into_iter().enumerate() {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
            if !thread.is_finished() {
                // It ends with the process.
                tracing::error!(
                    worker,
                    "stuck in a message for {} s, and not waited for any longer: what it held is \
                     lost, and not counted",
                    PATIENCE.as_secs()
                );
                continue;
            }
            if thread.join().is_err() {
                tracing::error!("a worker had panicked; this is a bug in corex");
            }
        }
    }
}
