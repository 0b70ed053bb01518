//! The thread that follows the kernel and keeps the maps in step.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use aya::maps::MapError;
use caps::Capability;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection, sys::SocketAddr};
use tokio::{
    runtime::Runtime,
    sync::{oneshot, watch},
    time,
};

use super::{
    changes,
    leniency::Leniency,
    links::{Link, Links, link_of},
    maps::HostMaps,
    mtus::Mtus,
    snapshot::{Applied, Snapshot},
    tables::HostTables,
};
use crate::kernel::{
    capabilities,
    confine::{self, Reach},
    interfaces::Interface,
    privileges,
};

/// All is read anew that often, whatever the events told.
const REREAD: Duration = Duration::from_secs(10);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Why the host can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Netlink can't be used.
    #[error("follow the host's links and addresses")]
    Netlink(#[source] io::Error),
    /// The maps can't be written.
    #[error("write the maps of the host's MACs and addresses")]
    Map(#[from] MapError),
}

/// The handle of the thread, which ends when this is dropped.
pub struct HostFollower {
    latest: Arc<ArcSwap<Snapshot>>,
    links: watch::Receiver<Arc<Links>>,
    mtus: Mtus,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HostFollower {
    /// Fills the maps for programs on these interfaces, and starts the thread, which keeps no
    /// capability; on old kernels the one that writing maps takes.
    ///
    /// # Errors
    /// When there can be no thread, no netlink, or the maps can't be written.
    pub fn start(maps: HostMaps, interfaces: &[Interface]) -> Result<Self, FollowError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(FollowError::Netlink)?;
        let (stop, stopped) = oneshot::channel();
        let (sender, first) = mpsc::channel();
        let latest = Arc::<ArcSwap<Snapshot>>::default();
        let (told, links) = watch::channel(Arc::default());
        let mut followed = Followed {
            maps,
            latest: Arc::clone(&latest),
            names: interfaces.iter().map(|i| i.name.clone()).collect(),
            indices: interfaces.iter().map(|i| i.index).collect(),
            snapshot: Snapshot::default(),
            leniency: Leniency::open(interfaces),
            flags: 0,
            overflow: Vec::new(),
            is_first: true,
            told,
            mtus: Mtus::default(),
        };
        let mtus = followed.mtus.clone();
        let thread = thread::Builder::new()
            .name("corex-host".to_owned())
            .spawn(move || follow(&runtime, &mut followed, stopped, &sender))
            .map_err(FollowError::Netlink)?;
        let gone = |_| FollowError::Netlink(io::Error::other("its thread died; a bug in corex"));
        first.recv().map_err(gone)??;
        Ok(Self {
            latest,
            links,
            mtus,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The host as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.latest.load_full()
    }

    /// The host's links, as they are and as they become.
    pub fn links(&self) -> watch::Receiver<Arc<Links>> {
        self.links.clone()
    }

    /// The MTUs, as they are at any time.
    pub fn mtus(&self) -> Mtus {
        self.mtus.clone()
    }
}

impl Drop for HostFollower {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has said what it died of.
            let _ = thread.join();
        }
    }
}

/// What the thread works on.
struct Followed {
    maps: HostMaps,
    latest: Arc<ArcSwap<Snapshot>>,
    names: BTreeSet<String>,
    indices: BTreeSet<u32>,
    snapshot: Snapshot,
    leniency: Leniency,
    flags: u32,
    overflow: Vec<&'static str>,
    is_first: bool,
    told: watch::Sender<Arc<Links>>,
    mtus: Mtus,
}

type First = mpsc::Sender<Result<(), FollowError>>;

/// The thread. The first attempt's outcome is told; what fails later is logged and tried again.
fn follow(
    runtime: &Runtime,
    followed: &mut Followed,
    mut stopped: oneshot::Receiver<()>,
    first: &First,
) {
    runtime.block_on(async {
        loop {
            let outcome = tokio::select! {
                outcome = run(followed, first) => outcome,
                _ = &mut stopped => return,
            };
            let Err(error) = outcome;
            if followed.is_first {
                // Who started this waits for it.
                let _ = first.send(Err(error));
                return;
            }
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the host isn't followed; trying again"
            );
            tokio::select! {
                () = time::sleep(RETRY) => {}
                _ = &mut stopped => return,
            }
        }
    });
}

type Events =
    futures_util::stream::BoxStream<'static, (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

async fn run(
    followed: &mut Followed,
    first: &First,
) -> Result<std::convert::Infallible, FollowError> {
    let (connection, handle, events) = new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ])
    .map_err(FollowError::Netlink)?;
    tokio::spawn(connection);
    let mut events: Events = events.boxed();
    let snapshot = read(&handle).await?;
    followed.take(snapshot)?;
    if followed.is_first {
        followed.is_first = false;
        harden("the thread that follows the host");
        // As above.
        let _ = first.send(Ok(()));
    }
    let mut reread = time::interval(REREAD);
    reread.reset();
    loop {
        let mut next = followed.snapshot.clone();
        let mut applied = Applied::Done;
        tokio::select! {
            event = events.next() => {
                let mut event = event;
                let ended = || FollowError::Netlink(io::Error::other("the netlink connection ended"));
                loop {
                    let (message, _) = event.ok_or_else(ended)?;
                    if next.apply(message.payload) == Applied::Lost {
                        applied = Applied::Lost;
                    }
                    // Events come in bursts, which are worked over once.
                    match events.next().now_or_never() {
                        Some(following) => event = following,
                        None => break,
                    }
                }
            }
            _ = reread.tick() => applied = Applied::Lost,
        }
        if applied == Applied::Lost {
            next = read(&handle).await?;
        }
        followed.take(next)?;
    }
}

/// The link with that index as it is now; `None` if there is none.
///
/// # Errors
/// When the kernel doesn't answer.
pub async fn read_link(handle: &Handle, index: u32) -> Result<Option<Link>, rtnetlink::Error> {
    let mut found = handle.link().get().match_index(index).execute();
    match found.try_next().await {
        Ok(message) => Ok(message.as_ref().and_then(link_of).map(|(_, link)| link)),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has a thread give up what following the kernel and writing maps doesn't take. What can't be given
/// up is logged, under the thread's name.
pub fn harden(who: &str) {
    let kept: &[Capability] = if capabilities::maps_need_bpf() {
        &[Capability::CAP_BPF]
    } else {
        &[]
    };
    if let Err(error) = privileges::drop_all_but(kept) {
        tracing::warn!("{who}: {error}");
    }
    if let Err(error) = confine::confine(&Reach::default()) {
        tracing::warn!("{who}: {error}");
    }
}

async fn read(handle: &Handle) -> Result<Snapshot, FollowError> {
    let all = Snapshot::read(handle).await;
    all.map_err(|error| FollowError::Netlink(io::Error::other(error)))
}

impl Followed {
    /// Brings the maps in step, and says what has changed.
    fn take(&mut self, snapshot: Snapshot) -> Result<(), FollowError> {
        let flags = self.leniency.flags();
        if snapshot == self.snapshot && flags == self.flags {
            return Ok(());
        }
        self.flags = flags;
        self.mtus.follow(&snapshot.links);
        // One that is made anew under its name has another index.
        let links = &snapshot.links;
        self.indices.retain(|index| links.contains_key(index));
        let named = links
            .iter()
            .filter(|(_, link)| self.names.contains(&link.name));
        self.indices.extend(named.map(|(index, _)| *index));
        let mut tables = HostTables::of(&snapshot, &self.indices);
        tables.flags = flags;
        self.maps.write(&tables)?;
        if !self.is_first
            && let Some(line) = changes::told(&self.snapshot, &snapshot, &self.indices)
        {
            tracing::info!("the host has changed: {line}");
        }
        for overflow in &tables.overflow {
            if !self.overflow.contains(overflow) {
                tracing::warn!("{overflow}");
            }
        }
        self.overflow = tables.overflow;
        self.latest.store(Arc::new(snapshot.clone()));
        if self.snapshot.links != snapshot.links {
            self.told.send_replace(Arc::new(snapshot.links.clone()));
        }
        self.snapshot = snapshot;
        Ok(())
    }
}
