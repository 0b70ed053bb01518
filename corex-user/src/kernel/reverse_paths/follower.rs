//! The thread that asks the kernel, and follows what makes its answers void.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aya::maps::{Array, HashMap, MapData, MapError};
use corex_common::{
    host::{CHECK_V4, CHECK_V6, ReversePath, ReverseState},
    maps::{FAMILY_V4, FAMILY_V6},
};
use futures_util::{FutureExt as _, StreamExt as _};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::{
    sync::{mpsc, watch},
    time,
};

use super::{
    Path, QUESTIONS, ReversePaths, Rule, Shared, ask,
    sysctl::{Changes, Sysctl},
};
use crate::kernel::{
    host::{Links, harden, parts_of},
    privileges,
};

/// How often the sysctl is read, whatever the kernel tells of its changes.
const READ: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Why reverse paths can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There can be no thread.
    #[error("start the thread for rp_filter")]
    Thread(#[source] io::Error),
    /// The map can't be written.
    #[error("write the map REVERSE_STATE")]
    Map(#[from] MapError),
}

/// What the program goes by: the maps REVERSE_PATHS and REVERSE_STATE.
pub struct ReverseMaps {
    /// The paths that are good.
    pub paths: HashMap<MapData, ReversePath, u32>,
    /// Which of them hold.
    pub state: Array<MapData, ReverseState>,
    /// The host's links: frames for a bond or bridge arrive at its parts.
    pub links: watch::Receiver<Arc<Links>>,
}

/// Starts the thread, which keeps no capability; on old kernels the one that writing maps takes. It
/// ends when the last [`ReversePaths`] is dropped. Without maps, as with kernel sockets alone, it
/// answers the workers only.
///
/// # Errors
/// When there can be no thread, or the maps can't be written.
pub fn start(rule: Rule, maps: Option<ReverseMaps>) -> Result<ReversePaths, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let sysctl = Sysctl::read();
    let shared = Arc::new(Shared::new(rule, flags(rule, &sysctl)));
    let mut follower = Follower {
        shared: Arc::clone(&shared),
        maps,
        sysctl,
        asked,
    };
    follower.tell()?;
    let settle = || harden("the thread for rp_filter");
    privileges::spawn_settled("corex-reverse", settle, move || {
        runtime.block_on(follower.follow());
    })
    .map_err(StartError::Thread)?;
    Ok(ReversePaths { shared, questions })
}

/// Which sources are looked at.
fn flags(rule: Rule, sysctl: &Sysctl) -> u32 {
    match rule {
        Rule::Strict | Rule::Loose => CHECK_V4 | CHECK_V6,
        Rule::Stack if sysctl.is_on() => CHECK_V4,
        Rule::Stack => 0,
    }
}

/// What the thread works on.
struct Follower {
    shared: Arc<Shared>,
    maps: Option<ReverseMaps>,
    sysctl: Sysctl,
    asked: mpsc::Receiver<Path>,
}

impl Follower {
    async fn follow(&mut self) {
        loop {
            let error = match self.run().await {
                Ok(()) => return,
                Err(error) => error,
            };
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "rp_filter: routes aren't followed, and all goes by kernel sockets; trying again"
            );
            if let Err(error) = self.forget() {
                tracing::error!(error = &error as &dyn std::error::Error, "rp_filter");
            }
            time::sleep(RETRY).await;
        }
    }

    /// Until nobody asks any more.
    async fn run(&mut self) -> Result<(), StartError> {
        let (connection, handle, mut events) = new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
            MulticastGroup::Nexthop,
        ])
        .map_err(StartError::Thread)?;
        tokio::spawn(connection);
        let mut changes = Changes::follow().map_err(StartError::Thread)?;
        // What was found before may be of another time.
        self.sysctl = Sysctl::read();
        self.forget()?;
        let mut read = time::interval(READ);
        loop {
            tokio::select! {
                biased;
                event = events.next() => {
                    if event.is_none() {
                        let ended = io::Error::other("the netlink connection ended");
                        return Err(StartError::Thread(ended));
                    }
                    // Events come in bursts. Which they are doesn't matter, nor whether some are lost.
                    while let Some(Some(_)) = events.next().now_or_never() {}
                    self.forget()?;
                }
                changed = changes.next() => {
                    changed.map_err(StartError::Thread)?;
                    self.sysctl = Sysctl::read();
                    self.forget()?;
                }
                path = self.asked.recv() => {
                    let Some(path) = path else { return Ok(()) };
                    self.answer(&handle, path).await?;
                }
                _ = read.tick() => self.read()?,
            }
        }
    }

    /// Makes void what is known, and tells how sources are looked at.
    fn forget(&mut self) -> Result<(), MapError> {
        self.shared.version.fetch_add(1, Ordering::AcqRel);
        self.tell()
    }

    /// Reads the sysctl.
    fn read(&mut self) -> Result<(), MapError> {
        let now = Sysctl::read();
        if now == self.sysctl {
            return Ok(());
        }
        self.sysctl = now;
        self.forget()
    }

    fn tell(&mut self) -> Result<(), MapError> {
        let flags = flags(self.shared.rule, &self.sysctl);
        let version = self.shared.version.load(Ordering::Acquire);
        if let Some(maps) = &mut self.maps {
            maps.state.set(0, ReverseState { version, flags }, 0)?;
        }
        // Behind the program's: what it steers no more, workers are to judge.
        self.shared.flags.store(flags, Ordering::Release);
        Ok(())
    }

    async fn answer(&mut self, handle: &Handle, path: Path) -> Result<(), MapError> {
        let version = self.shared.version.load(Ordering::Acquire);
        let is_good = ask::is_good(handle, self.shared.rule, path).await;
        if let Some(maps) = self.maps.as_mut().filter(|_| is_good) {
            let parts = parts_of(&maps.links.borrow(), path.ifindex);
            for ifindex in parts {
                maps.paths.insert(key(path, ifindex), version, 0)?;
            }
        }
        self.shared.answered(path, version, is_good);
        Ok(())
    }
}

fn key(path: Path, ifindex: u32) -> ReversePath {
    let octets = |ip| match ip {
        IpAddr::V4(ip) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
        IpAddr::V6(ip) => ip.octets(),
    };
    ReversePath {
        source: octets(path.source),
        local: octets(path.local),
        family: match path.source {
            IpAddr::V4(_) => FAMILY_V4,
            IpAddr::V6(_) => FAMILY_V6,
        }
        .into(),
        ifindex,
    }
}
