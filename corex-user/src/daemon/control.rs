//! What runs beside the workers: signals, next hops, the XDP program's log.

use std::{
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use aya_log::EbpfLogger;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time,
};

use super::{
    access_timer,
    engine::Ending,
    handover::{self, Estate, Farewell, Frozen, GuardCopy, Halt, PeersCopy, Step, TableSnapshot},
    options::Options,
    reload::Reloader,
    reloads::{self, What},
    remote::{ControlCommand, Remote},
    service::Watchdog,
    stream_service::{StreamHold, StreamService},
    table_timer,
    workers::Workers,
};
use crate::{
    io::worker::Worker,
    kernel::{overload, root_files, routes::NextHopResolver},
};

/// How often the workers are looked after, and the XDP program's log is read.
const PULSE: Duration = Duration::from_secs(1);

/// The signals that corex listens to. Installed before anybody is told that it is ready.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    user2: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers; within the runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn install() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("receive SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("receive SIGINT")?,
            user1: signal(SignalKind::user_defined1()).context("receive SIGUSR1")?,
            user2: signal(SignalKind::user_defined2()).context("receive SIGUSR2")?,
            hangup: signal(SignalKind::hangup()).context("receive SIGHUP")?,
        })
    }
}

/// The control thread: what it looks after, and what it gets commands by.
pub struct Control<'a> {
    /// The running workers, which it looks after.
    pub workers: &'a Workers,
    /// What reads the configuration again.
    pub reloader: &'a Reloader,
    /// The daemon as remote control sees it.
    pub remote: &'a Remote,
    /// What remote control asks for.
    pub commands: mpsc::UnboundedReceiver<ControlCommand>,
    /// What the command line says.
    pub options: &'a Options,
    /// What a service manager shows.
    pub status: &'a str,
    /// Tells it that all is well.
    pub watchdog: Watchdog,
    /// How far the workers were at the last look.
    pub turns: Vec<u64>,
    /// What a successor needs.
    pub steps: mpsc::UnboundedReceiver<Step>,
    /// What doesn't change of all that a successor can be given.
    pub fixtures: Estate,
    /// What scripts kept when a successor was told; `None`: too much to be told.
    pub told: Option<TableSnapshot>,
    /// The second of CLOCK_MONOTONIC when a successor was told of the peers that are known.
    pub told_peers: u64,
    /// Connections, and what waits to be sent.
    pub streams: &'a StreamService,
    /// While all stands still for a successor.
    pub held: Option<StreamHold>,
}

impl Control<'_> {
    /// Runs until SIGTERM, SIGINT or a command to stop, or SIGUSR2 to make way for a successor;
    /// SIGUSR1 writes the books, SIGHUP reads the configuration again.
    ///
    /// # Errors
    /// When a worker died.
    pub async fn run(
        mut self,
        mut resolver: NextHopResolver,
        mut signals: Signals,
    ) -> anyhow::Result<Ending> {
        let mut pulse = time::interval(PULSE);
        if self.remote.engine().is_xdp() {
            tokio::spawn(async move {
                // Without it every message leaves by the kernel socket: slower, not wrong.
                while let Err(error) = resolver.run().await {
                    tracing::error!(%error, "next hops can't be looked up; sending by kernel socket");
                    time::sleep(PULSE).await;
                }
            });
        }
        let mut ebpf_log = match self.remote.engine().ebpf() {
            Some(ebpf) if self.options.ebpf_log => {
                Some(EbpfLogger::init(ebpf).context("read the XDP program's log")?)
            }
            _ => None,
        };
        tokio::spawn(table_timer::run(Arc::clone(&self.remote.latest)));
        tokio::spawn(access_timer::run(Arc::clone(&self.remote.latest)));
        let (queue, requests) = reloads::queue();
        let (reloader, workers, remote) = (self.reloader, self.workers, self.remote);
        let mut reloads = pin!(reloads::serve(
            requests,
            reloader,
            workers,
            remote,
            self.status
        ));
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => {
                    tracing::info!("SIGTERM: stopping");
                    return Ok(Ending::Stop);
                }
                _ = signals.interrupt.recv() => {
                    tracing::info!("SIGINT: stopping");
                    return Ok(Ending::Stop);
                }
                _ = signals.user2.recv() => {
                    tracing::info!("SIGUSR2: making way for a successor");
                    return Ok(Ending::HandOver);
                }
                _ = signals.user1.recv() => self.write_books(),
                // The log says what came of it.
                _ = signals.hangup.recv() => queue.ask(What::Configuration, "SIGHUP", None),
                () = &mut reloads => bail!("nobody reloads any more; this is a bug in corex"),
                Some(command) = self.commands.recv() => match command {
                    ControlCommand::Stop => {
                        tracing::info!("remote control: stopping");
                        return Ok(Ending::Stop);
                    }
                    ControlCommand::Books => self.write_books(),
                    ControlCommand::Reload(what, answer) => {
                        queue.ask(what, "remote control", Some(answer));
                    }
                },
                Some(step) = self.steps.recv() => {
                    if self.take(step).await? {
                        return Ok(Ending::HandedOver);
                    }
                }
                _ = pulse.tick() => {
                    if let Some(log) = &mut ebpf_log {
                        log.flush();
                    }
                    if self.workers.any_dead() {
                        bail!("a worker thread died; the log above says where. This is a bug in corex");
                    }
                    // Packets led there would be lost. A start makes it anew.
                    if let Some(fault) = self.remote.engine().fault() {
                        bail!("{fault}: it carries the server's packets, so corex can't go on");
                    }
                    self.remote.look_at_roads();
                    let is_turning = self.workers_turn();
                    self.remote.is_turning.store(is_turning, Ordering::Relaxed);
                    if is_turning {
                        self.watchdog.feed(Instant::now());
                    }
                }
            }
        }
    }

    /// Goes a step with a successor. Returns whether it was the last one.
    ///
    /// # Errors
    /// When the workers can't go on.
    async fn take(&mut self, step: Step) -> anyhow::Result<bool> {
        match step {
            Step::Look(answer) => {
                let estate = self.workers.park().and_then(|()| self.estate());
                self.workers.resume()?;
                self.told = self.snapshot();
                self.told_peers = overload::now();
                let peers = self.remote.engine().overload_maps();
                let none = TableSnapshot::default();
                let tables = self.told.as_ref().map(|now| now.since(&none));
                let estate = estate.map(|estate| Estate {
                    tables: tables.unwrap_or_default(),
                    guard: GuardCopy::all(&self.reloader.current().guard),
                    peers: PeersCopy::all(peers.peers()),
                    ..estate
                });
                // It is gone already when nobody takes it.
                let _ = answer.send(estate);
            }
            Step::Freeze(answer) => {
                tracing::info!("making way for a successor, which is ready");
                let halt = self.halt().await;
                let has_stopped = halt.is_ok();
                if answer.send(halt).is_err() || !has_stopped {
                    self.go_on()?;
                }
            }
            Step::Resume => self.go_on()?,
            Step::Leave(answer) => {
                if let Some(held) = self.held.take() {
                    held.leave();
                }
                let in_rings = self.remote.engine().count_handed_over();
                let _ = answer.send(Farewell { in_rings });
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Has everything stand still.
    ///
    /// # Errors
    /// A worker doesn't park.
    async fn halt(&mut self) -> io::Result<Halt> {
        self.remote.engine().freeze(true);
        // Before the workers, which handle what has come until then.
        let held = self.held.insert(self.streams.hold());
        self.workers.park()?;
        let context = self.reloader.current();
        let (streams, descriptors) = held.lend(&context.listeners).await;
        let ledgers =
            |workers: &mut [Worker]| workers.iter().filter_map(handover::ledger).collect();
        let changes = |now: TableSnapshot| Some(now.since(self.told.as_ref()?));
        let peers = self.remote.engine().overload_maps();
        let age = context.config.settings.corex.overload.peer_age.as_secs();
        let frozen = Frozen {
            workers: self.workers.parked(ledgers),
            tables: self.snapshot().and_then(changes).unwrap_or_default(),
            guard: GuardCopy::changes(&context.guard),
            peers: PeersCopy::until(peers.peers(), self.told_peers.saturating_add(age)),
            streams,
        };
        Ok(Halt {
            frozen,
            descriptors,
        })
    }

    /// Nothing came of a successor.
    fn go_on(&mut self) -> io::Result<()> {
        self.held = None;
        self.remote.engine().freeze(false);
        self.workers.resume()
    }

    /// What scripts keep.
    fn snapshot(&self) -> Option<TableSnapshot> {
        let context = self.reloader.current();
        let snapshot = TableSnapshot::take(&context.config.program.tables);
        if snapshot.is_none() {
            tracing::warn!("$sht and $shv hold too much to be handed over: they begin anew");
        }
        snapshot
    }

    /// All that can be handed over; the workers are parked.
    fn estate(&self) -> io::Result<Estate> {
        let mut estate = self.fixtures.try_clone()?;
        self.remote.engine().add_to(&mut estate)?;
        self.workers.parked(|workers| {
            workers
                .iter()
                .try_for_each(|worker| handover::add_worker(worker, &mut estate))
        })?;
        Ok(estate)
    }

    /// Whether every worker has done a round since the last look. An idle one does two a second.
    fn workers_turn(&mut self) -> bool {
        let links = self.remote.engine().links().to_vec();
        let now: Vec<u64> = links
            .iter()
            .map(|link| link.turns.load(Ordering::Relaxed))
            .collect();
        let all = now.len() != self.turns.len()
            || now
                .iter()
                .zip(&self.turns)
                .all(|(now, before)| now != before);
        self.turns = now;
        all
    }

    fn write_books(&self) {
        let books = self.remote.books();
        tracing::info!("{}", books.summary());
        if let Some(path) = &self.options.books
            && let Err(error) = root_files::replace(path, books.text().as_bytes())
        {
            tracing::error!(%error, "write the books to {}", path.display());
        }
    }
}
