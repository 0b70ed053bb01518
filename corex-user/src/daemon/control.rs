//! What runs beside the workers: signals, next hops, the XDP program's log.

use std::time::Duration;

use anyhow::{Context as _, bail};
use aya_log::EbpfLogger;
use tokio::{
    signal::unix::{SignalKind, signal},
    time,
};

use super::{Options, Workers, engine::Engine};
use crate::{kernel::routes::Resolver, pipeline::Shared, telemetry::log::Log};

/// How often the workers are looked after, and the XDP program's log is read.
const PULSE: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT; SIGUSR1 writes the books.
///
/// # Errors
/// When a worker died, or signals can't be received.
pub async fn run(
    engine: &mut Engine,
    workers: &Workers,
    shared: &Shared,
    resolver: Resolver,
    options: &Options,
    log: &Log,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("receive SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("receive SIGINT")?;
    let mut user1 = signal(SignalKind::user_defined1()).context("receive SIGUSR1")?;
    let mut pulse = time::interval(PULSE);
    if engine.is_xdp() {
        tokio::spawn(async {
            // Without it every message leaves by the kernel socket: slower, not wrong.
            if let Err(error) = resolver.run().await {
                tracing::error!(%error, "next hops can't be looked up; sending by kernel socket");
            }
        });
    }
    let mut ebpf_log = match engine.ebpf().filter(|_| options.ebpf_log) {
        Some(ebpf) => Some(EbpfLogger::init(ebpf).context("read the XDP program's log")?),
        None => None,
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                tracing::info!("SIGTERM: stopping");
                return Ok(());
            }
            _ = interrupt.recv() => {
                tracing::info!("SIGINT: stopping");
                return Ok(());
            }
            _ = user1.recv() => {
                let books = engine.books(&shared.listeners, log);
                tracing::info!("{}", books.summary());
                if let Some(path) = &options.books
                    && let Err(error) = books.write(path)
                {
                    tracing::error!(%error, "write the books to {}", path.display());
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
