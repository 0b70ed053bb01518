//! The workers' threads: what each is made of, their start and their end.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;

use super::{
    engine::{PacketEngine, WorkerSide},
    handover::Heir,
    key_service, stream_service,
};
use crate::{
    io::{gate::Gate, shard, socket::KernelSocket, worker::Worker, xdp_side::XdpSide},
    kernel::limits,
    pipeline::{Listener, Overload, Pipeline, PipelineContext},
    telemetry::peers::Peers,
};
use corex_script::settings::DatagramSettings;
use corex_sip::Transport;
use corex_xdp::Statistics;

/// How long a worker may take to stop: it handles what was waiting for a second at most, but ends
/// the message that it is at. Scripts have bounds that are far below.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to park: streams and remote control wait meanwhile.
const PARKING: Duration = Duration::from_secs(1);
/// Between two looks whether all have.
const LOOK: Duration = Duration::from_millis(1);

/// The workers: running, or parked.
pub struct Workers {
    crew: Mutex<Crew>,
    count: usize,
    wake: Vec<UnixStream>,
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
}

enum Crew {
    Running(Vec<JoinHandle<Option<Worker>>>),
    Parked(Vec<Worker>),
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
    /// Opens the sockets of every worker, or takes them from an heir who has them.
    ///
    /// # Errors
    /// What the kernel says, with the address.
    pub fn new(
        sides: Vec<WorkerSide>,
        listeners: &[Listener],
        datagrams: &DatagramSettings,
        mut heir: Option<&mut Heir>,
    ) -> anyhow::Result<Self> {
        let part = |(id, side)| {
            let (waker, wake) = UnixStream::pair().context("make a wake-up pair")?;
            wake.set_nonblocking(true).context("wake-up pair")?;
            let sockets = listeners
                .iter()
                .filter(|l| l.transport == Transport::Udp)
                .map(|l| {
                    let handed = heir.as_mut().and_then(|heir| heir.datagrams(id, l.address));
                    match handed {
                        Some(socket) => KernelSocket::adopt(socket, l, datagrams),
                        None => KernelSocket::open(l, datagrams),
                    }
                })
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Part {
                side,
                sockets,
                wake,
                waker,
            })
        };
        let workers = sides.into_iter().enumerate().map(part);
        Ok(Self {
            workers: workers.collect::<anyhow::Result<_>>()?,
        })
    }

    /// The AF_XDP parts, with the workers' numbers.
    pub fn sides(&mut self) -> impl Iterator<Item = (usize, &mut XdpSide)> {
        let workers = self.workers.iter_mut().enumerate();
        workers.flat_map(|(id, part)| part.side.sides.iter_mut().map(move |side| (id, side)))
    }

    /// The ends by which the workers are woken, in order.
    pub fn wakers(&self) -> Vec<&UnixStream> {
        self.workers.iter().map(|part| &part.waker).collect()
    }

    /// The kernel sockets of the first worker; none if there is no worker.
    pub fn first_sockets(&self) -> &[KernelSocket] {
        self.workers.first().map_or(&[], |part| &part.sockets)
    }

    /// Each worker's part of sharding.
    fn shards(&self) -> anyhow::Result<Vec<shard::Shard>> {
        let wakers = self.workers.iter().map(|part| {
            let waker = part.waker.try_clone()?;
            waker.set_nonblocking(true)?;
            Ok(waker)
        });
        let wakers = wakers.collect::<io::Result<_>>();
        Ok(shard::crew(wakers.context("copy a wake-up pair")?))
    }

    /// Starts one thread for each worker, pinned to a CPU in turn.
    ///
    /// # Errors
    /// When a thread can't be started, or there are no descriptors left.
    pub fn spawn(
        self,
        latest: &Arc<ArcSwap<PipelineContext>>,
        engine: &PacketEngine,
        inboxes: Vec<stream_service::Receiver>,
        returns: Vec<key_service::Receiver>,
    ) -> anyhow::Result<Workers> {
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Arc::new(AtomicBool::new(false));
        let mut crew = Vec::new();
        let mut wakers = Vec::new();
        let ends = inboxes.into_iter().zip(returns).zip(self.shards()?);
        for (id, (part, ends)) in self.workers.into_iter().zip(ends).enumerate() {
            let ((inbox, returns), shard) = ends;
            let link = engine.links().get(id).cloned().unwrap_or_default();
            let mut pipeline = Pipeline::new(latest.load_full(), id as u32);
            pipeline.overload = Overload::new(Some(engine.overload_maps()), id as u32);
            pipeline.peers = Peers::new(Arc::clone(&link.peers));
            crew.push(Worker {
                id,
                pipeline,
                latest: Arc::clone(latest),
                sockets: part.sockets,
                sockets_fill: 0,
                segments: Default::default(),
                gate: Gate::new(engine.reverse_paths()),
                inbox,
                returns,
                shard,
                xdp: part.side.sides,
                orders: part.side.orders,
                retired: Statistics::default(),
                slots: engine.slots(),
                link,
                stop: Arc::clone(&stop),
                pause: Arc::clone(&pause),
                wake: part.wake,
            });
            wakers.push(part.waker);
        }
        let workers = Workers {
            count: crew.len(),
            crew: Mutex::new(Crew::Parked(crew)),
            wake: wakers,
            stop,
            pause,
        };
        workers.resume().context("start a worker thread")?;
        Ok(workers)
    }
}

/// Has a worker run in a thread of its own, pinned to a CPU.
fn start(worker: Worker) -> io::Result<JoinHandle<Option<Worker>>> {
    let cpus = limits::allowed_cpus();
    let cpu = cpus.get(worker.id % cpus.len().max(1)).copied();
    thread::Builder::new()
        .name(format!("corex-w{}", worker.id))
        .spawn(move || {
            if let Some(cpu) = cpu {
                limits::pin_thread(cpu);
            }
            limits::shorten_slice();
            worker.run()
        })
}

impl Workers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a worker has ended although nobody told it to. One that has parked too late goes on.
    pub fn any_dead(&self) -> bool {
        let mut crew = self.crew();
        let Crew::Running(threads) = &mut *crew else {
            return false;
        };
        for at in (0..threads.len()).rev() {
            if threads[at].is_finished() {
                let worker = threads.swap_remove(at).join().ok().flatten();
                threads.extend(worker.and_then(|worker| start(worker).ok()));
            }
        }
        threads.len() < self.count
    }

    /// Has every worker leave its work between two messages, and waits until all have.
    ///
    /// # Errors
    /// One is stuck in a message, or has died: all others go on.
    pub fn park(&self) -> io::Result<()> {
        let mut crew = self.crew();
        let Crew::Running(threads) = &mut *crew else {
            return Ok(());
        };
        self.pause.store(true, Ordering::Release);
        self.wake();
        let deadline = Instant::now() + PARKING;
        while !threads.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        let (finished, stuck): (Vec<_>, Vec<_>) =
            threads.drain(..).partition(JoinHandle::is_finished);
        let joined = finished
            .into_iter()
            .map(|thread| thread.join().ok().flatten());
        let mut parked: Vec<Worker> = joined.flatten().collect();
        if parked.len() == self.count {
            parked.sort_by_key(|worker| worker.id);
            *crew = Crew::Parked(parked);
            return Ok(());
        }
        self.pause.store(false, Ordering::Release);
        threads.extend(stuck);
        threads.extend(parked.into_iter().filter_map(|worker| start(worker).ok()));
        Err(io::Error::other(format!(
            "a worker is in a message for more than {} s",
            PARKING.as_secs()
        )))
    }

    /// Has parked workers go on.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn resume(&self) -> io::Result<()> {
        let mut crew = self.crew();
        let Crew::Parked(parked) = &mut *crew else {
            return Ok(());
        };
        self.pause.store(false, Ordering::Release);
        let threads = parked.drain(..).map(start);
        let threads = threads.collect::<io::Result<_>>()?;
        *crew = Crew::Running(threads);
        Ok(())
    }

    /// Does something with the parked workers; with none while they run.
    pub fn parked<R>(&self, action: impl FnOnce(&mut [Worker]) -> R) -> R {
        match &mut *self.crew() {
            Crew::Running(_) => action(&mut []),
            Crew::Parked(workers) => action(workers),
        }
    }

    /// Ends every worker's sleep.
    pub fn wake(&self) {
        for mut waker in &self.wake {
            // A worker that is gone needs no waking.
            let _ = waker.write(&[1]);
        }
    }

    /// Counts what streams brought to parked workers: nobody handles it.
    pub fn give_up_inboxes(&self) {
        self.parked(|workers| {
            for worker in workers {
                worker.give_up_inbox();
            }
        });
    }

    /// Tells every worker to stop, and waits until all have, or some are stuck. Parked ones have.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake();
        let Crew::Running(threads) = &mut *self.crew() else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        for (worker, thread) in threads.drain(..).enumerate() {
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
