//! The thread that keeps corex on its NICs: it looks how they are, and has the engine follow. It
//! alone keeps, once corex runs, the capabilities that attaching programs and opening AF_XDP
//! sockets takes.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use caps::{CapSet, Capability};
use tokio::{
    sync::{oneshot, watch},
    time,
};

use super::{engine::PacketEngine, remote::Remote};
use crate::kernel::{
    capabilities,
    confine::{self, Reach},
    host::Links,
    presence::{Place, is_there},
    privileges,
};

/// How often the NICs' queues are counted, of which netlink doesn't tell.
const LOOK: Duration = Duration::from_millis(250);
/// How soon it is looked what the workers have done that were told something.
const SOON: Duration = Duration::from_millis(10);
/// How often it is looked whether the programs are attached still.
const CHECK: Duration = Duration::from_secs(1);

/// The handle of the thread, which ends when this is dropped.
pub struct Keeper {
    remote: Option<oneshot::Sender<Arc<Remote>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread, which waits for [`Self::keep`]. `None`: there is nothing to keep. Where the
    /// configuration says that nothing is attached again, it keeps no capability.
    ///
    /// # Errors
    /// When there can be no thread, or no netlink.
    pub fn start(engine: &PacketEngine) -> anyhow::Result<Option<Self>> {
        let Some(links) = engine.host_links() else {
            return Ok(None);
        };
        let may_attach = engine.may_attach();
        let pins = engine.pins().map(PathBuf::from);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime that keeps the NICs")?;
        let (sender, remote) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let settle = move || harden(may_attach, pins);
        let thread = privileges::spawn_settled("corex-nics", settle, move || {
            let outcome = runtime.block_on(async {
                tokio::select! {
                    outcome = keep(remote, links) => outcome,
                    _ = stopped => Ok(()),
                }
            });
            if let Err(error) = outcome {
                tracing::error!("NICs aren't followed any more: {error}");
            }
        })
        .context("start the thread that keeps the NICs")?;
        Ok(Some(Self {
            remote: Some(sender),
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// From here on NICs are followed.
    pub fn keep(&mut self, remote: &Arc<Remote>) {
        if let Some(sender) = self.remote.take() {
            // A thread that is gone has said why.
            let _ = sender.send(Arc::clone(remote));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // As above.
            let _ = thread.join();
        }
    }
}

/// Gives up what keeping NICs doesn't take. What can't be given up is logged.
fn harden(may_attach: bool, pins: Option<PathBuf>) {
    let mut kept = Vec::new();
    if may_attach {
        kept.extend([Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]);
        // For packet memory, where it isn't RLIMIT_MEMLOCK that allows for it.
        kept.push(Capability::CAP_IPC_LOCK);
    }
    if capabilities::maps_need_bpf() {
        kept.push(Capability::CAP_BPF);
    }
    // Who runs corex may have given it less.
    kept.retain(|kept| caps::has_cap(None, CapSet::Permitted, *kept).unwrap_or(false));
    if let Err(error) = privileges::drop_all_but(&kept) {
        tracing::warn!("the thread that keeps the NICs: {error}");
    }
    let reach = Reach {
        read: Vec::new(),
        write: pins.into_iter().collect(),
    };
    if let Err(error) = confine::confine(&reach) {
        tracing::warn!("the thread that keeps the NICs: {error}");
    }
}

async fn keep(
    remote: oneshot::Receiver<Arc<Remote>>,
    mut links: watch::Receiver<Arc<Links>>,
) -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    let Ok(remote) = remote.await else {
        return Ok(());
    };
    let mut checked = Instant::now();
    loop {
        let mut detached = Vec::new();
        if checked.elapsed() >= CHECK {
            checked = Instant::now();
            let attached = remote.engine().attached();
            detached = find_detached(&handle, attached).await;
        }
        let now = Arc::clone(&links.borrow_and_update());
        let pause = if remote.engine().follow(&now, &detached) {
            SOON
        } else {
            LOOK
        };
        // Nobody who follows the host: the last links stay.
        let _ = time::timeout(pause, links.changed()).await;
    }
}

/// Those of the NICs that are there of which a program isn't where it was attached.
async fn find_detached(handle: &rtnetlink::Handle, attached: Vec<(u32, Vec<Place>)>) -> Vec<u32> {
    let mut detached = Vec::new();
    for (index, places) in attached {
        for place in places {
            // What can't be read is looked at the next time.
            if is_there(handle, place).await == Some(false) {
                detached.push(index);
                break;
            }
        }
    }
    detached
}
