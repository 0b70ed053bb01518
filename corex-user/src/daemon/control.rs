//! What runs beside the workers: signals, next hops, the XDP program's log.

use std::time::Duration;

use anyhow::{Context as _, bail};
use aya_log::EbpfLogger;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time,
};

use super::{Options, Workers, beside::Beside, engine::Engine, reload::Reloader};
use crate::{kernel::routes::Resolver, telemetry::log::Log};

/// How often the workers are looked after, and the XDP program's log is read.
const PULSE: Duration = Duration::from_secs(1);

/// The signals that corex listens to. Installed before anybody is told that it is ready.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
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
            hangup: signal(SignalKind::hangup()).context("receive SIGHUP")?,
        })
    }
}

/// Runs until SIGTERM or SIGINT; SIGUSR1 writes the books, SIGHUP reads the configuration again.
///
/// # Errors
/// When a worker died.
#[expect(
    clippy::too_many_arguments,
    reason = "all that lives as long as corex runs, from one caller"
)]
pub async fn run(
    engine: &mut Engine,
    workers: &Workers,
    reloader: &Reloader,
    mut resolver: Resolver,
    mut signals: Signals,
    options: &Options,
    log: &Log,
    beside: &Beside,
) -> anyhow::Result<()> {
    let mut pulse = time::interval(PULSE);
    if engine.is_xdp() {
        tokio::spawn(async move {
            // Without it every message leaves by the kernel socket: slower, not wrong.
            while let Err(error) = resolver.run().await {
                tracing::error!(%error, "next hops can't be looked up; sending by kernel socket");
                time::sleep(PULSE).await;
            }
        });
    }
    let mut ebpf_log = match engine.ebpf().filter(|_| options.ebpf_log) {
        Some(ebpf) => Some(EbpfLogger::init(ebpf).context("read the XDP program's log")?),
        None => None,
    };
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => {
                tracing::info!("SIGTERM: stopping");
                return Ok(());
            }
            _ = signals.interrupt.recv() => {
                tracing::info!("SIGINT: stopping");
                return Ok(());
            }
            _ = signals.user1.recv() => {
                let books = engine.books(&reloader.current(), log, &beside.counters);
                tracing::info!("{}", books.summary());
                if let Some(path) = &options.books
                    && let Err(error) = books.write(path)
                {
                    tracing::error!(%error, "write the books to {}", path.display());
                }
            }
            _ = signals.hangup.recv() => {
                match reloader.reload(workers, log).await {
                    Ok(()) => tracing::info!("SIGHUP: the configuration was read again"),
                    Err(error) => tracing::error!("SIGHUP: {error:#}"),
                }
            }
            _ = pulse.tick() => {
                if let Some(log) = &mut ebpf_log {
                    log.flush();
                }
                if workers.any_dead() {
                    bail!("a worker thread died; the log above says where. This is a bug in corex");
                }
            }
        }
    }
}
