//! The service for the keys of devices, and what a configuration says to it.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    chain::Chains,
    keystore::{KeyService, Policy, ReturnBox, Returned},
    telemetry::books::KeyLine,
};
use corex_script::Config;

/// A worker's end of what comes back to it.
pub type Receiver = UnboundedReceiver<Returned>;

/// Makes the service, and each worker's end; a byte through its socket wakes a worker.
///
/// # Errors
/// When there are no descriptors left.
pub fn new(wakers: &[&UnixStream]) -> anyhow::Result<(KeyService, Vec<Receiver>)> {
    let mut returns = Vec::new();
    let mut receivers = Vec::new();
    for waker in wakers {
        let waker = waker.try_clone().context("copy a wake-up pair")?;
        waker.set_nonblocking(true).context("wake-up pair")?;
        let waker = Mutex::new(waker);
        let (returned, receiver) = ReturnBox::new(move || {
            let mut waker = waker.lock().unwrap_or_else(PoisonError::into_inner);
            // Full means that the worker has been woken often enough.
            let _ = waker.write(&[1]);
        });
        returns.push(returned);
        receivers.push(receiver);
    }
    Ok((KeyService::new(returns), receivers))
}

/// Gives the chains of a configuration the service, and says what that will go by.
///
/// # Errors
/// When there are no authorities for TLS.
pub fn prepare(service: &KeyService, config: &Config) -> anyhow::Result<Option<Policy>> {
    let Some(chains) = config.program.shared::<Chains>() else {
        return Ok(None);
    };
    chains.attach(service.clone());
    let policy = service.prepare(chains.material());
    policy.map(Some).context("the keystore")
}

/// What the books show of it.
pub fn line(service: &KeyService) -> KeyLine {
    let gauges = service.gauges();
    let counters = service.counters();
    KeyLine {
        counters: counters.snapshot(),
        imbalance: counters.imbalance(),
        sessions: gauges.sessions as u64,
        waiting: gauges.waiting as u64,
        waiting_bytes: gauges.waiting_bytes as u64,
        is_away: gauges.is_away,
    }
}
